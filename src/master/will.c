/*
 * will: see will.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <wsgate/rights.h>
#include "will.h"

static const struct {
	const char *name;
	uint32_t type;
	size_t size; /* of what follows the head */
} table[] = {
	{"HELLO", WILL_HELLO, sizeof(struct will_hello)},
	{"PIDFILE", WILL_PIDFILE, 0},
	{"DIR", WILL_DIR, 0},
	{"CONTROL", WILL_CONTROL, 0},
	{"LISTENER", WILL_LISTENER, sizeof(struct will_listener)},
	{"ADMIN", WILL_ADMIN, sizeof(struct will_listener)},
	{"COMPLETE", WILL_COMPLETE, 0},
	{"PAIR", WILL_PAIR, sizeof(struct will_number)},
	{"MOVED", WILL_MOVED, 0},
	{"DRAIN", WILL_DRAIN, sizeof(struct proto_drain)},
	{"PREPARED", WILL_PREPARED, sizeof(struct will_number)},
	{"SERVING", WILL_SERVING, sizeof(struct will_number)},
	{"FAILED", WILL_FAILED, sizeof(struct will_text)},
};
#define HEAD offsetof(struct will, u)

/* 0: unknown */
static size_t will_size(uint32_t type)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].type == type)
			return HEAD + table[i].size;
	return 0;
}

const char *will_name(unsigned type)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].type == type)
			return table[i].name;
	return "?";
}

int will_send(int sock, const struct will *w, int fd)
{
	struct iovec iov = {(void *)(uintptr_t)w, will_size(w->type)};

	return rights_send(sock, &iov, 1, fd);
}

static void terminate(struct will *w)
{
	switch (w->type) {
	case WILL_HELLO:
		w->u.hello.program[sizeof(w->u.hello.program) - 1] = '\0';
		w->u.hello.segment[sizeof(w->u.hello.segment) - 1] = '\0';
		w->u.hello.pidfile[sizeof(w->u.hello.pidfile) - 1] = '\0';
		w->u.hello.runtime_dir[sizeof(w->u.hello.runtime_dir) - 1] = '\0';
		break;
	case WILL_LISTENER:
	case WILL_ADMIN:
		w->u.listener.text[sizeof(w->u.listener.text) - 1] = '\0';
		w->u.listener.name[sizeof(w->u.listener.name) - 1] = '\0';
		break;
	case WILL_FAILED:
		w->u.text.text[sizeof(w->u.text.text) - 1] = '\0';
		break;
	}
}

int will_receive(int sock, struct will *w, int *fd)
{
	struct iovec iov = {w, sizeof(*w)};
	int flags;
	ssize_t n = rights_receive(sock, &iov, 1, fd, &flags);

	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return 0;
	if (n < 0)
		return -1;
	if ((size_t)n >= HEAD && w->version == WILL_VERSION && (size_t)n == will_size(w->type) &&
		!flags) {
		terminate(w);
		return 1;
	}
	rights_drop(fd);
	errno = EPROTO;
	return -1;
}

int will_take(void)
{
	const char *text = getenv(WILL_ENV);
	int type = 0, fd = text ? atoi(text) : -1;
	socklen_t len = sizeof(type);

	if (!text)
		return -1;
	(void)unsetenv(WILL_ENV);
	if (fd <= STDERR_FILENO || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
		type != SOCK_SEQPACKET || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -1;
	return fd;
}
