#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cjose/cjose.h>
#include <cmocka.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <wsgate/jwt.h>

#define NOW 1700000000u

static cjose_jwk_t *rsa, *ec, *oct, *oct2;
static struct jwt_said said;

/* ---- making tokens and keys ---- */

static char *signed_with(cjose_jwk_t *key, const char *alg, const char *kid, const char *claims)
{
	cjose_err e;
	cjose_header_t *head = cjose_header_new(&e);
	cjose_jws_t *jws;
	const char *text;
	char *copy;

	assert_true(cjose_header_set(head, "alg", alg, &e));
	if (kid)
		assert_true(cjose_header_set(head, "kid", kid, &e));
	jws = cjose_jws_sign(key, head, (const uint8_t *)claims, strlen(claims), &e);
	assert_non_null(jws);
	assert_true(cjose_jws_export(jws, &text, &e));
	copy = strdup(text);
	cjose_jws_release(jws);
	cjose_header_release(head);
	return copy;
}

/* By hand: any header, and a MAC over it. */
static char *made(const char *head, const char *claims, const void *secret, size_t len)
{
	char *h, *c, *s, *out;
	uint8_t mac[32];
	unsigned n = sizeof(mac);
	size_t hl, cl, sl;
	cjose_err e;

	assert_true(cjose_base64url_encode((const uint8_t *)head, strlen(head), &h, &hl, &e));
	assert_true(cjose_base64url_encode((const uint8_t *)claims, strlen(claims), &c, &cl, &e));
	assert_true(asprintf(&out, "%s.%s", h, c) > 0);
	free(h);
	free(c);
	if (!secret) {
		h = out;
		assert_true(asprintf(&out, "%s.", h) > 0);
		free(h);
		return out;
	}
	assert_non_null(HMAC(EVP_sha256(), secret, (int)len, (uint8_t *)out, strlen(out), mac, &n));
	assert_true(cjose_base64url_encode(mac, n, &s, &sl, &e));
	h = out;
	assert_true(asprintf(&out, "%s.%s", h, s) > 0);
	free(h);
	free(s);
	return out;
}

static char *jwk_text(cjose_jwk_t *key, bool private, const char *more)
{
	cjose_err e;
	char *text = cjose_jwk_to_json(key, private, &e), *out;

	assert_non_null(text);
	assert_true(asprintf(&out, "{%s%s%s", more, *more ? "," : "", text + 1) > 0);
	free(text);
	return out;
}

static void add(struct jwt_keys *k, const char *text)
{
	char err[256] = "";

	if (jwt_keys_add(k, text, strlen(text), err, sizeof(err)) < 0)
		fail_msg("%s", err);
}

static void add_jwk(struct jwt_keys *k, cjose_jwk_t *key, const char *more)
{
	char *text = jwk_text(key, true, more);

	add(k, text);
	free(text);
}

static void refused(const char *text, const char *why)
{
	struct jwt_keys *k = jwt_keys_new();
	char err[256] = "";

	assert_int_equal(jwt_keys_add(k, text, strlen(text), err, sizeof(err)), -1);
	if (!strstr(err, why))
		fail_msg("\"%s\" lacks \"%s\"", err, why);
	jwt_keys_free(k);
}

static struct jwt_rules rules(void)
{
	return (struct jwt_rules){.issuer = "",
		.leeway_s = 30,
		.service_claim = "service",
		.user_claim = "sub",
		.service = "chat",
		.service_len = 4};
}

/* Takes the token. */
static enum jwt_verdict judge(const struct jwt_keys *k, const struct jwt_rules *r, char *token)
{
	struct jwt_rules usual = rules();
	enum jwt_verdict v = jwt_check(k, r ? r : &usual, token, strlen(token), NOW, &said);

	free(token);
	return v;
}

static char *hs(const char *claims)
{
	return signed_with(oct, "HS256", NULL, claims);
}

