/*
 * test_vector: all makes of the loops over payload bytes do the same, wherever the bytes lie and
 * however many they are. What is said about AVX2 holds where the processor has it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../../src/ws/mask.h"
#include "../../src/ws/utf8_blocks.h"

static uint32_t seed = 1;

static uint32_t any(void)
{
	return (seed = seed * 1664525u + 1013904223u) >> 8;
}

/* ---- masks ---- */

#define ROOM 700

static void test_mask(void **state)
{
	static const uint8_t mask[4] = {0x00, 0xff, 0x5a, 0x13};
	uint8_t before[ROOM], after[ROOM];

	(void)state;
	for (size_t i = 0; i < ROOM; i++)
		before[i] = (uint8_t)any();
	for (unsigned v = VECTOR_PLAIN; v <= vector_best(); v++) {
		for (size_t at = 0; at < 64; at++) {
			for (size_t len = 0; len < 600; len += len < 300 ? 1 : 37) {
				memcpy(after, before, ROOM);
				mask_apply((enum vector)v, mask, after + at, len);
				for (size_t i = 0; i < ROOM; i++) {
					bool in = i >= at && i < at + len;

					if (after[i] != (before[i] ^ (in ? mask[(i - at) & 3] : 0)))
						fail_msg("make %u, %zu bytes at %zu: byte %zu", v,
							len, at, i);
				}
			}
		}
	}
}

/* ---- UTF-8 ---- */

/* The automaton alone is proven for all sequences elsewhere (test_utf8). */
static void same(const uint8_t *p, size_t len, utf8_state from)
{
	utf8_state want = from;
	bool good = utf8_feed_as(VECTOR_PLAIN, &want, p, len);

	for (unsigned v = VECTOR_128; v <= vector_best(); v++) {
		utf8_state s = from;

		if (utf8_feed_as((enum vector)v, &s, p, len) != good || (good && s != want)) {
			for (size_t i = 0; i < len; i++)
				print_error("%02x ", p[i]);
			fail_msg("make %u: not %s", v, good ? "good" : "bad");
		}
	}
}

static const uint8_t edges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1,
	0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xff};
#define EDGES (sizeof(edges))

/* Four bytes of all kinds across each kind of border: of vectors, of blocks, of the whole. */
static void test_four_bytes(void **state)
{
	static const size_t at[] = {0, 13, 29, 30, 31, 61, 62, 63, 92, 93, 94, 96};
	uint8_t text[100];

	(void)state;
	for (size_t k = 0; k < sizeof(at) / sizeof(*at); k++) {
		for (size_t i = 0; i < EDGES * EDGES * EDGES * EDGES; i++) {
			size_t len = k % 3 ? 100 : at[k] + 4 < 32 ? 32 : at[k] + 4;

			memset(text, 'x', sizeof(text));
			text[at[k]] = edges[i % EDGES];
			text[at[k] + 1] = edges[i / EDGES % EDGES];
			text[at[k] + 2] = edges[i / EDGES / EDGES % EDGES];
			text[at[k] + 3] = edges[i / EDGES / EDGES / EDGES];
			same(text, len, 0);
		}
	}
}

/* A character of 1 to 4 bytes; its length. */
static size_t put(uint8_t *p)
{
	static const char *const chars[] = {"a", "~", "\xc2\x80", "\xdf\xbf", "\xc3\xa9",
		"\xe0\xa0\x80", "\xe2\x82\xac", "\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x90\x80\x80",
		"\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"};
	const char *c = chars[any() % (any() % 4 ? 12 : 2)];
	size_t n = strlen(c);

	memcpy(p, c, n);
	return n;
}

/* Texts, cut anywhere, begun anywhere, with a byte changed, at every address. */
static void test_texts(void **state)
{
	uint8_t *text = malloc(64 + 1000);

	(void)state;
	assert_non_null(text);
	for (unsigned round = 0; round < 30000; round++) {
		size_t n = 0, want = any() % (round % 8 ? 200 : 900), from;
		uint8_t *p = text + round % 64;
		utf8_state s = 0;

		while (n < want)
			n += put(p + n);
		same(p, n, 0);
		from = n ? any() % n : 0;
		assert_true(utf8_feed_as(VECTOR_PLAIN, &s, p, from));
		same(p + from, n - from, s);
		same(p, from, 0);
		if (n) {
			p[any() % n] = round % 2 ? edges[any() % EDGES] : (uint8_t)any();
			same(p, n, 0);
			same(p + from, n - from, s);
		}
	}
	free(text);
}

/* Long runs of ASCII, and what lies at any place behind them. */
static void test_ascii(void **state)
{
	uint8_t text[400];

	(void)state;
	for (size_t len = 0; len <= 330; len++) {
		memset(text, 'x', sizeof(text));
		same(text, len, 0);
		for (size_t at = 0; at < len; at++) {
			text[at] = 0x80;
			same(text, len, 0);
			text[at] = 'x';
		}
		if (len >= 2) {
			memcpy(text + len - 2, "\xc3\xa9", 2);
			same(text, len, 0);
			same(text, len - 1, 0);
			same(text, 400, 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mask),
		cmocka_unit_test(test_four_bytes),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_ascii),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
