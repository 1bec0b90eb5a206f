/*
 * march: one reading of the stream for many queues. When many users come back to many messages
 * each, which lie interleaved, every get of a queue makes the server look from one of its messages
 * to the next past all others' (1.2 ms for 5,000 users, tried). Then the stream is read once, in
 * its own order, and each message goes to whoever waits for it.
 *
 *   given to all ▸ at ▸ [ step | step | … | step: asked for together ] ▸ end
 *
 * A step is a stretch of the stream, one sequence long where messages lie close, longer where most
 * were removed; it is read through by gets one after another. A queue that marches has all of its
 * own that lies at or below the larger of `at` and its head, and reads nothing itself; only what
 * was confirmed and is still there it looks for by itself.
 *
 * Where the server can (2.11) a step is one get that asks for many messages, and alone: it ends
 * where they end. Only a get for one message says that there is none.
 *
 * Those who come later than it began read for themselves. When they are many it goes back for
 * them: what the others have then is not given to them again. Each time it must have read twice as
 * much since, so that it gets to its end whoever comes.
 *
 * Trap: asked for together, gets may be answered by different replicas, one of which lags. Each has
 * all messages up to some point, so a message that it finds is the next one; only "none" may be
 * wrong, and is when a later get finds something.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wsgate/table.h>
#include "headers.h"
#include "parts.h"

#define QUEUES 128 /* so many with a backlog: else each reads its own */
#define STRIDE 100 /* and so far from one message of a queue to the next */
#define DEEP 2     /* messages in a row that a queue's own gets found: it has a backlog */
#define CROWD 64   /* where so many need what is read, it is worth it */
#define NEAR 4096  /* and so far it goes for anybody */
#define AHEAD_MIN 8
#define AHEAD_MAX 128
#define AHEAD_BYTES (16u << 20) /* of answers */
#define BATCH_BYTES (1u << 20)  /* of a step that is one batch: AHEAD_MAX messages */
#define STEP_MAX 16             /* messages of a step */
#define STEP_LONG 65536         /* sequences */
#define DOUBTS 64               /* "none" in a row that was wrong */
#define BACK_AFTER 2048         /* gets, the first time */
#define LOOK_AFTER 2048         /* gets, and twice from one message of a queue to its next; then: */
#define LOOK_LATEST 32768       /* is it worth it? */
#define PAUSE_MS 10000          /* it was not */
/* Server's and gateway's time, microseconds: a get of a march; one of a queue, and what it costs
 * for each message that lies between. */
#define COST_MARCHED 20
#define COST_GET 25
#define COST_BETWEEN 0.24

struct step {
	struct request request;          /* first */
	struct wire_event *found, *last; /* owned, in order */
	uint64_t from, upto;             /* to be read; upto excluded */
	uint32_t n;
	uint32_t batch; /* messages that one get asks for; 0: one, in the way of 2.9 */
	bool none;      /* behind what was found, in the whole stream */
	bool holed;     /* a part of its batch did not come */
	bool cut;       /* it was not read to its end */
};

struct march {
	struct table members; /* by name */
	uint64_t at;
	uint32_t n, waiting, ahead, spacing, doubts;
	bool failed;
	bool plain;           /* the last batch was empty: what is next may be too large for one */
	uint64_t read, given; /* in all */
	uint64_t asked, useful;          /* since it was last looked whether it is worth it */
	uint64_t since_back, back_after; /* gets */
	struct step steps[AHEAD_MAX];
};

static void leave(struct broker_queue *q)
{
	(void)table_del(&q->b->march->members, q->name, strlen(q->name));
	q->marching = false;
}

void march_leave(struct broker_queue *q)
{
	if (q->marching)
		leave(q);
	march_read_up(q);
}

void march_read_up(struct broker_queue *q)
{
	q->run = 0;
	if (q->deep)
		q->b->deep--;
	q->deep = false;
}

/* ---- the end ---- */

static struct wire_event *step_pop(struct step *s)
{
	struct wire_event *e = s->found;

	if (e)
		s->found = e->next;
	return e;
}

static void drop_steps(struct march *m)
{
	struct wire_event *e;

	for (uint32_t i = 0; i < m->n; i++)
		while ((e = step_pop(&m->steps[i])))
			broker_message_unref(&e->m);
	m->n = 0;
}

