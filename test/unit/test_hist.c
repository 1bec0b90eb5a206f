#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <wsgate/history.h>

static struct hist_view view_of(const struct hist *h)
{
	struct hist_view v = {{0}, 0};

	hist_sum(&v, h);
	return v;
}

static void test_buckets(void **state)
{
	static struct hist h;
	struct hist_view v;

	(void)state;
	memset(&h, 0, sizeof(h));
	hist_add(&h, 0, 1);
	hist_add(&h, hist_bounds[0], 1); /* a bound belongs to its bucket, as Prometheus' le does */
	hist_add(&h, hist_bounds[0] + 1, 1);
	hist_add(&h, hist_bounds[HIST_BUCKETS - 2], 1);
	hist_add(&h, hist_bounds[HIST_BUCKETS - 2] + UINT64_C(1), 2);
	v = view_of(&h);
	assert_int_equal(v.n[0], 2);
	assert_int_equal(v.n[1], 1);
	assert_int_equal(v.n[HIST_BUCKETS - 2], 1);
	assert_int_equal(v.n[HIST_BUCKETS - 1], 2);
	assert_int_equal(hist_count(&v), 6);
	assert_int_equal(
		v.sum_us, 2 * hist_bounds[0] + 1 + 3 * (uint64_t)hist_bounds[HIST_BUCKETS - 2] + 2);
	for (unsigned i = 1; i < HIST_BUCKETS - 1; i++)
		assert_true(hist_bounds[i] > hist_bounds[i - 1]);
	hist_sum(&v, &h);
	assert_int_equal(hist_count(&v), 12);
}

static void test_elapsed(void **state)
{
	(void)state;
	assert_int_equal(hist_elapsed(1000, 4999), 3);
	assert_int_equal(hist_elapsed(5000, 4000), 0); /* the other clock is ahead */
}

static void test_quantiles(void **state)
{
	static struct hist h;
	struct hist_view v;

	(void)state;
	memset(&h, 0, sizeof(h));
	v = view_of(&h);
	assert_true(hist_quantile(&v, 0.5) < 0);
	for (int i = 0; i < 90; i++)
		hist_add(&h, 200, 1);
	for (int i = 0; i < 10; i++)
		hist_add(&h, 900, 1);
	v = view_of(&h);
	assert_int_equal((int)hist_quantile(&v, 0.45), 175); /* the middle of 100 … 250 */
	assert_int_equal((int)hist_quantile(&v, 0.9), 250);
	assert_int_equal((int)hist_quantile(&v, 0.95), 750); /* 500 … 1000 */
	assert_int_equal((int)hist_quantile(&v, 1), 1000);
	hist_add(&h, UINT32_MAX, 1000);
	v = view_of(&h);
	assert_int_equal((int)hist_quantile(&v, 0.99), (int)hist_bounds[HIST_BUCKETS - 2]);
}

static void sample(struct history *h, uint64_t at_ms, uint64_t n)
{
	static struct hist_view before[STATS_HISTS];
	struct history_view now;

	memset(&now, 0, sizeof(now));
	now.at_ms = at_ms;
	now.connections = n;
	now.stored = n;
	now.hists[1].n[3] = before[1].n[3] + n;
	history_write(h, &now, before);
	memcpy(before, now.hists, sizeof(before));
}

static void test_history(void **state)
{
	static struct history h;
	static struct history_view v[HISTORY_N];

	(void)state;
	memset(&h, 0, sizeof(h));
	assert_int_equal(history_read(&h, v, HISTORY_N), 0);
	for (uint64_t i = 1; i <= HISTORY_N + 40; i++)
		sample(&h, i * HISTORY_MS, i);
	assert_int_equal(history_read(&h, v, HISTORY_N), HISTORY_N);
	for (uint64_t i = 0; i < HISTORY_N; i++) {
		assert_int_equal(v[i].at_ms, (41 + i) * HISTORY_MS);
		assert_int_equal(v[i].connections, 41 + i);
		assert_int_equal(v[i].stored, 41 + i);
		assert_int_equal(v[i].hists[1].n[3], 41 + i); /* since the one before */
	}
	assert_int_equal(history_read(&h, v, 3), 3); /* the latest */
	assert_int_equal(v[2].at_ms, (HISTORY_N + 40) * (uint64_t)HISTORY_MS);
	/* A writer that was killed in the middle of one. */
	stat_set(h.v[stat_get(h.written) % HISTORY_N].at_ms, 0);
	assert_int_equal(history_read(&h, v, HISTORY_N), HISTORY_N - 1);
}

/* Beside a writer nobody reads half of one sample and half of another. */
static void test_no_torn_sample(void **state)
{
	static struct history_view v[HISTORY_N];
	struct history *h =
		mmap(NULL, sizeof(*h), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	size_t seen = 0;
	pid_t pid;

	(void)state;
	assert_ptr_not_equal(h, MAP_FAILED);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		for (uint64_t i = 1;; i++)
			sample(h, i, i);
	while (seen < 20000) {
		size_t n = history_read(h, v, HISTORY_N);

		for (size_t i = 0; i < n; i++)
			assert_true(v[i].at_ms == v[i].connections && v[i].at_ms == v[i].stored);
		seen += n;
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	munmap(h, sizeof(*h));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buckets),
		cmocka_unit_test(test_elapsed),
		cmocka_unit_test(test_quantiles),
		cmocka_unit_test(test_history),
		cmocka_unit_test(test_no_torn_sample),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
