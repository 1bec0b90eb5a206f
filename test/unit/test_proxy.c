#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <wsgate/proxy.h>

#define MORE "behind it"

/* Fed in pieces of that size, from memory that ends where the piece does. */
static enum proxy_state feed(
	const uint8_t *data, size_t len, size_t piece, size_t *used, struct proxy_source *out)
{
	struct proxy_parser p = {.len = 0};
	enum proxy_state state = PROXY_MORE;

	*used = 0;
	while (*used < len && state == PROXY_MORE) {
		size_t n = piece < len - *used ? piece : len - *used, took;
		uint8_t *copy = malloc(n);

		assert_non_null(copy);
		memcpy(copy, data + *used, n);
		state = proxy_feed(&p, copy, n, &took);
		assert_true(state == PROXY_MORE ? took == n : took <= n);
		*used += took;
		free(copy);
	}
	if (state == PROXY_DONE)
		*out = proxy_source(&p);
	return state;
}

static void text_of(const struct proxy_source *s, char out[80])
{
	char addr[INET6_ADDRSTRLEN];

	if (!s->known) {
		strcpy(out, "unknown");
		return;
	}
	inet_ntop(AF_INET6, s->addr, addr, sizeof(addr));
	snprintf(out, 80, "%s %u", strncmp(addr, "::ffff:", 7) == 0 ? addr + 7 : addr, s->port);
}

/* want NULL: refused. Every way to cut it, and every end that comes too early. */
static void check(const void *header, size_t len, const char *want)
{
	uint8_t data[70000];
	struct proxy_source s;
	char got[80];
	size_t used;

	memcpy(data, header, len);
	memcpy(data + len, MORE, sizeof(MORE));
	for (size_t piece = 1; piece <= len + sizeof(MORE); piece += piece < 300 ? 1 : 997) {
		enum proxy_state state = feed(data, len + sizeof(MORE), piece, &used, &s);

		if (!want) {
			if (state != PROXY_FAILED)
				fail_msg("not refused: %.*s", (int)len, (const char *)header);
			continue;
		}
		if (state != PROXY_DONE || used != len)
			fail_msg("piece %zu: state %d after %zu: %.*s", piece, state, used,
				(int)len, (const char *)header);
		text_of(&s, got);
		assert_string_equal(got, want);
	}
	for (size_t cut = 0; want && cut < len; cut += cut < 300 ? 1 : 997)
		assert_int_equal(feed(data, cut, 7, &used, &s), PROXY_MORE);
}

static void test_v1(void **state)
{
	static const struct {
		const char *line, *want;
	} rows[] = {
		{"PROXY TCP4 192.0.2.1 198.51.100.2 4711 80\r\n", "192.0.2.1 4711"},
		{"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
			"255.255.255.255 65535"},
		{"PROXY TCP6 2001:db8::1 ::1 0 443\r\n", "2001:db8::1 0"},
		{"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
			"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535"},
		{"PROXY TCP6 ::ffff:192.0.2.1 ::1 5 6\r\n", "192.0.2.1 5"},
		{"PROXY UNKNOWN\r\n", "unknown"},
		{"PROXY UNKNOWN ffff::1 whatever 65536 x\r\n", "unknown"},
		{"PROXY TCP4 192.0.2.1 198.51.100.2 4711 80\n", NULL},
		{"PROXY TCP4 192.0.2.1 198.51.100.2 4711 80\r\r\n", NULL},
		{"PROXY TCP4 192.0.2.1 198.51.100.2 4711 80 \r\n", NULL},
		{"PROXY TCP4 192.0.2.1 198.51.100.2 4711\r\n", NULL},
		{"PROXY TCP4 192.0.2.1 198.51.100.2 4711 80 1\r\n", NULL},
		{"PROXY TCP4  192.0.2.1 198.51.100.2 4711 80\r\n", NULL},
		{"PROXY  TCP4 192.0.2.1 198.51.100.2 4711 80\r\n", NULL},
		{"PROXY TCP4 192.0.2.1 198.51.100.2 65536 80\r\n", NULL},
		{"PROXY TCP4 192.0.2.1 198.51.100.2 4711 99999999999\r\n", NULL},
		{"PROXY TCP4 192.0.2.1 198.51.100.2 04711 80\r\n", NULL},
		{"PROXY TCP4 192.0.2.1 198.51.100.2 -1 80\r\n", NULL},
		{"PROXY TCP4 192.0.2.256 198.51.100.2 4711 80\r\n", NULL},
		{"PROXY TCP4 192.0.2.1 example 4711 80\r\n", NULL},
		{"PROXY TCP4 ::1 ::1 4711 80\r\n", NULL},
		{"PROXY TCP6 192.0.2.1 198.51.100.2 4711 80\r\n", NULL},
		{"PROXY TCP5 192.0.2.1 198.51.100.2 4711 80\r\n", NULL},
		{"PROXY UDP4 192.0.2.1 198.51.100.2 4711 80\r\n", NULL},
		{"PROXY UNKNOWNX\r\n", NULL},
		{"PROXY \r\n", NULL},
		{"PROXY\r\n", NULL},
		{"proxy TCP4 192.0.2.1 198.51.100.2 4711 80\r\n", NULL},
		{"GET / HTTP/1.1\r\n", NULL},
		{"POST / HTTP/1.1\r\n", NULL},
		{"\x16\x03\x01 hello\r\n", NULL},
		{"\n", NULL},
	};
	char line[300];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		check(rows[i].line, strlen(rows[i].line), rows[i].want);
	/* 107 bytes with CR LF, and not one more. */
	snprintf(line, sizeof(line), "PROXY UNKNOWN %091d\r\n", 0);
	assert_int_equal(strlen(line), PROXY_V1_MAX);
	check(line, strlen(line), "unknown");
	snprintf(line, sizeof(line), "PROXY UNKNOWN %092d\r\n", 0);
	check(line, strlen(line), NULL);
	check("PROXY TCP4 192.0.2.1\0 198.51.100.2 4711 80\r\n", 44, NULL);
}

