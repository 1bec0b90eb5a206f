/*
 * The first byte says what the rest is: a token; claims, which get a good signature; or a file of
 * keys. What is good once is good again, and who is named fits.
 */
#include <cjose/cjose.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wsgate/jwt.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW 1700000000u

static const char keys_text[] = "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"o\",\"k\":"
				"\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-"
				"1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\"},"
				"{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e\",\"x\":"
				"\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
				"\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";

static void check(int truth)
{
	if (!truth)
		abort();
}

static void judge(const struct jwt_keys *k, const char *token, size_t len)
{
	static const char *const us[] = {"us"};
	struct jwt_said a, b;

	for (int i = 0; i < 4; i++) {
		const struct jwt_rules r = {.issuer = i == 3 ? "me" : "",
			.audience = us,
			.naudience = i == 3,
			.leeway_s = 30,
			.service_claim = i == 2 ? "" : "service",
			.user_claim = "sub",
			.service = "chat",
			.service_len = i == 1 ? 0 : 4};
		enum jwt_verdict v = jwt_check(k, &r, token, len, NOW, &a);

		check(jwt_verdict_text(v) != NULL && v == jwt_check(k, &r, token, len, NOW, &b));
		if (v != JWT_GOOD)
			continue;
		check(a.user_len > 0 && a.user_len <= sizeof(a.user));
		check(a.service_len <= sizeof(a.service) && (a.service_len || i == 1));
		check(!a.expires_s || a.expires_s > NOW);
		check(memcmp(&a, &b, sizeof(a)) == 0);
	}
}

static void claims(const struct jwt_keys *k, const uint8_t *data, size_t size)
{
	static cjose_jwk_t *jwk;
	cjose_err e;
	cjose_header_t *head = cjose_header_new(&e);
	cjose_jws_t *jws;
	const char *text;

	if (!jwk)
		jwk = cjose_jwk_import(keys_text + 9, strcspn(keys_text + 9, "}") + 1, &e);
	check(head && jwk && cjose_header_set(head, "alg", "HS256", &e));
	jws = cjose_jws_sign(jwk, head, data, size, &e);
	if (jws && cjose_jws_export(jws, &text, &e))
		judge(k, text, strlen(text));
	cjose_jws_release(jws);
	cjose_header_release(head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct jwt_keys *k;
	struct jwt_keys *more;
	char err[256];

	if (!k) {
		k = jwt_keys_new();
		check(jwt_keys_add(k, keys_text, strlen(keys_text), err, sizeof(err)) == 0);
	}
	if (size == 0)
		return 0;
	if (data[0] % 3 == 0) {
		judge(k, (const char *)data + 1, size - 1);
	} else if (data[0] % 3 == 1) {
		claims(k, data + 1, size - 1);
	} else {
		more = jwt_keys_new();
		err[0] = '\0';
		if (jwt_keys_add(more, data + 1, size - 1, err, sizeof(err)) == 0)
			check(jwt_keys_count(more) > 0);
		else
			check(err[0] != '\0' && !strchr(err, '\n'));
		jwt_keys_free(more);
	}
	return 0;
}
