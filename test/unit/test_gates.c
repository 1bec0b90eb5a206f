/*
 * A user on several gateways: this one is real, the others are what the test says in their names.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../../src/broker/parts.h"
#include "nats_rig.h"

#define FIRST UINT64_C(1)                 /* before any real one: it removes */
#define LAST UINT64_C(0xfffffffffffffffe) /* behind any: this one removes */
#define LEASE 1000

static struct {
	natsSubscription *beats, *words;
	uint64_t id, inc, beat; /* of the real one, as it says them */
	uint32_t losses;        /* what it says about `about` */
	uint64_t heard;
	bool leaves, urgent;
	char word[8];
	uint64_t mark;
	int hellos, heres, marks, byes;
} ears;

static void say(struct rig *r, const char *subject, const char *text)
{
	natsMsg *m;

	assert_int_equal(natsMsg_Create(&m, subject, NULL, text, (int)strlen(text)), NATS_OK);
	assert_int_equal(natsMsgHeader_Set(m, "Ws-Gateway", "x"), NATS_OK);
	assert_int_equal(natsConnection_PublishMsg(r->nc, m), NATS_OK);
	assert_int_equal(natsConnection_Flush(r->nc), NATS_OK);
	natsMsg_Destroy(m);
}

static void word(struct rig *r, const char *what, uint64_t id, uint64_t mark)
{
	char text[96];

	snprintf(text, sizeof(text), "%s %016" PRIx64 " %" PRIu64 " %" PRIu64, what, id, r->created,
		mark);
	say(r, "wslive.svc.ann", text);
}

static void hear_beat(const char *text)
{
	uint64_t id, inc, n;
	unsigned losses;
	int leaves;

	assert_int_equal(sscanf(text, "1 %" SCNx64 " %" SCNx64 " %" SCNu64 " %*u %d", &ears.id,
				 &ears.inc, &ears.beat, &leaves),
		4);
	ears.leaves = leaves & 1;
	ears.urgent = leaves & 2;
	for (const char *p = strchr(text, '\n'); p && p[1]; p = strchr(p + 1, '\n')) {
		assert_int_equal(sscanf(p + 1, "%" SCNx64 " %" SCNx64 " %" SCNu64 " %u", &id, &inc,
					 &n, &losses),
			4);
		ears.heard = n;
		ears.losses = losses;
	}
}

static void hear_word(const char *text)
{
	assert_int_equal(sscanf(text, "%7s %*x %*u %" SCNu64, ears.word, &ears.mark), 2);
	ears.hellos += strcmp(ears.word, "hello") == 0;
	ears.heres += strcmp(ears.word, "here") == 0;
	ears.marks += strcmp(ears.word, "mark") == 0;
	ears.byes += strcmp(ears.word, "bye") == 0;
}

/* What the real one has said until now. */
static void listen_to(struct rig *r)
{
	natsMsg *m;
	const char *v;
	char text[512];

	rig_turn(r);
	for (int i = 0; i < 2; i++) {
		while (natsSubscription_NextMsg(&m, i ? ears.words : ears.beats, 1) == NATS_OK) {
			snprintf(text, sizeof(text), "%.*s", natsMsg_GetDataLength(m),
				natsMsg_GetData(m));
			if (natsMsgHeader_Get(m, "Ws-Gateway", &v) != NATS_OK ||
				strcmp(v, "x") == 0)
				; /* a copy of the server's, or our own */
			else if (i)
				hear_word(text);
			else
				hear_beat(text);
			natsMsg_Destroy(m);
		}
	}
}

#define hear_until(r, condition)                                                                   \
	do {                                                                                       \
		listen_to(r);                                                                      \
		rig_until(r, (listen_to(r), (condition)));                                         \
	} while (0)

/* A beat of another one that has heard all of ours. */
static void beat(struct rig *r, uint64_t id, uint64_t n, uint64_t echo, unsigned losses)
{
	char text[256];

	snprintf(text, sizeof(text),
		"1 %016" PRIx64 " %016x %" PRIu64 " %d 0\n%016" PRIx64 " %016" PRIx64 " %" PRIu64
		" %u\n",
		id, 7, n, LEASE, ears.id, ears.inc, echo, losses);
	say(r, "wsgate.beat", text);
}

static struct rig *rig_with_ears(const char *extra)
{
	struct rig *r = rig_new(extra);

