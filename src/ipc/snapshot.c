#include <stdlib.h>
#include <string.h>

#include <wsgate/clock.h>
#include <wsgate/daemon.h>
#include <wsgate/snapshot.h>

#define SILENT_MS 3000 /* workers and bridge write something each second */

static uint64_t seconds_since(uint64_t then_ms, uint64_t now_ms)
{
	return then_ms && now_ms > then_ms ? (now_ms - then_ms) / 1000 : 0;
}

const char *snapshot_life_text(enum snapshot_life life)
{
	static const char *const texts[] = {"", "hangs", "not running", "ended"};

	return texts[life];
}

static enum snapshot_life life_of(uint32_t pid, uint64_t heard_ms, uint64_t now_ms)
{
	if (!pid)
		return SNAPSHOT_ENDED;
	if (!daemon_lives((pid_t)pid))
		return SNAPSHOT_DEAD;
	return heard_ms && now_ms > heard_ms + SILENT_MS ? SNAPSHOT_HANGS : SNAPSHOT_RUNS;
}

/* ---- workers ---- */

static void take_worker(struct snapshot *s, unsigned slot, uint64_t real_ms)
{
	const struct shm_slot *w = shm_slot(&s->shm, slot);
	struct snapshot_worker *out = &s->workers[s->nworkers++];
	uint32_t draining;

	memset(out, 0, sizeof(*out));
	out->slot = slot;
	out->pid = atomic_load(&w->pid);
	out->starts = stat_get(w->generation);
	out->life = life_of(out->pid, stats_sampled_ms(&w->samples), s->at_ms);
	if (out->life != SNAPSHOT_ENDED && stat_get(w->buried) >= out->starts)
		out->life = SNAPSHOT_DEAD; /* its pid may be another one's by now */
	draining = out->life == SNAPSHOT_ENDED ? 0 : atomic_load(&w->draining);
	out->retiring = draining == SHM_RETIRING;
	out->draining = draining && !out->retiring;
	out->age_s = seconds_since(stat_get(w->started_ms), real_ms);
	out->slot_words = w;
	out->stats = &w->stats;
	for (unsigned i = 0; i < shm_up_rings(&s->shm); i++) {
		uint64_t used = ring_used(&w->up[i]);

		if (used > out->up_bytes)
			out->up_bytes = used;
	}
	out->down_bytes = ring_used(&w->down);
	out->n.messages_in = stat_get(w->stats.messages_in);
	out->n.bytes_in = stat_get(w->stats.bytes_in);
	out->n.messages_out = stat_get(w->stats.messages_out);
	out->n.bytes_out = stat_get(w->stats.bytes_out);
	if (out->life > SNAPSHOT_HANGS)
		return; /* what it had open ended with it */
	out->n.connections = stat_get(w->stats.connections);
	out->n.unconfirmed = stat_get(w->stats.unconfirmed);
	out->tls = stat_get(w->stats.tls);
	out->ktls = stat_get(w->stats.ktls);
	for (unsigned i = 0; i <= STATS_OTHER; i++)
		out->n.behind += atomic_load(&w->behind[i]);
	if (out->life == SNAPSHOT_RUNS)
		out->rates = stats_rates(&w->samples, &w->stats, s->at_ms);
}

static void add_traffic(struct snapshot_traffic *to, const struct snapshot_traffic *n)
{
	to->messages_in += n->messages_in;
	to->bytes_in += n->bytes_in;
	to->messages_out += n->messages_out;
	to->bytes_out += n->bytes_out;
	to->unconfirmed += n->unconfirmed;
	to->behind += n->behind;
	to->connections += n->connections;
}

static const void *hist_at(const void *base, size_t offset)
{
	return (const char *)base + offset;
}

static void take_hists(struct snapshot *s)
{
	for (unsigned i = 0; i < STATS_HISTS; i++) {
		const struct stats_hist_desc *d = &stats_hists[i];

		if (d->of_bridge) {
			hist_sum(&s->hists[i], hist_at(&s->shm.bridge->stats, d->offset));
			continue;
		}
		hist_sum(&s->hists[i], hist_at(&s->shm.bridge->before.stats, d->offset));
		for (size_t k = 0; k < s->nworkers; k++)
			hist_sum(&s->hists[i], hist_at(s->workers[k].stats, d->offset));
	}
}

