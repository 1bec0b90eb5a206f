#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <wsgate/utf8.h>

/* What begins a character, by its length so far: found by encoding every character there is. */
static uint8_t whole[4][1 << 16], part2[1 << 16];
static uint8_t *whole3, *part3;

static unsigned key2(const uint8_t *p)
{
	return (unsigned)(p[0] << 8 | p[1]);
}

static unsigned key3(const uint8_t *p)
{
	return (unsigned)(p[0] << 16 | p[1] << 8 | p[2]);
}

static size_t encode(uint32_t c, uint8_t *out)
{
	if (c < 0x80) {
		out[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (uint8_t)(0xc0 + c / 64);
		out[1] = (uint8_t)(0x80 + c % 64);
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (uint8_t)(0xe0 + c / 4096);
		out[1] = (uint8_t)(0x80 + c / 64 % 64);
		out[2] = (uint8_t)(0x80 + c % 64);
		return 3;
	}
	out[0] = (uint8_t)(0xf0 + c / 262144);
	out[1] = (uint8_t)(0x80 + c / 4096 % 64);
	out[2] = (uint8_t)(0x80 + c / 64 % 64);
	out[3] = (uint8_t)(0x80 + c % 64);
	return 4;
}

static int collect(void **state)
{
	(void)state;
	whole3 = calloc(1, 1 << 24);
	part3 = calloc(1, 1 << 24);
	if (!whole3 || !part3)
		return -1;
	for (uint32_t c = 0; c <= 0x10ffff; c++) {
		uint8_t b[4];
		size_t n;

		if (c >= 0xd800 && c <= 0xdfff)
			continue;
		n = encode(c, b);
		if (n == 1)
			whole[1][b[0]] = 1;
		if (n == 2)
			whole[2][key2(b)] = 1;
		if (n == 3)
			whole3[key3(b)] = 1;
		if (n > 1)
			whole[0][b[0]] = 1; /* a first byte of more */
		if (n > 2)
			part2[key2(b)] = 1;
		if (n > 3)
			part3[key3(b)] = 1;
	}
	return 0;
}

static int drop(void **state)
{
	(void)state;
	free(whole3);
	free(part3);
	return 0;
}

/* 2: a whole text, 1: the beginning of one, 0: neither. */
static int expected(const uint8_t *p, size_t n)
{
	if (n == 0)
		return 2;
	if (whole[1][p[0]])
		return expected(p + 1, n - 1);
	if (n == 1)
		return whole[0][p[0]];
	if (whole[2][key2(p)])
		return expected(p + 2, n - 2);
	if (n == 2)
		return part2[key2(p)];
	if (whole3[key3(p)])
		return expected(p + 3, n - 3);
	return n == 3 ? part3[key3(p)] : 0;
}

static int judged(const uint8_t *p, size_t n)
{
	utf8_state s = 0;

	if (!utf8_feed(&s, p, n))
		return 0;
	return s == 0 ? 2 : 1;
}

static void test_all_short(void **state)
{
	(void)state;
	for (unsigned a = 0; a < 256; a++) {
		uint8_t b[3] = {(uint8_t)a, 0, 0};

		assert_int_equal(judged(b, 1), expected(b, 1));
		for (unsigned c = 0; c < 256; c++) {
			b[1] = (uint8_t)c;
			assert_int_equal(judged(b, 2), expected(b, 2));
			for (unsigned d = 0; d < 256; d++) {
				b[2] = (uint8_t)d;
				if (judged(b, 3) != expected(b, 3))
					fail_msg("%02x %02x %02x", a, c, d);
			}
		}
	}
}

static void test_four_bytes(void **state)
{
	static const uint8_t edge[] = {
		0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xe0, 0xff};

	(void)state;
	for (unsigned a = 0xf0; a < 256; a++)
		for (unsigned c = 0; c < 256; c++)
			for (size_t i = 0; i < sizeof(edge); i++)
				for (size_t k = 0; k < sizeof(edge); k++) {
					uint8_t b[4] = {(uint8_t)a, (uint8_t)c, edge[i], edge[k]};
					bool ok = part3[key3(b)] && (edge[k] & 0xc0) == 0x80;

					assert_int_equal(judged(b, 4), ok ? 2 : 0);
				}
}

static void test_named_cases(void **state)
{
	static const struct {
		const char *text;
		bool valid;
	} cases[] = {
		{"", true},
		{"Hello", true},
		{"\xc2\x80", true},
		{"\xdf\xbf", true},
		{"\xe0\xa0\x80", true},
		{"\xed\x9f\xbf", true},
		{"\xee\x80\x80", true},
		{"\xef\xbf\xbf", true},
		{"\xf0\x90\x80\x80", true},
		{"\xf4\x8f\xbf\xbf", true},
		{"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", true},
		{"\x80", false},
		{"\xbf", false},
		{"\xc0\x80", false},         /* overlong */
		{"\xc1\xbf", false},         /* overlong */
		{"\xe0\x9f\xbf", false},     /* overlong */
		{"\xf0\x8f\xbf\xbf", false}, /* overlong */
		{"\xed\xa0\x80", false},     /* surrogate */
		{"\xed\xbf\xbf", false},     /* surrogate */
		{"\xf4\x90\x80\x80", false}, /* above U+10FFFF */
		{"\xf5\x80\x80\x80", false},
		{"\xf8\x88\x80\x80\x80", false},
		{"\xfe", false},
		{"\xff", false},
		{"\xc2", false}, /* cut */
		{"\xe2\x82", false},
		{"\xf0\x9f\x98", false},
		{"\xc2\x41", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (utf8_valid((const uint8_t *)cases[i].text, strlen(cases[i].text)) !=
			cases[i].valid)
			fail_msg("case %zu", i);
	assert_true(utf8_valid(NULL, 0));
}

static void test_fails_at_the_first_impossible_byte(void **state)
{
	static const struct {
		const char *text;
		size_t good; /* bytes that may still become a text */
	} cases[] = {
		{"\xf4\x90\x80\x80", 1},
		{"\xf0\x80\x80\x80", 1},
		{"\xed\xa0\x80", 1},
		{"\xe0\x80\x80", 1},
		{"\xc0\x80", 0},
		{"a\xf5", 1},
		{"\xe2\x28\xa1", 1},
		{"\xf0\x9f\x98\x41", 3},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const uint8_t *p = (const uint8_t *)cases[i].text;
		utf8_state s = 0;

		for (size_t n = 0; n < cases[i].good; n++)
			assert_true(utf8_feed(&s, p + n, 1));
		assert_false(utf8_feed(&s, p + cases[i].good, 1));
	}
}

/* Every place for a bad byte, every place to cut, in a text long enough for the fast paths. */
static void test_long_texts(void **state)
{
	enum { LEN = 150 };
	uint8_t text[LEN];
	size_t n = 0;

	(void)state;
	memset(text, 'x', sizeof(text));
	n = 66;
	while (n + 4 <= 100)
		n += encode(n % 3 ? 0x20ac : 0x1f600, text + n);
	assert_true(utf8_valid(text, LEN));
	for (size_t bad = 0; bad < LEN; bad++) {
		uint8_t copy[LEN];
		size_t dies = LEN;
		utf8_state s = 0;

		memcpy(copy, text, LEN);
		copy[bad] = 0xff;
		assert_false(utf8_valid(copy, LEN));
		for (size_t i = 0; i < LEN && dies == LEN; i++)
			if (!utf8_feed(&s, copy + i, 1))
				dies = i;
		assert_int_equal(dies, bad);
	}
	for (size_t cut = 0; cut <= LEN; cut++) {
		utf8_state s = 0;

		assert_true(utf8_feed(&s, text, cut));
		assert_int_equal(s != 0, cut < LEN && (text[cut] & 0xc0) == 0x80);
		assert_true(utf8_feed(&s, text + cut, LEN - cut));
		assert_int_equal(s, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_short),
		cmocka_unit_test(test_four_bytes),
		cmocka_unit_test(test_named_cases),
		cmocka_unit_test(test_fails_at_the_first_impossible_byte),
		cmocka_unit_test(test_long_texts),
	};

	return cmocka_run_group_tests(tests, collect, drop);
}
