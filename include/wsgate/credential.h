/*
 * credential: what a request carries to prove who sends it, and how a service is asked about it.
 * Pure functions. Room: ws.
 */
#ifndef WSGATE_CREDENTIAL_H
#define WSGATE_CREDENTIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wsgate/handshake.h>

/* Places of a token, by their words in auth.token. */
struct credential_rules {
	const char *const *places; /* "bearer", "cookie", "query", "protocol"; in order */
	size_t nplaces;
	const char *cookie, *query, *protocol; /* the protocol's is what stands before the token */
};

enum credential_found { CREDENTIAL_NONE, CREDENTIAL_FOUND, CREDENTIAL_TWICE, CREDENTIAL_TOO_LONG };
/*
 * The token, of the first place that has one, into out (terminated). TWICE: that place has two that
 * differ. by_protocol: it came in the list of subprotocols.
 */
enum credential_found credential_find(const struct handshake *h, const struct credential_rules *r,
	char *out, size_t outlen, bool *by_protocol);
/* The first subprotocol that is offered and does not begin with prefix, as a token would. False:
 * none, or longer than 64. */
bool credential_protocol(const struct handshake *h, const char *prefix, char out[65]);
/* The first subprotocol that is offered and known; NULL: none is. Names are spelled exactly so. */
const char *credential_subprotocol(const struct handshake *h, const char *const *known, size_t n);

/*
 * What a callout is asked, as one line of JSON:
 *   {"service", "user" (as the request names it, or none), "path", "query", "address",
 *    "headers": {"name": ["value", …]}}
 * Bytes that are not UTF-8 are taken as ISO 8859-1. Owned by the caller; NULL: no memory.
 */
struct callout_question {
	const char *service, *user;
	size_t service_len, user_len;
	const char *address;
	const char *const *headers; /* names, to be told */
	size_t nheaders;
};
char *callout_ask(const struct handshake *h, const struct callout_question *q);

/*
 * Is a text message {"wsgate": "refresh", "token": "…"}? Then the token is in out; "" when there is
 * none, or none that fits. The names are spelled without escapes.
 */
bool credential_refresh(const char *data, size_t len, char *out, size_t outlen);

#define CALLOUT_ANSWER_MAX 4096
#define CALLOUT_CACHE_MAX 3600
/*
 * And what it answers:
 *   {"allow": true, "user": "…", "expires": 1700000000, "cache": 60}
 *   {"allow": false, "status": 403, "reason": "…", "cache": 60}
 * user, expires, cache, status and reason may be left out.
 */
struct callout_said {
	bool allow;
	char user[128];     /* raw, not terminated */
	size_t user_len;    /* 0: as the request named it */
	uint64_t expires_s; /* since 1970; 0: never */
	uint64_t cache_s;
	unsigned status;  /* 400 … 599 */
	char reason[128]; /* one line of ASCII */
};
/* False: it is none. */
bool callout_parse(const char *data, size_t len, struct callout_said *out);

#endif
