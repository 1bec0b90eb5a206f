/* Records without OpenSSL against OpenSSL's, and against records that no OpenSSL would make. */
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

/* The n-th from now fails; 0: none. */
static unsigned fail_at;
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *__wrap_malloc(size_t size)
{
	return fail_at > 0 && --fail_at == 0 ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fail_at > 0 && --fail_at == 0 ? NULL : __real_calloc(n, size);
}

static struct seal *shaken(void)
{
	struct seal *s;

	assert_true(seal_want(rig.server));
	tls_shake(TLS1_3_VERSION);
	s = seal_take(rig.server);
	assert_non_null(s);
	return s;
}

static void client_reads(const char *text)
{
	char buf[128];

	assert_int_equal(SSL_read(rig.client, buf, sizeof(buf)), strlen(text));
	assert_memory_equal(buf, text, strlen(text));
}

static void client_sends(struct seal *s, const char *text)
{
	assert_int_equal(SSL_write(rig.client, text, (int)strlen(text)), strlen(text));
	assert_int_equal(seal_receive(s), strlen(text));
	assert_memory_equal(seal_in, text, strlen(text));
}

static void works(struct seal *s)
{
	client_sends(s, "up");
	seal_send(s, "down");
	client_reads("down");
}

/* ---- with OpenSSL on the other side ---- */

static void test_ciphers(void **state)
{
	static const char *const suites[] = {
		"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"};
	static uint8_t big[SEAL_DATA_MAX], got[SEAL_DATA_MAX];

	for (size_t i = 0; i < 3; i++) {
		for (size_t tickets = 0; tickets < 3; tickets++) { /* are records, too */
			struct seal *s;
			size_t n, have = 0;
			uint8_t *rec;

			if (i || tickets)
				tls_setup(state);
			assert_true(SSL_set_ciphersuites(rig.client, suites[i]));
			assert_true(SSL_set_num_tickets(rig.server, tickets));
			s = shaken();
			works(s);
			for (size_t k = 0; k < sizeof(big); k++)
				big[k] = (uint8_t)(k * 7 + i);
			assert_int_equal(SSL_write(rig.client, big, sizeof(big)), sizeof(big));
			assert_int_equal(seal_receive(s), sizeof(big));
			assert_memory_equal(seal_in, big, sizeof(big));
			memcpy(seal_out + SEAL_FRONT, big, sizeof(big));
			rec = seal_data(s, seal_out, sizeof(big), &n);
			assert_non_null(rec);
			assert_int_equal(write(rig.fds[0], rec, n), n);
			while (have < sizeof(got)) {
				int r = SSL_read(rig.client, got + have, (int)(sizeof(got) - have));

				assert_true(r > 0);
				have += (size_t)r;
			}
			assert_memory_equal(got, big, sizeof(big));
			works(s);
			seal_free(s);
			if (i < 2 || tickets < 2)
				tls_teardown(state);
		}
	}
}

/* RFC 6066 4: the client refuses a larger record. */
static void test_small(void **state)
{
	static uint8_t got[4096];

	for (uint8_t code = 1; code <= 4; code++) {
		struct seal *s, *moved;
		struct seal_state st;
		const uint8_t *rest;
		uint8_t *rec;
		size_t n;

		if (code > 1)
			tls_setup(state);
		assert_true(SSL_set_tlsext_max_fragment_length(rig.client, code));
		s = shaken();
		works(s);
		seal_save(s, &st, &rest, &n);
		moved = seal_restore(&st, rest, n);
		assert_non_null(moved);
		seal_free(s);
		assert_int_equal(seal_data_max(moved), 256u << code);
		rec = seal_data(moved, seal_out, seal_data_max(moved), &n);
		assert_non_null(rec);
		assert_int_equal(write(rig.fds[0], rec, n), n);
		assert_int_equal(SSL_read(rig.client, got, sizeof(got)), 256 << code);
		works(moved);
		rec = seal_data(moved, seal_out, seal_data_max(moved) + 1, &n);
		assert_int_equal(write(rig.fds[0], rec, n), n);
		assert_int_equal(SSL_read(rig.client, got, sizeof(got)), -1);
		ERR_clear_error();
		seal_free(moved);
		if (code < 4)
			tls_teardown(state);
		st.small = 5;
		assert_null(seal_restore(&st, NULL, 0));
	}
}

