/* The keys that the kernel gets, tried on what a rig.client sends; and that OpenSSL goes on where
 * the kernel takes none. The kernel is played: its answers to setsockopt(), and that it writes. */
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
#include "tls_rig.h"

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

static int setup(void **state)
{
	ulp_error = rx_error = 0;
	kernel_writes = kernel_reads = false;
	got_len = 0;
	return tls_setup(state);
}

/* OpenSSL reads what the client sends. */
static void openssl_reads(void)
{
	char text[8];

	assert_int_equal(SSL_write(rig.client, "hello", 5), 5);
	assert_int_equal(SSL_read(rig.server, text, sizeof(text)), 5);
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
		assert_true(SSL_set_ciphersuites(rig.client, kinds[i].suite));
		assert_true(offload_want(rig.server));
		kernel_writes = true;
		tls_shake(TLS1_3_VERSION);
		assert_true(offload_take(rig.server));
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
		assert_int_equal(SSL_write(rig.client, "hello", 5), 5);
		n = read(rig.fds[0], record, sizeof(record));
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
			tls_teardown(state);
	}
}

static void test_other_context(void **state)
{
	(void)state;
	tls_other_by_name(true);
	SSL_set_tlsext_host_name(rig.client, "other.example");
	assert_true(offload_want(rig.server));
	kernel_writes = true;
	tls_shake(TLS1_3_VERSION);
	tls_other_by_name(false);
	assert_true(offload_take(rig.server));
	assert_true(got_len > 0);
}

static void test_openssl_gave_all(void **state)
{
	(void)state;
	ulp_error = EEXIST; /* SSL_set_fd() was first */
	assert_true(offload_want(rig.server));
	tls_shake(TLS1_2_VERSION);
	kernel_writes = kernel_reads = true;
	assert_true(offload_take(rig.server));
	assert_int_equal(got_len, 0);
}

static void test_kernel_has_none(void **state)
{
	(void)state;
	ulp_error = ENOENT;
	assert_false(offload_want(rig.server));
	assert_non_null(offload_missing());
	ulp_error = ENOTCONN; /* it has the module */
	assert_null(offload_missing());
	tls_shake(TLS1_3_VERSION);
	kernel_writes = true; /* but it was not asked */
	assert_false(offload_take(rig.server));
	assert_int_equal(got_len, 0);
	openssl_reads();
}

static void test_half_is_not_taken(void **state)
{
	(void)state;
	assert_true(offload_want(rig.server));
	tls_shake(TLS1_2_VERSION);
	assert_false(offload_take(rig.server));
	kernel_writes = true;
	assert_false(offload_take(rig.server));
	assert_int_equal(got_len, 0);
	openssl_reads();
}

static void test_kernel_refuses_keys(void **state)
{
	(void)state;
	assert_true(offload_want(rig.server));
	assert_false(offload_take(rig.server)); /* no handshake so far */
	SSL_free(rig.server);
	rig.server = SSL_new(rig.server_ctx);
	SSL_set_fd(rig.server, rig.fds[0]);
	SSL_set_accept_state(rig.server);
	assert_true(offload_want(rig.server));
	kernel_writes = true;
	rx_error = ENOENT;
	tls_shake(TLS1_3_VERSION);
	assert_false(offload_take(rig.server));
	assert_true(got_len > 0);
	openssl_reads();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_keys, setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_other_context, setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_openssl_gave_all, setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_kernel_has_none, setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_half_is_not_taken, setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_kernel_refuses_keys, setup, tls_teardown),
	};

	return cmocka_run_group_tests(tests, tls_group_setup, tls_group_teardown);
}
