/*
 * reload: see reload.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include <wsgate/clock.h>
#include <wsgate/log.h>
#include <wsgate/option.h>

#include "certs.h"
#include "keyring.h"
#include "reload.h"

#define ANSWER_MS 10000

static int no_memory(char *err, size_t errlen)
{
	snprintf(err, errlen, "%s", strerror(errno ? errno : ENOMEM));
	return -1;
}

/* ---- what is different ---- */

/* Routes, marks and rings are of the streams that there are: they stay, with their services. */
static int reload_merge_streams(
	struct config *next, const struct config *now, unsigned *changed, unsigned *restart)
{
	if (config_streams_equal(next, now))
		return 0;
	if (config_streams_extend(next, now)) {
		++*changed;
		return 0;
	}
	log_warn("a stream, or a service of one, has another place or is gone: that needs a "
		 "restart, and all stream sections stay as they are until then",
		kv_str("key", "stream"));
	++*restart;
	return config_streams_copy(next, now);
}

/*
 * Gives `next` the old values of keys that need a restart. The two counts: how many changed, how
 * many of these need a restart. 0; or -1 without memory.
 */
static int reload_merge(
	struct config *next, const struct config *now, unsigned *changed, unsigned *restart)
{
	*changed = !config_auth_equal(next, now);
	*changed += !config_tls_equal(next, now);
	*changed += !config_services_equal(next, now);
	*restart = 0;
	if (reload_merge_streams(next, now, changed, restart) < 0)
		return -1;
	for (size_t i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];

		if (option_equal(next, now, o))
			continue;
		if (o->apply != OPTION_RESTART) {
			++*changed;
			continue;
		}
		log_warn("this key needs a restart: the old value stays until then",
			kv_str("key", o->key));
		++*restart;
		if (option_copy(next, now, o) < 0)
			return -1;
	}
	return 0;
}

static void reload_say(const struct config *next, const struct config *now)
{
	char value[256];
	FILE *out;

	if (!config_auth_equal(next, now))
		log_info("changed", kv_str("key", "auth"));
	if (!config_tls_equal(next, now))
		log_info("changed", kv_str("key", "tls sections"));
	if (!config_services_equal(next, now))
		log_info("changed", kv_str("key", "service"));
	if (!config_streams_equal(next, now))
		log_info("changed", kv_str("key", "stream sections"));
	for (size_t i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];

		if (option_equal(next, now, o))
			continue;
		memset(value, 0, sizeof(value));
		out = o->secret ? NULL : fmemopen(value, sizeof(value) - 1, "w");
		if (out) {
			option_print(next, o, out);
			fclose(out);
		}
		log_info("changed", kv_str("key", o->key),
			kv_str("value", o->secret ? "(not shown)" : value));
	}
}

/* Processors that went offline are no wish for fewer. */
static unsigned reload_workers(const struct reload *r, const struct config *next)
{
	const struct family *f = r->family;
	unsigned want = config_workers(next);

	return want < f->active && next->workers == f->config->workers ? f->active : want;
}

/* ---- the log ---- */

/* In the background nobody reads standard error. */
static const char *reload_target(const struct reload *r, const struct config *c)
{
	return r->background && strcmp(c->log.target, "stderr") == 0 ? "syslog" : c->log.target;
}

static enum proto_log_target target_kind(const char *target)
{
	return strcmp(target, "stderr") == 0   ? PROTO_LOG_STDERR
	       : strcmp(target, "syslog") == 0 ? PROTO_LOG_SYSLOG
					       : PROTO_LOG_FILE;
}

static int reload_try_log(
	const struct reload *r, const struct config *next, char *err, size_t errlen)
{
	const char *target = reload_target(r, next);

	if (target_kind(target) != PROTO_LOG_FILE || log_try(target) == 0)
		return 0;
	snprintf(err, errlen,
		"log.target: %s cannot be opened (%s); make its directory, or the right to write "
		"there, or change log.target",
		target, strerror(errno));
	return -1;
}

static void reload_apply_log(struct reload *r, const struct config *next, const struct config *now)
{
	const char *target = reload_target(r, next);

	if (strcmp(target, reload_target(r, now)) == 0) {
		log_set(next->log.level, next->log.format);
	} else if (log_open(target, next->log.level, next->log.format) < 0) {
		log_error("cannot open the new log file: the old one stays", kv_str("file", target),
			kv_errno(errno));
	} else {
		news_log(r->family, target_kind(target));
	}
}

void reload_log(struct reload *r)
{
	const char *target = reload_target(r, r->family->config);

	if (log_reopen() < 0) {
		log_error("cannot open the log file again: the old one stays", kv_errno(errno));
		return;
	}
	if (target_kind(target) == PROTO_LOG_FILE)
		news_log(r->family, PROTO_LOG_FILE);
	log_info("log file opened again");
}

void reload_log_file(struct reload *r)
{
	if (target_kind(reload_target(r, r->family->config)) == PROTO_LOG_FILE)
		reload_log(r);
}

/* ---- one reload ---- */

