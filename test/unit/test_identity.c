#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <wsgate/handshake.h>

static struct handshake *request(const char *target, const char *headers)
{
	static const struct handshake_limits limits = {.max_header = 16384, .max_request = 8192};
	struct handshake *h = handshake_new(&limits);
	char req[4096];
	size_t n, used;

	assert_non_null(h);
	n = (size_t)snprintf(req, sizeof(req), "GET %s HTTP/1.1\r\n%s\r\n", target, headers);
	assert_int_equal(handshake_feed(h, req, n, &used), HANDSHAKE_DONE);
	return h;
}

#define HOST "Host: example.org\r\n"

static const struct identity_rules both = {
	.path = true, .cookie = true, .service_cookie = "service", .user_cookie = "user"};

static unsigned status(const struct identity_rules *rules, const char *target, const char *headers,
	struct handshake_identity *id)
{
	struct handshake *h = request(target, headers);
	struct http_answer a = handshake_identify(h, rules, id);

	handshake_free(h);
	if (a.status)
		assert_true(strlen(a.text) > 0);
	return a.status;
}

static void expect(const char *target, const char *headers, const char *service, size_t service_len,
	const char *user, size_t user_len)
{
	struct handshake_identity id;

	assert_int_equal(status(&both, target, headers, &id), 0);
	assert_int_equal(id.service_len, service_len);
	assert_memory_equal(id.service, service, service_len);
	assert_int_equal(id.user_len, user_len);
	assert_memory_equal(id.user, user, user_len);
}

static void test_path(void **state)
{
	(void)state;
	expect("/ws/chat/a.b@c.org", HOST, "chat", 4, "a.b@c.org", 9);
	expect("/ws/chat/bob/", HOST, "chat", 4, "bob", 3);
	expect("/ws/%63h%41t/b%2Fo%2f%00%ff%25/?u=x", HOST, "chAt", 4, "b/o/\0\xff%", 7);
	expect("/ws/a+b/..", HOST, "a+b", 3, "..", 2);
	expect("/ws/%20/%2541", HOST, " ", 1, "%41", 3);
	expect("/ws/*/>", HOST, "*", 1, ">", 1);
	expect("http://h/ws/a/b", HOST, "a", 1, "b", 1);
	/* The path wins, cookies are not even looked at. */
	expect("/ws/a/b", HOST "Cookie: service=x; user=y; user=z\r\n", "a", 1, "b", 1);
}

static void test_path_length(void **state)
{
	struct handshake_identity id;
	char target[1000];

	(void)state;
	for (int len = 127; len <= 130; len++) {
		unsigned want = len <= 128 ? 0 : 400;

		snprintf(target, sizeof(target), "/ws/%0*d/b", len, 7);
		assert_int_equal(status(&both, target, HOST, &id), want);
		snprintf(target, sizeof(target), "/ws/a/%0*d/", len, 7);
		assert_int_equal(status(&both, target, HOST, &id), want);
		/* Decoded bytes count. */
		strcpy(target, "/ws/a/");
		for (int i = 0; i < len; i++)
			strcat(target, "%41");
		assert_int_equal(status(&both, target, HOST, &id), want);
		if (!want)
			assert_int_equal(id.user_len, len);
	}
}

static void test_cookies(void **state)
{
	struct identity_rules named = both;
	struct handshake_identity id;

	(void)state;
	expect("/ws", HOST "Cookie: service=chat; user=bob\r\n", "chat", 4, "bob", 3);
	expect("/ws/", HOST "Cookie: user=bob;service=chat\r\n", "chat", 4, "bob", 3);
	expect("/ws/?x", HOST "Cookie: a=b; user = bob ;;service=chat;\r\nCookie: c\r\n", "chat", 4,
		"bob", 3);
	expect("/ws", HOST "Cookie: service=chat\r\nCookie: user=bob\r\n", "chat", 4, "bob", 3);
	expect("/ws", HOST "Cookie: service=c%41t; user=a=b\r\n", "c%41t", 5, "a=b", 3);
	expect("/ws", HOST "Cookie: service=\"chat\"; user=\"\r\n", "chat", 4, "\"", 1);
	expect("/ws", HOST "Cookie: service=\"a; user=\"b\"\r\n", "\"a", 2, "b", 1);
	expect("/ws", HOST "Cookie: service=s; user=bob; user=bob\r\n", "s", 1, "bob", 3);
	expect("/ws", HOST "Cookie: service=s; user=\"bob\"; user=bob\r\n", "s", 1, "bob", 3);
	expect("/ws", HOST "Cookie: xuser=x; user=\xc3\xb6; userx=y; service=s\r\n", "s", 1,
		"\xc3\xb6", 2);
	assert_int_equal(
		status(&both, "/ws", HOST "Cookie: service=s; user=a; user=b\r\n", &id), 400);
	assert_int_equal(
		status(&both, "/ws", HOST "Cookie: service=s; user=a; user=\r\n", &id), 400);
	assert_int_equal(status(&both, "/ws", HOST "Cookie: service=s; user=\r\n", &id), 400);
	assert_int_equal(status(&both, "/ws", HOST "Cookie: service=s; user\r\n", &id), 401);
	assert_int_equal(status(&both, "/ws", HOST "Cookie: service=s; USER=b\r\n", &id), 401);
	assert_int_equal(status(&both, "/ws", HOST "Cookie:\r\n", &id), 401);
	assert_int_equal(status(&both, "/ws", HOST "X-Cookie: service=s; user=b\r\n", &id), 401);
	named.user_cookie = "sid";
	assert_int_equal(status(&named, "/ws", HOST "Cookie: service=s; sid=b\r\n", &id), 0);
	assert_int_equal(status(&named, "/ws", HOST "Cookie: service=s; user=b\r\n", &id), 401);
}

