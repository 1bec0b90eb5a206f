/*
 * resume: see resume.h. RFC 5077 4: AES-CBC and HMAC-SHA256, OpenSSL's own form of a ticket.
 */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <string.h>

#include <wsgate/tickets.h>
#include <wsgate/tlsctx.h>

#include "resume.h"

static const struct tickets *ring;

void tlsctx_use_tickets(const struct tickets *t)
{
	ring = t;
}

static int ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
	EVP_MAC_CTX *mac, int encrypt)
{
	const struct tickets_key *k = NULL;
	const EVP_CIPHER *aes = EVP_aes_256_cbc();
	OSSL_PARAM params[3];

	(void)ssl;
	if (ring)
		k = encrypt ? tickets_current(ring) : tickets_find(ring, name);
	if (!k)
		return 0; /* a full handshake; no ticket */
	params[0] = OSSL_PARAM_construct_octet_string(
		OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)k->mac, sizeof(k->mac));
	params[1] = OSSL_PARAM_construct_utf8_string(
		OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0);
	params[2] = OSSL_PARAM_construct_end();
	if (!EVP_MAC_CTX_set_params(mac, params))
		return -1;
	if (encrypt) {
		memcpy(name, k->name, TICKETS_NAME);
		if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(aes)) <= 0 ||
			!EVP_EncryptInit_ex(cipher, aes, NULL, k->aes, iv))
			return -1;
		return 1;
	}
	if (!EVP_DecryptInit_ex(cipher, aes, NULL, k->aes, iv))
		return -1;
	return k == tickets_current(ring) ? 1 : 2; /* 2: and gets a new one */
}

bool resume_setup(SSL_CTX *ctx, uint64_t interval_ms)
{
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	if (!interval_ms) {
		SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
		return SSL_CTX_set_num_tickets(ctx, 0);
	}
	(void)SSL_CTX_set_timeout(ctx, (long)(2 * interval_ms / 1000));
	/* RFC 8446 C.4: a ticket for one connection; who opens several at once has one for the
	 * first. */
	return SSL_CTX_set_num_tickets(ctx, 1) &&
	       SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key);
}
