/*
 * jwt_keys: keys out of PEM files and JWK sets. See jwt.h.
 */
#include <jansson.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "jwt_keys.h"

#define RSA_BITS_MIN 2048 /* RFC 7518 3.3 */
#define NUMBER_MAX 2048   /* bytes of a key's number */

struct alg {
	const char *name, *crv; /* crv: of an EC key */
	cjose_jwk_kty_t kty;
	size_t bits; /* of a secret: RFC 7518 3.2 */
};
/* The first of its kind (and curve) is what a key without "alg" is for. */
static const struct alg algs[] = {
	{"HS256", NULL, CJOSE_JWK_KTY_OCT, 256},
	{"HS384", NULL, CJOSE_JWK_KTY_OCT, 384},
	{"HS512", NULL, CJOSE_JWK_KTY_OCT, 512},
	{"RS256", NULL, CJOSE_JWK_KTY_RSA, RSA_BITS_MIN},
	{"RS384", NULL, CJOSE_JWK_KTY_RSA, RSA_BITS_MIN},
	{"RS512", NULL, CJOSE_JWK_KTY_RSA, RSA_BITS_MIN},
	{"PS256", NULL, CJOSE_JWK_KTY_RSA, RSA_BITS_MIN},
	{"PS384", NULL, CJOSE_JWK_KTY_RSA, RSA_BITS_MIN},
	{"PS512", NULL, CJOSE_JWK_KTY_RSA, RSA_BITS_MIN},
	{"ES256", "P-256", CJOSE_JWK_KTY_EC, 256},
	{"ES384", "P-384", CJOSE_JWK_KTY_EC, 384},
	{"ES512", "P-521", CJOSE_JWK_KTY_EC, 521},
};

__attribute__((format(printf, 3, 4))) static int fail(
	char *err, size_t errlen, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, errlen, fmt, ap);
	va_end(ap);
	return -1;
}

struct jwt_keys *jwt_keys_new(void)
{
	return calloc(1, sizeof(struct jwt_keys));
}

void jwt_keys_free(struct jwt_keys *k)
{
	if (!k)
		return;
	for (size_t i = 0; i < k->n; i++) {
		cjose_jwk_release(k->v[i].jwk);
		free(k->v[i].kid);
	}
	free(k);
}

size_t jwt_keys_count(const struct jwt_keys *k)
{
	return k->n;
}

/* NULL: there is none for such a key, or what its "alg" says is none. */
static const struct alg *alg_of(cjose_jwk_kty_t kty, const char *crv, const char *said)
{
	for (size_t i = 0; i < sizeof(algs) / sizeof(algs[0]); i++) {
		const struct alg *a = &algs[i];

		if (a->kty == kty && (!a->crv || (crv && strcmp(a->crv, crv) == 0)) &&
			(!said || strcmp(said, a->name) == 0))
			return a;
	}
	return NULL;
}

/* Takes jwk, also when it fails. */
static int keep(struct jwt_keys *k, cjose_jwk_t *jwk, const struct alg *alg, const char *kid,
	char *err, size_t errlen)
{
	cjose_err e;
	size_t bits = cjose_jwk_get_keysize(jwk, &e);
	char *copy = NULL;
	int r;

	if (k->n == JWT_KEYS_MAX)
		r = fail(err, errlen, "more than %d keys", JWT_KEYS_MAX);
	else if (bits < alg->bits)
		r = fail(err, errlen, "a key of %zu bits is too short for %s: at least %zu", bits,
			alg->name, alg->bits);
	else if (kid && !(copy = strdup(kid)))
		r = fail(err, errlen, "out of memory");
	else {
		k->v[k->n++] = (struct jwt_key){jwk, copy, alg->name};
		return 0;
	}
	cjose_jwk_release(jwk);
	return r;
}

/* ---- JWK ---- */

bool jwt_is_base64url(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = s[i];

		if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
			    c == '-' || c == '_'))
			return false;
	}
	return len > 0 && len % 4 != 1;
}

/* What is public of a key, and well formed: all that cjose is given. Owned by the caller; NULL. */
static char *public_part(const json_t *o)
{
	static const char *const texts[] = {"kty", "crv"};
	static const char *const numbers[] = {"n", "e", "x", "y", "k"};
	json_t *out = json_object();
	bool good = out != NULL;
	char *text;

	for (size_t i = 0; good && i < sizeof(texts) / sizeof(texts[0]); i++) {
		json_t *v = json_object_get(o, texts[i]);

		good = !v || json_object_set(out, texts[i], v) == 0;
	}
	for (size_t i = 0; good && i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		json_t *v = json_object_get(o, numbers[i]);

		good = !v ||
		       (json_is_string(v) &&
			       jwt_is_base64url(json_string_value(v), json_string_length(v)) &&
			       json_object_set(out, numbers[i], v) == 0);
	}
	text = good ? json_dumps(out, JSON_COMPACT) : NULL;
	json_decref(out);
	return text;
}