static void test_cookie_length(void **state)
{
	struct handshake_identity id;
	char headers[1000];

	(void)state;
	for (int len = 127; len <= 130; len++) {
		unsigned want = len <= 128 ? 0 : 400;

		snprintf(headers, sizeof(headers), HOST "Cookie: service=s; user=%0*d\r\n", len, 7);
		assert_int_equal(status(&both, "/ws/", headers, &id), want);
		snprintf(headers, sizeof(headers), HOST "Cookie: service=%0*d; user=u\r\n", len, 7);
		assert_int_equal(status(&both, "/ws/", headers, &id), want);
	}
}

static void test_sources(void **state)
{
	const char *cookies = HOST "Cookie: service=chat; user=bob\r\n";
	struct identity_rules path = both, cookie = both, none = both;
	struct handshake_identity id;

	(void)state;
	path.cookie = cookie.path = none.path = none.cookie = false;
	assert_int_equal(status(&path, "/ws/chat/bob", HOST, &id), 0);
	assert_int_equal(status(&path, "/ws/", cookies, &id), 401);
	assert_int_equal(status(&cookie, "/ws/", cookies, &id), 0);
	assert_int_equal(status(&cookie, "/ws/chat/bob", cookies, &id), 404);
	assert_int_equal(status(&cookie, "/ws//", cookies, &id), 404);
	assert_int_equal(status(&none, "/ws/", cookies, &id), 401);
	assert_int_equal(status(&none, "/ws/chat/bob", HOST, &id), 404);
}

static void test_refused(void **state)
{
	static const struct {
		const char *target;
		unsigned status;
	} cases[] = {
		{"/", 404},
		{"/w", 404},
		{"/wss", 404},
		{"/ws?x", 401},
		{"/ws/chat", 404},
		{"/ws/chat/bob/x", 404},
		{"/ws/chat/bob//", 404},
		{"/ws/chat//bob", 404},
		{"/x/ws/chat/bob", 404},
		{"//ws/chat/bob", 404},
		{"/%77s/chat/bob", 404},
		{"/ws/chat/", 400},
		{"/ws/chat//", 400},
		{"/ws//bob", 400},
		{"/ws//", 400},
		{"/ws///", 400},
		{"/ws/a/%", 400},
		{"/ws/a/%4", 400},
		{"/ws/a/%4/", 400},
		{"/ws/%4/1", 400},
		{"/ws/a/%4g", 400},
		{"/ws/a/%-1", 400},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct handshake_identity id;
		unsigned got = status(&both, cases[i].target, HOST, &id);

		if (got != cases[i].status)
			fail_msg("%u instead of %u for %s", got, cases[i].status, cases[i].target);
	}
}

static void named(const char *target, const char *headers, unsigned want, const char *service,
	const char *user)
{
	struct handshake *h = request(target, headers);
	struct handshake_identity id;

	assert_int_equal(handshake_named(h, &both, &id).status, want);
	handshake_free(h);
	if (want)
		return;
	assert_int_equal(id.service_len, strlen(service));
	assert_memory_equal(id.service, service, id.service_len);
	assert_int_equal(id.user_len, strlen(user));
	assert_memory_equal(id.user, user, id.user_len);
}

static void test_named(void **state)
{
	(void)state;
	named("/ws/a/b/", HOST, 0, "a", "b");
	named("/ws/a/", HOST "Cookie: user=x\r\n", 0, "a", "");
	named("/ws/a", HOST, 404, "", "");
	named("/ws//", HOST, 400, "", "");
	named("/ws//b", HOST, 400, "", "");
	named("/ws/a//", HOST, 0, "a", "");
	named("/ws/a//b", HOST, 404, "", "");
	named("/ws", HOST, 0, "", "");
	named("/ws/", HOST "Cookie: service=s\r\n", 0, "s", "");
	named("/ws/", HOST "Cookie: user=u\r\n", 0, "", "u");
	named("/ws/", HOST "Cookie: user=u; service=s\r\n", 0, "s", "u");
	named("/ws/", HOST "Cookie: user=\r\n", 400, "", "");
	named("/ws/", HOST "Cookie: user=u; user=v\r\n", 400, "", "");
	named("/x", HOST, 404, "", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_path),
		cmocka_unit_test(test_path_length),
		cmocka_unit_test(test_cookies),
		cmocka_unit_test(test_named),
		cmocka_unit_test(test_cookie_length),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