/* One engine serves all: whose key it has must be known. */
static void test_two(void **state)
{
	struct tls_rig first;
	struct seal *a = shaken(), *b;

	works(a);
	first = rig;
	tls_setup(state);
	b = shaken();
	for (int i = 0; i < 2; i++) {
		struct tls_rig second = rig;

		works(b);
		rig = first;
		works(a);
		rig = second;
	}
	seal_free(b);
	tls_teardown(state);
	tls_setup(state);
	b = shaken(); /* may lie where the last one did */
	works(b);
	seal_free(b);
	tls_teardown(state);
	rig = first;
	works(a);
	seal_free(a);
}

static void test_resumed(void **state)
{
	struct seal *s = shaken();
	SSL_SESSION *session;

	works(s);
	seal_free(s);
	session = SSL_get1_session(rig.client);
	assert_true(SSL_SESSION_is_resumable(session));
	SSL_set_shutdown(rig.client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	tls_teardown(state);
	tls_setup(state);
	assert_true(SSL_set_session(rig.client, session));
	s = shaken();
	assert_true(SSL_session_reused(rig.server));
	works(s);
	seal_free(s);
	SSL_SESSION_free(session);
}

static void test_other_context(void **state)
{
	struct seal *s;

	(void)state;
	tls_other_by_name(true);
	SSL_set_tlsext_host_name(rig.client, "other.example");
	s = shaken();
	tls_other_by_name(false);
	works(s);
	seal_free(s);
}

static void test_hello_again(void **state)
{
	struct seal *s;

	(void)state;
	assert_true(SSL_set1_groups_list(rig.server, "P-384")); /* the client guesses X25519 */
	s = shaken();
	works(s);
	seal_free(s);
}

/* The first data comes with the client's Finished. */
static void test_data_at_once(void **state)
{
	struct seal *s;

	(void)state;
	assert_true(seal_want(rig.server));
	assert_int_equal(SSL_do_handshake(rig.client), -1);
	assert_int_equal(SSL_do_handshake(rig.server), -1);
	assert_int_equal(SSL_do_handshake(rig.client), 1);
	assert_int_equal(SSL_write(rig.client, "GET", 3), 3);
	assert_int_equal(SSL_write(rig.client, " /", 2), 2);
	assert_int_equal(SSL_do_handshake(rig.server), 1);
	s = seal_take(rig.server);
	assert_non_null(s);
	assert_int_equal(seal_receive(s), 5);
	assert_memory_equal(seal_in, "GET /", 5);
	assert_false(seal_more);
	works(s);
	seal_free(s);
}

static void openssl_goes_on(void)
{
	char text[8];

	assert_int_equal(SSL_write(rig.client, "hello", 5), 5);
	assert_int_equal(SSL_read(rig.server, text, sizeof(text)), 5);
	assert_int_equal(SSL_write(rig.server, "hello", 5), 5);
	client_reads("hello");
}

static void test_not_taken(void **state)
{
	assert_true(seal_want(rig.server));
	tls_shake(TLS1_2_VERSION);
	assert_null(seal_take(rig.server));
	openssl_goes_on();
	tls_teardown(state);

	tls_setup(state); /* a cipher that is none of ours */
	assert_true(SSL_set_ciphersuites(rig.client, "TLS_AES_128_CCM_SHA256"));
	assert_true(SSL_set_ciphersuites(rig.server, "TLS_AES_128_CCM_SHA256"));
	assert_true(seal_want(rig.server));
	tls_shake(TLS1_3_VERSION);
	assert_null(seal_take(rig.server));
	openssl_goes_on();
	tls_teardown(state);

	tls_setup(state); /* it was not wanted */
	tls_shake(TLS1_3_VERSION);
	assert_null(seal_take(rig.server));
	openssl_goes_on();
	tls_teardown(state);

	tls_setup(state);
	assert_true(seal_want(rig.server));
	tls_shake(TLS1_3_VERSION);
	fail_at = 1;
	assert_null(seal_take(rig.server));
	fail_at = 0;
	openssl_goes_on();
}

static void test_key_update(void **state)
{
	static const int kinds[] = {
		SSL_KEY_UPDATE_REQUESTED, SSL_KEY_UPDATE_NOT_REQUESTED, SSL_KEY_UPDATE_REQUESTED};
	struct seal *s = shaken();

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_true(SSL_key_update(rig.client, kinds[i]));
		works(s); /* ours comes in front of "down", where it was wanted */
		works(s);
	}
	for (int i = 0; i < 32; i++) {
		assert_true(SSL_key_update(rig.client, SSL_KEY_UPDATE_REQUESTED));
		assert_int_equal(SSL_do_handshake(rig.client), 1);
	}
	assert_int_equal(seal_receive(s), -1);
	assert_int_equal(errno, EAGAIN);
	works(s); /* one answer is enough; RFC 8446 4.6.3 */
	for (int i = 0; i < 33; i++) {
		assert_true(SSL_key_update(rig.client, SSL_KEY_UPDATE_NOT_REQUESTED));
		assert_int_equal(SSL_do_handshake(rig.client), 1);
	}
	seal_is_fault(s, "too many records without data");
	seal_free(s);
}

