/*
 * attach: slots as the bridge finds them when it begins, and when a worker gets a new one: rings,
 * doorbell, and the routes that a predecessor served.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <wsgate/log.h>

#include "bridge.h"

#define CHANGES_BATCH 256

/* First those with marks, which decide where their users stand; then new ones, and who got marks
 * meanwhile. */
static bool slot_scans(
	const struct slot *s, uint32_t index, enum route_state is, enum route_state wanted)
{
	bool marked = is == ROUTE_OPEN || is == ROUTE_MOVED;

	if (wanted == ROUTE_OPEN)
		return marked;
	return is == wanted || (wanted == ROUTE_OPENING && marked && !s->conns[index]);
}

/* What a predecessor served goes on; what waits for an answer gets it (perhaps once more). */
static void slot_scan(struct slot *s, enum route_state state)
{
	struct route_view v;
	struct buser *u;

	for (uint32_t i = 0; i < s->routes.n; i++) {
		if (!stat_get(s->routes.routes[i].generation) || !route_read(&s->routes, i, &v))
			continue;
		if (slots_dead(s, v.generation)) {
			/* Of a dead worker. Who buried it may have died before it had removed all.
			 */
			if (state == ROUTE_ENDED &&
				!ended_mark(s->b, &v,
					slot_buried(s->words, v.generation) ? ENDED_BURIED
									    : ENDED_HERE,
					&u))
				_exit(1);
			continue;
		}
		if (!slot_scans(s, i, v.state, state))
			continue;
		if (state == ROUTE_ENDED
				? !ended_found(s, i, &v)
				: !s->conns[i] && streams_serve(s, i, &v) &&
					  quota_admits(s, i, &v) && !dispatch_open(s->b, s, i, &v))
			_exit(1); /* without memory for what was served: the master tries again,
				     with back-off */
	}
}

static void slot_attach_up(struct slot *s, unsigned r)
{
	struct up_source *src = &s->up[r];

	src->b = s->b;
	src->stale = -1;
	src->slot = (uint16_t)s->n;
	src->which = (uint8_t)r;
	src->segment_id = s->b->shm.header->id;
	ring_attach_reader(&src->ring, &s->words->up[r], shm_up_data(&s->b->shm, s->n, r),
		s->b->shm.header->sizes.up_size);
	src->retry_below = atomic_load_explicit(&s->words->up[r].head, memory_order_acquire);
}

static void slots_doorbell(void *arg, const void *body, int fd)
{
	struct slot *s = arg;

	(void)body;
	if (fd >= 0)
		close(fd);
	event_active(s->b->again, EV_TIMEOUT, 0);
}

static void slots_bell_gone(void *arg)
{
	struct slot *s = arg;

	/* Most likely the master is dead and the worker too: then we are told by the other channel
	 * soon, and store what the ring holds. */
	chan_free(s->bell);
	s->bell = NULL;
	s->silent_ms = bridge_clock();
}

static const struct chan_handler bell_handlers[] = {
	{PROTO_DOORBELL, 0, slots_doorbell},
	{0, 0, NULL},
};

/* A predecessor's notes. */
static void slot_none_behind(struct slot *s)
{
	for (uint32_t i = 0; i < (s->routes.n + 31) / 32; i++)
		atomic_store_explicit(&s->behind[i], 0, memory_order_relaxed);
	for (unsigned i = 0; i <= STATS_OTHER; i++)
		atomic_store_explicit(&s->words->behind[i], 0, memory_order_relaxed);
}

/* Takes bell, also when it fails. */
int slots_attach(struct bridge *b, unsigned n, int bell, uint64_t generation)
{
	struct slot *s = &b->slots[n];

	s->b = b;
	s->n = n;
	TAILQ_INIT(&s->ended);
	TAILQ_INIT(&s->who_waits);
	s->generation = generation;
	s->words = shm_slot(&b->shm, n);
	s->routes = shm_routes(&b->shm, n);
	shm_changes(&b->shm, n, &s->changes);
	s->behind = shm_behind(&b->shm, n);
	slot_none_behind(s);
	ring_attach_writer(&s->down, &s->words->down, shm_down_data(&b->shm, n),
		b->shm.header->sizes.down_size);
	s->nup = shm_up_rings(&b->shm);
	for (unsigned r = 0; r < s->nup; r++)
		slot_attach_up(s, r);
	s->conns = calloc(s->routes.n, sizeof(struct bconn *));
	s->bell = s->conns ? chan_new(b->base, bell, "worker", bell_handlers, slots_bell_gone, s)
			   : NULL;
	if (!s->bell) {
		free(s->conns);
		s->conns = NULL;
		close(bell);
		return -1;
	}
	s->used = true;
	if (n >= b->nslots)
		b->nslots = n + 1;
	return 0;
}

static void slots_lock(const struct bridge *b)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(b->h->segment, F_SETLK, &lock) < 0)
		log_warn("the segment is locked by another process", kv_errno(errno));
}

int slots_start(struct bridge *b)
{
	static const enum route_state scan_order[] = {ROUTE_OPEN, ROUTE_ENDED, ROUTE_OPENING};

	slots_lock(b);
	b->nslots = b->h->nslots;
	for (unsigned i = 0; i < b->nslots; i++)
		if (b->h->bells[i] >= 0 && shm_slot_used(&b->shm, i) &&
			slots_attach(b, i, b->h->bells[i], b->h->generations[i]) < 0)
			return -1;
	stale_read_all(b);
	b->scanning = true;
	/* Whatever changes from here on is on the list again: taking first, then reading, misses
	 * nothing. */
	for (unsigned i = 0; i < b->nslots; i++) {
		uint32_t list[CHANGES_BATCH];

		while (b->slots[i].used && changes_take(&b->slots[i].changes, list, CHANGES_BATCH))
			;
	}
	/* In this order: who is new begins behind what those before it have confirmed. */
	for (size_t k = 0; k < sizeof(scan_order) / sizeof(scan_order[0]); k++)
		for (unsigned i = 0; i < b->nslots; i++)
			if (b->slots[i].used)
				slot_scan(&b->slots[i], scan_order[k]);
	b->scanning = false;
	slots_read(b);
	for (unsigned i = 0; i < b->nstreams; i++)
		dispatch_opened_all(&b->streams[i]);
	slots_wakeup(b);
	return 0;
}
