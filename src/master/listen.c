/*
 * listen: see listen.h.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <wsgate/log.h>

#include "listen.h"

#define LISTEN_BACKLOG 4096
#define LISTEN_RETRY_MS 100

struct address {
	struct sockaddr_storage ss;
	socklen_t len;
};

/* What goes into the operator's line. */
struct listen_error {
	char *text;
	size_t len;
	const char *key; /* "listen", "admin.listen" */
};

__attribute__((format(printf, 2, 3))) static int complain(
	const struct listen_error *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->text, e->len, fmt, ap);
	va_end(ap);
	return -1;
}

static const char *listen_remedy(int error)
{
	switch (error) {
	case EADDRINUSE:
		return "the port is taken (ss -ltnp shows by whom): free it, or choose another one";
	case EADDRNOTAVAIL:
		return "no interface of this host has this address: correct it";
	case EACCES:
		return "ports below 1024 need root or CAP_NET_BIND_SERVICE: start as root, or take "
		       "a higher one";
	case EMFILE:
	case ENFILE:
		return "too few open files: raise the limit, or listen on fewer addresses or with "
		       "fewer workers";
	}
	return "correct the address";
}

static int complain_address(const struct listen_error *e, const char *name, int error)
{
	return complain(e, "%s: cannot listen on %s: %s; %s", e->key, name, strerror(error),
		listen_remedy(error));
}

