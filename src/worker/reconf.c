#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <wsgate/log.h>
#include <wsgate/vault.h>

#include "worker.h"

/* Said in the answer to the next PROTO_CONFIG. */
static void reconf_failed(struct worker *w, const char *what, int error)
{
	snprintf(w->reconf_fault, sizeof(w->reconf_fault), "%s: %s", what, strerror(error));
}

/* Deadlines were set by the old times. Those that are over by now are spread: a Ping a millisecond.
 */
static void reconf_connections(struct worker *w, bool confirm, bool times)
{
	struct conn *c, *next;
	uint64_t late = w->now_ms;

	for (c = w->conns; c; c = next) {
		next = c->next;
		if (c->state == CONN_OPEN && times) {
			uint64_t due = session_deadline(c);

			conn_deadline(c, due > w->now_ms ? due : ++late);
		}
		if (confirm)
			session_prove(c);
	}
}

static void reconf_swap(struct worker *w, struct config *c, struct auth *auth)
{
	const struct config *old = w->c;
	bool confirm = c->delivery.confirm != old->delivery.confirm;
	bool times = c->ping_interval != old->ping_interval || c->pong_timeout != old->pong_timeout;

	w->c = c;
	auth_free(w->auth);
	w->auth = auth;
	log_set(c->log.level, c->log.format);
	w->now_ms = worker_clock();
	if (confirm || times)
		reconf_connections(w, confirm, times);
	config_free(w->own);
	w->own = c;
}

/* They are kept for the configuration that they are of. */
void reconf_on_secrets(void *arg, const void *body, int fd)
{
	struct worker *w = arg;

	(void)body;
	if (w->secrets >= 0)
		close(w->secrets);
	w->secrets = fd;
}

static struct auth *reconf_auth(struct worker *w, const struct config *c, char *err, size_t errlen)
{
	struct vault keys = {0, NULL};
	struct auth *auth = NULL;

	if (w->secrets >= 0 && vault_read(&keys, w->secrets) < 0)
		snprintf(err, errlen, "keys: %s", strerror(errno));
	else
		auth = auth_new(c, &keys, err, errlen);
	vault_free(&keys);
	return auth;
}

void reconf_on_config(void *arg, const void *body, int fd)
{
	const struct proto_config *pc = body;
	struct worker *w = arg;
	struct proto_applied done = {.serial = pc->serial};
	struct auth *auth = NULL;
	struct config *c;
	char err[1024];

	c = config_load_fd(fd, err, sizeof(err));
	if (fd >= 0)
		close(fd);
	if (c)
		auth = reconf_auth(w, c, err, sizeof(err));
	if (w->secrets >= 0)
		close(w->secrets);
	w->secrets = -1;
	if (auth)
		reconf_swap(w, c, auth);
	else
		config_free(c);
	if (!auth)
		snprintf(
			w->reconf_fault, sizeof(w->reconf_fault), "%.*s", PROTO_FAULT_MAX - 1, err);
	done.failed = w->reconf_fault[0] != '\0';
	memcpy(done.fault, w->reconf_fault, sizeof(done.fault));
	w->reconf_fault[0] = '\0';
	if (chan_send(w->master, PROTO_APPLIED, &done, sizeof(done), -1) < 0)
		log_warn("cannot tell the master", kv_errno(errno));
}

void reconf_on_listen(void *arg, const void *body, int fd)
{
	const struct proto_listen *pl = body;
	struct worker *w = arg;

	if (fd >= 0 && w->draining && !pl->admin)
		close(fd);
	else if (fd < 0 || worker_add_listener(w, fd, pl->id, pl->admin) < 0)
		reconf_failed(w, "a new listener", fd < 0 ? EMFILE : errno);
}

void reconf_on_unlisten(void *arg, const void *body, int fd)
{
	const struct proto_listen *pl = body;
	struct worker *w = arg;
	struct listener *l, *next;

	if (fd >= 0)
		close(fd);
	w->now_ms = worker_clock();
	for (l = w->listeners; l; l = next) {
		next = l->next;
		if (l->id == pl->id)
			worker_drop_listener(w, l, pl->keep);
	}
}
