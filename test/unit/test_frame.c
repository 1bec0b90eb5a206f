#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <wsgate/frame.h>

static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};

/* A client's header, lengths in any form: 0 lets the shortest be taken, else 7, 16 or 64 bits. */
static size_t client_head(uint8_t *out, uint8_t first, uint64_t length, int bits)
{
	size_t n = 2;

	if (bits == 0)
		bits = length < 126 ? 7 : length < 65536 ? 16 : 64;
	out[0] = first;
	out[1] = 0x80;
	if (bits == 7) {
		out[1] = (uint8_t)(0x80 | length);
	} else {
		out[1] = bits == 16 ? 0xfe : 0xff;
		for (int i = bits - 8; i >= 0; i -= 8)
			out[n++] = (uint8_t)(length >> i);
	}
	memcpy(out + n, key, 4);
	return n + 4;
}

static void expect_error(const uint8_t *bytes, size_t len, bool allow_rsv1)
{
	for (size_t piece = 1; piece <= len; piece += len - 1 ? len - 1 : 1) {
		struct ws_frame_parser p = {.left = 0};
		struct ws_frame_event ev = {.kind = WS_FRAME_NONE};
		uint8_t copy[32];

		memcpy(copy, bytes, len);
		for (size_t at = 0; at < len && ev.kind == WS_FRAME_NONE; at += piece)
			ws_frame_parse(&p, copy + at, piece < len - at ? piece : len - at,
				allow_rsv1, &ev);
		assert_int_equal(ev.kind, WS_FRAME_ERROR);
		assert_int_equal(ev.code, 1002);
		assert_non_null(ev.reason);
	}
}

/* RFC 6455 5.7: a single-frame masked text message. */
static void test_rfc_masked_hello(void **state)
{
	uint8_t b[] = {0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58};
	struct ws_frame_parser p = {.left = 0};
	struct ws_frame_event ev;

	(void)state;
	assert_int_equal(ws_frame_parse(&p, b, sizeof(b), false, &ev), 6);
	assert_int_equal(ev.kind, WS_FRAME_BEGIN);
	assert_int_equal(ev.opcode, WS_TEXT);
	assert_int_equal(ev.length, 5);
	assert_true(ev.fin);
	assert_false(ev.rsv1);
	assert_int_equal(ws_frame_parse(&p, b + 6, 5, false, &ev), 5);
	assert_int_equal(ev.kind, WS_FRAME_PAYLOAD);
	assert_true(ev.end);
	assert_ptr_equal(ev.data, b + 6);
	assert_int_equal(ev.len, 5);
	assert_memory_equal(ev.data, "Hello", 5);
	assert_int_equal(ws_frame_parse(&p, b, 0, false, &ev), 0);
	assert_int_equal(ev.kind, WS_FRAME_NONE);
}

/* The other examples of RFC 6455 5.7, as we write them. */
static void test_rfc_headers(void **state)
{
	uint8_t out[WS_HEADER_MAX];

	(void)state;
	assert_int_equal(ws_frame_header(out, WS_TEXT, true, false, 5), 2);
	assert_memory_equal(out, "\x81\x05", 2);
	assert_int_equal(ws_frame_header(out, WS_TEXT, false, false, 3), 2);
	assert_memory_equal(out, "\x01\x03", 2);
	assert_int_equal(ws_frame_header(out, WS_CONT, true, false, 2), 2);
	assert_memory_equal(out, "\x80\x02", 2);
	assert_int_equal(ws_frame_header(out, WS_PING, true, false, 5), 2);
	assert_memory_equal(out, "\x89\x05", 2);
	assert_int_equal(ws_frame_header(out, WS_BINARY, true, false, 256), 4);
	assert_memory_equal(out, "\x82\x7e\x01\x00", 4);
	assert_int_equal(ws_frame_header(out, WS_BINARY, true, false, 65536), 10);
	assert_memory_equal(out, "\x82\x7f\0\0\0\0\0\x01\0\0", 10);
	assert_int_equal(ws_frame_header(out, WS_TEXT, true, true, 0), 2);
	assert_memory_equal(out, "\xc1\x00", 2);
	assert_int_equal(ws_frame_header(out, WS_BINARY, true, false, 125), 2);
	assert_int_equal(out[1], 125);
	assert_int_equal(ws_frame_header(out, WS_BINARY, true, false, 126), 4);
	assert_memory_equal(out, "\x82\x7e\x00\x7e", 4);
	assert_int_equal(ws_frame_header(out, WS_BINARY, true, false, 65535), 4);
	assert_memory_equal(out, "\x82\x7e\xff\xff", 4);
}

