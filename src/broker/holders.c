/*
 * holders: who else holds a user. The gateways that do tell each other, on the subject that they
 * are subscribed to for the user anyway, up to where their connections have confirmed; what all
 * have is removed, by the one whose name is the least.
 *
 *   "hello ID CREATED MARK"  I hold this user; who does, too?
 *   "here  ID CREATED MARK AGE NEW LEAST"  I do: the answer to hello and ask, and to the first
 *                            word of somebody. AGE: ms since something of it could be removed;
 *                            NEW: whom I did not know of until now, or 0; LEAST: of all whom I
 *                            know of but him to whom that is said: one of them may be silent
 *   "mark  ID CREATED MARK"  I do: when the mark has moved, and now and then
 *   "ask   ID CREATED MARK"  I do not any more, but have still to remove; who does?
 *   "gone  ID CREATED MARK 0 0 LEAST"  I do not any more, but have still to remove; an answer to
 *                            hello
 *   "bye   ID CREATED MARK"  I do not any more
 *
 * A connection begins behind what all have confirmed, here and elsewhere: it may be the client
 * that has confirmed the most, and moved, or the one that has confirmed the least. Before it is
 * known who else holds a user (gates.c), nothing of it is removed.
 *
 * Trap: in a cluster the servers tell each other later who is subscribed. Two gateways that open a
 * user in the same moment, on two servers, may both say hello to nobody, and beats, whose
 * subscription is old, still pass. So hello is said again when the first one is echoed: whoever was
 * subscribed before he echoed hears it now, and who came later, said hello to a server that knew of
 * us.
 *
 * A connection is let in when our server has read hello (broker_tell_gateways()). Until the others
 * have heard it, too, what one confirms is removed, and a connection that was opened at the other
 * one meanwhile lacks it. Who learns of the other says so, and when something could be removed
 * last; the connections end then. Within a moment (MOMENT_MS) that is the way that a word takes,
 * and they began behind it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "parts.h"

/* A mark that moves is told with the next tick; one that does not, so often. */
#define REMIND_MS 30000
#define FORGET_MS 90000 /* one who is heard, and did not remind us */
#define MOMENT_MS 250
#define FAR_MS 600000
#define HOLDERS_MAX 256
#define WORD_MAX 136

struct word {
	char what[8];
	uint64_t gate, created, mark, age, news, least;
};

static void say_more(struct broker_queue *q, const char *word, const char *more)
{
	struct broker *b = q->b;
	char subject[SUBJECT_MAX], text[WORD_MAX];

	snprintf(subject, sizeof(subject), "%slive.%s", b->settings.prefix, q->name);
	snprintf(text, sizeof(text), "%s %016" PRIx64 " %" PRIu64 " %" PRIu64 "%s", word,
		b->gates.self, b->created, q->mark, more);
	(void)gates_say(b, subject, text); /* no memory: the walk says it again */
}

static void say(struct broker_queue *q, const char *word)
{
	say_more(q, word, "");
}

/* Of all but one, who has just said hello. */
static uint64_t least_but(const struct broker_queue *q, uint64_t gate)
{
	uint64_t upto = q->mark;

	for (uint32_t i = 0; q->others && i < q->others->n; i++) {
		const struct holder *h = &q->others->v[i];
		uint64_t mark = h->created == q->b->created ? h->mark : 0;

		if (h->gate != gate && mark < upto)
			upto = mark;
	}
	return upto;
}

static void say_here(struct broker_queue *q, uint64_t to, bool known)
{
	char more[64];

	snprintf(more, sizeof(more), " %" PRIu32 " %016" PRIx64 " %" PRIu64,
		(uint32_t)q->b->now_ms - q->passed_ms, known ? 0 : to, least_but(q, to));
	say_more(q, "here", more);
}

static void say_gone(struct broker_queue *q, uint64_t to)
{
	char more[64];

	snprintf(more, sizeof(more), " 0 0 %" PRIu64, least_but(q, to));
	say_more(q, "gone", more);
}

static void said(struct broker_queue *q)
{
	q->tell = false;
	if (!q->on_shared)
		return;
	/* In the order in which they were told. */
	q->others->told_ms = q->b->now_ms;
	TAILQ_REMOVE(&q->b->gates.shared, q->others, link);
	TAILQ_INSERT_TAIL(&q->b->gates.shared, q->others, link);
}

