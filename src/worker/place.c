/*
 * place: the connection's route in shared memory: made, given marks, ended. The bridge reads it.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include <wsgate/log.h>

#include "follow.h"
#include "parcel.h"
#include "tally.h"
#include "worker.h"

struct conn *place_find(struct worker *w, const struct down_ref *ref)
{
	struct conn *c = ref->index < w->routes.n ? w->by_route[ref->index] : NULL;

	return c && c->generation == ref->generation ? c : NULL;
}

static bool place_of_dead(const struct worker *w, uint32_t i)
{
	uint64_t generation = stat_get(w->routes.routes[i].generation);

	return generation && generation >> 32 < w->h->generation;
}

/*
 * The places of dead workers: free as soon as a bridge has taken over what was confirmed there.
 * They are used last: should that bridge die before all of it is removed, its successor reads them
 * again.
 */
static void place_free_dead(struct worker *w)
{
	uint32_t dead = 0;

	if (!w->dead_places || stat_get(w->slot->buried) + 1 < w->h->generation)
		return;
	w->dead_places = false;
	for (uint32_t i = 0; i < w->routes.n; i++)
		dead += place_of_dead(w, i);
	memmove(w->free_routes + dead, w->free_routes, w->nfree * sizeof(w->free_routes[0]));
	w->nfree += dead;
	for (uint32_t i = 0; dead > 0; i++)
		if (place_of_dead(w, i))
			w->free_routes[--dead] = i;
}

static bool place_is_free(struct worker *w)
{
	place_free_dead(w);
	return w->nfree > 0;
}

/* There is one that is free. */
static void place_write(struct conn *c, const struct identity *who, struct route_birth *birth)
{
	struct worker *w = c->w;
	int stream = config_stream_of(w->c, who->service, who->service_len);
	uint32_t index;

	/* One that has none any more: the bridge ends it. */
	c->stream = stream < 0 ? 0 : (uint8_t)stream;
	index = w->free_routes[--w->nfree];
	c->route = index;
	c->generation = w->h->generation << 32 | (uint32_t)++w->route_count;
	w->by_route[index] = c;
	birth->peer = c->peer;
	route_write(&w->routes, index, c->generation, who, birth);
	link_changed(w, index);
}

bool place_open(struct conn *c, const struct identity *who)
{
	struct route_birth birth = {.moved = false};
	struct timespec now;

	if (!place_is_free(c->w))
		return false;
	if (worker_random(c->w, (uint8_t *)&c->id) < 0) {
		log_error("no random bytes for the name of a connection", kv_errno(errno));
		return false;
	}
	/* Its first two digits name the worker where it began. */
	c->id = (c->id & UINT64_C(0x00ffffffffffffff)) | (uint64_t)c->w->h->slot << 56;
	clock_gettime(CLOCK_REALTIME, &now);
	birth.id = c->id;
	birth.figures.opened_s = (uint32_t)now.tv_sec;
	birth.service = tally_hold(c->w, who);
	place_write(c, who, &birth);
	return true;
}

static struct route_birth place_of_parcel(const struct parcel_head *h)
{
	return (struct route_birth){.id = h->conn,
		.figures = h->figures,
		.moved = true,
		.epoch = h->epoch,
		.given = h->given,
		.confirmed = h->confirmed};
}

bool place_adopt(struct conn *c, const struct identity *who, const struct parcel_head *h)
{
	struct route_birth birth = place_of_parcel(h);

	if (!place_is_free(c->w))
		return false;
	c->id = h->conn;
	birth.service = tally_hold(c->w, who);
	place_write(c, who, &birth);
	return true;
}

void place_describe(const struct conn *c, struct parcel_head *h, struct identity *who)
{
	const struct route *r = &c->w->routes.routes[c->route];

	*who = place_identity(c);
	h->conn = c->id;
	route_get_figures(&c->w->routes, c->route, &h->figures);
	h->given = stat_get(r->given);
	h->confirmed = stat_get(r->confirmed);
	h->epoch = stat_get(r->epoch);
}

/* The new route first: the user is never without one. */
bool place_reopen(struct conn *c)
{
	struct worker *w = c->w;
	struct parcel_head h;
	struct identity who;
	struct route_birth birth;
	uint32_t old = c->route;

	if (!place_is_free(w) || c->up_bytes)
		return false;
	place_describe(c, &h, &who);
	birth = place_of_parcel(&h);
	birth.service = w->routes.routes[old].service; /* its figures count there */
	place_write(c, &who, &birth);
	w->by_route[old] = NULL;
	route_set_state(&w->routes, old, ROUTE_ENDED);
	link_changed(w, old);
	return true;
}

void place_leave(struct conn *c)
{
	c->w->by_route[c->route] = NULL;
	tally_drop(c);
	c->route = NO_ROUTE;
}

/* The place is used again only after the bridge said DOWN_ENDED. */
void place_end(struct conn *c)
{
	struct worker *w = c->w;
	uint32_t route = c->route;

	place_leave(c);
	route_set_state(&w->routes, route, ROUTE_ENDED);
	link_changed(w, route);
}

void place_ended(struct worker *w, const struct down_ref *ref)
{
	struct route_view v;

	/* To a dead worker: what was its is free already. Or said twice, by two bridges. */
	if (ref->generation >> 32 != w->h->generation || ref->index >= w->routes.n ||
		w->by_route[ref->index] ||
		!route_read_marks(&w->routes, ref->index, ref->generation, &v))
		return;
	route_clear(&w->routes, ref->index);
	w->free_routes[w->nfree++] = ref->index;
}

uint64_t place_given(const struct conn *c)
{
	return c->route == NO_ROUTE ? 0 : stat_get(c->w->routes.routes[c->route].given);
}

uint64_t place_confirmed(const struct conn *c)
{
	return c->route == NO_ROUTE ? 0 : stat_get(c->w->routes.routes[c->route].confirmed);
}

void place_confirm(struct conn *c, uint64_t seq)
{
	if (c->route == NO_ROUTE || seq <= place_confirmed(c))
		return;
	tally_confirmed(c, seq == place_given(c) ? tally_sent(c) : c->ping_count);
	route_set_confirmed(&c->w->routes, c->route, seq);
	if (follow_wants(c))
		follow_confirmed(c, seq);
	link_changed(c->w, c->route);
}

struct identity place_identity(const struct conn *c)
{
	const struct route_section *s = &c->w->routes;
	const struct route *r = &s->routes[c->route];
	const char *names = r->names;

	if (r->service_len + r->user_len > ROUTE_INLINE)
		names = s->longs + (size_t)c->route * ROUTE_LONG;
	return (struct identity){names, names + r->service_len, r->service_len, r->user_len};
}
