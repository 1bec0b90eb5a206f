#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <wsgate/handshake.h>

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define UP "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define V13 "Sec-WebSocket-Version: 13\r\n"
#define HOST "Host: example.org\r\n"
#define WS HOST UP V13 KEY
#define GET(target) "GET " target " HTTP/1.1\r\n"
#define A128                                                                                       \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"                         \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* Linked with --wrap: memory that runs out at a given call. */
void *__real_malloc(size_t n);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_realloc(void *p, size_t n);
static int left = -1, calls;

static bool runs_out(void)
{
	calls++;
	return left >= 0 && left-- == 0;
}

void *__wrap_malloc(size_t n)
{
	return runs_out() ? NULL : __real_malloc(n);
}

void *__wrap_realloc(void *p, size_t n)
{
	return runs_out() ? NULL : __real_realloc(p, n);
}

static const struct handshake_limits limits = {.max_header = 16384, .max_request = 8192};
static const struct identity_rules rules = {
	.path = true, .cookie = true, .service_cookie = "service", .user_cookie = "user"};
static const char *const same[] = {"same"};

static struct handshake *feed(const char *req, size_t len, size_t piece,
	const struct handshake_limits *lim, size_t *total)
{
	struct handshake *h = handshake_new(lim);
	enum handshake_state s = HANDSHAKE_MORE;

	assert_non_null(h);
	*total = 0;
	while (s == HANDSHAKE_MORE && *total < len) {
		size_t n = piece < len - *total ? piece : len - *total, used = 99;
		char *exact = malloc(n); /* so that a read past the end shows */

		assert_non_null(exact);
		memcpy(exact, req + *total, n);
		s = handshake_feed(h, exact, n, &used);
		free(exact);
		assert_true(used <= n);
		if (s == HANDSHAKE_MORE)
			assert_int_equal(used, n);
		*total += used;
	}
	return h;
}

/* What asks for a load balancer whether all is well: only where that is let in. */
static void test_http10(void **state)
{
	const char *const requests[] = {"GET /readyz HTTP/1.0\r\n\r\n",
		"GET /readyz HTTP/1.0\r\nX: y\r\n\r\n", "GET /readyz HTTP/1.0\r\n" HOST "\r\n"};
	struct handshake_limits lim = limits;

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		const char *req = requests[i / 2];
		size_t total;
		struct handshake *h;

		lim.http10 = i % 2;
		h = feed(req, strlen(req), 1 + i % 3, &lim, &total);
		if (lim.http10) {
			assert_int_equal(total, strlen(req));
			assert_string_equal(handshake_path(h), "/readyz");
			assert_string_equal(handshake_authority(h), i == 5 ? "example.org" : "");
			assert_int_equal(handshake_answer(h).status, 0);
		} else {
			assert_int_equal(handshake_answer(h).status, 505);
		}
		handshake_free(h);
	}
	lim.http10 = true;
	for (size_t i = 0; i < 3; i++) {
		const char *const bad[] = {"GET /readyz HTTP/1.1\r\n\r\n",
			"GET /readyz HTTP/1.0\r\nHost: a b\r\n\r\n",
			"GET /readyz HTTP/1.2\r\n\r\n"};
		size_t total;
		struct handshake *h = feed(bad[i], strlen(bad[i]), 7, &lim, &total);

		assert_int_equal(handshake_answer(h).status, i == 2 ? 505 : 400);
		handshake_free(h);
	}
}

/* The order that the header names. */
static struct http_answer judge(
	const struct handshake *h, const struct identity_rules *r, struct handshake_identity *id)
{
	struct http_answer who = handshake_identify(h, r, id), a;

	if (who.status && who.status != 401)
		return who;
	a = handshake_check(h);
	if (a.status)
		return a;
	return who.status ? who : handshake_origin(h, same, 1, -1);
}

