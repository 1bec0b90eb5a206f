/*
 * callout_cache: answers that may be given again, by what was asked. Bounded: a newer one takes the
 * place of an older one.
 */
#ifndef WSGATE_WORKER_CALLOUT_CACHE_H
#define WSGATE_WORKER_CALLOUT_CACHE_H

#include <stdint.h>
#include <wsgate/credential.h>

struct callout_cache; /* NULL: an empty one */

void callout_cache_free(struct callout_cache *cc);
/* NULL: nothing that still holds. */
const struct callout_said *callout_cache_find(
	const struct callout_cache *cc, const char *question, uint64_t now_ms);
/* Makes the cache when there is none. Without memory nothing is kept. */
void callout_cache_keep(struct callout_cache **cc, const char *question,
	const struct callout_said *said, uint64_t now_ms);

#endif
