/*
 * The first byte says where the rest is cut, and how it lies in memory. All makes of the loops over
 * payload bytes must say the same of it: as UTF-8, in two pieces, and under a mask.
 */
#include <stdlib.h>
#include <string.h>
#include "../../src/ws/mask.h"
#include "../../src/ws/utf8_blocks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int truth)
{
	if (!truth)
		abort();
}

/* UINT32_MAX: it is none. */
static uint32_t judge(enum vector v, const uint8_t *p, size_t len, size_t cut)
{
	utf8_state s = 0;

	return utf8_feed_as(v, &s, p, cut) && utf8_feed_as(v, &s, p + cut, len - cut) ? s
										      : UINT32_MAX;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at, cut, len = size - 1;
	uint8_t *copy, *p;
	uint32_t want;

	if (size < 1)
		return 0;
	at = data[0] & 31;
	cut = len * (data[0] >> 5) / 7;
	copy = malloc(at + len + 1);
	check(copy != NULL);
	p = copy + at;
	memcpy(p, data + 1, len);
	want = judge(VECTOR_PLAIN, p, len, cut);
	check(want != UINT32_MAX || judge(VECTOR_PLAIN, p, len, 0) == UINT32_MAX);
	for (unsigned v = VECTOR_128; v <= vector_best(); v++) {
		check(judge((enum vector)v, p, len, cut) == want);
		check(judge((enum vector)v, p, len, 0) == want);
		mask_apply((enum vector)v, (const uint8_t *)"\x12\xff\x07\x80", p, len);
		mask_apply(VECTOR_PLAIN, (const uint8_t *)"\x12\xff\x07\x80", p, len);
		check(memcmp(p, data + 1, len) == 0);
	}
	free(copy);
	return 0;
}