static const char *text_of(const json_t *o, const char *name)
{
	return json_string_value(json_object_get(o, name));
}

/* RFC 7517 4.2, 4.3 */
static bool for_signatures(const json_t *o)
{
	const json_t *ops = json_object_get(o, "key_ops");
	const char *use = text_of(o, "use");

	if (use && strcmp(use, "sig") != 0)
		return false;
	for (size_t i = 0; i < json_array_size(ops); i++) {
		const char *op = json_string_value(json_array_get(ops, i));

		if (op && strcmp(op, "verify") == 0)
			return true;
	}
	return !ops;
}

static int kty_of(const json_t *o)
{
	const char *kty = text_of(o, "kty");

	if (!kty)
		return 0;
	return strcmp(kty, "RSA") == 0   ? CJOSE_JWK_KTY_RSA
	       : strcmp(kty, "EC") == 0  ? CJOSE_JWK_KTY_EC
	       : strcmp(kty, "oct") == 0 ? CJOSE_JWK_KTY_OCT
					 : 0;
}

/* 1: kept; 0: not for us; -1: faulty. */
static int add_jwk(struct jwt_keys *k, const json_t *o, char *err, size_t errlen)
{
	int kty = kty_of(o);
	const struct alg *alg =
		kty ? alg_of((cjose_jwk_kty_t)kty, text_of(o, "crv"), text_of(o, "alg")) : NULL;
	const char *kid = text_of(o, "kid");
	cjose_jwk_t *jwk = NULL;
	cjose_err e = {.message = NULL};
	char *text;

	if (!alg || !for_signatures(o))
		return 0;
	text = public_part(o);
	if (text) {
		jwk = cjose_jwk_import(text, strlen(text), &e);
		explicit_bzero(text, strlen(text));
	}
	free(text);
	if (!jwk)
		return fail(err, errlen, "key %s: not a good JWK of its kind",
			kid ? kid : "without kid");
	return keep(k, jwk, alg, kid, err, errlen) < 0 ? -1 : 1;
}

static int add_json(struct jwt_keys *k, const char *data, size_t len, char *err, size_t errlen)
{
	json_error_t why;
	json_t *doc = json_loadb(data, len, JSON_REJECT_DUPLICATES, &why);
	const json_t *list = json_object_get(doc, "keys");
	int r = 0, kept = 0;

	if (!doc)
		return fail(err, errlen, "line %d: no JSON", why.line);
	if (json_is_array(list)) {
		for (size_t i = 0; r >= 0 && i < json_array_size(list); i++) {
			r = add_jwk(k, json_array_get(list, i), err, errlen);
			kept += r > 0;
		}
	} else {
		r = add_jwk(k, doc, err, errlen);
		kept += r > 0;
	}
	if (r >= 0 && !kept)
		r = fail(err, errlen,
			"no key that can be used: RSA, EC (P-256, P-384, P-521) or oct, for "
			"signatures");
	json_decref(doc);
	return r < 0 ? -1 : 0;
}

/* ---- PEM ---- */

/* The bytes of a key's number. 0: there is none. */
static size_t number_of(const EVP_PKEY *key, const char *name, uint8_t out[NUMBER_MAX])
{
	BIGNUM *n = NULL;
	size_t len = 0;

	if (EVP_PKEY_get_bn_param(key, name, &n) && BN_num_bytes(n) <= NUMBER_MAX)
		len = (size_t)BN_bn2bin(n, out);
	BN_free(n);
	return len;
}

static cjose_jwk_t *jwk_of_rsa(const EVP_PKEY *key)
{
	uint8_t n[NUMBER_MAX], e[NUMBER_MAX];
	cjose_jwk_rsa_keyspec spec = {.n = n, .e = e};
	cjose_err why;

	spec.nlen = number_of(key, OSSL_PKEY_PARAM_RSA_N, n);
	spec.elen = number_of(key, OSSL_PKEY_PARAM_RSA_E, e);
	return spec.nlen && spec.elen ? cjose_jwk_create_RSA_spec(&spec, &why) : NULL;
}

