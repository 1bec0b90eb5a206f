/*
 * What the server answers is found, what is broken is not, and a changed configuration keeps what
 * we do not know.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../../src/broker/json.h"

static struct json text(const char *s)
{
	return (struct json){s, strlen(s)};
}

static void finds(void **state)
{
	struct json d = text("{ \"type\":\"x\", \"error\" : {\"code\":503,\"err_code\":10077,"
			     "\"description\":\"a \\\"seq\\\":7, }\"},\"seq\":0, \"ok\":true,"
			     "\"list\":[\"a\", \"b\" , {\"c\":[1,2]}], \"neg\":-1 }");
	struct json v, k, e;
	size_t pos = 0;

	(void)state;
	assert_int_equal(json_get_int(d, "error.err_code", 0), 10077);
	assert_int_equal(json_get_int(d, "seq", 9), 0);
	assert_int_equal(json_get_int(d, "neg", 9), -1);
	assert_int_equal(json_get_int(d, "type", 9), 9);
	assert_int_equal(json_get_int(d, "error.seq", 9), 9);
	assert_true(json_get_true(d, "ok"));
	assert_false(json_get_true(d, "type"));
	assert_true(json_get(d, "type", &v));
	assert_true(json_is(v, "x"));
	assert_false(json_is(v, "xy"));
	assert_true(json_get(d, "error.description", &v));
	assert_int_equal(json_inside(v).n, strlen("a \\\"seq\\\":7, }"));
	assert_true(json_get(d, "list", &v));
	assert_true(json_next(v, &pos, &k, &e));
	assert_true(json_is(e, "a"));
	assert_true(json_next(v, &pos, &k, &e));
	assert_true(json_is(e, "b"));
	assert_true(json_next(v, &pos, &k, &e));
	assert_true(json_get(e, "c", &e));
	assert_false(json_next(v, &pos, &k, &e));
}

static void escapes(void **state)
{
	char buf[16];

	(void)state;
	assert_true(json_is(text("\"ws.\\u003e\""), "ws.>"));
	assert_true(json_is(text("\"ws.\\u003E\""), "ws.>"));
	assert_true(json_is(text("\"a\\\"b\\n\""), "a\"b\n"));
	assert_false(json_is(text("\"ws.\\u013e\""), "ws.>"));
	assert_false(json_is(text("\"ws.\\u003\""), "ws.>"));
	assert_false(json_is(text("\"ws.\\u003e.\""), "ws.>"));
	assert_int_equal(json_text(text("\"a\\u003eb\""), buf, sizeof(buf)), 3);
	assert_string_equal(buf, "a>b");
	assert_int_equal(json_text(text("\"abcdef\""), buf, 4), 3);
	assert_string_equal(buf, "abc");
	assert_int_equal(json_text(text("17"), buf, sizeof(buf)), 0);
}

static void broken_is_not_found(void **state)
{
	const char *const bad[] = {"", "{", "[", "{\"a\"", "{\"a\":", "{\"a\":}", "{\"a", "{a:1}",
		"\"a\"", "{\"b\":{\"a\":1}", "{\"b\":\"\\", "{,\"a\":1}", "nonsense",
		"{\"b\":1 \"a\":1}"};
	struct json v;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(json_get(text(bad[i]), "a", &v));
	assert_int_equal(json_get_int(text("{\"a\":99999999999999999999}"), "a", 5), 5);
	assert_int_equal(json_get_int(text("{\"a\":1.5}"), "a", 5), 5);
}

/* Cut anywhere, in memory of exactly that size: the sanitizer sees the first byte too far. */
static void any_cut_is_safe(void **state)
{
	const char *s = "{\"a\":{\"b\":[1,\"x\\\"y\",{\"c\":null}]},\"d\":\"e\"}";
	struct json v, k;
	size_t pos;

	(void)state;
	for (size_t n = 0; n <= strlen(s); n++) {
		char *copy = malloc(n ? n : 1);
		struct json d = {copy, n};

		assert_non_null(copy);
		memcpy(copy, s, n);
		for (pos = 0; json_next(d, &pos, &k, &v);)
			;
		(void)json_get(d, "a.b", &v);
		assert_int_equal(json_get(d, "d", &v), n >= strlen(s) - 1);
		free(copy);
	}
}

static void set(const char *before, const char *key, const char *value, const char *after)
{
	char *out = json_set(text(before), key, value);

	assert_non_null(out);
	assert_string_equal(out, after);
	free(out);
}

static void sets(void **state)
{
	(void)state;
	set("{}", "a", "1", "{\"a\":1}");
	set("{\"b\":2}", "a", "true", "{\"a\":true,\"b\":2}");
	set("{\"b\":2,\"a\":{\"x\":1},\"c\":3}", "a", "[]", "{\"b\":2,\"a\":[],\"c\":3}");
	set("{\"b\":{\"a\":1}}", "a", "7", "{\"a\":7,\"b\":{\"a\":1}}");
	assert_null(json_set(text("[]"), "a", "1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds),
		cmocka_unit_test(escapes),
		cmocka_unit_test(broken_is_not_found),
		cmocka_unit_test(any_cut_is_safe),
		cmocka_unit_test(sets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
