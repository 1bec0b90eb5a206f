/*
 * traffic: the secrets of TLS 1.3 from which the keys of a connection's data are made (RFC 8446
 * 7.1), for who goes on without OpenSSL when the handshake is over. OpenSSL tells them to who asks
 * (SSL_CTX_set_keylog_callback(3)). Private to this room.
 */
#ifndef WSGATE_TLS_TRAFFIC_H
#define WSGATE_TLS_TRAFFIC_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRAFFIC_SECRET_MAX 48 /* a hash: SHA-384 */

struct traffic {    /* owned by an SSL */
	size_t len; /* of a secret; 0: not told */
	uint8_t client[TRAFFIC_SECRET_MAX], server[TRAFFIC_SECRET_MAX];
	uint64_t written; /* records, with the server's secret: tickets */
};

/* All connections of ctx may be asked for their secrets. */
void traffic_listen(SSL_CTX *ctx);
/* Before the handshake. OpenSSL does not read ahead from here on: when the handshake is over no
 * record of data has been read. False: no memory. More than once is fine. */
bool traffic_want(SSL *ssl);
/* NULL: not wanted, or not told all (TLS 1.2). Borrowed, until traffic_forget(). */
const struct traffic *traffic_of(const SSL *ssl);
void traffic_forget(SSL *ssl); /* wiped */

/* HKDF-Expand-Label(secret, label, "", len), RFC 8446 7.1. False: no memory. */
bool traffic_expand(const EVP_MD *md, const uint8_t *secret, size_t secret_len, const char *label,
	uint8_t *out, size_t len);

#endif
