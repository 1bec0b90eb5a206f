/*
 * A descriptor with a packet: none, one, two, and one for which there is no room.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <wsgate/rights.h>

static int socks[2];

static int setup(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks);
}

static int teardown(void **state)
{
	(void)state;
	close(socks[0]);
	close(socks[1]);
	return 0;
}

static int lowest_free(void)
{
	int fd = dup(socks[0]);

	close(fd);
	return fd;
}

static ssize_t receive(char *buf, size_t size, int *fd, int *flags)
{
	const struct iovec iov = {buf, size};

	return rights_receive(socks[1], &iov, 1, fd, flags);
}

static void test_none_and_one(void **state)
{
	struct iovec iov[2] = {{(char[]){"ab"}, 2}, {(char[]){"cde"}, 3}};
	char buf[8];
	int fd, flags;

	(void)state;
	assert_int_equal(receive(buf, sizeof(buf), &fd, &flags), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(rights_send(socks[0], iov, 2, -1), 0);
	assert_int_equal(receive(buf, sizeof(buf), &fd, &flags), 5);
	assert_memory_equal(buf, "abcde", 5);
	assert_int_equal(fd, -1);
	assert_int_equal(flags, 0);
	assert_int_equal(rights_send(socks[0], iov, 1, socks[0]), 0);
	assert_int_equal(receive(buf, 1, &fd, &flags), 1);
	assert_int_equal(flags, MSG_TRUNC);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	shutdown(socks[0], SHUT_RDWR);
	assert_int_equal(receive(buf, sizeof(buf), &fd, &flags), 0);
	assert_int_equal(rights_send(socks[0], iov, 1, -1), -1); /* and no SIGPIPE */
	assert_int_equal(errno, EPIPE);
}

/* Alignment leaves room for a second one. */
static void test_two(void **state)
{
	char text = 'x', buf[8], space[CMSG_SPACE(2 * sizeof(int))] = "";
	struct iovec iov = {&text, 1};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = space,
		.msg_controllen = sizeof(space)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int fd, flags, before = lowest_free();

	(void)state;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(socks));
	memcpy(CMSG_DATA(c), socks, sizeof(socks));
	assert_int_equal(sendmsg(socks[0], &msg, 0), 1);
	assert_int_equal(receive(buf, sizeof(buf), &fd, &flags), 1);
	assert_int_equal(fd, -1);
	assert_int_equal(flags, MSG_CTRUNC);
	assert_int_equal(lowest_free(), before);
}

static void test_no_room(void **state)
{
	char text = 'x', buf[8];
	const struct iovec iov = {&text, 1};
	struct rlimit before, tight;
	ssize_t n;
	int fd, flags;

	(void)state;
	assert_int_equal(rights_send(socks[0], &iov, 1, socks[0]), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	tight = before;
	tight.rlim_cur = (rlim_t)lowest_free();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	n = receive(buf, sizeof(buf), &fd, &flags);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(n, 1);
	assert_int_equal(fd, -1);
	assert_int_equal(flags, MSG_CTRUNC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_none_and_one, setup, teardown),
		cmocka_unit_test_setup_teardown(test_two, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