static void reload_finish(struct reload *r, bool failed, const char *text)
{
	r->busy = false;
	r->failed = failed;
	r->ended_ms = clock_ms(CLOCK_REALTIME);
	snprintf(r->text, sizeof(r->text), "%s", text);
	if (!failed)
		log_info("reloaded", kv_uint("changed", r->changed),
			kv_uint("need_restart", r->restart));
	(void)event_del(r->timer);
	if (r->again)
		event_active(r->timer, EV_TIMEOUT, 0);
	news_reloaded(r->family, failed, r->ended_ms, r->text);
	r->done(r->arg, r->number);
}

static void reload_refuse(struct reload *r, const char *why)
{
	log_error("the new configuration was refused: nothing has changed", kv_str("why", why));
	reload_finish(r, true, why);
}

/* The texts for the children: for workers, for the bridge, and the keys. 0; or -1 with errno. */
static int reload_write(struct reload *r, const struct config *next, int text[3])
{
	text[2] = -1;
	text[0] = news_write(next, CONFIG_WORKER);
	text[1] = text[0] < 0 ? -1 : news_write(next, CONFIG_BRIDGE);
	if (text[1] >= 0 && r->next_keys.n > 0)
		text[2] = vault_write(&r->next_keys);
	return text[1] < 0 || (r->next_keys.n > 0 && text[2] < 0) ? -1 : 0;
}

/* Everything that may fail. On success r->next, slots and all texts are there. */
static int reload_prepare(
	struct reload *r, struct config *next, int text[3], char *err, size_t errlen)
{
	unsigned want, slots = r->listeners->nslots, had = r->segment->nslots;

	if (reload_merge(next, r->family->config, &r->changed, &r->restart) < 0)
		return no_memory(err, errlen);
	want = reload_workers(r, next);
	slots = want > slots ? want : slots; /* those of an idle slot stay open */
	r->fresh = r->family->active;
	r->active = want;
	if (reload_try_log(r, next, err, errlen) < 0 ||
		certs_read(next, &r->tls, true, err, errlen) < 0 ||
		keyring_load(next, &r->next_keys, err, errlen) < 0 ||
		segment_grow(r->segment, next, want, err, errlen) < 0)
		return -1;
	if (reload_write(r, next, text) < 0) {
		no_memory(err, errlen);
		goto fail;
	}
	if (listen_change(&r->next, r->listeners, next, slots, err, errlen) < 0)
		goto fail;
	if (family_grow(r->family, want) == 0)
		return 0;
	no_memory(err, errlen);
	listen_close_but(&r->next, r->listeners);
fail:
	segment_shrink(r->segment, had);
	for (int i = 0; i < 3; i++)
		if (text[i] >= 0)
			close(text[i]);
	return -1;
}

static void reload_say_listeners(
	const struct listen_set *some, const struct listen_set *others, const char *what)
{
	for (size_t i = 0; i < some->n; i++) {
		bool found = false;

		for (size_t k = 0; k < others->n; k++)
			found = found || some->rows[i].id == others->rows[k].id;
		if (!found)
			log_info(what, kv_str("addr", some->rows[i].name));
	}
	for (int i = 0; i < LISTEN_ADMINS; i++) {
		const struct listen_admin *a = &some->admins[i], *b = &others->admins[i];

		if (a->fd >= 0 && (b->fd < 0 || a->row.id != b->row.id))
			log_info(what, kv_str("addr", a->row.name), kv_str("for", "the operator"));
	}
}

/* What the shared memory was made for is not changed by a reload. */
static void reload_say_sizes(const struct reload *r, const struct config *next)
{
	const struct shm_sizes *s = &r->segment->sizes;
	uint64_t reach = (uint64_t)r->active * s->routes;

	if (reach < next->max_connections)
		log_warn("so few workers cannot have max_connections until a restart or a new "
			 "program",
			kv_uint("max_connections", next->max_connections),
			kv_uint("reachable", reach), kv_uint("workers", r->active));
	if (s->lanes < SHM_LANES_MAX && config_streams(next) > s->lanes)
		log_warn("a new stream shares its way to the broker with another one until a "
			 "restart or a new program: when that one is away, its clients wait, too",
			kv_uint("streams", config_streams(next)), kv_uint("ways", s->lanes));
}

/* From here on nothing fails. */
static void reload_commit(struct reload *r, struct config *next, const int text[3])
{
	struct family *f = r->family;

	reload_apply_log(r, next, f->config);
	reload_say(next, f->config);
	reload_say_sizes(r, next);
	config_warn_open(next);
	r->retired = *r->listeners;
	*r->listeners = r->next;
	reload_say_listeners(r->listeners, &r->retired, "listens there, too");
	reload_say_listeners(&r->retired, r->listeners, "does not listen there any more");
	/* The first one is the caller's, and stays: not so its secrets, which workers would
	 * inherit. */
	config_forget_secrets((struct config *)(uintptr_t)f->config, CONFIG_PEOPLE);
	f->config = next;
	certs_drop(&f->tls);
	f->tls = r->tls;
	r->tls = -1;
	config_free(r->own);
	r->own = next;
	if (next->ntls > 0)
		log_info("certificates were read again", kv_uint("sections", next->ntls));
	if (r->next_keys.n > 0)
		log_info("key files were read again", kv_uint("files", r->next_keys.n));
	vault_free(&r->keys);
	r->keys = r->next_keys;
	r->next_keys = (struct vault){0, NULL};
	if (r->active != f->active)
		log_info("workers", kv_uint("before", f->active), kv_uint("now", r->active));
	handover_resize(f, r->active, family_clock());
	news_config(f, text[0], text[1], text[2]);
}

