#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <wsgate/crowd.h>

static struct crowd new_crowd(uint32_t routes)
{
	struct crowd c = {.size = crowd_size_for(routes), .secret = UINT64_C(0x123456789abcdef1)};

	c.entries = calloc(c.size, sizeof(*c.entries));
	assert_non_null(c.entries);
	return c;
}

static void test_keys(void **state)
{
	uint8_t v4[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1}, other[16];
	uint8_t v6[16] = {0x20, 1, 0xd, 0xb8, 0, 1, 0, 2, 3}, loopback[16] = {[15] = 1};

	(void)state;
	memcpy(other, v4, 16);
	other[15] = 2;
	assert_true(crowd_key(v4) != crowd_key(other));
	memcpy(other, v6, 16);
	other[15] = 9; /* within the same /64 */
	assert_true(crowd_key(v6) == crowd_key(other));
	other[7] = 3;
	assert_true(crowd_key(v6) != crowd_key(other));
	assert_true(crowd_key(loopback) != 0);
}

static void test_sizes(void **state)
{
	(void)state;
	assert_int_equal(crowd_size_for(1), CROWD_WINDOW);
	assert_int_equal(crowd_size_for(100), 256);
	assert_int_equal(crowd_size_for(125256), 262144);
	assert_true(crowd_size_for(UINT32_MAX) == UINT32_C(1) << 31);
}

static void test_counts(void **state)
{
	struct crowd c = new_crowd(100);

	(void)state;
	assert_int_equal(crowd_count(&c, 7), 0);
	crowd_leave(&c, 7);
	for (int i = 0; i < 5; i++)
		assert_true(crowd_enter(&c, 7));
	assert_true(crowd_enter(&c, 8));
	assert_int_equal(crowd_count(&c, 7), 5);
	assert_int_equal(crowd_count(&c, 8), 1);
	crowd_leave(&c, 7);
	assert_int_equal(crowd_count(&c, 7), 4);
	crowd_clear(&c);
	assert_int_equal(crowd_count(&c, 7) + crowd_count(&c, 8), 0);
	free(c.entries);
}

/* Twenty times as many addresses as there are entries come and go: places are used again. */
static void test_churn(void **state)
{
	struct crowd c = new_crowd(1000);
	unsigned lost = 0;

	(void)state;
	for (uint64_t i = 1; i < 40 * 1000; i++) {
		lost += !crowd_enter(&c, i * 977);
		if (i > 1000)
			crowd_leave(&c, (i - 1000) * 977);
	}
	assert_int_equal(lost, 0);
	for (uint64_t i = 39 * 1000; i < 40 * 1000; i++)
		assert_int_equal(crowd_count(&c, i * 977), 1);
	assert_int_equal(crowd_count(&c, 977), 0);
	free(c.entries);
}

static void test_no_place(void **state)
{
	struct crowd c = new_crowd(1);
	uint64_t n = 0;

	(void)state;
	while (crowd_enter(&c, n + 1))
		n++;
	assert_int_equal(n, CROWD_WINDOW);
	crowd_leave(&c, 3);
	assert_true(crowd_enter(&c, 1000));
	assert_int_equal(crowd_count(&c, 1000), 1);
	free(c.entries);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_many(void **state)
{
	struct crowd c = new_crowd(125256);
	double start = seconds();
	unsigned lost = 0;

	(void)state;
	for (uint64_t i = 1; i <= 100000; i++)
		lost += !crowd_enter(&c, UINT64_C(0x0000ffff0a000000) + i);
	for (uint64_t i = 1; i <= 100000; i++)
		assert_int_equal(crowd_count(&c, UINT64_C(0x0000ffff0a000000) + i), 1);
	assert_int_equal(lost, 0);
	print_message("100,000 addresses entered and looked up: %.0f ns each, %u MiB\n",
		(seconds() - start) / 200000 * 1e9, c.size / 65536);
	free(c.entries);
}

struct reader {
	const struct crowd *c;
	_Atomic int over;
	unsigned wrong;
};

static void *read_on(void *arg)
{
	struct reader *r = arg;

	while (!r->over)
		r->wrong += crowd_count(r->c, 5) > 1;
	return NULL;
}

/* Entries change their address under a reader: it never gets another's count. */
static void test_reader(void **state)
{
	struct crowd c = new_crowd(1);
	struct reader r = {.c = &c};
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, read_on, &r), 0);
	for (int round = 0; round < 20000; round++) {
		crowd_enter(&c, 5);
		crowd_leave(&c, 5);
		for (uint64_t k = 6; k < 6 + CROWD_WINDOW; k++) {
			crowd_enter(&c, k);
			crowd_enter(&c, k);
		}
		for (uint64_t k = 6; k < 6 + CROWD_WINDOW; k++) {
			crowd_leave(&c, k);
			crowd_leave(&c, k);
		}
	}
	r.over = 1;
	pthread_join(t, NULL);
	assert_int_equal(r.wrong, 0);
	free(c.entries);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_churn),
		cmocka_unit_test(test_no_place),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_reader),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
