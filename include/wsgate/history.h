/*
 * history: the last quarter of an hour, a sample every five seconds, in shared memory. The bridge
 * writes it; while there is none, samples are missing. Room: ipc.
 */
#ifndef WSGATE_HISTORY_H
#define WSGATE_HISTORY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <wsgate/stats.h>

#define HISTORY_MS 5000
#define HISTORY_N 181

/* X(field, kind): sums since the start, and how it was at that moment. */
#define HISTORY(X)                                                                                 \
	X(connections, GAUGE)                                                                      \
	X(unconfirmed, GAUGE)                                                                      \
	X(behind, GAUGE)                                                                           \
	X(buffered_bytes, GAUGE)                                                                   \
	X(opened, COUNTER)                                                                         \
	X(refused, COUNTER)                                                                        \
	X(messages_in, COUNTER)                                                                    \
	X(bytes_in, COUNTER)                                                                       \
	X(messages_out, COUNTER)                                                                   \
	X(bytes_out, COUNTER)                                                                      \
	X(confirmed, COUNTER)                                                                      \
	X(stored, COUNTER)

#define HISTORY_FIELD(field, kind) _Atomic uint64_t field;
#define HISTORY_VALUE(field, kind) uint64_t field;
struct history_sample {
	_Atomic uint64_t at_ms; /* since 1970; 0: none, or being written */
	HISTORY(HISTORY_FIELD)
	_Atomic uint32_t hists[STATS_HISTS][HIST_BUCKETS]; /* since the sample before */
};
struct history {
	_Atomic uint64_t written; /* samples, since the first bridge; the next one goes to that
				     number modulo HISTORY_N */
	struct history_sample v[HISTORY_N];
};

struct history_view {
	uint64_t number; /* 1: the first of all; read */
	uint64_t at_ms;
	HISTORY(HISTORY_VALUE)
	struct hist_view hists[STATS_HISTS]; /* without sums */
};

/* hists as of now, and as of the sample before: of the first one of a process both are the same. */
void history_write(struct history *h, const struct history_view *now,
	const struct hist_view before[STATS_HISTS]);
/* The latest, at most max of them, oldest first. Returns how many. */
size_t history_read(const struct history *h, struct history_view *out, size_t max);

#endif