static int setup(void **state)
{
	static const uint8_t f4[] = {1, 0, 1};
	cjose_err e;

	(void)state;
	rsa = cjose_jwk_create_RSA_random(2048, f4, sizeof(f4), &e);
	ec = cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_256, &e);
	oct = cjose_jwk_create_oct_random(256, &e);
	oct2 = cjose_jwk_create_oct_random(512, &e);
	return rsa && ec && oct && oct2 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	cjose_jwk_release(rsa);
	cjose_jwk_release(ec);
	cjose_jwk_release(oct);
	cjose_jwk_release(oct2);
	return 0;
}

/* ---- tests ---- */

static void test_too_many_keys(void **state)
{
	struct jwt_keys *k = jwt_keys_new();
	const char *one = "{\"kty\":\"oct\",\"k\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\","
			  "\"kid\":\"x\"}";
	char err[256];

	(void)state;
	for (int i = 0; i < JWT_KEYS_MAX; i++)
		assert_int_equal(jwt_keys_add(k, one, strlen(one), err, sizeof(err)), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(jwt_keys_add(k, one, strlen(one), err, sizeof(err)), -1);
		assert_non_null(strstr(err, "more than 64 keys"));
	}
	assert_int_equal(jwt_keys_count(k), JWT_KEYS_MAX);
	jwt_keys_free(k);
}

static void test_claims(void **state)
{
	static const struct {
		const char *claims;
		enum jwt_verdict want;
	} rows[] = {
		{"{\"sub\":\"alice\",\"service\":\"chat\"}", JWT_GOOD},
		{"{\"sub\":\"alice\",\"service\":[\"x\",\"chat\"]}", JWT_GOOD},
		{"{\"sub\":\"alice\",\"service\":\"chat\",\"exp\":1700000001}", JWT_GOOD},
		{"{\"sub\":\"alice\",\"service\":\"chat\",\"exp\":1699999971}", JWT_GOOD},
		{"{\"sub\":\"alice\",\"service\":\"chat\",\"exp\":1699999970}", JWT_EXPIRED},
		{"{\"sub\":\"alice\",\"service\":\"chat\",\"exp\":-1}", JWT_EXPIRED},
		{"{\"sub\":\"alice\",\"service\":\"chat\",\"exp\":1e300}", JWT_GOOD},
		{"{\"sub\":\"alice\",\"service\":\"chat\",\"exp\":1700000000.5}", JWT_GOOD},
		{"{\"sub\":\"alice\",\"service\":\"chat\",\"exp\":\"1800000000\"}", JWT_MALFORMED},
		{"{\"sub\":\"alice\",\"service\":\"chat\",\"exp\":null}", JWT_MALFORMED},
		{"{\"sub\":\"alice\",\"service\":\"chat\",\"nbf\":1700000030}", JWT_GOOD},
		{"{\"sub\":\"alice\",\"service\":\"chat\",\"nbf\":1700000031}", JWT_NOT_YET},
		{"{\"sub\":\"alice\",\"service\":\"chat\",\"nbf\":true}", JWT_MALFORMED},
		{"{\"sub\":\"alice\",\"service\":\"chat\",\"aud\":\"x\"}", JWT_AUDIENCE},
		{"{\"sub\":\"alice\",\"service\":\"game\"}", JWT_OTHER_SERVICE},
		{"{\"sub\":\"alice\",\"service\":[]}", JWT_OTHER_SERVICE},
		{"{\"sub\":\"alice\",\"service\":7}", JWT_OTHER_SERVICE},
		{"{\"sub\":\"alice\"}", JWT_NO_SERVICE},
		{"{\"service\":\"chat\"}", JWT_NO_USER},
		{"{\"sub\":\"\",\"service\":\"chat\"}", JWT_NO_USER},
		{"{\"sub\":7,\"service\":\"chat\"}", JWT_NO_USER},
		{"{\"sub\":\"alice\",\"sub\":\"bob\",\"service\":\"chat\"}", JWT_MALFORMED},
		{"{\"sub\":\"alice\",\"service\":\"chat\",\"exp\":1,\"exp\":1800000000}",
			JWT_MALFORMED},
		{"[\"alice\"]", JWT_MALFORMED},
		{"\"alice\"", JWT_MALFORMED},
		{"{\"sub\":\"alice\"", JWT_MALFORMED},
		{"x", JWT_MALFORMED},
	};
	struct jwt_keys *k = jwt_keys_new();

	(void)state;
	add_jwk(k, oct, "");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum jwt_verdict v = judge(k, NULL, hs(rows[i].claims));

		if (v != rows[i].want)
			fail_msg("%s: %s", rows[i].claims, jwt_verdict_text(v));
		if (v == JWT_GOOD) {
			assert_int_equal(said.user_len, 5);
			assert_memory_equal(said.user, "alice", 5);
			assert_memory_equal(said.service, "chat", said.service_len);
		}
	}
	assert_int_equal(judge(k, NULL, hs(rows[2].claims)), JWT_GOOD);
	assert_int_equal(said.expires_s, 1700000031);
	assert_int_equal(judge(k, NULL, hs(rows[0].claims)), JWT_GOOD);
	assert_int_equal(said.expires_s, 0);
	jwt_keys_free(k);
}