static void reload_run(struct reload *r)
{
	const struct timeval tv = {ANSWER_MS / 1000, 0};
	uint64_t began = family_clock();
	char err[RELOAD_TEXT_MAX];
	struct config *next;
	int text[3];

	r->number++;
	r->again = false;
	if (family_stopping(r->family)) {
		reload_refuse(r, "the gateway is stopping");
		return;
	}
	if (r->blocked) {
		reload_refuse(r, r->blocked);
		return;
	}
	r->busy = true;
	next = config_load_secret(r->source, err, sizeof(err));
	if (next && reload_prepare(r, next, text, err, sizeof(err)) < 0) {
		config_free(next);
		next = NULL;
	}
	family_stood(r->family, began, family_clock()); /* names of hosts are asked for */
	if (!next) {
		vault_free(&r->next_keys);
		certs_drop(&r->tls);
		reload_refuse(r, err);
		return;
	}
	reload_commit(r, next, text);
	if (event_add(r->timer, &tv) < 0)
		log_error("no timer: the next event must do", kv_errno(ENOMEM));
}

uint64_t reload_start(struct reload *r)
{
	log_info("asked to reload");
	if (r->busy || r->again) {
		r->again = true;
		return r->number + 1;
	}
	reload_run(r);
	return r->number;
}

/* ---- the answers ---- */

static const struct child *reload_child(const struct family *f, unsigned i)
{
	return i == 0 ? &f->bridge : &f->workers[i - 1];
}

static bool reload_lacks(const struct reload *r, unsigned i)
{
	const struct child *c = reload_child(r->family, i);

	/* One that starts when its predecessor has handed over is not waited for. */
	return !news_done(r->family, c) || (i > r->fresh && i <= r->family->active && !c->ready &&
						   c->handover.state == HANDOVER_NONE);
}

static void reload_end(struct reload *r)
{
	const struct family *f = r->family;
	char text[RELOAD_TEXT_MAX];
	bool failed = false;

	listen_close_but(&r->retired, r->listeners);
	news_tidy(r->family);
	snprintf(text, sizeof(text), "%u keys changed, %u need a restart", r->changed, r->restart);
	if (family_stopping(f)) {
		reload_finish(r, true, "the gateway is stopping");
		return;
	}
	for (unsigned i = 0; i <= f->nslots; i++) {
		const struct child *c = reload_child(f, i);

		if (reload_lacks(r, i)) {
			log_error("a process did not answer for the new configuration in time",
				kv_str("child", c->name));
			snprintf(text, sizeof(text), "%s did not answer in time", c->name);
			failed = true;
		} else if (c->pid && c->faulty) {
			log_error("a process could not apply the new configuration",
				kv_str("child", c->name), kv_str("why", c->fault));
			snprintf(text, sizeof(text), "%s: %s", c->name, c->fault);
			failed = true;
		}
	}
	reload_finish(r, failed, text);
}

void reload_look(struct reload *r)
{
	if (!r->busy)
		return;
	for (unsigned i = 0; i <= r->family->nslots; i++)
		if (reload_lacks(r, i) && !family_stopping(r->family))
			return;
	reload_end(r);
}

static void reload_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct reload *r = arg;

	(void)fd;
	(void)what;
	if (r->busy)
		reload_end(r);
	else if (r->again)
		reload_run(r);
}

int reload_init(struct reload *r)
{
	char err[RELOAD_TEXT_MAX];

	if (keyring_load(r->family->config, &r->keys, err, sizeof(err)) < 0) {
		log_error("a key file cannot be used", kv_str("why", err));
		errno = EIO;
		return -1;
	}
	r->family->keys = &r->keys;
	r->family->file = r->source->file;
	listen_init(&r->retired);
	listen_init(&r->next);
	r->tls = -1;
	r->timer = event_new(r->family->base, -1, 0, reload_on_timer, r);
	if (r->timer)
		return 0;
	errno = ENOMEM;
	return -1;
}

void reload_forget(struct reload *r)
{
	if (r->timer)
		event_free(r->timer);
	r->timer = NULL;
}

void reload_free(struct reload *r)
{
	reload_forget(r);
	certs_drop(&r->tls);
	if (r->busy)
		listen_close_but(&r->retired, r->listeners);
	config_free(r->own);
	r->own = NULL;
	vault_free(&r->keys);
}
