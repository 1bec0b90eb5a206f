/*
 * test_subject: tokens and subjects, every byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <wsgate/subject.h>

static void encode(const char *raw, size_t len, const char *want)
{
	char out[TOKEN_ENCODED_MAX + 1], back[TOKEN_MAX];
	int n = token_encode(raw, len, out, sizeof(out));

	assert_int_equal(n, (int)strlen(want));
	assert_string_equal(out, want);
	assert_int_equal(token_decode(out, (size_t)n, back, sizeof(back)), (int)len);
	assert_memory_equal(back, raw, len);
}

static void test_every_byte(void **state)
{
	char want[8];
	unsigned b;

	(void)state;
	for (b = 0; b < 256; b++) {
		char raw = (char)b;

		if (b <= ' ' || b > 0x7e || strchr("%.*>", (int)b))
			snprintf(want, sizeof(want), "%%%02X", b);
		else
			snprintf(want, sizeof(want), "%c", (int)b);
		encode(&raw, 1, want);
	}
}

static void test_tokens(void **state)
{
	(void)state;
	encode("*", 1, "%2A");
	encode(">", 1, "%3E");
	encode("a.b", 3, "a%2Eb");
	encode("a b", 3, "a%20b");
	encode("a.b@c.org", 9, "a%2Eb@c%2Eorg");
	encode("\303\251", 2, "%C3%A9");
	encode("a%2Eb", 5, "a%252Eb");
	encode("\0", 1, "%00");
}

/* Both bytes of a pair, all pairs: one subject each. Sorting is not needed: decoding gives them
 * back. */
static void test_pairs(void **state)
{
	char out[8], back[4];
	unsigned a, b;

	(void)state;
	for (a = 0; a < 256; a++) {
		for (b = 0; b < 256; b++) {
			char raw[2] = {(char)a, (char)b};
			int n = token_encode(raw, 2, out, sizeof(out));

			assert_true(n >= 2);
			assert_null(strpbrk(out, " .*>\t\r\n"));
			assert_int_equal(token_decode(out, (size_t)n, back, sizeof(back)), 2);
			assert_memory_equal(raw, back, 2);
		}
	}
}

static void refuse(const char *enc)
{
	char out[TOKEN_MAX];

	assert_int_equal(token_decode(enc, strlen(enc), out, sizeof(out)), -1);
}

static void test_bad_escapes(void **state)
{
	char out[2];

	(void)state;
	refuse("%");
	refuse("%2");
	refuse("a%");
	refuse("%2e"); /* another spelling of %2E */
	refuse("%41"); /* another spelling of A */
	refuse("%G0");
	refuse("%%25");
	refuse("a.b");
	refuse("*");
	refuse(">");
	refuse("a b");
	refuse("\303\251");
	assert_int_equal(token_decode("abc", 3, out, sizeof(out)), -1); /* no room */
	assert_int_equal(token_decode("", 0, out, sizeof(out)), 0);
}

static void test_room(void **state)
{
	char out[8];

	(void)state;
	assert_int_equal(token_encode("abc", 3, out, 4), 3);
	assert_int_equal(token_encode("abc", 3, out, 3), -1);
	assert_int_equal(token_encode("..", 2, out, 7), 6);
	assert_int_equal(token_encode("..", 2, out, 6), -1);
	assert_int_equal(token_encode("", 0, out, 1), 0);
	assert_int_equal(token_encode("", 0, out, 0), -1);
}

static struct identity identity(const char *service, size_t slen, const char *user, size_t ulen)
{
	return (struct identity){service, user, slen, ulen};
}

static void test_kinds(void **state)
{
	static const char *const want[] = {[SUBJECT_SEND] = "ws.send.chat.a%2Eb",
		[SUBJECT_RECV] = "ws.recv.chat.a%2Eb",
		[SUBJECT_LIVE] = "wslive.chat.a%2Eb",
		[SUBJECT_DEAD] = "wsdead.chat.a%2Eb"};
	struct identity id = identity("chat", 4, "a.b", 3), back;
	char out[SUBJECT_MAX], service[TOKEN_MAX], user[TOKEN_MAX];
	unsigned k, j;

	(void)state;
	for (k = 0; k < 4; k++) {
		assert_int_equal(
			subject_format(k, "ws", &id, out, sizeof(out)), (int)strlen(want[k]));
		assert_string_equal(out, want[k]);
		for (j = 0; j < 4; j++)
			assert_int_equal(
				subject_parse(j, "ws", out, service, user, &back), j == k ? 0 : -1);
		assert_int_equal(subject_parse(k, "ws", out, service, user, &back), 0);
		assert_int_equal(back.service_len, 4);
		assert_memory_equal(back.service, "chat", 4);
		assert_int_equal(back.user_len, 3);
		assert_memory_equal(back.user, "a.b", 3);
	}
}

