#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <wsgate/daemon.h>
#include <wsgate/log.h>

#include "bridge.h"

/* The worker of that slot runs; of the program that was replaced. */
static bool stale_lives(const struct stale *st, unsigned slot)
{
	return daemon_lives((pid_t)atomic_load(&shm_slot(&st->shm, slot)->pid));
}

void stale_look(struct stale *st)
{
	/* Their master outlives them: without it a number like theirs is another process's. */
	bool master = daemon_lives((pid_t)st->shm.header->master_pid);

	for (unsigned i = 0; i < st->shm.header->sizes.max_workers; i++)
		st->lives[i] = master && shm_slot_used(&st->shm, i) && stale_lives(st, i);
}

/*
 * Workers of a replaced program, which end one connection after the other, may write there still;
 * also when the one that replaced it has ended before it. Of others than our predecessor its
 * master has said so, and lives.
 */
static bool stale_written(const struct bridge *b, unsigned which)
{
	const struct stale *st = &b->stales[which];
	pid_t master = (pid_t)st->shm.header->master_pid;

	if ((int)which != b->h->predecessor &&
		(!st->shm.header->left || master == getppid() || !daemon_lives(master)))
		return false;
	for (unsigned i = 0; i < st->shm.header->sizes.max_workers && shm_slot_used(&st->shm, i);
		i++)
		if (stale_lives(st, i))
			return true;
	return false;
}

/* What those workers are to hear: that something was refused, that all is stored. Their own bridge
 * is gone, so nobody else writes there. Without memory they are told nothing. */
static void stale_down(struct bridge *b, struct stale *st)
{
	uint32_t n = st->shm.header->sizes.max_workers;

	st->slots = calloc(n, sizeof(*st->slots));
	for (unsigned i = 0; st->slots && i < n && shm_slot_used(&st->shm, i); i++) {
		struct slot *s = &st->slots[i];

		s->b = b;
		s->n = i;
		s->words = shm_slot(&st->shm, i);
		ring_attach_writer(&s->down, &s->words->down, shm_down_data(&st->shm, i),
			st->shm.header->sizes.down_size);
	}
}

struct slot *stale_slot(struct bridge *b, const struct up_source *src)
{
	struct stale *st = &b->stales[src->stale];

	return st->slots && stale_lives(st, src->slot) ? &st->slots[src->slot] : NULL;
}

static void stale_check(struct bridge *b, unsigned i)
{
	struct stale *st = &b->stales[i];
	struct proto_stale done = {i, 0};
	bool written;

	/* Who stayed there and has the time to come back must not be forgotten by another program.
	 */
	if (!st->read || st->done || st->stayed > 0)
		return;
	/* Before the look at the rings: who writes its last record there and ends was still at work
	 * then. */
	written = stale_written(b, i);
	for (size_t k = 0; k < st->nsources; k++)
		if (!source_empty(&st->sources[k]))
			return;
	if (written)
		return;
	if (!b->master || chan_send(b->master, PROTO_STALE_DRAINED, &done, sizeof(done), -1) < 0)
		return;
	st->done = true;
	log_info("all messages of an older segment are stored");
}

/* A mark there is one of a stream that we know, in the incarnation that we know. Its epoch may be
 * another one's here: each master's gateway counts its own. */
static bool stale_means(struct bridge *b, const struct shm_streams *was, const struct route_view *v)
{
	struct identity id = {v->service, v->user, v->service_len, v->user_len};
	const struct bstream *s = streams_of(b, &id);

	/* Of one that is there already our own bridge knows all. */
	for (unsigned k = 0; s && !s->connected && k < was->n; k++)
		if (strcmp(was->v[k].name, s->words->name) == 0)
			return was->v[k].created == stat_get(s->words->created) &&
			       was->v[k].epoch == s->epoch;
	return false;
}

/* Who stayed there, with the predecessor or with another one that was replaced and is not at its
 * end yet. Before any mark is taken over: it is bounded by them. False: no memory. */
static bool stale_stayed(struct bridge *b, unsigned which)
{
	struct stale *st = &b->stales[which];
	struct shm_streams was;

	if (!stale_written(b, which) || shm_read_streams(b->h->stale[which], &was) < 0)
		return true;
	for (unsigned slot = 0; slot < st->shm.header->sizes.max_workers; slot++) {
		struct route_section routes;
		struct route_view v;

		if (!shm_slot_used(&st->shm, slot) || !stale_lives(st, slot))
			continue;
		routes = shm_routes(&st->shm, slot);
		for (uint32_t i = 0; i < routes.n; i++)
			if (route_read(&routes, i, &v) && v.state == ROUTE_OPEN &&
				stale_means(b, &was, &v) && !stayed_add(b, which, slot, i, &v))
				return false;
	}
	return true;
}

/* What clients had confirmed there, and may not be removed. Of the predecessor's, or the newest
 * alone: an older one's epoch may be over. */
