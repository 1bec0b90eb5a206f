#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "../../src/broker/headers.h"

#define STAMP(text) headers_stamp(text, strlen(text))

static void test_stamp(void **state)
{
	(void)state;
	assert_true(STAMP("1970-01-01T00:00:00Z") == 0);
	assert_true(STAMP("1970-01-01T00:00:01.5Z") == 1500000000);
	assert_true(STAMP("2026-11-28T10:59:34.518016806Z") == 1795863574518016806);
	assert_true(STAMP("2026-11-28T10:59:34.000000001Z") == 1795863574000000001);
	assert_true(STAMP("nonsense") == 0);
	assert_true(STAMP("") == 0);
	assert_true(STAMP("2026-13-28T10:59:34Z") == 0);
	assert_true(STAMP("2026-11-28T10:59:34") == 0);
	assert_true(STAMP("2026-11-28T10:59:34+01:00") == 0);
}

/* Every day for two centuries, leap days and the year without one. */
static void test_calendar(void **state)
{
	char text[48];
	struct tm tm;

	(void)state;
	for (time_t t = 3600 * 7 + 61; t < (time_t)86400 * 366 * 200; t += 86400) {
		gmtime_r(&t, &tm);
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
		assert_int_equal(STAMP(text) / 1000000000, t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stamp),
		cmocka_unit_test(test_calendar),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
