/*
 * Logins with a NKey whose signatures begin with a zero: nats.c takes them for empty.
 */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "nats_rig.h"

#define SEED "SUALKNGGDBULOLD4XDNRLHQRLOPIYEDBAHHBXPWVENGPQVFUBZSZLQGQFE"
#define PUBLIC "UDE326KO43J4QW5UP3ANIG2RLDMGZONTICF4VWQS52GTQZHNBRSJJVNG"
#define NOBODY_ELSE "authorization { users = [ { nkey: " PUBLIC " } ] }\n"

static _Atomic int zeros; /* so many signatures begin with 0 */
static _Atomic int signatures;

natsStatus __real_nats_Sign(const char *seed, const char *in, unsigned char **out, int *len);
natsStatus __wrap_nats_Sign(const char *seed, const char *in, unsigned char **out, int *len);
natsStatus __wrap_nats_Sign(const char *seed, const char *in, unsigned char **out, int *len)
{
	natsStatus s = __real_nats_Sign(seed, in, out, len);

	signatures++;
	if (s == NATS_OK && zeros > 0) {
		zeros--;
		(*out)[0] = 0;
	}
	return s;
}

/* Until it takes connections: who comes before that logs that there is none. */
static void server_await(const struct rig_server *s)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->port)};
	const struct timespec between = {0, 10000000};
	uint64_t until = rig_now() + 20000;
	bool there = false;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	while (!there && rig_now() < until) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		assert_true(fd >= 0);
		there = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
		close(fd);
		if (!there)
			nanosleep(&between, NULL);
	}
	assert_true(there);
}

static struct rig *nkey_rig(void)
{
	struct rig *r = rig_new(NOBODY_ELSE);

	server_await(&r->server);
	r->config.broker.nkey = strdup(SEED);
	assert_non_null(r->config.broker.nkey);
	signatures = 0;
	return r;
}

static void signed_again(void **state)
{
	struct rig *r = nkey_rig();

	(void)state;
	zeros = 3;
	rig_start(r);
	rig_until(r, r->connects == 1);
	assert_false(rig_logged(" warn "));
	assert_false(rig_logged(" error "));
	assert_true(signatures >= 3 + 1);
	rig_free(r);
}

static void once_again_by_hand(void **state)
{
	struct identity ann = {"svc", "ann", 3, 3};
	struct rig *r = nkey_rig();
	char err[200] = "";
	uint64_t seq = 0;

	(void)state;
	zeros = 0;
	rig_start(r);
	rig_until(r, r->connects == 1);
	zeros = 1;
	assert_int_equal(
		broker_send(&r->config, &ann, BROKER_TEXT_TEXT, "x", 1, &seq, err, sizeof(err)), 0);
	assert_string_equal(err, "");
	assert_int_equal(seq, 1);
	rig_free(r);
}

/* It ends: a server that always asks for such a one is one that refuses. */
static void not_for_ever(void **state)
{
	struct rig *r = nkey_rig();

	(void)state;
	zeros = 1000000;
	rig_start(r);
	rig_until(r, r->refusals > 0 || rig_logged("begins with 0"));
	assert_int_equal(r->connects, 0);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(signed_again, rig_teardown),
		cmocka_unit_test_teardown(once_again_by_hand, rig_teardown),
		cmocka_unit_test_teardown(not_for_ever, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