/* 0: still reading. 101: fine. Else the refusal; the same for every way to cut. */
static struct http_answer outcome_limits(
	const char *req, size_t len, const struct handshake_limits *lim)
{
	struct http_answer first = {0, "", ""};
	size_t first_used = 0;

	for (size_t piece = len; piece > 0; piece = piece > 17 ? 17 : piece - 1) {
		struct http_answer a = {0, "", ""};
		struct handshake_identity id;
		size_t used, none;
		struct handshake *h = feed(req, len, piece, lim, &used);
		enum handshake_state s = handshake_feed(h, "", 0, &none);

		assert_int_equal(none, 0);
		if (s == HANDSHAKE_FAILED) {
			a = handshake_answer(h);
			assert_null(handshake_header(h, "Host"));
		} else if (s == HANDSHAKE_DONE) {
			a = judge(h, &rules, &id);
			if (!a.status)
				a.status = 101;
		}
		if (s != HANDSHAKE_MORE) { /* it stays so */
			assert_int_equal(handshake_feed(h, "GET", 3, &none), s);
			assert_int_equal(none, 0);
		}
		handshake_free(h);
		if (piece == len) {
			first = a;
			first_used = used;
		}
		if (a.status != first.status || strcmp(a.text, first.text) != 0)
			fail_msg("pieces of %zu: %u %s, one piece: %u %s", piece, a.status, a.text,
				first.status, first.text);
		if (s == HANDSHAKE_DONE)
			assert_int_equal(used, first_used);
	}
	return first;
}

static struct http_answer outcome(const char *req)
{
	return outcome_limits(req, strlen(req), &limits);
}

struct row {
	const char *request;
	unsigned status;
};

static void check_rows(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct http_answer a = outcome(rows[i].request);

		if (a.status != rows[i].status)
			fail_msg("%u instead of %u (%s) for\n%s", a.status, rows[i].status, a.text,
				rows[i].request);
	}
}
#define CHECK_ROWS(rows) check_rows(rows, sizeof(rows) / sizeof(*(rows)))

static void test_accepted(void **state)
{
	static const struct row rows[] = {
		{GET("/ws/chat/bob") WS "\r\n", 101},
		{GET("/ws/chat/bob/") WS "\r\n", 101},
		{GET("/ws/chat/bob/?token=a/b?c") WS "\r\n", 101},
		{GET("/ws/chat/b%2fo%00b") WS "\r\n", 101},
		{GET("/ws/chat/b\xc3\xb6") WS "\r\n", 101},
		{GET("/ws/" A128 "/" A128) WS "\r\n", 101},
		{GET("/ws") WS "Cookie: service=chat; user=bob\r\n\r\n", 101},
		{GET("/ws/") WS "cookie: user=bob\r\nCookie:service=chat\r\n\r\n", 101},
		{"\r\n\r\n" GET("/ws/chat/bob") WS "\r\n", 101},
		{GET("http://example.org/ws/chat/bob") WS "\r\n", 101},
		{GET("ws://example.org:8000/ws/chat/bob?x") WS "\r\n", 101},
		{GET("/ws/chat/bob") HOST V13 KEY "UPGRADE: h2c, WebSocket\r\n"
						  "connection: keep-alive , , uPgrade\r\n\r\n",
			101},
		{GET("/ws/chat/bob") HOST V13 KEY
			"Upgrade: h2c\r\nUpgrade: websocket\r\n"
			"Connection: keep-alive\r\nConnection: Upgrade\r\n\r\n",
			101},
		{GET("/ws/chat/bob") WS "Content-Length: 0\r\n\r\n", 101},
		{GET("/ws/chat/bob") WS "X-Empty:\r\nX-Tab: a\tb\r\n\r\n", 101},
		{GET("/ws/chat/bob") WS "Origin: http://example.org\r\n\r\n", 101},
		{GET("/ws/chat/bob") "Host: [::1]:8000\r\n" UP V13 KEY "\r\n", 101},
	};

	(void)state;
	CHECK_ROWS(rows);
}

