/* Records of TLS as the kernel tells of them: which are the end, a fault, or nothing at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <linux/tls.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <cmocka.h>

#include <wsgate/records.h>

#define SOL 282
#define NO_TYPE 0
#define FD 77

ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
int __wrap_poll(struct pollfd *p, nfds_t n, int ms);

/* What recvmsg() returns, in turn; the last one for ever. */
struct turn {
	uint8_t type;
	int error;
	size_t len;
	uint8_t body[8];
};
static const struct turn *turns;
static size_t nturns, at;
static int send_error, writable;
static uint8_t sent[8][3]; /* type, level, what */
static size_t nsent;

ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags)
{
	const struct turn *t = &turns[at < nturns ? at++ : nturns - 1];
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);

	assert_int_equal(fd, FD);
	assert_true(flags & MSG_DONTWAIT);
	assert_true(msg->msg_controllen >= CMSG_SPACE(1));
	if (t->error) {
		errno = t->error;
		return -1;
	}
	msg->msg_controllen = 0;
	if (t->type != NO_TYPE) {
		c->cmsg_level = SOL;
		c->cmsg_type = TLS_GET_RECORD_TYPE;
		c->cmsg_len = CMSG_LEN(1);
		*CMSG_DATA(c) = t->type;
		msg->msg_controllen = CMSG_SPACE(1);
	}
	memcpy(msg->msg_iov[0].iov_base, t->body, t->len);
	return (ssize_t)t->len;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct msghdr copy = *msg;
	const struct cmsghdr *c = CMSG_FIRSTHDR(&copy);

	assert_int_equal(fd, FD);
	assert_true(flags & MSG_NOSIGNAL && flags & MSG_DONTWAIT);
	assert_int_equal(c->cmsg_level, SOL);
	assert_int_equal(c->cmsg_type, TLS_SET_RECORD_TYPE);
	assert_int_equal(c->cmsg_len, CMSG_LEN(1));
	assert_int_equal(msg->msg_iov[0].iov_len, 2);
	if (send_error) {
		errno = send_error;
		return -1;
	}
	sent[nsent][0] = *CMSG_DATA(c);
	memcpy(&sent[nsent++][1], msg->msg_iov[0].iov_base, 2);
	return 2;
}

int __wrap_poll(struct pollfd *p, nfds_t n, int ms)
{
	assert_int_equal(n, 1);
	assert_int_equal(p->fd, FD);
	assert_int_equal(p->events, POLLOUT);
	assert_int_equal(ms, 0);
	p->revents = writable ? POLLOUT : 0;
	return writable;
}

static uint8_t buf[16384];
static const char *why;

static ssize_t receive(const struct turn *t, size_t n)
{
	turns = t;
	nturns = n;
	at = nsent = 0;
	why = NULL;
	errno = 0;
	return records_recv(FD, buf, sizeof(buf), &why);
}
#define RECEIVE(...)                                                                               \
	receive((const struct turn[]){__VA_ARGS__},                                                \
		sizeof((const struct turn[]){__VA_ARGS__}) / sizeof(struct turn))

static void fails(ssize_t n, int error, bool reason)
{
	assert_int_equal(n, -1);
	assert_int_equal(errno, error);
	assert_int_equal(why != NULL, reason);
}

static void test_data(void **state)
{
	(void)state;
	assert_int_equal(RECEIVE({23, 0, 3, "abc"}), 3);
	assert_memory_equal(buf, "abc", 3);
	fails(RECEIVE({0, EAGAIN, 0, ""}), EAGAIN, false);
	fails(RECEIVE({0, ECONNRESET, 0, ""}), ECONNRESET, false);
	/* Empty records are no end; only so many at a time. */
	assert_int_equal(RECEIVE({23, 0, 0, ""}, {23, 0, 0, ""}, {23, 0, 1, "x"}), 1);
	fails(RECEIVE({23, 0, 0, ""}), EAGAIN, false);
}

static void test_ends(void **state)
{
	(void)state;
	assert_int_equal(RECEIVE({NO_TYPE, 0, 0, ""}), 0);
	assert_int_equal(RECEIVE({21, 0, 2, {1, 0}}), 0);
	assert_int_equal(RECEIVE({21, 0, 2, {2, 0}}), 0);
	assert_int_equal(RECEIVE({23, 0, 0, ""}, {21, 0, 2, {1, 0}}), 0);
	assert_int_equal(nsent, 0);
}

static void test_alerts(void **state)
{
	(void)state;
	assert_int_equal(RECEIVE({21, 0, 2, {1, 90}}, {21, 0, 2, {1, 0}}), 0); /* user_canceled */
	assert_int_equal(RECEIVE({21, 0, 2, {2, 90}}, {23, 0, 1, "x"}), 1);
	assert_int_equal(RECEIVE({21, 0, 2, {1, 100}}, {23, 0, 1, "x"}), 1);
	fails(RECEIVE({21, 0, 2, {2, 20}}), EPROTO, true);
	fails(RECEIVE({21, 0, 1, {1}}), EPROTO, true);
	fails(RECEIVE({21, 0, 0, ""}), EPROTO, true);
	fails(RECEIVE({21, 0, 4, {1, 0, 1, 0}}), EPROTO, true);
	fails(RECEIVE({21, 0, 2, {1, 50}}), EAGAIN, false); /* for ever */
	assert_int_equal(nsent, 0);
}

static void test_handshakes(void **state)
{
	(void)state;
	fails(RECEIVE({22, 0, 5, {24, 0, 0, 1, 0}}), EKEYEXPIRED, false);
	assert_int_equal(RECEIVE({22, 0, 4, {1, 0, 0, 0}}, {23, 0, 1, "x"}), 1);
	assert_int_equal(nsent, 1);
	assert_memory_equal(sent[0], "\x15\x01\x64", 3); /* no_renegotiation */
	send_error = EAGAIN;
	fails(RECEIVE({22, 0, 4, {1, 0, 0, 0}}, {23, 0, 1, "x"}), EPROTO, true);
	send_error = 0;
	fails(RECEIVE({22, 0, 4, {4, 0, 0, 0}}), EPROTO, true);
	fails(RECEIVE({22, 0, 0, ""}), EPROTO, true);
}

static void test_nonsense(void **state)
{
	(void)state;
	fails(RECEIVE({24, 0, 1, "x"}), EPROTO, true);
	fails(RECEIVE({20, 0, 1, "\1"}), EPROTO, true);
	fails(RECEIVE({NO_TYPE, 0, 3, "abc"}), EPROTO, true);
	fails(RECEIVE({0, EMSGSIZE, 0, ""}), EPROTO, true);
	fails(RECEIVE({0, EINVAL, 0, ""}), EPROTO, true);
	assert_int_equal(nsent, 0);
	fails(RECEIVE({0, EBADMSG, 0, ""}), EPROTO, true);
	assert_int_equal(nsent, 1);
	assert_memory_equal(sent[0], "\x15\x02\x14", 3); /* bad_record_mac */
}

static void test_end(void **state)
{
	(void)state;
	nsent = 0;
	writable = 0;
	assert_false(records_end(FD));
	writable = 1;
	send_error = EAGAIN;
	assert_false(records_end(FD));
	send_error = EPIPE; /* nobody is there to be told */
	assert_true(records_end(FD));
	assert_int_equal(nsent, 0);
	send_error = 0;
	assert_true(records_end(FD));
	assert_int_equal(nsent, 1);
	assert_memory_equal(sent[0], "\x15\x01\x00", 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_alerts),
		cmocka_unit_test(test_handshakes),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
