/*
 * listen: see listen.h.
 */
#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <wsgate/log.h>

#include "address.h"
#include "listen.h"
#include "local.h"

#define LISTEN_BACKLOG 4096

/* What goes into the operator's line. */
struct listen_error {
	char *text;
	size_t len;
	const char *key; /* "listen", "admin.listen", "tls" */
	bool tls;
	const struct listen_set *now; /* in use: its sockets are shared; NULL: none */
};

static uint32_t last_id;
static gid_t group = (gid_t)-1;

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

static void close_all(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

/* ---- what is there already ---- */

static const struct listen_row *row_named(const struct listen_set *l, const char *name)
{
	for (size_t i = 0; l && i < l->n; i++)
		if (strcmp(l->rows[i].name, name) == 0)
			return &l->rows[i];
	return NULL;
}

/*
 * All addresses of a port, beside one of them; or the same one, with TLS and without: our own
 * sockets do not collide, but a probe does.
 */
static bool beside(const struct listen_row *r, const struct address *a)
{
	const struct address b = {r->ss, r->len};

	return address_beside(&b, a);
}

static bool row_overlaps(const struct listen_row *r, const struct address *a, const char *name)
{
	return strcmp(r->name, name) == 0 || beside(r, a);
}

static bool overlaps(const struct listen_set *now, const struct address *a, const char *name)
{
	const struct listen_admin *admin = now ? &now->admins[LISTEN_ADMIN] : NULL;

	for (size_t i = 0; now && i < now->n; i++)
		if (row_overlaps(&now->rows[i], a, name))
			return true;
	return admin && admin->fd >= 0 && row_overlaps(&admin->row, a, name);
}

/* ---- rows ---- */

static void row_set(struct listen_row *r, const char *text, const struct address *a)
{
	snprintf(r->text, sizeof(r->text), "%s", text);
	address_name(a, r->name, sizeof(r->name));
	r->ss = a->ss;
	r->len = a->len;
}

static bool is_shared(
	const struct listen_set *now, const struct listen_set *l, size_t row, unsigned slot)
{
	for (size_t i = 0; now && i < now->n; i++)
		if (now->rows[i].id == l->rows[row].id)
			return slot < now->nslots;
	return false;
}

/* Those from slot `first` on: bound, not yet listening. */
static int row_bind(struct listen_set *l, unsigned first, const struct listen_error *e)
{
	const struct listen_row *r = &l->rows[l->n];
	struct address a = {r->ss, r->len};
	int *fds = l->fds[l->n];

	for (unsigned i = first; i < l->nslots; i++) {
		fds[i] = address_bind(&a, true);
		if (fds[i] >= 0)
			continue;
		complain_address(e, r->name, errno);
		close_all(fds + first, i - first);
		return -1;
	}
	l->n++;
	return 0;
}

static int row_full(const struct listen_error *e)
{
	return complain(
		e, "%s: more than %d addresses; take some away", e->key, HERITAGE_LISTEN_MAX);
}

/* One that is in use; slots may be more than it has. */
static int row_share(struct listen_set *l, const struct listen_row *old, const char *text,
	const struct listen_error *e)
{
	const int *fds = e->now->fds[old - e->now->rows];
	unsigned both = e->now->nslots < l->nslots ? e->now->nslots : l->nslots;

	if (l->n >= HERITAGE_LISTEN_MAX)
		return row_full(e);
	l->rows[l->n] = *old;
	snprintf(l->rows[l->n].text, sizeof(l->rows[l->n].text), "%s", text);
	memcpy(l->fds[l->n], fds, both * sizeof(*fds));
	return row_bind(l, both, e);
}

/* 0, also when it is left out with a warning; -1. */
static int row_open(struct listen_set *l, const char *text, struct address *a, unsigned patience_ms,
	const struct listen_error *e)
{
	struct listen_row *r = &l->rows[l->n];
	int probe, result;

	if (l->n >= HERITAGE_LISTEN_MAX)
		return row_full(e);
	row_set(r, text, a);
	probe = address_probe(a, patience_ms);
	if (probe < 0 && errno == EAFNOSUPPORT) {
		log_warn(
			"this host has no such kind of address: left out", kv_str("addr", r->name));
		return 0;
	}
	if (probe < 0 && !(errno == EADDRINUSE && overlaps(e->now, a, r->name)))
		return complain_address(e, r->name, errno);
	row_set(r, text, a);
	r->id = ++last_id;
	r->tls = e->tls;
	result = row_bind(l, 0, e);
	if (probe >= 0)
		close(probe);
	return result;
}

/* 1: it is there already, by another name, which is fine without TLS; -1: that cannot be. */
static int row_twice(const struct listen_set *l, const char *name, const struct listen_error *e)
{
	const struct listen_row *r = row_named(l, name);

	if (!r || (!r->tls && !e->tls))
		return r != NULL;
	return complain(e,
		"%s: %s is in use with TLS and without, or by two sections; give each its own port",
		e->key, name);
}

/* What was configured with the same text stays, whatever the name stands for by now. 1: it was
 * there. */
static int listen_keep(struct listen_set *l, const char *text, const struct listen_error *e)
{
	int found = 0, twice;

	for (size_t i = 0; e->now && i < e->now->n; i++) {
		const struct listen_row *old = &e->now->rows[i];

		if (strcmp(old->text, text) != 0 || old->tls != e->tls)
			continue;
		found = 1;
		twice = row_twice(l, old->name, e);
		if (twice < 0 || (!twice && row_share(l, old, text, e) < 0))
			return -1;
	}
	return found;
}

/* Children know a socket by its section: one of another section, or of none, is another socket. */
static bool row_same(const struct listen_row *old, const char *text, const struct listen_error *e)
{
	return old->tls == e->tls && (!e->tls || strcmp(old->text, text) == 0);
}

/* A name may stand for several addresses: all of them. */
static int listen_text(
	struct listen_set *l, const char *text, unsigned patience_ms, const struct listen_error *e)
{
	int r = listen_keep(l, text, e);
	struct addrinfo *list = r ? NULL : listen_resolve(e, text);

	if (r || !list)
		return r > 0 ? 0 : -1;
	for (struct addrinfo *ai = list; ai && r >= 0; ai = ai->ai_next) {
		struct address a = {.len = ai->ai_addrlen};
		const struct listen_row *old;
		char name[sizeof(l->rows[0].name)];

		memcpy(&a.ss, ai->ai_addr, ai->ai_addrlen);
		address_name(&a, name, sizeof(name));
		r = row_twice(l, name, e);
		if (r)
			continue;
		old = row_named(e->now, name);
		r = old && row_same(old, text, e) ? row_share(l, old, text, e)
						  : row_open(l, text, &a, patience_ms, e);
	}
	freeaddrinfo(list);
	return r;
}

/* ---- for the operator: one socket, shared by all workers: one that hangs does not hide it ---- */

static bool admin_share(struct listen_set *l, enum listen_admin_kind kind, const char *text,
	const struct listen_set *now)
{
	if (!now || now->admins[kind].fd < 0 || strcmp(now->admins[kind].row.text, text) != 0)
		return false;
	l->admins[kind] = now->admins[kind];
	return true;
}

static int listen_admin(
	struct listen_set *l, const char *text, unsigned patience_ms, const struct listen_error *e)
{
	struct listen_admin *to = &l->admins[LISTEN_ADMIN];
	struct listen_row *r = &to->row;
	const struct listen_admin *old = e->now ? &e->now->admins[LISTEN_ADMIN] : NULL;
	struct addrinfo *list;
	struct address a = {.len = 0};
	int probe, result = 0;

	if (admin_share(l, LISTEN_ADMIN, text, e->now))
		return 0;
	list = listen_resolve(e, text);
	if (!list)
		return -1;
	a.len = list->ai_addrlen;
	memcpy(&a.ss, list->ai_addr, list->ai_addrlen);
	freeaddrinfo(list);
	row_set(r, text, &a);
	if (old && old->fd >= 0 && strcmp(old->row.name, r->name) == 0) {
		to->fd = old->fd;
		r->id = old->row.id;
		return 0;
	}
	if (overlaps(l, &a, r->name)) /* sockets of ours share a port without a word */
		return complain(
			e, "%s: clients have the port of %s; give each its own", e->key, r->name);
	r->id = ++last_id;
	probe = address_probe(&a, patience_ms);
	if (probe < 0 && !(errno == EADDRINUSE && overlaps(e->now, &a, r->name)))
		return complain_address(e, r->name, errno);
	row_set(r, text, &a);
	to->fd = address_bind(&a, true);
	if (to->fd < 0 || listen(to->fd, LISTEN_BACKLOG) < 0)
		result = complain_address(e, r->name, errno);
	if (probe >= 0)
		close(probe);
	return result;
}

static int listen_local(struct listen_set *l, const char *path, const struct listen_error *e)
{
	struct listen_admin *to = &l->admins[LISTEN_LOCAL];

	if (admin_share(l, LISTEN_LOCAL, path, e->now))
		return 0;
	to->fd = local_open(path, group);
	if (to->fd < 0 && errno == EADDRINUSE)
		return complain(e,
			"%s: another program listens on %s; stop that one, or name another path",
			e->key, path);
	if (to->fd < 0)
		return complain(e, "%s: cannot listen on %s: %s; name a path that can be made",
			e->key, path,
			errno == EEXIST ? "it is there, and no socket" : strerror(errno));
	snprintf(to->row.text, sizeof(to->row.text), "%s", path);
	snprintf(to->row.name, sizeof(to->row.name), "%s", path);
	to->row.id = ++last_id;
	to->linked = true;
	if (listen(to->fd, LISTEN_BACKLOG) < 0)
		return complain_address(e, to->row.name, errno);
	return 0;
}

static void admin_close(struct listen_admin *a)
{
	if (a->linked)
		local_unlink(a->row.text);
	a->linked = false;
	close_all(&a->fd, 1);
}

void listen_init(struct listen_set *l)
{
	memset(l, 0, sizeof(*l));
	for (int i = 0; i < LISTEN_ADMINS; i++)
		l->admins[i].fd = -1;
}

void listen_group(gid_t gid)
{
	group = gid;
}

/* Last of all: from here on clients may come. */
static int listen_all(struct listen_set *l, const struct listen_error *e)
{
	for (size_t i = 0; i < l->n; i++)
		for (unsigned k = 0; k < l->nslots; k++)
			if (!is_shared(e->now, l, i, k) && listen(l->fds[i][k], LISTEN_BACKLOG) < 0)
				return complain_address(e, l->rows[i].name, errno);
	return 0;
}

void listen_own(struct listen_set *l)
{
	l->admins[LISTEN_LOCAL].linked = l->admins[LISTEN_LOCAL].fd >= 0;
}

/* Whom it belongs to comes with its birth. The old one is in the set that it was shared with. */
static int local_anew(struct listen_set *l, const struct listen_error *e)
{
	struct listen_admin *a = &l->admins[LISTEN_LOCAL];
	char path[LISTEN_TEXT_MAX];

	if (a->fd < 0)
		return 0;
	strcpy(path, a->row.text);
	local_unlink(path);
	a->fd = -1;
	return listen_local(l, path, e);
}

int listen_begin(struct listen_set *l, bool same_group, char *err, size_t errlen)
{
	struct listen_error e = {err, errlen, "listen", false, NULL};

	if (listen_all(l, &e) < 0)
		return -1;
	listen_own(l);
	e.key = "admin.socket";
	return same_group ? 0 : local_anew(l, &e);
}

static int listen_make(struct listen_set *l, const struct listen_set *now, const struct config *c,
	unsigned nslots, unsigned patience_ms, bool begin, char *err, size_t errlen)
{
	static struct listen_set none;
	struct listen_error e = {err, errlen, "listen", false, now};

	listen_init(&none);
	listen_init(l);
	l->nslots = nslots;
	for (size_t i = 0; i < c->listen.n; i++)
		if (listen_text(l, c->listen.v[i], patience_ms, &e) < 0)
			goto fail;
	e.key = "tls";
	e.tls = true;
	for (size_t i = 0; i < c->ntls; i++)
		if (listen_text(l, c->tls[i].listen, patience_ms, &e) < 0)
			goto fail;
	e.tls = false;
	if (l->n == 0) {
		complain(&e,
			"listen: none of the addresses can be used on this host; add one that can");
		goto fail;
	}
	e.key = "admin.listen";
	if (c->admin.listen[0] != '\0' && listen_admin(l, c->admin.listen, patience_ms, &e) < 0)
		goto fail;
	e.key = "admin.socket";
	if (c->admin.socket[0] != '\0' && listen_local(l, c->admin.socket, &e) < 0)
		goto fail;
	e.key = "listen";
	if (begin && listen_all(l, &e) < 0)
		goto fail;
	return 0;
fail:
	listen_close_but(l, now ? now : &none);
	return -1;
}

int listen_open(struct listen_set *l, const struct config *c, unsigned nslots, unsigned patience_ms,
	char *err, size_t errlen)
{
	return listen_make(l, NULL, c, nslots, patience_ms, true, err, errlen);
}

int listen_change(struct listen_set *next, const struct listen_set *now, const struct config *c,
	unsigned nslots, char *err, size_t errlen)
{
	return listen_make(next, now, c, nslots, 0, true, err, errlen);
}

int listen_prepare(struct listen_set *next, const struct listen_set *now, const struct config *c,
	unsigned nslots, char *err, size_t errlen)
{
	return listen_make(next, now, c, nslots, 0, false, err, errlen);
}

void listen_inherit(struct listen_row *r)
{
	r->id = ++last_id;
}

void listen_close_but(struct listen_set *l, const struct listen_set *other)
{
	for (size_t i = 0; i < l->n; i++)
		for (unsigned k = 0; k < l->nslots; k++)
			if (!is_shared(other, l, i, k))
				close_all(&l->fds[i][k], 1);
	l->n = 0;
	for (int i = 0; i < LISTEN_ADMINS; i++) {
		struct listen_admin *a = &l->admins[i];
		const struct listen_admin *b = &other->admins[i];

		if (b->fd >= 0 && strcmp(a->row.text, b->row.text) == 0)
			a->linked = false; /* the name is that one's */
		if (a->fd != b->fd)
			admin_close(a);
		a->fd = -1;
	}
}

void listen_shut(const struct listen_set *l, unsigned slot)
{
	for (size_t i = 0; i < l->n; i++)
		(void)shutdown(l->fds[i][slot], SHUT_RD);
}

void listen_close(struct listen_set *l)
{
	for (size_t i = 0; i < l->n; i++)
		close_all(l->fds[i], l->nslots);
	l->n = 0;
	for (int i = 0; i < LISTEN_ADMINS; i++)
		admin_close(&l->admins[i]);
}

void listen_leave(struct listen_set *l)
{
	l->admins[LISTEN_LOCAL].linked = false;
	listen_close(l);
}

void listen_say(const struct listen_set *l)
{
	for (size_t i = 0; i < l->n; i++)
		log_info(l->rows[i].tls ? "listens for clients with TLS" : "listens for clients",
			kv_str("addr", l->rows[i].name));
	for (int i = 0; i < LISTEN_ADMINS; i++)
		if (l->admins[i].fd >= 0)
			log_info("listens for the operator", kv_str("addr", l->admins[i].row.name));
}