	memset(&ears, 0, sizeof(ears));
	rig_connect(r);
	assert_int_equal(natsConnection_SubscribeSync(&ears.beats, r->nc, "wsgate.beat"), NATS_OK);
	assert_int_equal(natsConnection_SubscribeSync(&ears.words, r->nc, "wslive.>"), NATS_OK);
	assert_int_equal(natsConnection_Flush(r->nc), NATS_OK);
	r->config.broker.grace = LEASE; /* so its own lease is three seconds */
	rig_start(r);
	rig_until(r, r->connects == 1);
	hear_until(r, ears.beat > 0);
	return r;
}

static void rig_without_ears(struct rig *r)
{
	natsSubscription_Destroy(ears.beats);
	natsSubscription_Destroy(ears.words);
	rig_free(r);
}

/* Waits until the real one has said a beat that begins now, and echoes it. */
static void echo_next(struct rig *r, uint64_t id, uint64_t n)
{
	uint64_t now;

	listen_to(r);
	now = ears.beat;
	hear_until(r, ears.beat > now);
	beat(r, id, n, ears.beat, 0);
}

/* Beat by beat, until it waits for no echo any more: a hello is repeated. n: of the first of ours.
 */
static void echo_all(struct rig *r, uint64_t id, uint64_t n)
{
	do
		echo_next(r, id, n++);
	while (ears.urgent);
}

static void stays_stored(struct rig *r, int64_t n)
{
	rig_quiet(r, 300);
	assert_int_equal(rig_stored(r), n);
}

/* Who is alone says nothing about his users. */
static void alone(void **state)
{
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q = rig_open(r, "ann", 0, 0);

	(void)state;
	rig_send_many(r, "ann", 0, 10);
	rig_until(r, q->n == 10);
	broker_queue_confirm(q->q, q->seq[9]);
	rig_until(r, rig_stored(r) == 0);
	rig_close(q);
	listen_to(r);
	assert_int_equal(ears.hellos + ears.heres + ears.byes, 0);
	rig_stop(r);
	listen_to(r);
	assert_true(ears.leaves);
	rig_without_ears(r);
}

/* Before it is known that nobody else holds the user, nothing of it is removed. */
static void waits_for_the_echo(void **state)
{
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q;

	(void)state;
	beat(r, LAST, 1, 0, 0);
	hear_until(r, ears.heard == 1);
	q = rig_open(r, "ann", 0, 0);
	hear_until(r, ears.hellos >= 1);
	rig_send_many(r, "ann", 0, 5);
	rig_until(r, q->n == 5);
	broker_queue_confirm(q->q, q->seq[4]);
	beat(r, LAST, 2, ears.beat, 0); /* one that was said before the hello, perhaps */
	stays_stored(r, 5);
	echo_all(r, LAST, 3);
	rig_until(r, rig_stored(r) == 0);
	/* The same when it is closed before: it waits, says so, and answers nobody. */
	rig_close(q);
	hear_until(r, ears.byes == 1);
	q = rig_open(r, "ann", 0, 0);
	rig_send_many(r, "ann", 0, 5);
	rig_until(r, q->n == 5);
	broker_queue_confirm(q->q, q->seq[4]);
	broker_queue_close(q->q);
	hear_until(r, ears.byes == 2);
	stays_stored(r, 5);
	assert_false(q->closed);
	word(r, "here", LAST, q->seq[2]);
	echo_all(r, LAST, 100);
	rig_until(r, q->closed);
	assert_int_equal(rig_stored(r), 2); /* those that the other one still needs */
	free(q);
	rig_without_ears(r);
}

/* In a cluster two hellos may cross: nobody heard the first one, although the beats behind it came.
 */
static void crossed(void **state)
{
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q;
	int hellos;

	(void)state;
	beat(r, LAST, 1, 0, 0);
	hear_until(r, ears.heard == 1);
	q = rig_open(r, "ann", 0, 0);
	hear_until(r, ears.hellos >= 1);
	rig_quiet(r, 700); /* what is said again to a gateway that has just come */
	rig_send_many(r, "ann", 0, 5);
	rig_until(r, q->n == 5);
	broker_queue_confirm(q->q, q->seq[4]);
	listen_to(r);
	hellos = ears.hellos;
	echo_next(r, LAST, 2);
	hear_until(r, ears.hellos > hellos);
	stays_stored(r, 5);
	word(r, "here", LAST, q->seq[1]);
	echo_next(r, LAST, 3);
	rig_until(r, rig_stored(r) == 3);
	stays_stored(r, 3);
	rig_close(q);
	rig_without_ears(r);
}

