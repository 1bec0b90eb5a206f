/*
 * callout_cache: see callout_cache.h.
 */
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "callout_cache.h"

#define PLACES 2048

struct entry {
	uint8_t key[SHA256_DIGEST_LENGTH];
	uint64_t until_ms; /* 0: empty */
	struct callout_said said;
};

struct callout_cache {
	struct entry v[PLACES];
};

void callout_cache_free(struct callout_cache *cc)
{
	free(cc);
}

/* Nobody can choose the place of another's answer, nor fill one on purpose with less than luck. */
static uint16_t place_of(const char *question, uint8_t key[SHA256_DIGEST_LENGTH])
{
	SHA256((const uint8_t *)question, strlen(question), key);
	return (uint16_t)((key[0] << 8 | key[1]) % PLACES);
}

const struct callout_said *callout_cache_find(
	const struct callout_cache *cc, const char *question, uint64_t now_ms)
{
	uint8_t key[SHA256_DIGEST_LENGTH];
	const struct entry *e;

	if (!cc)
		return NULL;
	e = &cc->v[place_of(question, key)];
	return e->until_ms > now_ms && memcmp(e->key, key, sizeof(key)) == 0 ? &e->said : NULL;
}

void callout_cache_keep(struct callout_cache **cc, const char *question,
	const struct callout_said *said, uint64_t now_ms)
{
	uint8_t key[SHA256_DIGEST_LENGTH];
	struct entry *e;

	if (!said->cache_s)
		return;
	if (!*cc)
		*cc = calloc(1, sizeof(**cc));
	if (!*cc)
		return;
	e = &(*cc)->v[place_of(question, key)];
	memcpy(e->key, key, sizeof(key));
	e->until_ms = now_ms + said->cache_s * 1000;
	e->said = *said;
}
