/*
 * One get for many who come: who has nothing waiting is told so with the others, who has something
 * gets all of it, whatever is published meanwhile.
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
#include "nats_rig.h"

#define USERS 300

static struct rig_queue *queues[USERS];

static uint64_t gets(const struct rig *r)
{
	struct broker_stats s;

	broker_stats(r->broker, &s);
	return s.gets;
}

static void open_all(struct rig *r, int from, int to)
{
	for (int u = from; u < to; u++)
		queues[u] = rig_open(r, rig_user(u), 0, 0);
}

static void close_all(int from, int to)
{
	for (int u = from; u < to; u++)
		rig_close(queues[u]);
}

static bool is_seen(const struct broker_queue *q)
{
	return q->synced && !q->check && q->high <= q->head && q->job.state == JOB_IDLE;
}

/* What waits for them was read. */
static bool seen(int from, int to)
{
	for (int u = from; u < to; u++)
		if (!is_seen(queues[u]->q))
			return false;
	return true;
}

static bool seen_again(int from, int to)
{
	for (int u = from; u < to; u++)
		if (queues[u]->q->on_recheck)
			return false;
	return seen(from, to);
}

/* For those who are not there. */
static void fill(struct rig *r, int n)
{
	char user[24];

	for (int i = 0; i < n; i++) {
		snprintf(user, sizeof(user), "absent%d", i);
		rig_send(r, user, "0", NULL);
	}
}

static void nothing_waits(void **state)
{
	struct rig *r = rig_up(NULL);

	(void)state;
	open_all(r, 0, USERS);
	rig_until(r, seen(0, USERS));
	assert_in_range(gets(r), 1, USERS / 3);
	rig_until(r, seen_again(0, USERS));
	assert_in_range(gets(r), 1, USERS / 3);
	for (int u = 0; u < USERS; u += 50) {
		rig_send(r, rig_user(u), "0", NULL);
		rig_until(r, queues[u]->n == 1);
	}
	close_all(0, USERS);
	rig_free(r);
}

static void some_waits(void **state)
{
	struct rig *r = rig_up(NULL);

	(void)state;
	rig_send_many(r, "u5", 0, 3);
	fill(r, 3);
	rig_send(r, "u150", "0", NULL);
	rig_send(r, "u299", "0", NULL);
	open_all(r, 0, USERS);
	rig_until(r, seen(0, USERS));
	rig_check(queues[5], 0, 3);
	rig_check(queues[150], 0, 1);
	rig_check(queues[299], 0, 1);
	for (int u = 0; u < USERS; u++)
		if (u != 5 && u != 150 && u != 299)
			assert_int_equal(queues[u]->n, 0);
	assert_in_range(gets(r), 1, USERS / 3);
	broker_queue_confirm(queues[5]->q, queues[5]->seq[2]);
	broker_queue_confirm(queues[150]->q, queues[150]->seq[0]);
	broker_queue_confirm(queues[299]->q, queues[299]->seq[0]);
	rig_until(r, rig_stored(r) == 3);
	close_all(0, USERS);
	rig_free(r);
}

static bool rests(const struct rig *r)
{
	return r->broker->look.request.kind == REQUEST_NONE;
}

/* Each reads what is his; nobody looks together with others, for he has something. */
static void each_has_one(void **state)
{
	struct rig *r = rig_up(NULL);

	(void)state;
	for (int u = 0; u < USERS; u++)
		rig_send(r, rig_user(u), "0", NULL);
	open_all(r, 0, USERS);
	rig_until(r, seen(0, USERS));
	for (int u = 0; u < USERS; u++)
		rig_check(queues[u], 0, 1);
	assert_in_range(gets(r), 2 * USERS, 3 * USERS + 100);
	close_all(0, USERS);
	rig_free(r);
}

/* A long list costs the server something: so many have to come first who have nothing. */
static void many_are_away(void **state)
{
	enum { AWAY = 2000 };
	struct rig *r = rig_up(NULL);

	(void)state;
	fill(r, AWAY);
	rig_send(r, "u290", "0", NULL);
	watch_now(r->broker);
	rig_until(r, r->broker->subjects == AWAY + 1);
	open_all(r, 0, 150);
	assert_int_equal(r->broker->flying, 150);
	rig_until(r, seen(0, 150));
	open_all(r, 150, USERS);
	assert_in_range(r->broker->flying, 8, 16);
	rig_until(r, seen(150, USERS) && rests(r));
	assert_true(r->broker->look.listed);
	assert_int_equal(table_count(&r->broker->look.known), AWAY + 1);
	rig_check(queues[290], 0, 1);
	close_all(0, USERS);
	rig_free(r);
}

