#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../src/tls/traffic.h"
#include "tls_rig.h"

static EVP_PKEY *key;
static X509 *cert;
struct tls_rig rig;

static SSL_CTX *server_context(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	assert_true(SSL_CTX_use_certificate(ctx, cert) && SSL_CTX_use_PrivateKey(ctx, key));
	traffic_listen(ctx);
	SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20");
	return ctx;
}

int tls_group_setup(void **state)
{
	X509_NAME *name;

	(void)state;
	key = EVP_EC_gen("P-256");
	cert = X509_new();
	assert_true(key && cert);
	X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	name = X509_get_subject_name(cert);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"x", -1, -1, 0);
	X509_set_issuer_name(cert, name);
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	rig.server_ctx = server_context();
	rig.other_ctx = server_context();
	rig.client_ctx = SSL_CTX_new(TLS_client_method());
	return 0;
}

int tls_group_teardown(void **state)
{
	(void)state;
	SSL_CTX_free(rig.server_ctx);
	SSL_CTX_free(rig.other_ctx);
	SSL_CTX_free(rig.client_ctx);
	X509_free(cert);
	EVP_PKEY_free(key);
	return 0;
}

int tls_setup(void **state)
{
	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, rig.fds), 0);
	rig.server = SSL_new(rig.server_ctx);
	rig.client = SSL_new(rig.client_ctx);
	assert_true(SSL_set_fd(rig.server, rig.fds[0]) && SSL_set_fd(rig.client, rig.fds[1]));
	SSL_set_accept_state(rig.server);
	SSL_set_connect_state(rig.client);
	return 0;
}

int tls_teardown(void **state)
{
	(void)state;
	SSL_free(rig.server);
	SSL_free(rig.client);
	return close(rig.fds[0]) | close(rig.fds[1]);
}

void tls_shake(int version)
{
	SSL_set_max_proto_version(rig.client, version);
	for (int i = 0; i < 8; i++) {
		(void)SSL_do_handshake(rig.client);
		(void)SSL_do_handshake(rig.server);
	}
	assert_true(SSL_is_init_finished(rig.client) && SSL_is_init_finished(rig.server));
	assert_int_equal(SSL_version(rig.server), version);
}

static int other_name(SSL *ssl, int *alert, void *arg)
{
	(void)alert;
	(void)arg;
	assert_non_null(SSL_set_SSL_CTX(ssl, rig.other_ctx));
	return SSL_TLSEXT_ERR_OK;
}

void tls_other_by_name(bool on)
{
	if (on)
		SSL_CTX_set_tlsext_servername_callback(rig.server_ctx, other_name);
	else
		SSL_CTX_set_tlsext_servername_callback(rig.server_ctx, NULL);
}
