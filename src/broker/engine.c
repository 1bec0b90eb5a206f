/*
 * engine: see engine.h.
 *
 * The sockets are watched by an epoll instance of the engine's own, which any thread may change;
 * libevent, which has no locks here, watches that one alone.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wsgate/clock.h>
#include "engine.h"

#define READINGS 8    /* one after another; others have their turn then */
#define LINGER_MS 200 /* a server that is well has read all that was sent long before */

struct plug {
	struct engine *e;
	/* Under the engine's lock. */
	natsConnection *nc; /* borrowed; NULL: none, or it is given up */
	int fd;
	bool busy;     /* the loop is inside nats.c with it */
	bool unsent;   /* nats.c wants to write */
	bool watching; /* for room in the socket */
};

struct engine {
	pthread_mutex_t mu;
	bool ended; /* under the lock */
	pthread_cond_t idle;
	pthread_t loop;
	struct event *readable;
	bool (*received)(void *arg);
	void *arg;
	int epoll;
	struct plug plugs[ENGINE_PLUGS];
};

/* ---- what nats.c calls, on any thread ---- */

static void watch(struct plug *p, int op, bool room)
{
	struct epoll_event ev = {
		.events = EPOLLIN | (room ? (uint32_t)EPOLLOUT : 0), .data.ptr = p};

	/* Without memory the pings find the connection dead. */
	(void)epoll_ctl(p->e->epoll, op, p->fd, &ev);
	p->watching = room;
}

static natsStatus on_attach(void **user, void *loop, natsConnection *nc, natsSock fd)
{
	struct plug *p = loop;

	pthread_mutex_lock(&p->e->mu);
	if (p->e->ended) {
		pthread_mutex_unlock(&p->e->mu);
		return NATS_CONNECTION_CLOSED;
	}
	*user = p;
	p->nc = nc;
	p->fd = fd;
	p->unsent = false;
	watch(p, EPOLL_CTL_ADD, false);
	pthread_mutex_unlock(&p->e->mu);
	return NATS_OK;
}

/* It reads as long as it is attached. */
static natsStatus on_read(void *user, bool add)
{
	(void)user;
	(void)add;
	return NATS_OK;
}

static natsStatus on_write(void *user, bool add)
{
	struct plug *p = user;
	bool here = pthread_equal(pthread_self(), p->e->loop);

	pthread_mutex_lock(&p->e->mu);
	p->unsent = add;
	if (p->fd >= 0 && (add ? !here && !p->watching : p->watching))
		watch(p, EPOLL_CTL_MOD, add);
	pthread_mutex_unlock(&p->e->mu);
	return NATS_OK;
}

/* The socket is closed next. */
static natsStatus on_detach(void *user)
{
	struct plug *p = user;

	pthread_mutex_lock(&p->e->mu);
	if (p->fd >= 0)
		(void)epoll_ctl(p->e->epoll, EPOLL_CTL_DEL, p->fd, NULL);
	p->fd = -1;
	p->unsent = p->watching = false;
	pthread_mutex_unlock(&p->e->mu);
	return NATS_OK;
}

natsStatus engine_use(struct engine *e, unsigned plug, natsOptions *o)
{
	natsStatus s = natsOptions_SetEventLoop(
		o, &e->plugs[plug], on_attach, on_read, on_write, on_detach);

	/* Else it starts a thread that writes later. */
	return s == NATS_OK ? natsOptions_SetSendAsap(o, true) : s;
}

/* A close that finds something unsent pings, and waits 500 ms for a Pong that nobody reads. */
static void send_rest(natsConnection *nc)
{
	if (natsConnection_Buffered(nc) > 0)
		natsConnection_ProcessWriteEvent(nc);
}

void engine_release(struct engine *e, unsigned plug)
{
	struct plug *p = &e->plugs[plug];
	natsConnection *nc;

	pthread_mutex_lock(&e->mu);
	while (p->busy)
		pthread_cond_wait(&e->idle, &e->mu);
	nc = p->nc;
	p->nc = NULL;
	pthread_mutex_unlock(&e->mu);
	if (nc)
		send_rest(nc);
}

/* ---- the loop ---- */

/* NULL: nothing to be done with it. */
static natsConnection *enter(struct plug *p, bool to_write)
{
	natsConnection *nc;

	pthread_mutex_lock(&p->e->mu);
	nc = to_write && (!p->unsent || p->watching) ? NULL : p->nc;
	p->busy = nc != NULL;
	pthread_mutex_unlock(&p->e->mu);
	return nc;
}

static void leave(struct plug *p)
{
	pthread_mutex_lock(&p->e->mu);
	p->busy = false;
	if (p->unsent && !p->watching && p->fd >= 0)
		watch(p, EPOLL_CTL_MOD, true);
	pthread_cond_signal(&p->e->idle);
	pthread_mutex_unlock(&p->e->mu);
}

