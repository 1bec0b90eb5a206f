/*
 * tally: counts what a worker's connections do, in shared memory, for the worker, the service and
 * the connection. Room: worker.
 */
#ifndef WSGATE_WORKER_TALLY_H
#define WSGATE_WORKER_TALLY_H

#include "worker.h"

/* The predecessor's connections ended with it. */
void tally_start(struct worker *w);
void tally_refused(struct worker *w, unsigned status);
/* A route of that service is about to be written (the service's row), and has ended. */
unsigned tally_hold(struct worker *w, const struct identity *who);
void tally_drop(struct conn *c);
/* The upgrade is done; the end of such a connection, while it still has its route. */
void tally_opened(struct conn *c);
void tally_closed(struct conn *c);
/* The same for one that is given to another worker and taken from one. Its figures go with its
 * route. */
void tally_moved_out(struct conn *c);
void tally_moved_in(struct conn *c);
/* All messages up to `count` (see tally_sent()) are confirmed. */
void tally_confirmed(struct conn *c, uint32_t count);
/* What is not confirmed never will be: its stream is gone. */
void tally_forget(struct conn *c);
void tally_beat(struct worker *w);
/* A batch was written: how long its messages were on their way. */
void tally_delivered(struct worker *w);

static inline struct stats_service *tally_service(const struct conn *c)
{
	return &c->w->slot->services[c->w->routes.routes[c->route].service];
}

/* Messages given to this connection so far, modulo 2^32. */
static inline uint32_t tally_sent(const struct conn *c)
{
	return c->route == NO_ROUTE
		       ? 0
		       : atomic_load_explicit(
				 &c->w->routes.routes[c->route].messages_out, memory_order_relaxed);
}

#define tally_add32(counter, n)                                                                    \
	atomic_store_explicit(&(counter),                                                          \
		atomic_load_explicit(&(counter), memory_order_relaxed) + (uint32_t)(n),            \
		memory_order_relaxed)

/* For each message: nothing here that is not in the cache already. */
static inline void tally_in(struct conn *c, size_t len)
{
	struct route *r = &c->w->routes.routes[c->route];
	struct worker_stats *s = &c->w->slot->stats;
	struct stats_service *v = tally_service(c);

	tally_add32(r->messages_in, 1);
	stat_add(r->bytes_in, len);
	stat_add(v->n.messages_in, 1);
	stat_add(v->n.bytes_in, len);
	stat_add(s->messages_in, 1);
	stat_add(s->bytes_in, len);
}

static inline void tally_out(struct conn *c, size_t len)
{
	struct route *r = &c->w->routes.routes[c->route];
	struct worker_stats *s = &c->w->slot->stats;
	struct stats_service *v = tally_service(c);

	tally_add32(r->messages_out, 1);
	stat_add(r->bytes_out, len);
	stat_add(v->n.messages_out, 1);
	stat_add(v->n.bytes_out, len);
	stat_add(v->n.unconfirmed, 1);
	stat_add(s->messages_out, 1);
	stat_add(s->bytes_out, len);
	stat_add(s->unconfirmed, 1);
}

#endif
