/*
 * look: one request for many queues that nothing is known of. When users come by the thousand, most
 * of them have nothing waiting, and a get for each, only to hear "none", is dearer than anything
 * else about them (25 µs of the server's, 5 of ours). So the server lists once who has messages
 * waiting, and from then on one get looks for all who came meanwhile: was there a message, for
 * whomever, since?
 *
 *   stored: [ known: by the list, and by looks since then | at ] looked for: none
 *
 * Whose name is known reads for himself, as everybody does where looks do not pay. Nothing is given
 * here, so nothing that is wrong here can lose or repeat a message: but for "none", which is
 * believed as it is of a queue's own get, and looked at again as that is (queue.c).
 *
 * Trap: what is known has to be complete up to `at`. It is, because a sequence is never given
 * again; but for a server that was killed and brings removed messages back. So it is forgotten with
 * the session, with the leader, and after some seconds; later gets have less to go past then, too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "headers.h"
#include "parts.h"
#include "stream.h"

#define SUBJECTS_MAX 32768 /* in the list: 20 ms to read it; the server lists up to 100,000 */
#define LISTED 10          /* subjects, which cost as much as a get */
#define GET_BYTES 1024     /* of a message: as much as a get, too */
#define CREDIT 64          /* gets: so many more than it spared it may cost at first, and */
#define CREDIT_MAX 512     /* when it has proved good */
#define BESIDE 8           /* gets under way: who comes beside so many does not look alone */
#define CROWD 4
#define GATHERED 256 /* so many wait for no more, others some milliseconds: each wakes all */
#define STEPS 8      /* messages found in a row: a new list is cheaper */
#define LIST_MS 5000 /* so old it grows at most */
#define PAUSE_MS 30000
#define SLOW_MS 250 /* the server goes past much, or does not answer */
#define SILENT_MS 1000

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
	l->listed = false;
	l->stale = true;
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

/* ---- whether it pays ---- */

static int64_t list_cost(const struct broker *b)
{
	return (int64_t)(b->subjects / LISTED) + 1;
}

static bool under_way(const struct look *l)
{
	return l->request.kind != REQUEST_NONE;
}

bool look_pays(const struct broker *b)
{
	const struct look *l = &b->look;

	if (l->alone)
		return false;
	if (under_way(l))
		return b->now_ms - l->asked_ms < SLOW_MS;
	return b->now_ms >= l->pause && b->subjects <= SUBJECTS_MAX &&
	       (l->listed || l->credit >= list_cost(b)) &&
	       (b->flying >= BESIDE || !TAILQ_EMPTY(&b->jobs[JOB_WAITING]));
}

static void earn(struct broker *b, int64_t gets)
{
	int64_t most = CREDIT_MAX + 2 * list_cost(b);

	b->look.credit += gets;
	if (b->look.credit > most)
		b->look.credit = most;
}

void look_missed(struct broker *b)
{
	struct look *l = &b->look;

	if (!l->listed && l->credit < list_cost(b))
		l->credit++;
}

void look_begin(struct broker *b, uint64_t subjects)
{
	look_forget(b);
	b->subjects = subjects;
	b->look.credit = CREDIT;
	b->look.pause = 0;
}

/* ---- asking ---- */

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

static void leave_off(struct broker *b, uint64_t ms)
{
	look_forget(b);
	b->look.credit = CREDIT;
	b->look.pause = b->now_ms + ms;
	release(b);
}

static void give_up(struct broker *b)
{
	log_debug("looks for many users at once do not pay, for a while",
		kv_str("stream", b->settings.stream), kv_uint("subjects", b->subjects));
	leave_off(b, PAUSE_MS);
}

static void send_list(struct broker *b, uint64_t token)
{
	look_forget(b);
	b->look.listed_ms = b->now_ms;
	b->look.steps = 0;
	earn(b, -list_cost(b));
	watch_info(b, token, "recv");
}

static void send_get(struct broker *b, uint64_t token)
{
	char body[SUBJECT_PREFIX_MAX + 80];

	earn(b, -1);
	b->stats.gets++;
	snprintf(body, sizeof(body), "{\"seq\":%llu,\"next_by_subj\":\"%s.recv.>\"}",
		(unsigned long long)b->look.at + 1, b->settings.prefix);
	(void)wire_get(b->wire, token, broker_apart(b), body); /* not sent: it times out */
}

