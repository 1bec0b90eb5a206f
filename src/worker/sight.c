/*
 * sight: which connections' sockets are watched, and for what. An epoll instance of their own,
 * which libevent watches: two of its events and what it keeps for a descriptor cost a connection
 * 200 bytes.
 *
 * Level-triggered. Who stops reading often goes on before anything comes (a handshake that the
 * bridge answers): such a socket stays in the instance until it has something to tell.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "worker.h"

/* A socket that is watched for nothing is not there at all: epoll tells of errors and hangups
 * whether asked or not. */
static bool sight_watch(struct conn *c, bool in, bool out)
{
	struct epoll_event ev = {
		.events = (in ? (uint32_t)EPOLLIN : 0) | (out ? (uint32_t)EPOLLOUT : 0),
		.data.ptr = c};
	bool was = c->watched_in || c->writing, is = in || out;

	if (c->watched_in == in && c->writing == out)
		return true;
	if (epoll_ctl(c->w->sight.epoll,
		    !is   ? EPOLL_CTL_DEL
		    : was ? EPOLL_CTL_MOD
			  : EPOLL_CTL_ADD,
		    c->fd, &ev) < 0)
		return false;
	c->watched_in = in;
	c->writing = out;
	return true;
}

bool sight_read(struct conn *c, bool on)
{
	if (on && !sight_watch(c, true, c->writing))
		return false;
	c->reading = on;
	return true;
}

bool sight_write(struct conn *c, bool on)
{
	return sight_watch(c, c->watched_in, on);
}

void sight_soon(struct conn *c)
{
	struct sight *s = &c->w->sight;

	if (c->soon)
		return;
	c->soon = 1;
	c->soon_next = NULL;
	if (s->soon_last)
		s->soon_last->soon_next = c;
	else
		s->soon_first = c;
	s->soon_last = c;
	event_active(s->soon, EV_TIMEOUT, 0);
}

static void sight_unlink(struct sight *s, struct conn *c)
{
	struct conn **at = &s->soon_first, *before = NULL;

	while (*at != c) {
		before = *at;
		at = &before->soon_next;
	}
	*at = c->soon_next;
	if (s->soon_last == c)
		s->soon_last = before;
	c->soon = 0;
}

/* What of this turn is still to come may name it. */
void sight_drop(struct conn *c)
{
	struct sight *s = &c->w->sight;

	for (int i = s->at; i < s->n; i++)
		if (s->events[i].data.ptr == c)
			s->events[i].data.ptr = NULL;
	if (c->soon)
		sight_unlink(s, c);
	c->reading = 0;
	(void)!sight_watch(c, false, false);
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	struct sight *s = &w->sight;
	const uint32_t gone = EPOLLERR | EPOLLHUP;

	(void)what;
	s->n = epoll_wait((int)fd, s->events, SIGHT_EVENTS, 0);
	w->now_ms = worker_clock();
	for (s->at = 0; s->at < s->n; s->at++) {
		struct epoll_event *ev = &s->events[s->at];
		struct conn *c = ev->data.ptr;

		if (c && !c->reading)
			(void)!sight_watch(c, false, c->writing);
		else if (c && ev->events & (EPOLLIN | gone))
			conn_readable(c);
		c = ev->data.ptr; /* NULL: it ended meanwhile */
		if (c && c->writing && ev->events & (EPOLLOUT | gone))
			conn_writable(c);
	}
	s->at = s->n = 0;
}

static void on_soon(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	struct sight *s = &w->sight;
	const struct conn *last = s->soon_last;
	bool more = last != NULL;

	(void)fd;
	(void)what;
	w->now_ms = worker_clock();
	while (more && s->soon_first) {
		struct conn *c = s->soon_first;

		more = c != last;
		sight_unlink(s, c);
		if (c->reading)
			conn_readable(c);
	}
}

int sight_start(struct worker *w)
{
	struct sight *s = &w->sight;

	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0)
		return -1;
	s->ready = event_new(w->base, s->epoll, EV_READ | EV_PERSIST, on_ready, w);
	s->soon = event_new(w->base, -1, 0, on_soon, w);
	return s->ready && s->soon ? event_add(s->ready, NULL) : -1;
}

void sight_stop(struct worker *w)
{
	struct sight *s = &w->sight;

	if (s->ready)
		event_free(s->ready);
	if (s->soon)
		event_free(s->soon);
	close(s->epoll);
}
