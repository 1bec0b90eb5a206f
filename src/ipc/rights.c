#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <wsgate/rights.h>

union control {
	struct cmsghdr align;
	char space[CMSG_SPACE(sizeof(int))]; /* alignment leaves room for two */
};

int rights_send(int sock, const struct iovec *iov, size_t n, int fd)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = n};
	union control control;
	ssize_t sent;

	if (fd >= 0) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.space;
		msg.msg_controllen = sizeof(control.space);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	do
		sent = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	/* No memory now; or too many descriptors are on their way, which the other end has yet to
	 * take (unix(7)): the other end lives. */
	if (sent < 0 && (errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS))
		errno = EAGAIN;
	return sent < 0 ? -1 : 0;
}

static int take(struct msghdr *msg)
{
	int fd = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int got;

			memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (n == 1) {
				fd = got;
			} else {
				close(got);
				msg->msg_flags |= MSG_CTRUNC;
			}
		}
	}
	return fd;
}

ssize_t rights_receive(int sock, const struct iovec *iov, size_t n, int *fd, int *flags)
{
	union control control;
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov,
		.msg_iovlen = n,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space)};
	int resets = 0;
	ssize_t got;

	*fd = -1;
	/* ECONNRESET says, once, that the other end is gone and had not read all: what it wrote
	 * before is still there. */
	do
		got = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (got < 0 && (errno == EINTR || (errno == ECONNRESET && resets++ == 0)));
	if (got < 0)
		return -1;
	*fd = take(&msg);
	*flags = msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC);
	return got;
}

void rights_drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}
