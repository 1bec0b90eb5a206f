#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <wsgate/credential.h>

static struct handshake *request(const char *target, const char *headers)
{
	static const struct handshake_limits limits = {.max_header = 65536, .max_request = 65536};
	struct handshake *h = handshake_new(&limits);
	size_t used;
	char *req;
	int n = asprintf(&req, "GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n", target, headers);

	assert_non_null(h);
	assert_int_equal(handshake_feed(h, req, (size_t)n, &used), HANDSHAKE_DONE);
	free(req);
	return h;
}

static const char *const all[] = {"bearer", "cookie", "query", "protocol"};
static const struct credential_rules rules = {all, 4, "token", "token", "wsgate.token."};

static char token[32];
static bool by_protocol;

static enum credential_found find(const char *target, const char *headers)
{
	struct handshake *h = request(target, headers);
	enum credential_found f = credential_find(h, &rules, token, sizeof(token), &by_protocol);

	handshake_free(h);
	return f;
}

static void finds(const char *target, const char *headers, const char *want)
{
	assert_int_equal(find(target, headers), CREDENTIAL_FOUND);
	assert_string_equal(token, want);
}

static void test_places(void **state)
{
	(void)state;
	finds("/", "Authorization: Bearer a.b.c\r\n", "a.b.c");
	finds("/", "authorization: bEARER \t a\r\n", "a");
	finds("/", "Authorization: Basic x\r\nAuthorization: Bearer a\r\n", "a");
	finds("/", "Cookie: x=y; token=a; z\r\n", "a");
	finds("/", "Cookie: token = \"a\"\r\n", "a");
	finds("/", "Cookie: xtoken=b;token=a;tokenx=c\r\nCookie: token=a\r\n", "a");
	finds("/?token=a", "", "a");
	finds("/?x&token=%61%2e%zz&tokens=b&=&", "", "a.%zz");
	assert_false(by_protocol);
	finds("/", "Sec-WebSocket-Protocol: x, wsgate.token.a ,y\r\n", "a");
	assert_true(by_protocol);
	finds("/", "Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: wsgate.token.a\r\n", "a");
	assert_int_equal(find("/", ""), CREDENTIAL_NONE);
	assert_int_equal(
		find("/?token", "Cookie: token\r\nAuthorization: Bearer\r\n"), CREDENTIAL_NONE);
	assert_int_equal(
		find("/?token=", "Cookie: token=\r\nAuthorization: Bearerx\r\n"), CREDENTIAL_NONE);
	assert_int_equal(
		find("/", "Sec-WebSocket-Protocol: wsgate.token., ,\r\n"), CREDENTIAL_NONE);
}

static void test_several(void **state)
{
	(void)state;
	finds("/?token=b", "Authorization: Bearer a\r\nCookie: token=c\r\n", "a");
	finds("/?token=b", "Cookie: token=c\r\n", "c");
	finds("/?token=a&token=a", "", "a");
	assert_int_equal(find("/?token=a&token=b", ""), CREDENTIAL_TWICE);
	assert_int_equal(find("/", "Cookie: token=a; token=b\r\n"), CREDENTIAL_TWICE);
	assert_int_equal(find("/", "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"),
		CREDENTIAL_TWICE);
	assert_int_equal(find("/", "Sec-WebSocket-Protocol: wsgate.token.a, wsgate.token.b\r\n"),
		CREDENTIAL_TWICE);
	assert_int_equal(find("/?token=0123456789012345678901234567890", ""), CREDENTIAL_FOUND);
	assert_int_equal(find("/?token=01234567890123456789012345678901", ""), CREDENTIAL_TOO_LONG);
}

static void test_too_long(void **state)
{
	char *target = malloc(20000);

	(void)state;
	memset(target, 'a', 19999);
	target[19999] = '\0';
	memcpy(target, "/?token=", 8);
	assert_int_equal(find(target, ""), CREDENTIAL_TOO_LONG);
	free(target);
}

static void chooses(const char *offered, const char *want)
{
	char line[400], out[65] = "";
	struct handshake *h;

	snprintf(line, sizeof(line), "Sec-WebSocket-Protocol: %s\r\n", offered);
	h = request("/", line);
	assert_int_equal(credential_protocol(h, "t.", out), *want != '\0');
	assert_string_equal(out, want);
	handshake_free(h);
}

static void test_protocol(void **state)
{
	(void)state;
	chooses("t.abc, chat", "chat");
	chooses(", ,v1,chat,t.x", "v1");
	chooses("t.abc", "");
	chooses("a b, c/d, \"e\", f", "f");
	chooses("01234567890123456789012345678901234567890123456789012345678901234, g", "g");
	chooses("", "");
}

static void speaks(const char *headers, const char *want)
{
	static const char *const known[] = {"v1", "v2.chat"};
	struct handshake *h = request("/", headers);
	const char *got = credential_subprotocol(h, known, 2);

	assert_string_equal(got ? got : "", want);
	assert_null(credential_subprotocol(h, known, 0));
	handshake_free(h);
}

/* The client's order, and nothing that it did not offer. */
static void test_subprotocol(void **state)
{
	(void)state;
	speaks("Sec-WebSocket-Protocol: v2.chat, v1\r\n", "v2.chat");
	speaks("Sec-WebSocket-Protocol: x,v1 ,v2.chat\r\n", "v1");
	speaks("Sec-WebSocket-Protocol: x\r\nsec-websocket-protocol: \tv2.chat\r\n", "v2.chat");
	speaks("Sec-WebSocket-Protocol: V1, v1x, v2.cha, v2, \"v1\", v1;q=1, v1 v1\r\n", "");
	speaks("Sec-WebSocket-Protocol: \r\n", "");
	speaks("", "");
}

