#include <stdlib.h>

#include "bridge.h"

/* Of a slot: so many in any case, which is a part of the places that it has beyond its share; more
 * as long as an eighth of all its places stays free: a broker which removes nothing fills up
 * nobody. */
#define HELD_MIN 128

/*
 * A route whose connection has ended keeps what was confirmed there until that is removed from the
 * stream, or another route of the same user says it: a bridge killed in between would forget it
 * otherwise.
 */
struct ended {
	struct ended *next;
	TAILQ_ENTRY(ended) link; /* of its slot, oldest first */
	struct buser *user;
	struct slot *slot;
	struct down_ref ref;
};

static bool ended_room(const struct slot *s)
{
	return s->held < HELD_MIN || s->nconns + s->held < s->routes.n - s->routes.n / 8;
}

static bool ended_listed(const struct buser *u, const struct slot *s, const struct down_ref *ref)
{
	for (const struct ended *e = u->ended; e; e = e->next)
		if (e->slot == s && e->ref.generation == ref->generation)
			return true;
	return false;
}

/* False: too many wait, or there is no memory for one more. */
static bool ended_keep(struct buser *u, struct slot *s, const struct down_ref *ref)
{
	struct ended *e = ended_room(s) ? malloc(sizeof(*e)) : NULL;

	if (!e)
		return false;
	s->held++;
	*e = (struct ended){.next = u->ended, .user = u, .slot = s, .ref = *ref};
	TAILQ_INSERT_TAIL(&s->ended, e, link);
	u->ended = e;
	return true;
}

static void ended_free(struct buser *u)
{
	struct ended *e = u->ended;

	u->ended = e->next;
	e->slot->held--;
	TAILQ_REMOVE(&e->slot->ended, e, link);
	free(e);
}

void ended_release(struct buser *u)
{
	while (u->ended) {
		slots_notify(u->ended->slot, DOWN_ENDED, &u->ended->ref, 0, 0, NULL);
		ended_free(u);
	}
}

void ended_make_room(struct slot *s)
{
	while (s->held && !ended_room(s))
		ended_release(TAILQ_FIRST(&s->ended)->user);
}

void ended_drop(struct buser *u)
{
	while (u->ended)
		ended_free(u);
}

void ended_now(struct slot *s, uint32_t index, const struct route_view *v)
{
	struct identity id = {v->service, v->user, v->service_len, v->user_len};
	struct buser *u = dispatch_user(s->b, &id, false);
	struct down_ref ref = {v->generation, index, 0};

	if (u && ended_listed(u, s, &ref))
		return;
	if (s->b->moving)
		return; /* a successor reads its mark */
	if (!u || !u->closing || !u->mark || !ended_keep(u, s, &ref))
		slots_notify(s, DOWN_ENDED, &ref, 0, 0, NULL);
}

bool ended_mark(
	struct bridge *b, const struct route_view *v, enum ended_rank rank, struct buser **out)
{
	struct identity id = {v->service, v->user, v->service_len, v->user_len};
	struct bstream *s = streams_of(b, &id);
	struct buser *u = dispatch_user(b, &id, false);
	uint64_t mark = s && v->epoch == s->epoch ? v->confirmed : 0;

	*out = NULL;
	/* If others are here, they know what all have confirmed; an open queue has its own mark. */
	if (!s || (!mark && v->state != ROUTE_OPEN) || (u && (u->conns || u->q)))
		return true;
	u = dispatch_user(b, &id, true);
	if (!u)
		return false;
	if (mark)
		*out = u;
	if (rank < u->rank)
		return true;
	/* Several may have ended at once: what the slower one lacks it has still to get. */
	mark = stayed_limit(u, mark);
	if (rank > u->rank || mark < u->mark)
		u->mark = u->head = u->floor = mark;
	u->rank = rank;
	return true;
}

bool ended_found(struct slot *s, uint32_t index, const struct route_view *v)
{
	struct down_ref ref = {v->generation, index, 0};
	struct buser *u;

	if (!ended_mark(s->b, v, ENDED_HERE, &u))
		return false;
	if (!u || !ended_keep(u, s, &ref))
		slots_notify(s, DOWN_ENDED, &ref, 0, 0, NULL);
	return true;
}
