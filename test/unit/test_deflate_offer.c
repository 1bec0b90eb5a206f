#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <wsgate/deflate.h>
#include <wsgate/handshake.h>

/* answer NULL: nothing is agreed on. bits: ours, then the client's. */
struct row {
	const char *offer, *answer;
	unsigned server, client;
};

static const struct deflate_rules plain = {.context = false, .window_bits = 12};
static const struct deflate_rules context = {.context = true, .window_bits = 12};

static void check(const struct row *rows, size_t n, const struct deflate_rules *rules)
{
	for (size_t i = 0; i < n; i++) {
		char answer[DEFLATE_ANSWER_MAX];
		struct deflate_terms t;
		bool taken = deflate_offer_take(rows[i].offer, rules, &t);
		size_t len;

		if (taken != (rows[i].answer != NULL))
			fail_msg("\"%s\" was %staken", rows[i].offer, taken ? "" : "not ");
		if (!taken)
			continue;
		len = deflate_offer_answer(&t, answer);
		assert_int_equal(len, strlen(answer));
		if (strcmp(answer, rows[i].answer) != 0)
			fail_msg("\"%s\": \"%s\"", rows[i].offer, answer);
		if (t.server_bits != rows[i].server || t.client_bits != rows[i].client)
			fail_msg(
				"\"%s\": %u, %u bits", rows[i].offer, t.server_bits, t.client_bits);
		assert_int_equal(t.server_context, !strstr(answer, "server_no_context"));
		assert_int_equal(t.client_context, !strstr(answer, "client_no_context"));
	}
}

#define D "permessage-deflate"
#define SN "; server_no_context_takeover"
#define CN "; client_no_context_takeover"
#define SB "; server_max_window_bits="
#define CB "; client_max_window_bits"

static void test_without_context(void **state)
{
	static const struct row rows[] = {
		{D, D SN CN, 12, 15},
		{D SN, D SN CN, 12, 15},
		{D CN, D SN CN, 12, 15},
		{D SN CN, D SN CN, 12, 15},
		{D CB, D SN CN, 12, 15}, /* what browsers offer */
		{D CB "=10", D SN CN, 12, 15},
		{D CB "=8", D SN CN, 12, 15},
		{D SB "15", D SN CN SB "12", 12, 15},
		{D SB "10", D SN CN SB "10", 10, 15},
		{D SB "9", D SN CN SB "9", 9, 15},
		{D SB "8", D SN CN SB "8", 8, 15},
		{D SB "10" CB "=9" SN CN, D SN CN SB "10", 10, 15},
		{"  " D " ;  server_max_window_bits  =  11 \t", D SN CN SB "11", 11, 15},
		{D SB "\"11\"", D SN CN SB "11", 11, 15},
		{D SB "\"1\\1\"", D SN CN SB "11", 11, 15},
		{D CB "=\"11\"", D SN CN, 12, 15},
	};

	(void)state;
	check(rows, sizeof(rows) / sizeof(*rows), &plain);
}

static void test_with_context(void **state)
{
	static const struct row rows[] = {
		{D, D, 12, 15},
		{D SN, D SN, 12, 15},
		{D CN, D CN, 12, 15},
		{D SN CN, D SN CN, 12, 15},
		{D CB, D CB "=12", 12, 12},
		{D CB "=15", D CB "=12", 12, 12},
		{D CB "=10", D CB "=10", 12, 10},
		{D CB "=8", D CB "=8", 12, 8},
		{D CB CN, D CN, 12, 15}, /* no window of it is kept */
		{D SB "10" CB, D SB "10" CB "=12", 10, 12},
		{D SB "8" SN CB "=9", D SN SB "8" CB "=9", 8, 9},
	};

	(void)state;
	check(rows, sizeof(rows) / sizeof(*rows), &context);
}

