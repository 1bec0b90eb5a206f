/*
 * streams: each stream has a session with the broker of its own, and a row in shared memory: is it
 * there, and which incarnation of it. Epochs are of all streams together, so that a mark says by
 * its epoch of which stream it is.
 */
#include <errno.h>
#include <string.h>

#include <wsgate/clock.h>
#include <wsgate/log.h>

#include "bridge.h"

_Static_assert(CONFIG_STREAMS <= SHM_STREAMS, "each has its row");

struct bstream *streams_of(struct bridge *b, const struct identity *id)
{
	int i = config_stream_of(b->c, id->service, id->service_len);

	return i < 0 || (unsigned)i >= b->nstreams ? NULL : &b->streams[i];
}

bool streams_serve(struct slot *s, uint32_t index, const struct route_view *v)
{
	struct identity id = {v->service, v->user, v->service_len, v->user_len};
	struct bstream *of = streams_of(s->b, &id);
	struct down_ref ref = {v->generation, index, 0};
	const char *why = of ? "another stream keeps this service now: come back"
			     : "no stream keeps this service";

	/* The marks of a stream that the service has left, which say more than those to come. */
	if (of && (v->state == ROUTE_OPENING || !of->epoch || v->epoch <= of->epoch))
		return true;
	if (v->state == ROUTE_OPENING) {
		slots_notify(s, DOWN_REFUSED, &ref, 0, 404, NULL);
		return false;
	}
	log_some_warnings(5,
		"a connection ends: its service has another stream than before, or none",
		kv_mem("service", id.service, id.service_len),
		kv_mem("user", id.user, id.user_len));
	if (v->state == ROUTE_MOVED) /* the worker that gave it is to let go of it */
		slots_notify(s, DOWN_OPENED, &ref, 0, 0, NULL);
	slots_notify(s, DOWN_KICK, &ref, 0, of ? 1012 : 1008, why);
	return false;
}

/* ---- what others see ---- */

/* What any of them is makes the state of all: who is served here can be. */
static void streams_state(struct bridge *b)
{
	struct shm_bridge *sb = b->shm.bridge;
	uint32_t state = SHM_BROKER_NEVER;

	for (unsigned i = 0; i < b->nstreams; i++) {
		uint32_t one = atomic_load(&b->streams[i].words->state);

		if (one == SHM_BROKER_CONNECTED || state == SHM_BROKER_NEVER)
			state = one;
	}
	if (state == atomic_load(&sb->broker_state))
		return;
	atomic_store(&sb->state_since_ms, bridge_clock());
	atomic_store(&sb->broker_state, state);
}

static void stream_state(struct bstream *s, enum shm_broker_state state)
{
	atomic_store(&s->words->since_ms, bridge_clock());
	atomic_store(&s->words->state, (uint32_t)state);
	streams_state(s->b);
}

static void stream_server(struct bstream *s)
{
	struct shm_bridge *sb = s->b->shm.bridge;
	uint32_t version = atomic_load(&sb->server_version) | 1;

	atomic_store(&sb->server_version, version);
	atomic_thread_fence(memory_order_release);
	memset(sb->server, 0, sizeof(sb->server));
	broker_server(s->broker, sb->server, sizeof(sb->server));
	atomic_store(&sb->server_version, version + 1);
}

/* ---- incarnations ---- */

static void stream_stands(struct bstream *s, uint32_t epoch, uint64_t created, uint64_t last)
{
	struct shm_bridge *sb = s->b->shm.bridge;

	/* The highest first, then the epoch: a bridge killed in between raises it once more. */
	if (epoch > atomic_load(&sb->epoch))
		atomic_store(&sb->epoch, epoch);
	s->epoch = epoch;
	atomic_store(&s->words->epoch, epoch);
	stat_set(s->words->last_seq, last);
	atomic_store(&s->words->created, created);
	if (s == s->b->streams) { /* programs of old know one */
		stat_set(sb->last_seq, last);
		atomic_store(&sb->created, created);
	}
}

