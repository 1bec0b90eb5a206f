/*
 * drain: connections are closed, spread over a time: because this worker ends, or because an
 * operator wants the gateway empty; then it goes on without any, and refuses new ones.
 */
#include <stdio.h>
#include <unistd.h>

#include <event2/event.h>

#include <wsgate/log.h>

#include "worker.h"

#define HINT_S 5       /* clients are told to come back in 1 to so many seconds */
#define STEP_US 10000u /* at the slowest, where they are not to be spread over all the time */
#define LATE_MS 1000   /* less than the master's patience beyond the time */
#define PART 700       /* of a thousand: what is left is for the last ones to answer their Close */

static void drain_next(struct worker *w, uint64_t ms);

static void drain_listeners(struct worker *w)
{
	struct listener *l, *next;

	for (l = w->listeners; l; l = next) {
		next = l->next;
		if (!l->admin) /* /readyz says that we are draining */
			worker_drop_listener(w, l, false);
	}
}

static bool drain_client(const struct conn *c)
{
	return !c->admin && c->state != CONN_REQUEST && c->state != CONN_REFUSED;
}

/* What moves is closed where it comes to; what stays with a worker that retires, here. */
static bool drain_gives(const struct worker *w)
{
	return move_gives(w) && !move_retires(w);
}

static bool drain_empty(const struct worker *w)
{
	for (const struct conn *c = w->conns; c; c = c->next)
		if (drain_client(c))
			return false;
	return true;
}

void drain_check(struct worker *w)
{
	struct conn *c;

	if (!w->draining)
		return;
	if (!w->ends) {
		if (!w->emptied && drain_empty(w)) {
			w->emptied = true;
			log_info("drained: no connection is left");
		}
		return;
	}
	/* Who asks the admin listener gets its answer; who looks at /live comes back. */
	for (c = w->conns;
		c && (c->state == CONN_REFUSED || (c->admin && c->state != CONN_REQUEST));
		c = c->next)
		;
	if (!c)
		event_base_loopexit(w->base, NULL);
}

/* Of those that are open, so many. */
static void drain_close(struct worker *w, uint64_t due)
{
	static unsigned turn;
	const char *does = !w->ends ? "draining" : w->restarts ? "restarting" : "stopping";
	bool back = w->restarts || !w->ends;
	struct conn *c, *next;
	char reason[64];

	for (c = w->conns; c && due; c = next) {
		next = c->next;
		if (c->state != CONN_OPEN || (c->admin && !w->ends))
			continue;
		due--;
		snprintf(reason, sizeof(reason), "the gateway is %s; reconnect in %u s", does,
			1 + turn++ % HINT_S);
		(void)!session_close(c, back ? WS_CODE_RESTART : WS_CODE_GOING_AWAY, reason);
	}
}

/* We stood still for so long that some were not told: they get a moment. Once. */
static bool drain_late(struct worker *w)
{
	bool open = false;

	for (const struct conn *c = w->conns; c && !w->late; c = c->next)
		open = open || (c->state == CONN_OPEN && !c->admin);
	if (!open)
		return false;
	w->late = true;
	drain_close(w, UINT64_MAX);
	w->drain_until_ms = w->now_ms + LATE_MS;
	return true;
}

/* The time is over. Those of a gateway that goes on are cut off one by one. */
static void drain_cut(struct worker *w)
{
	struct conn *c, *next;
	size_t n = 0;

	if (drain_late(w))
		return;
	for (c = w->conns; c; c = c->next)
		n += drain_client(c);
	if (n || w->ends)
		log_warn("drain time is over: the rest is cut off",
			kv_uint("connections", w->ends ? w->nconns : n));
	w->over = true;
	for (c = w->conns; c && !w->ends; c = next) {
		next = c->next;
		/* What is between two workers is closed where it comes to be, by drain_beat(). */
		if (drain_client(c) && c->state != CONN_ARRIVING && c->state != CONN_LEAVING)
			conn_free(c);
	}
	if (w->ends)
		event_base_loopexit(w->base, NULL);
}

/* Closes what is due by now: spread over most of the time, so that they do not all come back at
 * once. */
static void drain_some(struct worker *w)
{
	uint64_t now = w->now_ms, left_ms = w->drain_told_ms > now ? w->drain_told_ms - now : 0;
	uint64_t elapsed_us = now > w->drain_next_ms ? (now - w->drain_next_ms) * 1000 : 0;
	uint64_t step_us = left_ms * 1000 / (w->nconns + 1), due;

	if (now >= w->drain_until_ms) {
		drain_cut(w);
		return;
	}
	if (step_us > STEP_US && !w->drain_even)
		step_us = STEP_US;
	due = step_us ? elapsed_us / step_us : w->nconns;
	if (!due)
		return;
	w->drain_next_ms += due * step_us / 1000;
	drain_close(w, due);
}