static cjose_jwk_t *jwk_of_ec(const EVP_PKEY *key, const char **crv)
{
	static const struct {
		const char *group, *crv;
		cjose_jwk_ec_curve curve;
	} curves[] = {
		{"prime256v1", "P-256", CJOSE_JWK_EC_P_256},
		{"secp384r1", "P-384", CJOSE_JWK_EC_P_384},
		{"secp521r1", "P-521", CJOSE_JWK_EC_P_521},
	};
	uint8_t x[NUMBER_MAX], y[NUMBER_MAX];
	cjose_jwk_ec_keyspec spec = {.x = x, .y = y};
	char group[64] = "";
	cjose_err why;

	(void)EVP_PKEY_get_group_name(key, group, sizeof(group), NULL);
	for (size_t i = 0; i < sizeof(curves) / sizeof(curves[0]); i++) {
		if (strcmp(curves[i].group, group) != 0)
			continue;
		*crv = curves[i].crv;
		spec.crv = curves[i].curve;
		spec.xlen = number_of(key, OSSL_PKEY_PARAM_EC_PUB_X, x);
		spec.ylen = number_of(key, OSSL_PKEY_PARAM_EC_PUB_Y, y);
		return cjose_jwk_create_EC_spec(&spec, &why);
	}
	return NULL;
}

static EVP_PKEY *public_key(const char *name, const unsigned char *der, long len)
{
	EVP_PKEY *key = NULL;
	X509 *cert;

	if (strcmp(name, PEM_STRING_PUBLIC) == 0)
		return d2i_PUBKEY(NULL, &der, len);
	if (strcmp(name, PEM_STRING_RSA_PUBLIC) == 0)
		return d2i_PublicKey(EVP_PKEY_RSA, NULL, &der, len);
	cert = strcmp(name, PEM_STRING_X509) == 0 ? d2i_X509(NULL, &der, len) : NULL;
	if (cert)
		key = X509_get_pubkey(cert);
	X509_free(cert);
	return key;
}

static int add_block(struct jwt_keys *k, const char *name, const unsigned char *der, long len,
	char *err, size_t errlen)
{
	const struct alg *alg = NULL;
	const char *crv = NULL;
	cjose_jwk_t *jwk = NULL;
	EVP_PKEY *key;

	if (strstr(name, "PRIVATE KEY"))
		return fail(err, errlen,
			"a private key: who checks tokens needs the public one alone (openssl pkey "
			"-pubout)");
	key = public_key(name, der, len);
	if (key && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA) {
		jwk = jwk_of_rsa(key);
		alg = alg_of(CJOSE_JWK_KTY_RSA, NULL, NULL);
	} else if (key && EVP_PKEY_get_base_id(key) == EVP_PKEY_EC) {
		jwk = jwk_of_ec(key, &crv);
		alg = alg_of(CJOSE_JWK_KTY_EC, crv, NULL);
	}
	EVP_PKEY_free(key);
	if (!jwk)
		return fail(err, errlen,
			"%.40s: no public key, or certificate with one, for RSA or EC (P-256, "
			"P-384, P-521)",
			name);
	return keep(k, jwk, alg, NULL, err, errlen);
}

static int add_pem(struct jwt_keys *k, const char *data, size_t len, char *err, size_t errlen)
{
	BIO *in = BIO_new_mem_buf(data, (int)len);
	unsigned char *der = NULL;
	char *name = NULL, *header = NULL;
	int r = 0;
	size_t found = 0;
	long n;

	while (r == 0 && in && PEM_read_bio(in, &name, &header, &der, &n)) {
		r = add_block(k, name, der, n, err, errlen);
		found++;
		OPENSSL_clear_free(der, (size_t)n);
		OPENSSL_free(name);
		OPENSSL_free(header);
	}
	BIO_free(in);
	/* "No start line" ends a file; anything else is a block that is broken. */
	if (r == 0 && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		r = fail(err, errlen, "a PEM block that cannot be read");
	else if (r == 0 && !found)
		r = fail(err, errlen, "neither PEM nor JSON");
	ERR_clear_error();
	return r;
}

int jwt_keys_add(struct jwt_keys *k, const void *data, size_t len, char *err, size_t errlen)
{
	const char *s = data;
	size_t at = 0;

	if (len > 1 << 20)
		return fail(err, errlen, "larger than 1 MiB");
	while (at < len && strchr(" \t\r\n", s[at]) && s[at])
		at++;
	ERR_clear_error();
	return at < len && s[at] == '{' ? add_json(k, s, len, err, errlen)
					: add_pem(k, s, len, err, errlen);
}
