/*
 * bequest: see bequest.h.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bequest.h"
#include "upgrade.h"
#include "will.h"

static int hello(const struct upgrade *u, struct will *w)
{
	struct will_hello *h = &w->u.hello;

	h->pid = (uint32_t)getpid();
	h->gid = u->gid;
	h->nslots = u->listeners->nslots;
	h->nrows = (uint32_t)u->listeners->n;
	snprintf(h->program, sizeof(h->program), "%s", WSGATE_VERSION);
	snprintf(h->segment, sizeof(h->segment), "%s", u->segment->name);
	snprintf(h->pidfile, sizeof(h->pidfile), "%s", u->config->pidfile);
	snprintf(h->runtime_dir, sizeof(h->runtime_dir), "%s", u->config->runtime_dir);
	return -1;
}

static void describe(const struct listen_row *r, size_t row, unsigned slot, struct will *w)
{
	struct will_listener *l = &w->u.listener;

	l->row = (uint32_t)row;
	l->slot = slot;
	l->len = r->len;
	l->tls = r->tls;
	memcpy(l->text, r->text, sizeof(l->text));
	memcpy(l->name, r->name, sizeof(l->name));
	l->ss = r->ss;
}

int bequest(const struct upgrade *u, size_t n, struct will *w)
{
	const struct listen_set *l = u->listeners;
	static const enum will_type first[] = {WILL_HELLO, WILL_PIDFILE, WILL_DIR, WILL_CONTROL};
	const int fds[] = {-1, u->pidfile, u->segment->dir, u->control->fd};
	const size_t nfirst = sizeof(first) / sizeof(first[0]);

	memset(w, 0, sizeof(*w));
	w->version = WILL_VERSION;
	if (n < nfirst) {
		w->type = first[n];
		return n == 0 ? hello(u, w) : fds[n];
	}
	n -= nfirst;
	if (n < l->n * l->nslots) {
		w->type = WILL_LISTENER;
		describe(&l->rows[n / l->nslots], n / l->nslots, (unsigned)(n % l->nslots), w);
		return l->fds[n / l->nslots][n % l->nslots];
	}
	n -= l->n * l->nslots;
	for (unsigned i = 0; i < LISTEN_ADMINS; i++) {
		if (l->admins[i].fd < 0 || n-- > 0)
			continue;
		w->type = WILL_ADMIN;
		describe(&l->admins[i].row, i, 0, w);
		return l->admins[i].fd;
	}
	/* Should an order come meanwhile, it is refused. */
	w->type = u->family->drain.begin_ms && n == 0 ? WILL_DRAIN : WILL_COMPLETE;
	w->u.drain = u->family->drain;
	return -1;
}
