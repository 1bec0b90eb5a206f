/*
 * resume: sessions that are taken up again, by tickets alone. Private to tlsctx.
 */
#ifndef WSGATE_TLS_RESUME_H
#define WSGATE_TLS_RESUME_H

#include <openssl/ssl.h>
#include <stdint.h>

/* interval_ms 0: no tickets. False: OpenSSL has no memory. */
bool resume_setup(SSL_CTX *ctx, uint64_t interval_ms) __attribute__((warn_unused_result));

#endif
