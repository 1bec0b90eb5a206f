/*
 * A bridge that goes on where another one was: what other gateways know of that one, and what it
 * knew of them.
 */
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

/* What a predecessor gave to connections is where they go on, whatever another one has confirmed.
 */
static void goes_on_here(void **state)
{
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q;
	uint64_t s[10];

	(void)state;
	beat(r, LAST, 1, 0, 0);
	hear_until(r, ears.heard == 1);
	for (int i = 0; i < 10; i++) {
		char text[8];

		snprintf(text, sizeof(text), "%d", i);
		s[i] = rig_send(r, "ann", text, NULL);
	}
	q = rig_open(r, "ann", s[4], s[6]);
	broker_queue_want(q->q, false);
	hear_until(r, ears.hellos >= 1);
	word(r, "here", LAST, s[9]);
	rig_quiet(r, 50);
	broker_queue_want(q->q, true);
	rig_until(r, q->n == 3);
	rig_check(q, 7, 3);
	rig_close(q);
	rig_without_ears(r);
}

/* A predecessor knew others: until one of them is heard, or their lease is over, nothing goes. */
static void waits_for_those_of_before(void **state)
{
	static _Atomic uint64_t said;
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q = rig_open(r, "ann", 0, 0);

	(void)state;
	rig_send_many(r, "ann", 0, 3);
	rig_until(r, q->n == 3);
	broker_said(r->broker, &said);
	said = rig_now();
	rig_go_to(r, "localhost", r->server.port); /* a session begins */
	rig_until(r, r->connects == 2);
	broker_queue_confirm(q->q, q->seq[2]);
	rig_quiet(r, 1500);
	assert_int_equal(rig_stored(r), 3);
	assert_true(said > 0); /* the next one would wait, too */
	beat(r, LAST, 1, 0, 0);
	hear_until(r, ears.heard == 1);
	echo_all(r, LAST, 2);
	rig_until(r, rig_stored(r) == 0);
	rig_close(q);
	rig_without_ears(r);
}

/* Nobody tells a successor that its predecessor was taken for gone: it sees how long that one said
 * nothing. Of its own time others tell, who know which of it they waited. */
static void fenced_by_its_own_clock(void **state)
{
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q = rig_open(r, "ann", 0, 0);
	static _Atomic uint64_t said;
	uint64_t beats;

	(void)state;
	broker_said(r->broker, &said);
	hear_until(r, ears.beat > 1);
	assert_int_equal(said, 0); /* to nobody */
	beat(r, LAST, 1, 0, 0);
	hear_until(r, ears.heard == 1);
	assert_true(said > 0);
	said -= LEASE + 5000;
	beats = ears.beat;
	hear_until(r, ears.beat > beats + 1);
	assert_int_equal(r->fenced, 0);
	said -= LEASE + 5000;
	r->broker->gates.beat = 0; /* another process */
	rig_until(r, r->fenced == 1);
	rig_quiet(r, 100);
	assert_int_equal(r->fenced, 1);
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
	rig_quiet(r, 300);
	assert_int_equal(rig_stored(r), 6);
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
		cmocka_unit_test_teardown(goes_on_here, rig_teardown),
		cmocka_unit_test_teardown(waits_for_those_of_before, rig_teardown),
		cmocka_unit_test_teardown(fenced_by_its_own_clock, rig_teardown),
		cmocka_unit_test_teardown(successor, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
