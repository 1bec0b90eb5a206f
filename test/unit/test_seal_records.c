/* Records that no OpenSSL would make, and keys that are used up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include <wsgate/seal.h>
#include "../../src/tls/traffic.h"
#include "seal_rig.h"

/* By the book: RFC 8446 5.2, 5.3; inner: data, its type, padding. */
static size_t craft_with(
	const uint8_t *secret, uint64_t seq, const uint8_t *inner, size_t len, uint8_t *rec)
{
	const EVP_MD *md = EVP_sha256();
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t key[16], iv[12];
	size_t body = len + 16;
	int n;

	assert_true(traffic_expand(md, secret, 32, "key", key, sizeof(key)));
	assert_true(traffic_expand(md, secret, 32, "iv", iv, sizeof(iv)));
	iv[11] ^= (uint8_t)seq;
	memcpy(rec, "\x17\x03\x03", 3);
	rec[3] = (uint8_t)(body >> 8);
	rec[4] = (uint8_t)body;
	assert_true(EVP_EncryptInit_ex(ctx, EVP_aes_128_gcm(), NULL, key, iv));
	assert_true(EVP_EncryptUpdate(ctx, NULL, &n, rec, 5));
	assert_true(EVP_EncryptUpdate(ctx, rec + 5, &n, inner, (int)len));
	assert_true(EVP_EncryptFinal_ex(ctx, rec + 5 + len, &n));
	assert_true(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, rec + 5 + len));
	EVP_CIPHER_CTX_free(ctx);
	return 5 + body;
}

static size_t craft(uint64_t seq, const uint8_t *inner, size_t len, uint8_t *rec)
{
	return craft_with(seal_fresh.read_secret, seq, inner, len, rec);
}

static void test_nonsense(void **state)
{
	static const struct {
		const char *inner;
		size_t len;
		const char *text; /* NULL: it is taken */
	} all[] = {
		{"\0\0\0", 3, "a record without a type"}, {"", 1, "a record without a type"},
		{"x\x63", 2, "a record of no known type"}, {"\x14", 1, "a record of no known type"},
		{"\x15", 1, "an alert that is none"}, {"\x01\x15", 2, "an alert that is none"},
		{"\x02\x28\x15", 3, "a fatal alert"},
		{"\x01\x28\x15", 3, "a fatal alert"}, /* whatever its level */
		{"\x01\x5a\x15", 3, NULL},            /* user_canceled */
		{"\x17", 1, NULL},                    /* without data */
		{"\x04\0\0\x01\0\x16", 6, "a handshake within a connection"},
		{"\x18\0\0\x01\x16", 5, "a handshake within a connection"},
		{"\x18\0\0\x01\0\x18\0\0\x01\0\x16", 11, "a handshake within a connection"},
		{"\x18\0\0\x01\x02\x16", 6, "new keys in no known way"},
		{"\x18\0\0\x01\0\x16\0\0\0\0\0", 11, NULL}, /* padded */
	};
	static uint8_t large[SEAL_DATA_MAX + 2], rec[SEAL_RECORD_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct seal *s = seal_restore(&seal_fresh, NULL, 0);
		size_t n = craft(0, (const uint8_t *)all[i].inner, all[i].len, rec);

		assert_non_null(s);
		assert_int_equal(write(rig.fds[1], rec, n), n);
		if (all[i].text) {
			seal_is_fault(s, all[i].text);
		} else {
			assert_int_equal(seal_receive(s), -1);
			assert_int_equal(errno, EAGAIN);
		}
		seal_free(s);
	}
	memset(large, 'x', sizeof(large));
	large[SEAL_DATA_MAX] = large[SEAL_DATA_MAX + 1] = 0x17;
	for (size_t over = 0; over < 2; over++) {
		struct seal *s = seal_restore(&seal_fresh, NULL, 0);
		size_t n = craft(0, large, SEAL_DATA_MAX + 1 + over, rec);

		assert_int_equal(write(rig.fds[1], rec, n), n);
		if (over)
			seal_is_fault(s, "a record that is too large");
		else
			assert_int_equal(seal_receive(s), SEAL_DATA_MAX);
		seal_free(s);
	}
}

/* Each costs us as much as one with data, and is worth nothing. */
static void test_barren(void **state)
{
	static const struct {
		const char *inner;
		size_t len;
	} kinds[] = {{"\x17", 1}, {"\x01\x5a\x15", 3}};

	(void)state;
	for (size_t k = 0; k < 2; k++) {
		struct seal *s = seal_restore(&seal_fresh, NULL, 0);
		uint8_t rec[64];
		uint64_t seq = 0;
		size_t n;

		for (int i = 0; i < 32; i++) {
			n = craft(seq++, (const uint8_t *)kinds[k].inner, kinds[k].len, rec);
			assert_int_equal(write(rig.fds[1], rec, n), n);
		}
		n = craft(seq++, (const uint8_t *)"x\x17", 2, rec);
		assert_int_equal(write(rig.fds[1], rec, n), n);
		assert_int_equal(seal_receive(s), 1);
		for (int i = 0; i < 33; i++) {
			n = craft(seq++, (const uint8_t *)kinds[k].inner, kinds[k].len, rec);
			assert_int_equal(write(rig.fds[1], rec, n), n);
		}
		seal_is_fault(s, "too many records without data");
		seal_free(s);
	}
}