/* Is it the stream that our marks are of? If not, a new epoch begins. */
static bool stream_is_same(struct bstream *s, uint64_t created, uint64_t last)
{
	uint64_t known = atomic_load(&s->words->created), mark = stat_get(s->words->last_seq);

	if (known == created && last >= mark)
		return true;
	if (known)
		log_warn(known == created ? "the stream lost messages that were delivered: all "
					    "marks begin anew"
					  : "the stream is another one: all marks begin anew",
			kv_str("stream", s->words->name), kv_uint("last", last),
			kv_uint("mark", mark));
	stream_stands(s, atomic_load(&s->b->shm.bridge->epoch) + 1, created, 0);
	return false;
}

static bool stream_reset_user(void *value, void *arg)
{
	struct buser *u = value;

	if (u->s != arg)
		return true;
	u->head = u->mark = 0;
	stayed_anew(u);
	while (u->first)
		buffer_drop_first(u);
	u->floor = 0;
	for (struct bconn *c = u->conns; c; c = c->next) {
		c->pos = c->confirmed = 0;
		c->cursor = NULL;
		c->synced = true;
		window_drop(c);
	}
	return true;
}

/* Its marks go to 0. */
static void stream_reset(struct bstream *s)
{
	table_each(&s->b->users, stream_reset_user, s);
}

/* ---- events of a session ---- */

static void streams_max_message(struct bridge *b)
{
	size_t max = b->c->max_message, before = stat_get(b->shm.bridge->max_message);

	for (unsigned i = 0; i < b->nstreams; i++) {
		size_t room = b->streams[i].max_payload;

		if (room == 0)
			continue;
		room = room > 1024 ? room - 1024 : 1;
		max = room < max ? room : max;
	}
	b->max_message = max;
	stat_set(b->shm.bridge->max_message, max);
	if (max < b->c->max_message && max != before)
		log_info("max_message is bounded by the broker's max_payload less 1 KiB",
			kv_uint("bytes", max));
}

static void stream_connected(void *arg, uint64_t created, uint64_t last, size_t max_payload)
{
	struct bstream *s = arg;
	struct bridge *b = s->b;
	bool same = stream_is_same(s, created, last);

	s->max_payload = max_payload;
	streams_max_message(b);
	if (!same)
		stream_reset(s);
	b->now_ms = bridge_clock();
	s->connected = true;
	broker_resume(s->broker, same);
	stream_server(s);
	stream_state(s, SHM_BROKER_CONNECTED);
	log_info(
		"connected to the broker", kv_str("stream", s->words->name), kv_uint("last", last));
	dispatch_opened_all(s);
	publish_again_all(s);
	bridge_ready(b);
}

static void stream_lost(void *arg)
{
	struct bstream *s = arg;

	if (s->connected) {
		stream_state(s, SHM_BROKER_LOST);
		log_warn("the broker is away: clients stay, their messages wait",
			kv_str("stream", s->words->name));
	}
	s->connected = false;
}

static void stream_refused(void *arg, const char *text)
{
	struct bstream *s = arg;
	struct bridge *b = s->b;

	/* Who starts a gateway is to hear of it; but one that serves goes on. */
	if (atomic_load(&s->words->state) != SHM_BROKER_NEVER || s->late ||
		(!b->ready_by_ms &&
			atomic_load(&b->shm.bridge->broker_state) != SHM_BROKER_NEVER)) {
		log_error("the stream does not serve any more: tried again",
			kv_str("stream", s->words->name), kv_str("why", text));
		return;
	}
	log_error("the broker refuses this configuration", kv_str("stream", s->words->name),
		kv_str("why", text));
	bridge_fatal(b, text);
}

