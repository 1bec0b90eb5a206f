/* The keys that the kernel gets, tried on what a client sends; and that OpenSSL goes on where the
 * kernel takes none. The kernel is played: its answers to setsockopt(), and that it writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include <wsgate/offload.h>

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
long __wrap_BIO_ctrl(BIO *b, int cmd, long n, void *p);
long __real_BIO_ctrl(BIO *b, int cmd, long n, void *p);

static int ulp_error, rx_error;
static bool kernel_writes, kernel_reads;
static union {
	struct tls_crypto_info info;
	struct tls12_crypto_info_aes_gcm_128 aes128;
	struct tls12_crypto_info_aes_gcm_256 aes256;
	struct tls12_crypto_info_chacha20_poly1305 chacha;
} got;
static socklen_t got_len;

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	int error;

	assert_true(fd >= 0);
	if (level == IPPROTO_TCP) {
		assert_int_equal(name, TCP_ULP);
		assert_string_equal(value, "tls");
		error = ulp_error;
	} else {
		assert_int_equal(level, 282);
		assert_int_equal(name, TLS_RX);
		assert_true(len <= sizeof(got));
		memcpy(&got, value, len);
		got_len = len;
		error = rx_error;
	}
	errno = error;
	return error ? -1 : 0;
}

long __wrap_BIO_ctrl(BIO *b, int cmd, long n, void *p)
{
	if (cmd == BIO_CTRL_GET_KTLS_SEND)
		return kernel_writes;
	if (cmd == BIO_CTRL_GET_KTLS_RECV)
		return kernel_reads;
	return __real_BIO_ctrl(b, cmd, n, p);
}

static EVP_PKEY *key;
static X509 *cert;
static SSL_CTX *server_ctx, *other_ctx, *client_ctx;
static SSL *server, *client;
static int fds[2];

static SSL_CTX *server_context(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	assert_true(SSL_CTX_use_certificate(ctx, cert) && SSL_CTX_use_PrivateKey(ctx, key));
	SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20");
	return ctx;
}

static int group_setup(void **state)
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
	server_ctx = server_context();
	other_ctx = server_context();
	client_ctx = SSL_CTX_new(TLS_client_method());
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	SSL_CTX_free(server_ctx);
	SSL_CTX_free(other_ctx);
	SSL_CTX_free(client_ctx);
	X509_free(cert);
	EVP_PKEY_free(key);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	ulp_error = rx_error = 0;
	kernel_writes = kernel_reads = false;
	got_len = 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	server = SSL_new(server_ctx);
	client = SSL_new(client_ctx);
	assert_true(SSL_set_fd(server, fds[0]) && SSL_set_fd(client, fds[1]));
	SSL_set_accept_state(server);
	SSL_set_connect_state(client);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	SSL_free(server);
	SSL_free(client);
	return close(fds[0]) | close(fds[1]);
}

static void shake(int version)
{
	SSL_set_max_proto_version(client, version);
	for (int i = 0; i < 8; i++) {
		(void)SSL_do_handshake(client);
		(void)SSL_do_handshake(server);
	}
	assert_true(SSL_is_init_finished(client) && SSL_is_init_finished(server));
	assert_int_equal(SSL_version(server), version);
}

/* OpenSSL reads what the client sends. */
static void openssl_reads(void)
{
	char text[8];

	assert_int_equal(SSL_write(client, "hello", 5), 5);
	assert_int_equal(SSL_read(server, text, sizeof(text)), 5);
	assert_memory_equal(text, "hello", 5);
}

