/*
 * queue: the open queues: opening, closing, looking again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "parts.h"

#define NO_SLOT UINT32_MAX
#define RECHECK_MS 500 /* after opening: a lagging replica's first "none" is known better then */
#define WALK_MS 1000
#define WALK_SECONDS 60 /* each queue is looked at once in so long, */
#define WALK_MAX 300    /* but not more than so many a second */
#define UNTOLD_MS 5000  /* before a first session: so long what others say of it is all there is */

/* Never used twice in a process, so that a live copy for a subscription of old finds nobody. */
static uint32_t last_tag;

struct broker_queue *queue_of(const struct broker *b, uint64_t key)
{
	uint32_t i = (uint32_t)(key >> 32);

	if (i >= b->nslots || !b->slots[i].q || b->slots[i].q->tag != (uint32_t)key)
		return NULL;
	return b->slots[i].q;
}

static bool slots_grow(struct broker *b)
{
	uint32_t n = b->nslots ? b->nslots * 2 : 64;
	struct queue_slot *slots = realloc(b->slots, n * sizeof(*slots));

	if (!slots)
		return false;
	if (b->nslots == 0)
		b->free_slot = NO_SLOT;
	for (uint32_t i = n; i > b->nslots; i--) {
		slots[i - 1] = (struct queue_slot){NULL, b->free_slot};
		b->free_slot = i - 1;
	}
	b->slots = slots;
	b->nslots = n;
	return true;
}

static uint64_t queue_key(const struct broker_queue *q)
{
	return (uint64_t)q->index << 32 | q->tag;
}

static void queue_subscribe(struct broker_queue *q)
{
	char subject[SUBJECT_MAX];

	if (q->b->state != BROKER_LIVE || (q->closing && !holders_wait(q)) || q->subscribed)
		return;
	q->tag = ++last_tag;
	snprintf(subject, sizeof(subject), "%slive.%s", q->b->settings.prefix, q->name);
	q->subscribed = wire_subscribe(q->b->wire, queue_key(q), subject);
}

void queue_unsubscribe(struct broker_queue *q)
{
	if (q->subscribed && q->b->state == BROKER_LIVE)
		(void)wire_unsubscribe(q->b->wire, queue_key(q));
	q->subscribed = false;
	q->tag = ++last_tag;
}

/* Without memory the slow round looks. */
static void recheck_later(struct broker_queue *q)
{
	struct broker *b = q->b;
	struct rechecks *r = &b->recheck;
	size_t cap = r->cap ? 2 * r->cap : 64;
	void *v;

	if (q->on_recheck)
		return;
	if (r->n == 0)
		r->first = 0;
	if (r->first + r->n == r->cap && r->first > r->cap / 2) {
		memmove(r->v, r->v + r->first, r->n * sizeof(r->v[0]));
		r->first = 0;
	}
	if (r->first + r->n == r->cap) {
		v = realloc(r->v, cap * sizeof(r->v[0]));
		if (!v)
			return;
		r->v = v;
		r->cap = cap;
	}
	q->on_recheck = true;
	r->v[r->first + r->n++] = (struct recheck){.index = q->index,
		.tag = q->tag,
		.due = (uint32_t)b->now_ms + RECHECK_MS,
		.sweep = q->confirmed > 0};
}

/* NULL: it has been done, or was closed. Its slot may be another one's now, which has its own time.
 */
static struct broker_queue *recheck_queue(const struct broker *b, const struct recheck *c)
{
	struct broker_queue *q = b->slots[c->index].q;

	return q && q->on_recheck && q->tag == c->tag ? q : NULL;
}

void queue_each_recheck(struct broker *b, void (*fn)(struct broker_queue *q))
{
	const struct rechecks *r = &b->recheck;

	for (size_t i = r->first; i < r->first + r->n; i++) {
		struct broker_queue *q = recheck_queue(b, &r->v[i]);

		if (q)
			fn(q);
	}
}

static void recheck_none(struct broker *b)
{
	free(b->recheck.v);
	b->recheck = (struct rechecks){0};
}

static void recheck_tick(struct broker *b)
{
	struct rechecks *r = &b->recheck;

	while (r->n > 0 && is_due(b, r->v[r->first].due)) {
		struct recheck c = r->v[r->first++];
		struct broker_queue *q = recheck_queue(b, &c);

		r->n--;
		if (!q)
			continue;
		q->on_recheck = false;
		if (c.sweep)
			feed_rescan(q);
		else
			feed_look(q);
	}
	if (r->n == 0)
		recheck_none(b);
}

/* Reading begins, or begins again. The subscription goes out before the first get on the same
 * connection, so the server knows it first. */
