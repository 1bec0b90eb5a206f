/* When what was confirmed is asked to be removed: a few wait for each other, many do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "nats_rig.h"

#define GATHERED 64

struct wire;
static int asked;

bool __real_wire_delete(struct wire *w, uint64_t token, const char *body);
bool __wrap_wire_delete(struct wire *w, uint64_t token, const char *body);
bool __wrap_wire_delete(struct wire *w, uint64_t token, const char *body)
{
	asked++;
	return __real_wire_delete(w, token, body);
}

/* Of a user whom no other gateway has, as is known by then. */
static struct rig_queue *given(struct rig *r, int n)
{
	struct rig_queue *q = rig_open(r, "ann", 0, 0);

	rig_send(r, "ann", "first", NULL);
	rig_until(r, q->n == 1);
	broker_queue_confirm(q->q, q->seq[0]);
	rig_until(r, rig_stored(r) == 0);
	rig_send_many(r, "ann", 0, n);
	rig_until(r, q->n == 1 + n);
	asked = 0;
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
	/* One that comes while others are under way waits, too, and is not forgotten. */
	broker_queue_confirm(q->q, q->seq[GATHERED + 1]);
	assert_int_equal(asked, GATHERED);
	rig_until(r, rig_stored(r) == 0);
	assert_int_equal(asked, GATHERED + 1);
	rig_close(q);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(few_wait_for_others, rig_teardown),
		cmocka_unit_test_teardown(many_do_not, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
