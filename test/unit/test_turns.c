/*
 * Turns of a loop: who goes on and on lets others have theirs; who has much to do does it once a
 * millisecond, and who has little, at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>
#include <event2/event.h>
#include <wsgate/clock.h>
#include <wsgate/turns.h>

#define NS_MS UINT64_C(1000000)
#define FROM 1000
#define ENOUGH 1000
#define MANY 1000000 /* in any time that a turn can take */

static struct event_base *base;
static struct pace pace;
static struct event *again, *readable;
static int ends[2], runs, read_at;

static int set_up(void **state)
{
	(void)state;
	base = turns_new();
	assert_non_null(base);
	pace_start(&pace, FROM);
	runs = 0;
	read_at = -1;
	return pipe(ends);
}

static int tear_down(void **state)
{
	(void)state;
	if (again)
		event_free(again);
	if (readable)
		event_free(readable);
	again = readable = NULL;
	event_base_free(base);
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	char c;

	(void)what;
	(void)arg;
	assert_int_equal(read((int)fd, &c, 1), 1);
	read_at = runs;
}

static void go_on(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	if (++runs == 1)
		assert_int_equal(write(ends[1], "x", 1), 1);
	if (runs < ENOUGH)
		event_active(again, EV_TIMEOUT, 0);
	else
		event_base_loopbreak(base);
}

static void test_no_event_keeps_the_loop(void **state)
{
	(void)state;
	again = event_new(base, -1, 0, go_on, NULL);
	readable = event_new(base, ends[0], EV_READ | EV_PERSIST, on_readable, NULL);
	assert_int_equal(event_add(readable, NULL), 0);
	event_active(again, EV_TIMEOUT, 0);
	assert_int_equal(turns_run(base, &pace), 0);
	assert_int_equal(runs, ENOUGH);
	assert_in_range(read_at, 1, 100);
}

static void next(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	pace_count(&pace, *(uint32_t *)arg);
	if (++runs < ENOUGH && read_at < 0)
		assert_int_equal(turns_next(again), 0);
	else if (read_at >= 0)
		event_base_loopexit(base, NULL);
	else
		event_base_loopbreak(base);
}

static void run_turns(uint32_t each)
{
	again = event_new(base, -1, 0, next, &each);
	assert_int_equal(turns_next(again), 0);
	assert_int_equal(turns_run(base, &pace), 0);
}

static void test_many_are_done_once_a_millisecond(void **state)
{
	uint64_t began = clock_ns(CLOCK_MONOTONIC);

	(void)state;
	pace.on = true;
	run_turns(MANY);
	assert_int_equal(runs, ENOUGH);
	assert_true(clock_ns(CLOCK_MONOTONIC) - began >= (ENOUGH - 1) * NS_MS);
	assert_true(pace_on(&pace));
}

/* Counted over ten milliseconds. */
static bool are_many(void)
{
	while (pace.since_ns + 10 * NS_MS > clock_ns(CLOCK_MONOTONIC))
		;
	pace_rest(&pace);
	return pace_on(&pace);
}

static void test_they_are_many_from_so_many_a_second_on(void **state)
{
	(void)state;
	pace_count(&pace, MANY);
	assert_true(are_many());
	assert_false(are_many());
}

static void test_a_rest_is_what_is_left_of_a_millisecond(void **state)
{
	uint64_t began;

	(void)state;
	pace.on = true;
	for (int i = 0; i < 5; i++) {
		began = pace.began_ns;
		pace_count(&pace, MANY);
		pace_rest(&pace);
		assert_true(clock_ns(CLOCK_MONOTONIC) >= began + NS_MS);
		assert_true(pace.began_ns >= began + NS_MS);
	}
	/* It took longer than that: no rest, and nothing to be caught up with. */
	pace.began_ns = clock_ns(CLOCK_MONOTONIC) - 5 * NS_MS;
	began = clock_ns(CLOCK_MONOTONIC);
	pace_rest(&pace);
	assert_in_range(pace.began_ns, began, clock_ns(CLOCK_MONOTONIC));
}

static void test_loopexit_ends_it(void **state)
{
	(void)state;
	read_at = 0;
	run_turns(1);
	assert_int_equal(runs, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_event_keeps_the_loop, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_many_are_done_once_a_millisecond, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_they_are_many_from_so_many_a_second_on, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_rest_is_what_is_left_of_a_millisecond, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_loopexit_ends_it, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