void march_free(struct broker *b)
{
	if (!b->march)
		return;
	drop_steps(b->march);
	table_free(&b->march->members);
	free(b->march);
	b->march = NULL;
}

static bool end_complete(void *value, void *arg)
{
	(void)arg;
	march_leave(value);
	feed_none(value);
	return true;
}

static bool end_early(void *value, void *arg)
{
	(void)arg;
	march_leave(value);
	feed_kick(value);
	return true;
}

static void end(struct broker *b, bool complete)
{
	struct march *m = b->march;

	log_info("the stream was read once for many users", kv_uint("messages", m->read),
		kv_uint("given", m->given), kv_str("to_its_end", complete ? "yes" : "no"));
	table_each(&m->members, complete ? end_complete : end_early, NULL);
	march_free(b);
	feed_pump(b);
}

static void give_up(struct broker *b)
{
	b->march_pause = b->now_ms + PAUSE_MS;
	end(b, false);
}

/* ---- asking ---- */

static bool ask(struct broker *b, struct step *s)
{
	uint64_t token = request_start(b, &s->request, REQUEST_MARCH);
	char batch[64] = "", body[SUBJECT_PREFIX_MAX + 144];

	if (token == 0)
		return false;
	if (s->batch > 0)
		snprintf(batch, sizeof(batch), "\"batch\":%u,\"max_bytes\":%u,", s->batch,
			BATCH_BYTES);
	snprintf(body, sizeof(body), "{\"seq\":%llu,%s\"next_by_subj\":\"%s.recv.>\"}",
		(unsigned long long)s->from, batch, b->settings.prefix);
	b->stats.gets++;
	b->march->asked++;
	b->march->since_back++;
	(void)wire_get(b->wire, token, broker_apart(b), body); /* not sent: it times out */
	return true;
}

static void ask_all(struct broker *b)
{
	struct march *m = b->march;
	size_t room = AHEAD_BYTES / (b->get_bytes + 1) / (m->spacing > 1 ? STEP_MAX : 1);
	uint32_t n = m->ahead < room ? m->ahead : (uint32_t)(room > 0 ? room : 1);

	m->n = m->waiting = 0;
	if (b->batches)
		n = 1;
	for (uint64_t from = m->at + 1; m->n < n; from += m->spacing) {
		m->steps[m->n] = (struct step){.from = from, .upto = from + m->spacing};
		m->steps[m->n].batch = b->batches && !m->plain ? m->ahead : 0;
		if (!ask(b, &m->steps[m->n]))
			break;
		m->n++;
		m->waiting++;
	}
	if (m->n == 0)
		give_up(b);
}

/* ---- giving ---- */

/* Takes e. False: nobody can tell whose it is. */
static bool give_one(struct broker *b, struct wire_event *e)
{
	struct march *m = b->march;
	struct broker_queue *q;
	uint64_t head;
	const char *name;
	size_t len;

	if (!headers_subject(e->msg, b->settings.prefix, &name, &len)) {
		broker_message_unref(&e->m);
		return false;
	}
	m->at = e->m.seq;
	m->read++;
	q = table_get(&m->members, name, len);
	if (!q) {
		broker_message_unref(&e->m);
		return true;
	}
	head = q->head;
	if (!feed_found(q, e)) { /* it is not wanted now: later, then, by its own reading */
		march_leave(q);
		feed_kick(q);
	} else if (q->head > head) {
		m->given++;
		m->useful++;
	}
	return true;
}

/* What a turn has found: in order, each message once, however many gets found it. */
struct haul {
	uint32_t distinct, close; /* close: they follow the one before, nearly */
	bool end;                 /* there is no more */
	bool doubt;               /* so one said, and another found more */
};

static struct haul give_all(struct broker *b)
{
	struct march *m = b->march;
	struct haul h = {0};
	bool open = true;

	for (uint32_t i = 0; i < m->n; i++) {
		struct step *s = &m->steps[i];
		struct wire_event *e;

		while ((e = step_pop(s))) {
			h.doubt |= h.end && e->m.seq > m->at;
			if (!open || e->m.seq <= m->at) {
				broker_message_unref(&e->m);
				continue;
			}
			h.distinct++;
			h.close += e->m.seq - m->at <= 2;
			if (!give_one(b, e)) {
				m->failed = true;
				open = false;
			}
		}
		h.end |= open && s->none;
		open = open && !s->none && !s->cut;
	}
	m->n = 0;
	return h;
}

