/*
 * sections: the tls sections of the configuration, for those who come by a listener of one. They
 * are made anew at each reload; connections hold those that they began with.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <wsgate/bundle.h>
#include <wsgate/log.h>
#include <wsgate/tlsctx.h>

#include "sealed.h"
#include "worker.h"

static void sections_free(struct tlsctx **sections, size_t n)
{
	for (size_t i = 0; sections && i < n; i++)
		tlsctx_drop(sections[i]);
	free(sections);
}

bool sections_load(struct worker *w, const struct config *c, int fd, struct tlsctx ***out,
	char *err, size_t errlen)
{
	struct tlsctx **list = c->ntls ? calloc(c->ntls, sizeof(*list)) : NULL;
	struct bundle b = {NULL, 0};
	bool good = !c->ntls;

	*out = NULL;
	if (c->ntls && !w->tls_buf)
		w->tls_buf = malloc(SEALED_BUF);
	if (c->ntls && (!list || !w->tls_buf || fd < 0 || bundle_open(&b, fd) < 0)) {
		snprintf(err, errlen, "certificates: %s", strerror(fd < 0 ? EMFILE : errno));
		free(list);
		return false;
	}
	for (size_t i = 0; i < c->ntls; i++) {
		list[i] = tlsctx_new(c, i, &b, false, err, errlen);
		good = list[i] != NULL;
		if (!good)
			break;
	}
	bundle_close(&b);
	if (good)
		*out = list;
	else
		sections_free(list, c->ntls);
	return good;
}

struct tlsctx *sections_find(const struct worker *w, const char *title)
{
	for (size_t i = 0; w->sections && i < w->c->ntls; i++)
		if (strcmp(w->c->tls[i].listen, title) == 0)
			return w->sections[i];
	return NULL;
}

void sections_use(struct worker *w, struct tlsctx **sections, size_t nold)
{
	sections_free(w->sections, nold);
	w->sections = sections;
	worker_listen(w); /* those that waited for their section */
}

int sections_start(struct worker *w)
{
	char err[1024];
	int fd = w->h->tls;
	bool good;

	w->tls_file = -1;
	w->tickets = w->h->tickets;
	tickets_wipe((struct tickets *)(uintptr_t)&w->h->tickets); /* they change; that one stays */
	tlsctx_use_tickets(&w->tickets);
	good = sections_load(w, w->c, fd, &w->sections, err, sizeof(err));
	if (fd >= 0)
		close(fd);
	if (good)
		return 0;
	log_error("no TLS", kv_str("why", err));
	errno = EINVAL;
	return -1;
}

void sections_stop(struct worker *w)
{
	sections_free(w->sections, w->c->ntls);
	w->sections = NULL;
	tlsctx_use_tickets(NULL);
	tickets_wipe(&w->tickets);
	if (w->tls_file >= 0)
		close(w->tls_file);
	if (w->tls_buf)
		explicit_bzero(w->tls_buf, SEALED_BUF);
	free(w->tls_buf);
}

void sections_on_tls(void *arg, const void *body, int fd)
{
	struct worker *w = arg;

	(void)body;
	if (w->tls_file >= 0)
		close(w->tls_file);
	w->tls_file = fd;
}

void sections_on_tickets(void *arg, const void *body, int fd)
{
	struct worker *w = arg;

	if (fd >= 0)
		close(fd);
	memcpy(&w->tickets, body, sizeof(w->tickets));
}
