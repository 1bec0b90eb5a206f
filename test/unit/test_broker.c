/*
 * broker.h over a real nats-server: nothing lost, in order, nothing left behind.
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
#include "nats_rig.h"

/* What an absent user was sent comes in order; confirmed, it is gone. */
static void backlog_then_live(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q;
	struct broker_stats s;

	(void)state;
	rig_send_many(r, "ann", 0, 500);
	q = rig_open(r, "ann", 0, 0);
	assert_int_equal(q->n, 0);
	rig_until(r, q->n == 500);
	rig_send_many(r, "ann", 500, 300);
	rig_until(r, q->n == 800);
	rig_check(q, 0, 800);
	assert_int_equal(rig_stored(r), 800);
	broker_queue_confirm(q->q, q->seq[399]);
	rig_until(r, rig_stored(r) == 400);
	broker_queue_confirm(q->q, q->seq[799]);
	rig_until(r, rig_stored(r) == 0);
	rig_until(r, (broker_stats(r->broker, &s), s.removals >= 800 && s.removals_pending == 0));
	/* a sweep may have found some as well */
	assert_true(s.rtt_us > 0);
	rig_send(r, "ann", "800", NULL);
	rig_until(r, q->n == 801);
	rig_close(q);
	assert_int_equal(rig_stored(r), 1); /* not confirmed */
	rig_free(r);
}

static void text_and_names(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q = rig_open(r, "a.b@c \"\\", 0, 0);
	const char *const enc = "a%2Eb@c%20\"\\";

	(void)state;
	rig_send(r, enc, "one", "Ws-Type: text");
	rig_until(r, q->n == 1);
	broker_queue_want(q->q, false);
	rig_send(r, enc, "two", "Ws-Type: binary");
	rig_send(r, enc, "three", "Ws-Type: nonsense");
	rig_send(r, enc, "", NULL);
	rig_quiet(r, 50);
	assert_int_equal(q->n, 1);
	broker_queue_want(q->q, true);
	rig_until(r, q->n == 4);
	assert_int_equal(q->kind[0], BROKER_TEXT_TEXT);
	assert_int_equal(q->kind[1], BROKER_TEXT_BINARY);
	assert_int_equal(q->kind[2], BROKER_TEXT_UNMARKED);
	assert_int_equal(q->kind[3], BROKER_TEXT_UNMARKED);
	assert_int_equal(q->len[3], 0);
	rig_close(q);
	rig_free(r);
}

/* Live copies that never come: the next one that does shows the gap; the last of all shows in a
 * rescan. */
static void gap_is_read(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *idle[100], *q;
	struct broker_stats s;
	char name[16];

	(void)state;
	/* The slow round looks at two a second, at these first: not at hers in the middle. */
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "idle%d", i);
		idle[i] = rig_open(r, name, 0, 0);
	}
	q = rig_open(r, "ann", 0, 0);
	rig_send(r, "ann", "0", NULL);
	rig_until(r, q->n == 1);
	rig_quiet(r, 700); /* the rescan after opening is over */
	rig_deaf = 1;
	rig_send_many(r, "ann", 1, 20);
	rig_quiet(r, 50);
	assert_int_equal(q->n, 1);
	rig_deaf = 0;
	rig_send_many(r, "ann", 21, 20);
	rig_until(r, q->n == 41);
	for (int i = 0; i < 100; i++)
		rig_close(idle[i]);
	rig_deaf = 1;
	rig_send_many(r, "ann", 41, 3);
	rig_until(r, q->n == 44);
	rig_check(q, 0, 44);
	broker_stats(r->broker, &s);
	assert_int_equal(s.gaps, 1);
	broker_queue_confirm(q->q, q->seq[43]);
	rig_until(r, rig_stored(r) == 0);
	rig_close(q);
	rig_free(r);
}

