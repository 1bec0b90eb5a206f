/*
 * traffic: see traffic.h.
 */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <string.h>

#include "traffic.h"

#define CLIENT "CLIENT_TRAFFIC_SECRET_0 "
#define SERVER "SERVER_TRAFFIC_SECRET_0 "
_Static_assert(sizeof(CLIENT) == sizeof(SERVER), "labels of the same length");

static void traffic_free(
	void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
	(void)parent;
	(void)ad;
	(void)index;
	(void)argl;
	(void)argp;
	OPENSSL_clear_free(ptr, sizeof(struct traffic));
}

/* A worker has one thread. */
static int traffic_index(void)
{
	static int index = -1;

	if (index < 0)
		index = SSL_get_ex_new_index(0, NULL, NULL, NULL, traffic_free);
	return index;
}

static int nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static size_t unhex(const char *at, uint8_t *out)
{
	size_t n = 0;

	for (; n < TRAFFIC_SECRET_MAX; at += 2) {
		int high = nibble(at[0]), low = high < 0 ? -1 : nibble(at[1]);

		if (low < 0)
			break;
		out[n++] = (uint8_t)(high << 4 | low);
	}
	return n;
}

/* A label, the client's random, the secret; all but the first in hexadecimal digits. The server's
 * comes when its key for writing changes, the client's when that for reading does. */
static void on_secret(const SSL *ssl, const char *line)
{
	struct traffic *t = SSL_get_ex_data(ssl, traffic_index());
	bool client = strncmp(line, CLIENT, sizeof(CLIENT) - 1) == 0;
	const char *at;

	if (!t || (!client && strncmp(line, SERVER, sizeof(SERVER) - 1) != 0))
		return;
	at = strchr(line + sizeof(CLIENT) - 1, ' ');
	if (!client)
		t->written = 0;
	t->len = at ? unhex(at + 1, client ? t->client : t->server) : 0;
}

static void on_message(
	int write, int version, int type, const void *buf, size_t len, SSL *ssl, void *arg)
{
	struct traffic *t = SSL_get_ex_data(ssl, traffic_index());

	(void)version;
	(void)buf;
	(void)len;
	(void)arg;
	if (t && write && type == SSL3_RT_HEADER)
		t->written++;
}

void traffic_listen(SSL_CTX *ctx)
{
	SSL_CTX_set_keylog_callback(ctx, on_secret);
}

bool traffic_want(SSL *ssl)
{
	struct traffic *t;

	if (SSL_get_ex_data(ssl, traffic_index()))
		return true;
	t = OPENSSL_zalloc(sizeof(*t));
	if (!t || !SSL_set_ex_data(ssl, traffic_index(), t)) {
		OPENSSL_free(t);
		return false;
	}
	SSL_set_msg_callback(ssl, on_message);
	SSL_set_read_ahead(ssl, 0);
	return true;
}

const struct traffic *traffic_of(const SSL *ssl)
{
	const struct traffic *t = SSL_get_ex_data(ssl, traffic_index());

	return t && t->len && SSL_version(ssl) == TLS1_3_VERSION ? t : NULL;
}

void traffic_forget(SSL *ssl)
{
	OPENSSL_clear_free(SSL_get_ex_data(ssl, traffic_index()), sizeof(struct traffic));
	(void)SSL_set_ex_data(ssl, traffic_index(), NULL);
	SSL_set_msg_callback(ssl, NULL);
}

bool traffic_expand(const EVP_MD *md, const uint8_t *secret, size_t secret_len, const char *label,
	uint8_t *out, size_t len)
{
	static EVP_KDF *kdf; /* of the process, to its end */
	EVP_KDF_CTX *ctx;
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	OSSL_PARAM params[6], *p = params;
	bool good;

	if (!kdf)
		kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", NULL);
	ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	*p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
	*p++ = OSSL_PARAM_construct_utf8_string(
		OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)EVP_MD_get0_name(md), 0);
	*p++ = OSSL_PARAM_construct_octet_string(
		OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)secret, secret_len);
	*p++ = OSSL_PARAM_construct_octet_string(
		OSSL_KDF_PARAM_PREFIX, (void *)(uintptr_t) "tls13 ", 6);
	*p++ = OSSL_PARAM_construct_octet_string(
		OSSL_KDF_PARAM_LABEL, (void *)(uintptr_t)label, strlen(label));
	*p = OSSL_PARAM_construct_end();
	good = ctx && EVP_KDF_derive(ctx, out, len, params) > 0;
	EVP_KDF_CTX_free(ctx);
	return good;
}