static size_t v2(uint8_t out[66000], uint8_t command, uint8_t family, size_t announced, size_t more)
{
	static const uint8_t inet[] = {192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x67, 0, 80};
	static const uint8_t inet6[36] = {
		0x20, 1, 0xd, 0xb8, [15] = 1, [31] = 1, 0x12, 0x67, 0, 80};
	size_t n = 16;

	memcpy(out, "\r\n\r\n\0\r\nQUIT\n", 12);
	out[12] = command;
	out[13] = family;
	out[14] = (uint8_t)(announced >> 8);
	out[15] = (uint8_t)announced;
	if (family >> 4 == 1) {
		memcpy(out + n, inet, sizeof(inet));
		n += sizeof(inet);
	} else if (family >> 4 == 2) {
		memcpy(out + n, inet6, sizeof(inet6));
		n += sizeof(inet6);
	} else if (family >> 4 == 3) {
		memset(out + n, 'u', 216);
		n += 216;
	}
	memset(out + n, 0xcc, more); /* TLVs that make no sense */
	return n + more;
}

static void test_v2(void **state)
{
	static uint8_t b[66000];

	(void)state;
	check(b, v2(b, 0x21, 0x11, 12, 0), "192.0.2.1 4711");
	check(b, v2(b, 0x21, 0x21, 36, 0), "2001:db8::1 4711");
	check(b, v2(b, 0x21, 0x11, 12 + 300, 300), "192.0.2.1 4711");
	check(b, v2(b, 0x21, 0x21, 65535, 65535 - 36), "2001:db8::1 4711");
	/* LOCAL: whatever the family. */
	check(b, v2(b, 0x20, 0x11, 12, 0), "unknown");
	check(b, v2(b, 0x20, 0x00, 0, 0), "unknown");
	check(b, v2(b, 0x20, 0xff, 9, 9), "unknown");
	/* UNSPEC, UNIX, and what is not TCP. */
	check(b, v2(b, 0x21, 0x00, 0, 0), "unknown");
	check(b, v2(b, 0x21, 0x00, 5, 5), "unknown");
	check(b, v2(b, 0x21, 0x31, 216, 0), "unknown");
	check(b, v2(b, 0x21, 0x31, 216 + 40, 40), "unknown");
	check(b, v2(b, 0x21, 0x12, 12, 0), "unknown");
	/* Refused. */
	check(b, v2(b, 0x11, 0x11, 12, 0), NULL);
	check(b, v2(b, 0x31, 0x11, 12, 0), NULL);
	check(b, v2(b, 0x22, 0x11, 12, 0), NULL);
	check(b, v2(b, 0x21, 0x41, 12, 12), NULL);
	check(b, v2(b, 0x21, 0x13, 12, 0), NULL);
	check(b, v2(b, 0x21, 0x11, 11, 0), NULL);
	check(b, v2(b, 0x21, 0x21, 35, 0), NULL);
	for (size_t i = 0; i < 12; i++) {
		size_t n = v2(b, 0x21, 0x11, 12, 0);

		b[i] ^= 0x20;
		check(b, n, NULL);
	}
}

/* ---- X-Forwarded-For and Forwarded ---- */

static bool (*chain_of)(const struct handshake *h, struct proxy_chain *out);

