/*
 * test_source: who waits for room in an up ring is told when there is some.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include <event2/event.h>

#include <wsgate/clock.h>

#include "../../src/bridge/bridge.h"

static struct bridge b;
static struct shm_slot words;
static uint8_t data[65536];

static void worker_asks(void)
{
	static const char question[] = "{}";
	struct up_record *r;
	struct ring up;

	ring_init(&words.up[0]);
	ring_attach_writer(&up, &words.up[0], data, sizeof(data));
	r = ring_reserve(&up, UP_ASK, sizeof(*r) + 2 + 2);
	assert_non_null(r);
	*r = (struct up_record){.stamp = clock_ns(CLOCK_MONOTONIC),
		.index = UP_NOBODY,
		.len = 2,
		.service_len = 1,
		.user_len = 1};
	memcpy(r + 1, "s-", 2);
	memcpy((char *)(r + 1) + 2, question, 2);
	ring_commit(&up);
	atomic_store(&words.want_space, 1);
	bell_sleep(&words.bell);
}

static void room_behind_questions(void **state)
{
	static const struct chan_handler none[] = {{0, 0, NULL}};
	struct up_source *src = &b.slots[0].up[0];
	struct event_base *base = event_base_new();
	int fds[2];

	(void)state;
	assert_non_null(base);
	assert_int_equal(chan_pair(fds), 0);
	worker_asks();
	b.slots[0].b = &b;
	b.slots[0].words = &words;
	b.slots[0].bell = chan_new(base, fds[0], "worker", none, NULL, NULL);
	assert_non_null(b.slots[0].bell);
	src->b = &b;
	src->stale = -1;
	ring_attach_reader(&src->ring, &words.up[0], data, sizeof(data));
	sources_read(&b, &src, 1, clock_ns(CLOCK_MONOTONIC));
	assert_int_equal(ring_used(&words.up[0]), 0);
	assert_int_equal(b.slots[0].rung, atomic_load(&words.bell.word));
	chan_free(b.slots[0].bell);
	close(fds[1]);
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(room_behind_questions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
