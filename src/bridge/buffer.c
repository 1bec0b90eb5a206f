/*
 * buffer: messages of a user that came live and that not all of its connections have taken yet.
 */
#include <stdlib.h>

#include "bridge.h"

static size_t cost(const struct broker_message *m)
{
	return m->len + BROKER_MESSAGE_COST;
}

void buffer_drop_first(struct buser *u)
{
	struct bnode *n = u->first;

	u->first = n->next;
	if (!u->first)
		u->last = NULL;
	u->floor = n->m->seq;
	u->bytes -= (uint32_t)cost(n->m);
	u->s->b->buffered -= cost(n->m);
	broker_message_unref(n->m);
	free(n);
}

void buffer_drop(struct buser *u)
{
	while (u->first)
		buffer_drop_first(u);
	u->floor = u->head;
}

static void buffer_want(struct buser *u, bool want)
{
	if (!u->q || u->closing || u->wanted == want)
		return;
	u->wanted = want;
	broker_queue_want(u->q, want);
}

void buffer_trim(struct buser *u)
{
	uint64_t need = UINT64_MAX;

	for (struct bconn *c = u->conns; c; c = c->next)
		if (c->synced && c->cursor && c->cursor->m->seq < need)
			need = c->cursor->m->seq;
	while (u->first && u->first->m->seq < need)
		buffer_drop_first(u);
	if (!u->first)
		u->floor = u->head;
}

/* Who has not taken all of the buffer reads it again later, from the stream. */
static void buffer_let_go(struct buser *u)
{
	for (struct bconn *c = u->conns; c; c = c->next)
		if (c->cursor)
			bconn_fall_behind(c);
	buffer_drop(u);
}

/*
 * Too much is buffered. If somebody keeps up, those who do not fall behind and read again later;
 * if nobody does, the rest stays in the stream.
 */
void buffer_budget(struct buser *u)
{
	const struct config *cf = u->s->b->c;
	bool over = u->bytes > cf->delivery.user_buffer ||
		    (u->bytes && u->s->b->buffered > cf->delivery.total_buffer);
	bool ready = false, synced = false;

	for (struct bconn *c = u->conns; c; c = c->next) {
		ready |= bconn_caught_up(c);
		synced |= c->synced;
	}
	if (over && ready) {
		buffer_let_go(u);
		for (struct bconn *c = u->conns; c; c = c->next)
			bconn_run(c);
		over = false;
	}
	if (over && u->s->b->buffered > cf->delivery.total_buffer) {
		/* Too much for all together: this user's part stays in the stream. */
		buffer_let_go(u);
		synced = false;
		for (struct bconn *c = u->conns; c; c = c->next)
			synced |= c->synced;
	}
	if (over || !synced)
		buffer_want(u, false);
	else if (!u->first || (u->bytes <= cf->delivery.user_buffer / 2 &&
				      u->s->b->buffered <= cf->delivery.total_buffer))
		buffer_want(u, true);
}

bool buffer_add(struct buser *u, struct broker_message *m)
{
	struct bnode *n = malloc(sizeof(*n));

	if (!n)
		return false;
	n->next = NULL;
	n->m = broker_message_ref(m);
	if (u->last)
		u->last->next = n;
	else
		u->first = n;
	u->last = n;
	u->bytes += (uint32_t)cost(m);
	u->s->b->buffered += cost(m);
	for (struct bconn *c = u->conns; c; c = c->next) {
		bconn_sync(c);
		if (c->synced && !c->cursor && m->seq > c->pos)
			c->cursor = n;
	}
	return true;
}
