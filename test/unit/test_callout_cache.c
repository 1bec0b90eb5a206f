#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "../../src/worker/callout_cache.h"

static void test_cache(void **state)
{
	struct callout_said yes = {.allow = true, .cache_s = 2},
			    no = {.status = 403, .cache_s = 60}, never = yes;
	struct callout_cache *cc = NULL;
	unsigned kept = 0;
	char q[32];

	(void)state;
	never.cache_s = 0;
	assert_null(callout_cache_find(cc, "a", 1000));
	callout_cache_keep(&cc, "a", &never, 1000);
	assert_null(cc);
	callout_cache_keep(&cc, "a", &yes, 1000);
	callout_cache_keep(&cc, "b", &no, 1000);
	assert_true(callout_cache_find(cc, "a", 2999)->allow);
	assert_null(callout_cache_find(cc, "a", 3000));
	assert_int_equal(callout_cache_find(cc, "b", 3000)->status, 403);
	assert_null(callout_cache_find(cc, "c", 1000));
	/* Bounded: many more than it has room for. */
	for (int i = 0; i < 20000; i++) {
		snprintf(q, sizeof(q), "question %d", i);
		callout_cache_keep(&cc, q, &no, 1000);
		assert_non_null(callout_cache_find(cc, q, 1000));
	}
	for (int i = 0; i < 20000; i++) {
		snprintf(q, sizeof(q), "question %d", i);
		kept += callout_cache_find(cc, q, 1000) != NULL;
	}
	assert_in_range(kept, 1000, 4096);
	callout_cache_free(cc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cache),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
