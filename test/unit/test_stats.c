#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <signal.h>

#include <cmocka.h>

#include <wsgate/stats.h>

static struct stats_service rows[STATS_SERVICES + 1];
static uint32_t held[STATS_SERVICES + 1];

static int setup(void **state)
{
	(void)state;
	memset(rows, 0, sizeof(rows));
	memset(held, 0, sizeof(held));
	return 0;
}

static unsigned hold(const char *name)
{
	return stats_service_hold(rows, held, name, strlen(name));
}

static uint64_t sum_in(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i <= STATS_OTHER; i++)
		n += stat_get(rows[i].n.messages_in);
	return n;
}

static void test_rows_by_name(void **state)
{
	struct stats_service_view v;
	unsigned a = hold("chat"), b = hold("news");

	(void)state;
	assert_int_not_equal(a, b);
	assert_int_equal(hold("chat"), a);
	assert_int_equal(held[a], 2);
	stat_add(rows[a].n.messages_in, 3);
	assert_true(stats_service_read(rows, a, &v));
	assert_int_equal(v.len, 4);
	assert_memory_equal(v.name, "chat", 4);
	assert_int_equal(v.n.messages_in, 3);
	assert_false(stats_service_read(rows, 5, &v)); /* free */
	assert_false(stats_service_read(rows, STATS_OTHER + 1, &v));
	assert_true(stats_service_read(rows, STATS_OTHER, &v));
	assert_int_equal(v.len, 0);
}

static void fill(void)
{
	char name[16];

	for (unsigned i = 0; i < STATS_SERVICES; i++) {
		unsigned row;

		snprintf(name, sizeof(name), "s%u", i);
		row = hold(name);
		stat_add(rows[row].n.messages_in, 100 + i);
	}
}

static void test_full_table(void **state)
{
	(void)state;
	fill();
	assert_int_equal(hold("one more"), STATS_OTHER);
	assert_int_equal(hold("s5"), 5);
}

/* Names come from clients: those that nobody uses any more make room, and no sum gets lost. */
static void test_unused_makes_room(void **state)
{
	struct stats_service_view v;
	uint64_t before;

	(void)state;
	fill();
	before = sum_in();
	stats_service_drop(held, 9);
	stats_service_drop(held, 7);
	assert_int_equal(hold("new"), 7); /* the one with less traffic */
	assert_true(stats_service_read(rows, 7, &v));
	assert_memory_equal(v.name, "new", 3);
	assert_int_equal(v.n.messages_in, 0);
	assert_int_equal(stat_get(rows[STATS_OTHER].n.messages_in), 107);
	assert_int_equal(sum_in(), before);
	assert_int_equal(hold("s9"), 9); /* still there, with its sum */
	assert_int_equal(stat_get(rows[9].n.messages_in), 109);
	assert_int_equal(hold("s7"), STATS_OTHER);
}

/* What a killed process leaves: sums stay, gauges begin anew, a row in the middle of a change is
 * freed. */
static void test_successor(void **state)
{
	struct stats_service_view v;
	unsigned a = hold("chat"), b = hold("news");
	uint64_t before;

	(void)state;
	stat_add(rows[a].n.messages_in, 5);
	stat_add(rows[a].n.connections, 2);
	stat_add(rows[a].n.unconfirmed, 2);
	stat_add(rows[b].n.messages_in, 6);
	rows[b].version |= 1;
	assert_false(stats_service_read(rows, b, &v));
	before = sum_in();
	stats_services_start(rows);
	memset(held, 0, sizeof(held));
	assert_int_equal(sum_in(), before);
	assert_true(stats_service_read(rows, a, &v));
	assert_int_equal(v.n.messages_in, 5);
	assert_int_equal(v.n.connections, 0);
	assert_int_equal(v.n.unconfirmed, 0);
	assert_false(stats_service_read(rows, b, &v));
	assert_int_equal(hold("chat"), a);
	assert_int_equal(hold("news"), b);
}

