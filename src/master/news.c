/*
 * news: see news.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <wsgate/log.h>

#include "family.h"

#ifdef MFD_NOEXEC_SEAL
#define NOEXEC_SEAL MFD_NOEXEC_SEAL
#else
#define NOEXEC_SEAL 8u
#endif

void news_init(struct news *n)
{
	*n = (struct news){.text = -1};
}

void news_free(struct news *n)
{
	if (n->text >= 0)
		close(n->text);
	n->text = -1;
}

/* ---- the configuration ---- */

static int news_file(void)
{
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create("wsgate configuration", flags | NOEXEC_SEAL);

	/* Kernels before 6.3 do not know it; later ones may demand it (vm.memfd_noexec). */
	return fd < 0 && errno == EINVAL ? memfd_create("wsgate configuration", flags) : fd;
}

int news_write(const struct config *c)
{
	int saved, copy, fd = news_file();
	FILE *out = NULL;

	if (fd < 0)
		return -1;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy >= 0)
		out = fdopen(copy, "w");
	if (!out && copy >= 0)
		close(copy);
	if (!out || config_print(c, out) < 0)
		goto fail;
	if (fclose(out) != 0) {
		out = NULL;
		goto fail;
	}
	out = NULL;
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

void news_config(struct family *f, int text)
{
	news_free(&f->news);
	f->news.text = text;
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

void news_born(const struct family *f, struct child *c)
{
	const struct listen_set *l = f->listeners;

	c->config_told = c->config_applied = f->news.serial;
	c->log_told = f->news.log;
	c->faulty = false;
	c->nlistens = 0;
	if (c == &f->bridge)
		return;
	for (size_t i = 0; i < l->n; i++)
		c->listens[c->nlistens++] = l->rows[i].id;
	if (l->admin >= 0)
		c->listens[c->nlistens++] = l->admin_row.id;
}

/* 1: it has it, or will not need it; 0: it takes no more now. */
static bool news_send(struct child *c, enum proto_type type, const void *body, size_t size, int fd)
{
	/* What is not EAGAIN is the end of the child, and its successor has it from its birth. */
	return chan_send(c->chan, type, body, size, fd) == 0 || errno != EAGAIN;
}

static bool news_has(const uint32_t *ids, size_t n, uint32_t id)
{
	for (size_t i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

static bool news_listen(struct child *c, uint32_t id, bool admin, int fd)
{
	struct proto_listen body = {id, admin};

	if (news_has(c->listens, c->nlistens, id))
		return true;
	if (!news_send(c, PROTO_LISTEN, &body, sizeof(body), fd))
		return false;
	c->listens[c->nlistens++] = id;
	return true;
}

static bool news_listen_all(struct family *f, struct child *c)
{
	const struct listen_set *l = f->listeners;

	for (size_t i = 0; i < l->n; i++)
		if (!news_listen(c, l->rows[i].id, false, l->fds[i][c->slot]))
			return false;
	return l->admin < 0 || news_listen(c, l->admin_row.id, true, l->admin);
}

static bool news_unlisten_all(const struct listen_set *l, struct child *c)
{
	uint32_t ids[HERITAGE_LISTEN_MAX + 1];
	size_t n = 0;

	for (; n < l->n; n++)
		ids[n] = l->rows[n].id;
	if (l->admin >= 0)
		ids[n++] = l->admin_row.id;
	for (size_t i = 0; i < c->nlistens;) {
		struct proto_listen body = {c->listens[i], 0};

		if (news_has(ids, n, c->listens[i])) {
			i++;
			continue;
		}
		if (!news_send(c, PROTO_UNLISTEN, &body, sizeof(body), -1))
			return false;
		c->listens[i] = c->listens[--c->nlistens];
	}
	return true;
}

/* The new ones first, so that no client finds none; but for a child that lags by several reloads.
 */
static bool news_listeners(struct family *f, struct child *c)
{
	if (c->nlistens > HERITAGE_LISTEN_MAX + 1 && !news_unlisten_all(f->listeners, c))
		return false;
	return news_listen_all(f, c) && news_unlisten_all(f->listeners, c);
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

bool news_tell(struct family *f, struct child *c)
{
	struct proto_config body = {f->news.serial};

	if (!c->chan || !c->pid)
		return true;
	if (!news_log_tell(f, c) || (c != &f->bridge && !news_listeners(f, c)))
		return false;
	if (c->config_told >= f->news.serial || f->news.text < 0)
		return true;
	if (!news_send(c, PROTO_CONFIG, &body, sizeof(body), f->news.text))
		return false;
	c->config_told = f->news.serial;
	return true;
}
