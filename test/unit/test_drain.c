/*
 * test_drain: connections are closed, spread over a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <event2/event.h>

#include "../../src/worker/worker.h"

#define N 10
#define HOUR_MS 3600000

static uint64_t clock_now_ms;
static unsigned closed;

uint64_t __wrap_worker_clock(void);
uint64_t __wrap_worker_clock(void)
{
	return clock_now_ms;
}

bool __wrap_session_close(struct conn *c, uint16_t code, const char *reason);
bool __wrap_session_close(struct conn *c, uint16_t code, const char *reason)
{
	(void)code;
	(void)reason;
	c->state = CONN_CLOSING;
	closed++;
	return true;
}

/* A machine that started a minute ago: its clock is less than what this worker is ahead of others.
 */
static void soon_after_the_machine_started(void **state)
{
	static struct shm_slot slot;
	static struct conn conns[N];
	static struct worker w;
	struct heritage h = {.slot = 1, .nslots = 2};
	struct proto_drain d = {.begin_ms = 1, .close_ms = 1, .even = 1};

	(void)state;
	w.slot = &slot;
	w.h = &h;
	w.nconns = N;
	w.base = event_base_new();
	assert_non_null(w.base);
	for (unsigned i = 0; i < N; i++) {
		conns[i] = (struct conn){.w = &w, .state = CONN_OPEN, .next = w.conns};
		w.conns = &conns[i];
	}
	clock_now_ms = w.now_ms = 60000;
	d.end_ms = clock_now_ms + HOUR_MS;
	drain_set(&w, &d);
	clock_now_ms += HOUR_MS / 4;
	event_base_loop(w.base, EVLOOP_ONCE);
	assert_in_range(closed, 2, N - 2);
	event_free(w.drain_timer);
	event_base_free(w.base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(soon_after_the_machine_started),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
