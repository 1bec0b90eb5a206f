#include <wsgate/clock.h>

#include "tally.h"
#include "tls.h"

void tally_start(struct worker *w)
{
	struct worker_stats *s = &w->slot->stats;

	stat_add(s->closed[STATS_BY_GATEWAY][stats_code_index(1006)], stat_get(s->connections));
	stat_set(s->connections, 0);
	stat_set(s->tls, 0);
	stat_set(s->ktls, 0);
	stat_set(s->unconfirmed, 0);
	stats_services_start(w->slot->services);
	tally_beat(w);
}

void tally_refused(struct worker *w, unsigned status)
{
	stat_add(w->slot->stats.refused[stats_status_index(status)], 1);
}

unsigned tally_hold(struct worker *w, const struct identity *who)
{
	return stats_service_hold(
		w->slot->services, w->services_held, who->service, who->service_len);
}

void tally_drop(struct conn *c)
{
	stats_service_drop(c->w->services_held, c->w->routes.routes[c->route].service);
}

static uint32_t tally_unconfirmed(const struct conn *c)
{
	struct route_figures f;

	route_get_figures(&c->w->routes, c->route, &f);
	return f.messages_out - f.messages_confirmed;
}

/* One more (of those connections that have a route: not an echo). */
static void tally_enter(struct conn *c)
{
	struct stats_service *v;
	uint32_t unconfirmed;

	stat_add(c->w->slot->stats.connections, 1);
	stat_add(c->w->slot->stats.tls, tls_on(c));
	stat_add(c->w->slot->stats.ktls, c->ktls);
	if (c->route == NO_ROUTE)
		return;
	v = tally_service(c);
	unconfirmed = tally_unconfirmed(c);
	stat_add(v->n.connections, 1);
	stat_add(v->n.unconfirmed, unconfirmed);
	stat_add(c->w->slot->stats.unconfirmed, unconfirmed);
}

static void tally_leave(struct conn *c)
{
	struct stats_service *v;
	uint32_t unconfirmed;

	stat_sub(c->w->slot->stats.connections, 1);
	stat_sub(c->w->slot->stats.tls, tls_on(c));
	stat_sub(c->w->slot->stats.ktls, c->ktls);
	if (c->route == NO_ROUTE)
		return;
	v = tally_service(c);
	unconfirmed = tally_unconfirmed(c);
	stat_sub(v->n.connections, 1);
	stat_sub(v->n.unconfirmed, unconfirmed);
	stat_sub(c->w->slot->stats.unconfirmed, unconfirmed);
}

void tally_opened(struct conn *c)
{
	stat_add(c->w->slot->stats.opened, 1);
	if (c->route != NO_ROUTE)
		stat_add(tally_service(c)->n.opened, 1);
	tally_enter(c);
}

void tally_closed(struct conn *c)
{
	unsigned code = c->close_sent ? (c->close_code ? c->close_code : 1005) : 1006;
	enum stats_side by = c->by_client ? STATS_BY_CLIENT : STATS_BY_GATEWAY;

	stat_add(c->w->slot->stats.closed[by][stats_code_index(code)], 1);
	tally_leave(c);
}

void tally_moved_out(struct conn *c)
{
	stat_add(c->w->slot->stats.moved_out, 1);
	tally_leave(c);
}

void tally_moved_in(struct conn *c)
{
	stat_add(c->w->slot->stats.moved_in, 1);
	tally_enter(c);
}

/* Returns how many these are. */
static uint32_t tally_settle(struct conn *c, uint32_t count)
{
	struct route *r = &c->w->routes.routes[c->route];
	uint32_t n = count - atomic_load_explicit(&r->messages_confirmed, memory_order_relaxed);

	if (n > tally_unconfirmed(c))
		return 0; /* a Ping of before tally_forget() */
	tally_add32(r->messages_confirmed, n);
	stat_sub(tally_service(c)->n.unconfirmed, n);
	stat_sub(c->w->slot->stats.unconfirmed, n);
	return n;
}

void tally_confirmed(struct conn *c, uint32_t count)
{
	uint32_t n = tally_settle(c, count);

	stat_add(tally_service(c)->n.confirmed, n);
	stat_add(c->w->slot->stats.confirmed, n);
}

void tally_forget(struct conn *c)
{
	(void)tally_settle(c, tally_sent(c));
}

void tally_beat(struct worker *w)
{
	stats_sample(&w->slot->samples, &w->slot->stats, w->now_ms);
}

/* One look at the clock for all of them. */
void tally_delivered(struct worker *w)
{
	struct hist *h = &w->slot->stats.delivery;
	uint64_t now = clock_ns(CLOCK_REALTIME);

	for (uint16_t i = 0; i < w->nsegs; i++)
		if (w->segs[i].stamp_ns)
			hist_add(h, hist_elapsed(w->segs[i].stamp_ns, now), 1);
}