void engine_flush(struct engine *e)
{
	for (int i = 0; i < ENGINE_PLUGS; i++) {
		natsConnection *nc = enter(&e->plugs[i], true);

		if (!nc)
			continue;
		natsConnection_ProcessWriteEvent(nc);
		leave(&e->plugs[i]);
	}
}

bool engine_is_full(struct engine *e, unsigned plug)
{
	bool full;

	pthread_mutex_lock(&e->mu);
	full = e->plugs[plug].watching;
	pthread_mutex_unlock(&e->mu);
	return full;
}

/* What is there for all plugs, one reading each. False: nothing. */
static bool read_once(struct engine *e)
{
	struct epoll_event events[ENGINE_PLUGS];
	int n = epoll_wait(e->epoll, events, ENGINE_PLUGS, 0);

	for (int i = 0; i < n; i++) {
		struct plug *p = events[i].data.ptr;
		natsConnection *nc = enter(p, false);

		if (!nc)
			continue;
		if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
			natsConnection_ProcessReadEvent(nc);
		if (events[i].events & EPOLLOUT)
			natsConnection_ProcessWriteEvent(nc);
		leave(p);
	}
	return n > 0;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct engine *e = arg;

	(void)fd;
	(void)what;
	for (int i = 0; i < READINGS && read_once(e); i++)
		if (!e->received(e->arg))
			return;
}

/* A descriptor of our own: nats.c may close its one at any time. */
static int borrow(struct plug *p)
{
	int fd;

	pthread_mutex_lock(&p->e->mu);
	fd = p->fd >= 0 ? dup(p->fd) : -1;
	pthread_mutex_unlock(&p->e->mu);
	return fd;
}

static bool ready(int fd, short events, uint64_t until_ms)
{
	struct pollfd p = {.fd = fd, .events = events};
	uint64_t now = clock_ms(CLOCK_MONOTONIC);

	while (now < until_ms) {
		int n = poll(&p, 1, (int)(until_ms - now));

		if (n >= 0 || errno != EINTR)
			return n > 0;
		now = clock_ms(CLOCK_MONOTONIC);
	}
	return false;
}

/* Trap: who closes with something unread in the socket resets the connection, and the server drops
 * what it has not read yet. So the server ends it, when it has read all. */
static void last_words(struct plug *p, natsConnection *nc, uint64_t until_ms)
{
	char unread[4096];
	int fd = borrow(p);
	ssize_t n;

	send_rest(nc);
	if (fd < 0)
		return;
	while (natsConnection_Buffered(nc) > 0 && ready(fd, POLLOUT, until_ms))
		send_rest(nc);
	(void)shutdown(fd, SHUT_WR);
	do
		n = ready(fd, POLLIN, until_ms) ? recv(fd, unread, sizeof(unread), 0) : 0;
	while (n > 0 || (n < 0 && errno == EINTR));
	close(fd);
}

void engine_close(struct engine *e)
{
	uint64_t until = clock_ms(CLOCK_MONOTONIC) + LINGER_MS;

	pthread_mutex_lock(&e->mu);
	e->ended = true;
	pthread_mutex_unlock(&e->mu);
	for (int i = 0; i < ENGINE_PLUGS; i++) {
		natsConnection *nc = enter(&e->plugs[i], false);

		if (!nc)
			continue;
		last_words(&e->plugs[i], nc, until);
		natsConnection_Close(nc);
		leave(&e->plugs[i]);
	}
}

/* ---- start and stop ---- */

struct engine *engine_new(struct event_base *base, bool (*received)(void *arg), void *arg)
{
	struct engine *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	pthread_mutex_init(&e->mu, NULL);
	pthread_cond_init(&e->idle, NULL);
	e->loop = pthread_self();
	e->received = received;
	e->arg = arg;
	for (int i = 0; i < ENGINE_PLUGS; i++) {
		e->plugs[i].e = e;
		e->plugs[i].fd = -1;
	}
	e->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (e->epoll >= 0)
		e->readable = event_new(base, e->epoll, EV_READ | EV_PERSIST, on_readable, e);
	if (e->readable && event_add(e->readable, NULL) == 0)
		return e;
	if (e->epoll >= 0)
		errno = ENOMEM;
	engine_free(e);
	return NULL;
}

void engine_free(struct engine *e)
{
	int saved = errno;

	if (!e)
		return;
	if (e->readable)
		event_free(e->readable);
	if (e->epoll >= 0)
		close(e->epoll);
	pthread_cond_destroy(&e->idle);
	pthread_mutex_destroy(&e->mu);
	free(e);
	errno = saved;
}
