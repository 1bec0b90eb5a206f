/*
 * removal: takes out of the stream what was confirmed: MSG.DELETE without erasing, a few hundred in
 * flight.
 *
 * An answer costs the server a quarter of the removal, and us as much. So several go out together,
 * and only the last of them asks for one: a server takes what comes by one connection in its order.
 * What it did not do all the same, a sweep finds: of all queues in turn, and before a queue closes.
 * That, and what is to be tried again, asks for an answer of its own; and everything does in a
 * cluster, where requests come to the stream's server by others, several at a time, and any of them
 * may be dropped.
 *
 * Within what is confirmed, newer ones go first: only the removal of a user's oldest message, when
 * there are several, makes the server look for the next one (32-37 µs against 200, tried). It is
 * safe: all of it lies at or below the confirmed mark, with no gap under it.
 *
 * Trap: where the newest of a subject was deleted, and then its oldest, nats-server 2.9 does not
 * find the one between any more (next_by_subj: 404), until it reads that block of its store again.
 * So a user's newest goes last, what a sweep finds goes when the sweep is over, and nothing goes
 * while something below has to stay.
 *
 * Trap: a new leader may lack what was delivered (2.9.10, under faults: acknowledged all the same),
 * and give its sequence to a message of somebody else. So a sequence is good for one leader only;
 * under the next one a sweep finds, by the subject, what is still to go.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "parts.h"

#define IN_FLIGHT 256
#define AT_ONCE 32      /* of one queue, before the next one's turn */
#define TOGETHER 32     /* for one answer */
#define REMEMBERED 1024 /* given, not confirmed; beyond it a sweep finds them */
#define DOOMED_ROOM 64  /* a sweep waits at so many */
#define PAUSE_MS 250
#define GATHERED 64 /* so many wait for no more */

struct one {
	struct broker_queue *q;
	uint64_t seq;
};

struct removal {                /* what one answer is for */
	struct request request; /* first */
	uint32_t term, n;
	struct one v[TOGETHER];
};

static struct seqs *grow(struct broker_queue *q)
{
	struct seqs *s = q->seqs;
	uint32_t cap = s ? s->cap * 2 : 4;

	if (s && s->n < s->cap)
		return s;
	s = realloc(s, sizeof(*s) + cap * sizeof(s->v[0]));
	if (!s)
		return NULL;
	if (!q->seqs)
		s->n = s->doomed = 0;
	s->cap = cap;
	q->seqs = s;
	return s;
}

static void shrink(struct broker_queue *q)
{
	if (q->seqs && q->seqs->n == 0) {
		free(q->seqs);
		q->seqs = NULL;
	}
}

void removal_remember(struct broker_queue *q, uint64_t seq)
{
	struct seqs *s = q->seqs && q->seqs->n >= REMEMBERED ? NULL : grow(q);

	if (s)
		s->v[s->n++] = seq;
	else
		q->unknown = seq;
}

static void enqueue(struct broker_queue *q)
{
	if (q->on_removals || !q->seqs || q->seqs->doomed == 0 || (q->sweeping && removal_room(q)))
		return;
	q->on_removals = true;
	TAILQ_INSERT_TAIL(&q->b->removals, q, removals);
}

/* What is confirmed by now is to go, and what was set aside above it. */
static void advance(struct broker_queue *q)
{
	struct seqs *s = q->seqs;
	bool clear = q->unknown <= q->confirmed;

	while (s && s->doomed < s->n) {
		uint64_t v = s->v[s->doomed];

		if (seq_of(v) > q->confirmed && !(clear && v & SEQ_ASIDE))
			break;
		s->v[s->doomed++] = seq_of(v);
		q->b->stats.removals_pending++;
	}
	enqueue(q);
}

/* Each request alone would wake the server, and its answer us: they wait for others, five
 * milliseconds at most (2,000 messages a second: 132 µs of the server's for each instead of 214).
 */
static void pump_soon(struct broker *b)
{
	uint64_t waiting = b->stats.removals_pending - b->removing;

	if (waiting >= GATHERED)
		removal_pump(b);
	else if (waiting > 0)
		broker_hurry(b);
}

void removal_confirm(struct broker_queue *q, uint64_t seq)
{
	if (seq <= q->confirmed)
		return;
	/* Among those that are confirmed now there are some that we do not know. */
	if (q->unknown > q->confirmed && !q->sweep) {
		q->sweep = true;
		q->sweep_pos = q->confirmed + 1;
	}
	q->confirmed = seq;
	q->passed_ms = (uint32_t)q->b->now_ms;
	advance(q);
	pump_soon(q->b);
	feed_kick(q);
}

void removal_swept(struct broker_queue *q)
{
	advance(q);
	removal_pump(q->b);
}