static void take_sums(struct snapshot *s)
{
	const struct worker_stats *b = &s->shm.bridge->before.stats;
	const struct snapshot_traffic before = {stat_get(b->messages_in), stat_get(b->bytes_in),
		stat_get(b->messages_out), stat_get(b->bytes_out), 0, 0, 0};

	add_traffic(&s->total, &before);
	for (size_t i = 0; i < s->nworkers; i++) {
		const struct stats_rates *r = &s->workers[i].rates;

		add_traffic(&s->total, &s->workers[i].n);
		s->rates.messages_in += r->messages_in;
		s->rates.bytes_in += r->bytes_in;
		s->rates.messages_out += r->messages_out;
		s->rates.bytes_out += r->bytes_out;
	}
	take_hists(s);
}

uint64_t snapshot_sum(const struct snapshot *s, const struct stats_desc *d)
{
	uint64_t n = stats_value(&s->shm.bridge->before.stats, d);

	for (size_t i = 0; i < s->nworkers; i++)
		n += stats_value(s->workers[i].stats, d);
	return n;
}

uint64_t snapshot_refused(const struct snapshot *s, unsigned status_index)
{
	uint64_t n = stat_get(s->shm.bridge->before.stats.refused[status_index]);

	for (size_t i = 0; i < s->nworkers; i++)
		n += stat_get(s->workers[i].stats->refused[status_index]);
	return n;
}

uint64_t snapshot_closed(const struct snapshot *s, enum stats_side side, unsigned code_index)
{
	uint64_t n = stat_get(s->shm.bridge->before.stats.closed[side][code_index]);

	for (size_t i = 0; i < s->nworkers; i++)
		n += stat_get(s->workers[i].stats->closed[side][code_index]);
	return n;
}

/* ---- services ---- */

/* gauges: its connections are still there. */
static void take_row(struct snapshot *s, const struct stats_service *rows, unsigned row,
	bool gauges, uint64_t behind)
{
	struct snapshot_service *to = &s->services[s->nservices];

	if (!stats_service_read(rows, row, &to->v) ||
		(to->v.len && token_encode(to->v.name, to->v.len, to->name, sizeof(to->name)) < 0))
		return;
	if (!to->v.len)
		to->name[0] = '\0';
	if (!gauges)
		to->v.n.connections = to->v.n.unconfirmed = 0;
	to->behind = behind;
	if (to->v.len || to->v.n.opened || to->v.n.connections || to->v.n.messages_in ||
		to->v.n.messages_out)
		s->nservices++;
}

static int by_name(const void *a, const void *b)
{
	const struct snapshot_service *x = a, *y = b;

	if (!x->name[0] || !y->name[0])
		return !x->name[0] - !y->name[0];
	return strcmp(x->name, y->name);
}

/* Those of one name, which are neighbours, become one. */
static void merge_services(struct snapshot *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->nservices; i++) {
		struct snapshot_service *from = &s->services[i],
					*to = n ? &s->services[n - 1] : NULL;

		if (!to || strcmp(to->name, from->name) != 0) {
			if (i != n)
				s->services[n] = *from;
			n++;
			continue;
		}
#define ADD(f, k, u, m, h) to->v.n.f += from->v.n.f;
		STATS_SERVICE(ADD)
#undef ADD
		to->behind += from->behind;
	}
	s->nservices = n;
}

static int take_services(struct snapshot *s)
{
	s->services = calloc((s->nworkers + 1) * (STATS_SERVICES + 1), sizeof(*s->services));
	if (!s->services)
		return -1;
	for (unsigned row = 0; row <= STATS_OTHER; row++) {
		take_row(s, s->shm.bridge->before.services, row, false, 0);
		for (size_t i = 0; i < s->nworkers; i++) {
			const struct shm_slot *slot = s->workers[i].slot_words;
			bool lives = s->workers[i].life <= SNAPSHOT_HANGS;

			take_row(s, slot->services, row, lives,
				lives ? atomic_load(&slot->behind[row]) : 0);
		}
	}
	qsort(s->services, s->nservices, sizeof(*s->services), by_name);
	merge_services(s);
	return 0;
}

