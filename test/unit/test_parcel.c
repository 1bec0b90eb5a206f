#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../src/worker/parcel.h"

static struct parcel_head good(void)
{
	struct parcel_head h = {
		.kind = PARCEL_OPEN, .service_len = 4, .user_len = 5, .given = 9, .confirmed = 9};

	h.reader.len = 3;
	h.reader.control_len = 2;
	h.stash_len = 1;
	h.out_len = 6;
	h.pending_len = 7;
	h.server_bits = h.client_bits = 12;
	h.deflate = PARCEL_OUT_CONTEXT | PARCEL_IN_CONTEXT;
	h.out_window = 4;
	h.in_window = 3;
	h.seal_len = sizeof(struct seal_state) + 4;
	h.body_len = parcel_body_len(&h);
	return h;
}

static void test_parts(void **state)
{
	static const char text[] = "chatalicemsgPIsOUTOUTpendingwindwin";
	char body[sizeof(text) - 1 + sizeof(struct seal_state) + 4];
	struct parcel_head h = good();
	struct parcel_parts p;

	(void)state;
	memset(body, 'k', sizeof(body));
	memcpy(body, text, sizeof(text) - 1);
	assert_int_equal(h.body_len, sizeof(body));
	assert_true(parcel_check(&h));
	parcel_open(&h, (const uint8_t *)body, &p);
	assert_memory_equal(p.who.service, "chat", 4);
	assert_memory_equal(p.who.user, "alice", 5);
	assert_memory_equal(p.message, "msg", 3);
	assert_memory_equal(p.control, "PI", 2);
	assert_memory_equal(p.stash, "s", 1);
	assert_memory_equal(p.out, "OUTOUT", 6);
	assert_memory_equal(p.pending, "pending", 7);
	assert_memory_equal(p.out_window, "wind", 4);
	assert_memory_equal(p.in_window, "win", 3);
	assert_ptr_equal(p.seal, body + sizeof(text) - 1);
}

/* Whatever does not add up is refused before a byte of the body is looked at. */
static void test_check(void **state)
{
	struct parcel_head h;

	(void)state;
	h = good(), h.kind = 0;
	assert_false(parcel_check(&h));
	h = good(), h.ktls = 2;
	assert_false(parcel_check(&h));
	h = good(), h.ktls = 1; /* the keys are in one place */
	assert_false(parcel_check(&h));
	h = good(), h.seal_len = sizeof(struct seal_state) - 1, h.body_len = parcel_body_len(&h);
	assert_false(parcel_check(&h));
	h = good(), h.seal_len = 0, h.ktls = 1, h.body_len = parcel_body_len(&h);
	assert_true(parcel_check(&h));
	h = (struct parcel_head){.kind = PARCEL_FRESH};
	assert_true(parcel_check(&h));
	h.ktls = 1; /* its handshake was read */
	assert_false(parcel_check(&h));
	h = (struct parcel_head){.kind = PARCEL_FRESH, .seal_len = sizeof(struct seal_state)};
	h.body_len = parcel_body_len(&h);
	assert_false(parcel_check(&h));
	h = good(), h.kind = PARCEL_ECHO + 1;
	assert_false(parcel_check(&h));
	h = good(), h.kind = PARCEL_ECHO; /* has no user */
	assert_false(parcel_check(&h));
	h = good(), h.user_len = 0, h.body_len -= 5;
	assert_false(parcel_check(&h));
	h = good(), h.user_len = TOKEN_MAX + 1, h.body_len = parcel_body_len(&h);
	assert_false(parcel_check(&h));
	h = good(), h.confirmed = 10;
	assert_false(parcel_check(&h));
	h = good(), h.body_len++;
	assert_false(parcel_check(&h));
	h = good(), h.out_len = UINT64_MAX - 5, h.body_len = parcel_body_len(&h);
	assert_false(parcel_check(&h));
	h = good(), h.reader.control_len = WS_CONTROL_MAX + 1, h.body_len = parcel_body_len(&h);
	assert_false(parcel_check(&h));
}

/* The same of what was agreed on about compression. */
static void test_check_deflate(void **state)
{
	struct parcel_head h;

	(void)state;
	h = good(), h.server_bits = 7;
	assert_false(parcel_check(&h));
	h = good(), h.server_bits = 16;
	assert_false(parcel_check(&h));
	h = good(), h.client_bits = 0;
	assert_false(parcel_check(&h));
	h = good(), h.client_bits = 16;
	assert_false(parcel_check(&h));
	h = good(), h.deflate = PARCEL_OUT_CONTEXT;
	assert_false(parcel_check(&h));
	h = good(), h.deflate = PARCEL_IN_CONTEXT;
	assert_false(parcel_check(&h));
	h = good(), h.out_window = DEFLATE_WINDOW_MAX + 1, h.body_len = parcel_body_len(&h);
	assert_false(parcel_check(&h));
	h = good(), h.in_window = DEFLATE_WINDOW_MAX + 1, h.body_len = parcel_body_len(&h);
	assert_false(parcel_check(&h));
	h = good(), h.out_window = h.in_window = 0, h.body_len = parcel_body_len(&h);
	h.deflate = 0;
	assert_true(parcel_check(&h));
	h.reader.deflated = 1;
	assert_true(parcel_check(&h));
	h.server_bits = h.client_bits = 0;
	assert_false(parcel_check(&h));
	h.reader.deflated = 0;
	assert_true(parcel_check(&h));
	h.deflate = PARCEL_OUT_CONTEXT;
	assert_false(parcel_check(&h));
}

