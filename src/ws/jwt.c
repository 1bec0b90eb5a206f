/*
 * jwt: see jwt.h.
 */
#include <jansson.h>
#include <math.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include "jwt_keys.h"

#define FOREVER 1e11 /* seconds; beyond that a time is no time */

const char *jwt_verdict_text(enum jwt_verdict v)
{
	static const char *const texts[JWT_VERDICTS] = {
		[JWT_GOOD] = "good",
		[JWT_MALFORMED] = "the token is malformed",
		[JWT_NO_KEY] = "no key is known for the token",
		[JWT_SIGNATURE] = "the signature of the token is wrong",
		[JWT_EXPIRED] = "the token has expired",
		[JWT_NOT_YET] = "the token is not valid yet",
		[JWT_ISSUER] = "the token is of another issuer",
		[JWT_AUDIENCE] = "the token is for another audience",
		[JWT_NO_USER] = "the token names no user",
		[JWT_NO_SERVICE] = "the token names no service",
		[JWT_OTHER_SERVICE] = "the token is not for this service",
	};

	return texts[v];
}

/* ---- the signature ---- */

/* Three parts of base64url (RFC 7515 7.1). */
static bool is_compact(const char *s, size_t len)
{
	const char *dot = len <= JWT_TOKEN_MAX ? memchr(s, '.', len) : NULL;
	const char *last = dot ? memchr(dot + 1, '.', len - (size_t)(dot + 1 - s)) : NULL;

	return last && jwt_is_base64url(s, (size_t)(dot - s)) &&
	       jwt_is_base64url(dot + 1, (size_t)(last - dot - 1)) &&
	       jwt_is_base64url(last + 1, len - (size_t)(last + 1 - s));
}

/* Whether it may have made the token, by what both say. */
static bool key_fits(const struct jwt_key *key, const char *alg, const char *kid)
{
	return strcmp(key->alg, alg) == 0 && (!kid || !key->kid || strcmp(key->kid, kid) == 0);
}

static enum jwt_verdict verify(
	const struct jwt_keys *k, const char *token, size_t len, json_t **claims)
{
	enum jwt_verdict v = JWT_MALFORMED;
	cjose_err e;
	cjose_jws_t *jws = cjose_jws_import(token, len, &e);
	cjose_header_t *head = jws ? cjose_jws_get_protected(jws) : NULL;
	const char *alg = head ? cjose_header_get(head, "alg", &e) : NULL;
	const char *kid = head ? cjose_header_get(head, "kid", &e) : NULL;
	char *crit = head ? cjose_header_get_raw(head, "crit", &e) : NULL;
	uint8_t *text;
	size_t n;

	/* RFC 7515 4.1.11: we understand no extension. */
	if (alg && !crit)
		v = JWT_NO_KEY;
	for (size_t i = 0; v != JWT_MALFORMED && v != JWT_GOOD && i < k->n; i++)
		if (key_fits(&k->v[i], alg, kid))
			v = cjose_jws_verify(jws, k->v[i].jwk, &e) ? JWT_GOOD : JWT_SIGNATURE;
	if (v == JWT_GOOD) {
		*claims = cjose_jws_get_plaintext(jws, &text, &n, &e)
				  ? json_loadb((const char *)text, n, JSON_REJECT_DUPLICATES, NULL)
				  : NULL;
		if (!json_is_object(*claims))
			v = JWT_MALFORMED;
	}
	free(crit);
	cjose_jws_release(jws);
	ERR_clear_error();
	return v;
}

/* ---- the claims ---- */

/* False: it is there, and no time. */
static bool time_of(const json_t *claims, const char *name, double *out)
{
	const json_t *t = json_object_get(claims, name);

	*out = NAN;
	if (!t)
		return true;
	*out = json_number_value(t);
	return json_is_number(t) && isfinite(*out);
}

static enum jwt_verdict check_times(
	const json_t *claims, const struct jwt_rules *r, uint64_t now_s, struct jwt_said *out)
{
	double now = (double)now_s, leeway = (double)r->leeway_s, exp, nbf;

	if (!time_of(claims, "exp", &exp) || !time_of(claims, "nbf", &nbf))
		return JWT_MALFORMED;
	if (!isnan(exp) && now >= exp + leeway)
		return JWT_EXPIRED;
	if (!isnan(nbf) && now + leeway < nbf)
		return JWT_NOT_YET;
	out->expires_s = !isnan(exp) && exp < FOREVER ? (uint64_t)(exp + leeway) : 0;
	return JWT_GOOD;
}

static bool is_text(const json_t *j, const char *s, size_t len)
{
	return json_is_string(j) && json_string_length(j) == len &&
	       memcmp(json_string_value(j), s, len) == 0;
}

/* One string, or a list of them (RFC 7519 4.1.3). */
static bool has_text(const json_t *j, const char *s, size_t len)
{
	for (size_t i = 0; i < json_array_size(j); i++)
		if (is_text(json_array_get(j, i), s, len))
			return true;
	return is_text(j, s, len);
}

static enum jwt_verdict check_parties(const json_t *claims, const struct jwt_rules *r)
{
	const json_t *aud = json_object_get(claims, "aud");
	bool good = !aud && r->naudience == 0;

	if (*r->issuer && !is_text(json_object_get(claims, "iss"), r->issuer, strlen(r->issuer)))
		return JWT_ISSUER;
	for (size_t i = 0; i < r->naudience; i++)
		good |= has_text(aud, r->audience[i], strlen(r->audience[i]));
	return good ? JWT_GOOD : JWT_AUDIENCE;
}

static bool take(const json_t *j, char out[128], size_t *len)
{
	size_t n = json_string_length(j);

	if (!json_is_string(j) || n == 0 || n > 128)
		return false;
	memcpy(out, json_string_value(j), n);
	*len = n;
	return true;
}

static enum jwt_verdict check_names(
	const json_t *claims, const struct jwt_rules *r, struct jwt_said *out)
{
	const json_t *service =
		*r->service_claim ? json_object_get(claims, r->service_claim) : NULL;

	if (!take(json_object_get(claims, r->user_claim), out->user, &out->user_len))
		return JWT_NO_USER;
	memcpy(out->service, r->service, r->service_len);
	out->service_len = r->service_len;
	if (!*r->service_claim)
		return JWT_GOOD;
	if (r->service_len)
		return has_text(service, r->service, r->service_len) ? JWT_GOOD
		       : service                                     ? JWT_OTHER_SERVICE
								     : JWT_NO_SERVICE;
	if (json_array_size(service) == 1)
		service = json_array_get(service, 0);
	return take(service, out->service, &out->service_len) ? JWT_GOOD : JWT_NO_SERVICE;
}

enum jwt_verdict jwt_check(const struct jwt_keys *k, const struct jwt_rules *r, const char *token,
	size_t len, uint64_t now_s, struct jwt_said *out)
{
	json_t *claims = NULL;
	enum jwt_verdict v =
		is_compact(token, len) ? verify(k, token, len, &claims) : JWT_MALFORMED;

	memset(out, 0, sizeof(*out));
	if (v == JWT_GOOD)
		v = check_times(claims, r, now_s, out);
	if (v == JWT_GOOD)
		v = check_parties(claims, r);
	if (v == JWT_GOOD)
		v = check_names(claims, r, out);
	json_decref(claims);
	return v;
}
