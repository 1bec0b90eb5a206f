/*
 * The stream read once for many: each gets all of his own, in order, whatever lies between and
 * whoever comes and goes meanwhile.
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

#define BEGINS "many users have many messages waiting"
#define GOES_BACK "the reading goes back"
#define OVER "the stream was read once"
#define USERS_MAX 400

static struct rig_queue *queues[USERS_MAX];

static void put(struct rig *r, const char *subject, int n)
{
	char text[24];

	snprintf(text, sizeof(text), "%d", n);
	assert_int_equal(natsConnection_PublishString(r->nc, subject, text), NATS_OK);
}

/* Message by message, each user's between the others'; the last one is stored when it returns. */
static void fill(struct rig *r, int users, int from, int each)
{
	char subject[64];

	for (int i = from; i < from + each; i++) {
		for (int u = 0; u < users; u++) {
			snprintf(subject, sizeof(subject), "ws.recv.svc.%s", rig_user(u));
			put(r, subject, i);
		}
	}
	rig_send(r, "last", "0", NULL);
}

static void open_all(struct rig *r, int from, int to)
{
	for (int u = from; u < to; u++)
		queues[u] = rig_open(r, rig_user(u), 0, 0);
}

static bool all_have(int users, int n)
{
	for (int u = 0; u < users; u++)
		if (queues[u]->n < n)
			return false;
	return true;
}

static void finish(struct rig *r, int users, int n, int64_t left)
{
	rig_until(r, all_have(users, n));
	for (int u = 0; u < users; u++) {
		rig_check(queues[u], 0, n);
		broker_queue_confirm(queues[u]->q, queues[u]->seq[n - 1]);
	}
	rig_until(r, rig_stored(r) == left);
	for (int u = 0; u < users; u++)
		rig_close(queues[u]);
}

/* One leaves off for a while, one closes and comes back, one gets a live message, one's messages
 * pretend to be another's. */
static void each_his_own(void **state)
{
	enum { USERS = 200, EACH = 12 };
	struct rig *r = rig_up(NULL);
	struct broker_stats s;

	(void)state;
	for (int i = 0; i < EACH; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%d", i);
		for (int u = 0; u < USERS; u++)
			rig_send(r, rig_user(u), text,
				u == 7 ? "Nats-Subject: ws.recv.svc.u8" : NULL);
	}
	open_all(r, 0, USERS);
	broker_queue_want(queues[3]->q, false);
	rig_until(r, rig_logged(BEGINS));
	broker_queue_close(queues[4]->q);
	rig_send(r, "u5", "12", NULL);
	rig_send(r, "u3", "12", NULL);
	rig_until(r, rig_logged(OVER));
	assert_true(rig_logged("to_its_end=yes"));
	rig_until(r, queues[5]->n == EACH + 1);
	rig_check(queues[5], 0, EACH + 1);
	assert_true(queues[3]->n < 3);
	broker_queue_want(queues[3]->q, true);
	rig_until(r, queues[3]->n == EACH + 1);
	rig_check(queues[3], 0, EACH + 1);
	queues[4]->n = 0;
	if (queues[4]->closed)
		queues[4] = (free(queues[4]), rig_open(r, "u4", 0, 0));
	else
		broker_queue_reopen(queues[4]->q, 0);
	rig_until(r, queues[4]->n == EACH);
	broker_stats(r->broker, &s);
	/* Each gets two or three by himself, the rest comes by one get a message. */
	assert_in_range(s.gets, USERS * EACH, USERS * (EACH + 6));
	broker_queue_confirm(queues[3]->q, queues[3]->seq[EACH]);
	broker_queue_confirm(queues[5]->q, queues[5]->seq[EACH]);
	queues[3]->n = queues[5]->n = EACH;
	finish(r, USERS, EACH, 0);
	rig_free(r);
}

/* Most of what was stored is gone again, and clients' messages to services lie between: longer
 * steps, and few gets that find what another one found. */
