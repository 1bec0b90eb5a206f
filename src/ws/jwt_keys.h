/* Shared by the files that make up jwt.h. */
#ifndef WS_JWT_KEYS_H
#define WS_JWT_KEYS_H

#include <cjose/cjose.h>
#include <wsgate/jwt.h>

/*
 * RFC 4648 5, without padding. cjose 0.6 ends the process by an assertion on some of what is none:
 * nothing goes there unchecked.
 */
bool jwt_is_base64url(const char *s, size_t len);

struct jwt_key {
	cjose_jwk_t *jwk; /* owned */
	char *kid;        /* owned; NULL: none */
	const char *alg;
};

struct jwt_keys {
	size_t n;
	struct jwt_key v[JWT_KEYS_MAX];
};

#endif