/* A user with so many messages, whom another one holds, too, and has confirmed nothing for. */
static struct rig_queue *held_twice(struct rig *r, int messages)
{
	struct rig_queue *q;

	beat(r, LAST, 1, 0, 0);
	q = rig_open(r, "ann", 0, 0);
	rig_send_many(r, "ann", 0, messages);
	rig_until(r, q->n == messages);
	word(r, "hello", LAST, 0);
	hear_until(r, ears.heres == 1);
	assert_int_equal(ears.mark, 0);
	echo_all(r, LAST, 2);
	return q;
}

/* Removed is what all have, by the first of them. */
static void least_mark(void **state)
{
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q = held_twice(r, 10);

	(void)state;
	broker_queue_confirm(q->q, q->seq[7]);
	hear_until(r, ears.marks == 1);
	assert_int_equal(ears.mark, q->seq[7]);
	stays_stored(r, 10);
	word(r, "mark", LAST, q->seq[3]);
	rig_until(r, rig_stored(r) == 6);
	word(r, "here", FIRST, q->seq[3]); /* a third one: from now on it is the one that removes */
	echo_next(r, LAST, 100);
	word(r, "mark", LAST, q->seq[5]);
	word(r, "mark", FIRST, q->seq[5]);
	stays_stored(r, 6);
	word(r, "bye", FIRST, q->seq[5]); /* and left it to us */
	rig_until(r, rig_stored(r) == 4);
	word(r, "bye", LAST, q->seq[5]);
	rig_until(r, rig_stored(r) == 2);
	broker_queue_confirm(q->q, q->seq[9]);
	rig_until(r, rig_stored(r) == 0);
	rig_close(q);
	rig_without_ears(r);
}

/* A client that has just moved here does not get again what it confirmed there. */
static void moved_here(void **state)
{
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q;
	uint64_t mark;

	(void)state;
	beat(r, LAST, 1, 0, 0);
	hear_until(r, ears.heard == 1);
	rig_send_many(r, "ann", 0, 3);
	mark = rig_send(r, "ann", "3", NULL);
	rig_send(r, "ann", "4", NULL);
	q = rig_open(r, "ann", 0, 0);
	broker_queue_want(q->q, false); /* the answer comes in time, however slow this machine */
	hear_until(r, ears.hellos >= 1);
	word(r, "gone", LAST, mark);
	rig_quiet(r, 50);
	broker_queue_want(q->q, true);
	rig_until(r, q->n == 1);
	assert_string_equal(q->text[0], "4");
	word(r, "gone", LAST, mark + 1000); /* too late: it has begun */
	rig_quiet(r, 20);
	rig_send(r, "ann", "5", NULL);
	rig_until(r, q->n == 2);
	broker_queue_confirm(q->q, q->seq[q->n - 1]);
	echo_all(r, LAST, 2);
	rig_until(r, rig_stored(r) == 0); /* also what the other one left */
	rig_close(q);
	rig_without_ears(r);
}

/* Who came while the others could not hear of it lacks what they removed meanwhile. */
static void came_while_cut_off(void **state)
{
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q, *known;

	(void)state;
	beat(r, LAST, 1, 0, 0);
	hear_until(r, ears.heard == 1);
	known = rig_open(r, "bob", 0, 0);
	echo_all(r, LAST, 2);
	rig_quiet(r, 200);
	q = rig_open(r, "ann", 0, 0);
	rig_quiet(r, 1200);         /* nobody has echoed */
	word(r, "hello", FIRST, 0); /* one that has come later */
	word(r, "here", FIRST, 1000);
	rig_quiet(r, 50);
	assert_int_equal(q->lacks, 0);
	word(r, "here", LAST, 1000); /* it was there before */
	rig_until(r, q->lacks == 1);
	/* Nobody says anything, but the session ended before anybody could hear of it. */
	rig_close(q);
	q = rig_open(r, "eve", 0, 0);
	free(r->config.broker.url);
	assert_true(asprintf(&r->config.broker.url, "nats://localhost:%d", r->server.port) > 0);
	assert_int_equal(broker_reconfigure(r->broker, &r->config), 0);
	rig_until(r, r->connects == 2);
	assert_int_equal(q->lacks, 0);
	echo_all(r, LAST, 100);
	rig_until(r, q->lacks == 1);
	assert_int_equal(known->lacks, 0);
	rig_close(q);
	rig_close(known);
	rig_without_ears(r);
}

