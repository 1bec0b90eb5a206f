/*
 * tlsctx: what a tls section of the configuration makes of a connection: the certificates by name,
 * the rules, the tickets. The master makes them to see whether the files are good; workers use
 * them. Room: tls.
 *
 * A connection holds the one it began with: a reload makes new ones.
 */
#ifndef WSGATE_TLSCTX_H
#define WSGATE_TLSCTX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wsgate/bundle.h>
#include <wsgate/config.h>
#include <wsgate/tickets.h>

struct tlsctx;
struct ssl_st; /* OpenSSL's SSL */

/* Of section `i`. NULL and, in err, one line that names the file. loud: what is no fault, but worth
 * a warning, is logged. The caller holds it. */
struct tlsctx *tlsctx_new(const struct config *c, size_t i, const struct bundle *b, bool loud,
	char *err, size_t errlen);
struct tlsctx *tlsctx_hold(struct tlsctx *t);
void tlsctx_drop(struct tlsctx *t); /* NULL is fine */
/* A connection of it, on the server's side; NULL: no memory. It needs a hold of its own. */
struct ssl_st *tlsctx_connection(struct tlsctx *t);
/* Its connections are to be given to the kernel, where it can (offload.h). */
bool tlsctx_offloads(const struct tlsctx *t);
/* Seconds since 1970: when the first of its certificates, or of those that go with them, expires.
 */
int64_t tlsctx_expires_s(const struct tlsctx *t);
/* Of the whole process, borrowed. */
void tlsctx_use_tickets(const struct tickets *t);

/* All sections, made and dropped; fd: from bundle_make(). 0; or -1 and one line. */
int tlsctx_check(const struct config *c, int fd, bool loud, char *err, size_t errlen)
	__attribute__((warn_unused_result));

#endif