static void stale_marks(struct bridge *b, unsigned which, const struct shm *old)
{
	struct shm_streams was;

	if (shm_read_streams(b->h->stale[which], &was) < 0)
		return;
	streams_inherit(b, &was, false);
	for (unsigned i = 0; i < b->h->nstale; i++)
		if (b->stales[i].mapped && !stale_stayed(b, i))
			log_warn("no memory for connections that stayed with the program before: "
				 "they may lack messages when they come back");
	for (unsigned slot = 0; slot < old->header->sizes.max_workers; slot++) {
		struct route_section routes;
		struct route_view v;
		struct buser *u;

		if (!shm_slot_used(old, slot))
			continue;
		routes = shm_routes(old, slot);
		for (uint32_t i = 0; i < routes.n; i++)
			if (route_read(&routes, i, &v) && stale_means(b, &was, &v) &&
				!ended_mark(b, &v,
					slot_buried(shm_slot(old, slot), v.generation)
						? ENDED_STALE_BURIED
						: ENDED_STALE,
					&u))
				return; /* without memory they come again */
	}
}

static int stale_map(struct bridge *b, unsigned i)
{
	struct stale *st = &b->stales[i];

	if (st->mapped)
		return 0;
	if (shm_map(&st->shm, b->h->stale[i], true) < 0)
		return -1;
	if (st->shm.header->sizes.max_workers >
		HERITAGE_SLOT_MAX) { /* no master of ours makes it */
		shm_unmap(&st->shm);
		errno = EINVAL;
		return -1;
	}
	st->mapped = true;
	if ((int)i == (b->h->predecessor >= 0 ? b->h->predecessor : (int)b->h->nstale - 1))
		stale_marks(b, i, &st->shm);
	return 0;
}

static int stale_attach(struct bridge *b, unsigned i)
{
	struct stale *st = &b->stales[i];
	uint32_t n;

	if (stale_map(b, i) < 0)
		return -1;
	n = st->shm.header->sizes.max_workers;
	st->sources = calloc((size_t)n * shm_up_rings(&st->shm), sizeof(*st->sources));
	if (!st->sources)
		return -1;
	for (unsigned slot = 0; slot < n; slot++) {
		for (unsigned r = 0; shm_slot_used(&st->shm, slot) && r < shm_up_rings(&st->shm);
			r++) {
			struct up_source *src = &st->sources[st->nsources++];

			src->b = b;
			src->stale = (int)i;
			src->slot = (uint16_t)slot;
			src->which = (uint8_t)r;
			src->segment_id = st->shm.header->id;
			src->retry_below = UINT64_MAX;
			ring_attach_reader(&src->ring, &shm_slot(&st->shm, slot)->up[r],
				shm_up_data(&st->shm, slot, r), st->shm.header->sizes.up_size);
		}
	}
	if (stale_written(b, i))
		stale_down(b, st);
	return 0;
}

/* False: not all of it; the rest with the next tick. */
static bool stale_read(struct bridge *b, struct stale *st)
{
	static struct up_source *list[SOURCES_MAX]; /* too large for the stack */
	size_t n = 0;

	if (st->read)
		return true;
	for (size_t k = 0; k < st->nsources; k++)
		list[n++] = &st->sources[k];
	/*
	 * Of a program that was to replace us and failed: what its clients sent there they sent
	 * behind what lies in our own rings. The same boot, so the stamps are of one clock.
	 */
	if (st->shm.header->created_ms > b->shm.header->created_ms)
		n += slots_up_sources(b, list + n);
	sources_read(b, list, n, UINT64_MAX);
	st->read = !b->starved;
	return st->read;
}

size_t stale_up_sources(struct bridge *b, struct up_source **list)
{
	size_t n = 0;

	for (unsigned i = 0; i < b->h->nstale; i++)
		for (size_t k = 0;
			b->stales[i].read && !b->stales[i].done && k < b->stales[i].nsources; k++)
			list[n++] = &b->stales[i].sources[k];
	return n;
}

/*
 * The bridge of a dead master may still be at work on it: it holds a lock while it lives. What it
 * has still to remove is told by the marks, which are read at once: who confirmed a message, and is
 * back here, does not get it again. A program that was replaced has moved its marks itself.
 */
static bool stale_locks(struct bridge *b, unsigned i)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(b->h->stale[i], F_SETLK, &lock) == 0)
		return true;
	if ((int)i != b->h->predecessor)
		(void)stale_map(b, i); /* what is wrong with it is said later */
	return false;
}

static void stale_try(struct bridge *b, unsigned i)
{
	struct stale *st = &b->stales[i];

	if (st->done)
		return;
	if (!st->sources) {
		if (!stale_locks(b, i))
			return;
		if (stale_attach(b, i) < 0) {
			if (errno == ENOMEM && st->mapped) {
				log_some_errors(1, "no memory for an older segment: tried again");
				return; /* with the next tick; until then live rings wait */
			}
			/* A predecessor of another layout has stored all. */
			if (errno != EPROTO || (int)i != b->h->predecessor)
				log_error("cannot read an older segment: it is left where it is",
					kv_errno(errno));
			st->done = true;
			return;
		}
		log_info("an older segment was found: what it holds is published first");
	}
	if (stale_read(b, st))
		stale_check(b, i);
}

void stale_read_all(struct bridge *b)
{
	bool read = true;

	for (unsigned i = 0; i < b->h->nstale && read; i++) {
		stale_try(b, i); /* in order of age, for the same reason */
		read = b->stales[i].read || b->stales[i].done;
	}
	b->stale_read = read;
}

void stale_free_all(struct bridge *b)
{
	for (unsigned i = 0; i < b->h->nstale; i++) {
		for (size_t k = 0; k < b->stales[i].nsources; k++)
			publish_drop(&b->stales[i].sources[k]);
		free(b->stales[i].sources);
		free(b->stales[i].slots);
		shm_unmap(&b->stales[i].shm);
	}
}