/* A mark of another stream says nothing of this one. */
static void mark_of_another_stream(void **state)
{
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q;
	char text[96];

	(void)state;
	q = rig_open(r, "ann", 0, 0);
	rig_send_many(r, "ann", 0, 3);
	rig_until(r, q->n == 3);
	snprintf(text, sizeof(text), "here %016" PRIx64 " %" PRIu64 " 1000", LAST, r->created - 1);
	say(r, "wslive.svc.ann", text);
	rig_quiet(r, 20);
	broker_queue_confirm(q->q, q->seq[2]);
	stays_stored(r, 3);
	word(r, "bye", LAST, 0);
	rig_until(r, rig_stored(r) == 0);
	rig_close(q);
	rig_without_ears(r);
}

/* A gateway that is not heard any more holds nothing up. */
static void silent(void **state)
{
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q = rig_open(r, "ann", 0, 0);
	uint64_t from;

	(void)state;
	rig_send_many(r, "ann", 0, 3);
	rig_until(r, q->n == 3);
	from = rig_now();
	beat(r, FIRST, 1, 0, 0);
	word(r, "here", FIRST, 0);
	broker_queue_confirm(q->q, q->seq[2]);
	rig_until(r, rig_stored(r) == 0);
	assert_true(rig_now() - from >= LEASE);
	assert_true(rig_logged("not heard any more"));
	beat(r, FIRST, 9, 0, 0);
	hear_until(r, ears.heard == 9 && ears.losses == 1);
	rig_close(q);
	rig_without_ears(r);
}

/* As long as the stream does not answer, nobody is taken for gone: nothing could be removed. */
static void silent_with_the_stream(void **state)
{
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q = rig_open(r, "ann", 0, 0);

	(void)state;
	beat(r, LAST, 1, 0, 0);
	hear_until(r, ears.heard == 1);
	kill(r->server.pid, SIGSTOP);
	rig_quiet(r, LEASE + 5000);
	kill(r->server.pid, SIGCONT);
	beat(r, LAST, 2, 0, 0);
	hear_until(r, ears.heard == 2);
	assert_int_equal(ears.losses, 0);
	assert_false(rig_logged("not heard any more"));
	rig_close(q);
	rig_without_ears(r);
}

/* Who was taken for gone learns it, once. */
static void fenced(void **state)
{
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q = rig_open(r, "ann", 0, 0);

	(void)state;
	beat(r, LAST, 1, ears.beat, 3); /* of an earlier life of this gateway */
	hear_until(r, ears.heard == 1);
	assert_int_equal(r->fenced, 0);
	beat(r, LAST, 2, ears.beat, 4);
	rig_until(r, r->fenced == 1);
	hear_until(r, ears.hellos >= 1); /* it is not known any more whom we hold */
	beat(r, LAST, 3, ears.beat, 4);
	rig_quiet(r, 50);
	assert_int_equal(r->fenced, 1);
	rig_close(q);
	rig_without_ears(r);
}

/* A beat that is missing: words may be, too. */
static void lost_words_are_said_again(void **state)
{
	static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
	enum { N = sizeof(names) / sizeof(names[0]) };
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q[N];
	int hellos;

	(void)state;
	for (int i = 0; i < N; i++)
		q[i] = rig_open(r, names[i], 0, 0);
	rig_quiet(r, 600); /* so they are not those that were opened a moment ago */
	beat(r, LAST, 1, 0, 0);
	hear_until(r, ears.heard == 1);
	beat(r, LAST, 2, 0, 0);
	hear_until(r, ears.heard == 2);
	hellos = ears.hellos;
	assert_true(hellos < N); /* the slow round says one a second */
	beat(r, LAST, 4, 0, 0);
	hear_until(r, ears.heard == 4);
	assert_true(ears.hellos >= hellos + N);
	/* In a new session, too. */
	hellos = ears.hellos;
	free(r->config.broker.url);
	assert_true(asprintf(&r->config.broker.url, "nats://localhost:%d", r->server.port) > 0);
	assert_int_equal(broker_reconfigure(r->broker, &r->config), 0);
	rig_until(r, r->connects == 2);
	hear_until(r, ears.hellos >= hellos + N);
	for (int i = 0; i < N; i++)
		rig_close(q[i]);
	rig_without_ears(r);
}