/* Behind the list: some are found one by one, then there is a new list. */
static void more_comes(void **state)
{
	struct rig *r = rig_up(NULL);
	uint64_t before;

	(void)state;
	fill(r, 2);
	open_all(r, 0, 100);
	rig_until(r, seen_again(0, 100) && rests(r));
	rig_send(r, "u150", "0", NULL);
	before = gets(r);
	open_all(r, 100, 200);
	rig_until(r, seen(100, 200) && rests(r));
	rig_check(queues[150], 0, 1);
	assert_in_range(gets(r) - before, 2, 80);
	assert_int_equal(r->broker->look.at, 3);
	fill(r, 60);
	rig_send(r, "u250", "0", NULL);
	before = gets(r);
	open_all(r, 200, USERS);
	rig_until(r, seen(200, USERS) && rests(r));
	rig_check(queues[250], 0, 1);
	assert_in_range(gets(r) - before, 2, 60);
	assert_int_equal(r->broker->look.at, 3 + 61);
	close_all(0, USERS);
	rig_free(r);
}

/* Large ones are dear, even a few: then each reads for himself, for a while. */
static void large_ones_come(void **state)
{
	struct rig *r = rig_up(NULL);
	char *text = malloc(900001);

	(void)state;
	assert_non_null(text);
	memset(text, 'x', 900000);
	text[900000] = '\0';
	open_all(r, 0, 100);
	rig_until(r, seen(0, 100) && rests(r));
	rig_send(r, "absent", text, NULL);
	rig_send(r, "u250", text, NULL);
	open_all(r, 100, USERS);
	rig_until(r, r->broker->look.pause > 0 && seen(100, USERS));
	assert_int_equal(queues[250]->n, 1);
	assert_int_equal(queues[250]->len[0], 900000);
	free(text);
	close_all(0, USERS);
	rig_free(r);
}

/* A list is good for some seconds. */
static void the_list_is_old(void **state)
{
	struct rig *r = rig_up(NULL);

	(void)state;
	fill(r, 2);
	open_all(r, 0, 20);
	rig_until(r, seen(0, 20) && rests(r));
	assert_int_equal(table_count(&r->broker->look.known), 2);
	rig_purge(r);
	r->broker->look.listed_ms -= 6000;
	open_all(r, 20, USERS);
	rig_until(r, seen(20, USERS) && rests(r));
	assert_true(r->broker->look.listed);
	assert_int_equal(table_count(&r->broker->look.known), 0);
	r->broker->look.listed_ms -= 6000;
	rig_until(r, !r->broker->look.listed); /* nobody comes: it is forgotten all the same */
	close_all(0, USERS);
	rig_free(r);
}

/* Nobody would read so long a list. */
static void too_many_are_away(void **state)
{
	struct rig *r = rig_up(NULL);

	(void)state;
	rig_until(
		r, r->broker->watch.asked_ms > 0 && r->broker->watch.request.kind == REQUEST_NONE);
	r->broker->subjects = 40000;
	r->broker->look.credit = 10000;
	open_all(r, 0, USERS);
	assert_int_equal(r->broker->flying, 256); /* so many at most, each for himself */
	rig_until(r, seen(0, USERS));
	assert_true(gets(r) >= USERS);
	assert_false(r->broker->look.listed);
	close_all(0, USERS);
	rig_free(r);
}

/* Published before he comes, while he comes, and afterwards. */
static void while_they_come(void **state)
{
	enum { EACH = 4 };
	struct rig *r = rig_up(NULL);
	char subject[40], text[8];

	(void)state;
	srand(7);
	for (int u = 0; u < USERS; u++) {
		int at = rand() % (EACH + 1);

		snprintf(subject, sizeof(subject), "ws.recv.svc.%s", rig_user(u));
		for (int i = 0; i <= EACH; i++) {
			if (i == at)
				queues[u] = rig_open(r, rig_user(u), 0, 0);
			if (i == EACH)
				break;
			snprintf(text, sizeof(text), "%d", i);
			assert_int_equal(
				natsConnection_PublishString(r->nc, subject, text), NATS_OK);
			if (rand() % 8 == 0)
				assert_int_equal(natsConnection_FlushTimeout(r->nc, 5000), NATS_OK);
			if (rand() % 4 == 0)
				rig_turn(r);
		}
		if (u % 50 == 49) { /* or all of them find messages of others */
			for (int v = u - 49; v <= u; v++) {
				rig_until(r, queues[v]->n == EACH);
				broker_queue_confirm(queues[v]->q, queues[v]->seq[EACH - 1]);
			}
			rig_until(r, rig_stored(r) == 0);
		}
	}
	rig_until(r, seen_again(0, USERS));
	for (int u = 0; u < USERS; u++)
		rig_check(queues[u], 0, EACH);
	close_all(0, USERS);
	rig_free(r);
}