static char *ask(const char *target, const char *headers, const char *user)
{
	static const char *const names[] = {"Cookie", "X-Who"};
	const struct callout_question q = {"chat", user, 4, strlen(user), "::1", names, 2};
	struct handshake *h = request(target, headers);
	char *text = callout_ask(h, &q);

	handshake_free(h);
	assert_non_null(text);
	return text;
}

static void test_question(void **state)
{
	char *text = ask("/ws/chat/?q=%41&\"\\",
		"Cookie: a=b\r\nx-who: 1\r\nX-Who: \xe9\r\nX-Other: 2\r\n", "");

	(void)state;
	assert_string_equal(text,
		"{\"service\":\"chat\",\"path\":\"/ws/chat/"
		"\",\"query\":\"q=%41&\\\"\\\\\",\"address\":\"::1\","
		"\"headers\":{\"Cookie\":[\"a=b\"],\"X-Who\":[\"1\",\"\xc3\xa9\"]}}");
	free(text);
	text = ask("/ws", "", "J\xc3\xb6rg");
	assert_string_equal(text,
		"{\"service\":\"chat\",\"user\":\"J\xc3\xb6rg\",\"path\":\"/ws\",\"query\":\"\","
		"\"address\":\"::1\",\"headers\":{}}");
	free(text);
}

static bool parse(const char *text, struct callout_said *s)
{
	return callout_parse(text, strlen(text), s);
}

static void test_answers(void **state)
{
	static const char *const bad[] = {"", "x", "[]", "{}", "null", "{\"allow\":1}",
		"{\"allow\":\"true\"}", "{\"allow\":true,\"user\":\"\"}",
		"{\"allow\":true,\"user\":1}", "{\"allow\":true,\"expires\":-1}",
		"{\"allow\":true,\"expires\":\"1\"}", "{\"allow\":true,\"cache\":null}",
		"{\"allow\":false,\"status\":399}", "{\"allow\":false,\"status\":600}",
		"{\"allow\":false,\"reason\":1}", "{\"allow\":true,\"allow\":true}",
		"{\"allow\":true} x"};
	struct callout_said s;
	char big[5000];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (parse(bad[i], &s))
			fail_msg("%s", bad[i]);
	assert_true(parse(
		"{\"allow\":true,\"user\":\"a\",\"expires\":1.5e9,\"cache\":99999,\"more\":[]}",
		&s));
	assert_true(s.allow && s.user_len == 1 && s.user[0] == 'a');
	assert_int_equal(s.expires_s, 1500000000);
	assert_int_equal(s.cache_s, CALLOUT_CACHE_MAX);
	assert_true(parse(" {\"allow\":false,\"reason\":\"a\\r\\nb\xc3\xa9\"}", &s));
	assert_int_equal(s.status, 403);
	assert_string_equal(s.reason, "a??b??");
	snprintf(big, sizeof(big), "{\"allow\":true,\"user\":\"%0129d\"}", 1);
	assert_false(parse(big, &s));
	snprintf(big, sizeof(big), "{\"allow\":true,\"x\":\"%04080d\"}", 1);
	assert_false(parse(big, &s));
}

static void refreshes(const char *text, const char *want)
{
	char out[8];

	assert_int_equal(credential_refresh(text, strlen(text), out, sizeof(out)), want != NULL);
	if (want)
		assert_string_equal(out, want);
}

static void test_refresh(void **state)
{
	static char huge[65600];

	(void)state;
	refreshes("{\"wsgate\":\"refresh\",\"token\":\"abc\"}", "abc");
	refreshes("{ \"token\" : \"abc\" , \"wsgate\" : \"refresh\" }", "abc");
	refreshes("{\"wsgate\":\"refresh\"}", "");
	refreshes("{\"wsgate\":\"refresh\",\"token\":7}", "");
	refreshes("{\"wsgate\":\"refresh\",\"token\":\"12345678\"}", "");
	refreshes("{\"wsgate\":\"other\",\"token\":\"abc\"}", NULL);
	refreshes(" {\"wsgate\":\"refresh\"}", NULL);
	refreshes("{\"x\":{\"wsgate\":\"refresh\"}}", NULL);
	refreshes("{\"wsgate\":\"refresh\"", NULL);
	refreshes("[\"wsgate\",\"refresh\"]", NULL);
	refreshes("", NULL);
	/* What is too long for a refresh is a message as any other, and is not parsed. */
	snprintf(huge, sizeof(huge), "{\"wsgate\":\"refresh\",\"token\":\"abc\"%65502s}", "");
	assert_int_equal(strlen(huge), 65536);
	refreshes(huge, "abc");
	snprintf(huge, sizeof(huge), "{\"wsgate\":\"refresh\",\"token\":\"abc\"%65503s}", "");
	refreshes(huge, NULL);
	/* A token that is too long is no message. */
	snprintf(huge, sizeof(huge), "{\"wsgate\":\"refresh\",\"token\":\"%s%060000d\"}", "", 7);
	refreshes(huge, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_several),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_protocol),
		cmocka_unit_test(test_subprotocol),
		cmocka_unit_test(test_question),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_refresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
