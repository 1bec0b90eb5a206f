/*
 * past: a sample of all figures every few seconds, for curves; and what replaced programs had
 * counted, so that no sum goes back. Both in the bridge's part of shared memory.
 */
#include <string.h>

#include <wsgate/clock.h>
#include <wsgate/daemon.h>
#include <wsgate/log.h>
#include <wsgate/snapshot.h>

#include "bridge.h"

/* ---- samples ---- */

static void past_figures(const struct snapshot *s, struct history_view *out)
{
	const struct bridge_stats *b = &s->shm.bridge->stats;

	memset(out, 0, sizeof(*out));
	out->at_ms = s->real_ms;
	out->connections = s->total.connections;
	out->unconfirmed = s->total.unconfirmed;
	out->behind = s->total.behind;
	out->messages_in = s->total.messages_in;
	out->bytes_in = s->total.bytes_in;
	out->messages_out = s->total.messages_out;
	out->bytes_out = s->total.bytes_out;
	out->buffered_bytes = stat_get(b->buffered_bytes);
	out->stored = stat_get(b->stored);
	for (unsigned i = 0; i < STATS_STATUSES; i++)
		out->refused += snapshot_refused(s, i);
	for (size_t i = 0; i < STATS_WORKER_N; i++) {
		if (stats_worker[i].offset == offsetof(struct worker_stats, opened))
			out->opened = snapshot_sum(s, &stats_worker[i]);
		else if (stats_worker[i].offset == offsetof(struct worker_stats, confirmed))
			out->confirmed = snapshot_sum(s, &stats_worker[i]);
	}
	memcpy(out->hists, s->hists, sizeof(out->hists));
}

/* Without memory this one is missing. */
static void past_sample(struct bridge *b)
{
	struct history_view now;
	struct snapshot s;

	if (snapshot_take_sums(&s, &b->shm) < 0)
		return;
	past_figures(&s, &now);
	snapshot_free(&s);
	if (!b->sampled)
		memcpy(b->sampled_hists, now.hists, sizeof(now.hists));
	b->sampled = true;
	history_write(&b->shm.bridge->history, &now, b->sampled_hists);
	memcpy(b->sampled_hists, now.hists, sizeof(now.hists));
}

/* ---- what was counted before ---- */

static const struct worker_stats *past_of(const struct shm *old, unsigned i)
{
	return &shm_slot(old, i)->stats;
}

#define FLAT_WORDS (offsetof(struct worker_stats, handshake) / sizeof(uint64_t))
_Static_assert(offsetof(struct worker_stats, closed) + sizeof(((struct worker_stats *)0)->closed) <=
		       offsetof(struct worker_stats, handshake),
	"all words before the histograms are counters");

/* Every word is one counter (gauges are added too, and nobody reads their sum). */
static void past_add_words(uint64_t *to, const void *from, size_t n)
{
	const _Atomic uint64_t *v = from;

	for (size_t i = 0; i < n; i++)
		to[i] += stat_get(v[i]);
}

static void past_workers(struct bridge *b)
{
	const struct shm *old = &b->before;
	enum { WORDS = sizeof(struct worker_stats) / sizeof(uint64_t) };
	_Atomic uint64_t *to = (_Atomic uint64_t *)(void *)&b->shm.bridge->before.stats;
	static uint64_t sum[WORDS];

	memset(sum, 0, sizeof(sum));
	past_add_words(sum, &old->bridge->before.stats, WORDS);
	for (unsigned i = 0; i < old->header->sizes.max_workers && shm_slot_used(old, i); i++)
		past_add_words(sum, past_of(old, i), WORDS);
	for (size_t i = 0; i < WORDS; i++)
		stat_set(to[i], sum[i]);
}

