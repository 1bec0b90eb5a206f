/*
 * records: see records.h. RFC 5246 6.2.1, 7.2; RFC 8446 4.6.3, 5.1, 6.
 */
#include <errno.h>
#include <linux/tls.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <wsgate/records.h>

#define SOL_TLS_ 282 /* linux/socket.h, which does not go with sys/socket.h */
#define TURNS 8      /* records without data, before others have their turn */

enum { RECORD_ALERT = 21, RECORD_HANDSHAKE = 22, RECORD_DATA = 23 };
enum { ALERT_WARNING = 1, ALERT_FATAL };
enum { ALERT_CLOSE = 0, ALERT_BAD_MAC = 20, ALERT_CANCELED = 90, ALERT_NO_RENEGOTIATION = 100 };
enum { CLIENT_HELLO = 1, KEY_UPDATE = 24 };

union control {
	struct cmsghdr align;
	uint8_t space[CMSG_SPACE(1)];
};

/* True: it was taken, whole. */
static bool alert(int fd, uint8_t level, uint8_t what)
{
	uint8_t body[2] = {level, what}, type = RECORD_ALERT;
	struct iovec iov = {body, sizeof(body)};
	union control control;
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	ssize_t n;

	memset(&control, 0, sizeof(control));
	c->cmsg_level = SOL_TLS_;
	c->cmsg_type = TLS_SET_RECORD_TYPE;
	c->cmsg_len = CMSG_LEN(sizeof(type));
	memcpy(CMSG_DATA(c), &type, sizeof(type));
	do
		n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n == sizeof(body);
}

/*
 * The kernel says that it took what it may still hold back, encrypted; that would be lost behind a
 * shutdown(2). A socket that is writable has room for it, and for this.
 */
bool records_end(int fd)
{
	struct pollfd p = {fd, POLLOUT, 0};

	if (poll(&p, 1, 0) == 0)
		return false;
	if (alert(fd, ALERT_WARNING, ALERT_CLOSE))
		return true;
	return errno != EAGAIN && errno != ENOMEM && errno != ENOBUFS;
}

static ssize_t fault(const char **why, const char *what)
{
	*why = what;
	errno = EPROTO;
	return -1;
}

/* 0: the end; 1: go on; -1 with errno. */
static ssize_t on_alert(const uint8_t *body, ssize_t n, const char **why)
{
	if (n != 2)
		return fault(why, "an alert that is none");
	if (body[1] == ALERT_CLOSE)
		return 0;
	if (body[0] == ALERT_WARNING || body[1] == ALERT_CANCELED)
		return 1;
	return fault(why, "a fatal alert");
}

static ssize_t on_handshake(int fd, const uint8_t *body, ssize_t n, const char **why)
{
	if (n > 0 && body[0] == KEY_UPDATE) {
		errno = EKEYEXPIRED;
		return -1;
	}
	/* TLS 1.2: it wants to negotiate anew; RFC 5746 4.5. */
	if (n > 0 && body[0] == CLIENT_HELLO && alert(fd, ALERT_WARNING, ALERT_NO_RENEGOTIATION))
		return 1;
	return fault(why, "a handshake within a connection");
}

static ssize_t failed(int fd, const char **why)
{
	switch (errno) {
	case EBADMSG: /* RFC 8446 5.2: told to the peer */
		(void)alert(fd, ALERT_FATAL, ALERT_BAD_MAC);
		return fault(why, "a record that was not encrypted with its key");
	case EMSGSIZE:
	case EINVAL:
		return fault(why, "no record of TLS");
	}
	return -1;
}

ssize_t records_recv(int fd, void *buf, size_t len, const char **why)
{
	for (int i = 0; i < TURNS; i++) {
		struct iovec iov = {buf, len};
		union control control;
		struct msghdr msg = {.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof(control)};
		ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);
		const struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&msg);
		uint8_t type;

		if (n < 0)
			return failed(fd, why);
		if (!c) /* an end without close_notify; a record always has a type */
			return n ? fault(why, "no record of TLS") : 0;
		if (c->cmsg_level != SOL_TLS_ || c->cmsg_type != TLS_GET_RECORD_TYPE)
			return fault(why, "no record of TLS");
		memcpy(&type, CMSG_DATA(c), sizeof(type));
		if (type == RECORD_DATA && n > 0)
			return n;
		if (type == RECORD_ALERT)
			n = on_alert(buf, n, why);
		else if (type == RECORD_HANDSHAKE)
			n = on_handshake(fd, buf, n, why);
		else if (type != RECORD_DATA) /* an empty one is allowed */
			n = fault(why, "a record of no known type");
		else
			n = 1;
		if (n <= 0)
			return n;
	}
	errno = EAGAIN; /* the socket is still readable */
	return -1;
}
