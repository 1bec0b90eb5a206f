#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <event2/event.h>

#include <wsgate/chan.h>
#include <wsgate/log.h>
#include <wsgate/rights.h>
#include <wsgate/trace.h>

#define CHAN_BATCH 64 /* messages a wakeup: others have their turn too */

struct chan {
	int fd;
	struct event *ev; /* owned */
	const char *peer; /* borrowed, static text */
	const struct chan_handler *handlers;
	void (*gone)(void *arg);
	void *arg;
	bool *freed; /* set while callbacks run: tells them that the channel went away */
};

#define NAME(type) [PROTO_##type] = #type
static const char *const names[PROTO_MAX] = {
	NAME(READY),
	NAME(BEAT),
	NAME(FATAL),
	NAME(DRAINED),
	NAME(STALE_DRAINED),
	NAME(FLUSHED),
	NAME(APPLIED),
	NAME(CLOSED),
	NAME(MOVED),
	NAME(HEIRLESS),
	NAME(SHUT),
	NAME(SYNCED),
	NAME(STOP),
	NAME(WORKER_UP),
	NAME(WORKER_DOWN),
	NAME(CONFIG),
	NAME(LOG),
	NAME(LISTEN),
	NAME(UNLISTEN),
	NAME(SLOT),
	NAME(CLOSE),
	NAME(RETIRE),
	NAME(HEIR),
	NAME(ARRIVE),
	NAME(RESUME),
	NAME(TLS),
	NAME(TRACE),
	NAME(DRAIN),
	NAME(DEEDS),
	NAME(SYNC),
	NAME(TICKETS),
	NAME(VAULT),
	NAME(DOORBELL),
};
#undef NAME

const char *proto_name(unsigned type)
{
	return type < PROTO_MAX && names[type] ? names[type] : "?";
}

int chan_pair(int fds[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds);
}

int chan_send_fd(int sock, enum proto_type type, const void *body, size_t size, int fd)
{
	struct proto_header head = {PROTO_VERSION, (uint16_t)type, (uint32_t)size};
	struct iovec iov[2] = {{&head, sizeof(head)}, {(void *)(uintptr_t)body, size}};

	return rights_send(sock, iov, size ? 2 : 1, fd);
}

int chan_send(struct chan *c, enum proto_type type, const void *body, size_t size, int fd)
{
	if (type != PROTO_DOORBELL && type != PROTO_BEAT)
		log_trace("send", kv_str("peer", c->peer), kv_str("type", proto_name(type)));
	return chan_send_fd(c->fd, type, body, size, fd);
}

static const struct chan_handler *chan_find(
	const struct chan *c, const struct proto_header *head, size_t n)
{
	if (n < sizeof(*head) || head->version != PROTO_VERSION || head->size != n - sizeof(*head))
		return NULL;
	for (const struct chan_handler *h = c->handlers; h->type; h++)
		if (h->type == head->type)
			return h->size == head->size ? h : NULL;
	return NULL;
}

/* 1: a message was handled; 0: nothing there; -1: the peer is gone or sent nonsense. */
static int chan_receive(struct chan *c)
{
	struct {
		struct proto_header head;
		char body[PROTO_BODY_MAX];
	} buf;
	const struct iovec iov = {&buf, sizeof(buf)};
	const struct chan_handler *h;
	ssize_t n;
	int fd, flags;

	n = rights_receive(c->fd, &iov, 1, &fd, &flags);
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	if (n == 0)
		return -1;
	h = flags & MSG_TRUNC ? NULL : chan_find(c, &buf.head, (size_t)n);
	if (!h) {
		log_error("message between processes refused", kv_str("peer", c->peer),
			kv_uint("version", buf.head.version), kv_uint("type", buf.head.type),
			kv_int("bytes", n));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (h->type != PROTO_DOORBELL && h->type != PROTO_BEAT)
		log_trace("received", kv_str("peer", c->peer), kv_str("type", proto_name(h->type)));
	h->fn(c->arg, buf.body, fd);
	return 1;
}

static void chan_readable(evutil_socket_t fd, short what, void *arg)
{
	struct chan *c = arg;
	bool freed = false;
	int r = 1;

	(void)fd;
	(void)what;
	c->freed = &freed;
	for (int i = 0; i < CHAN_BATCH && r == 1; i++) {
		r = chan_receive(c);
		if (freed)
			return;
	}
	c->freed = NULL;
	if (r < 0) {
		event_del(c->ev);
		c->gone(c->arg);
	}
}

struct chan *chan_new(struct event_base *base, int fd, const char *peer,
	const struct chan_handler *handlers, void (*gone)(void *arg), void *arg)
{
	struct chan *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->fd = fd;
	c->peer = peer;
	c->handlers = handlers;
	c->gone = gone;
	c->arg = arg;
	c->ev = event_new(base, fd, EV_READ | EV_PERSIST, chan_readable, c);
	if (!c->ev || event_add(c->ev, NULL) < 0) {
		if (c->ev)
			event_free(c->ev);
		free(c);
		return NULL;
	}
	return c;
}

void chan_free(struct chan *c)
{
	if (!c)
		return;
	if (c->freed)
		*c->freed = true;
	event_free(c->ev);
	close(c->fd);
	free(c);
}

void chan_on_log(void *arg, const void *body, int fd)
{
	const struct proto_log *pl = body;
	int r = -1;

	(void)arg;
	/* Without a free descriptor the file does not come along. */
	errno = EMFILE;
	if (pl->target != PROTO_LOG_FILE || fd >= 0)
		r = log_follow(pl->target == PROTO_LOG_SYSLOG, fd);
	if (r < 0)
		log_error("cannot follow to the new log: this process stays with the old one",
			kv_errno(errno));
	if (fd >= 0)
		close(fd);
}

void chan_on_trace(void *arg, const void *body, int fd)
{
	(void)arg;
	if (fd >= 0)
		close(fd);
	trace_follow(body);
}
