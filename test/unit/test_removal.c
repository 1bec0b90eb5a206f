/* When what was confirmed is asked to be removed: a few wait for each other, many do not; one
 * answer is for several; and what was not done without one is done all the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "../../src/broker/parts.h"
#include "nats_rig.h"

#define GATHERED 64
#define TOGETHER 32

struct wire;
static int asked, answers;
static bool unanswered_get_lost, all_get_lost;

bool __real_wire_delete(struct wire *w, uint64_t token, const char *body);
bool __wrap_wire_delete(struct wire *w, uint64_t token, const char *body);
bool __wrap_wire_delete(struct wire *w, uint64_t token, const char *body)
{
	asked++;
	answers += token != 0;
	if (all_get_lost || (token == 0 && unanswered_get_lost))
		return true;
	return __real_wire_delete(w, token, body);
}

/* Of a user whom no other gateway has, as is known by then. */
static struct rig_queue *given(struct rig *r, int n)
{
	struct rig_queue *q = rig_open(r, "ann", 0, 0);
	struct broker_stats before, s;

	rig_send(r, "ann", "first", NULL);
	rig_until(r, q->n == 1);
	broker_queue_confirm(q->q, q->seq[0]);
	rig_until(r, rig_stored(r) == 0);
	rig_send_many(r, "ann", 0, n);
	rig_until(r, q->n == 1 + n);
	/* The walk has just been here: what follows is over before it comes again. */
	broker_stats(r->broker, &before);
	rig_until(r, (broker_stats(r->broker, &s), s.rescans > before.rescans) && !q->q->sweep &&
			     q->q->job.state == JOB_IDLE);
	asked = answers = 0;
	return q;
}

static void few_wait_for_others(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q = given(r, 10);

	(void)state;
	for (int i = 1; i <= 10; i++)
		broker_queue_confirm(q->q, q->seq[i]);
	assert_int_equal(asked, 0);
	rig_until(r, asked > 0);
	rig_until(r, rig_stored(r) == 0);
	assert_in_range(asked, 10, 20); /* a sweep that was under way finds them, too */
	rig_close(q);
	rig_free(r);
}

static void many_do_not(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q = given(r, GATHERED + 1);

	(void)state;
	for (int i = 1; i < GATHERED; i++)
		broker_queue_confirm(q->q, q->seq[i]);
	assert_int_equal(asked, 0);
	broker_queue_confirm(q->q, q->seq[GATHERED]);
	assert_int_equal(asked, GATHERED);
	assert_int_equal(answers, GATHERED / TOGETHER);
	/* One that comes while others are under way waits, too, and is not forgotten. */
	broker_queue_confirm(q->q, q->seq[GATHERED + 1]);
	assert_int_equal(asked, GATHERED);
	rig_until(r, rig_stored(r) == 0);
	assert_int_equal(asked, GATHERED + 1);
	rig_close(q);
	rig_free(r);
}

/* The server did not do them, and did the last of them. */
static struct rig_queue *removed_in_part(struct rig *r)
{
	struct rig_queue *q = given(r, GATHERED);

	unanswered_get_lost = true;
	for (int i = 1; i <= GATHERED; i++)
		broker_queue_confirm(q->q, q->seq[i]);
	return q;
}

static void what_the_server_did_not_do_is_found(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q = removed_in_part(r);

	(void)state;
	rig_until(r, rig_stored(r) == 0);
	assert_int_equal(q->n, 1 + GATHERED);
	rig_close(q);
	rig_free(r);
}

static void also_of_a_user_who_leaves(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q = removed_in_part(r);

	(void)state;
	rig_close(q);
	assert_int_equal(rig_stored(r), 0);
	rig_free(r);
}

/* The one that asks for an answer gets none, or a bad one: all of them come again, each for itself.
 */
static void all_that_an_answer_is_for_come_again(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q = given(r, GATHERED);

	(void)state;
	all_get_lost = true;
	for (int i = 1; i <= GATHERED; i++)
		broker_queue_confirm(q->q, q->seq[i]);
	assert_int_equal(asked, GATHERED);
	all_get_lost = false;
	asked = answers = 0;
	rig_until(r, rig_stored(r) == 0);
	assert_true(answers >= GATHERED);
	assert_int_equal(q->n, 1 + GATHERED);
	rig_close(q);
	rig_free(r);
}

static int set_up(void **state)
{
	(void)state;
	all_get_lost = unanswered_get_lost = false;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(few_wait_for_others, set_up, rig_teardown),
		cmocka_unit_test_setup_teardown(many_do_not, set_up, rig_teardown),
		cmocka_unit_test_setup_teardown(
			what_the_server_did_not_do_is_found, set_up, rig_teardown),
		cmocka_unit_test_setup_teardown(also_of_a_user_who_leaves, set_up, rig_teardown),
		cmocka_unit_test_setup_teardown(
			all_that_an_answer_is_for_come_again, set_up, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
