/*
 * move: gives this worker's connections to others, because there are to be fewer workers or the
 * program is replaced. heir.c has one receiver, parcel.h what goes over the wire.
 *
 * While the bridge runs, a connection goes when all that it sent is stored and released, so that
 * what it sends next, through another ring, stays behind it. When no bridge runs (freeze), it goes
 * as it is: the next bridge reads the older segment first.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <wsgate/log.h>

#include "heir.h"
#include "tls.h"
#include "worker.h"

#define HEIRS_MAX HERITAGE_SLOT_MAX
#define BATCH 256  /* connections looked at before the others have their turn */
#define TICK_MS 10 /* those who were not ready are looked at again */
#define HEIRLESS_MS 100

struct move {
	bool freeze;
	bool begun;                    /* all heirs are here */
	bool said;                     /* PROTO_MOVED */
	bool over;                     /* gives no more */
	bool owed;                     /* PROTO_MOVED once more: nobody stays any longer */
	bool unsaid;                   /* PROTO_SHUT */
	uint64_t moved, stay;          /* stay: as it was said */
	struct heir *heirs[HEIRS_MAX]; /* owned */
	size_t nheirs, turn;
	struct event *tick;  /* owned */
	struct conn *cursor; /* the next one to be looked at; NULL: from the start */
};

/* ---- one connection ---- */

/* Nothing of it is under way to the bridge, and no refusal from there. */
static bool move_settled(const struct conn *c)
{
	const struct worker *w = c->w;

	return !c->pending && !c->up_bytes &&
	       atomic_load_explicit(&w->down.words->head, memory_order_acquire) == w->down.pos;
}

static bool move_movable(const struct conn *c)
{
	if (c->admin || c->stays || !tls_moves(c))
		return false;
	if (c->state == CONN_REQUEST)
		return !c->fed && !tls_on(c); /* the request may ask OpenSSL who it is */
	return c->state == CONN_OPEN || (c->state == CONN_OPENING && c->w->move->freeze);
}

static void move_freeze(struct conn *c)
{
	c->frozen = 1;
	conn_read_off(c);
}

static bool move_ready(struct conn *c)
{
	if (!move_movable(c) || c->w->move->freeze || c->state == CONN_REQUEST || c->echo)
		return move_movable(c);
	if (move_settled(c))
		return true;
	/* Without the broker it would not settle, and its client would wait for nothing. */
	if (!c->frozen && link_connected(c->w, c->stream))
		move_freeze(c);
	return false;
}

/* Clients are read again: all, or those whose stream is away. */
static void move_thaw(struct worker *w, bool all)
{
	struct conn *c, *next;

	for (c = w->conns; c; c = next) {
		next = c->next;
		if (!c->frozen || (!all && link_connected(w, c->stream)))
			continue;
		c->frozen = 0;
		c->ping_ms = w->now_ms; /* its Pong may have come meanwhile */
		if (c->state != CONN_LEAVING)
			(void)!conn_resume(c);
	}
}

void move_answered(struct worker *w, struct conn *c, bool taken)
{
	if (taken) {
		w->move->moved++;
		conn_moved(c);
		return;
	}
	c->stays = c->came_back;
	c->came_back = 1;
	if (c->stays && !w->move->freeze)
		c->frozen = 0; /* it is served here to the end */
	conn_stay(c);
}

/* ---- all of them ---- */

static struct heir *move_next_heir(struct move *m)
{
	for (size_t i = 0; i < m->nheirs; i++) {
		struct heir *h = m->heirs[m->turn++ % m->nheirs];

		if (!h->past && heir_takes(h))
			return h;
	}
	return NULL;
}

static bool move_has_heir(const struct move *m)
{
	for (size_t i = 0; i < m->nheirs; i++)
		if (m->heirs[i]->fd >= 0 && !m->heirs[i]->past)
			return true;
	return false;
}

/* Are there any that move, are about to, or may yet come to be open? */
static bool move_waits(const struct worker *w)
{
	for (const struct conn *c = w->conns; c; c = c->next) {
		if (c->admin || c->stays || !(tls_moves(c) || c->seal_wanted))
			continue;
		if (c->state == CONN_LEAVING || move_movable(c))
			return true;
		if (!w->move->freeze && (c->state == CONN_REQUEST || c->state == CONN_AUTHORIZING ||
						c->state == CONN_OPENING))
			return true;
	}
	return false;
}

/* OpenSSL has its state in this process. Who is about to end anyway needs nobody. */
static bool move_stays(const struct conn *c)
{
	return !tls_moves(c) && c->state != CONN_REFUSED && c->state != CONN_LINGER;
}