static const struct broker_events stream_events = {
	.connected = stream_connected,
	.lost = stream_lost,
	.refused = stream_refused,
	.message = dispatch_message,
	.left = dispatch_left,
	.reread = dispatch_reread,
	.published = publish_result,
	.closed = dispatch_closed,
	.heard = told_heard,
	.fenced = fence_stream,
	.lacks = fence_user,
	.answered = query_answered,
};

/* ---- start, change, stop ---- */

static void stream_was_lost(struct bstream *s, uint64_t lost_ms)
{
	if (lost_ms)
		s->lost_s = (clock_ms(CLOCK_REALTIME) - (bridge_clock() - lost_ms)) / 1000;
}

/* The grace begins. */
static void stream_away(struct bstream *s)
{
	uint32_t state = atomic_load(&s->words->state);

	if (state == SHM_BROKER_LOST)
		stream_was_lost(s, atomic_load(&s->words->since_ms));
	else if (state == SHM_BROKER_CONNECTED)
		stream_state(s, SHM_BROKER_LOST);
}

static void stream_adopt(struct bridge *b, unsigned i, const char *name)
{
	struct bstream *s = &b->streams[i];

	s->b = b;
	s->words = &b->shm.bridge->streams[i];
	if (!s->words->name[0])
		memcpy(s->words->name, name, strnlen(name, sizeof(s->words->name) - 1));
	s->epoch = atomic_load(&s->words->epoch);
	stat_set(s->words->users, 0);
	b->nstreams = i + 1;
	stream_away(s);
}

void streams_adopt(struct bridge *b)
{
	for (unsigned i = 0; i < config_streams(b->c); i++)
		stream_adopt(b, i, config_stream(b->c, i)->name);
}

void streams_inherit(struct bridge *b, const struct shm_streams *was, bool served)
{
	if (was->epoch > atomic_load(&b->shm.bridge->epoch))
		atomic_store(&b->shm.bridge->epoch, was->epoch);
	for (unsigned k = 0; k < was->n; k++) {
		const struct shm_stream *v = &was->v[k];

		for (unsigned i = 0; i < b->nstreams; i++) {
			struct bstream *s = &b->streams[i];

			/* One of an older layout has no name: it was the only one. */
			if (atomic_load(&s->words->created) || !v->created ||
				(v->name[0] ? strcmp(v->name, s->words->name) != 0
					    : b->c->nstreams > 0))
				continue;
			stream_stands(s, v->epoch, v->created, v->last_seq);
			/* Of one that is dead: no connection here lacks what was removed meanwhile.
			 */
			stat_set(s->words->said_ms,
				served || !v->said_ms ? v->said_ms : bridge_clock());
			stream_was_lost(s, v->lost_ms);
			if (served)
				stream_state(s, SHM_BROKER_LOST); /* the grace begins */
		}
	}
}

static int stream_start(struct bstream *s, size_t i)
{
	s->broker = broker_new(s->b->base, &s->b->pace, s->b->c, i, &stream_events, s,
		atomic_load(&s->b->shm.bridge->gateway));
	if (!s->broker)
		return -1;
	broker_said(s->broker, &s->words->said_ms);
	return 0;
}

int streams_start(struct bridge *b)
{
	for (unsigned i = 0; i < b->nstreams; i++)
		if (stream_start(&b->streams[i], i) < 0)
			return -1;
	return 0;
}

int streams_reconfigure(struct bridge *b, const struct config *c)
{
	for (unsigned i = 0; i < b->nstreams; i++)
		if (broker_reconfigure(b->streams[i].broker, c) < 0)
			return -1;
	return 0;
}

void streams_more(struct bridge *b)
{
	while (b->nstreams < config_streams(b->c)) {
		unsigned i = b->nstreams;
		struct bstream *s = &b->streams[i];

		stream_adopt(b, i, config_stream(b->c, i)->name);
		s->late = true;
		if (stream_start(s, i) == 0)
			continue;
		/* Its clients get 503 until then; those of the others notice nothing. */
		log_some_errors(1, "cannot begin with another stream: it is tried again",
			kv_str("stream", s->words->name), kv_errno(errno));
		b->nstreams = i;
		return;
	}
}

