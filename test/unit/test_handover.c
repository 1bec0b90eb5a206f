/* Fewer workers: in which order the master tells whom what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

#include "fakes.h"

#define N 4

static struct fake bridge, workers[N];
static unsigned serial;

/* What it hears of a configuration does not matter here. */
static void bridge_hears(const char *what, unsigned slot, uint64_t generation)
{
	fakes_expect_after(
		&bridge, "config", "%s %u %llu", what, slot, (unsigned long long)generation);
}

static void started(unsigned n)
{
	serial = 0;
	fakes_workers(n);
	fakes_start();
	fakes_accept_all(&bridge, workers);
	for (unsigned i = 0; i < n; i++)
		fakes_expect(&bridge, "up %u 1", i);
}

static void finish(void)
{
	kill(fakes_master, SIGQUIT);
	assert_int_equal(fakes_end(), 0);
	close(bridge.fd);
	for (unsigned i = 0; i < N; i++)
		close(workers[i].fd);
}

static void resize(unsigned n)
{
	fakes_workers(n);
	serial++;
}

static void keep(unsigned i)
{
	fakes_order(&workers[i], "keep");
	fakes_expect(&workers[i], "keeps");
}

static void config(unsigned i)
{
	fakes_expect(&workers[i], "config %u", serial);
}

static void ends(unsigned i)
{
	fakes_expect(&workers[i], "stop 60000 restart");
	fakes_order(&workers[i], "exit 0");
	fakes_expect(&workers[i], "end");
}

static void comes(unsigned slot, uint64_t generation)
{
	struct fake w = fakes_accept();

	assert_false(w.bridge);
	assert_int_equal(w.slot, slot);
	assert_int_equal(w.generation, generation);
	bridge_hears("up", slot, generation);
	workers[slot] = w;
}

static void test_three_to_one_and_back(void **state)
{
	(void)state;
	started(3);
	resize(1);
	fakes_expect(&workers[0], "listen 1");
	fakes_expect(&workers[0], "listen 2");
	config(0);
	for (unsigned i = 1; i < 3; i++) {
		config(i);
		fakes_expect(&workers[i], "retire 0");
		fakes_expect(&workers[0], "arrive 1");
		fakes_expect(&workers[i], "heir 1");
	}
	fakes_log("reloaded changed=1");
	ends(1);
	bridge_hears("down", 1, 1);
	ends(2);
	bridge_hears("down", 2, 1);
	fakes_log("a worker has handed its connections over child=\"worker 1\" moved=7 left=1");
	fakes_log("ended child=\"worker 2\"");
	/* A socket that others hold is not shut: it goes back when its own worker is ready. */
	resize(2);
	config(0);
	comes(1, 2);
	assert_false(fakes_called());
	fakes_order(&workers[0], "ping");
	fakes_expect(&workers[0], "pong");
	fakes_order(&workers[1], "ready");
	fakes_expect(&workers[0], "unlisten 1 keep");
	/* Both have a part of what is idle. */
	resize(3);
	config(0);
	config(1);
	comes(2, 2);
	fakes_order(&workers[2], "ready");
	fakes_expect(&workers[0], "unlisten 2 keep");
	resize(2);
	fakes_expect(&workers[0], "listen 2");
	config(0);
	config(1);
	config(2);
	fakes_expect(&workers[2], "retire 0");
	fakes_expect(&workers[0], "arrive 1");
	fakes_expect(&workers[2], "heir 0");
	fakes_expect(&workers[1], "arrive 1");
	fakes_expect(&workers[2], "heir 1");
	ends(2);
	finish();
}

/* The giver sees the end of the socket, and keeps what it still has. */
static void test_heir_dies(void **state)
{
	(void)state;
	started(2);
	keep(1);
	resize(1);
	fakes_expect(&workers[1], "config 1");
	fakes_expect(&workers[1], "retire 0");
	fakes_expect(&workers[1], "heir 1");
	kill(workers[0].pid, SIGKILL);
	bridge_hears("down", 0, 1);
	close(workers[0].fd);
	comes(0, 2);
	fakes_expect(&workers[0], "listen 1");
	fakes_order(&workers[1], "heir 0");
	fakes_expect(&workers[1], "heir gone");
	fakes_order(&workers[0], "ready");
	fakes_expect(&workers[0], "arrive 1");
	fakes_expect(&workers[1], "heir 1");
	fakes_order(&workers[1], "heir 1");
	fakes_expect(&workers[1], "heir there");
	fakes_order(&workers[1], "moved 5");
	ends(1);
	finish();
}

static void test_giver_dies(void **state)
{
	(void)state;
	started(2);
	keep(1);
	resize(1);
	fakes_expect(&workers[0], "listen 1");
	config(0);
	config(1);
	fakes_expect(&workers[1], "retire 0");
	fakes_expect(&workers[1], "heir 1");
	fakes_expect(&workers[0], "arrive 1");
	kill(workers[1].pid, SIGKILL);
	fakes_expect(&workers[1], "end");
	bridge_hears("down", 1, 1);
	fakes_log("killed by a signal child=\"worker 1\"");
	fakes_order(&workers[0], "heir 0");
	fakes_expect(&workers[0], "heir gone");
	assert_false(fakes_called());
	finish();
}