/* What was confirmed and is there all the same goes, as when each looks for himself. */
static void what_was_confirmed(void **state)
{
	struct rig *r = rig_up(NULL);
	uint64_t last;

	(void)state;
	rig_send_many(r, "u40", 0, 2);
	rig_send(r, "u250", "0", NULL);
	last = rig_send(r, "absent", "0", NULL);
	for (int u = 0; u < USERS; u++)
		queues[u] = rig_open(r, rig_user(u), last, last);
	rig_until(r, rig_stored(r) == 1);
	for (int u = 0; u < USERS; u++) {
		rig_until(r, !queues[u]->q->sweep);
		assert_int_equal(queues[u]->n, 0);
	}
	assert_in_range(gets(r), 1, USERS / 3);
	close_all(0, USERS);
	rig_free(r);
}

/* One leaves, and one gets a message, while the look is under way. */
static void meanwhile(void **state)
{
	struct rig *r = rig_up(NULL);

	(void)state;
	open_all(r, 0, 100);
	rig_until(r, seen_again(0, 100));
	kill(r->server.pid, SIGSTOP);
	open_all(r, 100, USERS);
	rig_until(r, queues[200]->q->job.state == JOB_LOOKED);
	broker_queue_close(queues[201]->q);
	broker_queue_want(queues[202]->q, false);
	broker_queue_close(queues[203]->q);
	broker_queue_reopen(queues[203]->q, 0);
	kill(r->server.pid, SIGCONT);
	for (int u = 200; u < 210; u++)
		rig_send(r, rig_user(u), "0", NULL);
	rig_until(r, queues[200]->n == 1 && queues[203]->n == 1 && queues[209]->n == 1);
	rig_until(r, queues[201]->closed);
	assert_int_equal(queues[202]->n, 0);
	broker_queue_want(queues[202]->q, true);
	rig_until(r, queues[202]->n == 1);
	assert_int_equal(queues[201]->n, 0);
	free(queues[201]);
	queues[201] = rig_open(r, rig_user(201), 0, 0);
	rig_until(r, queues[201]->n == 1);
	close_all(0, USERS);
	rig_free(r);
}

/* What is known is forgotten while the answer to what follows it is under way. */
static void forgotten_meanwhile(void **state)
{
	struct rig *r = rig_up(NULL);

	(void)state;
	open_all(r, 0, 100);
	rig_until(r, seen(0, 100) && rests(r));
	rig_send(r, "u250", "0", NULL);
	open_all(r, 100, USERS);
	rig_until(r, r->broker->look.at == 1);
	assert_true(look_knows(r->broker, "svc.u250"));
	assert_int_equal(queues[250]->q->job.state, JOB_LOOKED);
	look_forget(r->broker);
	rig_until(r, is_seen(queues[250]->q) || queues[250]->n > 0);
	assert_int_equal(queues[250]->n, 1);
	rig_until(r, seen(0, USERS));
	close_all(0, USERS);
	rig_free(r);
}

/* A get takes long: what it goes past may have become much, so the next look begins with a list.
 * Nobody who comes meanwhile waits for it. */
static void slow(void **state)
{
	struct rig *r = rig_up(NULL);
	uint64_t listed;

	(void)state;
	open_all(r, 0, 100);
	rig_until(r, seen_again(0, 100) && rests(r));
	listed = r->broker->look.listed_ms;
	kill(r->server.pid, SIGSTOP);
	open_all(r, 100, 200);
	rig_until(r, !rests(r));
	assert_false(r->broker->look.listing);
	rig_quiet(r, 400);
	open_all(r, 200, 210);
	assert_int_equal(queues[209]->q->job.state, JOB_FLYING);
	kill(r->server.pid, SIGCONT);
	rig_until(r, seen(100, 210));
	open_all(r, 210, USERS);
	rig_until(r, seen(210, USERS));
	assert_true(r->broker->look.listed_ms > listed);
	close_all(0, USERS);
	rig_free(r);
}

