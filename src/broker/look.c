/*
 * look: one get for many queues that nothing is known of. When users come by the thousand, most of
 * them have no message waiting, and a get for each, only to hear "none", is dearer than anything
 * else about them (25 µs of the server's, 5 of ours). Where the stream holds little, one get looks
 * for all who came meanwhile: is there any message, for whomever, behind those that are known?
 *
 *   stored: [ known: found by looks of late, each one's name | at ] looked for: none
 *
 * Whose name is known reads for himself, as everybody does where looks do not pay. Nothing is given
 * here, so nothing that is wrong here can lose or repeat a message: but for "none", which is
 * believed as it is of a queue's own get, and looked at again as that is (queue.c).
 *
 * Trap: what is known has to be complete up to `at`. It is, because a sequence is never given
 * again; but for a server that was killed and brings removed messages back. So it is forgotten with
 * the session, with the leader, and when nobody came for a while.
 */
#include <stdlib.h>
#include <string.h>
#include "headers.h"
#include "parts.h"

#define STORED_MAX 4096 /* messages in the stream: the server may have to go past all of them */
#define BESIDE 8        /* gets under way: who comes beside so many does not look alone */
#define CROWD 4
#define GATHERED                                                                                   \
	256     /* so many wait for no more; else some milliseconds: each look wakes everybody */
#define STEPS 8 /* messages found in a row: those who wait read for themselves then */
#define ACCOUNT 512    /* gets, and then: did they spare as many? Also the most that are known */
#define PAUSE_MS 30000 /* they did not */
#define IDLE_MS 1000   /* so old is nothing that is known */
#define SLOW_MS 250

static bool forget_one(void *value, void *arg)
{
	(void)arg;
	free(value);
	return true;
}

void look_forget(struct broker *b)
{
	struct look *l = &b->look;

	table_each(&l->known, forget_one, NULL);
	table_free(&l->known);
	table_init(&l->known);
	l->at = 0;
	l->steps = 0;
}

bool look_knows(const struct broker *b, const char *name)
{
	return table_get(&b->look.known, name, strlen(name)) != NULL;
}

/* False: no memory. */
static bool remember(struct look *l, const char *name, size_t len)
{
	char *copy;

	if (table_get(&l->known, name, len))
		return true;
	copy = malloc(len);
	if (!copy)
		return false;
	memcpy(copy, name, len);
	if (table_put(&l->known, copy, len, copy) == 0)
		return true;
	free(copy);
	return false;
}

/* ---- asking ---- */

static bool under_way(const struct look *l)
{
	return l->request.kind != REQUEST_NONE;
}

bool look_pays(const struct broker *b)
{
	const struct look *l = &b->look;

	return b->stored <= STORED_MAX && b->now_ms >= l->pause && l->steps <= STEPS &&
	       (under_way(l) || b->flying >= BESIDE || !TAILQ_EMPTY(&b->jobs[JOB_WAITING]));
}

static void move_all(struct broker *b, enum job_state from, enum job_state to)
{
	struct job *j;

	while ((j = TAILQ_FIRST(&b->jobs[from])))
		job_move(b, j, to);
}

/* They read for themselves, or with the next one. */
static void release(struct broker *b)
{
	move_all(b, JOB_LOOKED, JOB_READY);
	move_all(b, JOB_WAITING, JOB_READY);
	b->look.joined = 0;
}

static void give_up(struct broker *b)
{
	look_forget(b);
	b->look.asked = b->look.spared = 0;
	b->look.pause = b->now_ms + PAUSE_MS;
	release(b);
}

/* For all who wait by now. */
static void ask(struct broker *b)
{
	struct look *l = &b->look;
	char body[SUBJECT_PREFIX_MAX + 80];
	uint64_t token;

	if (l->asked >= ACCOUNT && l->spared < l->asked) {
		give_up(b);
		return;
	}
	if (l->asked >= ACCOUNT)
		l->asked = l->spared = 0;
	if (table_count(&l->known) >= ACCOUNT || b->now_ms - l->asked_ms > IDLE_MS)
		look_forget(b);
	token = request_start(b, &l->request, REQUEST_LOOK);
	if (token == 0) {
		give_up(b);
		return;
	}
	move_all(b, JOB_WAITING, JOB_LOOKED);
	l->joined = 0;
	l->asked++;
	l->asked_ms = b->now_ms;
	l->from = l->at;
	b->stats.gets++;
	snprintf(body, sizeof(body), "{\"seq\":%llu,\"next_by_subj\":\"%s.recv.>\"}",
		(unsigned long long)l->at + 1, b->settings.prefix);
	(void)wire_get(b->wire, token, broker_apart(b), body); /* not sent: it times out */
}

static void next_one(struct broker *b)
{
	if (b->look.joined >= GATHERED)
		ask(b);
	else if (b->look.joined > 0)
		broker_hurry(b);
}

void look_join(struct broker_queue *q)
{
	struct look *l = &q->b->look;

	job_move(q->b, &q->job, JOB_WAITING);
	l->joined++;
	if (!under_way(l) && !l->answering)
		next_one(q->b);
}

static bool crowd_waits(const struct broker *b)
{
	const struct job *j;
	int n = 0;

	TAILQ_FOREACH(j, &b->jobs[JOB_WAITING], link)
	if (++n == CROWD)
		return true;
	return false;
}

void look_tick(struct broker *b)
{
	if (b->state != BROKER_LIVE || under_way(&b->look) || TAILQ_EMPTY(&b->jobs[JOB_WAITING]))
		return;
	if (crowd_waits(b))
		ask(b);
	else
		release(b);
}

/* ---- answers ---- */

/* There is nothing but what is known. */
static void ended(struct broker *b)
{
	struct look *l = &b->look;
	struct job *j;

	l->steps = 0;
	l->answering = true;
	while ((j = TAILQ_FIRST(&b->jobs[JOB_LOOKED]))) {
		struct broker_queue *q = job_queue(j);
		bool none = !look_knows(b, q->name);

		l->spared += none;
		feed_looked(q, none);
	}
	l->answering = false;
	next_one(b);
}

/* False: nobody can tell whose it is, or no memory. */
static bool found(struct broker *b, const struct wire_event *e)
{
	struct look *l = &b->look;
	const char *name;
	size_t len;

	if (!headers_subject(e->msg, b->settings.prefix, &name, &len) || !remember(l, name, len))
		return false;
	l->at = e->m.seq;
	l->steps++;
	return true;
}

void look_reply(struct broker *b, struct wire_event *e)
{
	struct look *l = &b->look;

	if (b->now_ms - l->asked_ms > SLOW_MS) {
		b->stored = UINT64_MAX; /* until it is known again */
		watch_now(b);
	}
	if (l->from != l->at) { /* forgotten meanwhile */
		release(b);
	} else if (e && e->m.seq == 0 && e->status == 404) {
		ended(b);
	} else if (!e || e->m.seq <= l->at || b->state != BROKER_LIVE || !found(b, e)) {
		give_up(b);
	} else {
		if (l->steps > STEPS)
			release(b); /* it goes on for those who come later */
		ask(b);
	}
	if (e)
		broker_message_unref(&e->m);
	feed_pump(b);
}
