/*
 * offload: see offload.h.
 *
 * OpenSSL gives the kernel all keys by itself, with one exception: before 3.2 not those that
 * TLS 1.3 reads with. They are derived here (RFC 8446 7.3) from the client's secret, which OpenSSL
 * tells to who asks (SSL_CTX_set_keylog_callback(3)). No record has been read with them when the
 * handshake is over, for OpenSSL is not let read ahead.
 */
#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <wsgate/offload.h>

#define SECRET_MAX 48 /* a hash: SHA-384 */
#define SOL_TLS_ 282  /* linux/socket.h, which does not go with sys/socket.h */
#define LABEL "CLIENT_TRAFFIC_SECRET_0 "

struct secret {     /* owned by an SSL */
	size_t len; /* 0: not told */
	uint8_t v[SECRET_MAX];
};

union keys {
	struct tls_crypto_info info;
	struct tls12_crypto_info_aes_gcm_128 aes128;
	struct tls12_crypto_info_aes_gcm_256 aes256;
	struct tls12_crypto_info_chacha20_poly1305 chacha;
};

/* ---- can it? ---- */

const char *offload_missing(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), error;

	if (fd < 0)
		fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return strerror(errno);
	/* A kernel that has it looks for a connection next. */
	error = setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) < 0 ? errno : 0;
	close(fd);
	if (!error || error == ENOTCONN)
		return NULL;
	return error == ENOENT || error == ENOPROTOOPT ? "the kernel has no module tls"
						       : strerror(error);
}

/* ---- the client's secret ---- */

static void secret_free(
	void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
	(void)parent;
	(void)ad;
	(void)index;
	(void)argl;
	(void)argp;
	OPENSSL_clear_free(ptr, sizeof(struct secret));
}

/* A worker has one thread. */
static int secret_index(void)
{
	static int index = -1;

	if (index < 0)
		index = SSL_get_ex_new_index(0, NULL, NULL, NULL, secret_free);
	return index;
}

static int nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* LABEL, the client's random, the secret; all but the first in hexadecimal digits. */
static void on_secret(const SSL *ssl, const char *line)
{
	struct secret *s = SSL_get_ex_data(ssl, secret_index());
	const char *at;

	if (!s || strncmp(line, LABEL, sizeof(LABEL) - 1) != 0)
		return;
	at = strchr(line + sizeof(LABEL) - 1, ' ');
	s->len = 0;
	for (at = at ? at + 1 : ""; s->len < SECRET_MAX; at += 2) {
		int high = nibble(at[0]), low = high < 0 ? -1 : nibble(at[1]);

		if (low < 0)
			break;
		s->v[s->len++] = (uint8_t)(high << 4 | low);
	}
}

void offload_follow(SSL *ssl)
{
	if (SSL_get_ex_data(ssl, secret_index()))
		SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(ssl), on_secret);
}

bool offload_want(SSL *ssl)
{
	int fd = SSL_get_fd(ssl);
	struct secret *s;

	/* SSL_set_fd(3) has done so already, as a rule. */
	if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) < 0 && errno != EEXIST)
		return false;
	s = OPENSSL_zalloc(sizeof(*s));
	if (!s || !SSL_set_ex_data(ssl, secret_index(), s)) {
		OPENSSL_free(s);
		ERR_clear_error();
		return false;
	}
	SSL_set_options(ssl, SSL_OP_ENABLE_KTLS);
	SSL_set_read_ahead(ssl, 0);
	offload_follow(ssl);
	return true;
}

/* ---- keys for reading TLS 1.3 ---- */

