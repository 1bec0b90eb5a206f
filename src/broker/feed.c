/*
 * feed: reads the queues. Live copies come by subscription; what they miss is read by gets ("the
 * next message of this subject from that sequence on"): direct ones, or of the leader (hookup.c).
 *
 *   swept: deleted below | confirmed | given, to be confirmed | head | not read yet | high
 *
 * Trap: Nats-Last-Sequence is 0 when the user's earlier messages are gone, and also when only the
 * newest one was deleted. So 0 proves nothing before the queue was read to its end once; a number
 * above 0 proves that nothing lies between. Trap: a 404 right after the message was stored may come
 * from a replica that lags (8 % in a cluster of three), or a new leader: it is believed only when
 * nothing is known above.
 *
 * A server that can (2.11) is asked for several of a queue's messages at once: they come one by
 * one, and then an end that says how many are left. A server of an older version in the same
 * cluster may answer instead, with one message and no end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "parts.h"

#define IN_FLIGHT 256
#define IN_FLIGHT_BESIDE 64 /* while a march is under way: it waits for them when it goes back */
#define IN_FLIGHT_MIN 4
#define IN_FLIGHT_BYTES (32u << 20) /* of answers */
#define BATCH_MAX 32                /* messages that one get asks for, */
#define NARROW_MAX 6                /* halved so often: one, without "batch" */
#define BATCH_BYTES (128u << 10)
#define TURNS 4
#define SWEEP_ASIDES 16 /* under way, of what a sweep finds */

/* Live copies that wait for a gap to be read. */
#define HOARD_MESSAGES 64
#define HOARD_BYTES (256u << 10)
#define HOARD_TOTAL (16u << 20)

void feed_init(struct broker *b)
{
	for (int i = 0; i < JOB_LISTS; i++)
		TAILQ_INIT(&b->jobs[i]);
	table_init(&b->look.known);
}

/* ---- the hoard ---- */

static struct wire_event *hoard_pop(struct broker_queue *q)
{
	struct hoard *h = q->hoard;
	struct wire_event *e = h->first;

	h->first = e->next;
	h->n--;
	h->bytes -= (uint32_t)e->m.len;
	q->b->hoard_bytes -= e->m.len;
	if (h->n == 0) {
		free(h);
		q->hoard = NULL;
	}
	return e;
}

void feed_drop_hoard(struct broker_queue *q)
{
	while (q->hoard)
		broker_message_unref(&hoard_pop(q)->m);
}

static bool hoard_room(const struct broker_queue *q, const struct wire_event *e)
{
	const struct hoard *h = q->hoard;

	if (q->b->hoard_bytes + e->m.len > HOARD_TOTAL || e->m.len > HOARD_BYTES)
		return false;
	return !h || (h->n < HOARD_MESSAGES && h->bytes + e->m.len <= HOARD_BYTES &&
			     e->last <= h->last->m.seq && e->m.seq > h->last->m.seq);
}

/* Only what follows the one before without a gap. False: not taken. */
static bool hoard_push(struct broker_queue *q, struct wire_event *e)
{
	struct hoard *h = q->hoard;

	if (e->last == 0 || !e->m.data || !hoard_room(q, e))
		return false;
	if (!h)
		h = q->hoard = calloc(1, sizeof(*h));
	if (!h)
		return false; /* it is read again */
	e->next = NULL;
	if (h->n > 0)
		h->last->next = e;
	else
		h->first = e;
	h->last = e;
	h->n++;
	h->bytes += (uint32_t)e->m.len;
	q->b->hoard_bytes += e->m.len;
	return true;
}

/* ---- giving ---- */

static void give(struct broker_queue *q, struct wire_event *e)
{
	q->head = e->m.seq;
	if (q->b->highest < q->head)
		q->b->highest = q->head;
	q->job.tries = 0;
	removal_remember(q, e->m.seq);
	q->b->ev->message(q->owner, &e->m);
	broker_message_unref(&e->m);
}

static bool wanted(const struct broker_queue *q)
{
	return q->want && !q->closing;
}

static void give_hoard(struct broker_queue *q)
{
	while (q->hoard && wanted(q) &&
		(q->hoard->first->m.seq <= q->head || q->hoard->first->last <= q->head)) {
		struct wire_event *e = hoard_pop(q);

		if (e->m.seq <= q->head) {
			q->b->stats.duplicates_dropped++;
			broker_message_unref(&e->m);
			continue;
		}
		q->synced = true;
		give(q, e);
	}
}

static bool follows(const struct broker_queue *q, const struct wire_event *e)
{
	if (e->last != 0)
		return e->last <= q->head;
	return q->synced && q->high <= q->head;
}

