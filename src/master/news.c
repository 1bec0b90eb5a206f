/*
 * news: see news.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <wsgate/log.h>
#include <wsgate/notes.h>

#include "family.h"

#ifdef MFD_NOEXEC_SEAL
#define NOEXEC_SEAL MFD_NOEXEC_SEAL
#else
#define NOEXEC_SEAL 8u
#endif

void news_init(struct news *n)
{
	*n = (struct news){.text = -1, .secret = -1, .keys = -1, .listeners = 1};
}

void news_free(struct news *n)
{
	if (n->text >= 0)
		close(n->text);
	if (n->secret >= 0)
		close(n->secret);
	if (n->keys >= 0)
		close(n->keys);
	n->text = n->secret = n->keys = -1;
}

/* ---- the configuration ---- */

static int news_file(void)
{
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create("wsgate configuration", flags | NOEXEC_SEAL);

	/* Kernels before 6.3 do not know it; later ones may demand it (vm.memfd_noexec). */
	return fd < 0 && errno == EINVAL ? memfd_create("wsgate configuration", flags) : fd;
}

int news_write(const struct config *c, enum config_reader reader)
{
	static char buf[4096];
	int saved, copy, fd = news_file();
	FILE *out = NULL;

	if (fd < 0)
		return -1;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy >= 0)
		out = fdopen(copy, "w");
	if (!out && copy >= 0)
		close(copy);
	if (!out || setvbuf(out, buf, _IOFBF, sizeof(buf)) != 0 || config_write(c, reader, out) < 0)
		goto fail;
	if (fclose(out) != 0) {
		out = NULL;
		goto fail;
	}
	out = NULL;
	explicit_bzero(buf, sizeof(buf));
	/* Each child has it from the same file: none may change it for the next one. */
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
fail:
	saved = errno ? errno : EIO;
	if (out)
		fclose(out);
	close(fd);
	errno = saved;
	return -1;
}

void news_config(struct family *f, int text, int secret, int keys)
{
	news_free(&f->news);
	f->news.text = text;
	f->news.secret = secret;
	f->news.keys = keys;
	f->news.serial++;
	family_wake(f);
}

void news_log(struct family *f, enum proto_log_target target)
{
	f->news.log++;
	f->news.log_target = target;
	family_wake(f);
}

void news_applied(struct child *c, const struct proto_applied *a)
{
	if (a->serial > c->config_told)
		return;
	c->config_applied = a->serial;
	c->faulty = a->failed;
	for (size_t i = 0; i < c->nlistens && a->failed; i++)
		c->listens[i].again = true; /* it may lack one of them */
	memcpy(c->fault, a->fault, sizeof(c->fault));
	c->fault[sizeof(c->fault) - 1] = '\0';
}

bool news_done(const struct family *f, const struct child *c)
{
	return !c->pid || c->config_applied >= f->news.serial;
}

void news_tidy(struct family *f)
{
	bool lacked = f->bridge.pid && f->bridge.config_told < f->news.serial;

	for (unsigned i = 0; i < f->nslots; i++)
		lacked =
			lacked || (f->workers[i].pid && f->workers[i].config_told < f->news.serial);
	if (!lacked)
		news_free(&f->news);
}

/* ---- telling ---- */

static struct child_listen *noted(const struct child *c, uint32_t id)
{
	for (size_t i = 0; i < c->nlistens; i++)
		if (c->listens[i].id == id)
			return &c->listens[i];
	return NULL;
}

static bool note(struct child *c, uint32_t id, bool admin)
{
	if (c->nlistens == c->listens_room) {
		size_t room = c->listens_room ? 2 * c->listens_room : 16;
		struct child_listen *more = reallocarray(c->listens, room, sizeof(*more));

		if (!more)
			return false;
		c->listens = more;
		c->listens_room = room;
	}
	c->listens[c->nlistens++] = (struct child_listen){id, admin, false};
	return true;
}

/* Its own; those that are lent to it follow. What cannot be noted it hears of once more. */
void news_born(const struct family *f, struct child *c)
{
	const struct listen_set *l = f->listeners;

	c->config_told = c->config_applied = f->news.serial;
	c->log_told = f->news.log;
	c->tickets_told = f->news.tickets;
	c->deeds_told = f->news.deeds;
	c->trace_told = f->news.trace;
	c->drain_told = f->news.drain;
	c->sync_told = c->synced = f->news.sync;
	c->faulty = false;
	c->nlistens = 0;
	c->listens_told = 0;
	if (c == &f->bridge)
		return;
	for (size_t i = 0; i < l->n && !f->hold_clients; i++)
		(void)!note(c, listen_id(&l->rows[i], c->slot), false);
	for (int i = 0; i < LISTEN_ADMINS && !f->hold_admin; i++)
		if (l->admins[i].fd >= 0)
			(void)!note(c, listen_id(&l->admins[i].row, 0), true);
}

