/*
 * pem: certificates, keys and OCSP responses as their files have them. Private to tlsctx.
 *
 * What fails says why in *why, which is static or OpenSSL's.
 */
#ifndef WSGATE_TLS_PEM_H
#define WSGATE_TLS_PEM_H

#include <openssl/ocsp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* What OpenSSL said last. Its queue is empty then. */
const char *pem_reason(void);
/* At least one; the caller's. */
STACK_OF(X509) * pem_certs(const uint8_t *data, size_t len, const char **why);
EVP_PKEY *pem_key(const uint8_t *data, size_t len, const char **why);

struct pem_ocsp {
	OCSP_RESPONSE *response; /* owned */
	OCSP_BASICRESP *basic;   /* owned */
	OCSP_SINGLERESP *single; /* of basic */
	time_t until;            /* -1: does not say */
};
bool pem_ocsp_read(struct pem_ocsp *o, const uint8_t *data, size_t len, const char **why);
bool pem_ocsp_is_for(const struct pem_ocsp *o, const X509 *cert);
void pem_ocsp_free(struct pem_ocsp *o);

#endif
