/*
 * offload: when a handshake is over, the keys of the connection go to the kernel (kTLS), if it has
 * that: it makes and opens the records from then on, and OpenSSL is needed no more. What is asked
 * for is tried for each connection; where it fails, OpenSSL goes on. Room: tls.
 *
 * Sources: the kernel's Documentation/networking/tls.rst; SSL_CTX_set_options(3),
 * SSL_OP_ENABLE_KTLS.
 */
#ifndef WSGATE_OFFLOAD_H
#define WSGATE_OFFLOAD_H

#include <stdbool.h>
#include <stddef.h>

struct ssl_st; /* OpenSSL's SSL */

/* NULL: this kernel can; else why not, in words. For root the kernel loads the module for it. */
const char *offload_missing(void);

/* Before the handshake, when it has its socket. False: the kernel does not take this connection, or
 * there is no memory; nothing has changed then. */
bool offload_want(struct ssl_st *ssl);
/* When the handshake is over. True: the kernel has both directions; ssl is good for questions and
 * SSL_free() alone. False: ssl reads and writes as ever, or seal_take() takes it. */
bool offload_take(struct ssl_st *ssl);

#endif
