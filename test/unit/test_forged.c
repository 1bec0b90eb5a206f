/* What services write into headers that are the server's, or into none that anybody can read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "nats_rig.h"

/* A publisher's own Nats-* headers come first; the server's come last and count. */
static void forged_headers(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q = rig_open(r, "ann", 0, 0);

	(void)state;
	rig_send(r, "ann", "0", "Nats-Sequence: 999999");
	rig_until(r, q->n == 1);
	rig_send(r, "ann", "1", "Nats-Last-Sequence: 999999");
	rig_send(r, "ann", "2", "Status: 404");
	rig_until(r, q->n == 3);
	broker_queue_want(q->q, false);
	rig_send(r, "ann", "3", "Nats-Sequence: 999999");
	rig_send(r, "ann", "4", "Status: 404");
	rig_quiet(r, 50);
	broker_queue_want(q->q, true);
	rig_send(r, "ann", "5", NULL);
	rig_until(r, q->n == 6);
	rig_check(q, 0, 6);
	assert_int_equal(q->seq[5], 6);
	rig_close(q);
	rig_free(r);
}

/* What a server says when nobody answers, written by a service: into messages without payload,
 * which the library keeps to itself where it is not told of each. */
static void forged_statuses(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q;

	(void)state;
	rig_send(r, "ann", "0", NULL);
	rig_send(r, "ann", "", "Status: 503");
	rig_raw(r, "HPUB ws.recv.svc.ann 30 30\r\nNATS/1.0 503 No Responders\r\n\r\n\r\n");
	rig_raw(r, "HPUB ws.recv.svc.ann 16 16\r\nNATS/1.0 404\r\n\r\n\r\n");
	rig_raw(r, "HPUB ws.recv.svc.ann 16 16\r\nNATS/1.0 204\r\n\r\n\r\n");
	rig_send(r, "ann", "5", NULL);
	q = rig_open(r, "ann", 0, 0);
	rig_until(r, q->n == 6);
	assert_string_equal(q->text[0], "0");
	for (int i = 1; i <= 4; i++)
		assert_int_equal(q->len[i], 0);
	assert_string_equal(q->text[5], "5");
	broker_queue_confirm(q->q, q->seq[5]);
	rig_until(r, rig_stored(r) == 0);
	rig_close(q);
	rig_free(r);
}

/* Headers that nats.c cannot read, but the server stores: they block nobody. */
static void broken_headers(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q;

	(void)state;
	rig_send(r, "ann", "0", NULL);
	rig_raw(r,
		"HPUB ws.recv.svc.ann 61 62\r\nNATS/1.0\r\nno colon here\r\nNats-Sequence: 77\r\n"
		"Ws-Type: text\r\n\r\n1\r\n");
	rig_send(r, "ann", "2", NULL);
	q = rig_open(r, "ann", 0, 0);
	rig_until(r, q->n == 3);
	rig_raw(r, "HPUB ws.recv.svc.ann 27 28\r\nNATS/1.0\r\nno colon here\r\n\r\n3\r\n");
	rig_until(r, q->n == 4);
	rig_check(q, 0, 4);
	assert_int_equal(q->kind[1], BROKER_TEXT_TEXT);
	broker_queue_confirm(q->q, q->seq[3]);
	rig_until(r, rig_stored(r) == 0);
	rig_close(q);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(forged_headers, rig_teardown),
		cmocka_unit_test_teardown(forged_statuses, rig_teardown),
		cmocka_unit_test_teardown(broken_headers, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