static void test_parties(void **state)
{
	static const char *const us[] = {"us", "them"};
	struct jwt_keys *k = jwt_keys_new();
	struct jwt_rules r = rules();

	(void)state;
	add_jwk(k, oct, "");
	r.issuer = "me";
	r.audience = us;
	r.naudience = 2;
#define CLAIMS "\"sub\":\"alice\",\"service\":\"chat\""
	assert_int_equal(judge(k, &r, hs("{" CLAIMS ",\"iss\":\"me\",\"aud\":\"us\"}")), JWT_GOOD);
	assert_int_equal(
		judge(k, &r, hs("{" CLAIMS ",\"iss\":\"me\",\"aud\":[\"x\",\"them\"]}")), JWT_GOOD);
	assert_int_equal(
		judge(k, &r, hs("{" CLAIMS ",\"iss\":\"me\",\"aud\":[\"x\",7]}")), JWT_AUDIENCE);
	assert_int_equal(
		judge(k, &r, hs("{" CLAIMS ",\"iss\":\"me\",\"aud\":\"u\"}")), JWT_AUDIENCE);
	assert_int_equal(judge(k, &r, hs("{" CLAIMS ",\"iss\":\"me\"}")), JWT_AUDIENCE);
	assert_int_equal(
		judge(k, &r, hs("{" CLAIMS ",\"iss\":\"you\",\"aud\":\"us\"}")), JWT_ISSUER);
	assert_int_equal(
		judge(k, &r, hs("{" CLAIMS ",\"iss\":[\"me\"],\"aud\":\"us\"}")), JWT_ISSUER);
	assert_int_equal(judge(k, &r, hs("{" CLAIMS ",\"aud\":\"us\"}")), JWT_ISSUER);
	jwt_keys_free(k);
}

static void test_services(void **state)
{
	struct jwt_keys *k = jwt_keys_new();
	struct jwt_rules r = rules();

	(void)state;
	add_jwk(k, oct, "");
	r.service_len = 0;
	assert_int_equal(judge(k, &r, hs("{\"sub\":\"a\",\"service\":\"game\"}")), JWT_GOOD);
	assert_memory_equal(said.service, "game", 4);
	assert_int_equal(judge(k, &r, hs("{\"sub\":\"a\",\"service\":[\"game\"]}")), JWT_GOOD);
	assert_int_equal(
		judge(k, &r, hs("{\"sub\":\"a\",\"service\":[\"game\",\"b\"]}")), JWT_NO_SERVICE);
	assert_int_equal(judge(k, &r, hs("{\"sub\":\"a\"}")), JWT_NO_SERVICE);
	r.service_claim = "";
	assert_int_equal(judge(k, &r, hs("{\"sub\":\"a\",\"service\":\"game\"}")), JWT_GOOD);
	assert_int_equal(said.service_len, 0);
	r.service_len = 4;
	assert_int_equal(judge(k, &r, hs("{\"sub\":\"a\",\"service\":\"game\"}")), JWT_GOOD);
	assert_memory_equal(said.service, "chat", 4);
	r.user_claim = "name";
	assert_int_equal(judge(k, &r, hs("{\"sub\":\"a\",\"name\":\"b\"}")), JWT_GOOD);
	assert_memory_equal(said.user, "b", 1);
	jwt_keys_free(k);
}