static void check_length(uint64_t length, size_t piece)
{
	uint8_t head[14], *body = malloc(length + 1), *want = malloc(length + 1);
	size_t n = client_head(head, 0x82, length, 0), at = 0;
	struct ws_frame_parser p = {.left = 0};
	struct ws_frame_event ev;

	assert_non_null(body);
	assert_non_null(want);
	for (size_t i = 0; i < length; i++) {
		want[i] = (uint8_t)(i * 7 + i / 256);
		body[i] = want[i] ^ key[i % 4];
	}
	body[length] = 0xa5; /* must stay */
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(ws_frame_parse(&p, head + i, 1, false, &ev), 1);
		assert_int_equal(ev.kind, i + 1 < n ? WS_FRAME_NONE : WS_FRAME_BEGIN);
	}
	assert_true(ev.length == length);
	do {
		size_t m = piece < length - at ? piece : length - at;
		size_t used = ws_frame_parse(&p, body + at, m, false, &ev);

		assert_int_equal(used, m);
		assert_int_equal(ev.kind, WS_FRAME_PAYLOAD);
		assert_int_equal(ev.len, m);
		at += m;
		assert_int_equal(ev.end, at == length);
	} while (at < length);
	assert_memory_equal(body, want, length);
	assert_int_equal(body[length], 0xa5);
	assert_int_equal(ws_frame_parse(&p, body, 0, false, &ev), 0);
	assert_int_equal(ev.kind, WS_FRAME_NONE);
	free(body);
	free(want);
}

static void test_lengths(void **state)
{
	static const uint64_t lengths[] = {
		0, 1, 7, 8, 31, 32, 33, 124, 125, 126, 127, 65534, 65535, 65536, 65537, 200000};

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		check_length(lengths[i], SIZE_MAX);
		check_length(lengths[i], 4099);
		for (size_t piece = 1; piece < 70; piece += 3)
			check_length(lengths[i], piece);
	}
}

/* The bytes behind a frame are another's: unmasking must not touch them, wherever it starts. */
static void test_unmask_stays_inside(void **state)
{
	(void)state;
	for (size_t len = 0; len < 80; len++)
		for (size_t shift = 0; shift < 9; shift++) {
			uint8_t head[14], *b = malloc(shift + len + 1);
			struct ws_frame_parser p = {.left = 0};
			struct ws_frame_event ev;

			assert_non_null(b);
			memset(b, 0x5a, shift + len + 1);
			ws_frame_parse(&p, head, client_head(head, 0x82, len, 0), false, &ev);
			assert_int_equal(ws_frame_parse(&p, b + shift, len + 1, false, &ev), len);
			for (size_t i = 0; i < len; i++)
				assert_int_equal(b[shift + i], 0x5a ^ key[i % 4]);
			for (size_t i = 0; i < shift; i++)
				assert_int_equal(b[i], 0x5a);
			assert_int_equal(b[shift + len], 0x5a);
			free(b);
		}
}

static void test_lengths_refused(void **state)
{
	static const struct {
		uint64_t length;
		int bits;
	} bad[] = {{0, 16}, {125, 16}, {0, 64}, {125, 64}, {126, 64}, {65535, 64},
		{UINT64_C(1) << 63, 64}, {UINT64_MAX, 64}};
	uint8_t b[14];
	struct ws_frame_parser p = {.left = 0};
	struct ws_frame_event ev;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		expect_error(b, client_head(b, 0x82, bad[i].length, bad[i].bits), false);
	/* The largest that the protocol has is fine here: limits are the caller's. */
	ws_frame_parse(&p, b, client_head(b, 0x82, INT64_MAX, 64), false, &ev);
	assert_int_equal(ev.kind, WS_FRAME_BEGIN);
	assert_true(ev.length == INT64_MAX);
}

static void test_first_bytes(void **state)
{
	(void)state;
	for (unsigned first = 0; first < 256; first++)
		for (int rsv1 = 0; rsv1 < 2; rsv1++) {
			uint8_t b[14], op = first & 15;
			size_t n = client_head(b, (uint8_t)first, 1, 0);
			bool control = op >= 8 && op <= 10;
			bool ok = (op == 1 || op == 2 || control) && !(first & 0x30);
			struct ws_frame_parser p = {.left = 0};
			struct ws_frame_event ev;

			if ((first & 0x40) && (control || !rsv1))
				ok = false;
			if (control && !(first & 0x80))
				ok = false;
			if (!ok) {
				expect_error(b, n, rsv1);
				continue;
			}
			assert_int_equal(ws_frame_parse(&p, b, n, rsv1, &ev), n);
			assert_int_equal(ev.kind, WS_FRAME_BEGIN);
			assert_int_equal(ev.opcode, op);
			assert_int_equal(ev.fin, first >> 7);
			assert_int_equal(ev.rsv1, first >> 6 & 1);
		}
}

static void test_fails_with_the_first_bad_byte(void **state)
{
	struct ws_frame_parser p = {.left = 0};
	struct ws_frame_event ev;
	uint8_t b = 0xb1, unmasked[2] = {0x81, 0x05}, ping[2] = {0x89, 0xfe};

	(void)state;
	ws_frame_parse(&p, &b, 1, false, &ev);
	assert_int_equal(ev.kind, WS_FRAME_ERROR);
	expect_error(unmasked, 2, false);
	expect_error(ping, 2, false);
	ping[1] = 0xff;
	expect_error(ping, 2, false);
}

