/*
 * test_accept: a handshake's answer, and what others see at that moment.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../../src/worker/worker.h"

static struct shm_slot slot;
static uint64_t open_then, opened_then;
static char answer[64];

/* The client has it: from here on it may ask the operator's side. False, as if it were gone. */
bool __wrap_conn_send(struct conn *c, const void *data, size_t len);
bool __wrap_conn_send(struct conn *c, const void *data, size_t len)
{
	(void)c;
	assert_in_range(len, 1, sizeof(answer) - 1);
	memcpy(answer, data, len);
	open_then = stat_get(slot.stats.connections);
	opened_then = stat_get(slot.stats.opened);
	return false;
}

static void counted_when_the_client_knows(void **state)
{
	static const char text[] = "HTTP/1.1 101 Switching Protocols";
	static struct worker w = {.slot = &slot};
	static struct conn c = {.w = &w, .state = CONN_OPENING, .route = NO_ROUTE};

	(void)state;
	c.out.buf = (uint8_t *)strdup(text);
	c.out.len = c.out.cap = sizeof(text) - 1;
	assert_non_null(c.out.buf);
	upgrade_opened(&c);
	assert_string_equal(answer, text);
	assert_int_equal(open_then, 1);
	assert_int_equal(opened_then, 1);
	assert_true(c.counted); /* what takes it away counts it as closed */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counted_when_the_client_knows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