static void start(struct broker_queue *q)
{
	q->high = q->head;
	q->synced = false;
	if (q->head > q->confirmed)
		q->unknown = q->head;
	queue_subscribe(q);
	holders_start(q);
	feed_rescan(q);
	if (q->b->state == BROKER_LIVE)
		recheck_later(q);
}

const struct log_field *queue_who(const struct broker_queue *q)
{
	static char service[TOKEN_MAX], user[TOKEN_MAX];
	static struct log_field f[3];
	const char *dot = strchr(q->name, '.');
	int n = token_decode(q->name, (size_t)(dot - q->name), service, sizeof(service));

	f[0] = kv_mem("service", service, n > 0 ? (size_t)n : 0);
	n = token_decode(dot + 1, strlen(dot + 1), user, sizeof(user));
	f[1] = kv_mem("user", user, n > 0 ? (size_t)n : 0);
	f[2] = kv_end;
	return f;
}

/* Other gateways hear of it in a moment; not while there is no session: then not before they
 * answer. */
static void opened(struct broker_queue *q)
{
	const struct broker *b = q->b;

	q->early = b->state != BROKER_LIVE;
	q->opened_ms = q->early && b->ever ? 0 : b->now_ms;
}

struct broker_queue *broker_queue_open(struct broker *b, const struct identity *id,
	uint64_t confirmed, uint64_t head, bool served, void *owner)
{
	char subject[SUBJECT_MAX];
	size_t skip = strlen(b->settings.prefix) + sizeof(".recv.") - 1;
	int len = subject_format(SUBJECT_RECV, b->settings.prefix, id, subject, sizeof(subject));
	struct broker_queue *q;

	if (len < 0) {
		errno = EINVAL;
		return NULL;
	}
	q = calloc(1, offsetof(struct broker_queue, name) + (size_t)len + 1 - skip);
	if (!q || ((b->nslots == 0 || b->free_slot == NO_SLOT) && !slots_grow(b))) {
		free(q);
		errno = ENOMEM;
		return NULL;
	}
	strcpy(q->name, subject + skip);
	q->b = b;
	q->owner = owner;
	/* What was confirmed here is removed when it is known who else holds the user. */
	q->mark = confirmed;
	q->head = head > confirmed ? head : confirmed;
	q->want = true;
	/* One that a predecessor served has its own marks, also when it was given nothing yet, and
	 * is known to the others by our name. One that has left, but for a mark, is forgotten
	 * there. */
	q->fresh = q->head == 0 && b->state == BROKER_LIVE;
	q->blind = !served;
	q->newborn = !served || q->head == 0;
	opened(q);
	q->passed_ms = (uint32_t)b->now_ms - YOUNG_MS; /* nobody knows */
	q->sweep_pos = 1;
	q->index = b->free_slot;
	b->free_slot = b->slots[q->index].next_free;
	b->slots[q->index].q = q;
	b->nqueues++;
	start(q);
	return q;
}

void broker_queue_untold(struct broker_queue *q)
{
	q->opened_ms = 0;
}

void broker_queue_want(struct broker_queue *q, bool want)
{
	q->want = want;
	if (want)
		feed_kick(q);
	else
		feed_drop_hoard(q);
}

void broker_queue_let_in(struct broker_queue *q, bool yes)
{
	if (yes && q->unseen && q->opened_ms > 0)
		q->opened_ms = q->b->now_ms;
	q->unseen = !yes;
}

void broker_queue_confirm(struct broker_queue *q, uint64_t seq)
{
	holders_confirm(q, seq);
}

uint64_t broker_queue_begin(struct broker_queue *q, uint64_t confirmed)
{
	uint64_t upto = holders_begin(q);

	return upto < confirmed ? upto : confirmed;
}

void broker_queue_close(struct broker_queue *q)
{
	if (q->closing)
		return;
	q->closing = true;
	holders_close(q);
	q->on_recheck = false;
	feed_stop(q);
	reread_drop_all(q);
	removal_forget(q, false);
	feed_kick(q); /* a sweep goes on */
	queue_settle(q);
}

void broker_queue_reopen(struct broker_queue *q, uint64_t head)
{
	if (!q->closing)
		return;
	q->closing = false;
	if (q->on_closed)
		TAILQ_REMOVE(&q->b->closed, q, removals);
	q->on_closed = false;
	q->head = head > q->mark ? head : q->mark;
	q->want = q->blind = q->newborn = true;
	q->unseen = q->behind = false;
	opened(q);
	start(q);
}

/* A removal that waits for its turn keeps the queue, so `removals` serves as the link here. */
void queue_settle(struct broker_queue *q)
{
	if (!q->closing || q->on_closed || q->sweep || q->asides > 0 || q->job.state != JOB_IDLE ||
		!removal_idle(q) || holders_wait(q))
		return;
	if (q->unsaid && q->b->state == BROKER_LIVE && holders_ours(q) && !q->b->gates.moving) {
		removal_look_again(q); /* a user who has gone is not looked at later */
		feed_kick(q);
		return;
	}
	q->on_closed = true;
	TAILQ_INSERT_TAIL(&q->b->closed, q, removals);
	broker_defer(q->b);
}

