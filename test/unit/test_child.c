#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <event2/event.h>

#include "../../src/master/brief.h"
#include "fakes.h"

static struct fake bridge, workers[2];
static _Atomic long *clock_skew_ms; /* shared with the master; a little more with each look at it */

int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
	int r = __real_clock_gettime(clock, ts);

	if (clock_skew_ms && *clock_skew_ms && clock == CLOCK_MONOTONIC) {
		long ms = (*clock_skew_ms)++;

		ts->tv_sec += ms / 1000;
		ts->tv_nsec += ms % 1000 * 1000000;
		if (ts->tv_nsec >= 1000000000) {
			ts->tv_sec++;
			ts->tv_nsec -= 1000000000;
		}
	}
	return r;
}

static void started(void)
{
	fakes_start();
	fakes_accept_all(&bridge, workers);
	/* The order in which the kernel ran them is not told: generations are up one by one. */
	fakes_expect(&bridge, "up 0 1");
	fakes_expect(&bridge, "up 1 1");
}

/* Files of runtime_dir whose names begin with "segment". */
static unsigned segments(void)
{
	unsigned n = 0;
	struct dirent *e;
	DIR *d = opendir(fakes_config.runtime_dir);

	assert_non_null(d);
	while ((e = readdir(d)))
		n += strncmp(e->d_name, "segment", 7) == 0;
	closedir(d);
	return n;
}

static void stop_all(void)
{
	kill(fakes_master, SIGTERM);
	for (int i = 0; i < 2; i++) {
		fakes_expect(&workers[i], "stop 60000");
		fakes_order(&workers[i], "exit 0");
		fakes_expect(&workers[i], "end");
	}
}

static void test_start_and_stop(void **state)
{
	char text[32] = "";
	FILE *f;

	(void)state;
	started();
	f = fopen(fakes_config.pidfile, "r");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	assert_int_equal(atoi(text), fakes_master);
	assert_int_equal(segments(), 2); /* the file and the link to it */
	fakes_order(&workers[0], "descriptors");
	fakes_expect(&workers[0], "extra -1");
	fakes_order(&bridge, "descriptors");
	fakes_expect(&bridge, "extra -1");
	stop_all();
	/* Both deaths come before the word to stop: workers end first. */
	fakes_expect_both(&bridge, "down 0 1", "down 1 1");
	assert_int_equal(recv(bridge.fd, text, 5, 0), 5);
	assert_memory_equal(text, "stop ", 5);
	fakes_order(&bridge, "exit 0");
	fakes_expect(&bridge, "end");
	assert_int_equal(fakes_end(), 0);
	assert_int_equal(access(fakes_config.pidfile, F_OK), -1);
	assert_int_equal(segments(), 0);
}

static void finish(void)
{
	kill(fakes_master, SIGQUIT);
	assert_int_equal(fakes_end(), 0);
	close(bridge.fd);
	close(workers[0].fd);
	close(workers[1].fd);
}

static void test_worker_comes_back(void **state)
{
	struct fake next;

	(void)state;
	started();
	fakes_order(&workers[0], "ring");
	fakes_expect(&workers[0], "rang 0");
	kill(workers[0].pid, SIGKILL);
	fakes_expect(&workers[0], "end");
	fakes_log("name=KILL core=no");
	next = fakes_accept();
	assert_false(next.bridge);
	assert_int_equal(next.slot, 0);
	assert_int_equal(next.generation, 2);
	fakes_expect(&bridge, "down 0 1");
	fakes_expect(&bridge, "up 0 2");
	/* the same pair of bells as before, and what was in it */
	fakes_order(&next, "ring");
	fakes_expect(&next, "rang 0");
	for (int i = 0; i < 2; i++) {
		fakes_order(&bridge, "heard 0");
		fakes_expect(&bridge, "heard 8");
	}
	workers[0] = next;
	finish();
}

static void die(struct fake *w, uint64_t generation)
{
	fakes_order(w, "exit 1");
	fakes_expect(w, "end");
	fakes_expect(&bridge, "down 0 %llu", (unsigned long long)generation);
}

