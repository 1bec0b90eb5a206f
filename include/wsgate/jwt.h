/*
 * jwt: is this token good, and whom does it name? RFC 7519 over cjose. No I/O, no clock. Room: ws.
 *
 * The algorithm is the key's, never the token's: an RSA key is good for RS256 (or what its "alg"
 * says), a secret for HS256, P-256 for ES256. So there is no "none", and no public key that is
 * taken for a secret.
 */
#ifndef WSGATE_JWT_H
#define WSGATE_JWT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JWT_TOKEN_MAX 8192 /* bytes of a token: longer ones are not looked at */
#define JWT_KEYS_MAX 64

struct jwt_keys; /* opaque */

/* NULL: no memory. */
struct jwt_keys *jwt_keys_new(void);
void jwt_keys_free(struct jwt_keys *k); /* NULL is fine */
/*
 * Adds all keys of a file: a JWK set, one JWK, or PEM (public keys, certificates). Members of a set
 * that are not for signatures, or of a kind that is not known, are left out (RFC 7517 5), but one
 * good key there must be. 0; or -1 and one line in err, without the file's name.
 */
int jwt_keys_add(struct jwt_keys *k, const void *data, size_t len, char *err, size_t errlen)
	__attribute__((warn_unused_result));
size_t jwt_keys_count(const struct jwt_keys *k);

struct jwt_rules {
	const char *issuer;          /* "" : whoever */
	const char *const *audience; /* one of them must be in "aud"; */
	size_t naudience;            /* 0: a token for a stated audience is not for us */
	uint64_t leeway_s;
	const char *service_claim; /* "" : tokens say nothing of services */
	const char *user_claim;
	const char *service; /* that was asked for, borrowed */
	size_t service_len;  /* 0: none was */
};

struct jwt_said {
	char service[128], user[128]; /* raw tokens, not terminated */
	size_t service_len,
		user_len;   /* service_len 0: it says nothing of services, and none was asked for */
	uint64_t expires_s; /* since 1970, with the leeway; 0: it does not */
};

enum jwt_verdict {
	JWT_GOOD,
	JWT_MALFORMED,
	JWT_NO_KEY, /* none of ours has its kid and its algorithm */
	JWT_SIGNATURE,
	JWT_EXPIRED,
	JWT_NOT_YET,
	JWT_ISSUER,
	JWT_AUDIENCE,
	JWT_NO_USER,       /* it names none, or none that can be one */
	JWT_NO_SERVICE,    /* it should name one */
	JWT_OTHER_SERVICE, /* it names others */
	JWT_VERDICTS
};

/* The signature is checked before anything of the claims is looked at. */
enum jwt_verdict jwt_check(const struct jwt_keys *k, const struct jwt_rules *r, const char *token,
	size_t len, uint64_t now_s, struct jwt_said *out);
/* A few words for logs and answers. */
const char *jwt_verdict_text(enum jwt_verdict v);

#endif
