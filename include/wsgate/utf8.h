/*
 * utf8: validation in pieces (RFC 3629; RFC 6455 8.1). Room: ws. Pure.
 */
#ifndef WSGATE_UTF8_H
#define WSGATE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 0 is the start state and the only one in which a text may end. */
typedef uint32_t utf8_state;

/*
 * Feeds len bytes. False as soon as the bytes so far cannot begin any valid text (fail fast: an
 * impossible second byte is refused at once). *state then is not to be used again.
 */
bool utf8_feed(utf8_state *state, const uint8_t *data, size_t len)
	__attribute__((warn_unused_result));
/* A whole text at once. */
bool utf8_valid(const uint8_t *data, size_t len) __attribute__((warn_unused_result));

#endif
