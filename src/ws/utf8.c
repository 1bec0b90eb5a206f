#include <string.h>
#include <wsgate/utf8.h>

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

static bool all_ascii(const uint8_t *p, size_t n)
{
	uint64_t any = 0;

	for (size_t i = 0; i < n; i += 8) {
		uint64_t w;

		memcpy(&w, p + i, sizeof(w));
		any |= w;
	}
	return (any & 0x8080808080808080u) == 0;
}

static inline uint64_t step(uint64_t s, uint8_t byte)
{
	return rows[byte] >> (s & STATE_BITS);
}

bool utf8_feed(utf8_state *state, const uint8_t *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t s = *state;

	while (len >= 8) {
		if ((s & STATE_BITS) == START) {
			if (len >= 32 && all_ascii(p, 32)) {
				p += 32;
				len -= 32;
				continue;
			}
			if (all_ascii(p, 8)) {
				p += 8;
				len -= 8;
				continue;
			}
		}
		for (size_t n = len < 64 ? len / 8 : 8; n > 0; n--) {
			for (int i = 0; i < 8; i++)
				s = step(s, p[i]);
			p += 8;
			len -= 8;
		}
		if ((s & STATE_BITS) == BAD)
			return false;
	}
	while (len > 0) {
		s = step(s, *p++);
		len--;
	}
	*state = (utf8_state)(s & STATE_BITS);
	return *state != BAD;
}

bool utf8_valid(const uint8_t *data, size_t len)
{
	utf8_state s = 0;

	return utf8_feed(&s, data, len) && s == 0;
}