static const struct row malformed[] = {
	{GET("/ws/chat/bob") UP V13 KEY "\r\n", 400},
	{GET("/ws/chat/bob") HOST WS "\r\n", 400},
	{GET("/ws/chat/bob") "Host:\r\n" UP V13 KEY "\r\n", 400},
	{GET("/ws/chat/bob") "Host: a b\r\n" UP V13 KEY "\r\n", 400},
	{GET("/ws/chat/bob") "Host: a:99999\r\n" UP V13 KEY "\r\n", 400},
	{GET("/ws/chat/bob") "Host: a/b\r\n" UP V13 KEY "\r\n", 400},
	{GET("/ws/chat/bob") WS "X: a\r\n b\r\n\r\n", 400}, /* obs-fold */
	{GET("/ws/chat/bob") WS "X: a\r\n\tb\r\n\r\n", 400},
	{GET("/ws/chat/bob") " X: a\r\n" WS "\r\n", 400},
	{"GET /ws/chat/bob HTTP/1.1\n" WS "\r\n", 400}, /* bare LF */
	{GET("/ws/chat/bob") "Host: a\nX: b\r\n" UP V13 KEY "\r\n", 400},
	{GET("/ws/chat/bob") WS "\n", 400},
	{"\n" GET("/ws/chat/bob") WS "\r\n", 400},
	{GET("/ws/chat/bob") WS "X: a\rb\r\n\r\n", 400}, /* bare CR */
	{GET("/ws/chat/bob") WS "X: a\x01\r\n\r\n", 400},
	{GET("/ws/chat/bob") WS "X: a\x7f\r\n\r\n", 400},
	{GET("/ws/chat/b\tob") WS "\r\n", 400},
	{GET("/ws/chat/b ob") WS "\r\n", 400},
	{GET("/ws/chat/bob#x") WS "\r\n", 400},
	{GET("ws/chat/bob") WS "\r\n", 400},
	{GET("ftp://example.org/ws/chat/bob") WS "\r\n", 400},
	{GET("http:///ws/chat/bob") WS "\r\n", 400},
	{GET("http://a@b/ws/chat/bob") WS "\r\n", 400},
	{GET("/ws/chat/bob") WS "No colon\r\n\r\n", 400},
	{GET("/ws/chat/bob") WS "Space : a\r\n\r\n", 400},
	{GET("/ws/chat/bob") WS ": nameless\r\n\r\n", 400},
	{GET("/ws/chat/bob") WS "Content-Length: 5\r\n\r\nhello", 400},
	{GET("/ws/chat/bob") WS "Content-Length: 0\r\nContent-Length: 5\r\n\r\n", 400},
	{GET("/ws/chat/bob") WS "Content-Length: x\r\n\r\n", 400},
	{GET("/ws/chat/bob") WS "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{GET("/ws/chat/bob") WS "Transfer-Encoding: identity\r\n\r\n", 400},
	{"\x16\x03\x01\x02", 400}, /* TLS */
	{" GET / HTTP/1.1\r\n", 400},
	{"GET\r\n", 400},
	{"GET /ws/chat/bob RTSP/1.1\r\n" WS "\r\n", 400},
	{"GET /ws/chat/bob  RTSP/1.0\r\n" WS "\r\n", 400},
	{"GET /ws/chat/bob ICE/1.1\r\n" WS "\r\n", 400},
	{"SOURCE /ws/chat/bob ICE/1.1\r\n" WS "\r\n", 400},
	{"OPTIONS /ws/chat/bob RTSP/1.1\r\n" WS "\r\n", 400},
	{"CONNECT example.org:80 HTTP/1.1\r\n" HOST "\r\n", 400},
	{GET("/ws/chat/") WS "\r\n", 400}, /* empty user */
	{GET("/ws//bob") WS "\r\n", 400},
	{GET("/ws//") WS "\r\n", 400},
	{GET("/ws/chat/b%zz") WS "\r\n", 400},
	{GET("/ws/chat/b%4") WS "\r\n", 400},
	{GET("/ws/chat/b%") WS "\r\n", 400},
	{GET("/ws/%4/1b") WS "\r\n", 400}, /* an escape does not reach over '/' */
	{GET("/ws/chat/a" A128) WS "\r\n", 400},
	{GET("/ws/a" A128 "/bob") WS "\r\n", 400},
	{GET("/ws/") WS "Cookie: service=; user=bob\r\n\r\n", 400},
	{GET("/ws/") WS "Cookie: service=chat; user=\"\"\r\n\r\n", 400},
	{GET("/ws/") WS "Cookie: service=chat; user=bob; user=eve\r\n\r\n", 400},
	{GET("/ws/") WS "Cookie: service=chat; user=bob\r\nCookie: user=eve\r\n\r\n", 400},
	{GET("/ws/") WS "Cookie: service=chat; user=a" A128 "\r\n\r\n", 400},
	{GET("/ws/chat/bob") HOST UP V13 "\r\n", 400}, /* no key */
	{GET("/ws/chat/bob") WS KEY "\r\n", 400},
	{GET("/ws/chat/bob") WS V13 "\r\n", 400},
	{GET("/ws/chat/bob") HOST UP V13 "Sec-WebSocket-Key: AAAA\r\n\r\n", 400},
	{GET("/ws/chat/bob") HOST UP V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n\r\n", 400},
	{GET("/ws/chat/bob") HOST UP V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWE=\r\n\r\n",
		400}, /* 17 bytes */
	{GET("/ws/chat/bob") HOST UP V13 "Sec-WebSocket-Key: dGhlIHNhbXBs-SBub25jZQ==\r\n\r\n",
		400},
	{GET("/ws/chat/bob") HOST UP V13 "Sec-WebSocket-Key: dGhlIHNhbXBs=SBub25jZQ==\r\n\r\n",
		400},
};

static void test_malformed(void **state)
{
	char nul[] = GET("/ws/chat/bob") WS "X: a\0b\r\n\r\n";

	(void)state;
	CHECK_ROWS(malformed);
	assert_int_equal(outcome_limits(nul, sizeof(nul) - 1, &limits).status, 400);
	nul[8] = '\0';
	assert_int_equal(outcome_limits(nul, sizeof(nul) - 1, &limits).status, 400);
}

static void test_table(void **state)
{
	static const struct row rows[] = {
		{GET("/") WS "\r\n", 404},
		{GET("/wsx") WS "\r\n", 404},
		{GET("/ws/chat") WS "\r\n", 404},
		{GET("/ws/chat/bob/x") WS "\r\n", 404},
		{GET("/ws/chat/bob//") WS "\r\n", 404},
		{GET("/WS/chat/bob") WS "\r\n", 404},
		{GET("http://example.org") WS "\r\n", 404},
		{"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 404},
		{"POST /other HTTP/1.1\r\n" HOST "\r\n", 404}, /* the path goes first */
		{"POST /ws/chat/bob HTTP/1.1\r\n" WS "\r\n", 405},
		{"HEAD /ws/ HTTP/1.1\r\n" HOST "\r\n", 405},
		{"get /ws/chat/bob HTTP/1.1\r\n" WS "\r\n", 405},
		{"FROBNICATE-A-VERY-LONG-METHOD /ws/chat/bob HTTP/1.1\r\n" WS "\r\n", 405},
		{"GETT /ws/chat/bob HTTP/1.1\r\n" WS "\r\n", 405},
		{"CONNECT /ws/chat/bob HTTP/1.1\r\n" WS "\r\n", 405},
		{GET("/ws/chat/bob") HOST "\r\n", 426},
		{GET("/ws/") HOST "\r\n", 426}, /* rather than 401 */
		{GET("/ws/chat/bob") HOST "Upgrade: websocket\r\n" V13 KEY "\r\n", 426},
		{GET("/ws/chat/bob") HOST "Connection: Upgrade\r\n" V13 KEY "\r\n", 426},
		{GET("/ws/chat/bob") HOST "Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n", 426},
		{GET("/ws/chat/bob") HOST UP V13 KEY "Upgrade: websockets\r\n\r\n", 101},
		{GET("/ws/chat/bob") HOST "Upgrade: websockets, xwebsocket\r\n"
					  "Connection: Upgrade\r\n" V13 KEY "\r\n",
			426},
		{GET("/ws/chat/bob") HOST UP KEY "\r\n", 426},
		{GET("/ws/chat/bob") HOST UP KEY "Sec-WebSocket-Version: 8\r\n\r\n", 426},
		{GET("/ws/chat/bob") HOST UP "Sec-WebSocket-Version: 14\r\n\r\n", 426},
		{GET("/ws") WS "\r\n", 401},
		{GET("/ws/") WS "Cookie: service=chat\r\n\r\n", 401},
		{GET("/ws/") WS "Cookie: service=chat; User=bob\r\n\r\n", 401},
		{GET("/ws/chat/bob") WS "Origin: http://example.com\r\n\r\n", 403},
		{"GET /ws/chat/bob HTTP/1.0\r\n" WS "\r\n", 505},
		{"GET /ws/chat/bob HTTP/2.0\r\n", 505},
		{"GET /ws/chat/bob HTTP/3.7\r\n", 505},
		{"GET /ws/chat/bob\r\n", 505}, /* HTTP/0.9: answered without waiting for headers */
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
	};

	(void)state;
	CHECK_ROWS(rows);
	assert_string_equal(outcome("PUT /ws/ HTTP/1.1\r\n" HOST "\r\n").headers, "Allow: GET\r\n");
	assert_string_equal(outcome(GET("/ws/") HOST "\r\n").headers,
		"Upgrade: websocket\r\nConnection: Upgrade\r\n");
	assert_non_null(strstr(outcome(GET("/ws/a/b") HOST UP KEY "\r\n").headers,
		"Sec-WebSocket-Version: 13\r\n"));
	assert_non_null(strstr(outcome(GET("/ws/") WS "\r\n").headers, "WWW-Authenticate: "));
}

static void test_unfinished(void **state)
{
	const char *req = GET("/ws/chat/bob") WS "\r\n";

	(void)state;
	for (size_t n = 1; n < strlen(req); n++)
		assert_int_equal(outcome_limits(req, n, &limits).status, 0);
	assert_int_equal(outcome_limits(req, strlen(req), &limits).status, 101);
}

static void test_frames_behind_are_left(void **state)
{
	static const char *const requests[] = {
		GET("/ws/chat/bob") WS "\r\n", GET("/ws/chat/bob") WS "Content-Length: 0\r\n\r\n",
		GET("/ws/chat/bob") HOST "\r\n", /* no upgrade */
	};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		char req[1000];
		size_t n = strlen(requests[i]), used;

		memcpy(req, requests[i], n);
		memcpy(req + n,
			"\x81\x85"
			"abcdGET / HTTP/1.1\r\n\r\n",
			24);
		for (size_t piece = 1; piece <= n + 24; piece++) {
			struct handshake *h = feed(req, n + 24, piece, &limits, &used);

			assert_int_equal(used, n);
			assert_string_equal(handshake_method(h), "GET");
			handshake_free(h);
		}
	}
}

static void test_limits(void **state)
{
	const char *line = "GET /ws/chat/bob HTTP/1.1", *headers = WS "\r\n";
	struct handshake_limits lim = {.max_header = strlen(headers), .max_request = strlen(line)};
	char req[2000];
	size_t n = (size_t)snprintf(req, sizeof(req), "%s\r\n%s", line, headers);

	(void)state;
	assert_int_equal(outcome_limits(req, n, &lim).status, 101);
	lim.max_header--;
	assert_int_equal(outcome_limits(req, n, &lim).status, 431);
	lim.max_header++;
	lim.max_request--;
	assert_int_equal(outcome_limits(req, n, &lim).status, 414);
	lim.max_request = 3;
	assert_int_equal(outcome_limits(req, n, &lim).status, 414);
	/* Refused while it streams: without an end of line in sight. */
	lim = (struct handshake_limits){.max_header = 100, .max_request = 100};
	memset(req, 'A', sizeof(req));
	assert_int_equal(outcome_limits(req, 101, &lim).status, 414);
	assert_int_equal(outcome_limits(req, 100, &lim).status, 0);
	memcpy(req, "GET /", 5);
	assert_int_equal(outcome_limits(req, 101, &lim).status, 414);
	assert_int_equal(outcome_limits(req, 100, &lim).status, 0);
	memcpy(req, GET("/"), 16);
	assert_int_equal(outcome_limits(req, 117, &lim).status, 431);
	assert_int_equal(outcome_limits(req, 116, &lim).status, 0);
	for (size_t i = 0; i < 1000; i++)
		req[i] = i % 2 ? '\n' : '\r'; /* empty lines for ever */
	assert_int_equal(outcome_limits(req, 1000, &lim).status, 414);
}

static void collect(const char *value, void *arg)
{
	strcat(arg, value);
	strcat(arg, "|");
}

static void test_views(void **state)
{
	const char *req = "GET /ws/a%20b/c/?x=1?2 HTTP/1.1\r\nhost: \t Example.Org:8000 \t\r\n"
			  "X-One:first\r\nEmpty:  \r\nx-ONE:  second  line \r\nX-Onex: no\r\n\r\n";
	const char *absolute = "GET HTTP://other:81?q HTTP/1.1\r\nHost: x\r\nLast: 1\r\n\r\n";
	size_t used;

	(void)state;
	for (size_t piece = 1; piece <= strlen(req); piece++) {
		struct handshake *h = feed(req, strlen(req), piece, &limits, &used);
		char all[100] = "";

		assert_string_equal(handshake_method(h), "GET");
		assert_string_equal(handshake_path(h), "/ws/a%20b/c/");
		assert_string_equal(handshake_query(h), "x=1?2");
		assert_string_equal(handshake_header(h, "Host"), "Example.Org:8000");
		assert_string_equal(handshake_authority(h), "Example.Org:8000");
		assert_string_equal(handshake_header(h, "x-one"), "first");
		assert_string_equal(handshake_header(h, "EMPTY"), "");
		assert_null(handshake_header(h, "X-On"));
		assert_null(handshake_header(h, "first"));
		handshake_each(h, "x-One", collect, all);
		assert_string_equal(all, "first|second  line|");
		handshake_free(h);
		h = feed(absolute, strlen(absolute), piece, &limits, &used);
		assert_string_equal(handshake_path(h), "/");
		assert_string_equal(handshake_query(h), "q");
		assert_string_equal(handshake_authority(h), "other:81");
		assert_string_equal(handshake_header(h, "host"), "x");
		assert_string_equal(handshake_header(h, "last"), "1");
		assert_null(handshake_header(h, "other:81"));
		handshake_free(h);
	}
	handshake_free(NULL);
}

/* Headers above what stands in the struct: the store moves while it is read. */
static void test_large_request(void **state)
{
	char req[9000] = GET("/ws/chat/bob") WS, value[3001];
	size_t n = strlen(req), used;

	(void)state;
	memset(value, 'v', 3000);
	value[3000] = '\0';
	n += (size_t)snprintf(req + n, sizeof(req) - n, "X-Long: %s\r\nX-Last: z\r\n\r\n", value);
	for (size_t piece = 1; piece <= n; piece = 3 * piece) {
		struct handshake *h = feed(req, n, piece, &limits, &used);

		assert_string_equal(handshake_path(h), "/ws/chat/bob");
		assert_string_equal(handshake_header(h, "X-Long"), value);
		assert_string_equal(handshake_header(h, "X-Last"), "z");
		assert_int_equal(handshake_check(h).status, 0);
		handshake_free(h);
	}
}

static void test_out_of_memory(void **state)
{
	char req[6000] = "GET http://example.org/ws/chat/bob HTTP/1.1\r\n" WS "X: ";
	size_t n = strlen(req), used = 0;
	struct handshake *h;

	(void)state;
	left = 0;
	h = handshake_new(&limits);
	left = -1;
	assert_null(h);
	memset(req + n, 'v', 4000);
	memcpy(req + n + 4000, "\r\n\r\n", 4);
	n += 4004;
	h = handshake_new(&limits);
	left = 0;
	calls = 0;
	assert_int_equal(handshake_feed(h, req, n, &used), HANDSHAKE_FAILED);
	left = -1;
	assert_int_equal(calls, 1);
	assert_int_equal(handshake_answer(h).status, 503);
	assert_true(strlen(handshake_answer(h).text) > 0);
	handshake_free(h);
	/* A request of the usual size takes one allocation. */
	calls = 0;
	h = handshake_new(&limits);
	req[0] = '\0';
	strcat(req, GET("/ws/chat/bob") WS "\r\n");
	assert_int_equal(handshake_feed(h, req, strlen(req), &used), HANDSHAKE_DONE);
	assert_int_equal(calls, 1);
	handshake_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_http10),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_unfinished),
		cmocka_unit_test(test_frames_behind_are_left),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_views),
		cmocka_unit_test(test_large_request),
		cmocka_unit_test(test_out_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
