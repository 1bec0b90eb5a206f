/*
 * tls: TLS of a connection, whoever makes its records: OpenSSL, the kernel (offload.h, records.h)
 * or sealed.c. Private to workers.
 */
#ifndef WSGATE_WORKER_TLS_H
#define WSGATE_WORKER_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct conn;
struct iovec;
struct log_field;
struct tlsctx;

/*
 * Like recv() and sendmsg(), with errno; EPROTO: the peer, or OpenSSL, makes no sense; EKEYEXPIRED:
 * tls_rekeyed(). Where the kernel has the keys, sendmsg() itself; with c->seal, sealed.h.
 */
ssize_t tls_recv(struct conn *c, void *buf, size_t len);
ssize_t tls_sendv(struct conn *c, const struct iovec *iov, int n);
/* Small pieces become one record, a header and its payload, and many frames: copies the next bytes
 * of iov, from *at of its *i-th part on, at most `most`; how many. */
size_t tls_gather(const struct iovec *iov, int n, int *i, size_t *at, uint8_t *buf, size_t most);
bool tls_begin(struct conn *c, struct tlsctx *t); /* false: no memory */
bool tls_on(const struct conn *c);                /* it speaks TLS */
/* Our side ends. False: not yet, the socket takes no more now. */
bool tls_shut(struct conn *c);
void tls_free(struct conn *c);
bool tls_handshaking(const struct conn *c);
bool tls_moves(const struct conn *c); /* nothing of it lives in this process alone */
void tls_opened(struct conn *c);      /* the request is done with: what it alone needed goes */
/* The peer takes new keys, which the kernel does not get: c is closed, and can still read that. */
void tls_rekeyed(struct conn *c);
/* After EPROTO, or when it takes too long: c ends, in a way that the peer can read. */
void tls_failed(struct conn *c);
void tls_late(struct conn *c);
/* For the log: version and name; NULL: without TLS. Valid until the next call. */
const struct log_field *tls_who(const struct conn *c);
/* The verified certificate's name of a user, as identity.cert_user says. 0: none; -1: one that
 * cannot be taken. */
int tls_user(const struct conn *c, char *out, size_t size);

#endif
