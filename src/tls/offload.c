/*
 * offload: see offload.h.
 *
 * OpenSSL gives the kernel all keys by itself, with one exception: before 3.2 not those that
 * TLS 1.3 reads with. They are derived here (RFC 8446 7.3) from the client's secret (traffic.h).
 */
#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <wsgate/offload.h>

#include "traffic.h"

#define SOL_TLS_ 282 /* linux/socket.h, which does not go with sys/socket.h */

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

/* ---- the keys ---- */

bool offload_want(SSL *ssl)
{
	int fd = SSL_get_fd(ssl);

	/* SSL_set_fd(3) has done so already, as a rule. */
	if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) < 0 && errno != EEXIST)
		return false;
	if (!traffic_want(ssl)) {
		ERR_clear_error();
		return false;
	}
	SSL_set_options(ssl, SSL_OP_ENABLE_KTLS);
	return true;
}

/* RFC 8446 5.3: all 12 bytes of the iv are derived; the kernel wants the first four of AES apart.
 */
static size_t derive(const SSL *ssl, const struct traffic *t, union keys *k)
{
	const EVP_MD *md = SSL_CIPHER_get_handshake_digest(SSL_get_current_cipher(ssl));
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
	if (!md || !traffic_expand(md, t->client, t->len, "key", key, len) ||
		!traffic_expand(md, t->client, t->len, "iv", iv, sizeof(iv)))
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
	const struct traffic *t = traffic_of(ssl);
	union keys k;
	size_t len;
	bool good;

	if (!t)
		return false;
	len = derive(ssl, t, &k);
	good = len && setsockopt(SSL_get_fd(ssl), SOL_TLS_, TLS_RX, &k, (socklen_t)len) == 0;
	OPENSSL_cleanse(&k, sizeof(k));
	return good;
}

bool offload_take(SSL *ssl)
{
	bool good = SSL_is_init_finished(ssl) && !SSL_has_pending(ssl) &&
		    BIO_get_ktls_send(SSL_get_wbio(ssl)) &&
		    (BIO_get_ktls_recv(SSL_get_rbio(ssl)) || take_reading(ssl));

	if (good)
		traffic_forget(ssl);
	ERR_clear_error();
	return good;
}
