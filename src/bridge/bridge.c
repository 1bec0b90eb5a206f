#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <wsgate/clock.h>
#include <wsgate/log.h>

#include "bridge.h"

#define TICK_MS 200
#define FIRST_ANSWER_MS 1000
#define PACE_FROM 8000    /* a second: live copies, removals, and what connections bring about */
#define QUIT_MS 1500      /* for the broker's threads; the master waits two seconds, */
#define QUIT_HURRY_MS 500 /* or one */
#define ORPHAN_FLUSH_MS                                                                            \
	10000 /* without a master: what is in the rings still goes out, for so long */

uint64_t bridge_clock(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

size_t bridge_key(const struct identity *id, char out[KEY_MAX])
{
	out[0] = (char)id->service_len;
	memcpy(out + 1, id->service, id->service_len);
	memcpy(out + 1 + id->service_len, id->user, id->user_len);
	return 1 + id->service_len + id->user_len;
}

/* ---- the end ---- */

void bridge_fatal(struct bridge *b, const char *text)
{
	struct proto_text fatal;

	memset(&fatal, 0, sizeof(fatal));
	strncpy(fatal.text, text, sizeof(fatal.text) - 1);
	if (b->master && chan_send(b->master, PROTO_FATAL, &fatal, sizeof(fatal), -1) < 0)
		log_error("cannot tell the master", kv_errno(errno));
	b->status = CHILD_EXIT_FATAL;
	event_base_loopbreak(b->base);
}

static void bridge_finish(struct bridge *b)
{
	struct proto_flushed f = {slots_empty(b), 0};

	if (!f.empty)
		log_warn("messages of clients are not stored yet: they stay in the segment for the "
			 "next start");
	if (b->master && chan_send(b->master, PROTO_FLUSHED, &f, sizeof(f), -1) < 0)
		log_warn("cannot tell the master", kv_errno(errno));
	event_base_loopbreak(b->base);
}

/* Everything that clients gave is stored, everything that they confirmed is removed. */
void bridge_check_flushed(struct bridge *b)
{
	if (b->stopping && slots_empty(b) && dispatch_idle(b))
		bridge_finish(b);
}

static void bridge_flush_end(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	bridge_finish(arg);
}

static void bridge_flush(struct bridge *b, uint64_t ms, bool moving)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	b->stopping = true;
	b->hurry = ms == 0;
	slots_wakeup(b); /* who has ended until now has */
	told_all(b);
	b->moving = moving;
	if (moving)
		streams_moving(b);
	slots_end_all(b);
	stayed_end_all(b);
	if (event_add(b->flush_end, &tv) < 0)
		bridge_finish(b);
	else
		bridge_check_flushed(b);
}

static void bridge_on_stop(void *arg, const void *body, int fd)
{
	const struct proto_stop *stop = body;
	struct bridge *b = arg;

	if (fd >= 0)
		close(fd);
	bridge_flush(b, stop->drain_ms, stop->restart);
}

static void bridge_orphaned(void *arg)
{
	struct bridge *b = arg;

	log_warn("the master is gone: the bridge stores what it has and ends");
	chan_free(b->master);
	b->master = NULL;
	bridge_flush(b, ORPHAN_FLUSH_MS, false);
}

/* ---- channels, timers ---- */

static void bridge_on_worker_up(void *arg, const void *body, int fd)
{
	const struct proto_slot *s = body;

	if (fd >= 0)
		close(fd);
	slots_worker_up(arg, s->slot, s->generation);
}

static void bridge_on_worker_down(void *arg, const void *body, int fd)
{
	const struct proto_slot *s = body;

	if (fd >= 0)
		close(fd);
	slots_worker_down(arg, s->slot, s->generation, s->last);
}

static const struct chan_handler master_handlers[] = {
	{PROTO_STOP, sizeof(struct proto_stop), bridge_on_stop},
	{PROTO_WORKER_UP, sizeof(struct proto_slot), bridge_on_worker_up},
	{PROTO_WORKER_DOWN, sizeof(struct proto_slot), bridge_on_worker_down},
	{PROTO_CONFIG, sizeof(struct proto_config), orders_on_config},
	{PROTO_LOG, sizeof(struct proto_log), chan_on_log},
	{PROTO_SLOT, sizeof(struct proto_slot), orders_on_slot},
	{PROTO_CLOSE, sizeof(struct proto_close), orders_on_close},
	{PROTO_TRACE, sizeof(struct trace_order), chan_on_trace},
	{PROTO_SYNC, sizeof(struct proto_sync), orders_on_sync},
	{0, 0, NULL},
};

static void bridge_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	slots_wakeup(arg);
}

static bool bridge_first(const struct bridge *b)
{
	return stat_get(b->shm.bridge->stats.starts) == 1 && b->h->predecessor < 0;
}

void bridge_ready(struct bridge *b)
{
	bool met = true;

	if (!b->ready_by_ms)
		return;
	for (unsigned i = 0; i < b->nstreams; i++)
		met = met && atomic_load(&b->streams[i].words->state) != SHM_BROKER_NEVER;
	if (!met && bridge_first(b) && b->now_ms < b->ready_by_ms)
		return;
	if (b->master && chan_send(b->master, PROTO_READY, NULL, 0, -1) < 0 && errno == EAGAIN)
		return;
	b->ready_by_ms = 0;
}

