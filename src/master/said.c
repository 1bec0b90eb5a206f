/*
 * said: see said.h.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <wsgate/log.h>

#include "said.h"

#define LINES_MAX 200 /* in 10 seconds, of all children: the report of a sanitizer has so many */

struct said {
	int fd;
	struct event *ev; /* owned */
	const char *child;
	size_t len;
	char buf[1024]; /* a line that has no end yet */
};

static void said_line(const struct said *s, size_t len)
{
	if (len > 0)
		log_some_errors(LINES_MAX, "a process said", kv_str("child", s->child),
			kv_mem("text", s->buf, len));
}

static void said_lines(struct said *s)
{
	char *end;

	while ((end = memchr(s->buf, '\n', s->len))) {
		said_line(s, (size_t)(end - s->buf));
		s->len -= (size_t)(end + 1 - s->buf);
		memmove(s->buf, end + 1, s->len);
	}
	if (s->len < sizeof(s->buf))
		return;
	said_line(s, s->len);
	s->len = 0;
}

/* False: nothing is there now. */
static bool said_read(struct said *s)
{
	ssize_t n = read(s->fd, s->buf + s->len, sizeof(s->buf) - s->len);

	if (n > 0) {
		s->len += (size_t)n;
		said_lines(s);
	} else if (n == 0) {
		event_del(s->ev); /* all copies of the other end are closed */
	}
	return n > 0 || (n < 0 && errno == EINTR);
}

static void said_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)said_read(arg);
}

struct said *said_new(struct event_base *base, const char *child, int fd)
{
	struct said *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->fd = fd;
	s->child = child;
	s->ev = event_new(base, fd, EV_READ | EV_PERSIST, said_readable, s);
	if (s->ev && event_add(s->ev, NULL) == 0)
		return s;
	if (s->ev)
		event_free(s->ev);
	free(s);
	errno = ENOMEM;
	return NULL;
}

void said_flush(struct said *s)
{
	/* Somebody else may hold the other end and write on: there is an end to that. */
	for (int i = 0; i < 1000 && said_read(s); i++)
		;
	said_line(s, s->len);
	s->len = 0;
}

void said_free(struct said *s)
{
	if (!s)
		return;
	event_free(s->ev);
	close(s->fd);
	free(s);
}