void removal_aside(struct broker_queue *q, uint64_t seq)
{
	struct seqs *s = grow(q);
	uint32_t i = s ? s->n : 0;

	if (!s) { /* no memory: a sweep finds it when the mark has passed it */
		if (q->unknown < seq)
			q->unknown = seq;
		return;
	}
	while (i > s->doomed && seq_of(s->v[i - 1]) > seq)
		i--;
	memmove(s->v + i + 1, s->v + i, (s->n - i) * sizeof(s->v[0]));
	s->v[i] = seq | SEQ_ASIDE;
	s->n++;
	advance(q);
}

void removal_pass(struct broker_queue *q, uint64_t seq)
{
	struct seqs *s = q->seqs;
	uint32_t upto = s ? s->doomed : 0;

	if (seq <= q->confirmed)
		return;
	q->confirmed = seq;
	q->passed_ms = (uint32_t)q->b->now_ms;
	if (q->unknown <= seq)
		q->unknown = 0;
	while (s && upto < s->n && seq_of(s->v[upto]) <= seq)
		upto++;
	if (s && upto > s->doomed) {
		memmove(s->v + s->doomed, s->v + upto, (s->n - upto) * sizeof(s->v[0]));
		s->n -= upto - s->doomed;
	}
	shrink(q);
}

bool removal_room(const struct broker_queue *q)
{
	return !q->seqs || q->seqs->doomed < DOOMED_ROOM;
}

void removal_look_again(struct broker_queue *q)
{
	q->sweep = true;
	q->sweeping = false;
	q->sweep_pos = 1;
}

void removal_doom(struct broker_queue *q, uint64_t seq)
{
	struct seqs *s = grow(q);

	if (!s) {
		removal_look_again(q); /* no memory: a sweep finds it again */
		enqueue(q);
		return;
	}
	memmove(s->v + s->doomed + 1, s->v + s->doomed, (s->n - s->doomed) * sizeof(s->v[0]));
	s->v[s->doomed++] = seq | SEQ_ALONE;
	s->n++;
	q->b->stats.removals_pending++;
	enqueue(q);
}

bool removal_has_aside(const struct broker_queue *q, uint64_t seq)
{
	const struct seqs *s = q->seqs;

	for (uint32_t i = s ? s->n : 0; i > (s ? s->doomed : 0); i--)
		if (s->v[i - 1] == (seq | SEQ_ASIDE))
			return true;
	return false;
}

void removal_take(struct broker_queue *q, uint64_t seq)
{
	struct seqs *s = q->seqs;

	for (uint32_t i = s ? s->n : 0; i > (s ? s->doomed : 0); i--) {
		if (s->v[i - 1] != seq)
			continue;
		memmove(s->v + i - 1, s->v + i, (s->n - i) * sizeof(s->v[0]));
		s->n--;
		break;
	}
	shrink(q);
}

void removal_forget(struct broker_queue *q, bool confirmed_too)
{
	struct seqs *s = q->seqs;

	if (!s)
		return;
	/* What was given stays stored: nothing above it may go. */
	if (s->n > s->doomed && q->unknown < seq_of(s->v[s->n - 1]))
		q->unknown = seq_of(s->v[s->n - 1]);
	s->n = s->doomed;
	if (confirmed_too) {
		q->b->stats.removals_pending -= s->doomed;
		s->n = s->doomed = 0;
		if (q->on_removals)
			TAILQ_REMOVE(&q->b->removals, q, removals);
		q->on_removals = false;
	}
	shrink(q);
}

void removal_new_leader(struct broker_queue *q)
{
	if (q->on_closed)
		return; /* it has nothing left to remove, and goes */
	removal_forget(q, true);
	if (q->confirmed > 0 && holders_ours(q)) {
		removal_look_again(q);
		feed_kick(q);
	}
	queue_settle(q);
}

bool removal_idle(const struct broker_queue *q)
{
	return q->removing == 0 && (!q->seqs || q->seqs->doomed == 0);
}

/* The newest, but for that of all, which goes last: then the server never has one between. */
static uint32_t next_one(const struct broker_queue *q)
{
	const struct seqs *s = q->seqs;
	uint32_t last = s->doomed - 1;

	return last > 0 && seq_of(s->v[last]) >= q->head ? last - 1 : last;
}

/* It has not been done, as far as is known. In the order in which the newest is last again. */
static void try_again(struct broker *b, struct removal *r)
{
	for (uint32_t i = r->n; i-- > 0;) {
		if (r->term == b->term)
			removal_doom(r->v[i].q, r->v[i].seq);
		else
			removal_look_again(r->v[i].q);
	}
}

/* No longer in flight. */
static void land(struct broker *b, struct removal *r)
{
	b->removing -= r->n;
	b->stats.removals_pending -= r->n;
	for (uint32_t i = 0; i < r->n; i++)
		r->v[i].q->removing--;
}

static bool ask(struct broker *b, struct removal *r, uint32_t i, uint64_t token)
{
	char body[64];

	snprintf(body, sizeof(body), "{\"seq\":%llu,\"no_erase\":true}",
		(unsigned long long)r->v[i].seq);
	return wire_delete(b->wire, token, body);
}

