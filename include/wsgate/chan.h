/*
 * chan: one end of a socket pair between two processes: typed messages, with descriptors.
 * Peers are opaque: one call to send, one callback to receive. Room: ipc.
 */
#ifndef WSGATE_CHAN_H
#define WSGATE_CHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wsgate/proto.h>

struct event_base;
struct chan;

/* What an end accepts: a table, one row a type. Others are refused, logged, and end the channel
 * (`gone`). */
struct chan_handler {
	uint16_t type;
	uint32_t size; /* exact size of the body */
	/* fd: a descriptor that came along, now owned by the callee, or -1 */
	void (*fn)(void *arg, const void *body, int fd);
};

/* A SOCK_SEQPACKET pair, close-on-exec, non-blocking. 0 or -1 with errno. */
int chan_pair(int fds[2]);

/*
 * Wraps one end. handlers ends with type 0 and is borrowed. `gone` is called once when the peer is
 * closed or sent nonsense; the channel must then be freed (also from within the callback). Takes
 * fd. NULL: no memory (fd stays the caller's).
 */
struct chan *chan_new(struct event_base *base, int fd, const char *peer,
	const struct chan_handler *handlers, void (*gone)(void *arg), void *arg);
void chan_free(struct chan *c); /* closes; NULL is fine */

/*
 * Sends at once. 0; or -1: errno EAGAIN (the peer does not read; nothing was sent) or what sendmsg
 * said. fd -1: none; otherwise it stays the caller's.
 */
int chan_send(struct chan *c, enum proto_type type, const void *body, size_t size, int fd)
	__attribute__((warn_unused_result));
/* The same on a bare descriptor. */
int chan_send_fd(int sock, enum proto_type type, const void *body, size_t size, int fd)
	__attribute__((warn_unused_result));

/* The handler of PROTO_LOG, the same in every child: its log goes where the master's goes. */
void chan_on_log(void *arg, const void *body, int fd);
/* The same of PROTO_TRACE. */
void chan_on_trace(void *arg, const void *body, int fd);

#endif