/* For all who wait by now. */
static void ask(struct broker *b)
{
	struct look *l = &b->look;
	bool list = !l->listed || l->far || l->steps > STEPS || b->now_ms - l->listed_ms > LIST_MS;
	uint64_t token;

	if (l->credit < (list ? list_cost(b) : 1)) {
		give_up(b);
		return;
	}
	token = request_start(b, &l->request, REQUEST_LOOK);
	if (token == 0) {
		give_up(b);
		return;
	}
	move_all(b, JOB_WAITING, JOB_LOOKED);
	l->joined = 0;
	l->asked_ms = b->now_ms;
	l->listing = list;
	if (list)
		send_list(b, token);
	else
		send_get(b, token);
	l->stale = false;
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

	for (j = TAILQ_FIRST(&b->jobs[JOB_WAITING]); j && n < CROWD; j = TAILQ_NEXT(j, link))
		n++;
	return n == CROWD;
}

void look_tick(struct broker *b)
{
	struct look *l = &b->look;

	if (under_way(l))
		return;
	if (l->listed && b->now_ms - l->listed_ms > LIST_MS)
		look_forget(b);
	if (b->state != BROKER_LIVE || TAILQ_EMPTY(&b->jobs[JOB_WAITING]))
		return;
	if (crowd_waits(b)) {
		ask(b);
		return;
	}
	release(b);
	l->alone = true;
	feed_pump(b);
	l->alone = false;
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

		earn(b, none);
		feed_looked(q, none);
	}
	l->answering = false;
	next_one(b);
}

/* False: it is no list, or a part of one; nobody can tell whose something is; or no memory. */
static bool read_list(struct broker *b, const struct wire_event *e)
{
	struct look *l = &b->look;
	json_t *doc = broker_doc(e), *state = json_object_get(doc, "state"),
	       *last = json_object_get(state, "last_seq"), *total = json_object_get(doc, "total"),
	       *subjects = json_object_get(state, "subjects"), *n;
	const char *subject;
	size_t skip = strlen(b->settings.prefix) + sizeof(".recv.") - 1;
	/* One that knows no leader answers, too (nats-server's source), and may lack some. */
	bool good = json_is_integer(last) && (!b->replicated || stream_leader(doc)) &&
		    (size_t)json_integer_value(total) <= json_object_size(subjects);

	json_object_foreach(subjects, subject, n)
	{
		good = good && strlen(subject) > skip &&
		       remember(l, subject + skip, strlen(subject) - skip);
	}
	l->at = (uint64_t)json_integer_value(last);
	l->listed = good;
	if (good)
		b->subjects = stream_subjects(state);
	json_decref(doc);
	return good;
}

static bool found(struct broker *b, const struct wire_event *e)
{
	struct look *l = &b->look;
	const char *name;
	size_t len;

	if (e->m.seq <= l->at || !headers_subject(e->msg, b->settings.prefix, &name, &len) ||
		!remember(l, name, len))
		return false;
	l->at = e->m.seq;
	l->steps++;
	earn(b, -(int64_t)(e->m.len / GET_BYTES));
	return true;
}

/* False: it told nothing. */
static bool look_answer(struct broker *b, const struct wire_event *e)
{
	struct look *l = &b->look;

	if (l->stale) { /* it was forgotten meanwhile what this follows */
		release(b);
	} else if (l->listing) {
		if (!read_list(b, e))
			return false;
		ended(b);
	} else if (e->m.seq == 0 && e->status == 404) {
		ended(b);
	} else {
		if (!found(b, e))
			return false;
		ask(b);
	}
	return true;
}

void look_reply(struct broker *b, struct wire_event *e)
{
	struct look *l = &b->look;

	l->far = !l->listing && b->now_ms - l->asked_ms > SLOW_MS;
	if (!e || e->status == 503)
		leave_off(b, SILENT_MS);
	else if (!look_answer(b, e))
		give_up(b);
	if (e)
		broker_message_unref(&e->m);
	feed_pump(b);
}