static void over_holes(void **state)
{
	enum { USERS = 150, EACH = 30, HOLE = 20 };
	struct rig *r = rig_up(NULL);
	struct broker_stats before, after;
	char subject[64], body[64];

	(void)state;
	for (int i = 0; i < EACH; i++) {
		for (int u = 0; u < USERS; u++) {
			snprintf(subject, sizeof(subject), "ws.recv.svc.%s", rig_user(u));
			put(r, subject, i);
			for (int h = 0; i < EACH / 2 && h < HOLE; h++)
				put(r, "ws.recv.svc.gone", h);
		}
		for (int h = 0; i == EACH / 2 && h < 3000; h++)
			put(r, "ws.send.svc.other", h);
	}
	rig_send(r, "gone", "0", NULL);
	snprintf(body, sizeof(body), "{\"filter\":\"ws.recv.svc.gone\"}");
	free(rig_api(r, "$JS.API.STREAM.PURGE.websockets", body));
	assert_int_equal(rig_stored(r), USERS * EACH + 3000);
	broker_stats(r->broker, &before);
	open_all(r, 0, USERS);
	rig_until(r, rig_logged(OVER));
	assert_true(rig_logged("to_its_end=yes"));
	broker_stats(r->broker, &after);
	assert_in_range(after.gets - before.gets, USERS * EACH, USERS * EACH * 2);
	finish(r, USERS, EACH, 3000);
	rig_free(r);
}

/* Behind the messages that are wanted lie many of users who are not here: it leaves off. */
static void others_between(void **state)
{
	enum { USERS = 150, EACH = 8, OTHERS = 12000 };
	struct rig *r = rig_up(NULL);
	struct broker_stats s;
	char subject[64];

	(void)state;
	fill(r, USERS, 0, EACH - 1);
	for (int i = 0; i < OTHERS; i++) {
		snprintf(subject, sizeof(subject), "ws.recv.svc.away%d", i);
		put(r, subject, i);
	}
	fill(r, USERS, EACH - 1, 1);
	open_all(r, 0, USERS);
	rig_until(r, rig_logged(OVER));
	assert_false(rig_logged("to_its_end=yes"));
	rig_until(r, all_have(USERS, EACH));
	broker_stats(r->broker, &s);
	assert_in_range(s.gets, USERS * EACH / 2, OTHERS / 2);
	finish(r, USERS, EACH, OTHERS + 2);
	rig_free(r);
}

/* Many who come when it is on its way: it goes back for them; nobody gets anything twice. */
static void who_comes_later(void **state)
{
	enum { FIRST = 150, USERS = 400, EACH = 30 };
	struct rig *r = rig_up(NULL);

	(void)state;
	fill(r, USERS, 0, EACH);
	open_all(r, 0, FIRST);
	rig_until(r, rig_logged(BEGINS));
	open_all(r, FIRST, USERS);
	rig_until(r, rig_logged(GOES_BACK));
	rig_until(r, rig_logged("to_its_end=yes"));
	finish(r, USERS, EACH, 1);
	rig_free(r);
}

/* One sets all aside, one confirms at once, some close for good: the others notice nothing. */
static void removed_meanwhile(void **state)
{
	enum { USERS = 200, EACH = 15 };
	struct rig *r = rig_up(NULL);

	(void)state;
	fill(r, USERS, 0, EACH);
	open_all(r, 0, USERS);
	rig_until(r, rig_logged(BEGINS));
	queues[USERS - 1]->aside = true;
	for (int u = USERS - 10; u < USERS - 1; u++)
		queues[u]->confirm = true;
	for (int u = USERS - 20; u < USERS - 10; u++)
		rig_close(queues[u]);
	rig_until(r, rig_logged("to_its_end=yes"));
	for (int u = USERS - 10; u < USERS; u++) {
		rig_until(r, queues[u]->n == EACH);
		rig_check(queues[u], 0, EACH);
		if (u == USERS - 1)
			broker_queue_confirm(queues[u]->q, queues[u]->seq[EACH - 1]);
	}
	rig_until(r, rig_stored(r) == 1 + (USERS - 10) * EACH);
	for (int u = USERS - 10; u < USERS; u++)
		rig_close(queues[u]);
	finish(r, USERS - 20, EACH, 1 + 10 * EACH);
	rig_free(r);
}

/* What was given before this process, and is confirmed now, is removed now, not at the end; also of
 * one of whom there is nothing any more, which does not count as one who came later. */