static void test_lengths(void **state)
{
	char raw[TOKEN_MAX + 1], prefix[SUBJECT_PREFIX_MAX + 2], out[SUBJECT_MAX],
		service[TOKEN_MAX], user[TOKEN_MAX];
	struct identity id, back;
	int n;

	(void)state;
	memset(raw, '.', sizeof(raw)); /* three bytes each, encoded */
	memset(prefix, 'p', sizeof(prefix));
	prefix[SUBJECT_PREFIX_MAX] = '\0';
	id = identity(raw, TOKEN_MAX, raw, TOKEN_MAX);
	n = subject_format(SUBJECT_SEND, prefix, &id, out, sizeof(out));
	assert_int_equal(n, SUBJECT_PREFIX_MAX + 6 + 2 * TOKEN_ENCODED_MAX + 1);
	assert_int_equal(strlen(out), n);
	assert_int_equal(subject_parse(SUBJECT_SEND, prefix, out, service, user, &back), 0);
	assert_int_equal(back.service_len, TOKEN_MAX);
	assert_int_equal(back.user_len, TOKEN_MAX);
	assert_memory_equal(user, raw, TOKEN_MAX);
	assert_int_equal(subject_format(SUBJECT_SEND, prefix, &id, out, (size_t)n), -1);
	assert_int_equal(subject_format(SUBJECT_SEND, prefix, &id, out, (size_t)n + 1), n);

	id.user_len = TOKEN_MAX + 1;
	assert_int_equal(subject_format(SUBJECT_SEND, prefix, &id, out, sizeof(out)), -1);
	id = identity(raw, TOKEN_MAX + 1, raw, 1);
	assert_int_equal(subject_format(SUBJECT_SEND, prefix, &id, out, sizeof(out)), -1);
	id = identity(raw, 0, raw, 1);
	assert_int_equal(subject_format(SUBJECT_SEND, prefix, &id, out, sizeof(out)), -1);
	id = identity(raw, 1, raw, 0);
	assert_int_equal(subject_format(SUBJECT_SEND, prefix, &id, out, sizeof(out)), -1);
	id = identity(raw, 1, raw, 1);
	assert_int_equal(subject_format(SUBJECT_SEND, "", &id, out, sizeof(out)), -1);
	prefix[SUBJECT_PREFIX_MAX] = 'p';
	prefix[SUBJECT_PREFIX_MAX + 1] = '\0';
	assert_int_equal(subject_format(SUBJECT_SEND, prefix, &id, out, sizeof(out)), -1);
}

static void test_long_token_in_subject(void **state)
{
	char subject[SUBJECT_MAX] = "ws.recv.s.", service[TOKEN_MAX], user[TOKEN_MAX];
	struct identity back;

	(void)state;
	memset(subject + 10, 'u', TOKEN_MAX);
	assert_int_equal(subject_parse(SUBJECT_RECV, "ws", subject, service, user, &back), 0);
	subject[10 + TOKEN_MAX] = 'u';
	assert_int_equal(subject_parse(SUBJECT_RECV, "ws", subject, service, user, &back), -1);
}

static void test_not_of_that_form(void **state)
{
	static const char *const subjects[] = {"", "ws", "ws.recv", "ws.recv.", "ws.recv.s",
		"ws.recv.s.", "ws.recv..u", "ws.recv.s.u.x", "ws.recv.s.u.", "ws.recv.*.u",
		"ws.recv.s.>", "ws.recv.s.%41", "wt.recv.s.u", "ws.recvs.u", "xws.recv.s.u",
		"ws.recv.s.a b"};
	char service[TOKEN_MAX], user[TOKEN_MAX];
	struct identity back;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++)
		assert_int_equal(
			subject_parse(SUBJECT_RECV, "ws", subjects[i], service, user, &back), -1);
}

/* Where one token ends and the next begins cannot be moved by what is in them. */
static void test_no_shared_subject(void **state)
{
	static const char *const tokens[] = {"a", "b", "a.b", "b.c", "a%2Eb", "%", "%2E", ".", "..",
		"*", ">", " ", "c", "a.b.c", "A"};
	enum { N = sizeof(tokens) / sizeof(tokens[0]) };
	static char seen[N * N][SUBJECT_MAX];
	size_t i, j, n;

	(void)state;
	for (n = 0; n < N * N; n++) {
		struct identity id = identity(
			tokens[n / N], strlen(tokens[n / N]), tokens[n % N], strlen(tokens[n % N]));

		assert_true(subject_format(SUBJECT_RECV, "ws", &id, seen[n], SUBJECT_MAX) > 0);
	}
	for (i = 0; i < n; i++)
		for (j = i + 1; j < n; j++)
			assert_string_not_equal(seen[i], seen[j]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_bad_escapes),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_long_token_in_subject),
		cmocka_unit_test(test_not_of_that_form),
		cmocka_unit_test(test_no_shared_subject),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
