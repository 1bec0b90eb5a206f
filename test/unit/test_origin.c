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

static bool allowed(
	const char *target, const char *host, const char *origin, const char *rule, int tls)
{
	char headers[1000];
	struct handshake *h;
	struct http_answer a;

	snprintf(headers, sizeof(headers), "Host: %s\r\nOrigin: %s\r\n", host, origin);
	h = request(target, headers);
	a = handshake_origin(h, &rule, 1, tls);
	assert_true(a.status == 0 || a.status == 403);
	handshake_free(h);
	return a.status == 0;
}

static void test_same(void **state)
{
	static const struct {
		const char *host, *origin;
		int tls;
		bool ok;
	} cases[] = {
		{"example.org", "http://example.org", -1, true},
		{"example.org", "https://example.org", -1, true},
		{"Example.ORG", "HTTP://eXample.org", -1, true},
		{"example.org:8000", "http://example.org:8000", -1, true},
		{"example.org:80", "http://example.org", -1, true},
		{"example.org", "http://example.org:80", -1, true},
		{"example.org:", "http://example.org", -1, true},
		{"example.org:443", "https://example.org", -1, true},
		{"[::1]:8000", "http://[::1]:8000", -1, true},
		{"example.org", "http://example.org", 0, true},
		{"example.org", "https://example.org", 1, true},
		{"example.org", "https://example.org", 0, false},
		{"example.org", "http://example.org", 1, false},
		{"example.org:443", "http://example.org", -1, false},
		{"example.org:80", "https://example.org", -1, false},
		{"example.org:8000", "http://example.org", -1, false},
		{"example.org", "http://example.org:8000", -1, false},
		{"example.org", "http://example.org.evil.com", -1, false},
		{"example.org", "http://evilexample.org", -1, false},
		{"example.org", "http://www.example.org", -1, false},
		{"example.org", "http://example.org@evil.com", -1, false},
		{"example.org", "http://evil.com/http://example.org", -1, false},
		{"example.org", "http://example.org/", -1, false},
		{"example.org", "http://example.org http://evil.com", -1, false},
		{"example.org", "null", -1, false},
		{"example.org", "", -1, false},
		{"example.org", "example.org", -1, false},
		{"example.org", "://example.org", -1, false},
		{"example.org", "http://", -1, false},
		{"example.org", "http://:80", -1, false},
		{"example.org", "http://example.org:080000", -1, false},
		{"example.org", "http://example.org:8o", -1, false},
		{"example.org", "ftp://example.org", -1, false},
		{"example.org", "file://", -1, false},
		{"example.org", "null", 0, false},
		{"null", "null", -1, false},
		{"example.org", "http://null", -1, false},
		{"example.org", "NULL", -1, false},
		{"example.org:8000", "http://example.org:80", -1, false},
		{"example.org:8000", "http://example.org:08000", -1, true}, /* the same number */
		{"example.org:8000", "http://example.org:800", -1, false},
		{"example.org:8000", "http://example.org:8000:80", -1, false},
		{"example.org:8000", "http://example.org:+8000", -1, false},
		{"example.org", "http://example.org:65616", -1, false}, /* 80 modulo 2^16 */
		{"example.org", "http://user@example.org", -1, false},
		{"example.org", "http://user:80@example.org", -1, false},
		{"example.org", "http://example.org:80@evil.com", -1, false},
		{"example.org", "http://evil.com@example.org:80", -1, false},
		{"example.org", "http://evil.com#@example.org", -1, false},
		{"example.org", "http://evil.com?example.org", -1, false},
		{"example.org", "http://evil.com\\example.org", -1, false},
		{"example.org", "http://example.org.", -1, false},
		{"example.org", "http://.example.org", -1, false},
		{"example.org", "http://example%2eorg", -1, false},
		{"example.org", "http://ex\xc3\xa4mple.org", -1, false},
		{"xn--exmple-cua.org", "http://xn--exmple-cua.org", -1, true},
		{"xn--exmple-cua.org", "http://XN--EXMPLE-CUA.org", -1, true},
		{"xn--exmple-cua.org", "http://ex\xc3\xa4mple.org", -1, false},
		{"example.org", "http://xn--exmple-4nf.org", -1, false}, /* Cyrillic a */
		{"example.org", "http://example\xe3\x80\x82org", -1,
			false}, /* ideographic full stop */
		{"127.0.0.1", "http://2130706433", -1, false},
		{"127.0.0.1", "http://127.1", -1, false},
		{"127.0.0.1", "http://[::ffff:127.0.0.1]", -1, false},
		{"[::1]", "http://[::1]", -1, true},
		{"[::1]", "http://::1", -1, false},
		{"localhost", "http://127.0.0.1", -1, false},
		{"example.org", "ws://example.org", -1, false},
		{"example.org", "httpx://example.org", -1, false},
		{"example.org", "http:/example.org", -1, false},
		{"example.org", "http:///example.org", -1, false},
		{"example.org", "http://example.org,http://example.org", -1, false},
		{"[::1]", "http://[::1", -1, false},
		{"[::1]", "http://[::1]x", -1, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (allowed("/", cases[i].host, cases[i].origin, "same", cases[i].tls) !=
			cases[i].ok)
			fail_msg("Host %s, Origin %s, tls %d", cases[i].host, cases[i].origin,
				cases[i].tls);
	/* An absolute target counts, not the Host header. */
	assert_true(allowed("http://a.org/", "b.org", "http://a.org", "same", -1));
	assert_false(allowed("http://a.org/", "b.org", "http://b.org", "same", -1));
}

static void test_rules(void **state)
{
	static const struct {
		const char *rule, *origin;
		bool ok;
	} cases[] = {
		{"https://example.org", "https://example.org", true},
		{"https://example.org", "https://EXAMPLE.org:443", true},
		{"HTTPS://Example.org:443", "https://example.org", true},
		{"https://example.org", "http://example.org", false},
		{"https://example.org", "https://example.org:8443", false},
		{"https://example.org:8443", "https://example.org:8443", true},
		{"https://example.org:8443", "https://example.org", false},
		{"https://example.org", "https://www.example.org", false},
		{"https://example.org", "https://example.org.evil.com", false},
		{"https://*.example.org", "https://www.example.org", true},
		{"https://*.example.org", "https://a.b.Example.org", true},
		{"https://*.example.org", "https://example.org", false},
		{"https://*.example.org", "https://.example.org", false},
		{"https://*.example.org", "https://evilexample.org", false},
		{"https://*.example.org", "https://www.example.org.evil.com", false},
		{"https://*.example.org", "https://www.example.org:8443", false},
		{"https://*.example.org:8443", "https://www.example.org:8443", true},
		{"https://*.example.org", "http://www.example.org", false},
		{"https://*.example.org", "https://*.example.org", false},
		{"https://*.example.org", "https://evil.com%2f.example.org", false},
		{"https://*.example.org", "https://evil.com%00.example.org", false},
		{"https://*.example.org", "https://evil.com/.example.org", false},
		{"https://*.example.org", "https://evil.com#.example.org", false},
		{"https://*.example.org", "https://evil.com?.example.org", false},
		{"https://*.example.org", "https://evil.com:443.example.org", false},
		{"https://*.example.org", "https://evil.com\\.example.org", false},
		{"https://*.example.org", "https://user@www.example.org", false},
		{"https://*.example.org", "https://..example.org", false},
		{"https://*.example.org", "https://a..example.org", false},
		{"https://*.example.org", "https://www.example.org.", false},
		{"https://*.example.org", "https://www-example.org", false},
		{"https://*.example.org", "https://xn--bcher-kva.example.org", true},
		{"https://*.example.org",
			"https://b\xc3\xbc"
			"cher.example.org",
			false},
		{"https://example.org", "null", false},
		{"https://*.example.org", "null", false},
		{"http://example.org:81", "http://example.org:8", false},
		{"http://example.org:8", "http://example.org:81", false},
		{"chrome-extension://abcdef", "chrome-extension://abcdef", true},
		{"chrome-extension://abcdef", "chrome-extension://abcdeg", false},
		{"any", "https://evil.com", true},
		{"any", "null", true},
		{"any", "?", true},
		{"an", "https://an", false},
		{"null", "null", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (allowed("/", "other.org", cases[i].origin, cases[i].rule, -1) != cases[i].ok)
			fail_msg("rule %s, Origin %s", cases[i].rule, cases[i].origin);
}

static void test_lists(void **state)
{
	static const char *const allow[] = {"same", "https://a.org", "https://*.b.org"};
	struct handshake *h = request("/", "Host: c.org\r\nOrigin: https://x.b.org\r\n");
	struct http_answer a;

	(void)state;
	assert_int_equal(handshake_origin(h, allow, 3, -1).status, 0);
	a = handshake_origin(h, allow, 2, -1);
	assert_int_equal(a.status, 403);
	assert_true(strlen(a.text) > 0);
	assert_int_equal(handshake_origin(h, NULL, 0, -1).status, 403);
	handshake_free(h);
	h = request("/", "Host: c.org\r\n"); /* no browser */
	assert_int_equal(handshake_origin(h, NULL, 0, -1).status, 0);
	handshake_free(h);
	h = request("/", "Host: a.org\r\nOrigin: https://a.org\r\nOrigin: https://evil.com\r\n");
	assert_int_equal(handshake_origin(h, allow, 3, -1).status, 403);
	handshake_free(h);
}

static void test_rule_valid(void **state)
{
	static const char *const good[] = {"same", "any", "https://example.org",
		"http://localhost:3000", "https://*.example.org", "https://*.example.org:8443",
		"http://[::1]:8000", "capacitor://localhost"};
	static const char *const bad[] = {"", "Same", "example.org", "*", "https://", "https://*",
		"https://*.", "https://*.*.org", "https://a.*.org", "https://*a.org",
		"https://example.org/", "https://example.org:99999", "https://example.org:x",
		"https://u@example.org", "https://exa mple.org", "*://example.org",
		"https://*..org", "https://*.[::1]", "://x", "https:example.org"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		if (!handshake_origin_rule_valid(good[i]))
			fail_msg("%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (handshake_origin_rule_valid(bad[i]))
			fail_msg("%s", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_rule_valid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
