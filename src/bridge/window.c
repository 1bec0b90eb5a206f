#include <stdlib.h>

#include "bridge.h"

bool window_open(const struct bconn *c, size_t len)
{
	const struct config *cf = c->user->b->c;
	const struct window *w = c->out;

	return !w || !w->n ||
	       (w->n < cf->delivery.window_messages && w->bytes + len <= cf->delivery.window);
}

bool window_reserve(struct bconn *c)
{
	struct window *old = c->out, *w;
	uint32_t cap = old ? old->cap * 2 : 4;

	if (old && old->n < old->cap)
		return true;
	w = malloc(sizeof(*w) + cap * sizeof(w->v[0]));
	if (!w)
		return false;
	w->first = w->n = 0;
	w->bytes = old ? old->bytes : 0;
	w->cap = cap;
	for (; old && w->n < old->n; w->n++)
		w->v[w->n] = old->v[(old->first + w->n) % old->cap];
	free(old);
	c->out = w;
	return true;
}

void window_given(struct bconn *c, const struct broker_message *m)
{
	struct bridge *b = c->user->b;
	struct window *w = c->out;
	struct given *g = &w->v[(w->first + w->n++) % w->cap];

	g->seq = m->seq;
	g->len = m->len;
	w->bytes += m->len;
	c->pos = m->seq;
	stat_add(b->shm.bridge->stats.delivered, 1);
	if (m->seq > stat_get(b->shm.bridge->last_seq))
		stat_set(b->shm.bridge->last_seq, m->seq);
}

void window_forget(struct bconn *c, uint64_t upto)
{
	struct window *w = c->out;

	while (w && w->n && w->v[w->first].seq <= upto) {
		w->bytes -= w->v[w->first].len;
		w->first = (w->first + 1) % w->cap;
		w->n--;
	}
	if (w && !w->n) {
		free(w);
		c->out = NULL;
	}
}