static void move_say(struct worker *w)
{
	struct move *m = w->move;
	struct proto_moved body = {m->moved, 0, 0};

	for (const struct conn *c = w->conns; c; c = c->next) {
		body.left += !c->admin && c->state != CONN_REFUSED;
		body.stay += move_stays(c);
	}
	m->stay = body.stay;
	if (w->master && chan_send(w->master, PROTO_MOVED, &body, sizeof(body), -1) < 0)
		return; /* with the next tick */
	m->said = true;
	if (m->owed)
		log_info("the last connection that could not move has ended");
	else
		log_info("connections were handed over", kv_uint("moved", body.moved),
			kv_uint("left", body.left));
	m->owed = false;
	if (body.stay && !m->freeze)
		atomic_store(&w->slot->draining, SHM_RETIRING);
}

bool move_gives(const struct worker *w)
{
	return w->move && !w->move->over;
}

bool move_retires(const struct worker *w)
{
	return move_gives(w) && w->move->said && !w->move->freeze;
}

void move_show(const struct worker *w)
{
	atomic_store(&w->slot->draining, move_retires(w) && w->move->stay ? SHM_RETIRING : 0);
}

/* The last one that could not move has ended by itself: the master is told. */
void move_ended(struct worker *w)
{
	const struct timeval now = {0, 0};

	if (!w->move->said || w->move->over || !w->move->stay)
		return;
	for (const struct conn *c = w->conns; c; c = c->next)
		if (move_stays(c))
			return;
	w->move->said = false;
	w->move->owed = true;
	if (event_add(w->move->tick, &now) < 0)
		log_error("no timer: the next answer must do", kv_errno(errno));
}

static void move_run(struct worker *w)
{
	const struct timeval soon = {0, TICK_MS * 1000};
	struct move *m = w->move;
	struct heir *h = move_next_heir(m);
	unsigned looked = 0;
	bool whole = false;

	lane_reclaim_all(w);
	while (h && looked++ < BATCH && !whole) {
		struct conn *c = m->cursor ? m->cursor : w->conns;

		m->cursor = c ? c->next : NULL;
		if (c && move_ready(c))
			(void)!heir_give(h, c); /* c may be gone */
		whole = !m->cursor;
		h = move_next_heir(m);
	}
	if (!m->cursor && !move_waits(w))
		move_say(w);
	if (m->said)
		return;
	if (h && !whole)
		event_active(m->tick, EV_TIMEOUT, 0);
	else if (event_add(m->tick, &soon) < 0)
		log_error("no timer: the next answer must do", kv_errno(errno));
}

void move_go_on(struct worker *w)
{
	struct move *m = w->move;

	if (m && m->begun && !m->said && !m->over && move_has_heir(m))
		move_run(w);
}

void move_heir_gone(struct worker *w)
{
	const struct timeval now = {0, 0}, later = {0, HEIRLESS_MS * 1000};
	struct move *m = w->move;
	bool others = move_has_heir(m);

	/* Without a bridge what they send would only lie there, and perhaps be read behind what
	 * follows it. */
	if (!others && !m->freeze)
		move_thaw(w, true);
	if (event_add(m->tick, others ? &now : &later) < 0)
		log_error("no timer: the next answer must do", kv_errno(errno));
}

/* The master does not see that they are gone when it is not by their death. */
static void move_ask(struct worker *w)
{
	const struct timeval later = {0, HEIRLESS_MS * 1000};

	if (!move_waits(w))
		move_say(w);
	else if (w->master && chan_send(w->master, PROTO_HEIRLESS, NULL, 0, -1) == 0)
		w->move->begun = false;
	if (w->move->begun && !w->move->said && event_add(w->move->tick, &later) < 0)
		log_error("no timer: the next answer must do", kv_errno(errno));
}

/* What was read before is in the rings by now. */
static void move_say_shut(struct worker *w)
{
	const struct timeval soon = {0, TICK_MS * 1000};
	bool unsaid = w->master && chan_send(w->master, PROTO_SHUT, NULL, 0, -1) < 0;

	if (w->move)
		w->move->unsaid = unsaid;
	if (unsaid && (!w->move || event_add(w->move->tick, &soon) < 0))
		log_error("cannot tell the master", kv_errno(errno));
}

static void move_tick(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval soon = {0, TICK_MS * 1000};
	struct worker *w = arg;

	(void)fd;
	(void)what;
	w->now_ms = worker_clock();
	if (w->move->unsaid)
		move_say_shut(w);
	if (!w->move->freeze && !link_all_connected(w))
		move_thaw(w, false);
	if (w->move->owed && !w->move->over)
		move_say(w);
	else if (w->move->begun && !w->move->said && !w->move->over && !move_has_heir(w->move))
		move_ask(w);
	else
		move_go_on(w);
	if (w->move->owed && !w->move->over)
		(void)event_add(w->move->tick, &soon);
}

