#include "bridge.h"

uint8_t bconn_text(const struct bridge *b, const struct broker_message *m)
{
	switch (m->text) {
	case BROKER_TEXT_TEXT:
		return DOWN_TEXT_TEXT;
	case BROKER_TEXT_BINARY:
		return DOWN_TEXT_BINARY;
	case BROKER_TEXT_UNMARKED:
		break;
	}
	switch (b->c->delivery.text) {
	case TEXT_TEXT:
		return DOWN_TEXT_TEXT;
	case TEXT_BINARY:
		return DOWN_TEXT_BINARY;
	case TEXT_AUTO:
		break;
	}
	return DOWN_TEXT_AUTO;
}

/* False: it waits (no room in the ring, or no memory for the window). */
bool bconn_give(struct bconn *c, const struct broker_message *m)
{
	struct bridge *b = c->user->s->b;
	struct down_ref ref = {c->generation, c->index, 0};

	if (c->blocked)
		return false;
	if (!window_reserve(c) || !slots_put_message(&b->slots[c->slot], m, c->user->s->epoch,
					  bconn_text(b, m), &ref, 1)) {
		slots_block(&b->slots[c->slot], c);
		return false;
	}
	window_given(c, m);
	return true;
}

/* Is everything that it lacks in the buffer, or still to come? Then it reads there. */
void bconn_sync(struct bconn *c)
{
	struct buser *u = c->user;
	struct bnode *n = u->first;

	if (c->synced || c->pos < u->floor)
		return;
	while (n && n->m->seq <= c->pos)
		n = n->next;
	c->synced = true;
	c->cursor = n;
}

void bconn_skip(struct bconn *c, uint64_t upto)
{
	c->pos = upto;
	while (c->cursor && c->cursor->m->seq <= upto)
		c->cursor = c->cursor->next;
}

void bconn_fall_behind(struct bconn *c)
{
	if (c->synced)
		stat_add(c->user->s->b->shm.bridge->stats.fell_behind, 1);
	c->synced = false;
	c->cursor = NULL;
}

void bconn_run(struct bconn *c)
{
	struct buser *u = c->user;

	if (c->waits)
		return;
	bconn_sync(c);
	while (c->synced && c->cursor && window_open(c, c->cursor->m->len)) {
		if (!bconn_give(c, c->cursor->m))
			return;
		c->cursor = c->cursor->next;
	}
	if (c->synced || c->rereading || c->retry || c->blocked || !u->q || u->closing ||
		!u->s->connected || !window_open(c, c->need))
		return;
	c->rereading = true;
	stat_add(u->s->b->shm.bridge->stats.rereads, 1);
	broker_queue_reread(u->q, c->pos, c);
}

void bconn_note(struct bconn *c, bool behind)
{
	struct slot *s = &c->user->s->b->slots[c->slot];
	_Atomic uint32_t *n = &s->words->behind[c->service];
	uint32_t bit = UINT32_C(1) << c->index % 32, word;

	if (c->behind == behind)
		return;
	c->behind = behind;
	word = atomic_load_explicit(&s->behind[c->index / 32], memory_order_relaxed);
	atomic_store_explicit(
		&s->behind[c->index / 32], behind ? word | bit : word & ~bit, memory_order_relaxed);
	word = atomic_load_explicit(n, memory_order_relaxed);
	atomic_store_explicit(n, behind ? word + 1 : word - 1, memory_order_relaxed);
}

bool bconn_caught_up(const struct bconn *c)
{
	return c->synced && !c->cursor && !c->blocked && window_open(c, 0);
}