/* RFC 7692 7.1: such an offer is not taken; what follows it may be. */
static void test_refused(void **state)
{
	static const char *const bad[] = {
		"",
		",",
		" , ,",
		"permessage-bzip2",
		"x-webkit-deflate-frame",
		D "-x",
		D "; unknown",
		D "; unknown=1",
		D SN "=1",
		D CN "=15",
		D SN "=",
		D SN SN,
		D CN CN,
		D "; server_max_window_bits",
		D SB,
		D SB "7",
		D SB "16",
		D SB "08",
		D SB "0",
		D SB "-9",
		D SB "9.5",
		D SB "1e1",
		D SB "100000000000000000000015",
		D SB "ten",
		D SB "9" SB "9",
		D SB "\"\"",
		D SB "\"16\"",
		D SB "\"10",
		D SB "\"1 0\"",
		D SB "\"10\"x",
		D CB "=",
		D CB "=7",
		D CB "=16",
		D CB "=015",
		D CB CB,
		D CB CB "=9",
		D CB "=\"",
		D ";",
		D "; ;" SN,
		D ";=9",
		D "=9",
		D " permessage-deflate",
		D SN " x",
		"; " D,
		"\"" D "\"",
		D ";\"server_no_context_takeover\"",
		"permessage-deflate\x01",
		D SB "\"\\",
	};
	char both[300];
	struct deflate_terms t;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (deflate_offer_take(bad[i], &plain, &t))
			fail_msg("\"%s\" was taken", bad[i]);
		if (strchr(bad[i], '"') && !strstr(bad[i], "\"\""))
			continue; /* an open quote hides what follows */
		snprintf(both, sizeof(both), "%s, foo;a=\"x,y\" , " D SB "9," D, bad[i]);
		if (!deflate_offer_take(both, &plain, &t) || t.server_bits != 9)
			fail_msg("behind \"%s\" nothing was taken", bad[i]);
	}
	/* A comma within quotes begins no offer. */
	assert_false(deflate_offer_take("foo; a=\"x, " D "\"", &plain, &t));
	assert_false(deflate_offer_take("foo; a=\"\\\", " D "\"", &plain, &t));
	assert_true(deflate_offer_take("foo; a=\"\\\"\", " D, &plain, &t));
	/* The first that can be taken counts. */
	assert_true(deflate_offer_take(D SB "7, " D SB "11, " D SB "10", &plain, &t));
	assert_int_equal(t.server_bits, 11);
}

static struct handshake *request(const char *headers)
{
	static const struct handshake_limits limits = {.max_header = 16384, .max_request = 8192};
	struct handshake *h = handshake_new(&limits);
	char req[4096];
	size_t n, used;

	assert_non_null(h);
	n = (size_t)snprintf(req, sizeof(req),
		"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: "
		"dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
		headers);
	assert_int_equal(handshake_feed(h, req, n, &used), HANDSHAKE_DONE);
	return h;
}

/* RFC 6455 9.1: several headers are one list. */
static void test_request(void **state)
{
	struct handshake *h = request("Sec-WebSocket-Extensions: foo\r\n"
				      "sec-websocket-extensions: bar, " D SB "9\r\n"
				      "Sec-WebSocket-Extensions: " D "\r\n");
	char out[512], answer[DEFLATE_ANSWER_MAX];
	struct deflate_terms t;

	(void)state;
	assert_true(deflate_offer_agree(h, &plain, &t));
	assert_int_equal(t.server_bits, 9);
	deflate_offer_answer(&t, answer);
	handshake_extend(h, answer);
	out[handshake_accept(h, NULL, out, sizeof(out))] = '\0';
	assert_non_null(strstr(out, "\r\nSec-WebSocket-Extensions: " D SN CN SB "9\r\n\r\n"));
	out[handshake_accept(h, "chat", out, sizeof(out))] = '\0';
	assert_non_null(strstr(out, "\r\nSec-WebSocket-Protocol: chat\r\n"
				    "Sec-WebSocket-Extensions: " D SN CN SB "9\r\n\r\n"));
	handshake_free(h);
	h = request("");
	assert_false(deflate_offer_agree(h, &plain, &t));
	out[handshake_accept(h, NULL, out, sizeof(out))] = '\0';
	assert_null(strstr(out, "Extensions"));
	handshake_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_context),
		cmocka_unit_test(test_with_context),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
