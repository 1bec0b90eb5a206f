/*
 * stayed: connections that stayed with a program that was replaced: OpenSSL has their keys.
 * Nothing more reaches them there, and they are closed one after the other. What others of their
 * user confirm meanwhile, here or at other gateways, is kept until they had the time to come back:
 * the user's queue stays open, and nothing is read from it for them.
 */
#include <stdlib.h>
#include <string.h>

#include "bridge.h"

#define RETURN_MS 15000 /* they are told to come back in 1 to 5 seconds */

struct stayed_route {
	struct stayed_route *next;
	unsigned which, slot; /* of an older segment */
	uint32_t index;
	uint64_t generation, confirmed;
	uint64_t until_ms; /* it has ended; 0: it is there */
	bool anew;         /* its mark is of a stream that is not there any more */
};

struct stayed { /* a user; in b->stayed under its key */
	struct stayed_route *routes;
	size_t len;
	char key[];
};

static struct stayed *stayed_user(struct bridge *b, const struct identity *id)
{
	char key[KEY_MAX];
	size_t len = bridge_key(id, key);
	struct stayed *y = table_get(&b->stayed, key, len);

	if (y)
		return y;
	y = malloc(sizeof(*y) + len);
	if (!y)
		return NULL;
	y->routes = NULL;
	y->len = len;
	memcpy(y->key, key, len);
	if (table_put(&b->stayed, y->key, len, y) == 0)
		return y;
	free(y);
	return NULL;
}

bool stayed_add(
	struct bridge *b, unsigned which, unsigned slot, uint32_t index, const struct route_view *v)
{
	struct identity id = {v->service, v->user, v->service_len, v->user_len};
	struct stayed_route *r = malloc(sizeof(*r));
	struct stayed *y = r ? stayed_user(b, &id) : NULL;
	/* Held against other gateways, too, also when nothing was confirmed there. */
	const struct buser *u = y ? dispatch_user(b, &id, true) : NULL;
	bool anew = !u || v->epoch != u->s->epoch;

	if (!y) {
		free(r);
		return false;
	}
	*r = (struct stayed_route){.next = y->routes,
		.which = which,
		.slot = slot,
		.index = index,
		.generation = v->generation,
		.confirmed = anew ? 0 : v->confirmed,
		.anew = anew};
	y->routes = r;
	b->stales[which].stayed++;
	return u != NULL;
}

static struct stayed *stayed_of(const struct buser *u)
{
	const struct table *t = &u->s->b->stayed;

	return table_count(t) ? table_get(t, u->names, 1u + u->service_len + u->user_len) : NULL;
}

uint64_t stayed_limit(const struct buser *u, uint64_t mark)
{
	const struct stayed *y = stayed_of(u);

	for (const struct stayed_route *r = y ? y->routes : NULL; r; r = r->next)
		if (r->confirmed < mark)
			mark = r->confirmed;
	return mark;
}

bool stayed_has(const struct buser *u)
{
	return stayed_of(u) != NULL;
}

bool stayed_open(const struct buser *u)
{
	const struct stayed *y = stayed_of(u);

	for (const struct stayed_route *r = y ? y->routes : NULL; r; r = r->next)
		if (!r->until_ms)
			return true;
	return false;
}

/* What is kept for it has changed: it has confirmed more, or is over (then false is left in
 * goes_on). The last that it confirmed counts, and is seen before its end is. */
static bool stayed_changed(struct bridge *b, struct stayed_route *r, bool *goes_on)
{
	struct stale *st = &b->stales[r->which];
	struct route_section routes = shm_routes(&st->shm, r->slot);
	struct route_view v;

	*goes_on = true;
	if (!r->until_ms && route_read_marks(&routes, r->index, r->generation, &v)) {
		if (v.confirmed > r->confirmed && !r->anew) {
			r->confirmed = v.confirmed;
			return true;
		}
		if (v.state == ROUTE_OPEN && st->lives[r->slot])
			return false;
	}
	if (!r->until_ms)
		r->until_ms = b->now_ms + RETURN_MS;
	*goes_on = b->now_ms < r->until_ms;
	return !*goes_on;
}

static void stayed_drop_first(struct bridge *b, struct stayed_route **at)
{
	struct stayed_route *r = *at;

	*at = r->next;
	b->stales[r->which].stayed--;
	free(r);
}

static bool stayed_look(void *value, void *arg)
{
	struct stayed_route **at;
	struct bridge *b = arg;
	struct stayed *y = value;
	bool changed = false, goes_on;
	struct buser *u;

	for (at = &y->routes; *at;) {
		changed |= stayed_changed(b, *at, &goes_on);
		if (goes_on)
			at = &(*at)->next;
		else
			stayed_drop_first(b, at);
	}
	u = changed ? table_get(&b->users, y->key, y->len) : NULL;
	if (u)
		dispatch_dirty(u);
	if (!y->routes) {
		(void)table_del(&b->stayed, y->key, y->len);
		free(y);
		if (u)
			dispatch_let_go(u);
	}
	return true;
}

void stayed_tick(struct bridge *b)
{
	if (!table_count(&b->stayed))
		return;
	for (unsigned i = 0; i < b->h->nstale; i++)
		if (b->stales[i].stayed)
			stale_look(&b->stales[i]);
	table_each(&b->stayed, stayed_look, b);
}

void stayed_anew(struct buser *u)
{
	struct stayed *y = stayed_of(u);

	for (struct stayed_route *r = y ? y->routes : NULL; r; r = r->next) {
		r->confirmed = 0;
		r->anew = true;
	}
}

static void stayed_drop(struct bridge *b, struct stayed *y)
{
	while (y->routes)
		stayed_drop_first(b, &y->routes);
	free(y);
}

static bool stayed_end(void *value, void *arg)
{
	struct stayed *y = value;
	struct bridge *b = arg;
	struct buser *u = table_get(&b->users, y->key, y->len);

	(void)table_del(&b->stayed, y->key, y->len);
	stayed_drop(b, y);
	if (u)
		dispatch_let_go(u);
	return true;
}

void stayed_end_all(struct bridge *b)
{
	table_each(&b->stayed, stayed_end, b);
}

static bool stayed_free_each(void *value, void *arg)
{
	stayed_drop(arg, value);
	return true;
}

void stayed_free(struct bridge *b)
{
	table_each(&b->stayed, stayed_free_each, b);
	table_free(&b->stayed);
}