/* "1.2.3.4:80", "[::1]:80" */
static void listen_name(const struct address *a, char *out, size_t outlen)
{
	char host[NI_MAXHOST], port[8];

	if (getnameinfo((const struct sockaddr *)&a->ss, a->len, host, sizeof(host), port,
		    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		snprintf(out, outlen, "?");
	else
		snprintf(
			out, outlen, a->ss.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static struct addrinfo *listen_resolve(const struct listen_error *e, const char *text)
{
	struct addrinfo hints = {
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list;
	const char *colon = strrchr(text, ':');
	const char *at = text;
	size_t n = colon ? (size_t)(colon - text) : 0;
	char host[256];
	int r;

	if (n > 1 && text[0] == '[' && text[n - 1] == ']') {
		at++;
		n -= 2;
	}
	if (!colon || n == 0 || n >= sizeof(host)) {
		complain(e, "%s: \"%s\" must be host:port or [v6]:port", e->key, text);
		return NULL;
	}
	memcpy(host, at, n);
	host[n] = '\0';
	r = getaddrinfo(host, colon + 1, &hints, &list);
	if (r == 0)
		return list;
	complain(e, "%s: \"%s\": %s; write an address of this host", e->key, text,
		r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
	return NULL;
}

/* Bound, not yet listening. -1 with errno. */
static int listen_bind(const struct address *a, bool reuseport)
{
	int on = 1, saved;
	int fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	/* SO_REUSEADDR: what a predecessor left in TIME_WAIT does not count. A listener still does.
	 */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
		(!reuseport || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0) &&
		(a->ss.ss_family != AF_INET6 ||
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0) &&
		bind(fd, (const struct sockaddr *)&a->ss, a->len) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/*
 * SO_REUSEPORT sockets of one user do not collide, whosoever they are: a bind without it tells
 * whether the port is taken. The probe stays until ours are bound, and it learns what port 0
 * becomes.
 */
static int listen_probe(struct address *a, unsigned patience_ms)
{
	struct timespec pause = {0, LISTEN_RETRY_MS * 1000000L};
	unsigned waited = 0;
	int saved, fd = listen_bind(a, false);

	for (; fd < 0 && errno == EADDRINUSE && waited < patience_ms; waited += LISTEN_RETRY_MS) {
		nanosleep(&pause, NULL);
		fd = listen_bind(a, false);
	}
	if (fd < 0)
		return -1;
	a->len = sizeof(a->ss);
	if (getsockname(fd, (struct sockaddr *)&a->ss, &a->len) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static void close_all(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

/* The sockets of all slots for one address: bound, not yet listening. 1; 0: left out with a
 * warning; -1. */
static int listen_address(
	struct listen_set *l, struct address *a, unsigned patience_ms, const struct listen_error *e)
{
	int probe, *fds = l->fds[l->n];
	char *name = l->names[l->n];

	listen_name(a, name, sizeof(l->names[0]));
	probe = listen_probe(a, patience_ms);
	if (probe < 0 && errno == EAFNOSUPPORT) {
		log_warn("this host has no such kind of address: left out", kv_str("addr", name));
		return 0;
	}
	if (probe < 0)
		return complain_address(e, name, errno);
	listen_name(a, name, sizeof(l->names[0]));
	for (unsigned i = 0; i < l->nslots; i++) {
		fds[i] = listen_bind(a, true);
		if (fds[i] >= 0)
			continue;
		complain_address(e, name, errno);
		close_all(fds, i);
		close(probe);
		return -1;
	}
	close(probe);
	l->n++;
	return 1;
}

static bool listen_has(const struct listen_set *l, const struct address *a)
{
	char name[sizeof(l->names[0])];

	listen_name(a, name, sizeof(name));
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->names[i], name) == 0)
			return true;
	return false;
}

/* A name may stand for several addresses: all of them. */
static int listen_text(
	struct listen_set *l, const char *text, unsigned patience_ms, const struct listen_error *e)
{
	struct addrinfo *list = listen_resolve(e, text);
	int r = list ? 0 : -1;

	for (struct addrinfo *ai = list; ai && r >= 0; ai = ai->ai_next) {
		struct address a = {.len = ai->ai_addrlen};

		memcpy(&a.ss, ai->ai_addr, ai->ai_addrlen);
		if (listen_has(l, &a))
			continue;
		r = l->n < HERITAGE_LISTEN_MAX
			    ? listen_address(l, &a, patience_ms, e)
			    : complain(e, "%s: more than %d addresses; take some away", e->key,
				      HERITAGE_LISTEN_MAX);
	}
	if (list)
		freeaddrinfo(list);
	return r < 0 ? -1 : 0;
}

/* One socket, shared by all workers: one that hangs does not hide it. */
static int listen_admin(
	struct listen_set *l, const char *text, unsigned patience_ms, const struct listen_error *e)
{
	struct addrinfo *list = listen_resolve(e, text);
	struct address a = {.len = 0};

	if (!list)
		return -1;
	a.len = list->ai_addrlen;
	memcpy(&a.ss, list->ai_addr, list->ai_addrlen);
	freeaddrinfo(list);
	listen_name(&a, l->admin_name, sizeof(l->admin_name));
	l->admin = listen_probe(&a, patience_ms);
	if (l->admin < 0)
		return complain_address(e, l->admin_name, errno);
	listen_name(&a, l->admin_name, sizeof(l->admin_name));
	if (listen(l->admin, LISTEN_BACKLOG) < 0)
		return complain_address(e, l->admin_name, errno);
	return 0;
}

static int listen_all(struct listen_set *l, const struct listen_error *e)
{
	for (size_t i = 0; i < l->n; i++)
		for (unsigned k = 0; k < l->nslots; k++)
			if (listen(l->fds[i][k], LISTEN_BACKLOG) < 0)
				return complain_address(e, l->names[i], errno);
	return 0;
}

int listen_open(struct listen_set *l, const struct config *c, unsigned nslots, unsigned patience_ms,
	char *err, size_t errlen)
{
	struct listen_error e = {err, errlen, "listen"};

	memset(l, 0, sizeof(*l));
	l->nslots = nslots;
	l->admin = -1;
	for (size_t i = 0; i < c->listen.n; i++)
		if (listen_text(l, c->listen.v[i], patience_ms, &e) < 0)
			goto fail;
	if (l->n == 0) {
		complain(&e,
			"listen: none of the addresses can be used on this host; add one that can");
		goto fail;
	}
	if (listen_all(l, &e) < 0)
		goto fail;
	e.key = "admin.listen";
	if (c->admin.listen[0] != '\0' && listen_admin(l, c->admin.listen, patience_ms, &e) < 0)
		goto fail;
	return 0;
fail:
	listen_close(l);
	return -1;
}

void listen_close(struct listen_set *l)
{
	for (size_t i = 0; i < l->n; i++)
		close_all(l->fds[i], l->nslots);
	l->n = 0;
	close_all(&l->admin, 1);
}
