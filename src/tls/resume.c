/*
 * resume: see resume.h. RFC 5077 4: AES-CBC and HMAC-SHA256, OpenSSL's own form of a ticket.
 */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

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

/* A ticket says when the client last proved who it is: one that is given for another one, too. */
static int on_ticket(SSL *ssl, void *arg)
{
	SSL_SESSION *s = SSL_get_session(ssl);
	int64_t now = time(NULL);
	size_t len = 0;
	void *data;

	(void)arg;
	if (SSL_session_reused(ssl) && SSL_SESSION_get0_ticket_appdata(s, &data, &len) &&
		len == sizeof(now))
		return 1;
	return SSL_SESSION_set1_ticket_appdata(s, &now, sizeof(now));
}

/* Nothing is verified again: with a new ticket each time a client would go on for ever, also with
 * a certificate that has expired (RFC 8446 4.6.1). */
static bool is_good(SSL_SESSION *s, int64_t patience_s)
{
	int64_t now = time(NULL), proved;
	size_t len = 0;
	void *data;
	const X509 *x = SSL_SESSION_get0_peer(s);

	if (!SSL_SESSION_get0_ticket_appdata(s, &data, &len) || len != sizeof(proved))
		return false;
	memcpy(&proved, data, sizeof(proved));
	return proved <= now && now - proved < patience_s &&
	       (!x || X509_cmp_current_time(X509_get0_notAfter(x)) > 0);
}

static SSL_TICKET_RETURN on_resume(SSL *ssl, SSL_SESSION *s, const unsigned char *name,
	size_t name_len, SSL_TICKET_STATUS status, void *arg)
{
	bool found = status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW;

	(void)name;
	(void)name_len;
	if (!found || !is_good(s, (int64_t)(intptr_t)arg))
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	/* RFC 8446 C.4: each ticket is for one connection. */
	return status == SSL_TICKET_SUCCESS && SSL_version(ssl) < TLS1_3_VERSION
		       ? SSL_TICKET_RETURN_USE
		       : SSL_TICKET_RETURN_USE_RENEW;
}

bool resume_setup(SSL_CTX *ctx, uint64_t interval_ms)
{
	uint64_t patience_s;

	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	if (!interval_ms) {
		SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
		return SSL_CTX_set_num_tickets(ctx, 0);
	}
	patience_s = 2 * interval_ms / 1000 + 1;
	(void)SSL_CTX_set_timeout(ctx, (long)patience_s);
	/* RFC 8446 C.4: a ticket for one connection; who opens several at once has one for the
	 * first. */
	return SSL_CTX_set_num_tickets(ctx, 1) &&
	       SSL_CTX_set_session_ticket_cb(
		       ctx, on_ticket, on_resume, (void *)(intptr_t)patience_s) &&
	       SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key);
}