void feed_live(struct broker_queue *q, struct wire_event *e)
{
	q->b->stats.live++;
	q->fresh = false;
	if (q->closing || e->m.seq == 0) {
		broker_message_unref(&e->m);
		return;
	}
	if (e->m.seq <= q->head) {
		q->b->stats.duplicates_dropped++;
		broker_message_unref(&e->m);
		return;
	}
	if (wanted(q) && e->m.data && follows(q, e)) {
		if (e->last != 0)
			q->synced = true;
		give(q, e);
		return;
	}
	if (wanted(q) && q->high <= q->head && (q->synced || e->last > 0))
		q->b->stats.gaps++;
	if (e->m.seq > q->high)
		q->high = e->m.seq;
	if (!wanted(q) || !hoard_push(q, e))
		broker_message_unref(&e->m);
	feed_kick(q);
}

/* ---- what to read next ---- */

bool feed_reading(const struct broker_queue *q)
{
	return wanted(q) && (q->high > q->head || q->check || !q->synced);
}

static bool next_get(const struct broker_queue *q, uint64_t *from, bool *sweep)
{
	/* A sweep begins when no removal is under way, else it would find what is going anyway. */
	*sweep = q->sweep && (q->sweeping ? q->asides < SWEEP_ASIDES && removal_room(q)
					  : q->asides == 0 && removal_idle(q));
	*from = *sweep ? q->sweep_pos : q->head + 1;
	return *sweep || feed_reading(q);
}

void feed_kick(struct broker_queue *q)
{
	struct broker *b = q->b;
	bool urgent = q->high > q->head;
	uint64_t from;
	bool sweep;

	if (b->state != BROKER_LIVE || q->job.state >= JOB_SOON || !next_get(q, &from, &sweep) ||
		(q->marching && !sweep))
		return;
	if (q->job.state == JOB_IDLE || (urgent && q->job.state != JOB_URGENT))
		job_move(b, &q->job, urgent ? JOB_URGENT : JOB_READY);
	feed_pump(b);
}

void feed_look(struct broker_queue *q)
{
	if (q->closing)
		return;
	q->b->stats.rescans++;
	q->check = true;
	/* What those say may be older than this. */
	q->again = q->job.state == JOB_FLYING || q->job.state == JOB_LOOKED || q->marching;
	feed_kick(q);
}

void feed_rescan(struct broker_queue *q)
{
	/* A killed server brings acknowledged deletes back. */
	if (!q->closing && q->confirmed > 0 && !q->sweeping && holders_ours(q)) {
		q->sweep = true;
		q->sweep_pos = 1;
	}
	feed_look(q);
}

void feed_stop(struct broker_queue *q)
{
	if (q->job.state != JOB_FLYING)
		job_move(q->b, &q->job, JOB_IDLE);
	march_leave(q);
	feed_drop_hoard(q);
}

/* ---- gets ---- */

#define BODY_MAX (2 * SUBJECT_MAX + 128)

/* A name holds no controls and nothing above 0x7E: two characters are all that JSON wants escaped.
 */
static void format_body(
	const struct broker_queue *q, uint64_t from, unsigned batch, char out[BODY_MAX])
{
	int n = snprintf(out, BODY_MAX, "{\"seq\":%llu,", (unsigned long long)from);
	char *to;

	if (batch > 0)
		n += snprintf(out + n, BODY_MAX - (size_t)n, "\"batch\":%u,\"max_bytes\":%u,",
			batch, BATCH_BYTES);
	n += snprintf(out + n, BODY_MAX - (size_t)n, "\"next_by_subj\":\"%s.recv.",
		q->b->settings.prefix);
	to = out + n;

	for (const char *p = q->name; *p; p++) {
		if (*p == '"' || *p == '\\')
			*to++ = '\\';
		*to++ = *p;
	}
	memcpy(to, "\"}", 3);
}

static void asks(struct broker_queue *q, uint64_t from, bool sweep)
{
	if (sweep && !q->sweeping && from == 1)
		q->unsaid = false;
	if (!q->marching)
		q->again = false;
	if (sweep)
		q->sweeping = true;
	q->fresh = false;
}

