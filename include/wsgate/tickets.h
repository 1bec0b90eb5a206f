/*
 * tickets: the keys of TLS session tickets, the same in all workers. Room: base.
 *
 * keys[0], the next one, is accepted, so that it may be in use elsewhere a moment before it is
 * here; keys[1] encrypts new tickets; keys[2] and keys[3], older ones, are accepted.
 */
#ifndef WSGATE_TICKETS_H
#define WSGATE_TICKETS_H

#include <stdint.h>

#define TICKETS_KEYS 4
#define TICKETS_NAME 16

struct tickets_key {
	uint8_t name[TICKETS_NAME];
	uint8_t aes[32], mac[32];
};

struct tickets {
	uint32_t n; /* 0: none; else 2 at least */
	uint32_t reserved;
	struct tickets_key keys[TICKETS_KEYS];
};
_Static_assert(sizeof(struct tickets) == 328, "layout");

/* The next key is in use, and there is a new next one; the oldest is forgotten. The first call
 * makes two. 0; or -1 with errno, and nothing has changed. */
int tickets_rotate(struct tickets *t) __attribute__((warn_unused_result));
void tickets_wipe(struct tickets *t);
/* For new tickets; NULL: none. */
const struct tickets_key *tickets_current(const struct tickets *t);
/* NULL: nobody's, or too old. */
const struct tickets_key *tickets_find(const struct tickets *t, const uint8_t name[TICKETS_NAME]);

#endif
