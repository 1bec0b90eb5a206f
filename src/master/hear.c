/*
 * hear: see hear.h. Callbacks only note what was said.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <wsgate/log.h>

#include "brief.h"
#include "hear.h"

#define CLOSED_MS 5000 /* between the end of its channel and the end of a child */

static struct family *hear_from(struct child *c, int fd)
{
	if (fd >= 0)
		close(fd);
	c->beat_ms = family_clock();
	return c->family;
}

static void hear_on_beat(void *arg, const void *body, int fd)
{
	(void)body;
	hear_from(arg, fd);
}

static void hear_on_ready(void *arg, const void *body, int fd)
{
	struct child *c = arg;
	struct family *f = hear_from(c, fd);

	(void)body;
	if (c == &f->bridge && !c->ready)
		brief_ready(f);
	c->ready = c->was_ready = true;
	family_wake(f);
}

static void hear_on_fatal(void *arg, const void *body, int fd)
{
	struct child *c = arg;
	struct family *f = hear_from(c, fd);
	const struct proto_text *text = body;
	char why[PROTO_TEXT_MAX + sizeof(c->name) + 2];

	snprintf(why, sizeof(why), "%s: %.*s", c->name, (int)sizeof(text->text), text->text);
	family_fail(f, why);
}

static void hear_on_drained(void *arg, const void *body, int fd)
{
	struct family *f = hear_from(arg, fd);

	brief_drained(f, body);
	family_wake(f);
}

static void hear_on_stale_drained(void *arg, const void *body, int fd)
{
	struct family *f = hear_from(arg, fd);
	const struct proto_stale *s = body;

	if (s->index < f->nstale)
		segment_stale_drained(f->segment, f->stale_index[s->index]);
	family_wake(f);
}

static void hear_on_flushed(void *arg, const void *body, int fd)
{
	const struct proto_flushed *fl = body;

	/* The file itself tells in the end: others may have written after this. */
	hear_from(arg, fd);
	log_debug("the bridge ends", kv_str("empty", fl->empty ? "yes" : "no"));
}

static void hear_on_applied(void *arg, const void *body, int fd)
{
	struct family *f = hear_from(arg, fd);

	news_applied(arg, body);
	family_wake(f);
}

static void hear_on_moved(void *arg, const void *body, int fd)
{
	struct child *c = arg;
	struct family *f = hear_from(c, fd);

	memcpy(&c->moved, body, sizeof(c->moved));
	c->gave = true;
	family_wake(f);
}

static void hear_on_shut(void *arg, const void *body, int fd)
{
	struct child *c = arg;
	struct family *f = hear_from(c, fd);

	(void)body;
	c->shut = true;
	family_wake(f);
}

static void hear_on_heirless(void *arg, const void *body, int fd)
{
	struct child *c = arg;
	struct family *f = hear_from(c, fd);

	(void)body;
	c->heirless = true;
	family_wake(f);
}

static void hear_on_synced(void *arg, const void *body, int fd)
{
	const struct proto_sync *s = body;
	struct child *c = arg;
	struct family *f = hear_from(c, fd);

	if (s->serial <= c->sync_told)
		c->synced = s->serial;
	family_wake(f);
}

static void hear_on_closed(void *arg, const void *body, int fd)
{
	struct family *f = hear_from(arg, fd);

	f->closed(f->arg, body);
}

const struct chan_handler hear_bridge[] = {
	{PROTO_READY, 0, hear_on_ready},
	{PROTO_BEAT, 0, hear_on_beat},
	{PROTO_FATAL, sizeof(struct proto_text), hear_on_fatal},
	{PROTO_DRAINED, sizeof(struct proto_slot), hear_on_drained},
	{PROTO_STALE_DRAINED, sizeof(struct proto_stale), hear_on_stale_drained},
	{PROTO_FLUSHED, sizeof(struct proto_flushed), hear_on_flushed},
	{PROTO_APPLIED, sizeof(struct proto_applied), hear_on_applied},
	{PROTO_CLOSED, sizeof(struct proto_closed), hear_on_closed},
	{PROTO_SYNCED, sizeof(struct proto_sync), hear_on_synced},
	{0, 0, NULL},
};
const struct chan_handler hear_worker[] = {
	{PROTO_READY, 0, hear_on_ready},
	{PROTO_BEAT, 0, hear_on_beat},
	{PROTO_FATAL, sizeof(struct proto_text), hear_on_fatal},
	{PROTO_APPLIED, sizeof(struct proto_applied), hear_on_applied},
	{PROTO_MOVED, sizeof(struct proto_moved), hear_on_moved},
	{PROTO_HEIRLESS, 0, hear_on_heirless},
	{PROTO_SHUT, 0, hear_on_shut},
	{PROTO_SYNCED, sizeof(struct proto_sync), hear_on_synced},
	{0, 0, NULL},
};

/* The end of a channel is the end of its child, now or soon; its last messages were before it. */
void hear_gone(void *arg)
{
	struct child *c = arg;

	chan_free(c->chan);
	c->chan = NULL;
	c->kill_ms = family_clock() + CLOSED_MS;
	family_wake(c->family);
}