static void test_wire(void **state)
{
	struct parcel_head h = good(), got;
	char name[] = "chat";
	struct iovec iov[2] = {{&h, sizeof(h)}, {name, 4}};
	char buf[sizeof(h) + 4];
	struct parcel_note note;
	struct stat mine, theirs;
	int s[2], p[2], fd;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s), 0);
	assert_int_equal(pipe(p), 0);
	assert_int_equal(parcel_send(s[0], PARCEL_HEAD, 63, iov, 2, p[0]), 0);
	assert_int_equal(parcel_receive(s[1], &note, buf, sizeof(buf), &fd), sizeof(h) + 4);
	assert_int_equal(note.type, PARCEL_HEAD);
	assert_int_equal(note.id, 63);
	memcpy(&got, buf, sizeof(got));
	assert_memory_equal(&got, &h, sizeof(h));
	assert_memory_equal(buf + sizeof(h), "chat", 4);
	assert_true(fd >= 0 && fd != p[0]);
	assert_int_equal(fstat(fd, &theirs), 0);
	assert_int_equal(fstat(p[0], &mine), 0);
	assert_int_equal(mine.st_ino, theirs.st_ino);
	close(fd);
	assert_int_equal(parcel_send(s[1], PARCEL_TAKEN, 63, NULL, 0, -1), 0);
	assert_int_equal(parcel_receive(s[0], &note, buf, sizeof(buf), &fd), 0);
	assert_int_equal(note.type, PARCEL_TAKEN);
	assert_int_equal(fd, -1);
	assert_int_equal(parcel_receive(s[0], &note, buf, sizeof(buf), &fd), -1);
	assert_int_equal(errno, EAGAIN);
	close(s[1]);
	assert_int_equal(parcel_receive(s[0], &note, buf, sizeof(buf), &fd), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(parcel_send(s[0], PARCEL_KICK, 1, NULL, 0, -1), -1);
	assert_int_equal(errno, EPIPE);
	close(s[0]);
	close(p[0]);
	close(p[1]);
}

/* An end that is gone had said something before, and not read all: what it said is heard. */
static void test_last_words(void **state)
{
	struct parcel_note note;
	uint8_t buf[64];
	int pair[2], fd;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(parcel_send(pair[0], PARCEL_HEAD, 1, NULL, 0, -1), 0);
	assert_int_equal(parcel_send(pair[1], PARCEL_TAKEN, 7, NULL, 0, -1), 0);
	close(pair[1]);
	assert_int_equal(parcel_receive(pair[0], &note, buf, sizeof(buf), &fd), 0);
	assert_int_equal(note.type, PARCEL_TAKEN);
	assert_int_equal(note.id, 7);
	assert_int_equal(parcel_receive(pair[0], &note, buf, sizeof(buf), &fd), -1);
	assert_int_equal(errno, EPIPE);
	close(pair[0]);
}

/* Another version of the program, cut packets, too large ones: none is taken for a parcel, and no
 * descriptor is kept. */
static void test_strangers(void **state)
{
	struct parcel_note note = {PARCEL_VERSION + 1, PARCEL_HEAD, 0, 1};
	char buf[8], big[64] = "";
	struct iovec iov = {big, sizeof(big)};
	int s[2], fd, before = dup(0);

	(void)state;
	close(before);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s), 0);
	assert_int_equal(send(s[0], &note, sizeof(note), 0), sizeof(note));
	assert_int_equal(parcel_receive(s[1], &note, buf, sizeof(buf), &fd), -1);
	assert_int_equal(errno, EPROTO);
	assert_int_equal(send(s[0], "x", 1, 0), 1);
	assert_int_equal(parcel_receive(s[1], &note, buf, sizeof(buf), &fd), -1);
	assert_int_equal(errno, EPROTO);
	note = (struct parcel_note){PARCEL_VERSION, PARCEL_BODY, 5, 1}; /* says 5 bytes, has none */
	assert_int_equal(send(s[0], &note, sizeof(note), 0), sizeof(note));
	assert_int_equal(parcel_receive(s[1], &note, buf, sizeof(buf), &fd), -1);
	assert_int_equal(errno, EPROTO);
	assert_int_equal(parcel_send(s[0], PARCEL_BODY, 1, &iov, 1, s[0]), 0);
	assert_int_equal(parcel_receive(s[1], &note, buf, sizeof(buf), &fd), -1);
	assert_int_equal(errno, EPROTO);
	assert_int_equal(fd, -1);
	close(s[0]);
	close(s[1]);
	fd = dup(0);
	assert_int_equal(fd, before);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_check_deflate),
		cmocka_unit_test(test_wire),
		cmocka_unit_test(test_last_words),
		cmocka_unit_test(test_strangers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