#define ALICE "{\"sub\":\"alice\",\"service\":\"chat\"}"

/* The public half of a key as PEM. */
static char *pem_of(EVP_PKEY *key)
{
	BIO *out = BIO_new(BIO_s_mem());
	char *text, *copy;
	long n;

	assert_true(PEM_write_bio_PUBKEY(out, key));
	n = BIO_get_mem_data(out, &text);
	copy = strndup(text, (size_t)n);
	BIO_free(out);
	return copy;
}

static void test_algorithms(void **state)
{
	struct jwt_keys *k = jwt_keys_new();
	char *public = jwk_text(rsa, false, "\"kid\":\"r\"");
	uint8_t *secret = cjose_jwk_get_keydata(oct, NULL);
	char *t;

	(void)state;
	add(k, public);
	add_jwk(k, ec, "\"kid\":\"e\"");
	add_jwk(k, oct, "\"kid\":\"o\"");
	add_jwk(k, oct2, "\"kid\":\"o2\",\"alg\":\"HS512\"");
	assert_int_equal(jwt_keys_count(k), 4);
	assert_int_equal(judge(k, NULL, signed_with(rsa, "RS256", "r", ALICE)), JWT_GOOD);
	assert_int_equal(judge(k, NULL, signed_with(rsa, "RS256", NULL, ALICE)), JWT_GOOD);
	assert_int_equal(judge(k, NULL, signed_with(ec, "ES256", "e", ALICE)), JWT_GOOD);
	assert_int_equal(judge(k, NULL, signed_with(oct, "HS256", "o", ALICE)), JWT_GOOD);
	assert_int_equal(judge(k, NULL, signed_with(oct2, "HS512", "o2", ALICE)), JWT_GOOD);
	/* The algorithm is the key's. */
	assert_int_equal(judge(k, NULL, signed_with(rsa, "RS512", "r", ALICE)), JWT_NO_KEY);
	assert_int_equal(judge(k, NULL, signed_with(rsa, "PS256", "r", ALICE)), JWT_NO_KEY);
	assert_int_equal(judge(k, NULL, signed_with(oct2, "HS256", "o2", ALICE)), JWT_NO_KEY);
	assert_int_equal(judge(k, NULL, signed_with(oct, "HS256", "unknown", ALICE)), JWT_NO_KEY);
	assert_int_equal(judge(k, NULL, signed_with(oct2, "HS256", "o", ALICE)), JWT_SIGNATURE);
	/* None, and a public key as a secret. */
	assert_true(judge(k, NULL, made("{\"alg\":\"none\"}", ALICE, NULL, 0)) != JWT_GOOD);
	assert_true(judge(k, NULL, made("{\"alg\":\"None\"}", ALICE, "x", 1)) != JWT_GOOD);
	t = made("{\"alg\":\"HS256\",\"kid\":\"r\"}", ALICE, public, strlen(public));
	assert_int_equal(judge(k, NULL, t), JWT_NO_KEY);
	t = made("{\"alg\":\"HS256\"}", ALICE, public, strlen(public));
	assert_int_equal(judge(k, NULL, t), JWT_SIGNATURE);
	t = made("{\"alg\":\"RS256\",\"kid\":\"o\"}", ALICE, secret, 32);
	assert_int_equal(judge(k, NULL, t), JWT_NO_KEY);
	/* By hand, and good: what the others lack is the key alone. */
	assert_int_equal(judge(k, NULL, made("{\"alg\":\"HS256\"}", ALICE, secret, 32)), JWT_GOOD);
	t = made("{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", ALICE, secret, 32);
	assert_int_equal(judge(k, NULL, t), JWT_MALFORMED);
	t = made("{\"alg\":\"HS256\",\"b64\":false,\"crit\":[\"b64\"]}", ALICE, secret, 32);
	assert_int_equal(judge(k, NULL, t), JWT_MALFORMED);
	assert_true(judge(k, NULL, made("{\"alg\":7}", ALICE, secret, 32)) != JWT_GOOD);
	assert_true(judge(k, NULL, made("{}", ALICE, secret, 32)) != JWT_GOOD);
	assert_true(judge(k, NULL, made("[]", ALICE, secret, 32)) != JWT_GOOD);
	jwt_keys_free(k);
	free(public);
}