/* Who wants nothing gets nothing; it waits in the stream. */
static void credit(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q;

	(void)state;
	rig_send_many(r, "ann", 0, 20);
	q = rig_open(r, "ann", 0, 0);
	q->stop_after = 10;
	rig_until(r, q->n == 10);
	rig_send_many(r, "ann", 20, 20);
	rig_quiet(r, 100);
	assert_int_equal(q->n, 10);
	q->stop_after = 30;
	broker_queue_want(q->q, true);
	rig_until(r, q->n == 30);
	rig_quiet(r, 50);
	assert_int_equal(q->n, 30);
	q->stop_after = 0;
	broker_queue_want(q->q, true);
	rig_until(r, q->n == 40);
	rig_send_many(r, "ann", 40, 20);
	rig_until(r, q->n == 60);
	rig_check(q, 0, 60);
	rig_close(q);
	rig_free(r);
}

static void reread(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q;
	int a, b;

	(void)state;
	rig_send_many(r, "ann", 0, 10);
	q = rig_open(r, "ann", 0, 0);
	rig_until(r, q->n == 10);
	broker_queue_reread(q->q, 0, &a);
	rig_until(r, q->rereads == 1);
	assert_int_equal(q->reread_seq, q->seq[0]);
	assert_ptr_equal(q->reread_tag, &a);
	broker_queue_reread(q->q, q->seq[4], &b);
	broker_queue_reread(q->q, q->seq[8], &a);
	broker_queue_forget(q->q, &a);
	rig_until(r, q->rereads == 2);
	assert_int_equal(q->reread_seq, q->seq[5]);
	broker_queue_reread(q->q, q->seq[9], &b);
	rig_until(r, q->rereads == 3);
	assert_int_equal(q->reread_seq, 0);
	assert_int_equal(q->reread_failed, 0);
	rig_server_kill(&r->server, SIGKILL);
	broker_queue_reread(q->q, 0, &a);
	broker_queue_reread(q->q, 0, &b);
	rig_until(r, q->rereads == 5 && r->losts == 1);
	broker_queue_reread(q->q, 0, &b);
	assert_int_equal(q->rereads, 5);
	rig_until(r, q->rereads == 6);
	assert_int_equal(q->reread_failed, 3);
	broker_queue_reread(q->q, 0, &b);
	rig_free(r);
	free(q);
}

/* nats-server loses sight of a message between one that was removed before it and a last one that
 * was removed after it: what is set aside does not go before its time. */
static void set_aside_behind_others(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q = rig_open(r, "ann", 0, 0), *again;

	(void)state;
	rig_send_many(r, "ann", 0, 2);
	rig_until(r, q->n == 2);
	q->aside = true;
	rig_send(r, "ann", "2", NULL);
	rig_until(r, q->n == 3);
	rig_quiet(r, 300); /* it is set aside, nobody listens there */
	broker_queue_confirm(q->q, q->seq[0]);
	rig_until(r, rig_stored(r) == 2);
	rig_close(q);
	again = rig_open(r, "ann", 0, 0);
	rig_until(r, again->n == 2);
	assert_string_equal(again->text[0], "1");
	rig_close(again);
	rig_free(r);
}

/* A killed server may bring acknowledged deletes back. They go again, and nobody sees them. */
static void server_killed(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q, *away;
	char *reply;

	(void)state;
	r->same_stream = true;
	q = rig_open(r, "ann", 0, 0);
	away = rig_open(r, "bob", 0, 0);
	rig_send_many(r, "ann", 0, 200);
	rig_send_many(r, "bob", 0, 10);
	rig_until(r, q->n == 200 && away->n == 10);
	broker_queue_confirm(q->q, q->seq[149]);
	rig_until(r, rig_stored(r) == 60);
	rig_disconnect(r);
	rig_server_kill(&r->server, SIGKILL);
	rig_until(r, r->losts == 1);
	assert_false(broker_connected(r->broker));
	broker_queue_confirm(away->q, away->seq[9]); /* while nobody hears it */
	broker_queue_confirm(q->q, q->seq[159]);
	rig_server_start(&r->server);
	rig_until(r, r->connects == 2);
	rig_connect(r);
	rig_until(r, rig_stored(r) == 40);
	assert_int_equal(q->n, 200);
	rig_send_many(r, "ann", 200, 10);
	rig_until(r, q->n == 210);
	rig_check(q, 0, 210);
	/* What a predecessor did not get to delete. */
	broker_queue_confirm(q->q, q->seq[209]);
	rig_until(r, rig_stored(r) == 0);
	rig_close(q);
	rig_close(away);
	reply = rig_api(r, "$JS.API.STREAM.INFO.websockets", "");
	assert_non_null(strstr(reply, "\"messages\":0"));
	free(reply);
	rig_free(r);
}