/* Before those that are only reminded. */
static void tell(struct broker_queue *q)
{
	if (!q->on_shared || q->tell)
		return;
	q->tell = true;
	TAILQ_REMOVE(&q->b->gates.shared, q->others, link);
	TAILQ_INSERT_HEAD(&q->b->gates.shared, q->others, link);
}

static void not_unclear(struct broker_queue *q)
{
	if (!q->on_unclear)
		return;
	TAILQ_REMOVE(&q->b->gates.unclear, q, unclear);
	q->on_unclear = false;
	q->b->stats.unclear_users--;
}

static void unclear(struct broker_queue *q)
{
	struct gates *g = &q->b->gates;

	not_unclear(q);
	q->b->stats.unclear_users++;
	q->barrier = (uint32_t)g->beat + 1;
	q->on_unclear = true;
	TAILQ_INSERT_TAIL(&g->unclear, q, unclear);
	gates_hurry(q->b);
}

/* It was opened while the others could not know of it, and may lack what they removed meanwhile. */
static void lacks(struct broker_queue *q)
{
	q->blind = q->newborn = false;
	q->b->stats.cut_off_users++;
	log_some_warnings(5,
		"a user came while this gateway was cut off from another one: the connections end, "
		"for they may lack messages",
		kv_more(queue_who(q)));
	q->b->ev->lacks(q->owner);
}

/* ---- what follows from it ---- */

bool holders_ours(const struct broker_queue *q)
{
	for (uint32_t i = 0; q->others && i < q->others->n; i++)
		if (q->others->v[i].gate < q->b->gates.self)
			return false;
	return true;
}

static uint64_t least(const struct broker_queue *q)
{
	return least_but(q, q->b->gates.self);
}

static void apply(struct broker_queue *q)
{
	uint64_t upto;

	if (q->on_unclear)
		return;
	upto = least(q);
	if (upto <= q->confirmed)
		return;
	if (holders_ours(q))
		removal_confirm(q, upto);
	else
		removal_pass(q, upto);
}

/* yes: there are others. */
static void share(struct broker_queue *q, bool yes)
{
	struct holders_list *list = &q->b->gates.shared;

	if (yes == q->on_shared)
		return;
	q->on_shared = yes;
	q->b->stats.shared_users += yes ? 1 : UINT64_MAX;
	if (yes && q->tell)
		TAILQ_INSERT_HEAD(list, q->others, link);
	else if (yes)
		TAILQ_INSERT_TAIL(list, q->others, link);
	else
		TAILQ_REMOVE(list, q->others, link);
}

/* ---- the others ---- */

static struct holder *find(const struct broker_queue *q, uint64_t gate)
{
	for (uint32_t i = 0; q->others && i < q->others->n; i++)
		if (q->others->v[i].gate == gate)
			return &q->others->v[i];
	return NULL;
}

static void free_others(struct broker_queue *q)
{
	share(q, false);
	if (q->others)
		free(q->others->v);
	free(q->others);
	q->others = NULL;
}

/* NULL: no memory, or there are too many. */
static struct holder *place(struct broker_queue *q)
{
	struct holders *o = q->others;
	uint32_t cap;
	struct holder *v;

	if (!o) {
		o = q->others = calloc(1, sizeof(*o));
		if (!o)
			return NULL;
		o->q = q;
		o->told_ms = q->b->now_ms;
	}
	if (o->n < o->cap)
		return &o->v[o->n];
	cap = o->cap ? o->cap * 2 : 2;
	v = o->n < HOLDERS_MAX ? realloc(o->v, cap * sizeof(*v)) : NULL;
	if (!v)
		return NULL;
	o->v = v;
	o->cap = cap;
	return &o->v[o->n];
}

static struct holder *add(struct broker_queue *q, uint64_t gate)
{
	struct holder *h = place(q);

	if (!h) {
		if (q->others && q->others->n == 0)
			free_others(q);
		return NULL;
	}
	*h = (struct holder){.gate = gate};
	q->others->n++;
	if (!q->closing)
		share(q, true);
	return h;
}

static void drop(struct broker_queue *q, struct holder *h)
{
	bool ours = holders_ours(q);

	*h = q->others->v[--q->others->n];
	if (q->others->n == 0)
		free_others(q);
	/* What it had still to remove is ours. */
	if (!ours && holders_ours(q) && q->confirmed > 0 && !q->closing) {
		removal_look_again(q);
		removal_swept(q);
	}
	apply(q);
	feed_kick(q);
}