static void past_add_services(struct stats_service *to, const struct stats_service *from)
{
	static uint32_t held[STATS_SERVICES + 1];
	struct stats_service_view v;

	/* Nobody's row is given away: who finds none goes to the others. */
	for (unsigned i = 0; i <= STATS_OTHER; i++)
		held[i] = 1;
	for (unsigned i = 0; i <= STATS_OTHER; i++) {
		unsigned row = STATS_OTHER;

		if (!stats_service_read(from, i, &v))
			continue;
		if (v.len)
			row = stats_service_hold(to, held, v.name, v.len);
#define ADD(f, k, u, m, h) stat_add(to[row].n.f, v.n.f);
		STATS_SERVICE(ADD)
#undef ADD
	}
}

static void past_services(struct bridge *b)
{
	static struct stats_service sum[STATS_SERVICES + 1];
	const struct shm *old = &b->before;

	memset(sum, 0, sizeof(sum));
	past_add_services(sum, old->bridge->before.services);
	for (unsigned i = 0; i < old->header->sizes.max_workers && shm_slot_used(old, i); i++)
		past_add_services(sum, shm_slot(old, i)->services);
	for (unsigned i = 0; i <= STATS_OTHER; i++)
		stats_service_copy(&b->shm.bridge->before.services[i], &sum[i]);
}

static void past_streams(struct bridge *b)
{
	for (unsigned i = 0; i < b->nstreams; i++) {
		struct shm_stream_words *to = b->streams[i].words;

		for (unsigned k = 0; k < SHM_STREAMS; k++) {
			const struct shm_stream_words *from = &b->before.bridge->streams[k];

			if (strncmp(from->name, to->name, sizeof(to->name)) != 0)
				continue;
			stat_set(to->stored, stat_get(from->stored));
			stat_set(to->delivered, stat_get(from->delivered));
			stat_set(to->reconnects, stat_get(from->reconnects));
		}
	}
}

/* The counters of the bridge itself go on from there. */
static void past_bridge(struct bridge *b)
{
	enum { WORDS = sizeof(struct bridge_stats) / sizeof(uint64_t) };
	_Atomic uint64_t *to = (_Atomic uint64_t *)(void *)&b->shm.bridge->stats;
	uint64_t sum[WORDS] = {0};

	past_add_words(sum, &b->before.bridge->stats, WORDS);
	for (size_t i = 0; i < WORDS; i++)
		stat_set(to[i], sum[i]);
	for (size_t i = 0; i < STATS_BRIDGE_N; i++)
		if (stats_bridge[i].kind == STATS_GAUGE)
			stat_set(to[stats_bridge[i].offset / sizeof(uint64_t)], 0);
	past_streams(b);
	memcpy(&b->shm.bridge->history, &b->before.bridge->history, sizeof(struct history));
	atomic_store(&b->shm.bridge->before.taken, 1);
}

void past_adopt(struct bridge *b)
{
	if (b->h->predecessor < 0 || shm_map(&b->before, b->h->stale[b->h->predecessor], false) < 0)
		return; /* of another layout: all begins anew */
	/* Killed in the middle, its successor does the same once more. */
	if (!atomic_load(&b->shm.bridge->before.taken))
		past_bridge(b);
	past_workers(b);
	past_services(b);
}

/* Its workers count on while their last connections end. */
static void past_follow(struct bridge *b)
{
	pid_t master = (pid_t)b->before.header->master_pid;
	bool gone = !daemon_lives(master);

	past_workers(b);
	past_services(b);
	if (gone)
		shm_unmap(&b->before);
}

/* ---- both ---- */

void past_tick(struct bridge *b)
{
	uint64_t now = clock_ms(CLOCK_REALTIME);

	/* At round times; a clock that was set back is followed. */
	if (b->sample_due_ms && now < b->sample_due_ms && b->sample_due_ms <= now + HISTORY_MS)
		return;
	b->sample_due_ms = now - now % HISTORY_MS + HISTORY_MS;
	if (b->before.base)
		past_follow(b);
	past_sample(b);
}

void past_stop(struct bridge *b)
{
	if (b->before.base)
		shm_unmap(&b->before);
}