/* even: over all of the time, however few they are; else no slower than STEP_US. */
static void drain_begin(struct worker *w, uint64_t ms, bool even)
{
	uint64_t open = 1, ahead = STEP_US / 1000;

	w->leaving = false;
	w->draining = true;
	w->over = w->emptied = w->late = false;
	atomic_store(&w->slot->draining, 1);
	auth_give_up(w);
	for (struct conn *c = w->conns; c; c = c->next)
		open += c->state == CONN_OPEN && (!c->admin || w->ends);
	log_info("draining", kv_uint("connections", open - 1), kv_uint("ms", ms));
	w->drain_until_ms = w->now_ms + ms;
	w->drain_told_ms = w->now_ms + ms * PART / 1000;
	w->drain_even = even;
	if (even) /* not all workers at the same moments */
		ahead += ms * PART / 1000 / (open + 1) * w->h->slot / w->h->nslots;
	/* The clock may have begun a moment ago. */
	w->drain_next_ms = w->now_ms > ahead ? w->now_ms - ahead : 0;
	if (!ms && w->ends)
		event_base_loopexit(w->base, NULL);
	else
		drain_next(w, 0);
}

/* The worker ends. */
static void drain_stop(struct worker *w)
{
	w->ends = true;
	w->restarts = w->stop.restart != 0;
	move_stop(w);
	drain_listeners(w);
	drain_begin(w, w->stop.drain_ms, false);
}

/* It goes on. A successor of one that was killed comes when it is half over, or over. */
static void drain_hold(struct worker *w)
{
	const struct proto_drain *d = &w->drain;

	drain_begin(w, d->end_ms > w->now_ms ? d->end_ms - w->now_ms : 0, d->even != 0);
}

static void drain_tick(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	w->now_ms = worker_clock();
	if (w->leaving && w->stopping) {
		drain_stop(w);
		return;
	}
	if (w->leaving) {
		drain_hold(w);
		return;
	}
	if (!w->draining || w->over)
		return;
	if (drain_gives(w) && w->now_ms < w->drain_until_ms)
		w->drain_next_ms = w->now_ms;
	else
		drain_some(w);
	drain_check(w);
	if (w->draining && !w->over)
		drain_next(w, STEP_US / 1000);
}

static void drain_next(struct worker *w, uint64_t ms)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	if (!w->drain_timer)
		w->drain_timer = evtimer_new(w->base, drain_tick, w);
	if (w->drain_timer && evtimer_add(w->drain_timer, &tv) == 0)
		return;
	log_error("no timer for a drain: connections are cut off", kv_errno(ENOMEM));
	if (w->ends)
		event_base_loopexit(w->base, NULL);
	else
		drain_cut(w);
}

/* What came to be open since then, from another worker or by a handshake that was under way. */
void drain_beat(struct worker *w)
{
	if (!w->draining || w->ends || !w->over || drain_gives(w))
		return;
	drain_close(w, UINT64_MAX);
	drain_check(w);
}

/* ---- what the master says ---- */

static void drain_leave(struct worker *w, uint64_t at_ms)
{
	uint64_t wait = at_ms > w->now_ms ? at_ms - w->now_ms : 0;

	w->leaving = true;
	log_info("not ready any more: load balancers have time to know", kv_uint("ms", wait));
	drain_next(w, wait);
}

void drain_on_stop(void *arg, const void *body, int fd)
{
	struct worker *w = arg;
	const struct proto_stop *stop = body;
	uint64_t at;
	bool again = w->stopping;

	if (fd >= 0)
		close(fd);
	w->now_ms = worker_clock();
	w->stop = *stop;
	w->stopping = true;
	at = w->now_ms + stop->delay_ms;
	if (w->leaving && w->drain.close_ms < at)
		at = w->drain.close_ms; /* they know already */
	if (!again && !w->draining && at > w->now_ms)
		drain_leave(w, at);
	else
		drain_stop(w);
}

static void drain_over(struct worker *w)
{
	if (!w->leaving && !w->draining)
		return;
	if (w->drain_timer)
		evtimer_del(w->drain_timer);
	w->leaving = w->draining = false;
	move_show(w);
	log_info("takes connections again");
}

void drain_set(struct worker *w, const struct proto_drain *d)
{
	w->drain = *d;
	if (w->stopping)
		return;
	if (!d->begin_ms)
		drain_over(w);
	else if (!w->draining && d->close_ms > w->now_ms)
		drain_leave(w, d->close_ms);
	else
		drain_hold(w);
}

void drain_on_order(void *arg, const void *body, int fd)
{
	struct worker *w = arg;

	if (fd >= 0)
		close(fd);
	w->now_ms = worker_clock();
	drain_set(w, body);
}