void holders_drop_gate(struct broker *b, uint64_t id)
{
	/* Those that close are on no list, and are few. */
	for (uint32_t i = 0; i < b->nslots; i++) {
		struct broker_queue *q = b->slots[i].q;
		/* One that has closed, and goes, has nothing left to remove. */
		struct holder *h = q && !q->on_closed ? find(q, id) : NULL;

		if (h)
			drop(q, h);
	}
}

/* Its word that the user has left was lost. Who is not heard at all keeps what he has, up to the
 * end of his lease. */
static void forget_silent(struct broker_queue *q)
{
	uint64_t now = q->b->gates.listened;

	for (uint32_t i = 0; q->others && i < q->others->n;) {
		struct holder *h = &q->others->v[i];
		uint64_t since = gates_hears_since(q->b, h->gate);

		if ((h->heard > since ? h->heard : since) + FORGET_MS < now) {
			drop(q, h);
			i = 0;
		} else {
			i++;
		}
	}
}

/* Trap: the slow round greets few users so often that it is never time to remind the others. */
void holders_greet(struct broker_queue *q)
{
	forget_silent(q);
	if (!gates_others(q->b) || q->b->state != BROKER_LIVE)
		return;
	if (!q->closing)
		say(q, "hello");
	else if (holders_wait(q))
		say(q, "ask");
	said(q);
}

/*
 * Others had it up to there when the user came here: the least of them counts, as long as nothing
 * was given. Once something was looked at, a first mark that is told may be beyond what was
 * published after that.
 */
static void begin_behind(struct broker_queue *q, uint64_t created, uint64_t mark)
{
	if (q->closing || created != q->b->created ||
		(q->behind ? mark >= q->began || q->head != q->began : !q->fresh))
		return;
	q->behind = true;
	q->began = q->head = q->mark = q->unknown = mark;
	if (q->fresh) {
		q->high = mark;
		return;
	}
	q->synced = false;
	feed_look(q);
}

/* While there is no session nobody can be told of it, and may remove what is above. */
uint64_t holders_begin(struct broker_queue *q)
{
	uint64_t upto = least(q);

	if (upto < q->confirmed)
		upto = q->confirmed;
	if (upto >= q->mark)
		return q->mark;
	q->mark = upto;
	if (q->b->state == BROKER_LIVE) {
		say(q, "mark");
		said(q);
	} else {
		q->blind = true;
		q->opened_ms = 0;
	}
	return upto;
}

static void hold(struct broker_queue *q, uint64_t gate, uint64_t created, uint64_t mark)
{
	struct holder *h = find(q, gate);

	if (!h)
		h = add(q, gate);
	if (!h) {
		/* It might lose messages: what it holds, nobody removes. */
		log_some_errors(1,
			"no memory for another gateway's mark: nothing of this user is removed for "
			"a while",
			kv_more(queue_who(q)));
		unclear(q);
		q->b->gates.greet = true;
		return;
	}
	h->mark = mark;
	h->created = created;
	h->heard = q->b->gates.listened;
}

/* It held the user before, did not hear of us when we began, and removed something meanwhile. */
static bool removed_meanwhile(const struct broker_queue *q, const struct word *w)
{
	uint64_t open = q->b->now_ms - q->opened_ms;

	return !q->closing && !q->unseen && w->created == q->b->created && w->mark > 0 &&
	       w->news == q->b->gates.self && (q->blind || (q->newborn && open < YOUNG_MS)) &&
	       (q->early || open > MOMENT_MS) && w->age <= open;
}

/* So long the next ones wait for answers before they begin. */
static void measure(const struct broker_queue *q, const struct word *w)
{
	struct gates *g = &q->b->gates;
	uint64_t took = q->b->now_ms - q->opened_ms;

	if (q->closing || w->news != g->self || q->opened_ms == 0 || took > YOUNG_MS)
		return;
	if (took >= g->far_ms || g->far_until < q->b->now_ms) {
		g->far_ms = took;
		g->far_until = q->b->now_ms + FAR_MS;
	}
}

static void take(struct broker_queue *q, const struct word *w)
{
	struct holder *h = find(q, w->gate);
	bool known = h, hello = strcmp(w->what, "hello") == 0, here = strcmp(w->what, "here") == 0,
	     holds = hello || here || strcmp(w->what, "mark") == 0,
	     asks = hello || strcmp(w->what, "ask") == 0;

	if (holds)
		hold(q, w->gate, w->created, w->mark);
	else if (h)
		drop(q, h);
	if (here && !known && !q->greeted_again)
		measure(q, w);
	if (here && removed_meanwhile(q, w))
		lacks(q);
	if (here || strcmp(w->what, "gone") == 0)
		begin_behind(q, w->created, w->least);
	apply(q);
	if (!q->closing && (asks || (holds && !known && q->mark > 0))) {
		say_here(q, w->gate, known);
		said(q);
	} else if (q->closing && asks && q->mark > 0) {
		say_gone(q, w->gate);
	}
}

