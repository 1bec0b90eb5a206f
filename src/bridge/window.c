#include <stdlib.h>

#include <wsgate/clock.h>

#include "bridge.h"

#define NS UINT64_C(1000000000)

bool window_open(const struct bconn *c, size_t len)
{
	const struct config *cf = c->user->s->b->c;
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
	if (!w) {
		c->user->s->b->starved = true;
		return false;
	}
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
	struct bridge *b = c->user->s->b;
	struct bstream *s = c->user->s;
	struct window *w = c->out;
	struct given *g = &w->v[(w->first + w->n++) % w->cap];

	g->seq = m->seq;
	/* What lay there before says how long its user was away. */
	g->stamp_ns = m->stamp_ns / NS >= c->opened_s ? m->stamp_ns : 0;
	g->len = m->len;
	w->bytes += m->len;
	c->pos = m->seq;
	stat_add(b->shm.bridge->stats.delivered, 1);
	stat_add(s->words->delivered, 1);
	track(track_given(c, m));
	if (m->seq > stat_get(s->words->last_seq)) {
		stat_set(s->words->last_seq, m->seq);
		if (s == b->streams)
			stat_set(b->shm.bridge->last_seq, m->seq);
	}
}

void window_drop(struct bconn *c)
{
	free(c->out);
	c->out = NULL;
}

void window_forget(struct bconn *c, uint64_t upto)
{
	struct hist *h = &c->user->s->b->shm.bridge->stats.confirm;
	struct window *w = c->out;
	uint64_t now = w ? clock_ns(CLOCK_REALTIME) : 0;

	while (w && w->n && w->v[w->first].seq <= upto) {
		const struct given *g = &w->v[w->first];

		if (g->stamp_ns)
			hist_add(h, hist_elapsed(g->stamp_ns, now), 1);
		w->bytes -= g->len;
		w->first = (w->first + 1) % w->cap;
		w->n--;
	}
	if (w && !w->n)
		window_drop(c);
}