static void feed_head(struct ws_frame_parser *p, uint8_t first, struct ws_frame_event *ev)
{
	uint8_t b[14];

	ws_frame_parse(p, b, client_head(b, first, 0, 0), true, ev);
	if (ev->kind == WS_FRAME_BEGIN) {
		struct ws_frame_event end;

		assert_int_equal(ws_frame_parse(p, b, 0, true, &end), 0);
		assert_int_equal(end.kind, WS_FRAME_PAYLOAD);
		assert_true(end.end);
		assert_int_equal(end.len, 0);
	}
}

static void test_fragmentation(void **state)
{
	static const struct {
		uint8_t first[5];
		int n;
		bool ok;
	} cases[] = {
		{{0x01, 0x80}, 2, true},
		{{0x01, 0x00, 0x89, 0x00, 0x80}, 5, true}, /* a Ping between fragments */
		{{0x02, 0x8a, 0x80, 0x81}, 4, true},
		{{0x41, 0x80}, 2, true}, /* RSV1 on the first only */
		{{0x41, 0xc0}, 2, false},
		{{0x01, 0x40}, 2, false},
		{{0x80}, 1, false}, /* continues nothing */
		{{0x00}, 1, false},
		{{0x81, 0x80}, 2, false},
		{{0x01, 0x80, 0x80}, 3, false},
		{{0x01, 0x81}, 2, false}, /* a new one inside */
		{{0x01, 0x00, 0x02}, 3, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct ws_frame_parser p = {.left = 0};
		struct ws_frame_event ev = {.kind = WS_FRAME_NONE};

		for (int k = 0; k < cases[i].n; k++) {
			bool good = cases[i].ok || k + 1 < cases[i].n;

			feed_head(&p, cases[i].first[k], &ev);
			if (ev.kind != (good ? WS_FRAME_BEGIN : WS_FRAME_ERROR))
				fail_msg("case %zu, frame %d: %d", i, k, (int)ev.kind);
		}
	}
}

static uint16_t close_verdict(unsigned code, const char *reason, size_t len)
{
	uint8_t b[WS_CONTROL_MAX];
	uint16_t got = 0, wrong;

	b[0] = (uint8_t)(code >> 8);
	b[1] = (uint8_t)code;
	memcpy(b + 2, reason, len);
	wrong = ws_close_check(b, 2 + len, &got);
	if (!wrong)
		assert_int_equal(got, code);
	return wrong;
}

static void test_close_codes(void **state)
{
	static const unsigned good[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012,
		1013, 1014, 3000, 3999, 4000, 4999};
	static const unsigned bad[] = {
		0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535};
	uint16_t code = 0;
	uint8_t one = 3;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_int_equal(close_verdict(good[i], "", 0), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(close_verdict(bad[i], "", 0), 1002);
	assert_int_equal(ws_close_check(NULL, 0, &code), 0);
	assert_int_equal(code, 1005);
	assert_int_equal(ws_close_check(&one, 1, &code), 1002);
	assert_int_equal(close_verdict(1000, "bye \xe2\x82\xac", 7), 0);
	assert_int_equal(close_verdict(1000, "\xe2\x82", 2), 1007);
	assert_int_equal(close_verdict(1000, "\xff", 1), 1007);
}

static void test_close_payload(void **state)
{
	uint8_t out[WS_CONTROL_MAX];
	char reason[200];

	(void)state;
	assert_int_equal(ws_close_payload(out, 1005, "x"), 0);
	assert_int_equal(ws_close_payload(out, 1000, NULL), 2);
	assert_memory_equal(out, "\x03\xe8", 2);
	assert_int_equal(ws_close_payload(out, 4002, "gone"), 6);
	assert_memory_equal(out, "\x0f\xa2gone", 6);
	memset(reason, 'r', sizeof(reason));
	reason[123] = '\0';
	assert_int_equal(ws_close_payload(out, 1000, reason), 125);
	reason[123] = 'r';
	reason[199] = '\0';
	assert_int_equal(ws_close_payload(out, 1000, reason), 125);
	/* A character of three bytes across the cut, at each of its bytes. */
	for (size_t at = 120; at <= 124; at++) {
		memset(reason, 'r', 199);
		memcpy(reason + at, "\xe2\x82\xac", 3);
		assert_int_equal(ws_close_payload(out, 1000, reason),
			2 + (at == 120 || at > 122 ? 123 : at));
		assert_memory_equal(out + 2, reason, at < 123 ? at : 123);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc_masked_hello),
		cmocka_unit_test(test_rfc_headers),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_unmask_stays_inside),
		cmocka_unit_test(test_lengths_refused),
		cmocka_unit_test(test_first_bytes),
		cmocka_unit_test(test_fails_with_the_first_bad_byte),
		cmocka_unit_test(test_fragmentation),
		cmocka_unit_test(test_close_codes),
		cmocka_unit_test(test_close_payload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
