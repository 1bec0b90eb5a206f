#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <wsgate/log.h>
#include <wsgate/trace.h>

void log_write(enum log_level level, const char *msg, const struct log_field *fields)
{
	(void)level;
	(void)msg;
	(void)fields;
}

#define GOOD "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static bool parses(const char *text)
{
	struct trace_context t;

	return trace_parse(text, strlen(text), &t);
}

static void test_parse(void **state)
{
	struct trace_context t;
	char text[TRACE_TEXT];

	(void)state;
	assert_true(trace_parse(GOOD, strlen(GOOD), &t));
	assert_int_equal(t.trace[0], 0x0a);
	assert_int_equal(t.trace[15], 0x9c);
	assert_int_equal(t.span[0], 0xb7);
	assert_int_equal(t.flags, 1);
	trace_format(&t, text);
	assert_string_equal(text, GOOD);
	/* a version to come */
	assert_true(parses("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"));
	assert_true(parses("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
}

static void test_invalid(void **state)
{
	static const char *const bad[] = {
		"",
		"00",
		"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
		"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
		"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
		"00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (parses(bad[i]))
			fail_msg("valid: %s", bad[i]);
	/* every place of it cut, or another character */
	for (size_t i = 0; i < strlen(GOOD); i++) {
		char text[sizeof(GOOD)] = GOOD;
		struct trace_context t;

		assert_false(trace_parse(text, i, &t));
		text[i] = '*';
		assert_false(parses(text));
	}
}

static void test_follow(void **state)
{
	struct identity alice = {"chat", "alice", 4, 5}, bob = {"chat", "bobby", 4, 5};
	struct trace_order o = {1000, 4, 5, {0}, "chat", "alice"};

	(void)state;
	assert_false(trace_wants(&alice));
	trace_follow(&o);
	assert_true(trace_wants(&alice));
	assert_false(trace_wants(&bob));
	trace_tick(999);
	assert_true(trace_wants(&alice));
	trace_tick(1000);
	assert_false(trace_wants(&alice));
	trace_follow(&o);
	o.until_ms = 0;
	trace_follow(&o);
	assert_false(trace_wants(&alice));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_invalid),
		cmocka_unit_test(test_follow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