/* A reader beside a writer never has a service's name with another's sum. */
static void test_no_torn_row(void **state)
{
	struct stats_service *shared =
		mmap(NULL, sizeof(rows), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct stats_service_view v;
	unsigned seen = 0;
	pid_t pid;

	(void)state;
	assert_ptr_not_equal(shared, MAP_FAILED);
	for (unsigned i = 1; i < STATS_SERVICES; i++) {
		shared[i].len = 1;
		held[i] = 1;
	}
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		for (uint64_t g = 1;; g++) {
			char name[TOKEN_MAX];
			size_t len = 1 + g % TOKEN_MAX;
			unsigned i;

			memset(name, 'a' + (int)(g % 26), len);
			i = stats_service_hold(shared, held, name, len);
			for (int k = 0; k < 50; k++)
				stat_set(shared[i].n.bytes_in, len);
			stats_service_drop(held, i);
		}
	}
	while (seen < 20000) {
		if (!stats_service_read(shared, 0, &v))
			continue;
		seen++;
		assert_true(v.n.bytes_in == 0 || v.n.bytes_in == v.len);
		for (size_t i = 1; i < v.len; i++)
			assert_int_equal(v.name[i], v.name[0]);
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	munmap(shared, sizeof(rows));
}

static void test_codes(void **state)
{
	(void)state;
	assert_int_equal(stats_statuses[stats_status_index(403)], 403);
	assert_int_equal(stats_statuses[stats_status_index(503)], 503);
	assert_int_equal(stats_status_index(499), STATS_STATUSES - 1);
	assert_int_equal(stats_codes[stats_code_index(1006)], 1006);
	assert_int_equal(stats_code_index(4999), STATS_CODES - 1);
	assert_int_equal(stats_code_index(0), STATS_CODES - 1);
}

static void test_tables(void **state)
{
	static struct worker_stats w;
	static struct bridge_stats b;

	(void)state;
	stat_set(w.unconfirmed, 7);
	stat_set(b.starts, 8);
	assert_string_equal(stats_worker[STATS_WORKER_N - 1].field, "unconfirmed");
	assert_int_equal(stats_value(&w, &stats_worker[STATS_WORKER_N - 1]), 7);
	assert_int_equal(stats_value(&b, &stats_bridge[0]), 8);
	for (size_t i = 0; i < STATS_BRIDGE_N; i++)
		assert_true(strlen(stats_bridge[i].metric) > 0 && strlen(stats_bridge[i].help) > 0);
}

static void test_rates(void **state)
{
	static struct worker_stats w;
	static struct stats_samples s;
	struct stats_rates r;

	(void)state;
	assert_int_equal((int)stats_rates(&s, &w, 1000).messages_in, 0);
	stats_sample(&s, &w, 1000);
	stat_add(w.messages_in, 100);
	stat_add(w.bytes_out, 5000);
	r = stats_rates(&s, &w, 1500); /* the first second has one sample */
	assert_int_equal((int)r.messages_in, 200);
	assert_int_equal((int)r.bytes_out, 10000);
	stats_sample(&s, &w, 2000);
	stats_sample(&s, &w, 3000);
	stat_add(w.messages_in, 300);
	assert_int_equal((int)stats_rates(&s, &w, 3500).messages_in, 200); /* since 2000 */
	assert_int_equal((int)stats_rates(&s, &w, 2000).messages_in, 0);   /* a clock that stands */
	assert_int_equal(stats_sampled_ms(&s), 3000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_rows_by_name, setup),
		cmocka_unit_test_setup(test_full_table, setup),
		cmocka_unit_test_setup(test_unused_makes_room, setup),
		cmocka_unit_test_setup(test_successor, setup),
		cmocka_unit_test_setup(test_no_torn_row, setup),
		cmocka_unit_test(test_codes),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_rates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
