/*
 * hist: how long things took, in fixed buckets, in shared memory. One writer, as with counters; two
 * cache lines. Room: ipc.
 */
#ifndef WSGATE_HIST_H
#define WSGATE_HIST_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#define HIST_BUCKETS 15 /* the last one: all above */
/* Microseconds; a time goes to the first bucket whose bound is not below it. */
extern const uint32_t hist_bounds[HIST_BUCKETS - 1];

struct hist {
	alignas(64) _Atomic uint64_t n[HIST_BUCKETS];
	_Atomic uint64_t sum_us;
};
_Static_assert(sizeof(struct hist) == 128, "two cache lines");

struct hist_view { /* a copy, or a sum of several */
	uint64_t n[HIST_BUCKETS];
	uint64_t sum_us;
};

/* The same time for each of count things. */
static inline void hist_add(struct hist *h, uint64_t us, uint64_t count)
{
	unsigned i = 0;

	while (i < HIST_BUCKETS - 1 && us > hist_bounds[i])
		i++;
	atomic_store_explicit(&h->n[i],
		atomic_load_explicit(&h->n[i], memory_order_relaxed) + count, memory_order_relaxed);
	atomic_store_explicit(&h->sum_us,
		atomic_load_explicit(&h->sum_us, memory_order_relaxed) + us * count,
		memory_order_relaxed);
}

/* Between two readings of a clock that may have been set meanwhile: never below 0. Nanoseconds to
 * microseconds. */
static inline uint64_t hist_elapsed(uint64_t then_ns, uint64_t now_ns)
{
	return now_ns > then_ns ? (now_ns - then_ns) / 1000 : 0;
}

void hist_sum(struct hist_view *to, const struct hist *h); /* adds */
uint64_t hist_count(const struct hist_view *v);
/* The time that a share q (0 … 1) did not exceed, in microseconds, as far as the buckets tell: in
 * between it is drawn straight. -1: nothing was counted. Above the last bound: that bound. */
double hist_quantile(const struct hist_view *v, double q);

#endif
