/*
 * seal: the records of TLS 1.3 behind the handshake, made and opened with the keys alone, where the
 * kernel does not do it (offload.h). OpenSSL keeps 14 kB for an idle connection, this some 250
 * bytes; the ciphers are OpenSSL's (EVP_EncryptInit(3)). What is known of a connection is plain
 * data: it may change its process. Room: tls.
 *
 * Sources: RFC 8446 4.6.3 (KeyUpdate), 5 (records), 5.5 (how much a key is good for), 6 (alerts),
 * 7.2 and 7.3 (keys).
 */
#ifndef WSGATE_SEAL_H
#define WSGATE_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ssl_st; /* OpenSSL's SSL */
struct seal;

#define SEAL_DATA_MAX 16384 /* bytes of data in a record */
#define SEAL_RECORD_MAX (5 + SEAL_DATA_MAX + 256)
#define SEAL_FRONT 64 /* bytes before data that becomes a record, and behind it */
#define SEAL_BEHIND 32
#define SEAL_ALERT_MAX 32

enum seal_cipher { SEAL_AES_128_GCM = 1, SEAL_AES_256_GCM, SEAL_CHACHA20_POLY1305 };

/* What another process needs, beside the bytes of a record that has not come whole. */
struct seal_state {
	uint8_t cipher;    /* enum seal_cipher */
	uint8_t owes;      /* 1: new keys for what is written, before the next record */
	uint8_t ended;     /* 1: close_notify was read */
	uint8_t shut;      /* 1: and was written */
	uint8_t failed;    /* 1: what was read made no sense, and that is not told so far */
	uint8_t complaint; /* the alert for it; 0: none */
	uint8_t small; /* RFC 6066 4, max_fragment_length: 1 … 4: 512 … 4096; 0: SEAL_DATA_MAX */
	uint8_t reserved;
	uint64_t read_seq, write_seq; /* of the next record */
	uint8_t read_secret[48], write_secret[48];
};

/* Before the handshake. False: no memory. */
bool seal_want(struct ssl_st *ssl) __attribute__((warn_unused_result));
/*
 * When the handshake is over: the caller's, and ssl is good for questions and SSL_free() alone.
 * NULL: it is not TLS 1.3, or has another cipher, or there is no memory; ssl goes on.
 */
struct seal *seal_take(struct ssl_st *ssl);
/* Of another process. NULL: no memory, or it makes no sense. */
struct seal *seal_restore(const struct seal_state *st, const uint8_t *rest, size_t rest_len);
/* *rest is borrowed. */
void seal_save(const struct seal *s, struct seal_state *st, const uint8_t **rest, size_t *rest_len);
void seal_free(struct seal *s); /* wiped; NULL is fine */

/*
 * Like recv() without waiting, of what is in the records; buf has room for SEAL_RECORD_MAX at
 * least. *more: there is more, of which no event of the socket tells: call again. 0: the peer has
 * ended its side, with close_notify or without. -1 with errno: EAGAIN, ENOMEM, and all that a
 * socket may say; EPROTO: it makes no sense, or was a fatal alert: *why says what, and
 * seal_complaint() what the peer is told.
 */
ssize_t seal_recv(struct seal *s, int fd, void *buf, size_t len, bool *more, const char **why);

/* Bytes of data that a record may have which the peer is to read. */
size_t seal_data_max(const struct seal *s);
/*
 * A record of the `len` bytes at buf + SEAL_FRONT, at most seal_data_max(); where it begins in buf,
 * and its length in *n. All of it must be sent, before anything else is. NULL: it cannot be made;
 * the connection is at its end.
 */
uint8_t *seal_data(struct seal *s, uint8_t *buf, size_t len, size_t *n);
/* The last record, close_notify: its length in out (SEAL_ALERT_MAX); 0: it was made before. */
size_t seal_end(struct seal *s, uint8_t *out);
/* The alert for what seal_recv() found; 0: none. */
size_t seal_complaint(struct seal *s, uint8_t *out);

#endif
