/*
 * told: connections that are not let in before the other gateways can know of them. What is
 * published from then on reaches this gateway, too, before another one has it removed. Where no
 * other gateway is there, nobody waits; nor does who joins a connection of the same user that is
 * in.
 */
#include <stdlib.h>
#include <string.h>

#include "bridge.h"

#define NOT_ASKED UINT64_MAX

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

static const struct bconn *another(const struct bconn *c)
{
	return c->user->conns == c ? c->next : c->user->conns;
}

void told_wait(struct bconn *c)
{
	struct bstream *s = c->user->s;
	const struct bconn *other = another(c);

	if ((other && !other->waits && !other->going) || !broker_has_others(s->broker) ||
		!grow(s)) {
		let_in(c);
		return;
	}
	c->waits = true;
	if (!other)
		broker_queue_let_in(c->user->q, false);
	s->told[s->ntold++] = (struct told){NOT_ASKED, c->generation, c->index, c->slot};
}

void told_now(struct bconn *c)
{
	c->going = true;
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

/* Once for all who came in a turn: one way to the server and back. */
static void ask(struct bstream *s)
{
	size_t first = s->ntold;
	uint64_t no;

	while (first > 0 && s->told[first - 1].no == NOT_ASKED)
		first--;
	if (first == s->ntold)
		return;
	no = broker_tell_gateways(s->broker);
	for (size_t i = first; i < s->ntold; i++)
		s->told[i].no = no;
	if (no == 0)
		told_heard(s, UINT64_MAX);
}

void told_ask(struct bridge *b)
{
	for (unsigned i = 0; i < b->nstreams; i++)
		ask(&b->streams[i]);
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