/* ---- turns ---- */

/* Many messages of others lie between: is it cheaper than gets for each queue? */
static bool worth_it(struct broker *b)
{
	struct march *m = b->march;
	uint64_t far = LOOK_AFTER + 2 * b->stride / 32;
	bool yes = (double)m->asked * COST_MARCHED <=
		   (double)m->useful * (COST_GET + COST_BETWEEN * (double)b->stride / 32);

	if (m->asked < (far < LOOK_LATEST ? far : LOOK_LATEST))
		return true;
	m->asked = m->useful = 0;
	return yes;
}

/* How the next turn asks: by what the last one found. */
static void adapt(struct march *m, const struct haul *h, uint32_t asked, uint64_t way)
{
	uint64_t each = h->distinct ? way / h->distinct : way;

	m->spacing = 1;
	if (2 * h->close < h->distinct && each > 1)
		m->spacing = each < STEP_LONG / 4 ? (uint32_t)each * 4 : STEP_LONG;
	m->ahead = h->distinct < asked / 4 ? AHEAD_MIN : m->ahead * 2;
	if (m->ahead > AHEAD_MAX)
		m->ahead = AHEAD_MAX;
}

static bool go_back(struct broker *b);

static void turn(struct broker *b)
{
	struct march *m = b->march;
	uint64_t at = m->at;
	uint32_t asked = m->n;
	struct haul h;

	if (m->failed) {
		give_up(b);
		return;
	}
	h = give_all(b);
	m->doubts = h.doubt ? m->doubts + 1 : 0;
	if (h.end && !h.doubt) {
		end(b, true);
	} else if (table_count(&m->members) == 0) {
		end(b, false);
	} else if (m->failed || m->doubts > DOUBTS || !worth_it(b)) {
		give_up(b);
	} else if (!go_back(b)) {
		adapt(m, &h, asked, m->at - at);
		ask_all(b);
	}
}

static void step_push(struct step *s, struct wire_event *e)
{
	e->next = NULL;
	if (s->found)
		s->last->next = e;
	else
		s->found = e;
	s->last = e;
	s->n++;
}

/* False: it goes on. */
static bool step_done(struct broker *b, struct step *s, struct wire_event *e)
{
	struct march *m = b->march;

	if (e && s->batch > 0 && e->m.seq == 0 && (e->status == 204 || s->n > 0)) {
		s->cut = true;
		m->plain = s->n == 0;
		broker_message_unref(&e->m);
		return true;
	}
	m->plain = false;
	if (!e || e->m.seq < s->from) {
		s->none = e && e->m.seq == 0 && e->status == 404;
		m->failed |= !s->none;
		if (e)
			broker_message_unref(&e->m);
		return true;
	}
	b->get_bytes -= b->get_bytes / (2 * AHEAD_MAX);
	if (e->m.len > b->get_bytes)
		b->get_bytes = e->m.len;
	s->from = e->m.seq + 1;
	step_push(s, e);
	if (s->from >= s->upto)
		return true;
	s->cut = s->n >= STEP_MAX || m->failed || b->state != BROKER_LIVE || !ask(b, s);
	return s->cut;
}

bool march_part(struct broker *b, struct request *r, struct wire_event *e)
{
	struct step *s = (struct step *)(void *)r;

	if (s->batch == 0)
		return false;
	request_goes_on(b, r);
	s->holed |=
		e->last >= s->from; /* one before it found no memory: what follows is read again */
	if (e->m.seq < s->from || s->holed) {
		broker_message_unref(&e->m);
		return true;
	}
	s->from = e->m.seq + 1;
	b->march->asked++;
	b->march->since_back++;
	step_push(s, e);
	return true;
}

void march_reply(struct broker *b, struct request *r, struct wire_event *e)
{
	if (step_done(b, (struct step *)(void *)r, e) && --b->march->waiting == 0)
		turn(b);
}

/* ---- the beginning ---- */

static bool join(struct broker_queue *q)
{
	struct march *m = q->b->march;

	if (q->marching || q->job.state > JOB_READY ||
		table_put(&m->members, q->name, strlen(q->name), q) < 0)
		return false;
	job_move(q->b, &q->job, JOB_IDLE);
	q->marching = true;
	q->marched = !q->b->gathering;
	return true;
}

