#include <stdlib.h>

#include "bridge.h"

#define NS UINT64_C(1000000000)

bool window_open(const struct bconn *c, size_t len)
{
	const struct config *cf = c->user->b->c;

	return !c->out_n || (c->out_n < cf->delivery.window_messages &&
				    c->out_bytes + len <= cf->delivery.window);
}

bool window_reserve(struct bconn *c)
{
	struct given *out;
	uint32_t cap = c->out_cap ? c->out_cap * 2 : 4;

	if (c->out_n < c->out_cap)
		return true;
	out = malloc(cap * sizeof(*out));
	if (!out)
		return false;
	for (uint32_t i = 0; i < c->out_n; i++)
		out[i] = c->out[(c->out_first + i) % c->out_cap];
	free(c->out);
	c->out = out;
	c->out_first = 0;
	c->out_cap = cap;
	return true;
}

void window_given(struct bconn *c, const struct broker_message *m)
{
	struct bridge *b = c->user->b;
	struct given *g = &c->out[(c->out_first + c->out_n++) % c->out_cap];

	g->seq = m->seq;
	/* What lay there before says how long its user was away. */
	g->stamp_ns = m->stamp_ns / NS >= c->opened_s ? m->stamp_ns : 0;
	g->len = m->len;
	c->out_bytes += m->len;
	c->pos = m->seq;
	stat_add(b->shm.bridge->stats.delivered, 1);
	if (__builtin_expect(trace_on, 0))
		track_given(c, m);
	if (m->seq > stat_get(b->shm.bridge->last_seq))
		stat_set(b->shm.bridge->last_seq, m->seq);
}

void window_drop(struct bconn *c)
{
	free(c->out);
	c->out = NULL;
	c->out_n = c->out_cap = c->out_first = 0;
	c->out_bytes = 0;
}

void window_forget(struct bconn *c, uint64_t upto)
{
	struct hist *h = &c->user->b->shm.bridge->stats.confirm;
	uint64_t now = c->out_n ? bridge_clock_ns(CLOCK_REALTIME) : 0;

	while (c->out_n && c->out[c->out_first].seq <= upto) {
		if (c->out[c->out_first].stamp_ns)
			hist_add(h, hist_elapsed(c->out[c->out_first].stamp_ns, now), 1);
		c->out_bytes -= c->out[c->out_first].len;
		c->out_first = (c->out_first + 1) % c->out_cap;
		c->out_n--;
	}
	if (!c->out_n)
		window_drop(c);
}
