/*
 * test_nkey: keys that another implementation made.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../src/broker/nkey.h"

#define SEED "SUALKNGGDBULOLD4XDNRLHQRLOPIYEDBAHHBXPWVENGPQVFUBZSZLQGQFE"
#define PUBLIC "UDE326KO43J4QW5UP3ANIG2RLDMGZONTICF4VWQS52GTQZHNBRSJJVNG"
#define OF_AN_ACCOUNT "SAAAYUU3CY6OVYQQ4FCAGT3YJRUQTV5V7P2GRI5GNC5T6IU33HBRSSHBBY"

static void test_public(void **state)
{
	char out[NKEY_PUBLIC_LEN + 1];
	char broken[] = SEED;

	(void)state;
	assert_true(nkey_public(SEED, out));
	assert_string_equal(out, PUBLIC);
	assert_false(nkey_public("", out));
	assert_false(nkey_public("SU", out));
	assert_false(nkey_public(PUBLIC, out));
	assert_false(nkey_public(OF_AN_ACCOUNT, out));
	for (size_t i = 0; i < NKEY_SEED_LEN; i++) {
		broken[i] = broken[i] == 'A' ? 'B' : 'A';
		assert_false(nkey_public(broken, out));
		broken[i] = '!';
		assert_false(nkey_public(broken, out));
		broken[i] = SEED[i];
	}
}

static void test_find(void **state)
{
	char seed[NKEY_SEED_LEN + 1], *jwt;

	(void)state;
	assert_true(nkey_find_seed("-----BEGIN SUPER SEED-----\n" SEED "\n-----END", seed));
	assert_string_equal(seed, SEED);
	assert_true(nkey_find_seed(SEED, seed));
	assert_false(nkey_find_seed("", seed));
	assert_false(nkey_find_seed("SUSUSU", seed));
	jwt = nkey_find_jwt(
		"-----BEGIN NATS USER JWT-----\r\n a.b.c\r\n------END NATS USER JWT------\n");
	assert_non_null(jwt);
	assert_string_equal(jwt, "a.b.c");
	free(jwt);
	assert_null(nkey_find_jwt(""));
	assert_null(nkey_find_jwt("-----BEGIN NATS USER JWT-----"));
	assert_null(nkey_find_jwt("-----BEGIN NATS USER JWT-----\n"));
	assert_null(
		nkey_find_jwt("-----BEGIN NATS USER JWT-----\n------END NATS USER JWT------\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_public),
		cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
