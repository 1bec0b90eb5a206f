/* Shared by the files that make up handshake.h. */
#ifndef WS_HANDSHAKE_PARTS_H
#define WS_HANDSHAKE_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <wsgate/handshake.h>

/* The header of that name that follows `after` (a value got here); NULL: the first one. */
const char *handshake_next(const struct handshake *h, const char *name, const char *after);

/* "" : none */
const char *handshake_extended(const struct handshake *h);

/* RFC 9110 5.6.2 */
bool handshake_token_char(unsigned char c);

/* RFC 3986 3.2 without userinfo. Borrowed. */
struct authority {
	const char *host;
	size_t host_len;
	int port; /* -1: none */
};
bool authority_parse(const char *s, size_t len, struct authority *a);

#endif