/* 1: it has it, or will not need it; 0: it takes no more now. */
static bool news_send(struct child *c, enum proto_type type, const void *body, size_t size, int fd)
{
	/* What is not EAGAIN is the end of the child, and its successor has it from its birth. */
	return chan_send(c->chan, type, body, size, fd) == 0 || errno != EAGAIN;
}

static bool news_listen(
	struct child *c, uint32_t id, const struct listen_row *r, bool admin, int fd)
{
	struct child_listen *l = noted(c, id);
	struct proto_listen body = {.id = id, .admin = admin};

	_Static_assert(sizeof(body.tls) == sizeof(r->text), "the titles of sections");
	if (r->tls)
		memcpy(body.tls, r->text, sizeof(body.tls));

	if (l ? !l->again : !note(c, id, admin))
		return l != NULL;
	if (!news_send(c, PROTO_LISTEN, &body, sizeof(body), fd)) {
		c->nlistens -= !l;
		return false;
	}
	if (l)
		l->again = false;
	return true;
}

/* Until the worker of a slot is ready, it and another one have its listeners. */
static bool is_for(const struct family *f, const struct child *c, unsigned slot)
{
	return !f->hold_clients && !handover_retires(c) &&
	       (slot == c->slot || f->lent_to[slot] == (int)c->slot);
}

static bool has_admin(const struct family *f, const struct child *c)
{
	return !f->hold_admin && !handover_retires(c);
}

static bool news_listen_all(struct family *f, struct child *c)
{
	const struct listen_set *l = f->listeners;

	for (unsigned k = 0; k < l->nslots; k++)
		for (size_t i = 0; is_for(f, c, k) && i < l->n; i++)
			if (!news_listen(
				    c, listen_id(&l->rows[i], k), &l->rows[i], false, l->fds[i][k]))
				return false;
	for (int i = 0; i < LISTEN_ADMINS && has_admin(f, c); i++) {
		const struct listen_admin *a = &l->admins[i];

		if (a->fd >= 0 && !news_listen(c, listen_id(&a->row, 0), &a->row, true, a->fd))
			return false;
	}
	return true;
}

static bool is_open(const struct listen_set *l, const struct child_listen *cl)
{
	for (int i = 0; i < LISTEN_ADMINS && cl->admin; i++)
		if (l->admins[i].fd >= 0 && cl->id == listen_id(&l->admins[i].row, 0))
			return true;
	for (size_t i = 0; i < l->n; i++)
		if (l->rows[i].id == listen_row_of(cl->id))
			return true;
	return false;
}

static bool news_unlisten_all(struct family *f, struct child *c)
{
	for (size_t i = 0; i < c->nlistens;) {
		const struct child_listen *cl = &c->listens[i];
		bool open = is_open(f->listeners, cl);
		/* Those of another master are never shut, whatever it makes of them. */
		struct proto_listen body = {
			.id = cl->id, .admin = cl->admin, .keep = open || f->hold_admin};

		if (open &&
			(cl->admin ? has_admin(f, c) : is_for(f, c, cl->id % HERITAGE_SLOT_MAX))) {
			i++;
			continue;
		}
		if (!news_send(c, PROTO_UNLISTEN, &body, sizeof(body), -1))
			return false;
		c->listens[i] = c->listens[--c->nlistens];
	}
	return true;
}

/* The new ones first, so that no client finds none. */
static bool news_listeners(struct family *f, struct child *c)
{
	if (c->listens_told == f->news.listeners)
		return true;
	if (c->handover.state == HANDOVER_RETIRES)
		return true; /* it closes them by itself, when others have them */
	if (!news_listen_all(f, c) || !news_unlisten_all(f, c))
		return false;
	c->listens_told = f->news.listeners;
	return true;
}

bool news_lent(const struct family *f, unsigned slot)
{
	const struct listen_set *l = f->listeners;
	int to = f->lent_to[slot];

	if (to < 0 || !f->workers[to].chan || !f->workers[to].pid)
		return true;
	for (size_t i = 0; i < l->n; i++)
		if (!noted(&f->workers[to], listen_id(&l->rows[i], slot)))
			return false;
	return true;
}

void news_retired(struct child *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->nlistens; i++)
		if (c->listens[i].admin)
			c->listens[n++] = c->listens[i];
	c->nlistens = n;
	c->listens_told = 0;
}

static bool news_log_tell(struct family *f, struct child *c)
{
	struct proto_log body = {f->news.log_target, 0};
	bool file = f->news.log_target == PROTO_LOG_FILE;

	if (c->log_told >= f->news.log)
		return true;
	if (!news_send(c, PROTO_LOG, &body, sizeof(body), file ? log_fd() : -1))
		return false;
	c->log_told = f->news.log;
	return true;
}

static bool news_tickets(const struct family *f, struct child *c)
{
	if (c->tickets_told < f->news.tickets &&
		!news_send(c, PROTO_TICKETS, &f->tickets, sizeof(f->tickets), -1))
		return false;
	c->tickets_told = f->news.tickets;
	return true;
}

