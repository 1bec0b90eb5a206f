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
#include "ears.h"

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
	hear_until(r, ears.leaves);
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
	assert_int_equal(ears.news, LAST);
	assert_true(ears.age >= YOUNG_MS); /* nothing was removed */
	word(r, "hello", LAST, 0);
	hear_until(r, ears.heres == 2);
	assert_int_equal(ears.news, 0); /* it is known now */
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
	hear_until(r, ears.news == FIRST);
	assert_true(ears.age < YOUNG_MS); /* unless this machine stood still */
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

/* Closed, and opened again before it was gone: the others are told as before. */
static void opened_again(void **state)
{
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q = held_twice(r, 3);
	struct broker *b = q->q->b;

	(void)state;
	broker_queue_confirm(q->q, q->seq[0]);
	hear_until(r, ears.marks == 1);
	b->removal_pause = UINT64_MAX; /* something is left to do, so it is not freed */
	word(r, "mark", LAST, q->seq[0]);
	rig_until(r, b->stats.removals_pending == 1);
	broker_queue_close(q->q);
	hear_until(r, ears.byes == 1);
	assert_int_equal(b->stats.shared_users, 0);
	broker_queue_reopen(q->q, q->seq[0]);
	b->removal_pause = 0;
	echo_all(r, LAST, 50);
	broker_queue_confirm(q->q, q->seq[2]);
	hear_until(r, ears.marks == 2);
	assert_int_equal(ears.mark, q->seq[2]);
	assert_int_equal(b->stats.shared_users, 1);
	stays_stored(r, 2);
	rig_close(q);
	rig_without_ears(r);
}

/* One of those who answer knows of another one, whose mark is less, and who is silent. */
static void least_of_all(void **state)
{
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q = held_twice(r, 10);

	(void)state;
	word(r, "mark", LAST, q->seq[3]);
	broker_queue_confirm(q->q, q->seq[7]);
	rig_until(r, rig_stored(r) == 6);
	beat(r, FIRST, 1, 0, 0);
	word(r, "hello", FIRST, 0);
	hear_until(r, ears.news == FIRST);
	assert_int_equal(ears.mark, q->seq[7]);
	assert_int_equal(ears.least, q->seq[3]);
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
	late_here(r, FIRST, 1000, 0, ears.id); /* in time */
	rig_quiet(r, 400);                     /* nobody has echoed */
	late_here(r, FIRST, 1000, 0, 0);       /* it knew of us */
	late_here(r, FIRST, 1000, 0, LAST);
	late_here(r, FIRST, 1000, 100000, ears.id); /* it removed nothing since */
	late_here(r, FIRST, 0, 0, ears.id);         /* or at all */
	broker_queue_let_in(q->q, false);
	late_here(r, LAST, 1000, 300, ears.id); /* nobody is let in yet */
	rig_quiet(r, 50);
	broker_queue_let_in(q->q, true);
	late_here(r, LAST, 1000, 300, ears.id); /* before that */
	rig_quiet(r, 400);
	assert_int_equal(q->lacks, 0);
	late_here(r, LAST, 1000, 300, ears.id);
	rig_until(r, q->lacks == 1);
	/* Beats have passed, words have not. */
	rig_close(q);
	q = rig_open(r, "ann", 0, 0);
	echo_all(r, LAST, 50);
	rig_quiet(r, 400);
	late_here(r, LAST, 1000, 100, ears.id);
	rig_until(r, q->lacks == 1);
	/* Nobody says anything, but the session ended before anybody could hear of it. */
	rig_close(q);
	q = rig_open(r, "eve", 0, 0);
	rig_go_to(r, "localhost", r->server.port);
	rig_until(r, r->connects == 2);
	assert_int_equal(q->lacks, 0);
	echo_all(r, LAST, 100);
	rig_until(r, q->lacks == 1);
	assert_int_equal(known->lacks, 0);
	rig_close(q);
	/* The other one had left before: there is nobody who could have removed something. */
	leave(r, LAST, 1000);
	hear_until(r, r->broker->gates.living == 0);
	q = rig_open(r, "fay", 0, 0);
	q->q->blind = true; /* as if it came in the moment in which the session ended */
	rig_go_to(r, "127.0.0.1", r->server.port);
	rig_until(r, r->connects == 3);
	rig_until(r, !q->q->blind);
	assert_int_equal(q->lacks, 0);
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
	rig_quiet(r, 1500); /* so they are not those that were opened a moment ago */
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
	rig_go_to(r, "localhost", r->server.port);
	rig_until(r, r->connects == 2);
	hear_until(r, ears.hellos >= hellos + N);
	for (int i = 0; i < N; i++)
		rig_close(q[i]);
	rig_without_ears(r);
}

/* A minute and a half goes by in which no word of the other one came, or only beats. */
static void later(struct rig *r, bool beats)
{
	struct gates *g = &r->broker->gates;

	g->listened += 91000;
	g->v[0].until += 91000;
	if (beats)
		g->v[0].last += 91000;
}

/* It lives, and says nothing of the user: what it held goes, before its last'th beat. */
static void forgotten(struct rig *r, uint64_t n, uint64_t last)
{
	later(r, true);
	do
		echo_next(r, LAST, ++n);
	while (rig_stored(r) > 0 && n < last);
	assert_int_equal(rig_stored(r), 0);
}

/* Cut off for longer than reminders are apart, and for less than its lease: what it holds stays. */
static void cut_off(void **state)
{
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q = held_twice(r, 3);
	uint64_t n = 10;
	int hellos;

	(void)state;
	broker_queue_confirm(q->q, q->seq[2]);
	hear_until(r, ears.marks == 1);
	later(r, false);
	for (int i = 0; i < 2; i++) { /* the slow round looks who is to be forgotten */
		hellos = ears.hellos;
		hear_until(r, ears.hellos > hellos);
	}
	assert_int_equal(q->q->others->n, 1);
	echo_next(r, LAST, ++n); /* it is back: its words may be on their way */
	hellos = ears.hellos;
	hear_until(r, ears.hellos > hellos);
	stays_stored(r, 3);
	forgotten(r, n, 30);
	rig_close(q);
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
	forgotten(r, n, 25);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(alone, rig_teardown),
		cmocka_unit_test_teardown(waits_for_the_echo, rig_teardown),
		cmocka_unit_test_teardown(crossed, rig_teardown),
		cmocka_unit_test_teardown(least_mark, rig_teardown),
		cmocka_unit_test_teardown(opened_again, rig_teardown),
		cmocka_unit_test_teardown(least_of_all, rig_teardown),
		cmocka_unit_test_teardown(came_while_cut_off, rig_teardown),
		cmocka_unit_test_teardown(mark_of_another_stream, rig_teardown),
		cmocka_unit_test_teardown(silent, rig_teardown),
		cmocka_unit_test_teardown(silent_with_the_stream, rig_teardown),
		cmocka_unit_test_teardown(fenced, rig_teardown),
		cmocka_unit_test_teardown(lost_words_are_said_again, rig_teardown),
		cmocka_unit_test_teardown(lost_bye, rig_teardown),
		cmocka_unit_test_teardown(cut_off, rig_teardown),
		cmocka_unit_test_teardown(forged, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
