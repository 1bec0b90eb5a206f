/*
 * quota: so many connections of one user, and what becomes of one more. It is looked at when a
 * route opens: a connection that moved, or that a predecessor served, was let in before.
 */
#include <wsgate/log.h>

#include "bridge.h"

static const struct route *quota_route(const struct bconn *c)
{
	return &c->user->s->b->slots[c->slot].routes.routes[c->index];
}

static uint32_t quota_count(const struct buser *u)
{
	uint32_t n = 0;

	for (const struct bconn *c = u->conns; c; c = c->next)
		n += !c->going;
	return n;
}

/* Of those that opened in the same second, the one that came here first: new ones are put before
 * the others. */
static struct bconn *quota_oldest(const struct buser *u)
{
	struct bconn *oldest = NULL;

	for (struct bconn *c = u->conns; c; c = c->next)
		if (!c->going &&
			(!oldest || quota_route(c)->opened_s <= quota_route(oldest)->opened_s))
			oldest = c;
	return oldest;
}

static void quota_supersede(struct buser *u, uint32_t limit, const struct route_view *v)
{
	struct bridge *b = u->s->b;

	for (uint32_t n = quota_count(u); n >= limit; n--) {
		struct bconn *c = quota_oldest(u);
		struct down_ref ref = {c->generation, c->index, 0};

		told_now(c);
		slots_notify(&b->slots[c->slot], DOWN_KICK, &ref, 0, 4001,
			"superseded by a newer connection");
		stat_add(b->shm.bridge->stats.superseded, 1);
		log_some_infos(5, "a connection is superseded: its user has too many",
			kv_mem("service", v->service, v->service_len),
			kv_mem("user", v->user, v->user_len), kv_uint("limit", limit));
	}
}

bool quota_admits(struct slot *s, uint32_t index, const struct route_view *v)
{
	struct bridge *b = s->b;
	uint32_t limit = b->c->limits.connections_per_user;
	struct identity id = {v->service, v->user, v->service_len, v->user_len};
	struct down_ref ref = {v->generation, index, 0};
	struct buser *u;

	if (!limit || v->state != ROUTE_OPENING)
		return true;
	u = dispatch_user(b, &id, false);
	if (!u || quota_count(u) < limit)
		return true;
	if (b->c->limits.user_policy == USER_SUPERSEDE) {
		if (!b->scanning) /* else a predecessor has said whom, perhaps the other one */
			quota_supersede(u, limit, v);
		return true;
	}
	slots_notify(s, DOWN_REFUSED, &ref, 0, 0, NULL);
	return false;
}

/* The same connection by another route: it counts once. */
void quota_moved(struct bconn *c, uint64_t id)
{
	for (struct bconn *d = c->next; d; d = d->next)
		if (c->user->s->b->slots[d->slot].routes.ids[d->index] == id)
			d->going = true;
}
