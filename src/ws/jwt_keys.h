/* Shared by the files that make up jwt.h. */
#ifndef WS_JWT_KEYS_H
#define WS_JWT_KEYS_H

#include <cjose/cjose.h>
#include <wsgate/jwt.h>

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
