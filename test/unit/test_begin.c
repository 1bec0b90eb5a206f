/*
 * Where a connection begins whose user other gateways hold, too: they are what the test says.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../../src/broker/parts.h"
#include "ears.h"

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

static void begins_behind_the_least_of_all(void **state)
{
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q;
	uint64_t least, mark;

	(void)state;
	beat(r, LAST, 1, 0, 0);
	hear_until(r, ears.heard == 1);
	least = rig_send(r, "ann", "0", NULL);
	rig_send_many(r, "ann", 1, 2);
	mark = rig_send(r, "ann", "3", NULL);
	q = rig_open(r, "ann", 0, 0);
	broker_queue_want(q->q, false); /* the answer comes in time, however slow this machine */
	hear_until(r, ears.hellos >= 1);
	here_for(r, LAST, mark, least);
	rig_quiet(r, 50);
	broker_queue_want(q->q, true);
	rig_until(r, q->n == 3);
	assert_string_equal(q->text[0], "1");
	rig_close(q);
	rig_without_ears(r);
}

/* Of several others one answers late: from then on a new user's first read waits for such ones. */
static void one_is_far(void **state)
{
	const uint64_t far = LAST - 1;
	struct rig *r = rig_with_ears(NULL);
	struct rig_queue *q, *ann;
	uint32_t before;

	(void)state;
	beat(r, LAST, 1, 0, 0);
	beat(r, far, 1, 0, 0);
	hear_until(r, r->broker->gates.living == 2);
	q = rig_open(r, "bob", 0, 0);
	before = q->q->job.due - (uint32_t)r->broker->now_ms;
	assert_int_equal(q->q->job.state, JOB_HELD);
	rig_close(q);
	ann = rig_open(r, "ann", 0, 0);
	hear_until(r, ears.hellos >= 1);
	rig_quiet(r, 200);
	word(r, "hello", LAST, 0); /* somebody comes there, who then hears of us: no answer */
	late_here(r, LAST, 0, 0, ears.id);
	rig_quiet(r, 20);
	assert_int_equal(r->broker->gates.far_ms, 0);
	late_here(r, far, 0, 0, ears.id);
	hear_until(r, r->broker->gates.far_ms >= 200);
	q = rig_open(r, "cid", 0, 0);
	assert_int_equal(q->q->job.state, JOB_HELD);
	assert_in_range(q->q->job.due - (uint32_t)r->broker->now_ms, before + 1, 500);
	rig_close(q);
	rig_close(ann);
	rig_without_ears(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(moved_here, rig_teardown),
		cmocka_unit_test_teardown(begins_behind_the_least_of_all, rig_teardown),
		cmocka_unit_test_teardown(one_is_far, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
