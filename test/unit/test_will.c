#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../src/master/will.h"

static int ends[2];

static int setup(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends);
}

static int teardown(void **state)
{
	(void)state;
	close(ends[0]);
	return close(ends[1]);
}

static bool same_file(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_ino == y.st_ino &&
	       x.st_dev == y.st_dev;
}

static void test_every_type(void **state)
{
	static const enum will_type types[] = {WILL_HELLO, WILL_PIDFILE, WILL_DIR, WILL_CONTROL,
		WILL_LISTENER, WILL_ADMIN, WILL_COMPLETE, WILL_PAIR, WILL_MOVED, WILL_DRAIN,
		WILL_PREPARED, WILL_SERVING, WILL_FAILED};
	struct will w, got;
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		int with = i % 2 ? ends[0] : -1;

		memset(&w, 'x', sizeof(w)); /* no text is terminated */
		w.version = WILL_VERSION;
		w.type = types[i];
		assert_string_not_equal(will_name(w.type), "?");
		assert_int_equal(will_send(ends[0], &w, with), 0);
		assert_int_equal(will_receive(ends[1], &got, &fd), 1);
		assert_int_equal(got.type, types[i]);
		assert_int_equal(fd >= 0, with >= 0);
		if (fd >= 0) {
			assert_true(same_file(fd, with));
			assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
			close(fd);
		}
		if (w.type == WILL_HELLO) {
			assert_int_equal(strlen(got.u.hello.pidfile), WILL_PATH_MAX - 1);
			assert_int_equal(strlen(got.u.hello.segment), SEGMENT_NAME_MAX - 1);
		} else if (w.type == WILL_LISTENER || w.type == WILL_ADMIN) {
			assert_int_equal(strlen(got.u.listener.text), LISTEN_TEXT_MAX - 1);
			assert_int_equal(got.u.listener.slot, w.u.listener.slot);
		} else if (w.type == WILL_FAILED) {
			assert_int_equal(strlen(got.u.text.text), WILL_TEXT_MAX - 1);
		}
	}
	assert_int_equal(will_receive(ends[1], &got, &fd), -1);
	assert_int_equal(errno, EAGAIN);
	assert_string_equal(will_name(99), "?");
}

static void refused(const void *data, size_t n)
{
	struct will got;
	int fd;

	assert_int_equal(send(ends[0], data, n, 0), n);
	assert_int_equal(will_receive(ends[1], &got, &fd), -1);
	assert_int_equal(errno, EPROTO);
	assert_int_equal(fd, -1);
}

static void test_nonsense(void **state)
{
	static char large[2 * sizeof(struct will)];
	struct will w = {.version = WILL_VERSION, .type = WILL_PAIR};
	const size_t head = offsetof(struct will, u), size = head + sizeof(struct will_number);

	(void)state;
	refused(&w, 1);
	refused(&w, size - 1);
	refused(&w, size + 1);
	w.version++;
	refused(&w, size);
	w.version = WILL_VERSION;
	w.type = 77;
	refused(&w, head);
	memcpy(large, &w, head);
	refused(large, sizeof(large));
}

/* More descriptors than one: none of them stays open. */
static void test_two_descriptors(void **state)
{
	struct will w = {.version = WILL_VERSION, .type = WILL_PAIR}, got;
	char space[CMSG_SPACE(2 * sizeof(int))] __attribute__((aligned(8)));
	struct iovec iov = {&w, offsetof(struct will, u) + sizeof(struct will_number)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = space,
		.msg_controllen = sizeof(space)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int two[2] = {ends[0], ends[1]}, fd, before = dup(0), after;

	(void)state;
	close(before);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(two));
	memcpy(CMSG_DATA(c), two, sizeof(two));
	assert_int_equal(sendmsg(ends[0], &msg, 0), iov.iov_len);
	assert_int_equal(will_receive(ends[1], &got, &fd), -1);
	assert_int_equal(errno, EPROTO);
	after = dup(0);
	close(after);
	assert_int_equal(after, before);
}

static void test_ends(void **state)
{
	struct will w = {.version = WILL_VERSION, .type = WILL_MOVED}, got;
	int fd, r = 0;

	(void)state;
	while (r == 0)
		r = will_send(ends[0], &w, -1);
	assert_int_equal(errno, EAGAIN);
	close(ends[0]);
	do
		r = will_receive(ends[1], &got, &fd);
	while (r == 1);
	assert_int_equal(r, 0);
	assert_int_equal(will_send(ends[1], &w, -1), -1);
	assert_int_equal(errno, EPIPE);
	ends[0] = dup(ends[1]);
}

static void test_take(void **state)
{
	char number[16];
	int keep = fcntl(ends[0], F_DUPFD, 3);

	(void)state;
	assert_int_equal(will_take(), -1);
	for (const char *const *bad = (const char *const[]){"", "x", "0", "2", "-1", "99999", NULL};
		*bad; bad++) {
		assert_int_equal(setenv(WILL_ENV, *bad, 1), 0);
		assert_int_equal(will_take(), -1);
		assert_null(getenv(WILL_ENV));
	}
	snprintf(number, sizeof(number), "%d", keep);
	assert_int_equal(setenv(WILL_ENV, number, 1), 0);
	assert_int_equal(will_take(), keep);
	assert_null(getenv(WILL_ENV));
	assert_true(fcntl(keep, F_GETFD) & FD_CLOEXEC);
	close(keep);
}

#define WITH_PAIR(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PAIR(test_every_type),
		WITH_PAIR(test_nonsense),
		WITH_PAIR(test_two_descriptors),
		WITH_PAIR(test_ends),
		WITH_PAIR(test_take),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