/* Two rings per slot: the third worker waits until the first one's is empty. */
static void test_third_waits_for_drained(void **state)
{
	(void)state;
	started();
	die(&workers[0], 1);
	fakes_expect(&bridge, "up 0 2");
	workers[0] = fakes_accept();
	die(&workers[0], 2);
	fakes_log("waits until the messages of a dead one are stored");
	assert_false(fakes_called());
	fakes_order(&bridge, "drained 0 2"); /* not the one that matters */
	fakes_order(&bridge, "ping");
	fakes_expect(&bridge, "pong");
	fakes_log("received peer=bridge type=DRAINED");
	assert_false(fakes_called());
	fakes_order(&bridge, "drained 0 1");
	workers[0] = fakes_accept();
	assert_int_equal(workers[0].generation, 3);
	fakes_expect(&bridge, "up 0 3");
	/* 2 is drained already: 4 need not wait */
	die(&workers[0], 3);
	workers[0] = fakes_accept();
	assert_int_equal(workers[0].generation, 4);
	finish();
}

static void test_new_bridge_hears_again(void **state)
{
	struct fake next;

	(void)state;
	started();
	die(&workers[0], 1);
	fakes_expect(&bridge, "up 0 2");
	workers[0] = fakes_accept();
	die(&workers[0], 2);
	fakes_log("waits until the messages of a dead one are stored");
	kill(bridge.pid, SIGKILL);
	fakes_expect(&bridge, "end");
	next = fakes_accept();
	assert_true(next.bridge);
	assert_string_equal(next.generations, "0,1");
	/* nothing before it is ready */
	kill(workers[1].pid, SIGKILL);
	fakes_expect(&workers[1], "end");
	workers[1] = fakes_accept();
	assert_int_equal(workers[1].generation, 2);
	bridge = next;
	fakes_order(&bridge, "ping");
	fakes_expect(&bridge, "pong");
	fakes_order(&bridge, "ready");
	fakes_expect(&bridge, "down 0 1");
	fakes_expect(&bridge, "down 0 2");
	fakes_expect(&bridge, "down 1 1");
	fakes_expect(&bridge, "up 1 2");
	fakes_order(&bridge, "drained 0 1");
	workers[0] = fakes_accept();
	assert_int_equal(workers[0].generation, 3);
	fakes_expect(&bridge, "up 0 3");
	finish();
}

static void test_fatal(void **state)
{
	(void)state;
	started();
	fakes_order(&workers[1], "stubborn");
	fakes_order(&workers[1], "ping");
	fakes_expect(&workers[1], "pong");
	fakes_order(&bridge, "fatal the stream has no republish: add it");
	fakes_expect(&workers[0], "stop 0");
	fakes_expect(&workers[1], "stop 0");
	fakes_expect(&workers[0], "end");
	fakes_expect(&workers[1], "end"); /* killed when the moment is over */
	fakes_log("does not end in time: killed child=\"worker 1\"");
	assert_int_equal(fakes_end(), 2);
	fakes_log("bridge: the stream has no republish: add it");
	close(bridge.fd);
	assert_int_equal(segments(), 0);
	assert_int_equal(access(fakes_config.pidfile, F_OK), -1);
}

static void test_start_fails_after_three(void **state)
{
	(void)state;
	fakes_start();
	for (int i = 0; i < 3; i++) {
		struct fake f = fakes_accept();

		*(f.bridge ? &bridge : &workers[f.slot]) = f;
	}
	fakes_order(&bridge, "ready");
	fakes_order(&workers[1], "ready");
	fakes_expect(&bridge, "up 0 1");
	fakes_expect(&bridge, "up 1 1");
	die(&workers[0], 1);
	workers[0] = fakes_accept();
	fakes_expect(&bridge, "up 0 2");
	fakes_order(&bridge, "drained 0 1");
	die(&workers[0], 2);
	workers[0] = fakes_accept();
	assert_int_equal(workers[0].generation, 3);
	fakes_order(&workers[0], "exit 1");
	assert_int_equal(fakes_end(), 2);
	fakes_log("worker 0 ended 3 times before it was ready");
	close(bridge.fd);
	close(workers[0].fd);
	close(workers[1].fd);
}

