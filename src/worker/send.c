/*
 * send: what a connection has to send, and what its socket has not taken.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "sealed.h"
#include "tls.h"
#include "worker.h"

#define OUT_MAX (UINT32_C(1) << 31)

/* All bytes that the peer has not acknowledged. */
uint32_t conn_unsent(const struct conn *c)
{
	int n = 0;

	if (ioctl(c->fd, SIOCOUTQ, &n) < 0)
		n = 0;
	return (uint32_t)n + (c->out.len - c->out.off);
}

/* Whatever it sends acknowledges, too: of who has sent something nobody knows. */
uint64_t conn_taken_ms(const struct conn *c, uint64_t since_ms)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);
	uint64_t now = c->w->now_ms;

	if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
		now - info.tcpi_last_data_recv > since_ms)
		return conn_unsent(c) ? now : 0;
	return now - info.tcpi_last_ack_recv;
}

bool conn_progress(struct conn *c)
{
	uint32_t unsent = conn_unsent(c);
	bool first = c->unsent_last == UINT32_MAX, fewer = unsent < c->unsent_last;

	c->unsent_last = unsent;
	return fewer && (unsent || !first);
}

/* What comes behind a Ping that is not answered is no sign that its peer takes nothing. */
static void conn_grows(struct conn *c, const struct iovec *iov, int n)
{
	for (int i = 0; i < n && c->unsent_last < OUT_MAX; i++)
		c->unsent_last += (uint32_t)iov[i].iov_len;
}

static bool conn_keep(struct conn *c, const uint8_t *data, size_t len)
{
	struct outbuf *o = &c->out;

	if (o->off && o->len + len > o->cap) {
		memmove(o->buf, o->buf + o->off, o->len - o->off);
		o->len -= o->off;
		o->off = 0;
	}
	if (o->len + len > o->cap) {
		size_t cap = o->cap ? o->cap : 1024;
		uint8_t *buf;

		while (cap < o->len + len)
			cap *= 2;
		if (cap > OUT_MAX)
			return false;
		buf = realloc(o->buf, cap);
		if (!buf)
			return false;
		o->buf = buf;
		o->cap = (uint32_t)cap;
	}
	memcpy(o->buf + o->len, data, len);
	o->len += (uint32_t)len;
	return true;
}

bool conn_want_write(struct conn *c)
{
	return sight_write(c, !c->write_waits); /* until something was read: see tls.c */
}

static ssize_t conn_write(struct conn *c, struct iovec *iov, int n)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)n};
	ssize_t sent;

	do
		sent = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent;
}

ssize_t conn_sendmsg(struct conn *c, struct iovec *iov, int n)
{
	if (c->seal)
		return sealed_sendv(c, iov, n);
	if (c->ssl && !c->ktls)
		return tls_sendv(c, iov, n);
	return conn_write(c, iov, n);
}

static bool conn_not_now(void)
{
	return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM;
}

bool conn_sendraw(struct conn *c, const uint8_t *data, size_t len)
{
	struct iovec iov = {(void *)(uintptr_t)data, len};
	ssize_t sent = c->out.len == c->out.off ? conn_write(c, &iov, 1) : 0;

	if (sent < 0 && !conn_not_now())
		return false;
	if (sent > 0) {
		data += sent;
		len -= (size_t)sent;
	}
	return !len || (conn_keep(c, data, len) && conn_want_write(c));
}

/* Writes what the socket takes and keeps the rest. Order is kept: behind unsent bytes all is kept.
 */
bool conn_sendv(struct conn *c, struct iovec *iov, int n)
{
	size_t done = 0;

	if (c->write_shut)
		return true;
	if (!cork_flush(c))
		return false;
	if (c->ping_out)
		conn_grows(c, iov, n);
	if (c->seal || c->out.len == c->out.off) { /* sealed bytes are kept, not what is in them */
		ssize_t sent = conn_sendmsg(c, iov, n);

		if (sent < 0 &&
			(c->seal || !conn_not_now())) /* sealed: what is missing is a hole */
			return conn_gone(c, "write failed");
		done = sent > 0 ? (size_t)sent : 0;
	}
	for (int i = 0; i < n; i++) {
		if (done >= iov[i].iov_len) {
			done -= iov[i].iov_len;
			continue;
		}
		if (!conn_keep(c, (const uint8_t *)iov[i].iov_base + done, iov[i].iov_len - done))
			return conn_starved(c, "no memory for unsent bytes");
		done = 0;
	}
	if (c->out.len > c->out.off && !conn_want_write(c))
		return conn_starved(c, "cannot watch for writing");
	return true;
}

bool conn_send(struct conn *c, const void *data, size_t len)
{
	struct iovec iov = {(void *)(uintptr_t)data, len};

	return conn_sendv(c, &iov, 1);
}

static void conn_written(struct conn *c)
{
	free(c->out.buf);
	memset(&c->out, 0, sizeof(c->out));
	(void)!sight_write(c, false);
	session_given(c);
	if (c->state == CONN_LINGER || c->state == CONN_REFUSED)
		conn_shut(c, c->state);
	else
		(void)!conn_resume(c);
}

void conn_writable(struct conn *c)
{
	struct outbuf *o = &c->out;

	if (c->read_waits) {
		c->read_waits = 0;
		c->read_more = 1;
		if (c->reading)
			sight_soon(c);
	}
	while (o->len > o->off) {
		struct iovec rest = {o->buf + o->off, o->len - o->off};
		ssize_t n = c->seal ? conn_write(c, &rest, 1) : conn_sendmsg(c, &rest, 1);

		if (n < 0 && conn_not_now())
			break;
		if (n < 0) {
			conn_gone(c, "write failed");
			return;
		}
		o->off += (uint32_t)n;
	}
	if (o->len == o->off)
		conn_written(c);
	else if (!conn_want_write(c))
		conn_starved(c, "cannot watch for writing");
}

bool conn_send_later(struct conn *c, const uint8_t *data, size_t len)
{
	return !len || conn_keep(c, data, len);
}

bool conn_write_again(struct conn *c)
{
	if (c->state == CONN_OPENING) /* the answer waits for its route */
		return true;
	if (c->out.len > c->out.off && !conn_want_write(c))
		return conn_starved(c, "cannot watch for writing");
	return true;
}