static void each_queue(struct broker *b, void (*fn)(struct broker_queue *q))
{
	for (uint32_t i = 0; i < b->nslots; i++)
		if (b->slots[i].q)
			fn(b->slots[i].q);
}

void queue_settle_all(struct broker *b)
{
	each_queue(b, queue_settle);
}

static void queue_free(struct broker_queue *q)
{
	struct broker *b = q->b;

	feed_drop_hoard(q);
	queue_unsubscribe(q);
	holders_free(q);
	b->slots[q->index] = (struct queue_slot){NULL, b->free_slot};
	b->free_slot = q->index;
	b->nqueues--;
	free(q->seqs);
	free(q);
}

void queue_run_closed(struct broker *b)
{
	struct broker_queue *q;
	void *owner;

	while ((q = TAILQ_FIRST(&b->closed))) {
		TAILQ_REMOVE(&b->closed, q, removals);
		owner = q->owner;
		queue_free(q);
		b->ev->closed(owner);
	}
}

void queue_free_all(struct broker *b)
{
	for (uint32_t i = 0; i < b->nslots; i++) {
		struct broker_queue *q = b->slots[i].q;

		if (!q)
			continue;
		reread_drop_all(q);
		feed_drop_hoard(q);
		holders_free(q);
		free(q->seqs);
		free(q);
	}
	recheck_none(b);
	free(b->slots);
	b->slots = NULL;
	b->nslots = 0;
}

/* ---- all of them ---- */

static void marks_to_zero(struct broker_queue *q)
{
	removal_forget(q, true);
	q->mark = q->confirmed = q->head = 0;
	q->unknown = 0;
	q->sweep = q->sweeping = q->behind = false;
	q->sweep_pos = 1;
}

void queue_resume_all(struct broker *b, bool marks_valid)
{
	for (uint32_t i = 0; i < b->nslots; i++) {
		struct broker_queue *q = b->slots[i].q;
		uint64_t unknown;

		if (!q)
			continue;
		q->subscribed = false;
		if (!marks_valid)
			marks_to_zero(q);
		if (b->replicated)
			removal_new_leader(q);
		if (q->closing) {
			queue_subscribe(q);
			holders_start(q);
			feed_kick(q);
			queue_settle(q);
			continue;
		}
		unknown = q->unknown;
		/* So long ago that another gateway may have removed something, and forgotten that
		 * it had the user. */
		if (q->blind && b->now_ms - q->opened_ms > UNTOLD_MS)
			q->opened_ms = 0;
		q->sweeping = false;
		removal_swept(q);
		start(q);
		/* What was given in this process is remembered: no need to look for it again. */
		if (marks_valid)
			q->unknown = unknown;
	}
	removal_pump(b);
}

void queue_session_lost(struct broker *b)
{
	recheck_none(b);
	look_forget(b);
	for (uint32_t i = 0; i < b->nslots; i++) {
		struct broker_queue *q = b->slots[i].q;

		if (!q)
			continue;
		q->subscribed = q->on_recheck = q->fresh = false;
		q->tag = ++last_tag;
		if (q->blind)
			q->opened_ms = 0;
		feed_stop(q);
		reread_session_lost(q);
	}
}

void queue_new_leader(struct broker *b)
{
	each_queue(b, removal_new_leader);
}

void queue_rescan_all(struct broker *b)
{
	look_begin(b, b->subjects);
	for (uint32_t i = 0; i < b->nslots; i++) {
		struct broker_queue *q = b->slots[i].q;

		if (!q || q->closing)
			continue;
		q->synced = false;
		feed_rescan(q);
	}
}

/* Slowly round all queues: the last message of a user whose live copy was lost shows in no other
 * way. */
static void walk(struct broker *b)
{
	uint32_t n = b->nqueues / WALK_SECONDS + 1, seen;

	if (b->now_ms - b->walked_ms < WALK_MS || b->nslots == 0)
		return;
	b->walked_ms = b->now_ms;
	if (n > WALK_MAX)
		n = WALK_MAX;
	for (seen = 0; seen < b->nslots && n > 0; seen++) {
		struct broker_queue *q = b->slots[b->walk++ % b->nslots].q;

		if (!q || q->closing)
			continue;
		queue_subscribe(q); /* there was no memory for it, then */
		holders_greet(q);   /* a word may be lost */
		feed_rescan(q);
		n--;
	}
}

void queue_tick(struct broker *b)
{
	if (b->state != BROKER_LIVE)
		return;
	recheck_tick(b);
	walk(b);
}