static void test_hanging_child_is_killed(void **state)
{
	struct fake next;

	(void)state;
	fakes_config.hang_timeout = 1000;
	started();
	fakes_order(&workers[1], "hang");
	fakes_expect(&workers[1], "end");
	fakes_log("hangs: killed child=\"worker 1\"");
	next = fakes_accept();
	assert_int_equal(next.slot, 1);
	assert_int_equal(next.generation, 2);
	/* the others beat, and live */
	fakes_order(&workers[0], "ping");
	fakes_expect(&workers[0], "pong");
	workers[1] = next;
	finish();
}

/* As after SIGSTOP, or where the machine stood still. */
static void test_stalled_master_kills_nobody(void **state)
{
	(void)state;
	fakes_config.hang_timeout = 5000;
	started();
	*clock_skew_ms = 60000;
	die(&workers[0], 1); /* it looks at all */
	workers[0] = fakes_accept();
	assert_int_equal(workers[0].generation, 2);
	fakes_expect(&bridge, "up 0 2");
	fakes_order(&workers[1], "ping");
	fakes_expect(&workers[1], "pong");
	finish();
}

/* Whoever loses the master ends by itself; the next master finds what they left. */
static void test_orphans_and_stale_segment(void **state)
{
	char name[160];
	FILE *f;

	(void)state;
	started();
	kill(fakes_master, SIGKILL);
	fakes_expect(&bridge, "orphan");
	fakes_expect(&bridge, "end");
	for (int i = 0; i < 2; i++) {
		fakes_expect(&workers[i], "orphan");
		fakes_expect(&workers[i], "end");
	}
	assert_int_equal(fakes_end(), 128 + SIGKILL);
	assert_int_equal(segments(), 2);
	snprintf(name, sizeof(name), "%s/segment.rubbish", fakes_config.runtime_dir);
	f = fopen(name, "w");
	assert_non_null(f);
	fputs("this is no segment", f);
	fclose(f);
	started();
	fakes_log("left alone");
	fakes_log("segment.rubbish");
	assert_int_equal(bridge.nstale, 1);
	assert_int_equal(segments(), 4);
	fakes_order(&bridge, "descriptors");
	fakes_expect(&bridge, "extra -1");
	fakes_order(&bridge, "stale 0");
	fakes_log("removed an older segment");
	assert_int_equal(segments(), 3);
	finish();
	assert_int_equal(segments(), 1);
	assert_int_equal(access(name, F_OK), 0);
}

/* What is in a ring and not stored survives every way to stop; the next start hands it to its
 * bridge. */
static void test_full_ring_stays(void **state)
{
	(void)state;
	for (int round = 0; round < 2; round++) {
		started();
		assert_int_equal(bridge.nstale, round);
		fakes_order(&workers[round], "write");
		fakes_expect(&workers[round], "written 5");
		finish();
		fakes_log("messages of clients are not stored yet");
		assert_int_equal(segments(), round + 1); /* and no link */
	}
	started();
	assert_int_equal(bridge.nstale, 2);
	fakes_order(&bridge, "stale 1");
	fakes_log("removed an older segment");
	assert_int_equal(segments(), 3);
	/* a new bridge is given the one that is left */
	kill(bridge.pid, SIGKILL);
	fakes_expect(&bridge, "end");
	bridge = fakes_accept();
	assert_int_equal(bridge.nstale, 1);
	fakes_forget_log();
	fakes_order(&bridge, "stale 0");
	fakes_log("removed an older segment");
	finish();
	assert_int_equal(segments(), 0);
}