/* Without a kid each is tried. */
static void test_two_keys(void **state)
{
	struct jwt_keys *k = jwt_keys_new();
	cjose_jwk_t *other = cjose_jwk_create_oct_random(256, NULL);

	(void)state;
	add_jwk(k, other, "");
	add_jwk(k, oct, "");
	assert_int_equal(judge(k, NULL, hs(ALICE)), JWT_GOOD);
	assert_int_equal(judge(k, NULL, signed_with(other, "HS256", "any", ALICE)), JWT_GOOD);
	jwt_keys_free(k);
	cjose_jwk_release(other);
}

static void test_pem(void **state)
{
	EVP_PKEY *p256 = EVP_EC_gen("P-256"), *r2048 = EVP_RSA_gen(2048),
		 *r1024 = EVP_RSA_gen(1024);
	EVP_PKEY *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), *k1 = EVP_EC_gen("secp256k1");
	char *a = pem_of(p256), *b = pem_of(r2048), *small = pem_of(r1024), *other = pem_of(ed),
	     *koblitz = pem_of(k1);
	struct jwt_keys *k = jwt_keys_new();
	char both[4096];

	(void)state;
	snprintf(both, sizeof(both), "a comment\n%s%s", a, b);
	add(k, both);
	assert_int_equal(jwt_keys_count(k), 2);
	refused(small, "1024 bits");
	refused(other, "no public key");
	refused(koblitz, "no public key");
	refused("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAA\n-----END PRIVATE "
		"KEY-----\n",
		"private key");
	refused("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key");
	refused("-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----\n", "cannot be read");
	snprintf(both, sizeof(both), "%s-----BEGIN PUBLIC KEY-----\nAAAA", a);
	refused(both, "cannot be read");
	jwt_keys_free(k);
	free(a);
	free(b);
	free(small);
	free(other);
	free(koblitz);
	EVP_PKEY_free(p256);
	EVP_PKEY_free(r2048);
	EVP_PKEY_free(r1024);
	EVP_PKEY_free(ed);
	EVP_PKEY_free(k1);
}

