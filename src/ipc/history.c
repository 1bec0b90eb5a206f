#include <string.h>

#include <wsgate/history.h>

void history_write(struct history *h, const struct history_view *now,
	const struct hist_view before[STATS_HISTS])
{
	uint64_t n = stat_get(h->written);
	struct history_sample *s = &h->v[n % HISTORY_N];

	stat_set(s->at_ms, 0);
	atomic_thread_fence(memory_order_release);
#define STORE(f, k) stat_set(s->f, now->f);
	HISTORY(STORE)
#undef STORE
	for (unsigned i = 0; i < STATS_HISTS; i++)
		for (unsigned k = 0; k < HIST_BUCKETS; k++)
			atomic_store_explicit(&s->hists[i][k],
				(uint32_t)(now->hists[i].n[k] - before[i].n[k]),
				memory_order_relaxed);
	atomic_store_explicit(&s->at_ms, now->at_ms, memory_order_release);
	atomic_store_explicit(&h->written, n + 1, memory_order_release);
}

/* False: none, or it is being written. */
static bool sample_read(const struct history_sample *s, struct history_view *out)
{
	out->at_ms = atomic_load_explicit(&s->at_ms, memory_order_acquire);
#define LOAD(f, k) out->f = stat_get(s->f);
	HISTORY(LOAD)
#undef LOAD
	for (unsigned i = 0; i < STATS_HISTS; i++) {
		out->hists[i].sum_us = 0;
		for (unsigned k = 0; k < HIST_BUCKETS; k++)
			out->hists[i].n[k] =
				atomic_load_explicit(&s->hists[i][k], memory_order_relaxed);
	}
	atomic_thread_fence(memory_order_acquire);
	return out->at_ms && out->at_ms == stat_get(s->at_ms);
}

size_t history_read(const struct history *h, struct history_view *out, size_t max)
{
	uint64_t written = atomic_load_explicit(&h->written, memory_order_acquire);
	uint64_t first = written > HISTORY_N ? written - HISTORY_N : 0;
	size_t n = 0;

	if (written - first > max)
		first = written - max;
	for (; first < written; first++) {
		out[n].number = first + 1;
		n += sample_read(&h->v[first % HISTORY_N], &out[n]);
	}
	return n;
}