static void test_sizes(void **state)
{
	static const uint64_t messages[] = {1, 1024, 1 << 19, 1 << 20, (1 << 20) + 1, 64 << 20};
	struct config c = {.max_workers = 4, .max_connections = 1000};
	struct shm_sizes s;

	(void)state;
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		c.max_message = messages[i];
		segment_sizes(&c, 3, &s);
		assert_true(ring_max_record(s.up_size) >= messages[i] + 1024);
		assert_true(ring_max_record(s.down_size) >= messages[i] + 1024);
		assert_true(s.up_size >= 1 << 20 && s.down_size >= 4 << 20);
		assert_int_equal(s.up_size & (s.up_size - 1), 0);
		assert_int_equal(s.down_size & (s.down_size - 1), 0);
		assert_int_equal(s.max_workers, 4);
		assert_true(3 * s.routes >= 1250 + 3 * 256);
	}
}

static void test_second_instance_is_refused(void **state)
{
	pid_t first;

	(void)state;
	started();
	first = fakes_master;
	fakes_start();
	assert_int_equal(fakes_end(), 2);
	fakes_log("wsgated runs already");
	fakes_master = first;
	/* which left the first one alone */
	fakes_order(&workers[0], "ping");
	fakes_expect(&workers[0], "pong");
	assert_int_equal(access(fakes_config.pidfile, F_OK), 0);
	finish();
}

static void test_second_term_hurries(void **state)
{
	(void)state;
	started();
	kill(fakes_master, SIGTERM);
	fakes_expect(&workers[0], "stop 60000");
	fakes_expect(&workers[1], "stop 60000");
	fakes_order(&workers[0], "stubborn");
	fakes_order(&workers[0], "ping");
	fakes_expect(&workers[0], "pong");
	kill(fakes_master, SIGINT);
	fakes_expect(&workers[0], "stop 0");
	fakes_expect(&workers[1], "stop 0");
	fakes_expect(&workers[0], "end"); /* does not obey: SIGKILL */
	fakes_expect(&workers[1], "end");
	fakes_expect(&bridge, "down 1 1");
	fakes_expect(&bridge, "down 0 1");
	fakes_expect(&bridge, "stop 0");
	fakes_expect(&bridge, "end");
	assert_int_equal(fakes_end(), 0);
}

/* No worker comes back while stopping; a bridge does, for those who have not ended yet. */
static void test_deaths_while_stopping(void **state)
{
	(void)state;
	started();
	kill(fakes_master, SIGTERM);
	fakes_expect(&workers[0], "stop 60000");
	fakes_expect(&workers[1], "stop 60000");
	kill(workers[0].pid, SIGKILL);
	fakes_expect(&workers[0], "end");
	kill(bridge.pid, SIGKILL);
	fakes_expect_after(&bridge, "down", "end");
	bridge = fakes_accept();
	assert_true(bridge.bridge);
	fakes_order(&bridge, "ready");
	fakes_expect(&bridge, "down 0 1");
	fakes_order(&workers[1], "exit 0");
	fakes_expect(&workers[1], "end");
	fakes_log("send peer=bridge type=STOP");
	fakes_order(&bridge, "exit 0");
	assert_int_equal(fakes_end(), 0);
	assert_false(fakes_called());
}

/* A terminal sends its signals to the whole group: children leave them to the master. */
static void test_signals_of_children(void **state)
{
	static const int sigs[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE};

	(void)state;
	started();
	for (size_t i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++) {
		kill(workers[0].pid, sigs[i]);
		kill(bridge.pid, sigs[i]);
	}
	fakes_order(&workers[0], "ping");
	fakes_expect(&workers[0], "pong");
	fakes_order(&bridge, "ping");
	fakes_expect(&bridge, "pong");
	kill(fakes_master, SIGHUP);
	fakes_log("the new configuration was refused: nothing has changed");
	kill(fakes_master, SIGUSR2);
	fakes_log("the program is not replaced why=\"its path is not known\"");
	kill(fakes_master, SIGUSR1);
	fakes_log("log file opened again");
	stop_all();
	finish();
}