static void bridge_tick(evutil_socket_t fd, short what, void *arg)
{
	struct bridge *b = arg;

	(void)fd;
	(void)what;
	slots_wakeup(b);
	slots_tick(b);
	publish_tick(b);
	query_tick(b);
	stayed_tick(b);
	dispatch_tick(b);
	streams_stats(b);
	past_tick(b);
	trace_tick(b->now_ms);
	stat_set(b->shm.bridge->beat_ms, bridge_clock());
	bridge_ready(b);
	bridge_check_flushed(b);
}

static void bridge_beat(evutil_socket_t fd, short what, void *arg)
{
	struct bridge *b = arg;

	(void)fd;
	(void)what;
	log_catch_up();
	streams_more(b);
	/* EAGAIN: the master has not read the last ones; it will. */
	if (b->master && chan_send(b->master, PROTO_BEAT, NULL, 0, -1) < 0 && errno != EAGAIN)
		log_debug("beat not sent", kv_errno(errno));
}

static int bridge_events_new(struct bridge *b)
{
	struct timeval tick = {0, TICK_MS * 1000}, second = {1, 0};

	b->again = event_new(b->base, -1, 0, bridge_again, b);
	b->tick = event_new(b->base, -1, EV_PERSIST, bridge_tick, b);
	b->beat = event_new(b->base, -1, EV_PERSIST, bridge_beat, b);
	b->flush_end = event_new(b->base, -1, 0, bridge_flush_end, b);
	b->master = chan_new(b->base, b->h->control, "master", master_handlers, bridge_orphaned, b);
	b->pulse = pulse_new(b->base, &b->shm.bridge->process);
	if (!b->pulse || !b->again || !b->tick || !b->beat || !b->flush_end || !b->master)
		return -1;
	return event_add(b->tick, &tick) < 0 || event_add(b->beat, &second) < 0 ? -1 : 0;
}

/* The program was replaced: connections came here with marks of the streams as that one's bridge
 * knew them. */
static void bridge_inherit(struct bridge *b)
{
	struct shm_streams was;

	if (b->h->predecessor < 0)
		return;
	if (shm_read_streams(b->h->stale[b->h->predecessor], &was) < 0) {
		log_warn("cannot read where the stream stood: messages may be delivered twice",
			kv_errno(errno));
		return;
	}
	if (!stat_get(b->shm.bridge->max_message))
		stat_set(b->shm.bridge->max_message, was.max_message);
	streams_inherit(b, &was, true);
}

/* Other gateways know this one by a name that its successors keep. */
static void bridge_name(struct bridge *b)
{
	struct shm_streams was;
	uint64_t name;

	if (atomic_load(&b->shm.bridge->gateway))
		return;
	if (b->h->predecessor < 0 || shm_read_streams(b->h->stale[b->h->predecessor], &was) < 0)
		was.gateway = 0;
	memcpy(&name, b->shm.header->id, sizeof(name));
	atomic_store(&b->shm.bridge->gateway, was.gateway ? was.gateway : name | 1);
}

static void bridge_adopt(struct bridge *b)
{
	struct timespec now;

	bridge_name(b);
	streams_adopt(b);
	bridge_inherit(b);
	past_adopt(b);
	clock_gettime(CLOCK_REALTIME, &now);
	atomic_store(&b->shm.bridge->pid, (uint32_t)getpid());
	atomic_store(&b->shm.bridge->started_ms, (uint64_t)now.tv_sec * 1000);
	stat_add(b->shm.bridge->stats.starts, 1);
	stat_set(b->shm.bridge->beat_ms, bridge_clock());
	stat_set(b->shm.bridge->stats.users, 0);
	stat_set(b->shm.bridge->stats.buffered_bytes, 0);
	b->max_message = b->c->max_message;
	if (stat_get(b->shm.bridge->max_message))
		b->max_message = stat_get(b->shm.bridge->max_message);
}

static int bridge_start(struct bridge *b)
{
	b->now_ms = bridge_clock();
	b->base = turns_new();
	pace_start(&b->pace, PACE_FROM);
	if (!b->base || shm_map(&b->shm, b->h->segment, true) < 0 || bridge_events_new(b) < 0)
		return -1;
	dispatch_start(b);
	publish_start(b);
	bridge_adopt(b);
	log_tap(notes_tap, &b->shm.bridge->notes);
	trace_follow(&b->h->trace);
	if (streams_start(b) < 0 || slots_start(b) < 0)
		return -1;
	b->ready_by_ms = bridge_clock() + FIRST_ANSWER_MS;
	bridge_ready(b);
	return 0;
}

static void bridge_free(struct bridge *b)
{
	/* Nothing is left to be done; what a thread may still use is not freed. */
	if (!streams_quit(b, b->hurry ? QUIT_HURRY_MS : QUIT_MS))
		_exit(b->status);
	streams_stop(b);
	dispatch_stop(b); /* first: each connection has its place in a slot */
	slots_stop(b);
	publish_stop(b);
	query_stop(b);
	chan_free(b->master);
	pulse_free(b->pulse);
	past_stop(b);
	log_tap(NULL, NULL);
	event_free(b->again);
	event_free(b->tick);
	event_free(b->beat);
	event_free(b->flush_end);
	event_base_free(b->base);
	shm_unmap(&b->shm);
	config_free(b->own);
}

int bridge_main(const struct heritage *h)
{
	static struct bridge b; /* one a process; too large for the stack */

	b.h = h;
	b.c = h->config;
	if (bridge_start(&b) < 0) {
		log_error("the bridge cannot start", kv_errno(errno));
		return 1;
	}
	if (turns_run(b.base, &b.pace) < 0) {
		log_error("event loop failed", kv_errno(errno));
		b.status = 1;
	}
	bridge_free(&b);
	return b.status;
}
