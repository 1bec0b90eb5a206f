/* SIGUSR2: in which order the two masters tell whom what. The new program is this one again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>
#include <wsgate/daemon.h>

#include "../../src/master/will.h"
#include "fakes.h"

static struct fake bridge, workers[4], next_bridge, next_workers[4];
static int notify = -1;

/* Where the master of a start is to say how it is. */
static void listen_as_init(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct timeval patience = {20, 0};

	snprintf(un.sun_path, sizeof(un.sun_path), "%s/notify", fakes_dir);
	notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(notify, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(
		setsockopt(notify, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", un.sun_path, 1), 0);
}

static void init_heard(const char *want)
{
	char text[128];
	ssize_t n = recv(notify, text, sizeof(text) - 1, 0);

	assert_true(n > 0);
	text[n] = '\0';
	assert_string_equal(text, want);
}

static pid_t pid_in_file(void)
{
	char text[32] = "";
	FILE *f = fopen(fakes_config.pidfile, "r");

	if (f)
		(void)!fgets(text, sizeof(text), f);
	if (f)
		fclose(f);
	return atoi(text);
}

static unsigned segments(void)
{
	unsigned n = 0;
	struct dirent *e;
	DIR *d = opendir(fakes_config.runtime_dir);

	assert_non_null(d);
	while ((e = readdir(d)))
		n += strncmp(e->d_name, "segment.", 8) == 0;
	closedir(d);
	return n;
}

static void started(void)
{
	fakes_start();
	fakes_accept_all(&bridge, workers);
	fakes_expect(&bridge, "up 0 1");
	fakes_expect(&bridge, "up 1 1");
	kill(fakes_master, SIGUSR2);
}

/* The workers of the new one, so many: without listeners and bridge. */
static void prepares(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct fake w = fakes_accept();

		assert_false(w.bridge);
		assert_int_equal(w.generation, 1);
		next_workers[w.slot] = w;
	}
	assert_false(fakes_called());
	for (unsigned i = 0; i < n; i++)
		fakes_order(&next_workers[i], "ready");
}

static void keep_all(void)
{
	for (int i = 0; i < 2; i++) {
		fakes_order(&workers[i], "keep");
		fakes_expect(&workers[i], "keeps");
	}
}

static void freezes(void)
{
	for (int i = 0; i < 2; i++) {
		fakes_expect_after(&workers[i], "unlisten", "retire 1");
	}
	fakes_expect(&bridge, "stop 1000 restart");
	fakes_order(&bridge, "exit 0");
	fakes_expect(&bridge, "end");
}

static void takes_over(unsigned n)
{
	next_bridge = fakes_accept();
	assert_true(next_bridge.bridge);
	assert_int_equal(next_bridge.nstale, 1);
	assert_int_equal(next_bridge.predecessor, 0);
	fakes_order(&next_bridge, "ready");
	for (unsigned i = 0; i < n; i++)
		fakes_expect(&next_workers[i], "listen %u", i);
}

static void old_one_ends(void)
{
	for (int i = 0; i < 2; i++) {
		fakes_expect(&workers[i], "stop 60000 restart");
		fakes_order(&workers[i], "exit 0");
		fakes_expect(&workers[i], "end");
	}
}

static void end_new_one(unsigned n)
{
	kill(pid_in_file(), SIGQUIT);
	for (unsigned i = 0; i < n; i++)
		close(next_workers[i].fd);
	close(next_bridge.fd);
}

static void test_takes_over(void **state)
{
	char want[64];
	pid_t heir;

	(void)state;
	listen_as_init();
	started();
	snprintf(want, sizeof(want), "READY=1\nMAINPID=%d\n", fakes_master);
	init_heard(want);
	prepares(2);
	freezes();
	for (int i = 0; i < 2; i++) {
		fakes_expect(&workers[i], "heir 1");
		fakes_expect(&next_workers[i], "arrive 0");
	}
	takes_over(2);
	old_one_ends();
	fakes_log("serves: the old program is replaced");
	heir = pid_in_file();
	assert_int_not_equal(heir, fakes_master);
	assert_in_range(segments(), 1, 2); /* the old one removes its own when it ends */
	fakes_order(&next_bridge, "stale 0");
	fakes_log("removed an older segment");
	assert_int_equal(segments(), 1);
	snprintf(want, sizeof(want), "READY=1\nMAINPID=%d\n", heir);
	init_heard(want);
	/* Nothing of the change of programs stays behind. */
	fakes_order(&next_workers[1], "descriptors");
	fakes_expect(&next_workers[1], "extra -1");
	fakes_order(&next_bridge, "descriptors");
	fakes_expect(&next_bridge, "extra -1");
	kill(next_workers[0].pid, SIGKILL);
	fakes_expect(&next_workers[0], "end");
	fakes_expect(&next_bridge, "down 0 1");
	next_workers[0] = fakes_accept();
	assert_int_equal(next_workers[0].generation, 2);
	end_new_one(2);
	assert_int_equal(fakes_end(), 0);
	assert_int_equal(segments(), 0);
	assert_int_equal(access(fakes_config.pidfile, F_OK), -1);
	close(notify);
}

/* The new one has more, and then fewer: each old one has an heir, each new one a part. */
static void test_other_numbers(void **state)
{
	(void)state;
	fakes_workers(3);
	fakes_config.workers = 2;
	started();
	prepares(3);
	freezes();
	fakes_expect(&workers[0], "heir 0");
	fakes_expect(&workers[1], "heir 1");
	fakes_expect(&workers[0], "heir 1");
	for (int i = 0; i < 3; i++)
		fakes_expect(&next_workers[i], "arrive 0");
	takes_over(3);
	old_one_ends();
	end_new_one(3);
	assert_int_equal(fakes_end(), 0);
}

static void test_fewer(void **state)
{
	(void)state;
	fakes_workers(1);
	fakes_config.workers = 2;
	started();
	prepares(1);
	freezes();
	for (int i = 0; i < 2; i++) {
		fakes_expect(&workers[i], "heir 1");
		fakes_expect(&next_workers[0], "arrive 0");
	}
	takes_over(1);
	fakes_expect(&next_workers[0], "listen 1"); /* lent: nobody else is there */
	old_one_ends();
	end_new_one(1);
	assert_int_equal(fakes_end(), 0);
}

static void all_as_before(void)
{
	for (int i = 0; i < 2; i++) {
		fakes_expect(&workers[i], "resume");
		fakes_expect(&workers[i], "listen %d", i);
	}
	bridge = fakes_accept();
	assert_true(bridge.bridge);
	assert_int_equal(bridge.generation, 2);
	fakes_log("all serve as before");
	assert_int_equal(pid_in_file(), fakes_master);
	assert_int_equal(segments(), 1);
	fakes_order(&bridge, "ready");
}

static void finish(void)
{
	kill(fakes_master, SIGQUIT);
	assert_int_equal(fakes_end(), 0);
	close(bridge.fd);
	close(workers[0].fd);
	close(workers[1].fd);
}

static void gone(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(next_workers[i].fd);
}

static pid_t heir_pid(void)
{
	static const char text[] = "the new program is ready to take over pid=";

	fakes_log(text);
	return (pid_t)fakes_log_number(text);
}

static void test_new_one_dies_before(void **state)
{
	(void)state;
	started();
	for (int i = 0; i < 2; i++) {
		struct fake w = fakes_accept();

		next_workers[w.slot] = w;
	}
	fakes_order(&next_workers[0], "fatal no luck");
	fakes_log("the new program ended");
	fakes_log("running one goes on why=\"worker 0: no luck\"");
	gone(2);
	/* Nobody was told anything. */
	for (int i = 0; i < 2; i++) {
		fakes_order(&workers[i], "ping");
		fakes_expect(&workers[i], "pong");
	}
	fakes_order(&bridge, "ping");
	fakes_expect(&bridge, "pong");
	assert_int_equal(segments(), 1);
	assert_int_equal(pid_in_file(), fakes_master);
	finish();
}

static void test_new_one_dies_midway(void **state)
{
	(void)state;
	started();
	keep_all();
	prepares(2);
	freezes();
	for (int i = 0; i < 2; i++)
		fakes_expect(&workers[i], "heir 1");
	kill(heir_pid(), SIGKILL);
	gone(2);
	all_as_before();
	/* Again, and this one is good. */
	kill(fakes_master, SIGUSR2);
	prepares(2);
	for (int i = 0; i < 2; i++) {
		fakes_expect_after(&workers[i], "unlisten", "retire 1");
	}
	fakes_expect_after(&bridge, "up", "stop 1000 restart");
	fakes_order(&bridge, "exit 0");
	for (int i = 0; i < 2; i++) {
		fakes_expect(&workers[i], "heir 1");
		fakes_order(&workers[i], "moved 1");
	}
	for (int i = 0; i < 2; i++)
		fakes_expect(&next_workers[i], "arrive 0");
	takes_over(2);
	old_one_ends();
	end_new_one(2);
	close(bridge.fd);
	assert_int_equal(fakes_end(), 0);
}

/* Its bridge cannot go on: what it says is why, and all is put back. */
static void test_new_bridge_fails(void **state)
{
	struct fake b;

	(void)state;
	started();
	prepares(2);
	freezes();
	for (int i = 0; i < 2; i++) {
		fakes_expect(&workers[i], "heir 1");
		fakes_expect(&next_workers[i], "arrive 0");
	}
	b = fakes_accept();
	assert_true(b.bridge);
	fakes_order(&b, "fatal the stream is not for this version");
	fakes_log("does not take over: the running one goes on why=\"bridge: the stream is not for "
		  "this version\"");
	gone(2);
	close(b.fd);
	all_as_before();
	finish();
}

/* Messages that its workers had taken are not forgotten. */
static void test_what_it_took_is_stored(void **state)
{
	struct fake b;

	(void)state;
	started();
	prepares(2);
	freezes();
	for (int i = 0; i < 2; i++) {
		fakes_expect(&workers[i], "heir 1");
		fakes_expect(&next_workers[i], "arrive 0");
	}
	b = fakes_accept();
	fakes_order(&next_workers[1], "write");
	fakes_expect(&next_workers[1], "written 5");
	kill(heir_pid(), SIGKILL);
	gone(2);
	close(b.fd);
	for (int i = 0; i < 2; i++)
		fakes_expect(&workers[i], "resume");
	bridge = fakes_accept();
	assert_int_equal(bridge.nstale, 1);
	assert_int_equal(bridge.predecessor, -1);
	assert_int_equal(segments(), 2);
	fakes_order(&bridge, "ready");
	fakes_order(&bridge, "stale 0");
	fakes_log("removed an older segment");
	assert_int_equal(segments(), 1);
	finish();
}

static void test_old_worker_dies_midway(void **state)
{
	(void)state;
	started();
	keep_all();
	prepares(2);
	freezes();
	fakes_expect(&workers[0], "heir 1");
	fakes_expect(&workers[1], "heir 1");
	fakes_order(&workers[0], "moved 3");
	kill(workers[1].pid, SIGKILL);
	fakes_expect(&workers[1], "end");
	for (int i = 0; i < 2; i++)
		fakes_expect(&next_workers[i], "arrive 0");
	takes_over(2); /* and nobody came in its place */
	fakes_expect(&workers[0], "stop 60000 restart");
	fakes_order(&workers[0], "exit 0");
	end_new_one(2);
	close(workers[0].fd);
	assert_int_equal(fakes_end(), 0);
}

/* It goes on alone. Its children hold the log: fakes_end() waits for them all. */
static void test_old_master_dies_midway(void **state)
{
	(void)state;
	started();
	keep_all();
	prepares(2);
	freezes();
	for (int i = 0; i < 2; i++)
		fakes_expect(&workers[i], "heir 1");
	kill(fakes_master, SIGKILL);
	for (int i = 0; i < 2; i++) {
		fakes_expect(&workers[i], "orphan");
		fakes_expect(&workers[i], "end");
		fakes_expect(&next_workers[i], "arrive 0");
	}
	fakes_log("the old program is gone: this one goes on alone");
	takes_over(2);
	fakes_log("serves: the old program is replaced");
	end_new_one(2);
	assert_int_equal(fakes_end(), 128 + SIGKILL);
	assert_int_equal(segments(), 1); /* nobody said that the old one is drained */
}

static int teardown(void **state)
{
	unsetenv("NOTIFY_SOCKET");
	return fakes_teardown(state);
}

#define WITH_FAKES(t) cmocka_unit_test_setup_teardown(t, fakes_setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		WITH_FAKES(test_takes_over),
		WITH_FAKES(test_other_numbers),
		WITH_FAKES(test_fewer),
		WITH_FAKES(test_new_one_dies_before),
		WITH_FAKES(test_new_one_dies_midway),
		WITH_FAKES(test_new_bridge_fails),
		WITH_FAKES(test_what_it_took_is_stored),
		WITH_FAKES(test_old_worker_dies_midway),
		WITH_FAKES(test_old_master_dies_midway),
	};
	int will = will_take();

	daemon_title_init(argc, argv);
	if (will >= 0)
		return fakes_heir(will);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