/* Too few for a look beside many gets: they do not wait until those have come back. */
static void few_beside_many(void **state)
{
	struct rig *r = rig_up(NULL);

	(void)state;
	kill(r->server.pid, SIGSTOP);
	open_all(r, 0, 10);
	assert_int_equal(queues[9]->q->job.state, JOB_WAITING);
	rig_until(r, queues[9]->q->job.state == JOB_FLYING);
	assert_int_equal(r->broker->flying, 10);
	kill(r->server.pid, SIGCONT);
	rig_until(r, seen(0, 10));
	close_all(0, 10);
	rig_free(r);
}

/* It is asked once more what the answer under way may not know. */
static void asked_again(void **state)
{
	enum { COME = 264 }; /* a few for themselves, all others together */
	struct rig *r = rig_up(NULL);
	uint64_t before;

	(void)state;
	open_all(r, 0, COME);
	before = gets(r);
	assert_int_equal(queues[250]->q->job.state, JOB_LOOKED);
	assert_int_equal(queues[COME - 1]->q->job.state, JOB_LOOKED);
	feed_look(queues[250]->q);
	rig_until(r, is_seen(queues[250]->q));
	assert_true(gets(r) > before);
	close_all(0, COME);
	rig_free(r);
}

static void new_leader(void **state)
{
	struct rig *r = rig_up(NULL);

	(void)state;
	fill(r, 2);
	open_all(r, 0, 100);
	rig_until(r, seen(0, 100));
	assert_true(r->broker->look.listed);
	r->broker->look.pause = UINT64_MAX; /* the one before did not answer any more, say */
	broker_new_leader(r->broker);
	assert_false(r->broker->look.listed);
	assert_int_equal(r->broker->look.pause, 0);
	assert_int_equal(table_count(&r->broker->look.known), 0);
	rig_until(r, seen(0, 100));
	close_all(0, 100);
	rig_free(r);
}

/* In the next session nothing is known; so when it ended while a look was under way. */
static void session_is_lost(void **state)
{
	struct rig *r = rig_up(NULL);

	(void)state;
	fill(r, 2);
	open_all(r, 0, 100);
	rig_until(r, seen(0, 100) && rests(r));
	for (int again = 0; again < 2; again++) {
		assert_true(r->broker->look.listed);
		if (again) {
			rig_send(r, "u250", "0", NULL);
			kill(r->server.pid, SIGSTOP);
			open_all(r, 100, USERS);
			rig_until(r, queues[250]->q->job.state == JOB_LOOKED);
			kill(r->server.pid, SIGCONT);
		}
		rig_server_kill(&r->server, SIGKILL);
		rig_until(r, r->losts == again + 1);
		assert_int_equal(table_count(&r->broker->look.known), 0);
		assert_false(r->broker->look.listed);
		rig_server_start(&r->server);
		rig_until(r, r->connects == again + 2 && seen(0, again ? USERS : 100));
	}
	rig_check(queues[250], 0, 1);
	close_all(0, USERS);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(nothing_waits, rig_teardown),
		cmocka_unit_test_teardown(some_waits, rig_teardown),
		cmocka_unit_test_teardown(each_has_one, rig_teardown),
		cmocka_unit_test_teardown(many_are_away, rig_teardown),
		cmocka_unit_test_teardown(more_comes, rig_teardown),
		cmocka_unit_test_teardown(large_ones_come, rig_teardown),
		cmocka_unit_test_teardown(the_list_is_old, rig_teardown),
		cmocka_unit_test_teardown(too_many_are_away, rig_teardown),
		cmocka_unit_test_teardown(while_they_come, rig_teardown),
		cmocka_unit_test_teardown(what_was_confirmed, rig_teardown),
		cmocka_unit_test_teardown(meanwhile, rig_teardown),
		cmocka_unit_test_teardown(forgotten_meanwhile, rig_teardown),
		cmocka_unit_test_teardown(slow, rig_teardown),
		cmocka_unit_test_teardown(few_beside_many, rig_teardown),
		cmocka_unit_test_teardown(asked_again, rig_teardown),
		cmocka_unit_test_teardown(new_leader, rig_teardown),
		cmocka_unit_test_teardown(session_is_lost, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