/* A successor knows the marks, not the sequences: what lies at or below them goes, what was given
 * is not given again. */
static void successor(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q;
	uint64_t confirmed, head;

	(void)state;
	r->same_stream = true;
	rig_send_many(r, "ann", 0, 30);
	q = rig_open(r, "ann", 0, 0);
	rig_until(r, q->n == 30);
	confirmed = q->seq[9];
	head = q->seq[19];
	rig_stop(r);
	free(q);
	rig_start(r);
	q = rig_open(r, "ann", confirmed, head);
	rig_until(r, q->n == 10);
	rig_check(q, 20, 10);
	rig_until(r, rig_stored(r) == 20);
	broker_queue_confirm(q->q, head);
	rig_until(r, rig_stored(r) == 10);
	broker_queue_confirm(q->q, q->seq[9]);
	rig_until(r, rig_stored(r) == 0);
	rig_close(q);
	rig_free(r);
}

/* A stream that was emptied and made again: new messages look old to the marks, if nobody says so.
 */
static void stream_made_again(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q = rig_open(r, "ann", 0, 0);

	(void)state;
	r->same_stream = true;
	rig_send_many(r, "ann", 0, 50);
	rig_until(r, q->n == 50);
	rig_disconnect(r);
	rig_server_kill(&r->server, SIGKILL);
	rig_until(r, r->losts == 1);
	broker_queue_confirm(q->q, q->seq[49]); /* must not delete in the new stream */
	snprintf(r->server.extra, sizeof(r->server.extra), "# another store\n");
	strcpy(r->server.dir + strlen(r->server.dir), "");
	assert_int_equal(rename(r->server.dir, r->server.dir), 0);
	{
		char cmd[160];

		snprintf(cmd, sizeof(cmd), "rm -rf %s/js", r->server.dir);
		assert_int_equal(system(cmd), 0);
	}
	rig_server_start(&r->server);
	rig_until(r, r->connects == 2);
	q->n = 0;
	rig_connect(r);
	rig_send_many(r, "ann", 0, 50);
	rig_until(r, q->n == 50);
	rig_check(q, 0, 50);
	assert_int_equal(q->seq[0], 1);
	rig_quiet(r, 100);
	assert_int_equal(rig_stored(r), 50);
	rig_close(q);
	rig_free(r);
}

static void set_aside(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q;
	natsSubscription *sub;
	natsMsg *m;
	const char *v;

	(void)state;
	/* Nobody listens. */
	q = rig_open(r, "ann", 0, 0);
	q->aside = true;
	rig_send(r, "ann", "first", "Ws-Type: text");
	rig_until(r, q->n == 1 && rig_stored(r) == 0);
	/* A stream of the operator's. */
	free(rig_api(r, "$JS.API.STREAM.CREATE.dead",
		"{\"name\":\"dead\",\"subjects\":[\"wsdead.>\"],\"retention\":\"limits\","
		"\"storage\":\"file\","
		"\"num_replicas\":1}"));
	assert_int_equal(natsConnection_SubscribeSync(&sub, r->nc, "wsdead.>"), NATS_OK);
	assert_int_equal(natsConnection_Flush(r->nc), NATS_OK);
	rig_send(r, "ann", "second", "Ws-Type: text");
	rig_until(r, q->n == 2 && rig_stored(r) == 0);
	assert_int_equal(natsSubscription_NextMsg(&m, sub, 2000), NATS_OK);
	assert_string_equal(natsMsg_GetSubject(m), "wsdead.svc.ann");
	assert_string_equal(natsMsg_GetData(m), "second");
	assert_int_equal(natsMsgHeader_Get(m, "Ws-Reason", &v), NATS_OK);
	assert_string_equal(v, "no client can??get it");
	assert_int_equal(natsMsgHeader_Get(m, "Ws-Sequence", &v), NATS_OK);
	assert_string_equal(v, "2");
	assert_int_equal(natsMsgHeader_Get(m, "Ws-Type", &v), NATS_OK);
	assert_string_equal(v, "text");
	natsMsg_Destroy(m);
	natsSubscription_Destroy(sub);
	rig_close(q);
	rig_free(r);
}

