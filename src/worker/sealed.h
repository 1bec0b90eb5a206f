/*
 * sealed: a connection with TLS 1.3 whose records are made here (seal.h), when the handshake is
 * over: c->seal. What waits in c->out is in records already, to be sent as it is. Private to
 * workers.
 */
#ifndef WSGATE_WORKER_SEALED_H
#define WSGATE_WORKER_SEALED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <wsgate/seal.h>

struct conn;
struct iovec;
struct parcel_head;
struct parcel_parts;

/* c->w->tls_buf, of all connections: data that becomes a record. */
#define SEALED_BUF (SEAL_FRONT + SEAL_DATA_MAX + SEAL_BEHIND)

ssize_t sealed_recv(struct conn *c, void *buf, size_t len, const char **why); /* seal_recv() */
/* Sends all of it, or keeps what the socket does not take; -1: it does not go on. */
ssize_t sealed_sendv(struct conn *c, const struct iovec *iov, int n);
/* close_notify. False: the socket does not take it now; it is kept. */
bool sealed_end(struct conn *c);
void sealed_complain(struct conn *c); /* the alert for what was read */

/* What another worker needs, for a parcel: how much; out NULL: how much it would be. */
size_t sealed_pack(const struct conn *c, uint8_t *out);
/* And what waits to be sent. False: no memory, or it makes no sense. */
bool sealed_adopt(struct conn *c, const struct parcel_head *h, const struct parcel_parts *p);

#endif
