/*
 * told: connections that are not let in before the other gateways can know of them. What is
 * published from then on reaches this gateway, too, before another one has it removed. Where no
 * other gateway is there, nobody waits.
 */
#include <stdlib.h>
#include <string.h>

#include "bridge.h"

struct told {
	uint64_t no, generation;
	uint32_t index;
	uint16_t slot;
};

static void let_in(struct bconn *c)
{
	struct slot *s = &c->user->s->b->slots[c->slot];
	struct down_ref ref = {c->generation, c->index, 0};

	c->waits = false;
	if (c->user->q)
		broker_queue_let_in(c->user->q, true);
	slots_notify(s, DOWN_OPENED, &ref, c->confirmed, 0, NULL);
}

static bool grow(struct bstream *s)
{
	size_t room = s->told_room ? 2 * s->told_room : 64;
	struct told *v;

	if (s->ntold < s->told_room)
		return true;
	v = realloc(s->told, room * sizeof(*v));
	if (!v)
		return false;
	s->told = v;
	s->told_room = room;
	return true;
}

void told_wait(struct bconn *c)
{
	struct bstream *s = c->user->s;
	uint64_t no = broker_tell_gateways(s->broker);

	if (no == 0 || !grow(s)) {
		let_in(c);
		return;
	}
	c->waits = true;
	if (c->user->conns == c && !c->next)
		broker_queue_let_in(c->user->q, false);
	s->told[s->ntold++] = (struct told){no, c->generation, c->index, c->slot};
}

void told_now(struct bconn *c)
{
	if (c->waits)
		let_in(c);
}

/* In their order. */
void told_heard(void *arg, uint64_t no)
{
	struct bstream *s = arg;
	size_t n = 0;

	if (s->ntold == 0)
		return;
	for (; n < s->ntold && s->told[n].no <= no; n++) {
		const struct told *t = &s->told[n];
		struct slot *slot = &s->b->slots[t->slot];
		struct bconn *c = slot->conns[t->index];

		if (!c || c->generation != t->generation || !c->waits)
			continue;
		let_in(c);
		dispatch_pump(c);
	}
	s->ntold -= n;
	memmove(s->told, s->told + n, s->ntold * sizeof(*s->told));
}

void told_all(struct bridge *b)
{
	for (unsigned i = 0; i < b->nstreams; i++)
		told_heard(&b->streams[i], UINT64_MAX);
}

void told_free(struct bstream *s)
{
	free(s->told);
	s->told = NULL;
	s->ntold = s->told_room = 0;
}