static bool news_deeds(const struct family *f, struct child *c)
{
	if (c->deeds_told < f->news.deeds &&
		!news_send(c, PROTO_DEEDS, &f->deeds, sizeof(f->deeds), -1))
		return false;
	c->deeds_told = f->news.deeds;
	return true;
}

void news_trace(struct family *f, const struct trace_order *who, unsigned seconds)
{
	f->trace = *who;
	f->trace.until_ms = seconds ? family_clock() + UINT64_C(1000) * seconds : 0;
	f->news.trace++;
	family_wake(f);
}

static bool news_trace_tell(const struct family *f, struct child *c)
{
	if (c->trace_told < f->news.trace &&
		!news_send(c, PROTO_TRACE, &f->trace, sizeof(f->trace), -1))
		return false;
	c->trace_told = f->news.trace;
	return true;
}

void news_drain(struct family *f, uint64_t delay_ms, uint64_t time_ms, bool even)
{
	uint64_t now = family_clock();

	/* Who is drained for a while has told the load balancers. */
	if (f->drain.begin_ms && now >= f->drain.begin_ms + delay_ms)
		delay_ms = 0;
	else if (f->drain.begin_ms)
		delay_ms -= now - f->drain.begin_ms;
	if (time_ms)
		f->drain = (struct proto_drain){
			.begin_ms = f->drain.begin_ms ? f->drain.begin_ms : now,
			.close_ms = now + delay_ms,
			.end_ms = now + delay_ms + time_ms,
			.even = even};
	else
		memset(&f->drain, 0, sizeof(f->drain));
	f->news.drain++;
	family_wake(f);
}

static bool news_drain_tell(const struct family *f, struct child *c)
{
	if (c->drain_told < f->news.drain &&
		!news_send(c, PROTO_DRAIN, &f->drain, sizeof(f->drain), -1))
		return false;
	c->drain_told = f->news.drain;
	return true;
}

void news_reloaded(struct family *f, bool failed, uint64_t at_ms, const char *text)
{
	struct proto_deeds *d = &f->deeds;

	d->reloads_good += !failed;
	d->reloads_failed += failed;
	d->reload_ms = at_ms;
	d->outcome = failed ? PROTO_RELOAD_FAILED : PROTO_RELOAD_GOOD;
	snprintf(d->reload, sizeof(d->reload), "%s", text);
	f->news.deeds++;
	family_wake(f);
}

void news_tap(void *arg, bool error, const char *text, size_t len)
{
	struct family *f = arg;

	notes_make(&f->deeds.notes[f->deeds.noted++ % PROTO_NOTES], error, text, len);
	f->news.deeds++;
	if (f->timer)
		family_wake(f);
}

static bool news_tell_worker(struct family *f, struct child *c)
{
	struct proto_config body = {f->news.serial};

	if (!news_tickets(f, c) || !news_deeds(f, c) || !news_drain_tell(f, c) ||
		!news_listeners(f, c))
		return false;
	if (f->tls < 0 || c->config_told >= f->news.serial || f->news.text < 0)
		return true;
	return news_send(c, PROTO_TLS, &body, sizeof(body), f->tls); /* once more does no harm */
}

static bool news_config_tell(const struct family *f, struct child *c)
{
	struct proto_config body = {f->news.serial};

	if (c->config_told >= f->news.serial || f->news.text < 0)
		return true;
	/* Perhaps twice: the last ones before the configuration are its own. */
	if (c != &f->bridge && f->news.keys >= 0 &&
		!news_send(c, PROTO_VAULT, NULL, 0, f->news.keys))
		return false;
	if (!news_send(c, PROTO_CONFIG, &body, sizeof(body),
		    c == &f->bridge ? f->news.secret : f->news.text))
		return false;
	c->config_told = f->news.serial;
	return true;
}

static bool news_sync_tell(const struct family *f, struct child *c)
{
	struct proto_sync body = {f->news.sync};

	if (c->sync_told < f->news.sync && !news_send(c, PROTO_SYNC, &body, sizeof(body), -1))
		return false;
	c->sync_told = f->news.sync;
	return true;
}

bool news_tell(struct family *f, struct child *c)
{
	if (!c->chan || !c->pid)
		return true;
	return news_log_tell(f, c) && news_trace_tell(f, c) &&
	       (c == &f->bridge || news_tell_worker(f, c)) && news_config_tell(f, c) &&
	       news_sync_tell(f, c);
}

uint64_t news_sync(struct family *f)
{
	family_wake(f);
	return ++f->news.sync;
}

size_t news_unsynced(const struct family *f, uint64_t sync, bool bridge, char *names, size_t size)
{
	size_t n = 0, len = 0;

	for (unsigned i = 0; i <= f->nslots; i++) {
		const struct child *c = i < f->nslots ? &f->workers[i] : &f->bridge;

		if ((c == &f->bridge && !bridge) || !child_lives(c) || c->synced >= sync)
			continue;
		if (len < size)
			len += (size_t)snprintf(
				names + len, size - len, "%s%s", n ? ", " : "", c->name);
		n++;
	}
	return n;
}
