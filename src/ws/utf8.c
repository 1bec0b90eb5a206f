#include <string.h>
#include <wsgate/utf8.h>
#include "utf8_blocks.h"

#define BLOCKS_MIN 32 /* shorter pieces are not worth their way into vectors */

/*
 * A finite automaton in 64-bit words: the row of a byte holds the next state for each state, six
 * bits each. A state is the position of its bits, so one step is one shift. BAD leads to BAD.
 */
enum {
	START = 0,
	NEED1 = 6,  /* one continuation byte is missing */
	NEED2 = 12, /* two */
	NEED3 = 18, /* three */
	AFTER_E0 = 24,
	AFTER_ED = 30,
	AFTER_F0 = 36,
	AFTER_F4 = 42,
	BAD = 48,
};
#define STATE_BITS 63u

#define GO(from, to) ((uint64_t)(to) << (from))
/* What a row says where it says nothing else. */
#define NO_START GO(START, BAD)
#define NO_INSIDE                                                                                  \
	(GO(NEED1, BAD) | GO(NEED2, BAD) | GO(NEED3, BAD) | GO(AFTER_E0, BAD) |                    \
		GO(AFTER_ED, BAD) | GO(AFTER_F0, BAD) | GO(AFTER_F4, BAD) | GO(BAD, BAD))
#define CONTINUE (NO_START | GO(NEED1, START) | GO(NEED2, NEED1) | GO(NEED3, NEED2) | GO(BAD, BAD))

/* RFC 3629 section 4: no overlong forms (E0, F0), no surrogates (ED), nothing above U+10FFFF (F4).
 */
static const uint64_t rows[256] = {
	[0x00 ... 0x7f] = GO(START, START) | NO_INSIDE,
	[0x80 ... 0x8f] = CONTINUE | GO(AFTER_E0, BAD) | GO(AFTER_ED, NEED1) | GO(AFTER_F0, BAD) |
			  GO(AFTER_F4, NEED2),
	[0x90 ... 0x9f] = CONTINUE | GO(AFTER_E0, BAD) | GO(AFTER_ED, NEED1) | GO(AFTER_F0, NEED2) |
			  GO(AFTER_F4, BAD),
	[0xa0 ... 0xbf] = CONTINUE | GO(AFTER_E0, NEED1) | GO(AFTER_ED, BAD) | GO(AFTER_F0, NEED2) |
			  GO(AFTER_F4, BAD),
	[0xc0 ... 0xc1] = NO_START | NO_INSIDE,
	[0xc2 ... 0xdf] = GO(START, NEED1) | NO_INSIDE,
	[0xe0] = GO(START, AFTER_E0) | NO_INSIDE,
	[0xe1 ... 0xec] = GO(START, NEED2) | NO_INSIDE,
	[0xed] = GO(START, AFTER_ED) | NO_INSIDE,
	[0xee ... 0xef] = GO(START, NEED2) | NO_INSIDE,
	[0xf0] = GO(START, AFTER_F0) | NO_INSIDE,
	[0xf1 ... 0xf3] = GO(START, NEED3) | NO_INSIDE,
	[0xf4] = GO(START, AFTER_F4) | NO_INSIDE,
	[0xf5 ... 0xff] = NO_START | NO_INSIDE,
};

static inline uint64_t step(uint64_t s, uint8_t byte)
{
	return rows[byte] >> (s & STATE_BITS);
}

static bool all_ascii(const uint8_t *p)
{
	uint64_t w[4];

	memcpy(w, p, sizeof(w));
	return ((w[0] | w[1] | w[2] | w[3]) & 0x8080808080808080u) == 0;
}

/* At any address. */
typedef uint64_t wide16 __attribute__((vector_size(16), aligned(1), may_alias));

/* How many bytes of whole 64 are ASCII, from the beginning on. */
static size_t ascii_128(const uint8_t *p, size_t len)
{
	size_t n = 0;

	for (; len - n >= 64; n += 64) {
		const wide16 *v = (const wide16 *)(const void *)(p + n);
		wide16 any = v[0] | v[1] | v[2] | v[3];

		if ((any[0] | any[1]) & 0x8080808080808080u)
			break;
	}
	return n;
}

/* Bytes at the end that begin a character and do not end it; what is wrong there may be among them.
 */
static size_t open_end(const uint8_t *p, size_t len)
{
	if (p[len - 1] >= 0xc0)
		return 1;
	if (p[len - 2] >= 0xe0)
		return 2;
	return p[len - 3] >= 0xf0 ? 3 : 0;
}

/* The automaton alone, a byte a step, but for ASCII. */
static uint64_t feed(enum vector v, uint64_t s, const uint8_t *p, size_t len)
{
	while (len >= 32) {
		if ((s & STATE_BITS) == START && all_ascii(p)) {
			size_t n = 32;

			if (v != VECTOR_PLAIN)
				n += ascii_128(p + 32, len - 32);
			p += n;
			len -= n;
			continue;
		}
		for (int i = 0; i < 32; i++)
			s = step(s, p[i]);
		p += 32;
		len -= 32;
		if ((s & STATE_BITS) == BAD)
			return s;
	}
	for (; len >= 8 && (s & STATE_BITS) == START; p += 8, len -= 8) {
		uint64_t w;

		memcpy(&w, p, 8);
		if (w & 0x8080808080808080u)
			break;
	}
	while (len > 0) {
		s = step(s, *p++);
		len--;
	}
	return s;
}

bool utf8_feed_as(enum vector v, utf8_state *state, const uint8_t *data, size_t len)
{
	uint64_t s = *state;

	if (v == VECTOR_256 && len >= BLOCKS_MIN) {
		size_t n;

		for (; (s & STATE_BITS) != START && (s & STATE_BITS) != BAD && len > 0; len--)
			s = step(s, *data++);
		n = len >= BLOCKS_MIN / 2 && (s & STATE_BITS) == START ? len - open_end(data, len)
								       : 0;
		if (n > 0 && !utf8_blocks_valid(data, n)) {
			*state = BAD;
			return false;
		}
		data += n;
		len -= n;
	}
	*state = (utf8_state)(feed(v, s, data, len) & STATE_BITS);
	return *state != BAD;
}

bool utf8_feed(utf8_state *state, const uint8_t *data, size_t len)
{
	return utf8_feed_as(vector_best(), state, data, len);
}

bool utf8_valid(const uint8_t *data, size_t len)
{
	utf8_state s = 0;

	return utf8_feed(&s, data, len) && s == 0;
}