static void test_reload(void **state)
{
	struct fake w;

	(void)state;
	started();
	fakes_configure("ping_interval = many\n");
	fakes_log("conf:1: ping_interval: \\\"many\\\" is no time");
	fakes_configure("ping_interval = 5s\nsubject_prefix = \"other\"\n");
	fakes_log("this key needs a restart: the old value stays until then key=subject_prefix");
	fakes_expect(&bridge, "config 1");
	fakes_expect(&workers[0], "config 1");
	fakes_expect(&workers[1], "config 1");
	fakes_log("reloaded changed=1 need_restart=1");
	/* One that dies in between is not waited for: its successor has it from its birth. */
	fakes_order(&workers[1], "mute");
	fakes_expect(&workers[1], "mute");
	fakes_configure("ping_interval = 6s\n");
	fakes_expect(&bridge, "config 2");
	fakes_expect(&workers[0], "config 2");
	fakes_expect(&workers[1], "config 2");
	fakes_forget_log();
	kill(workers[1].pid, SIGKILL);
	fakes_expect(&workers[1], "end");
	fakes_log("reloaded changed=1 need_restart=0");
	fakes_expect(&bridge, "down 1 1");
	fakes_expect(&bridge, "up 1 2");
	w = fakes_accept();
	assert_int_equal(w.slot, 1);
	fakes_order(&w, "ready");
	fakes_order(&w, "descriptors");
	fakes_expect(&w, "extra -1");
	workers[1] = w;
	stop_all();
	finish();
}

/* A bridge that does not read: nothing blocks, nothing is lost, the order stays. */
static void test_deaf_bridge(void **state)
{
	static const struct chan_handler none[] = {{0, 0, NULL}};
	struct family *f = calloc(1, sizeof(*f));
	struct event_base *base = event_base_new();
	unsigned rounds = 0, n = 0;
	int fds[2], small = 1;
	bool told;

	(void)state;
	assert_non_null(f);
	assert_non_null(base);
	assert_int_equal(chan_pair(fds), 0);
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	f->bridge.chan = chan_new(base, fds[0], "bridge", none, NULL, NULL);
	f->bridge.ready = true;
	f->nslots = 64;
	for (unsigned i = 0; i < f->nslots; i++) {
		child_init(&f->workers[i], f, CHILD_WORKER, i);
		f->workers[i].generation = 2; /* up 1, down 1, up 2, down 2 */
		f->workers[i].introduced = true;
	}
	do {
		struct {
			struct proto_header head;
			struct proto_slot slot;
		} m;

		told = brief_tell(f);
		rounds++;
		while (recv(fds[1], &m, sizeof(m), MSG_DONTWAIT) == (ssize_t)sizeof(m)) {
			assert_int_equal(m.slot.slot, n / 4);
			assert_int_equal(m.slot.generation, n % 4 / 2 + 1);
			assert_int_equal(m.head.type, n % 2 ? PROTO_WORKER_DOWN : PROTO_WORKER_UP);
			n++;
		}
	} while (!told);
	assert_true(rounds > 1);
	assert_int_equal(n, 4 * f->nslots);
	chan_free(f->bridge.chan);
	close(fds[1]);
	event_base_free(base);
	free(f);
}

#define WITH_FAKES(t) cmocka_unit_test_setup_teardown(t, fakes_setup, fakes_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FAKES(test_start_and_stop),
		WITH_FAKES(test_worker_comes_back),
		WITH_FAKES(test_third_waits_for_drained),
		WITH_FAKES(test_new_bridge_hears_again),
		WITH_FAKES(test_fatal),
		WITH_FAKES(test_start_fails_after_three),
		WITH_FAKES(test_hanging_child_is_killed),
		WITH_FAKES(test_stalled_master_kills_nobody),
		WITH_FAKES(test_orphans_and_stale_segment),
		WITH_FAKES(test_second_instance_is_refused),
		WITH_FAKES(test_second_term_hurries),
		WITH_FAKES(test_deaths_while_stopping),
		WITH_FAKES(test_signals_of_children),
		WITH_FAKES(test_reload),
		WITH_FAKES(test_full_ring_stays),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_deaf_bridge),
	};

	clock_skew_ms = mmap(NULL, sizeof(*clock_skew_ms), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return clock_skew_ms == MAP_FAILED ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
