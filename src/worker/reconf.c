#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <wsgate/log.h>
#include <wsgate/option.h>
#include <wsgate/vault.h>

#include "pack.h"

/* Said in the answer to the next PROTO_CONFIG. */
static void reconf_no_listener(struct worker *w, int error)
{
	log_error("cannot take a listener", kv_errno(error));
	snprintf(w->reconf_fault, sizeof(w->reconf_fault), "a new listener: %s", strerror(error));
}

/* Its Pong is late by the new time alone: it has that from now on. */
static void reconf_pong(struct conn *c, const struct config *old)
{
	uint64_t now = c->w->now_ms;

	if (c->ping_out && now >= c->ping_ms + c->w->c->pong_timeout &&
		now < c->ping_ms + old->pong_timeout)
		c->ping_ms = now;
}

/*
 * Deadlines were set by the old times (old NULL: they are the same). Those that are over by now are
 * spread: a Ping a millisecond, and who is too old or idle now one in ten, because they come back.
 */
static void reconf_connections(struct worker *w, bool confirm, const struct config *old)
{
	struct conn *c, *next;
	uint64_t late = w->now_ms, over = w->now_ms;

	for (c = w->conns; c; c = next) {
		next = c->next;
		if (c->state == CONN_OPEN && old) {
			uint64_t due;

			reconf_pong(c, old);
			due = session_deadline(c);
			if (due <= w->now_ms)
				due = life_due(c) <= w->now_ms ? (over += 10) : ++late;
			conn_deadline(c, due);
		}
		if (confirm)
			(void)!session_prove(c);
	}
}

static bool reconf_rates_differ(const struct config *a, const struct config *b)
{
	return a->limits.messages_per_second != b->limits.messages_per_second ||
	       a->limits.bytes_per_second != b->limits.bytes_per_second ||
	       a->limits.burst != b->limits.burst;
}

static void reconf_rates(struct worker *w)
{
	struct conn *c, *next;

	for (c = w->conns; c; c = next) {
		next = c->next;
		meter_renew(c);
	}
}

/* Who a request says it is, and who is asked about that. */
static bool reconf_asks_the_same(const struct config *a, const struct config *b)
{
	for (size_t i = 0; i < option_count; i++)
		if (strncmp(option_table[i].key, "identity.", strlen("identity.")) == 0 &&
			!option_equal(a, b, &option_table[i]))
			return false;
	return config_auth_equal(a, b);
}

static void reconf_swap(
	struct worker *w, struct config *c, struct auth *auth, struct tlsctx **sections)
{
	const struct config *old = w->c;
	size_t nold = old->ntls;
	bool confirm = c->delivery.confirm != old->delivery.confirm;
	bool times = c->ping_interval != old->ping_interval ||
		     c->pong_timeout != old->pong_timeout ||
		     c->limits.idle_timeout != old->limits.idle_timeout ||
		     c->limits.connection_age != old->limits.connection_age;
	bool rates = reconf_rates_differ(c, old);
	bool asks = !reconf_asks_the_same(c, old);

	w->c = c;
	pack_renew(w);
	auth_free(w->auth);
	w->auth = auth;
	peer_configure(w);
	sections_use(w, sections, nold);
	log_set(c->log.level, c->log.format);
	w->now_ms = worker_clock();
	if (confirm || times)
		reconf_connections(w, confirm, times ? old : NULL);
	if (rates)
		reconf_rates(w);
	if (asks)
		auth_renew(w);
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
	struct tlsctx **sections;
	char err[1024];

	c = config_load_fd(fd, err, sizeof(err));
	if (fd >= 0)
		close(fd);
	auth = c ? reconf_auth(w, c, err, sizeof(err)) : NULL;
	if (auth && sections_load(w, c, w->tls_file, &sections, err, sizeof(err))) {
		reconf_swap(w, c, auth, sections);
	} else {
		auth_free(auth);
		auth = NULL;
		config_free(c);
	}
	if (w->tls_file >= 0)
		close(w->tls_file);
	if (w->secrets >= 0)
		close(w->secrets);
	w->tls_file = w->secrets = -1;
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
	char title[PROTO_ADDRESS_MAX];

	snprintf(title, sizeof(title), "%.*s", PROTO_ADDRESS_MAX - 1, pl->tls);
	if (fd >= 0 && w->ends && !pl->admin)
		close(fd);
	else if (fd < 0 || worker_add_listener(
				   w, fd, pl->id, pl->admin, pl->tls[0] != '\0' ? title : NULL) < 0)
		reconf_no_listener(w, fd < 0 ? EMFILE : errno);
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
