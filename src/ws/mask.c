/*
 * mask: see mask.h. Each step is a multiple of four bytes, so the mask is never turned.
 */
#include <string.h>
#include "mask.h"

/* At any address, over any type. */
typedef uint64_t wide16 __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint64_t wide32 __attribute__((vector_size(32), aligned(1), may_alias));

static uint8_t *apply_128(uint64_t m, uint8_t *p, size_t len)
{
	const wide16 wide = {m, m};

	for (; len >= 64; len -= 64, p += 64) {
		wide16 *w = (wide16 *)(void *)p;

		w[0] ^= wide;
		w[1] ^= wide;
		w[2] ^= wide;
		w[3] ^= wide;
	}
	for (; len >= 16; len -= 16, p += 16)
		*(wide16 *)(void *)p ^= wide;
	return p;
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint8_t *apply_256(uint64_t m, uint8_t *p, size_t len)
{
	const wide32 wide = {m, m, m, m};

	for (; len >= 128; len -= 128, p += 128) {
		wide32 *w = (wide32 *)(void *)p;

		w[0] ^= wide;
		w[1] ^= wide;
		w[2] ^= wide;
		w[3] ^= wide;
	}
	for (; len >= 32; len -= 32, p += 32)
		*(wide32 *)(void *)p ^= wide;
	return p;
}
#endif

void mask_apply(enum vector v, const uint8_t mask[4], uint8_t *p, size_t len)
{
	uint8_t *end = p + len;
	uint64_t m, w;

	memcpy(&m, mask, 4);
	memcpy((uint8_t *)&m + 4, mask, 4);
	if (len >= 32 && v != VECTOR_PLAIN) {
#if defined(__x86_64__)
		if (v == VECTOR_256)
			p = apply_256(m, p, len);
		else
#endif
			p = apply_128(m, p, len);
	}
	for (; end - p >= 8; p += 8) {
		memcpy(&w, p, 8);
		w ^= m;
		memcpy(p, &w, 8);
	}
	for (size_t i = 0; p < end; i++)
		*p++ ^= mask[i & 3];
}
