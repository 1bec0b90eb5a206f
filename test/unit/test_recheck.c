/*
 * The second look at queues that were opened a moment ago: a replica may have lagged.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>
#include "../../src/broker/parts.h"
#include "nats_rig.h"

/* So many that the slow round, two a second, is long under way. */
#define USERS 100

static struct rig_queue *queues[USERS];

/* They were looked at. */
static bool all_seen(void)
{
	for (int i = 0; i < USERS; i++) {
		const struct broker_queue *q = queues[i]->q;

		if (!q->synced || q->check || q->job.state != JOB_IDLE)
			return false;
	}
	return true;
}

/* A second time as well, or that is under way. */
static bool all_again(void)
{
	for (int i = 0; i < USERS; i++)
		if (queues[i]->q->on_recheck)
			return false;
	return true;
}

static bool request_any(const struct requests *rs)
{
	for (int k = REQUEST_NONE + 1; k < REQUEST_KINDS; k++)
		if (!TAILQ_EMPTY(&rs->waiting[k]))
			return true;
	return false;
}

/* Opened, and the first look is over. Live copies do not come from here on. */
static void look_once(struct rig *r)
{
	rig_deaf = 1;
	for (int i = 0; i < USERS; i++)
		queues[i] = rig_open(r, rig_user(i), 0, 0);
	rig_until(r, all_seen() && !request_any(&r->broker->requests));
	assert_false(all_again());
}

static void close_all(void)
{
	for (int i = 0; i < USERS; i++)
		rig_close(queues[i]);
}

static void it_finds(void **state)
{
	struct rig *r = rig_up(NULL);

	(void)state;
	look_once(r);
	rig_send_many(r, rig_user(70), 0, 3);
	assert_int_equal(queues[70]->n, 0);
	rig_until(r, queues[70]->n == 3);
	rig_check(queues[70], 0, 3);
	rig_until(r, all_again() && all_seen());
	close_all();
	rig_free(r);
}

/* Its slot is that of one who left a moment ago, whose second look is not its. */
static void each_by_its_own_time(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *gone, *q;

	(void)state;
	look_once(r);
	rig_until(r, all_again() && all_seen());
	gone = rig_open(r, "gone", 0, 0);
	rig_quiet(r, 400);
	rig_close(gone);
	q = rig_open(r, "next", 0, 0);
	rig_quiet(r, 150); /* the other's time is over, this one's far off */
	rig_send(r, "next", "0", NULL);
	rig_until(r, q->n == 1);
	rig_close(q);
	close_all();
	rig_free(r);
}

/* It was asked for while a gap was being read: what follows that gap is not the end. */
static void it_goes_on_behind_a_gap(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q;

	(void)state;
	look_once(r);
	q = queues[70];
	rig_until(r, !q->q->on_recheck && !request_any(&r->broker->requests));
	rig_send(r, rig_user(70), "0", NULL);
	rig_quiet(r, 50);
	rig_deaf = 0;
	rig_send(r, rig_user(70), "1", NULL);
	usleep(50000); /* its copy is on the way, but no answer to the get comes that it brings
			  about */
	kill(r->server.pid, SIGSTOP);
	rig_until(r, q->q->hoard);
	rig_deaf = 1;
	kill(r->server.pid, SIGCONT);
	rig_send(r, rig_user(70), "2", NULL);
	feed_rescan(q->q);
	rig_until(r, q->n == 3);
	rig_check(q, 0, 3);
	close_all();
	rig_free(r);
}

static void session_is_lost(void **state)
{
	struct rig *r = rig_up(NULL);

	(void)state;
	look_once(r);
	rig_send(r, rig_user(70), "0", NULL);
	rig_server_kill(&r->server, SIGKILL);
	rig_until(r, r->losts == 1);
	rig_server_start(&r->server);
	rig_until(r, queues[70]->n == 1);
	close_all();
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(it_finds, rig_teardown),
		cmocka_unit_test_teardown(each_by_its_own_time, rig_teardown),
		cmocka_unit_test_teardown(it_goes_on_behind_a_gap, rig_teardown),
		cmocka_unit_test_teardown(session_is_lost, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
