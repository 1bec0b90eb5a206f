/*
 * notify: see notify.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <wsgate/clock.h>
#include <wsgate/log.h>

#include "notify.h"

/* A path, or "@name" in the abstract namespace. The length of the address; 0 with errno. */
static socklen_t notify_address(const char *name, struct sockaddr_un *to)
{
	size_t n = strlen(name);

	if ((name[0] != '/' && name[0] != '@') || n < 2) {
		errno = EAFNOSUPPORT;
		return 0;
	}
	if (n >= sizeof(to->sun_path)) {
		errno = ENAMETOOLONG;
		return 0;
	}
	memset(to, 0, sizeof(*to));
	to->sun_family = AF_UNIX;
	memcpy(to->sun_path, name, n);
	if (name[0] == '@') {
		/* There the length ends the name: a NUL more would be part of it (unix(7)). */
		to->sun_path[0] = '\0';
		return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	}
	return (socklen_t)sizeof(*to);
}

static int notify_post(const char *name, const char *text)
{
	struct sockaddr_un to;
	socklen_t len = notify_address(name, &to);
	ssize_t n;
	int fd, saved;

	if (len == 0)
		return -1;
	/* Not to block: an init that does not read must not stop us. */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	n = sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&to, len);
	saved = errno;
	close(fd);
	errno = saved;
	return n < 0 ? -1 : 0;
}

static void notify_say(const char *text)
{
	const char *name = getenv("NOTIFY_SOCKET");

	if (!name || name[0] == '\0')
		return;
	if (notify_post(name, text) < 0)
		log_warn("cannot tell the init system", kv_str("socket", name), kv_errno(errno));
}

void notify_ready(pid_t main)
{
	char text[64];

	snprintf(text, sizeof(text), "READY=1\nMAINPID=%ld\n", (long)main);
	notify_say(text);
}

void notify_reloading(void)
{
	char text[64];

	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\n",
		clock_us(CLOCK_MONOTONIC));
	notify_say(text);
}

void notify_stopping(uint64_t ms)
{
	char text[64];

	snprintf(text, sizeof(text), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64 "\n", ms * 1000);
	notify_say(text);
}