static void chain_text(const char *headers, char *out)
{
	static const struct handshake_limits limits = {.max_header = 16384, .max_request = 8192};
	struct handshake *h = handshake_new(&limits);
	struct proxy_chain chain;
	char req[9000], one[80];
	size_t used, n;

	assert_non_null(h);
	n = (size_t)snprintf(req, sizeof(req), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", headers);
	assert_true(n < sizeof(req));
	assert_int_equal(handshake_feed(h, req, n, &used), HANDSHAKE_DONE);
	strcpy(out, chain_of(h, &chain) ? "" : "malformed");
	for (size_t i = 0; *out != 'm' && i < chain.n; i++) {
		text_of(&chain.v[i], one);
		strcat(strcat(out, one), "; ");
	}
	handshake_free(h);
}

static void check_chain(const char *headers, const char *want)
{
	char got[4000];

	chain_text(headers, got);
	if (strcmp(got, want) != 0)
		fail_msg("%s: \"%s\", not \"%s\"", headers, got, want);
}

static void test_x_forwarded_for(void **state)
{
	char many[4000] = "X-Forwarded-For: 192.0.2.99", *at = many + strlen(many), got[4000];

	(void)state;
	chain_of = proxy_x_forwarded_for;
	check_chain("", "");
	check_chain("X-Forwarded-For:\r\n", "");
	check_chain("X-Forwarded-For: , ,\t,\r\n", "");
	check_chain("X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1 0; ");
	check_chain("x-forwarded-for: 192.0.2.1 , 2001:db8::1,10.0.0.1\r\n",
		"192.0.2.1 0; 2001:db8::1 0; 10.0.0.1 0; ");
	check_chain("X-Forwarded-For: a, b\r\nX-Forwarded-For: 192.0.2.1:80, [::1]:81, [::1]\r\n",
		"unknown; unknown; 192.0.2.1 80; ::1 81; ::1 0; ");
	check_chain("X-Forwarded-For: 192.0.2.1:, 192.0.2.1:99999, 192.0.2.1:x, 192.0.2, [::1, "
		    "[192.0.2.1], ::1:2::3, \"192.0.2.1\", 192.0.2.1 x\r\n",
		"unknown; unknown; unknown; unknown; unknown; unknown; unknown; unknown; "
		"unknown; ");
	check_chain("X-Forwarded-For: "
		    "1111111111111111111111111111111111111111111111111111111111111111111111111\r\n",
		"unknown; ");
	for (int i = 0; i < PROXY_CHAIN_MAX; i++)
		at += sprintf(at, ", 192.0.2.%d", i + 1);
	strcpy(at, "\r\n");
	chain_text(many, got);
	assert_int_equal(strncmp(got, "192.0.2.1 0; 192.0.2.2 0; ", 26), 0);
	assert_string_equal(got + strlen(got) - 14, "192.0.2.32 0; ");
}

static void test_forwarded(void **state)
{
	(void)state;
	chain_of = proxy_forwarded;
	check_chain("", "");
	check_chain("Forwarded: for=192.0.2.1\r\n", "192.0.2.1 0; ");
	check_chain("Forwarded: For=\"192.0.2.1:4711\"\r\n", "192.0.2.1 4711; ");
	check_chain("forwarded: by=x;FOR=\"[2001:db8::1]:4711\" ; proto=https , for=10.0.0.1\r\n",
		"2001:db8::1 4711; 10.0.0.1 0; ");
	check_chain("Forwarded: for=\"[2001:db8::1]\",for=unknown,for=_hidden, for=\"_x\", "
		    "proto=http\r\n",
		"2001:db8::1 0; unknown; unknown; unknown; unknown; ");
	check_chain("Forwarded: for=192.0.2.1\r\nForwarded: ,for=192.0.2.2,\r\n",
		"192.0.2.1 0; 192.0.2.2 0; ");
	check_chain("Forwarded: ext=\"a, for=192.0.2.9 \\\" ; x\";for=\"192.0.2.\\1\"\r\n",
		"192.0.2.1 0; ");
	check_chain("Forwarded: for=\"2001:db8::1\"\r\n",
		"unknown; "); /* without brackets it is none */
	/* What a client left open swallows nothing. */
	check_chain("Forwarded: for=\"x, for=192.0.2.1\r\n", "malformed");
	check_chain("Forwarded: for=\"x, for=\"[2001:db8::1]\"\r\n", "malformed");
	check_chain("Forwarded: a=\"\\\r\n", "malformed");
	check_chain("Forwarded: for=\"x\r\nForwarded: for=192.0.2.1\r\n", "malformed");
	check_chain("Forwarded: for=192.0.2.1;for=192.0.2.2\r\n", "malformed");
	check_chain("Forwarded: for\r\n", "malformed");
	check_chain("Forwarded: for=\r\n", "malformed");
	check_chain("Forwarded: for=[::1]\r\n", "malformed");
	check_chain("Forwarded: for=192.0.2.1 x\r\n", "malformed");
	check_chain("Forwarded: =x\r\n", "malformed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v1),
		cmocka_unit_test(test_v2),
		cmocka_unit_test(test_x_forwarded_for),
		cmocka_unit_test(test_forwarded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
