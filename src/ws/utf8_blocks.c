/*
 * utf8_blocks: see utf8_blocks.h.
 *
 * What is wrong in UTF-8 (RFC 3629 4) shows in two bytes that follow each other, but for one thing.
 * The bad pairs are eight boxes: so many high halves of the first byte, low halves of it, and high
 * halves of the second one. A bit for each box in three tables of sixteen bytes, one instruction
 * looks up 32 of them: the bits that are in all three are the boxes that a pair is in. The one
 * thing: a continuation behind a continuation, the last box, is right where the byte two places
 * before begins three bytes or more, or the one three places before begins four, and has to be
 * there.
 */
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <string.h>
#include "utf8_blocks.h"

#if defined(__x86_64__)

#define AVX2 __attribute__((target("avx2")))
#define BLOCK 64

enum box {
	STRAY = 1,      /* ASCII, then a continuation */
	SHORT = 2,      /* a lead, then none */
	OVER2 = 4,      /* C0, C1 */
	OVER3 = 8,      /* E0, then 80 … 9F */
	SURROGATE = 16, /* ED, then A0 … BF */
	EIGHTIES = 32,  /* F0 or F5 …, then 80 … 8F */
	BEYOND = 64,    /* F4 or F5 …, then 90 … BF */
	FURTHER = 128,  /* a continuation, then another one */
};
#define ANY (STRAY | SHORT | FURTHER)

static const uint8_t first_high[16] = {
	[0 ... 7] = STRAY,
	[8 ... 11] = FURTHER,
	[12] = SHORT | OVER2,
	[13] = SHORT,
	[14] = SHORT | OVER3 | SURROGATE,
	[15] = SHORT | EIGHTIES | BEYOND,
};
static const uint8_t first_low[16] = {
	[0] = ANY | OVER2 | OVER3 | EIGHTIES,
	[1] = ANY | OVER2,
	[2 ... 3] = ANY,
	[4] = ANY | BEYOND,
	[5 ... 12] = ANY | EIGHTIES | BEYOND,
	[13] = ANY | EIGHTIES | BEYOND | SURROGATE,
	[14 ... 15] = ANY | EIGHTIES | BEYOND,
};
static const uint8_t second_high[16] = {
	[0 ... 7] = SHORT,
	[8] = STRAY | FURTHER | OVER2 | OVER3 | EIGHTIES,
	[9] = STRAY | FURTHER | OVER2 | OVER3 | BEYOND,
	[10 ... 11] = STRAY | FURTHER | OVER2 | SURROGATE | BEYOND,
	[12 ... 15] = SHORT,
};

struct check { /* of a run of vectors */
	__m256i first_high, first_low, second_high;
	__m256i last;  /* the vector before */
	__m256i wrong; /* not zero: something was */
};

AVX2 static inline __m256i table(const uint8_t t[16])
{
	return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)t));
}

AVX2 static inline __m256i splat(unsigned byte)
{
	return _mm256_set1_epi8((char)byte);
}

/* Not ASCII, or behind what was not. */
AVX2 static inline void check_vector(struct check *c, __m256i now)
{
	const __m256i half = splat(0x0f);
	/* The bytes one, two and three places before each; alignr works in halves of a vector. */
	__m256i over = _mm256_permute2x128_si256(c->last, now, 0x21);
	__m256i one = _mm256_alignr_epi8(now, over, 15);
	__m256i two = _mm256_alignr_epi8(now, over, 14);
	__m256i three = _mm256_alignr_epi8(now, over, 13);
	__m256i boxes = _mm256_shuffle_epi8(
		c->first_high, _mm256_and_si256(_mm256_srli_epi16(one, 4), half));
	/* From 60, or 70, on down it does not reach 80. */
	__m256i long_ones = _mm256_or_si256(_mm256_subs_epu8(two, splat(0xe0 - 0x80)),
		_mm256_subs_epu8(three, splat(0xf0 - 0x80)));

	boxes = _mm256_and_si256(
		boxes, _mm256_shuffle_epi8(c->first_low, _mm256_and_si256(one, half)));
	boxes = _mm256_and_si256(boxes, _mm256_shuffle_epi8(c->second_high,
						_mm256_and_si256(_mm256_srli_epi16(now, 4), half)));
	boxes = _mm256_xor_si256(boxes, _mm256_and_si256(long_ones, splat(FURTHER)));
	c->wrong = _mm256_or_si256(c->wrong, boxes);
	c->last = now;
}

/* ASCII alone behind something else: that one must be whole. */
AVX2 static inline void check_ascii(struct check *c, __m256i now)
{
	if (_mm256_movemask_epi8(c->last))
		check_vector(c, now);
	c->last = now;
}

AVX2 static inline void check_block(struct check *c, const uint8_t *p)
{
	__m256i a = _mm256_loadu_si256((const __m256i *)(const void *)p);
	__m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32));

	if (_mm256_movemask_epi8(_mm256_or_si256(a, b)) == 0) {
		check_ascii(c, a);
		c->last = b;
		return;
	}
	check_vector(c, a);
	check_vector(c, b);
}

AVX2 bool utf8_blocks_valid(const uint8_t *data, size_t len)
{
	struct check c = {table(first_high), table(first_low), table(second_high),
		_mm256_setzero_si256(), _mm256_setzero_si256()};
	uint8_t rest[BLOCK];

	for (; len >= BLOCK; data += BLOCK, len -= BLOCK)
		check_block(&c, data);
	if (len) {
		memset(rest, 0, sizeof(rest));
		memcpy(rest, data, len);
		check_block(&c, rest);
	}
	/* Whatever is not whole at the end. */
	check_ascii(&c, _mm256_setzero_si256());
	return _mm256_testz_si256(c.wrong, c.wrong);
}

#else

/* vector_best() never says VECTOR_256. */
bool utf8_blocks_valid(const uint8_t *data, size_t len)
{
	return utf8_valid(data, len);
}

#endif
