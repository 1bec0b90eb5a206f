#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
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

/* The first is RFC 6455 1.3, the second is the example that many libraries test with. */
static void test_accept(void **state)
{
	static const char *const cases[][2] = {
		{"dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
		{"x3JJHMbDL1EzLkh9GBhXDw==", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="},
		{"AAAAAAAAAAAAAAAAAAAAAA==", "ICX+Yqv66kxgM0FcWaLWlFLwTAI="},
		{"/////////////////////w==", "XXpj4jYzLM2yUE0C7TIgMwTQh2g="},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char headers[200], want[600], out[512];
		struct handshake *h;
		size_t n;

		snprintf(headers, sizeof(headers), "Host: a\r\nSec-WebSocket-Key: %s\r\n",
			cases[i][0]);
		h = request("/ws/a/b", headers);
		snprintf(want, sizeof(want),
			"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
			"Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			cases[i][1]);
		n = handshake_accept(h, NULL, out, sizeof(out));
		assert_int_equal(n, strlen(want));
		assert_memory_equal(out, want, n);
		assert_int_equal(handshake_accept(h, NULL, out, n + 1), n);
		assert_int_equal(handshake_accept(h, NULL, out, n), 0);
		n = handshake_accept(h, "chat", out, sizeof(out));
		snprintf(want + strlen(want) - 2, 100, "Sec-WebSocket-Protocol: chat\r\n\r\n");
		assert_int_equal(n, strlen(want));
		assert_memory_equal(out, want, n);
		handshake_free(h);
	}
}

static void test_accept_without_key(void **state)
{
	struct handshake *h = request("/", "Host: a\r\nSec-WebSocket-Key: short\r\n");
	char out[512];

	(void)state;
	assert_int_equal(handshake_accept(h, NULL, out, sizeof(out)), 0);
	handshake_free(h);
}

/* Every status that the gateway answers with has its line, and each answer adds up. */
static void test_refuse(void **state)
{
	static const struct {
		unsigned status;
		const char *line;
	} cases[] = {
		{400, "HTTP/1.1 400 Bad Request\r\n"},
		{401, "HTTP/1.1 401 Unauthorized\r\n"},
		{403, "HTTP/1.1 403 Forbidden\r\n"},
		{404, "HTTP/1.1 404 Not Found\r\n"},
		{405, "HTTP/1.1 405 Method Not Allowed\r\n"},
		{408, "HTTP/1.1 408 Request Timeout\r\n"},
		{414, "HTTP/1.1 414 URI Too Long\r\n"},
		{426, "HTTP/1.1 426 Upgrade Required\r\n"},
		{429, "HTTP/1.1 429 Too Many Requests\r\n"},
		{431, "HTTP/1.1 431 Request Header Fields Too Large\r\n"},
		{502, "HTTP/1.1 502 Bad Gateway\r\n"},
		{503, "HTTP/1.1 503 Service Unavailable\r\n"},
		{504, "HTTP/1.1 504 Gateway Timeout\r\n"},
		{505, "HTTP/1.1 505 HTTP Version Not Supported\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct http_answer a = {cases[i].status, "what was wrong", "X-Extra: 1\r\n"};
		char out[1024], *body;
		size_t n = handshake_refuse(&a, 0, out, sizeof(out));

		assert_true(n > 0);
		assert_int_equal(n, strlen(out));
		assert_int_equal(strncmp(out, cases[i].line, strlen(cases[i].line)), 0);
		body = strstr(out, "\r\n\r\n");
		assert_non_null(body);
		assert_string_equal(body + 4, "what was wrong\n");
		assert_non_null(strstr(out, "\r\nContent-Length: 15\r\n"));
		assert_non_null(strstr(out, "\r\nContent-Type: text/plain"));
		assert_non_null(strstr(out, "\r\nConnection: close\r\n"));
		assert_non_null(strstr(out, "\r\nX-Extra: 1\r\n"));
		assert_null(strstr(out, "Retry-After"));
		assert_int_equal(handshake_refuse(&a, 0, out, n + 1), n);
		assert_int_equal(handshake_refuse(&a, 0, out, n), 0);
		handshake_refuse(&a, 30, out, sizeof(out));
		assert_non_null(strstr(out, "\r\nRetry-After: 30\r\n"));
	}
}

static void test_date(void **state)
{
	struct http_answer a = {404, "unknown path", ""};
	char out[1024], *date, again[64];
	struct tm t = {.tm_year = 0};
	time_t then;

	(void)state;
	assert_true(handshake_refuse(&a, 0, out, sizeof(out)) > 0);
	date = strstr(out, "\r\nDate: ");
	assert_non_null(date);
	date += 8;
	assert_non_null(strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &t));
	then = timegm(&t);
	assert_true(labs((long)(time(NULL) - then)) < 5);
	gmtime_r(&then, &t);
	strftime(again, sizeof(again), "%a, %d %b %Y %H:%M:%S GMT\r\n", &t);
	assert_int_equal(strncmp(date, again, strlen(again)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accept),
		cmocka_unit_test(test_accept_without_key),
		cmocka_unit_test(test_refuse),
		cmocka_unit_test(test_date),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