/* First the gets that are under way come back, and nobody asks anew: who joins has no get under
 * way, and where it begins is known when all have joined. */
static void gather(struct broker *b)
{
	b->gathering = true;
	for (uint32_t i = 0; i < b->nslots; i++) {
		struct broker_queue *q = b->slots[i].q;

		if (!q || !q->deep || q->marching)
			continue;
		if (feed_reading(q))
			(void)join(q);
		else if (q->job.state == JOB_IDLE)
			march_read_up(q);
	}
}

static void begin(struct broker *b)
{
	struct march *m = calloc(1, sizeof(*m));

	if (!m)
		return; /* each reads its own */
	table_init(&m->members);
	m->ahead = AHEAD_MIN;
	m->spacing = 1;
	m->back_after = BACK_AFTER;
	b->march = m;
	gather(b);
}

/* Many have come who lack what was read. */
static bool go_back(struct broker *b)
{
	struct march *m = b->march;

	if (b->deep < table_count(&m->members) + QUEUES || m->since_back < m->back_after)
		return false;
	m->since_back = 0;
	m->back_after *= 2;
	gather(b);
	march_gathered(b);
	return true;
}

static uint64_t place(const struct broker_queue *q)
{
	uint64_t at = q->marched ? q->b->march->at : 0;

	return q->head > at ? q->head : at;
}

struct places {
	uint64_t *v;
	size_t n;
	uint64_t start;
};

static bool add_place(void *value, void *arg)
{
	struct places *p = arg;

	p->v[p->n++] = place(value);
	return true;
}

static bool drop_behind(void *value, void *arg)
{
	struct broker_queue *q = value;
	const struct places *p = arg;

	if (place(q) < p->start)
		leave(q); /* it still counts as one with a backlog */
	return true;
}

static bool set_marched(void *value, void *arg)
{
	(void)arg;
	((struct broker_queue *)value)->marched = true;
	return true;
}

static int by_place(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Where it begins: where a crowd is, and a little further back for the few behind. False: there is
 * no crowd, or no memory. */
static bool find_start(struct march *m, uint64_t *start)
{
	struct places p = {calloc(table_count(&m->members) + 1, sizeof(uint64_t)), 0, 0};
	size_t i = CROWD - 1;

	if (!p.v)
		return false;
	table_each(&m->members, add_place, &p);
	if (p.n < CROWD) {
		free(p.v);
		return false;
	}
	qsort(p.v, p.n, sizeof(p.v[0]), by_place);
	while (i > 0 && p.v[i] - p.v[i - 1] <= NEAR)
		i--;
	*start = p.v[i];
	free(p.v);
	return true;
}

void march_gathered(struct broker *b)
{
	struct march *m = b->march;
	struct places p = {0};

	if (!b->gathering || b->flying > 0)
		return;
	b->gathering = false;
	if (b->state != BROKER_LIVE || !find_start(m, &p.start)) {
		end(b, false);
		return;
	}
	table_each(&m->members, drop_behind, &p);
	m->at = p.start;
	table_each(&m->members, set_marched, NULL);
	log_info(m->read ? "more users have many messages waiting: the reading goes back for them"
			 : "many users have many messages waiting: the stream is read once for all",
		kv_uint("users", table_count(&m->members)), kv_uint("from", m->at + 1));
	for (uint32_t i = 0; i < b->nslots; i++)
		if (b->slots[i].q && b->slots[i].q->deep)
			feed_kick(b->slots[i].q);
	ask_all(b);
	feed_pump(b);
}

void march_consider(struct broker_queue *q, uint64_t from, uint32_t found)
{
	struct broker *b = q->b;
	uint64_t far = q->head > from ? (q->head - from) / found : 0;

	q->run = q->run + found < DEEP ? (uint8_t)(q->run + found) : DEEP;
	if (q->run > 1)
		b->stride += far - b->stride / 32;
	if (q->run == DEEP && !q->deep) {
		q->deep = true;
		b->deep++;
	}
	if (!q->deep || b->state != BROKER_LIVE)
		return;
	if (b->march && (b->gathering || q->head >= b->march->at))
		(void)join(q);
	else if (!b->march && b->deep >= QUEUES && b->stride / 32 >= STRIDE &&
		 b->now_ms >= b->march_pause)
		begin(b);
}
