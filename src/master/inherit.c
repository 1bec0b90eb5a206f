/*
 * inherit: see inherit.h.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include <wsgate/log.h>
#include <wsgate/rights.h>

#include "inherit.h"

#define RECEIVE_MS 20000
#define ORPHAN_MS 12000 /* a bridge without a master takes ten seconds at most (bridge.c) */

void inherit_init(struct inherit *in)
{
	memset(in, 0, sizeof(*in));
	in->fd = in->pidfile = in->dir = in->control = -1;
	listen_init(&in->set);
}

bool inherit_under_way(const struct inherit *in)
{
	return in->fd >= 0 && !in->serves;
}

/* ---- at once: all that is needed ---- */

static int complain(char *err, size_t errlen, const char *why)
{
	snprintf(err, errlen, "the running program does not hand over: %s", why);
	return -1;
}

static int take(int *to, int *fd)
{
	if (*fd < 0 || *to >= 0)
		return -1;
	*to = *fd;
	*fd = -1;
	return 0;
}

static int take_hello(struct inherit *in, const struct will_hello *h)
{
	struct listen_set *l = &in->set;

	if (h->nslots < 1 || h->nslots > HERITAGE_SLOT_MAX || h->nrows > HERITAGE_LISTEN_MAX)
		return -1;
	in->hello = *h;
	l->nslots = h->nslots;
	l->n = h->nrows;
	for (size_t i = 0; i < HERITAGE_LISTEN_MAX; i++)
		for (unsigned k = 0; k < HERITAGE_SLOT_MAX; k++)
			l->fds[i][k] = -1;
	return 0;
}

static int take_row(struct listen_row *r, const struct will_listener *wl)
{
	if (wl->len > sizeof(r->ss))
		return -1;
	if (!r->id)
		listen_inherit(r);
	memcpy(r->text, wl->text, sizeof(r->text));
	memcpy(r->name, wl->name, sizeof(r->name));
	r->ss = wl->ss;
	r->len = wl->len;
	r->tls = wl->tls != 0;
	return 0;
}

static bool complete(const struct inherit *in)
{
	for (size_t i = 0; i < in->set.n; i++)
		for (unsigned k = 0; k < in->set.nslots; k++)
			if (in->set.fds[i][k] < 0)
				return false;
	return in->pidfile >= 0 && in->dir >= 0 && in->control >= 0 && in->set.nslots > 0;
}

/* 0; 1: it was the last one; -1: nonsense. */
static int take_one(struct inherit *in, const struct will *w, int *fd)
{
	const struct will_listener *wl = &w->u.listener;
	struct listen_set *l = &in->set;

	if (w->type != WILL_HELLO && l->nslots == 0)
		return -1;
	switch (w->type) {
	case WILL_HELLO:
		return l->nslots ? -1 : take_hello(in, &w->u.hello);
	case WILL_PIDFILE:
		return take(&in->pidfile, fd);
	case WILL_DIR:
		return take(&in->dir, fd);
	case WILL_CONTROL:
		return take(&in->control, fd);
	case WILL_LISTENER:
		if (wl->row >= l->n || wl->slot >= l->nslots || take_row(&l->rows[wl->row], wl) < 0)
			return -1;
		return take(&l->fds[wl->row][wl->slot], fd);
	case WILL_ADMIN:
		if (wl->row >= LISTEN_ADMINS || take_row(&l->admins[wl->row].row, wl) < 0)
			return -1;
		return take(&l->admins[wl->row].fd, fd);
	case WILL_DRAIN:
		in->drain = w->u.drain;
		return 0;
	case WILL_COMPLETE:
		return complete(in) ? 1 : -1;
	}
	return -1;
}

int inherit_receive(struct inherit *in, int fd, char *err, size_t errlen)
{
	uint64_t now = family_clock(), end = now + RECEIVE_MS;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct will w;
	int r = 0, with;

	in->fd = fd;
	for (; now < end && r == 0; now = family_clock()) {
		if (poll(&p, 1, (int)(end - now)) < 0 && errno != EINTR)
			return complain(err, errlen, strerror(errno));
		r = will_receive(fd, &w, &with);
		if (r == 0)
			return complain(err, errlen, "it has ended");
		if (r < 0 && errno == EPROTO)
			return complain(
				err, errlen, "it is of another version: this takes a restart");
		if (r < 0 && errno != EAGAIN)
			return complain(err, errlen, strerror(errno));
		r = r < 0 ? 0 : take_one(in, &w, &with);
		rights_drop(&with);
	}
	if (r > 0)
		return 0;
	return complain(err, errlen, r < 0 ? "what it says makes no sense" : "it says nothing");
}

int inherit_check(const struct inherit *in, const struct config *c, char *err, size_t errlen)
{
	const struct will_hello *h = &in->hello;

	if (strcmp(h->pidfile, c->pidfile) != 0)
		snprintf(err, errlen, "pidfile is %s now, and was %s: this takes a restart",
			c->pidfile, h->pidfile);
	else if (strcmp(h->runtime_dir, c->runtime_dir) != 0)
		snprintf(err, errlen, "runtime_dir is %s now, and was %s: this takes a restart",
			c->runtime_dir, h->runtime_dir);
	else
		return 0;
	return -1;
}

/* ---- then ---- */