static void test_ends(void **state)
{
	struct seal *s = shaken();
	uint8_t alert[SEAL_ALERT_MAX];
	char buf[8];
	size_t n;

	(void)state;
	assert_int_equal(SSL_write(rig.client, "last", 4), 4);
	assert_int_equal(SSL_shutdown(rig.client), 0);
	assert_int_equal(seal_receive(s), 4);
	assert_true(seal_more);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(seal_receive(s), 0);
		assert_false(seal_more);
	}
	assert_int_equal(seal_complaint(s, alert), 0);
	seal_send(s, "bye"); /* theirs has ended, ours has not */
	n = seal_end(s, alert);
	assert_true(n > 0 && n <= sizeof(alert));
	assert_int_equal(write(rig.fds[0], alert, n), n);
	assert_int_equal(seal_end(s, alert), 0);
	client_reads("bye");
	assert_int_equal(SSL_read(rig.client, buf, sizeof(buf)), 0);
	assert_int_equal(SSL_get_error(rig.client, 0), SSL_ERROR_ZERO_RETURN);
	seal_free(s);
}

static void test_end_without_alert(void **state)
{
	struct seal *s = shaken();
	uint8_t half[4];

	(void)state;
	assert_int_equal(SSL_write(rig.client, "x", 1), 1);
	assert_int_equal(recv(rig.fds[0], half, sizeof(half), 0), sizeof(half));
	while (recv(rig.fds[0], seal_in, sizeof(seal_in), MSG_DONTWAIT) > 0)
		;
	assert_int_equal(write(rig.fds[1], half, sizeof(half)), sizeof(half));
	assert_int_equal(seal_receive(s), -1);
	assert_int_equal(errno, EAGAIN);
	shutdown(rig.fds[1], SHUT_WR);
	assert_int_equal(seal_receive(s), 0);
	seal_free(s);
}

static void test_padding(void **state)
{
	struct seal *s;

	(void)state;
	SSL_set_block_padding(rig.client, 1024);
	s = shaken();
	works(s);
	seal_free(s);
}

/* What the client wrote comes in other pieces. */
static size_t intercept(uint8_t *buf, size_t size)
{
	ssize_t n = recv(rig.fds[0], buf, size, MSG_DONTWAIT);

	assert_true(n > 0);
	return (size_t)n;
}

static void test_byte_by_byte(void **state)
{
	struct seal *s = shaken();
	uint8_t rec[256];
	size_t n;

	(void)state;
	assert_int_equal(SSL_write(rig.client, "one", 3), 3);
	assert_int_equal(SSL_write(rig.client, "two", 3), 3);
	n = intercept(rec, sizeof(rec));
	for (size_t i = 0; i < n; i++) {
		bool whole = i + 1 == n / 2 || i + 1 == n;

		assert_int_equal(write(rig.fds[1], rec + i, 1), 1);
		assert_int_equal(seal_receive(s), whole ? 3 : -1);
		if (whole)
			assert_memory_equal(seal_in, i + 1 == n ? "two" : "one", 3);
		else
			assert_int_equal(errno, EAGAIN);
	}
	/* In another process, in the middle of a record. */
	assert_int_equal(SSL_write(rig.client, "three", 5), 5);
	n = intercept(rec, sizeof(rec));
	for (size_t i = 1; i < n; i++) {
		struct seal_state st;
		const uint8_t *rest;
		size_t rest_len;
		struct seal *heir;

		assert_int_equal(write(rig.fds[1], rec, i), i);
		assert_int_equal(seal_receive(s), -1);
		seal_save(s, &st, &rest, &rest_len);
		assert_int_equal(rest_len, i);
		heir = seal_restore(&st, rest, rest_len);
		assert_non_null(heir);
		assert_int_equal(write(rig.fds[1], rec + i, n - i), n - i);
		assert_int_equal(seal_receive(heir), 5);
		assert_memory_equal(seal_in, "three", 5);
		seal_send(heir, "down");
		client_reads("down");
		seal_free(s);
		s = heir;
		assert_int_equal(SSL_write(rig.client, "three", 5), 5);
		n = intercept(rec, sizeof(rec));
	}
	fail_at = 1;
	assert_int_equal(write(rig.fds[1], rec, 7), 7);
	assert_int_equal(seal_receive(s), -1);
	assert_int_equal(errno, ENOMEM);
	fail_at = 0;
	seal_free(s);
}