static void test_sets(void **state)
{
	char *r = jwk_text(rsa, false, "\"kid\":\"r\",\"use\":\"sig\"");
	char *e = jwk_text(ec, false, "\"kid\":\"e\",\"key_ops\":[\"verify\"]");
	char *enc = jwk_text(rsa, false, "\"kid\":\"x\",\"use\":\"enc\"");
	struct jwt_keys *k = jwt_keys_new();
	char set[8192];

	(void)state;
	snprintf(set, sizeof(set),
		" {\"keys\":[%s,%s,%s,{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"},{\"kty\":"
		"\"new\"},7]}",
		r, e, enc);
	add(k, set);
	assert_int_equal(jwt_keys_count(k), 2);
	assert_int_equal(judge(k, NULL, signed_with(ec, "ES256", "e", ALICE)), JWT_GOOD);
	assert_int_equal(judge(k, NULL, signed_with(rsa, "RS256", "x", ALICE)), JWT_NO_KEY);
	snprintf(set, sizeof(set), "{\"keys\":[%s]}", enc);
	refused(set, "no key that can be used");
	refused("{\"keys\":[]}", "no key that can be used");
	refused("{\"keys\":[{\"kty\":\"oct\",\"kid\":\"s\",\"k\":\"c2hvcnQ\"}]}", "40 bits");
	refused("{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"broken\",\"n\":\"AQAB\"}]}", "key broken");
	refused("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}]}",
		"not a good JWK");
	/* On these cjose would end the process. */
	refused("{\"keys\":[{\"kty\":\"oct\",\"k\":\"ATwjAzZr0=9CAow\"}]}", "not a good JWK");
	refused("{\"keys\":[{\"kty\":\"oct\",\"k\":\"A\"}]}", "not a good JWK");
	refused("{\"keys\":[{\"kty\":\"oct\",\"k\":\"\"}]}", "not a good JWK");
	refused("{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB=\",\"e\":\"AQAB\"}]}", "not a good JWK");
	refused("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":7,\"y\":\"AA\"}]}",
		"not a good JWK");
	refused("{\"keys\":", "line 1");
	refused("{\n\n]", "line 3");
	refused("{}", "no key that can be used");
	refused("", "neither PEM nor JSON");
	refused("hello", "neither PEM nor JSON");
	jwt_keys_free(k);
	free(r);
	free(e);
	free(enc);
}

static void test_garbage(void **state)
{
	static const char *const rows[] = {"", ".", "..", "...", "a.b.c", "eyJhbGciOiJIUzI1NiJ9..",
		"eyJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJIUzI1NiJ9.e30",
		"eyJhbGciOiJIUzI1NiJ9.e30.AA=", "a b.c.d", "\xff.\xff.\xff"};
	struct jwt_keys *k = jwt_keys_new();
	char *good = hs(ALICE), *huge = malloc(1 << 20);
	size_t len = strlen(good);

	(void)state;
	add_jwk(k, oct, "");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_true(judge(k, NULL, strdup(rows[i])) != JWT_GOOD);
	/* Each bit of it counts, but for those of base64 that carry nothing. */
	for (size_t i = 0; i < len - 1; i++) {
		char *t = strdup(good);

		t[i] = t[i] == 'A' ? 'B' : 'A';
		assert_true(judge(k, NULL, t) != JWT_GOOD);
	}
	for (size_t i = 0; i < len; i++) {
		struct jwt_rules r = rules();

		assert_true(jwt_check(k, &r, good, i, NOW, &said) != JWT_GOOD);
	}
	memset(huge, 'A', 1 << 20);
	memcpy(huge, good, len);
	huge[(1 << 20) - 1] = '\0';
	assert_int_equal(judge(k, NULL, huge), JWT_MALFORMED);
	free(good);
	jwt_keys_free(k);
}

/* RFC 7515 A.1: its key, token and time. */
static void test_rfc7515(void **state)
{
	struct jwt_keys *k = jwt_keys_new();
	struct jwt_rules r = rules();
	static const char token[] = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
				    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leG"
				    "FtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
				    "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

	(void)state;
	add(k, "{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-"
	       "1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\"}");
	r.issuer = "joe";
	r.user_claim = "iss";
	r.service_claim = "";
	assert_int_equal(jwt_check(k, &r, token, strlen(token), 1300819379, &said), JWT_GOOD);
	assert_memory_equal(said.user, "joe", 3);
	assert_int_equal(jwt_check(k, &r, token, strlen(token), 1300819410, &said), JWT_EXPIRED);
	jwt_keys_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_too_many_keys),
		cmocka_unit_test(test_parties),
		cmocka_unit_test(test_services),
		cmocka_unit_test(test_algorithms),
		cmocka_unit_test(test_two_keys),
		cmocka_unit_test(test_pem),
		cmocka_unit_test(test_sets),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_rfc7515),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