static size_t next_key(uint8_t secret[32], uint64_t seq, uint8_t *rec)
{
	size_t n = craft_with(secret, seq, (const uint8_t *)"\x18\0\0\x01\0\x16", 6, rec);
	uint8_t next[32];

	assert_true(traffic_expand(EVP_sha256(), secret, 32, "traffic upd", next, sizeof(next)));
	memcpy(secret, next, sizeof(next));
	return n;
}

/* New keys cost more than data: a byte now and then does not pay for them. */
static void test_many_keys(void **state)
{
	struct seal *s = seal_restore(&seal_fresh, NULL, 0);
	uint8_t secret[32], rec[64];
	size_t n;

	(void)state;
	memcpy(secret, seal_fresh.read_secret, sizeof(secret));
	for (int i = 0; i < 130; i++) {
		uint64_t data = i == 128 ? 64 : i < 128 && i % 32 == 31;

		for (uint64_t seq = 0; seq < data; seq++) {
			n = craft_with(secret, seq, (const uint8_t *)"x\x17", 2, rec);
			assert_int_equal(write(rig.fds[1], rec, n), n);
			assert_int_equal(seal_receive(s), 1);
		}
		n = next_key(secret, data, rec);
		assert_int_equal(write(rig.fds[1], rec, n), n);
		if (i < 129) {
			assert_int_equal(seal_receive(s), -1);
			assert_int_equal(errno, EAGAIN);
		}
	}
	seal_is_fault(s, "too many new keys");
	seal_free(s);
}

/* What was found before a move is found behind it. */
static void test_end_moves(void **state)
{
	for (int fault = 0; fault < 2; fault++) {
		struct seal *s = seal_restore(&seal_fresh, NULL, 0), *heir;
		struct seal_state st;
		const uint8_t *rest;
		uint8_t rec[128], alert[SEAL_ALERT_MAX];
		size_t n = craft(0, (const uint8_t *)"x\x17", 2, rec), rest_len;

		(void)state;
		n += fault ? craft(1, (const uint8_t *)"?", 1, rec + n)
			   : craft(1, (const uint8_t *)"\x01\0\x15", 3, rec + n);
		assert_int_equal(write(rig.fds[1], rec, n), n);
		assert_int_equal(seal_receive(s), 1);
		assert_true(seal_more);
		seal_save(s, &st, &rest, &rest_len);
		assert_int_equal(rest_len, 0);
		heir = seal_restore(&st, rest, rest_len);
		if (fault)
			seal_is_fault(heir, "what another worker has read");
		else
			assert_int_equal(seal_receive(heir), 0);
		assert_int_equal(seal_complaint(heir, alert) > 0, fault);
		seal_free(s);
		seal_free(heir);
	}
}

/* RFC 8446 5.2: a record that came once is none the second time. */
static void test_replay(void **state)
{
	struct seal *s = seal_restore(&seal_fresh, NULL, 0);
	uint8_t rec[64];
	size_t n = craft(0, (const uint8_t *)"x\x17", 2, rec);

	(void)state;
	assert_int_equal(write(rig.fds[1], rec, n), n);
	assert_int_equal(seal_receive(s), 1);
	assert_int_equal(write(rig.fds[1], rec, n), n);
	seal_is_fault(s, "a record that was not encrypted with its key");
	seal_free(s);
}

/* RFC 8446 5.5: a key of AES-GCM is good for so many records, and is changed before. */
static void test_key_is_used_up(void **state)
{
	static const enum seal_cipher ciphers[] = {
		SEAL_AES_128_GCM, SEAL_AES_256_GCM, SEAL_CHACHA20_POLY1305};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct seal_state st = {
			.cipher = (uint8_t)ciphers[i], .write_seq = (UINT64_C(1) << 23) - 1};
		struct seal_state peer = {.cipher = st.cipher, .read_seq = st.write_seq};
		struct seal *s = seal_restore(&st, NULL, 0), *p = seal_restore(&peer, NULL, 0);
		struct seal_state now;
		const uint8_t *rest;
		size_t len;

		for (int k = 0; k < 3; k++) {
			seal_send(s, "data");
			seal_why = NULL;
			assert_int_equal(seal_recv(p, rig.fds[1], seal_in, sizeof(seal_in),
						 &seal_more, &seal_why),
				4);
			assert_memory_equal(seal_in, "data", 4);
		}
		seal_save(s, &now, &rest, &len);
		if (ciphers[i] == SEAL_CHACHA20_POLY1305)
			assert_int_equal(now.write_seq, st.write_seq + 3);
		else
			assert_int_equal(now.write_seq, 2);
		seal_free(s);
		seal_free(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nonsense, tls_setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_barren, tls_setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_many_keys, tls_setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_end_moves, tls_setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_replay, tls_setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_key_is_used_up, tls_setup, tls_teardown),
	};

	return cmocka_run_group_tests(tests, tls_group_setup, tls_group_teardown);
}