static void test_keys(void **state)
{
	static const struct {
		const char *suite;
		unsigned type;
		size_t len;
		const char *cipher;
	} kinds[] = {
		{"TLS_AES_128_GCM_SHA256", TLS_CIPHER_AES_GCM_128, sizeof(got.aes128),
			"AES-128-GCM"},
		{"TLS_AES_256_GCM_SHA384", TLS_CIPHER_AES_GCM_256, sizeof(got.aes256),
			"AES-256-GCM"},
		{"TLS_CHACHA20_POLY1305_SHA256", TLS_CIPHER_CHACHA20_POLY1305, sizeof(got.chacha),
			"ChaCha20-Poly1305"},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		uint8_t record[128], iv[12], out[128];
		const uint8_t *k = got.chacha.key;
		EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, kinds[i].cipher, NULL);
		EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
		ssize_t n;
		int len;

		if (i)
			setup(state);
		assert_true(SSL_set_ciphersuites(client, kinds[i].suite));
		assert_true(offload_want(server));
		kernel_writes = true;
		shake(TLS1_3_VERSION);
		assert_true(offload_take(server));
		assert_int_equal(got.info.version, TLS_1_3_VERSION);
		assert_int_equal(got.info.cipher_type, kinds[i].type);
		assert_int_equal(got_len, kinds[i].len);
		memcpy(iv, got.chacha.iv, sizeof(iv));
		if (i == 0) {
			k = got.aes128.key;
			memcpy(iv, got.aes128.salt, 4);
			memcpy(iv + 4, got.aes128.iv, 8);
			assert_memory_equal(got.aes128.rec_seq, "\0\0\0\0\0\0\0", 8);
		} else if (i == 1) {
			k = got.aes256.key;
			memcpy(iv, got.aes256.salt, 4);
			memcpy(iv + 4, got.aes256.iv, 8);
			assert_memory_equal(got.aes256.rec_seq, "\0\0\0\0\0\0\0", 8);
		}
		/* RFC 8446 5.2: the client's first record of data, which is still in the socket. */
		assert_int_equal(SSL_write(client, "hello", 5), 5);
		n = read(fds[0], record, sizeof(record));
		assert_int_equal(n, 5 + 5 + 1 + 16);
		assert_true(EVP_DecryptInit_ex2(ctx, cipher, k, iv, NULL));
		assert_true(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, record + n - 16));
		assert_true(EVP_DecryptUpdate(ctx, NULL, &len, record, 5));
		assert_true(EVP_DecryptUpdate(ctx, out, &len, record + 5, 6));
		assert_true(EVP_DecryptFinal_ex(ctx, out + len, &len) > 0);
		assert_memory_equal(out, "hello\x17", 6);
		EVP_CIPHER_CTX_free(ctx);
		EVP_CIPHER_free(cipher);
		if (i + 1 < sizeof(kinds) / sizeof(kinds[0]))
			teardown(state);
	}
}

static int other_name(SSL *ssl, int *alert, void *arg)
{
	(void)alert;
	(void)arg;
	assert_non_null(SSL_set_SSL_CTX(ssl, other_ctx));
	offload_follow(ssl);
	return SSL_TLSEXT_ERR_OK;
}

static void test_other_context(void **state)
{
	(void)state;
	SSL_CTX_set_tlsext_servername_callback(server_ctx, other_name);
	SSL_set_tlsext_host_name(client, "other.example");
	assert_true(offload_want(server));
	kernel_writes = true;
	shake(TLS1_3_VERSION);
	SSL_CTX_set_tlsext_servername_callback(server_ctx, NULL);
	assert_true(offload_take(server));
	assert_true(got_len > 0);
}

static void test_openssl_gave_all(void **state)
{
	(void)state;
	ulp_error = EEXIST; /* SSL_set_fd() was first */
	assert_true(offload_want(server));
	shake(TLS1_2_VERSION);
	kernel_writes = kernel_reads = true;
	assert_true(offload_take(server));
	assert_int_equal(got_len, 0);
}

static void test_kernel_has_none(void **state)
{
	(void)state;
	ulp_error = ENOENT;
	assert_false(offload_want(server));
	assert_non_null(offload_missing());
	ulp_error = ENOTCONN; /* it has the module */
	assert_null(offload_missing());
	shake(TLS1_3_VERSION);
	kernel_writes = true; /* but it was not asked */
	assert_false(offload_take(server));
	assert_int_equal(got_len, 0);
	openssl_reads();
}

static void test_half_is_not_taken(void **state)
{
	(void)state;
	assert_true(offload_want(server));
	shake(TLS1_2_VERSION);
	assert_false(offload_take(server));
	kernel_writes = true;
	assert_false(offload_take(server));
	assert_int_equal(got_len, 0);
	openssl_reads();
}

static void test_kernel_refuses_keys(void **state)
{
	(void)state;
	assert_true(offload_want(server));
	assert_false(offload_take(server)); /* no handshake so far */
	SSL_free(server);
	server = SSL_new(server_ctx);
	SSL_set_fd(server, fds[0]);
	SSL_set_accept_state(server);
	assert_true(offload_want(server));
	kernel_writes = true;
	rx_error = ENOENT;
	shake(TLS1_3_VERSION);
	assert_false(offload_take(server));
	assert_true(got_len > 0);
	openssl_reads();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_context, setup, teardown),
		cmocka_unit_test_setup_teardown(test_openssl_gave_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kernel_has_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_is_not_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kernel_refuses_keys, setup, teardown),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
