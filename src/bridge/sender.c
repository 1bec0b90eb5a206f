/*
 * sender: who sent a message, and what he is told of it.
 */
#include <string.h>

#include "bridge.h"
#include "pub.h"

/* By the name that it has in every worker. NULL: it is not here. */
static struct bconn *conn_named(struct bridge *b, const struct identity *id, const char *conn)
{
	struct buser *u = dispatch_user(b, id, false);
	char name[ROUTE_ID_TEXT];

	for (struct bconn *c = u ? u->conns : NULL; c; c = c->next) {
		route_id_text(b->slots[c->slot].routes.ids[c->index], name);
		if (strcmp(name, conn) == 0)
			return c;
	}
	return NULL;
}

struct bconn *publish_conn(const struct pub *p)
{
	struct up_source *src = p->src;
	struct slot *s = &src->b->slots[src->slot];
	struct bconn *c;

	/* It may have come here since, by another route. */
	if (src->stale >= 0)
		return conn_named(src->b, &p->p.id, p->conn);
	if (!s->used || p->index >= s->routes.n)
		return NULL;
	c = s->conns[p->index];
	return c && c->generation == p->generation ? c : NULL;
}

bool publish_poisoned(const struct pub *p, const struct bconn *c)
{
	const struct bridge *b = p->src->b;

	for (size_t i = 0; !c && i < b->npoisoned && i < POISONED_MAX; i++)
		if (strcmp(b->poisoned[i], p->conn) == 0)
			return true;
	return c && c->poisoned;
}

/* Whom we do not know is remembered by its id: one that stayed with a program that was replaced, or
 * has ended. */
void publish_poison(const struct pub *p, struct bconn *c)
{
	struct bridge *b = p->src->b;

	if (publish_poisoned(p, c))
		return;
	if (c)
		c->poisoned = true;
	else
		memcpy(b->poisoned[b->npoisoned++ % POISONED_MAX], p->conn, sizeof(p->conn));
}

bool publish_tell(const struct pub *p, const struct bconn *c, enum down_type type, uint16_t code,
	const char *reason)
{
	struct bridge *b = p->src->b;
	struct down_ref ref = {p->generation, p->index, 0};
	uint64_t seq = type == DOWN_FLUSHED ? p->stamp : 0;
	struct slot *s;

	if (c) {
		ref = (struct down_ref){c->generation, c->index, 0};
		return slots_try_notify(&b->slots[c->slot], type, &ref, seq, code, reason);
	}
	if (p->src->stale >= 0)
		s = stale_slot(b, p->src);
	else
		s = slots_dead(&b->slots[p->src->slot], p->generation) ? NULL
								       : &b->slots[p->src->slot];
	/* One that was not taken in here, but has to end in good order: streams_serve(). Or one
	 * that stays with a program that was replaced. */
	return !s || slots_try_notify(s, type, &ref, seq, code, reason) || b->stopping;
}