void move_forget(const struct conn *c)
{
	struct move *m = c->w->move;

	if (m && m->cursor == c)
		m->cursor = c->next;
}

void move_kick(struct conn *c, uint16_t code, const char *reason)
{
	struct move *m = c->w->move;

	for (size_t i = 0; i < m->nheirs; i++)
		if (m->heirs[i]->fd >= 0)
			heir_kick(m->heirs[i], c, code, reason);
}

void move_stop(struct worker *w)
{
	if (!move_gives(w))
		return;
	w->move->over = true;
	move_thaw(w, true);
}

void move_free(struct worker *w)
{
	struct move *m = w->move;

	if (!m)
		return;
	w->move = NULL;
	for (size_t i = 0; i < m->nheirs; i++) {
		heir_close(m->heirs[i]);
		free(m->heirs[i]);
	}
	event_free(m->tick);
	free(m);
}

/* ---- what the master says ---- */

/* What an earlier one gave and was not told about stays with its heirs. */
static bool move_new(struct worker *w)
{
	struct move *m = w->move ? w->move : calloc(1, sizeof(*m));

	if (m && !m->tick)
		m->tick = event_new(w->base, -1, 0, move_tick, w);
	if (!m || !m->tick) {
		free(m);
		return false;
	}
	for (size_t i = 0; i < m->nheirs; i++) {
		m->heirs[i]->past = true;
		if (m->heirs[i]->unanswered == 0)
			heir_close(m->heirs[i]);
	}
	m->begun = m->said = m->over = m->owed = m->unsaid = false;
	m->moved = m->stay = 0;
	m->cursor = NULL;
	w->move = m;
	/* Who comes back twice then stays, also when each time it was another heir. */
	for (struct conn *c = w->conns; c; c = c->next)
		c->stays = c->came_back = 0;
	return true;
}

void move_on_retire(void *arg, const void *body, int fd)
{
	const struct proto_retire *pr = body;
	struct worker *w = arg;
	bool begins = !w->ends && !move_gives(w);

	if (fd >= 0)
		close(fd);
	w->now_ms = worker_clock();
	if (begins && !move_new(w)) {
		log_error("no memory to hand connections over: this worker ends");
		_exit(1);
	}
	w->shut = pr->shut;
	if (w->shut)
		move_say_shut(w);
	if (!begins)
		return;
	w->move->freeze = pr->freeze;
	worker_leave_listeners(w);
	if (pr->freeze)
		auth_give_up(w); /* the bridge ends */
	/* The rest of a request that began to come is still read, and answered. */
	for (struct conn *c = w->conns; pr->freeze && c; c = c->next)
		if (move_movable(c))
			move_freeze(c);
	log_info(
		"accepts no more: its connections go to others", kv_uint("connections", w->nconns));
}

static struct heir *move_place(struct move *m)
{
	for (size_t i = 0; i < m->nheirs; i++)
		if (m->heirs[i]->fd < 0)
			return m->heirs[i];
	if (m->nheirs == HEIRS_MAX)
		return NULL;
	m->heirs[m->nheirs] = calloc(1, sizeof(struct heir));
	return m->heirs[m->nheirs] ? m->heirs[m->nheirs++] : NULL;
}

void move_on_heir(void *arg, const void *body, int fd)
{
	const struct proto_heir *ph = body;
	struct worker *w = arg;
	struct move *m = w->move;
	struct heir *h = m && fd >= 0 ? move_place(m) : NULL;

	w->now_ms = worker_clock();
	if (h && heir_open(h, w, fd) < 0)
		log_error("cannot watch a worker: it gets nothing", kv_errno(errno));
	if (!h && fd >= 0)
		close(fd);
	if (!m || !ph->last)
		return;
	/* The bridge is gone: all that it said last, before any connection goes. */
	do
		link_wakeup(w);
	while (m->freeze &&
		atomic_load_explicit(&w->down.words->head, memory_order_acquire) != w->down.pos);
	m->begun = true;
	m->said = false;
	if (move_has_heir(m))
		move_run(w);
	else
		move_say(w);
}

void move_on_resume(void *arg, const void *body, int fd)
{
	struct worker *w = arg;

	(void)body;
	if (fd >= 0)
		close(fd);
	w->now_ms = worker_clock();
	w->shut = false;
	move_stop(w);
	lane_serve_all(w);
	atomic_store(&w->slot->draining, w->draining);
	log_info("accepts again");
}