static bool start_get(struct broker *b, struct job *j)
{
	struct broker_queue *q = job_queue(j);
	struct reread *r = j->reread ? (struct reread *)(void *)j : NULL;
	struct get *g;
	uint64_t token, from;
	bool sweep = false;
	char body[BODY_MAX];

	if (r) {
		from = r->after + 1;
	} else if (!next_get(q, &from, &sweep) || (q->marching && !sweep)) {
		job_move(b, j, JOB_IDLE);
		queue_settle(q);
		return true;
	}
	g = calloc(1, sizeof(*g));
	token = g ? request_start(b, &g->request, REQUEST_GET) : 0;
	if (token == 0) {
		free(g);
		job_move(b, j, JOB_LATER);
		return false;
	}
	g->q = q;
	g->reread = r;
	g->begun = g->from = from;
	g->sweep = sweep;
	if (b->batches && !r && !sweep)
		g->batch = (uint8_t)(BATCH_MAX >> q->narrow);
	if (r)
		r->get = g;
	else
		asks(q, from, sweep);
	job_move(b, j, JOB_FLYING);
	b->flying++;
	b->stats.gets++;
	format_body(q, from, g->batch, body);
	(void)wire_get(b->wire, token, broker_apart(b), body); /* not sent: it times out */
	return true;
}

/* Nobody knows whether there is anything: it is looked for together with others'. */
static bool start_look(struct broker *b, struct job *j)
{
	struct broker_queue *q = job_queue(j);
	uint64_t from;
	bool sweep;

	if (j->reread || q->high > q->head || q->deep || q->marching || !look_pays(b) ||
		look_knows(b, q->name) || !next_get(q, &from, &sweep))
		return false;
	asks(q, from, sweep);
	look_join(q);
	return true;
}

static struct job *next_job(struct broker *b)
{
	struct job *urgent = TAILQ_FIRST(&b->jobs[JOB_URGENT]),
		   *ready = TAILQ_FIRST(&b->jobs[JOB_READY]);

	if (urgent && ready)
		return ++b->turn % TURNS == 0 ? ready : urgent;
	return urgent ? urgent : ready;
}

void feed_pump(struct broker *b)
{
	size_t room = IN_FLIGHT_BYTES / (b->get_bytes + (b->batches ? BATCH_BYTES : 1));
	struct job *j;

	if (room > IN_FLIGHT)
		room = IN_FLIGHT;
	if (b->march && room > IN_FLIGHT_BESIDE)
		room = IN_FLIGHT_BESIDE;
	if (room < IN_FLIGHT_MIN)
		room = IN_FLIGHT_MIN;
	while (b->state == BROKER_LIVE && !b->gathering && b->flying < room && (j = next_job(b)))
		if (!start_look(b, j) && !start_get(b, j))
			return;
}

static void sweep_done(struct broker_queue *q)
{
	q->sweep = q->sweeping = false;
	q->sweep_pos = 1;
	if (q->unknown <= q->confirmed)
		q->unknown = 0;
	removal_swept(q);
}

/* Nothing from there on, says a replica that may lag. */
static void found_none(struct broker_queue *q, bool sweep)
{
	if (wanted(q) && q->high > q->head && ++q->job.tries < NONE_TRIES) {
		job_move(q->b, &q->job, q->job.tries < NONE_SOON_TRIES ? JOB_SOON : JOB_LATER);
		return;
	}
	if (sweep) {
		q->unknown = 0;
		sweep_done(q);
	}
	if (!wanted(q) && q->high > q->head)
		return; /* the live copy was dropped: it is read when it is wanted */
	if (q->again)
		return;
	/* It is gone: removed by somebody else, or too old. Should it come all the same, the mark
	 * still lies below. */
	q->high = q->head;
	q->job.tries = 0;
	q->check = false;
	q->synced = true;
}

static void found(struct broker_queue *q, struct wire_event *e, bool sweep)
{
	uint64_t seq = e->m.seq;

	if (sweep && seq <= q->confirmed) {
		q->sweep_pos = seq + 1;
		if (!q->b->ev->left(q->owner, &e->m))
			removal_doom(q, seq);
		removal_pump(q->b);
	} else if (sweep) {
		if (seq > q->head)
			q->unknown = 0;
		sweep_done(q);
	}
	if (seq > q->head && wanted(q)) {
		give(q, e);
		give_hoard(q);
		return;
	}
	if (seq > q->head && seq > q->high)
		q->high = seq;
	broker_message_unref(&e->m);
}

bool feed_found(struct broker_queue *q, struct wire_event *e)
{
	bool wants = wanted(q);

	if (e->m.seq <= q->head) { /* it came live meanwhile */
		broker_message_unref(&e->m);
		return wants;
	}
	found(q, e, false);
	return wants;
}

void feed_looked(struct broker_queue *q, bool none)
{
	job_move(q->b, &q->job, JOB_IDLE);
	if (none) {
		march_read_up(q);
		found_none(q, q->sweeping);
	}
	feed_kick(q);
	queue_settle(q);
}

void feed_none(struct broker_queue *q)
{
	if (q->job.state == JOB_FLYING) /* a sweep's get: then its own reading looks again */
		return;
	found_none(q, false);
	feed_kick(q);
	queue_settle(q);
}