/* False: no memory. */
static bool send_off(struct broker *b, struct removal *r)
{
	uint64_t token = request_start(b, &r->request, REQUEST_DELETE);
	uint32_t i = 0;

	if (token == 0) {
		land(b, r);
		try_again(b, r);
		for (i = 0; i < r->n; i++)
			feed_kick(r->v[i].q); /* without memory a sweep is to find it */
		free(r);
		return false;
	}
	while (i < r->n - 1 && ask(b, r, i, 0))
		r->v[i++].q->unsaid = true;
	if (i == r->n - 1)
		(void)ask(b, r, i, token);
	return true; /* not sent: it times out, and all of it comes again */
}

/* Takes the queue's next one. True: the last that goes with it. */
static bool take_one(struct removal *r, struct broker_queue *q)
{
	struct broker *b = q->b;
	struct seqs *s = q->seqs;
	uint32_t i = next_one(q);
	bool alone = q->closing || b->clustered || s->v[i] & SEQ_ALONE;

	r->v[r->n++] = (struct one){q, seq_of(s->v[i])};
	s->doomed--;
	s->n--;
	memmove(s->v + i, s->v + i + 1, (s->n - i) * sizeof(s->v[0]));
	q->removing++;
	b->removing++;
	return alone || r->n == TOGETHER;
}

static bool may_send(const struct broker *b)
{
	return b->state == BROKER_LIVE && b->now_ms >= b->removal_pause && b->removing < IN_FLIGHT;
}

static struct removal *removal_new(const struct broker *b)
{
	struct removal *r = malloc(sizeof(*r));

	if (r) {
		r->n = 0;
		r->term = b->term;
	}
	return r;
}

/* A queue's turn. False: no memory. */
static bool pump_queue(struct broker_queue *q, struct removal **r)
{
	struct broker *b = q->b;
	bool ok = true;

	for (int n = 0; ok && n < AT_ONCE && q->seqs->doomed > 0 && may_send(b); n++) {
		if (!*r)
			*r = removal_new(b);
		ok = *r;
		if (ok && take_one(*r, q)) {
			ok = send_off(b, *r);
			*r = NULL;
		}
	}
	return ok;
}

void removal_pump(struct broker *b)
{
	struct removal *r = NULL;
	struct broker_queue *q;
	bool ok = true;

	while (ok && may_send(b) && (q = TAILQ_FIRST(&b->removals))) {
		TAILQ_REMOVE(&b->removals, q, removals);
		q->on_removals = false;
		ok = pump_queue(q, &r);
		enqueue(q);
		shrink(q);
	}
	if (r && !send_off(b, r))
		ok = false;
	if (!ok)
		removal_pause(b);
}

void removal_pause(struct broker *b)
{
	b->removal_pause = b->now_ms + PAUSE_MS;
}

/* What the server says nearly always, without a document made of it. */
static bool is_plain_success(const struct wire_event *e)
{
	static const char text[] = "{\"type\":\"io.nats.jetstream.api.v1.stream_msg_delete_"
				   "response\",\"success\":true}";

	return e->m.len == sizeof(text) - 1 && memcmp(e->m.data, text, sizeof(text) - 1) == 0;
}

/* Nothing there to be done: a sweep may find what is on its way out. */
static bool is_gone(const struct broker_queue *q, const json_t *doc, unsigned status)
{
	const json_t *error = json_object_get(doc, "error");
	int64_t err = json_integer_value(json_object_get(error, "err_code"));
	const char *why = json_string_value(json_object_get(error, "description"));

	/* 10037 no message found, 10043 sequence not found; 2.9 puts both into 10057, which has
	 * other reasons too. */
	if (err == 10037 || err == 10043)
		return true;
	if (err == 10057 && why && (strstr(why, "no message found") || strstr(why, "not found")))
		return true;
	log_some_warnings(1, "the broker does not remove a message: tried again",
		kv_uint("status", status), kv_int("code", err), kv_str("why", why),
		kv_more(queue_who(q)));
	return false;
}

void removal_reply(struct broker *b, struct removal *r, struct wire_event *e)
{
	bool plain = e && is_plain_success(e);
	json_t *doc = e && !plain ? broker_doc(e) : NULL;
	bool done = plain || json_is_true(json_object_get(doc, "success"));
	bool gone = !done && e && is_gone(r->v[r->n - 1].q, doc, e->status);

	land(b, r);
	if (done || gone) {
		b->stats.removals += r->n - gone;
	} else {
		/* Of no use before the session is back, or the leader is there. */
		if (e) {
			removal_pause(b);
			watch_soon(b);
		}
		try_again(b, r);
	}
	json_decref(doc);
	if (e)
		broker_message_unref(&e->m);
	if (b->state == BROKER_LIVE) {
		pump_soon(b);
		for (uint32_t i = 0; i < r->n; i++) {
			feed_kick(r->v[i].q);
			queue_settle(r->v[i].q);
		}
	}
	free(r);
}