void holders_hear(struct broker_queue *q, struct wire_event *e)
{
	char text[WORD_MAX] = "";
	struct word w = {0};
	int n;

	if (e->m.len < sizeof(text))
		memcpy(text, e->m.data, e->m.len);
	broker_message_unref(&e->m);
	n = sscanf(text,
		"%7s %16" SCNx64 " %20" SCNu64 " %20" SCNu64 " %20" SCNu64 " %16" SCNx64
		" %20" SCNu64,
		w.what, &w.gate, &w.created, &w.mark, &w.age, &w.news, &w.least);
	if (n < 7 || w.least > w.mark)
		w.least = w.mark;
	if (n >= 4 && gates_meet(q->b, w.gate))
		take(q, &w);
	queue_settle(q);
}

/* ---- a queue's life ---- */

static void clear(struct broker_queue *q)
{
	not_unclear(q);
	/* The session ended before the others heard of it, or there was none. */
	if (q->blind && q->opened_ms == 0 && !q->closing && gates_were_others(q->b))
		lacks(q);
	q->blind = false;
	apply(q);
}

void holders_start(struct broker_queue *q)
{
	struct gates *g = &q->b->gates;

	q->greeted_again = false;
	if (q->others && !q->closing)
		share(q, true); /* opened again */
	if (q->b->state == BROKER_LIVE && g->living == 0 && gates_cleared(q->b) > 0) {
		clear(q); /* alone: the usual case */
		return;
	}
	unclear(q);
	holders_greet(q);
	/* Their answers come first; of several one may be far away. */
	if (gates_others(q->b) && q->fresh && q->job.state == JOB_IDLE && !q->closing)
		job_move(q->b, &q->job, g->living > 1 ? JOB_HELD : JOB_SOON);
}

void holders_confirm(struct broker_queue *q, uint64_t seq)
{
	if (seq <= q->mark)
		return;
	if (seq > q->head) { /* given by a predecessor, read by nobody here: a sweep finds it */
		q->head = q->unknown = seq;
		if (q->high < seq)
			q->high = seq;
	}
	q->mark = seq;
	tell(q);
	apply(q);
}

bool holders_wait(const struct broker_queue *q)
{
	return q->on_unclear && q->mark > q->confirmed && !q->b->gates.moving;
}

void holders_close(struct broker_queue *q)
{
	share(q, false);
	if (holders_wait(q)) {
		/* Its seqs are forgotten; the answers are still heard. */
		if (q->unknown < q->mark)
			q->unknown = q->mark;
	} else {
		queue_unsubscribe(q);
	}
	if (gates_others(q->b) && !q->b->gates.moving)
		say(q, "bye");
}

void holders_free(struct broker_queue *q)
{
	not_unclear(q);
	free_others(q);
}

void holders_count(struct broker *b)
{
	const struct holders *o;

	b->stats.held_users = 0;
	TAILQ_FOREACH(o, &b->gates.shared, link)
	{
		b->stats.held_users += !o->q->on_unclear && least(o->q) < o->q->mark;
	}
}

static bool reached(const struct broker_queue *q, uint64_t cleared)
{
	return cleared > UINT32_MAX || q->barrier <= cleared;
}

void holders_tick(struct broker *b)
{
	struct gates *g = &b->gates;
	uint64_t cleared = gates_cleared(b);
	struct broker_queue *q;
	struct holders *o;

	while ((q = TAILQ_FIRST(&g->unclear)) && reached(q, cleared)) {
		if (!q->greeted_again && g->living > 0) {
			q->greeted_again = true;
			unclear(q);
			holders_greet(q);
			continue;
		}
		clear(q);
		if (q->closing)
			queue_unsubscribe(q);
		feed_kick(q);
		queue_settle(q);
	}
	while ((o = TAILQ_FIRST(&g->shared)) &&
		(o->q->tell || o->told_ms + REMIND_MS <= b->now_ms)) {
		q = o->q;
		if (!q->tell)
			forget_silent(q);
		if (q->on_shared) {
			say(q, "mark");
			said(q);
		}
	}
}