/* There is one, which is still to be read. */
static void raise_high(struct broker_queue *q, uint64_t seq)
{
	if (seq > q->high)
		q->high = seq;
}

void feed_part(struct broker *b, struct get *g, struct wire_event *e)
{
	struct broker_queue *q = g->q;
	uint64_t from = g->from;

	request_goes_on(b, &g->request);
	/* One found no memory, says the part behind it: all is read again from there on. */
	g->holed |= e->last >= from;
	if (q && g->holed)
		raise_high(q, e->m.seq);
	if (!q || e->m.seq < from || g->holed) {
		broker_message_unref(&e->m);
		return;
	}
	g->from = e->m.seq + 1;
	g->parts++;
	if (wanted(q) && from <= q->head + 1) {
		(void)feed_found(q, e);
		return;
	}
	/* Not wanted, or closed and opened again from an earlier mark: it is read once more. */
	g->wasted = true;
	raise_high(q, e->m.seq);
	broker_message_unref(&e->m);
}

/* How many the next get asks for. */
static void widen(struct broker_queue *q, const struct get *g)
{
	if (g->batch > 0 && g->parts == 0)
		q->narrow = NARROW_MAX;
	else if (g->wasted && q->narrow < NARROW_MAX - 1)
		q->narrow++;
	else if (!g->wasted && q->narrow > 0)
		q->narrow--;
}

/* The end of a batch. */
static void feed_batch(struct broker_queue *q, struct get *g, struct wire_event *e)
{
	uint32_t left = e->batched ? e->pending : UINT32_MAX;

	if (e->batched && e->last >= g->from) {
		g->holed = true;
		raise_high(q, e->last);
	}
	broker_message_unref(&e->m);
	widen(q, g);
	if (g->parts == 0)
		return; /* one alone may be too large: it is asked for without a limit */
	if (left == 0 && !g->holed && g->from <= q->head + 1) {
		if (!q->marching)
			march_read_up(q);
		found_none(q, false);
	} else if (wanted(q)) {
		march_consider(q, g->begun, g->parts);
	}
}

static void feed_answer(struct broker_queue *q, struct get *g, struct wire_event *e)
{
	struct broker *b = q->b;
	uint64_t from = g->from;
	bool sweep = g->sweep;

	job_move(b, &q->job, JOB_IDLE);
	if (!e) { /* no answer, or no session: then everything is read again after it */
		if (b->state == BROKER_LIVE)
			job_move(b, &q->job, JOB_LATER);
		return;
	}
	if (sweep && !q->sweeping) { /* of a sweep that was begun anew meanwhile */
		broker_message_unref(&e->m);
		return;
	}
	if (e->status == 204 && g->batch > 0) {
		feed_batch(q, g, e);
	} else if (from > q->head + 1) {
		/* closed and opened again from an earlier mark meanwhile */
		broker_message_unref(&e->m);
	} else if (e->m.seq >= from) {
		found(q, e, sweep);
		if (!sweep)
			widen(q, g);
		if (!sweep && q->job.state == JOB_IDLE && wanted(q))
			march_consider(q, from, 1);
	} else if (e->status == 404) {
		broker_message_unref(&e->m);
		if (q->run == 0)
			look_missed(b);
		if (!q->marching)
			march_read_up(q);
		found_none(q, sweep);
	} else {
		if (e->status != 503)
			log_some_warnings(1, "the broker refuses a direct get: tried again",
				kv_uint("status", e->status), kv_more(queue_who(q)));
		broker_message_unref(&e->m);
		job_move(b, &q->job, JOB_LATER);
		watch_soon(b);
	}
}

void feed_reply(struct broker *b, struct get *g, struct wire_event *e)
{
	struct broker_queue *q = g->q;
	struct reread *r = g->reread;

	b->flying--;
	b->get_bytes -= b->get_bytes / 16;
	if (e && e->m.len > b->get_bytes)
		b->get_bytes = e->m.len;
	if (!q) {
		if (e)
			broker_message_unref(&e->m);
	} else if (r) {
		reread_reply(q, r, e, g->from);
	} else {
		feed_answer(q, g, e);
		feed_kick(q);
		queue_settle(q);
	}
	free(g);
	march_gathered(b);
	feed_pump(b);
}

void feed_tick(struct broker *b)
{
	for (int s = JOB_SOON; s <= JOB_LATER; s++) {
		struct job *j;

		while ((j = TAILQ_FIRST(&b->jobs[s])) && is_due(b, j->due))
			job_move(b, j, JOB_URGENT);
	}
	look_tick(b);
	feed_pump(b);
	if (!TAILQ_EMPTY(&b->jobs[JOB_SOON]) || !TAILQ_EMPTY(&b->jobs[JOB_HELD]))
		broker_hurry(b);
}