/*
 * One that is set aside while others wait for their confirmation below: it goes behind them. A
 * server that has deleted the newest, and then the oldest, does not find the one between.
 */
static void set_aside_above(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q = rig_open(r, "ann", 0, 0);
	struct broker_stats s;
	uint64_t first;

	(void)state;
	rig_send_many(r, "ann", 0, 2);
	rig_until(r, q->n == 2);
	q->aside = true;
	rig_send(r, "ann", "2", NULL);
	rig_until(r, q->n == 3 && (broker_stats(r->broker, &s), s.set_aside == 1));
	broker_queue_confirm(q->q, first = q->seq[0]);
	rig_until(r, rig_stored(r) == 2);
	rig_quiet(r, 100);
	assert_int_equal(rig_stored(r), 2);
	rig_close(q);
	q = rig_open(r, "ann", first, first);
	rig_until(r, q->n == 1);
	rig_check(q, 1, 1);
	q->aside = true;
	rig_until(r, q->n == 2);
	broker_queue_confirm(q->q, q->seq[0]);
	rig_until(r, rig_stored(r) == 0);
	rig_close(q);
	rig_free(r);
}

/* Each takes two seconds where somebody listens who does not answer: they are not all held so long.
 */
static void set_aside_many(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q = rig_open(r, "ann", 0, 0);
	char *text = malloc(900001);
	struct broker_stats s;
	natsSubscription *sub;

	(void)state;
	memset(text, 'x', 900000);
	text[900000] = '\0';
	q->aside = q->left_aside = true;
	assert_int_equal(natsConnection_SubscribeSync(&sub, r->nc, "wsdead.>"), NATS_OK);
	assert_int_equal(natsConnection_Flush(r->nc), NATS_OK);
	for (int i = 0; i < 24; i++)
		rig_send(r, "ann", text, NULL);
	rig_until(r, q->n == 24);
	broker_stats(r->broker, &s);
	assert_in_range(s.set_aside, 16, 23);
	q->aside = false;
	rig_send(r, "ann", "last", NULL);
	rig_until(r, q->n == 25);
	broker_queue_confirm(q->q, q->seq[24]);
	rig_until(r, rig_stored(r) == 0);
	broker_stats(r->broker, &s);
	assert_int_equal(s.set_aside, 24);
	natsSubscription_Destroy(sub);
	free(text);
	rig_close(q);
	rig_free(r);
}

static void close_and_reopen(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q;

	(void)state;
	q = rig_open(r, "ann", 0, 0);
	rig_send_many(r, "ann", 0, 10);
	rig_until(r, q->n == 10);
	broker_queue_confirm(q->q, q->seq[4]);
	broker_queue_close(q->q);
	broker_queue_reopen(q->q, q->seq[4]); /* the rest was never confirmed: once more */
	rig_until(r, q->n == 15 && rig_stored(r) == 5);
	assert_string_equal(q->text[10], "5");
	broker_queue_confirm(q->q, q->seq[14]);
	rig_close(q);
	assert_int_equal(rig_stored(r), 0);
	/* A get is under way that began above the new mark: what it finds says nothing. */
	q = rig_open(r, "bob", 0, 0);
	rig_send_many(r, "bob", 0, 10);
	rig_until(r, q->n == 10);
	rig_quiet(r, 50);
	broker_queue_close(q->q);
	rig_send(r, "bob", "10", NULL);
	broker_queue_reopen(q->q, q->seq[9]);
	broker_queue_close(q->q);
	broker_queue_reopen(q->q, 0);
	rig_until(r, q->n == 21);
	for (int i = 0; i < 11; i++)
		assert_int_equal(atoi(q->text[10 + i]), i);
	broker_queue_confirm(q->q, q->seq[20]);
	rig_close(q);
	assert_int_equal(rig_stored(r), 0);
	/* Closed while the broker is away: what was confirmed goes when it is back. */
	q = rig_open(r, "ann", 0, 0);
	rig_send_many(r, "ann", 0, 10);
	rig_until(r, q->n == 10);
	r->marks_valid = true;
	rig_server_kill(&r->server, SIGTERM);
	rig_disconnect(r);
	rig_until(r, r->losts == 1);
	broker_queue_confirm(q->q, q->seq[9]);
	broker_queue_close(q->q);
	rig_quiet(r, 50);
	assert_false(q->closed);
	rig_server_start(&r->server);
	rig_until(r, q->closed);
	free(q);
	rig_connect(r);
	assert_int_equal(rig_stored(r), 0);
	rig_free(r);
}