/* Its bye was lost: a gateway that lives on, and says no more of a user, is forgotten for him,
 * however often we say hello ourselves. Until then nothing goes that it may lack. */
static void lost_bye(void **state)
{
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q = held_twice(r, 3);
	uint64_t n = 10;
	int hellos;

	(void)state;
	broker_queue_confirm(q->q, q->seq[2]);
	hear_until(r, ears.marks == 1);
	hellos = ears.hellos;
	hear_until(r, ears.hellos > hellos); /* the slow round: nobody answers */
	stays_stored(r, 3);
	assert_non_null(q->q->others);
	r->broker->gates.listened += 91000; /* so long ago */
	r->broker->gates.v[0].until += 91000;
	do
		echo_next(r, LAST, ++n); /* it lives */
	while (rig_stored(r) > 0 && n < 25);
	assert_int_equal(rig_stored(r), 0);
	rig_close(q);
	rig_without_ears(r);
}

/* What a service publishes on ws.recv is a message, whatever it looks like; what nobody understands
 * is passed over. */
static void forged(void **state)
{
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q = rig_open(r, "ann", 0, 0);

	(void)state;
	rig_send(r, "ann", "hello ffff 1 0", "Ws-Gateway: ffff");
	rig_until(r, q->n == 1);
	assert_string_equal(q->text[0], "hello ffff 1 0");
	say(r, "wslive.svc.ann", "here");
	say(r, "wslive.svc.ann", "");
	say(r, "wslive.svc.ann", "shout 00000000000000ff 1 0");
	say(r, "wsgate.beat", "2 ff ff 1 1 0\n");
	say(r, "wsgate.beat", "1 00000000000000ff 1 99999999999999999999999 1 0\n");
	say(r, "wsgate.beat", "");
	rig_send(r, "ann", "next", NULL);
	rig_until(r, q->n == 2);
	assert_string_equal(q->text[1], "next");
	rig_close(q);
	rig_without_ears(r);
}

/* A successor goes on: no bye, no farewell; and what was confirmed before it came is removed. */
static void successor(void **state)
{
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q = rig_open(r, "ann", 0, 0);
	uint64_t mark;

	(void)state;
	beat(r, LAST, 1, 0, 0);
	hear_until(r, ears.heard == 1);
	rig_send_many(r, "ann", 0, 6);
	rig_until(r, q->n == 6);
	broker_queue_confirm(q->q, mark = q->seq[3]);
	broker_moving(r->broker);
	rig_close(q);
	rig_stop(r);
	listen_to(r);
	assert_int_equal(ears.byes, 0);
	assert_false(ears.leaves);
	rig_start(r);
	rig_until(r, r->connects == 2);
	ears.beat = 0;
	hear_until(r, ears.beat > 0);
	q = rig_open(r, "ann", mark, mark);
	rig_until(r, q->n == 2);
	beat(r, LAST, 2, 0, 0);
	word(r, "here", LAST, mark - 1);
	stays_stored(r, 6);
	echo_all(r, LAST, 3);
	rig_until(r, rig_stored(r) == 3);
	word(r, "here", LAST, mark);
	rig_until(r, rig_stored(r) == 2);
	rig_close(q);
	rig_without_ears(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(alone, rig_teardown),
		cmocka_unit_test_teardown(waits_for_the_echo, rig_teardown),
		cmocka_unit_test_teardown(crossed, rig_teardown),
		cmocka_unit_test_teardown(least_mark, rig_teardown),
		cmocka_unit_test_teardown(moved_here, rig_teardown),
		cmocka_unit_test_teardown(came_while_cut_off, rig_teardown),
		cmocka_unit_test_teardown(mark_of_another_stream, rig_teardown),
		cmocka_unit_test_teardown(silent, rig_teardown),
		cmocka_unit_test_teardown(silent_with_the_stream, rig_teardown),
		cmocka_unit_test_teardown(fenced, rig_teardown),
		cmocka_unit_test_teardown(lost_words_are_said_again, rig_teardown),
		cmocka_unit_test_teardown(lost_bye, rig_teardown),
		cmocka_unit_test_teardown(forged, rig_teardown),
		cmocka_unit_test_teardown(successor, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