void streams_moving(struct bridge *b)
{
	for (unsigned i = 0; i < b->nstreams; i++)
		broker_moving(b->streams[i].broker);
}

bool streams_quit(struct bridge *b, uint64_t ms)
{
	bool ended = true;
	uint64_t until;

	/* First all of them: one whose server does not answer takes its time to stop. */
	for (unsigned i = 0; i < b->nstreams; i++)
		broker_farewell(b->streams[i].broker);
	for (unsigned i = 0; i < b->nstreams; i++)
		broker_quit(b->streams[i].broker);
	until = bridge_clock() + ms;
	for (unsigned i = 0; i < b->nstreams; i++)
		ended = broker_ended(b->streams[i].broker, until) && ended;
	return ended;
}

void streams_stop(struct bridge *b)
{
	for (unsigned i = 0; i < b->nstreams; i++) {
		broker_free(b->streams[i].broker);
		told_free(&b->streams[i]);
	}
}

/* ---- figures ---- */

/* Its counts begin with this process, ours do not. */
static void stream_stats(struct bstream *s, struct broker_stats *all)
{
	struct bridge_stats *st = &s->b->shm.bridge->stats;
	struct broker_stats n;

	broker_stats(s->broker, &n);
	stat_add(st->gets, n.gets - s->counted.gets);
	stat_add(st->retries, n.republished - s->counted.republished);
	stat_add(st->live, n.live - s->counted.live);
	stat_add(st->gaps, n.gaps - s->counted.gaps);
	stat_add(st->rescans, n.rescans - s->counted.rescans);
	stat_add(st->removals, n.removals - s->counted.removals);
	stat_add(st->aside, n.set_aside - s->counted.set_aside);
	stat_add(st->suppressed, n.duplicates_dropped - s->counted.duplicates_dropped);
	stat_add(st->reconnects, n.reconnects - s->counted.reconnects);
	stat_add(st->fenced, n.fenced - s->counted.fenced);
	stat_add(st->cut_off_users, n.cut_off_users - s->counted.cut_off_users);
	stat_add(s->words->reconnects, n.reconnects - s->counted.reconnects);
	stat_set(s->words->removals_pending, n.removals_pending);
	s->counted = n;
	all->removals_pending += n.removals_pending;
	all->shared_users += n.shared_users;
	all->held_users += n.held_users;
	all->unclear_users += n.unclear_users;
	/* The same gateways, by each stream; but where their beats do not pass, none is heard. */
	if (atomic_load(&s->words->state) == SHM_BROKER_CONNECTED && n.gateways < all->gateways)
		all->gateways = n.gateways;
	all->gateways_lost =
		n.gateways_lost > all->gateways_lost ? n.gateways_lost : all->gateways_lost;
	all->rtt_us = n.rtt_us > all->rtt_us ? n.rtt_us : all->rtt_us;
}

void streams_stats(struct bridge *b)
{
	struct bridge_stats *st = &b->shm.bridge->stats;
	struct broker_stats all = {.gateways = UINT64_MAX};

	for (unsigned i = 0; i < b->nstreams; i++)
		stream_stats(&b->streams[i], &all);
	stat_set(st->buffered_bytes, b->buffered);
	stat_set(st->gateways, all.gateways == UINT64_MAX ? 0 : all.gateways);
	stat_add(st->gateways_lost, all.gateways_lost - b->gateways_lost);
	b->gateways_lost = all.gateways_lost;
	stat_set(st->shared_users, all.shared_users);
	stat_set(st->held_users, all.held_users);
	stat_set(st->unclear_users, all.unclear_users);
	stat_set(st->removals_pending, all.removals_pending);
	stat_set(st->rtt_us, all.rtt_us);
}
