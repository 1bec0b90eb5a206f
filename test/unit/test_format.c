#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../src/ctl/format.h"

static void test_age(void **state)
{
	static const struct {
		uint64_t s;
		const char *text;
	} t[] = {{0, "0s"}, {59, "59s"}, {60, "1m00s"}, {3599, "59m59s"}, {3600, "1h00m"},
		{86399, "23h59m"}, {86400, "1d00h"}, {86400 * 99 + 82800, "99d23h"},
		{86400 * 100, "100d"}, {UINT64_MAX, "999999d"}};
	char out[FORMAT_AGE_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++)
		assert_string_equal(format_age(out, t[i].s), t[i].text);
}

static void test_count(void **state)
{
	static const struct {
		double n;
		const char *count, *bytes;
	} t[] = {{-1, "0", "0"}, {0, "0", "0"}, {0.04, "0", "0"}, {0.5, "0.5", "0.5"},
		{3, "3", "3"}, {9.94, "9.9", "9.9"}, {9.96, "10", "10"}, {1000, "1000", "1000"},
		{9999, "9999", "9999"}, {10000, "10.0k", "9.77K"}, {12345, "12.3k", "12.1K"},
		{999499, "999k", "976K"}, {999500, "1.00M", "976K"}, {1048576, "1.05M", "1.00M"},
		{9.99e6, "9.99M", "9.53M"}, {1e18, "1000P", "888P"}, {1e30, "99999P", "99999P"}};
	char out[FORMAT_COUNT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		assert_string_equal(format_count(out, t[i].n), t[i].count);
		assert_string_equal(format_bytes(out, t[i].n), t[i].bytes);
	}
	for (double n = 1; n < 1e17; n *= 1.01) {
		assert_true(strlen(format_count(out, n)) <= 5);
		assert_true(strlen(format_bytes(out, n)) <= 5);
	}
}

static void test_time(void **state)
{
	char when[FORMAT_TIME_MAX];

	(void)state;
	assert_string_equal(format_time(when, 0), "1970-01-01T00:00:00Z");
	assert_string_equal(format_time(when, 1764079199999), "2025-11-25T13:59:59Z");
	assert_string_equal(format_time(when, UINT64_MAX), "?");
}

static void test_cut(void **state)
{
	char out[8];

	(void)state;
	assert_string_equal(format_cut(out, sizeof(out), "abc", 3), "abc");
	assert_string_equal(format_cut(out, sizeof(out), "abcd", 3), "ab>");
	assert_string_equal(format_cut(out, sizeof(out), "abcdefghijk", 30), "abcdef>");
	assert_string_equal(format_cut(out, sizeof(out), "a\x1b[2J\x7f\xc3", 30), "a?[2J??");
	assert_string_equal(format_cut(out, sizeof(out), "abc", 0), "");
	assert_string_equal(format_cut(out, sizeof(out), "", 5), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_age),
		cmocka_unit_test(test_count),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