/* More again, while it still gives: its successor comes when it has ended. Not less again. */
static void test_back_and_forth(void **state)
{
	(void)state;
	started(3);
	keep(1);
	keep(2);
	resize(1);
	fakes_expect(&workers[0], "listen 1");
	fakes_expect(&workers[0], "listen 2");
	config(0);
	for (unsigned i = 1; i < 3; i++) {
		config(i);
		fakes_expect(&workers[i], "retire 0");
		fakes_expect(&workers[0], "arrive 1");
		fakes_expect(&workers[i], "heir 1");
	}
	resize(3);
	for (unsigned i = 0; i < 3; i++)
		config(i);
	resize(2);
	for (unsigned i = 0; i < 3; i++)
		config(i);
	assert_false(fakes_called());
	for (unsigned i = 1; i < 3; i++) {
		fakes_order(&workers[i], "moved 1");
		ends(i);
		bridge_hears("down", i, 1);
		if (i == 1)
			comes(1, 2);
	}
	fakes_order(&workers[1], "ready");
	fakes_expect(&workers[0], "unlisten 1 keep");
	fakes_order(&workers[0], "ping");
	fakes_expect(&workers[0], "pong");
	assert_false(fakes_called());
	finish();
}

/* Who is being given connections does not give before it has them. */
static void test_heir_becomes_surplus(void **state)
{
	(void)state;
	started(3);
	keep(2);
	keep(1);
	resize(2);
	fakes_expect(&workers[0], "listen 2");
	for (unsigned i = 0; i < 3; i++)
		config(i);
	fakes_expect(&workers[2], "retire 0");
	fakes_expect(&workers[0], "arrive 1");
	fakes_expect(&workers[2], "heir 0");
	fakes_expect(&workers[1], "arrive 1");
	fakes_expect(&workers[2], "heir 1");
	resize(1);
	for (unsigned i = 0; i < 3; i++)
		config(i);
	fakes_order(&workers[1], "ping");
	fakes_expect(&workers[1], "pong");
	fakes_order(&workers[2], "moved 9");
	fakes_expect(&workers[2], "stop 60000 restart");
	fakes_expect(&workers[0], "listen 1");
	fakes_expect(&workers[1], "retire 0");
	fakes_expect(&workers[0], "arrive 1");
	fakes_expect(&workers[1], "heir 1");
	/* A stop ends it all. */
	kill(fakes_master, SIGTERM);
	for (unsigned i = 0; i < 3; i++) {
		fakes_expect(&workers[i], "stop 60000");
		fakes_order(&workers[i], "exit 0");
	}
	finish();
}

/* The second gives what it has to the first. */
static void two_to_one(void)
{
	resize(1);
	fakes_expect(&workers[0], "listen 1");
	config(0);
	config(1);
	fakes_expect(&workers[1], "retire 0");
	fakes_expect(&workers[0], "arrive 1");
	fakes_expect(&workers[1], "heir 1");
}

/* And is wanted again. says: what it says when that is so already; NULL: nothing. */
static void two_again(const char *says)
{
	char config_0[32];

	resize(2);
	snprintf(config_0, sizeof(config_0), "config %u", serial);
	config(1);
	if (says)
		fakes_order(&workers[1], "%s", says);
	fakes_expect(&workers[1], "resume");
	fakes_expect(&workers[1], "listen 1");
	fakes_expect_both(&workers[0], config_0, "unlisten 1 keep");
}

/* What cannot move and is not to be ended: its worker waits for its end, however long that takes.
 */
static void test_some_stay(void **state)
{
	(void)state;
	started(2);
	keep(1);
	two_to_one();
	fakes_order(&workers[1], "moved 3 stay 2");
	fakes_log("a worker retires when its connections with TLS have ended child=\"worker 1\" "
		  "connections=2");
	fakes_order(&workers[1], "ping");
	fakes_expect(&workers[1], "pong");
	/* A reload in between reaches it, and asks nothing new of it. */
	resize(1);
	config(0);
	config(1);
	fakes_order(&workers[1], "moved 3");
	ends(1);
	bridge_hears("down", 1, 1);
	assert_false(fakes_called());
	finish();
}

static void test_goes_on(void **state)
{
	(void)state;
	started(2);
	keep(1);
	for (int turn = 0; turn < 2; turn++) {
		two_to_one();
		if (turn == 0) /* said while it is wanted already, the other time before that */
			fakes_order(&workers[1], "moved 3 stay 2");
		if (turn == 0)
			fakes_log("a worker retires when");
		two_again(turn == 1 ? "moved 3 stay 2" : NULL);
		assert_false(fakes_called());
	}
	finish();
}

/* What a worker said when it retired the last time does not count now: it gives, and has heirs. */
static void test_answers_of_before(void **state)
{
	(void)state;
	started(2);
	keep(1);
	two_to_one();
	fakes_order(&workers[1], "moved 3 stay 2");
	fakes_log("a worker retires when");
	two_again(NULL);
	two_to_one();
	kill(workers[0].pid, SIGKILL);
	bridge_hears("down", 0, 1);
	close(workers[0].fd);
	comes(0, 2);
	fakes_expect(&workers[0], "listen 1");
	fakes_order(&workers[0], "ready");
	fakes_expect(&workers[0], "arrive 1");
	fakes_expect(&workers[1], "heir 1");
	fakes_order(&workers[1], "moved 5");
	ends(1);
	finish();
}

#define WITH_FAKES(t) cmocka_unit_test_setup_teardown(t, fakes_setup, fakes_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FAKES(test_three_to_one_and_back),
		WITH_FAKES(test_heir_dies),
		WITH_FAKES(test_giver_dies),
		WITH_FAKES(test_back_and_forth),
		WITH_FAKES(test_heir_becomes_surplus),
		WITH_FAKES(test_some_stay),
		WITH_FAKES(test_goes_on),
		WITH_FAKES(test_answers_of_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