/* HKDF-Expand-Label(secret, label, "", len) */
static bool expand(
	const SSL *ssl, const struct secret *s, const char *label, uint8_t *out, size_t len)
{
	const EVP_MD *md = SSL_CIPHER_get_handshake_digest(SSL_get_current_cipher(ssl));
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	OSSL_PARAM params[6], *p = params;
	bool good;

	EVP_KDF_free(kdf);
	*p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
	*p++ = OSSL_PARAM_construct_utf8_string(
		OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)(md ? EVP_MD_get0_name(md) : ""), 0);
	*p++ = OSSL_PARAM_construct_octet_string(
		OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)s->v, s->len);
	*p++ = OSSL_PARAM_construct_octet_string(
		OSSL_KDF_PARAM_PREFIX, (void *)(uintptr_t) "tls13 ", 6);
	*p++ = OSSL_PARAM_construct_octet_string(
		OSSL_KDF_PARAM_LABEL, (void *)(uintptr_t)label, strlen(label));
	*p = OSSL_PARAM_construct_end();
	good = md && ctx && EVP_KDF_derive(ctx, out, len, params) > 0;
	EVP_KDF_CTX_free(ctx);
	return good;
}

/* RFC 8446 5.3: all 12 bytes of the iv are derived; the kernel wants the first four of AES apart.
 */
static size_t derive(const SSL *ssl, const struct secret *s, union keys *k)
{
	uint8_t iv[12], *key;
	size_t len, all;

	memset(k, 0, sizeof(*k)); /* and with it the number of the next record */
	k->info.version = TLS_1_3_VERSION;
	switch (SSL_CIPHER_get_cipher_nid(SSL_get_current_cipher(ssl))) {
	case NID_aes_128_gcm:
		k->info.cipher_type = TLS_CIPHER_AES_GCM_128;
		key = k->aes128.key;
		len = sizeof(k->aes128.key);
		all = sizeof(k->aes128);
		break;
	case NID_aes_256_gcm:
		k->info.cipher_type = TLS_CIPHER_AES_GCM_256;
		key = k->aes256.key;
		len = sizeof(k->aes256.key);
		all = sizeof(k->aes256);
		break;
	case NID_chacha20_poly1305:
		k->info.cipher_type = TLS_CIPHER_CHACHA20_POLY1305;
		key = k->chacha.key;
		len = sizeof(k->chacha.key);
		all = sizeof(k->chacha);
		break;
	default:
		return 0;
	}
	if (!expand(ssl, s, "key", key, len) || !expand(ssl, s, "iv", iv, sizeof(iv)))
		return 0;
	if (k->info.cipher_type == TLS_CIPHER_CHACHA20_POLY1305) {
		memcpy(k->chacha.iv, iv, sizeof(iv));
	} else { /* the same places for both */
		_Static_assert(TLS_CIPHER_AES_GCM_256_SALT_SIZE == 4 &&
				       TLS_CIPHER_AES_GCM_128_SALT_SIZE == 4 &&
				       TLS_CIPHER_AES_GCM_256_IV_SIZE == 8 &&
				       TLS_CIPHER_AES_GCM_128_IV_SIZE == 8,
			"salt and iv");
		memcpy(len == 16 ? k->aes128.salt : k->aes256.salt, iv, 4);
		memcpy(len == 16 ? k->aes128.iv : k->aes256.iv, iv + 4, 8);
	}
	OPENSSL_cleanse(iv, sizeof(iv));
	return all;
}

static bool take_reading(SSL *ssl)
{
	const struct secret *s = SSL_get_ex_data(ssl, secret_index());
	union keys k;
	size_t len;
	bool good;

	if (SSL_version(ssl) != TLS1_3_VERSION || !s || !s->len)
		return false;
	len = derive(ssl, s, &k);
	good = len && setsockopt(SSL_get_fd(ssl), SOL_TLS_, TLS_RX, &k, (socklen_t)len) == 0;
	OPENSSL_cleanse(&k, sizeof(k));
	return good;
}

bool offload_take(SSL *ssl)
{
	bool good = SSL_is_init_finished(ssl) && !SSL_has_pending(ssl) &&
		    BIO_get_ktls_send(SSL_get_wbio(ssl)) &&
		    (BIO_get_ktls_recv(SSL_get_rbio(ssl)) || take_reading(ssl));

	OPENSSL_clear_free(SSL_get_ex_data(ssl, secret_index()), sizeof(struct secret));
	(void)SSL_set_ex_data(ssl, secret_index(), NULL);
	if (!good)
		SSL_set_read_ahead(ssl, 1);
	ERR_clear_error();
	return good;
}