static void swept_meanwhile(void **state)
{
	enum { USERS = 200, EACH = 90, BEFORE = 3 };
	struct rig *r = rig_up(NULL);
	uint64_t head = USERS * (BEFORE - 1) + 1;

	(void)state;
	fill(r, USERS, 0, EACH);
	for (int u = 0; u < 2; u++) {
		queues[u] = rig_open(r, rig_user(u), 0, head + (uint64_t)u);
		broker_queue_want(queues[u]->q, false);
		broker_queue_confirm(queues[u]->q, 1 + (uint64_t)u);
	}
	rig_until(r, rig_stored(r) == USERS * EACH - 1); /* nobody else holds them */
	for (int u = 0; u < 2; u++)
		broker_queue_want(queues[u]->q, true);
	open_all(r, 2, USERS);
	rig_until(r, rig_logged(BEGINS));
	free(rig_api(r, "$JS.API.STREAM.PURGE.websockets", "{\"filter\":\"ws.recv.svc.u1\"}"));
	broker_queue_confirm(queues[0]->q, head);
	broker_queue_confirm(queues[1]->q, head + 1);
	rig_until(r, rig_stored(r) == (USERS - 1) * EACH + 1 - BEFORE);
	assert_false(rig_logged(OVER));
	rig_until(r, rig_logged("to_its_end=yes"));
	assert_false(rig_logged(GOES_BACK));
	rig_until(r, queues[0]->n == EACH - BEFORE);
	rig_check(queues[0], BEFORE, EACH - BEFORE);
	for (int u = 2; u < USERS; u++) {
		rig_until(r, queues[u]->n == EACH);
		rig_check(queues[u], 0, EACH);
	}
	for (int u = 0; u < USERS; u++)
		rig_close(queues[u]);
	rig_free(r);
}

/* The server dies in the middle; when it is back all goes on behind what was given. */
static void broken_off(void **state)
{
	enum { USERS = 200, EACH = 40 };
	struct rig *r = rig_up(NULL);

	(void)state;
	r->same_stream = true;
	fill(r, USERS, 0, EACH);
	open_all(r, 0, USERS);
	rig_until(r, rig_logged(BEGINS));
	rig_server_kill(&r->server, SIGKILL);
	rig_disconnect(r);
	rig_until(r, r->losts == 1);
	assert_false(all_have(USERS, EACH));
	rig_until(r, rig_logged("to_its_end=no"));
	rig_server_start(&r->server);
	rig_until(r, r->connects == 2);
	rig_connect(r);
	rig_until(r, rig_logged("to_its_end=yes"));
	finish(r, USERS, EACH, 1);
	rig_free(r);
}

/* Another stream under it: marks are void, and what the new one has is read from its beginning. */
static void another_stream(void **state)
{
	enum { USERS = 200, EACH = 40 };
	struct rig *r = rig_up(NULL);
	char cmd[160];

	(void)state;
	r->same_stream = true;
	fill(r, USERS, 100, EACH);
	open_all(r, 0, USERS);
	rig_until(r, rig_logged(BEGINS));
	rig_server_kill(&r->server, SIGKILL);
	rig_disconnect(r);
	rig_until(r, r->losts == 1);
	snprintf(cmd, sizeof(cmd), "rm -rf %s/js", r->server.dir);
	assert_int_equal(system(cmd), 0);
	rig_server_start(&r->server);
	rig_until(r, r->connects == 2);
	rig_connect(r);
	for (int u = 0; u < USERS; u++)
		queues[u]->n = 0;
	fill(r, USERS, 0, EACH);
	finish(r, USERS, EACH, 1);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(each_his_own, rig_teardown),
		cmocka_unit_test_teardown(over_holes, rig_teardown),
		cmocka_unit_test_teardown(others_between, rig_teardown),
		cmocka_unit_test_teardown(who_comes_later, rig_teardown),
		cmocka_unit_test_teardown(removed_meanwhile, rig_teardown),
		cmocka_unit_test_teardown(swept_meanwhile, rig_teardown),
		cmocka_unit_test_teardown(broken_off, rig_teardown),
		cmocka_unit_test_teardown(another_stream, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