/* ---- the whole ---- */

static void take_bridge(struct snapshot *s, uint64_t real_ms)
{
	const struct shm_bridge *b = s->shm.bridge;
	uint32_t version;

	s->bridge = life_of(atomic_load(&b->pid), stat_get(b->beat_ms), s->at_ms);
	s->bridge_age_s = seconds_since(stat_get(b->started_ms), real_ms);
	s->broker_since_s = seconds_since(stat_get(b->state_since_ms), s->at_ms);
	for (int i = 0; i < 10; i++) {
		version = atomic_load(&b->server_version);
		memcpy(s->server, b->server, sizeof(s->server));
		atomic_thread_fence(memory_order_acquire);
		if (!(version & 1) && version == atomic_load(&b->server_version))
			break;
	}
	s->server[sizeof(s->server) - 1] = '\0';
}

static void take_streams(struct snapshot *s)
{
	for (unsigned i = 0; i < SHM_STREAMS; i++) {
		const struct shm_stream_words *w = &s->shm.bridge->streams[i];
		struct snapshot_stream *out = &s->streams[s->nstreams];

		memcpy(out->name, w->name, sizeof(out->name));
		out->name[sizeof(out->name) - 1] = '\0';
		if (!out->name[0])
			return;
		out->state = atomic_load(&w->state);
		out->since_s = seconds_since(stat_get(w->since_ms), s->at_ms);
		out->users = stat_get(w->users);
		out->stored = stat_get(w->stored);
		out->delivered = stat_get(w->delivered);
		out->removals_pending = stat_get(w->removals_pending);
		out->reconnects = stat_get(w->reconnects);
		s->nstreams++;
	}
}

int snapshot_take_sums(struct snapshot *s, const struct shm *shm)
{
	unsigned max = shm->header->sizes.max_workers;

	memset(s, 0, sizeof(*s));
	s->shm = *shm;
	s->real_ms = clock_ms(CLOCK_REALTIME);
	s->at_ms = clock_ms(CLOCK_MONOTONIC);
	s->runs = true;
	s->age_s = seconds_since(s->shm.header->created_ms, s->real_ms);
	s->workers = calloc(max + 1u, sizeof(*s->workers));
	if (!s->workers)
		return -1;
	for (unsigned i = 0; i < max && shm_slot_used(&s->shm, i); i++)
		if (stat_get(shm_slot(&s->shm, i)->generation)) /* else nobody worked there yet */
			take_worker(s, i, s->real_ms);
	take_sums(s);
	take_bridge(s, s->real_ms);
	take_streams(s);
	return 0;
}

int snapshot_take(struct snapshot *s, const struct shm *shm)
{
	if (snapshot_take_sums(s, shm) == 0 && take_services(s) == 0)
		return 0;
	snapshot_free(s);
	return -1;
}

void snapshot_free(struct snapshot *s)
{
	free(s->workers);
	free(s->services);
	s->workers = NULL;
	s->services = NULL;
}

const char *snapshot_drain(const struct snapshot *s, const struct proto_drain *d)
{
	if (!d->begin_ms)
		return "no";
	if (s->at_ms < d->close_ms)
		return "leaving";
	return s->total.connections ? "draining" : "drained";
}

const char *snapshot_broker(const struct snapshot *s)
{
	static const char *const unknown[] = {NULL, "not known: the bridge hangs",
		"not known: the bridge is not running", "not known: the bridge has ended"};
	uint32_t state = atomic_load(&s->shm.bridge->broker_state);

	if (s->bridge != SNAPSHOT_RUNS)
		return unknown[s->bridge];
	for (size_t i = 0; state == SHM_BROKER_CONNECTED && i < s->nstreams; i++)
		if (s->streams[i].state != SHM_BROKER_CONNECTED)
			return "connected in part";
	return snapshot_state(state);
}

const char *snapshot_state(uint32_t state)
{
	switch (state) {
	case SHM_BROKER_CONNECTED:
		return "connected";
	case SHM_BROKER_LOST:
		return "away";
	}
	return "never reached yet";
}