static void gone(struct inherit *in)
{
	if (in->ev)
		event_free(in->ev);
	in->ev = NULL;
	in->gone = true;
	in->gone_ms = family_clock();
	if (in->serves)
		rights_drop(&in->fd);
	else
		log_warn("the old program is gone: this one goes on alone");
	family_wake(in->family);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct inherit *in = arg;
	struct will w;
	int with, r = will_receive(fd, &w, &with);

	(void)what;
	if (r < 0 && errno == EAGAIN)
		return;
	if (r > 0 && w.type == WILL_PAIR && with >= 0 && in->narrivals < HERITAGE_SLOT_MAX) {
		in->arrivals[in->narrivals].slot = w.u.number.value;
		in->arrivals[in->narrivals++].fd = with;
		family_wake(in->family);
		return;
	}
	/* It lives, and goes on when we end: nobody may serve beside it. */
	if (r < 0 && errno == EPROTO) {
		family_fail(in->family, "the old program cannot be understood, or no descriptor is "
					"left for what it sends");
		return;
	}
	rights_drop(&with);
	if (r > 0 && w.type == WILL_MOVED)
		in->moved = true;
	else if (r > 0)
		log_error("what the old program says makes no sense",
			kv_str("type", will_name(w.type)));
	else
		gone(in);
	family_wake(in->family);
}

int inherit_watch(struct inherit *in)
{
	in->ev = event_new(in->family->base, in->fd, EV_READ | EV_PERSIST, on_readable, in);
	if (in->ev && event_add(in->ev, NULL) == 0)
		return 0;
	errno = ENOMEM;
	return -1;
}

static bool inherit_foreign(const struct inherit *in)
{
	const struct segment *s = in->family->segment;

	return s->predecessor >= 0 && s->stale[s->predecessor].foreign;
}

static void tell_more(struct inherit *in, enum will_type type, uint32_t number, bool foreign)
{
	struct will w = {.version = WILL_VERSION, .type = type, .u.number = {number, foreign}};

	/* Who is gone is noticed by the end of the channel. It has nothing else to read. */
	if (!in->gone && will_send(in->fd, &w, -1) < 0)
		log_debug("the old program does not hear", kv_errno(errno));
}

static void tell(struct inherit *in, enum will_type type, uint32_t number)
{
	tell_more(in, type, number, false);
}

void inherit_fail(struct inherit *in, const char *why)
{
	struct will w = {.version = WILL_VERSION, .type = WILL_FAILED};

	snprintf(w.u.text.text, sizeof(w.u.text.text), "%s", why);
	if (in->fd >= 0 && !in->gone && will_send(in->fd, &w, -1) < 0)
		log_debug("the old program does not hear", kv_errno(errno));
}

void inherit_ready(struct inherit *in)
{
	in->prepared = true;
	log_info("ready to take over", kv_uint("workers", in->family->active));
	tell_more(in, WILL_PREPARED, in->family->active, inherit_foreign(in));
	family_wake(in->family);
}

/* To another one when that one is dead: each can take connections of each. NULL: none lives. */
static struct child *taker(struct family *f, unsigned slot)
{
	for (unsigned i = 0; i < f->active; i++) {
		struct child *w = &f->workers[(slot + i) % f->active];

		if (child_lives(w) && w->ready)
			return w;
	}
	return NULL;
}

static void pass_arrivals(struct inherit *in)
{
	struct proto_arrive arrive = {0, 0};
	unsigned n = 0;

	/* Who is dead and not yet buried is passed over with the next look. */
	for (unsigned i = 0; i < in->narrivals; i++) {
		struct child *w = taker(in->family, in->arrivals[i].slot);

		if (!w || (chan_send(w->chan, PROTO_ARRIVE, &arrive, sizeof(arrive),
				   in->arrivals[i].fd) < 0 &&
				  (errno == EAGAIN || errno == EPIPE || errno == ECONNRESET)))
			in->arrivals[n++] = in->arrivals[i];
		else
			close(in->arrivals[i].fd);
	}
	in->narrivals = n;
	if (n)
		in->family->retry = true;
}

/* Killed, it leaves a bridge that stores what it has. Two at a time would speak by one name to
 * other gateways, which believe the last word of the one that ends. */
static bool bridge_lives(const struct inherit *in)
{
	return in->gone && !in->moved && family_clock() - in->gone_ms < ORPHAN_MS &&
	       segment_predecessor_locked(in->family->segment);
}

void inherit_look(struct inherit *in)
{
	struct family *f = in->family;

	if (!inherit_under_way(in) || !in->prepared || family_stopping(f))
		return;
	pass_arrivals(in);
	if (in->gone && !in->started && bridge_lives(in)) {
		f->retry = true;
		return;
	}
	if ((in->moved || in->gone) && !in->narrivals && !in->started) {
		in->started = true;
		f->hold_bridge = false;
		f->bridge.start_ms = family_clock();
		family_wake(f);
	}
	if (!in->started || !f->bridge.ready || in->serve(in->arg) < 0)
		return;
	in->serves = true;
	tell(in, WILL_SERVING, (uint32_t)getpid());
	/* What it may not have stored, because it was killed, only another program can read. */
	if (inherit_foreign(in))
		segment_forget_predecessor(f->segment);
	listen_own(&in->set);
	listen_close_but(&in->set, f->listeners);
}

void inherit_free(struct inherit *in)
{
	if (in->ev)
		event_free(in->ev);
	in->ev = NULL;
	rights_drop(&in->fd);
	rights_drop(&in->pidfile);
	rights_drop(&in->dir);
	rights_drop(&in->control);
	for (unsigned i = 0; i < in->narrivals; i++)
		close(in->arrivals[i].fd);
	in->narrivals = 0;
}