/* The client hears what was wrong. */
static void client_hears(struct seal *s, int alert_reason)
{
	uint8_t alert[SEAL_ALERT_MAX];
	char buf[8];
	size_t n = seal_complaint(s, alert);

	assert_true(n > 0);
	assert_int_equal(write(rig.fds[0], alert, n), n);
	assert_int_equal(seal_complaint(s, alert), 0);
	assert_int_equal(seal_end(s, alert), 0);
	ERR_clear_error();
	assert_true(SSL_read(rig.client, buf, sizeof(buf)) <= 0);
	assert_int_equal(ERR_GET_REASON(ERR_get_error()), alert_reason);
}

static void test_spoiled(void **state)
{
	static const struct {
		size_t at;
		uint8_t bits;
		const char *text;
		int reason;
	} spoils[] = {
		{0, 0x01, "no record of TLS 1.3", SSL_R_SSLV3_ALERT_UNEXPECTED_MESSAGE},
		{1, 0x02, "no record of TLS 1.3", SSL_R_SSLV3_ALERT_UNEXPECTED_MESSAGE},
		{3, 0x80, "a record that is too large", SSL_R_TLSV1_ALERT_RECORD_OVERFLOW},
		{3, 0x41, "a record that is too large", SSL_R_TLSV1_ALERT_RECORD_OVERFLOW},
		{4, 0x13, "a record that is too short", SSL_R_TLSV1_ALERT_DECODE_ERROR},
		{5, 0x01, "a record that was not encrypted with its key",
			SSL_R_SSLV3_ALERT_BAD_RECORD_MAC},
		{22, 0x80, "a record that was not encrypted with its key",
			SSL_R_SSLV3_ALERT_BAD_RECORD_MAC},
	};

	for (size_t i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++) {
		struct seal *s;
		uint8_t rec[64];
		size_t n;

		if (i)
			tls_setup(state);
		s = shaken();
		assert_int_equal(SSL_write(rig.client, "a", 1), 1); /* before it */
		assert_int_equal(SSL_write(rig.client, "b", 1), 1);
		n = intercept(rec, sizeof(rec));
		assert_int_equal(n, 2 * 23);
		rec[23 + spoils[i].at] ^= spoils[i].bits;
		assert_int_equal(write(rig.fds[1], rec, n), n);
		assert_int_equal(seal_receive(s), 1);
		assert_int_equal(seal_in[0], 'a');
		assert_true(seal_more);
		seal_is_fault(s, spoils[i].text);
		client_hears(s, spoils[i].reason);
		seal_free(s);
		if (i + 1 < sizeof(spoils) / sizeof(spoils[0]))
			tls_teardown(state);
	}
}

static void test_restore_nonsense(void **state)
{
	struct seal_state st = seal_fresh;

	(void)state;
	st.cipher = 0;
	assert_null(seal_restore(&st, NULL, 0));
	st.cipher = SEAL_CHACHA20_POLY1305 + 1;
	assert_null(seal_restore(&st, NULL, 0));
	assert_null(seal_restore(&seal_fresh, seal_in, SEAL_RECORD_MAX));
	for (unsigned i = 1; i <= 2; i++) {
		fail_at = i;
		assert_null(seal_restore(&seal_fresh, seal_in, 10));
	}
	fail_at = 0;
	seal_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ciphers, tls_setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_small, tls_setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_two, tls_setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_resumed, tls_setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_other_context, tls_setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_hello_again, tls_setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_data_at_once, tls_setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_not_taken, tls_setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_key_update, tls_setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_ends, tls_setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_end_without_alert, tls_setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_padding, tls_setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_byte_by_byte, tls_setup, tls_teardown),
		cmocka_unit_test_setup_teardown(test_spoiled, tls_setup, tls_teardown),
		cmocka_unit_test(test_restore_nonsense),
	};

	return cmocka_run_group_tests(tests, tls_group_setup, tls_group_teardown);
}