/* Many at once: more than may be in flight, of gets and of removals. */
static void many_queues(void **state)
{
	enum { N = 1500 };
	struct rig *r = rig_up(NULL);
	struct rig_queue **q = calloc(N, sizeof(*q));
	char user[16];
	int n = 0;

	(void)state;
	assert_non_null(q);
	for (int i = 0; i < N; i++) {
		snprintf(user, sizeof(user), "u%d", i);
		rig_send_many(r, user, 0, 2);
	}
	for (int i = 0; i < N; i++) {
		snprintf(user, sizeof(user), "u%d", i);
		q[i] = rig_open(r, user, 0, 0);
		q[i]->confirm = true;
	}
	for (int i = 0; i < N; i++) {
		rig_until(r, q[i]->n == 2);
		n += q[i]->n;
	}
	assert_int_equal(n, 2 * N);
	rig_until(r, rig_stored(r) == 0);
	for (int i = 0; i < N; i++)
		broker_queue_close(q[i]->q);
	for (int i = 0; i < N; i++) {
		rig_until(r, q[i]->closed);
		free(q[i]);
	}
	free(q);
	rig_free(r);
}

/* As fast as it goes, all at once; whether they were read at a pace meanwhile. */
static bool burst(struct rig *r, const char *user, int n)
{
	struct rig_queue *q = rig_open(r, user, 0, 0);
	char subject[64], text[24];
	bool paced = false;

	q->confirm = true;
	snprintf(subject, sizeof(subject), "ws.recv.svc.%s", user);
	for (int i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "%d", i);
		assert_int_equal(natsConnection_PublishString(r->nc, subject, text), NATS_OK);
	}
	rig_until(r, (paced |= pace_on(&r->pace), q->n == n));
	rig_check(q, 0, n);
	rig_until(r, rig_stored(r) == 0);
	rig_close(q);
	return paced;
}

/* Many live copies are read once a millisecond: none is lost by it, none waits for the next one,
 * and it ends by itself. How fast the machine is decides how soon it is seen. */
static void many_at_a_pace(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q;
	bool paced = false;
	char user[16];

	(void)state;
	assert_false(pace_on(&r->pace));
	for (int i = 0; i < 30 && !paced; i++) {
		snprintf(user, sizeof(user), "u%d", i);
		paced = burst(r, user, 3000);
	}
	assert_true(paced);
	rig_until(r, !pace_on(&r->pace));
	q = rig_open(r, "ann", 0, 0);
	for (int i = 0; i < 20; i++) {
		rig_send_many(r, "ann", i, 1);
		rig_until(r, q->n == i + 1);
	}
	assert_false(pace_on(&r->pace));
	rig_close(q);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(backlog_then_live, rig_teardown),
		cmocka_unit_test_teardown(text_and_names, rig_teardown),
		cmocka_unit_test_teardown(gap_is_read, rig_teardown),
		cmocka_unit_test_teardown(credit, rig_teardown),
		cmocka_unit_test_teardown(reread, rig_teardown),
		cmocka_unit_test_teardown(set_aside_behind_others, rig_teardown),
		cmocka_unit_test_teardown(server_killed, rig_teardown),
		cmocka_unit_test_teardown(successor, rig_teardown),
		cmocka_unit_test_teardown(stream_made_again, rig_teardown),
		cmocka_unit_test_teardown(set_aside, rig_teardown),
		cmocka_unit_test_teardown(set_aside_above, rig_teardown),
		cmocka_unit_test_teardown(set_aside_many, rig_teardown),
		cmocka_unit_test_teardown(close_and_reopen, rig_teardown),
		cmocka_unit_test_teardown(many_queues, rig_teardown),
		cmocka_unit_test_teardown(many_at_a_pace, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
