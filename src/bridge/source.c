#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <wsgate/clock.h>
#include <wsgate/log.h>

#include "bridge.h"

/* Nothing is left there that could be read. */
bool source_empty(const struct up_source *src)
{
	return !src->first && (src->broken || !ring_used(src->ring.words));
}

/* It costs the worker that wrote it alone. Its pid is read from shared memory, too: only a
 * sibling's is believed. */
static void source_damaged(struct up_source *src)
{
	struct bridge *b = src->b;
	struct slot *s = src->stale < 0 ? &b->slots[src->slot] : NULL;
	uint32_t pid =
		s && shm_up_ring(atomic_load(&s->words->generation)) == src->which % SHM_UP_RINGS
			? atomic_load(&s->words->pid)
			: 0;

	log_error("up ring is damaged: the rest of it is lost", kv_uint("slot", src->slot),
		kv_uint("pos", src->ring.pos), kv_uint("pid", pid));
	src->broken = !ring_skip(&src->ring);
	if (!src->first && !src->broken)
		ring_release(&src->ring, src->ring.pos);
	if (pid > 1 && (pid_t)pid != b->h->master && (pid_t)pid != getpid() &&
		getpgid((pid_t)pid) == getpgrp())
		kill((pid_t)pid, SIGKILL);
}

bool source_unread(const struct up_source *src)
{
	return !src->broken &&
	       atomic_load_explicit(&src->ring.words->head, memory_order_acquire) != src->ring.pos;
}

/* False: nothing is to be read there now. */
static bool source_peek(struct up_source *src, uint64_t until, struct up_next *out)
{
	enum ring_read r = src->broken ? RING_EMPTY : publish_peek(src, out);

	if (r == RING_RECORD && out->v.r.stamp <= until)
		return true;
	/* Nobody has written after now. */
	if (r == RING_CORRUPT || (r == RING_RECORD && out->v.r.stamp > clock_ns(CLOCK_MONOTONIC)))
		source_damaged(src);
	return false;
}

static void source_check_drained(const struct up_source *src)
{
	if (src->stale < 0)
		slots_check_drained(&src->b->slots[src->slot], src->which % SHM_UP_RINGS);
}

static void source_pause(struct up_source *src)
{
	if (!src->broken && !src->first &&
		src->ring.pos !=
			atomic_load_explicit(&src->ring.words->tail, memory_order_relaxed)) {
		ring_release(&src->ring, src->ring.pos); /* a pad at the end, or questions */
		slots_released(src);
	}
	source_check_drained(src);
}

/* The oldest of n; *rest: the stamp of the oldest of the others. */
static struct up_next *sources_oldest(struct up_next *next, size_t n, uint64_t *rest)
{
	struct up_next *oldest = next;

	*rest = UINT64_MAX;
	for (size_t i = 1; i < n; i++) {
		struct up_next *other = &next[i];

		if (other->v.r.stamp < oldest->v.r.stamp) {
			other = oldest;
			oldest = &next[i];
		}
		if (other->v.r.stamp < *rest)
			*rest = other->v.r.stamp;
	}
	return oldest;
}

void sources_read(struct bridge *b, struct up_source **list, size_t n, uint64_t until)
{
	static struct up_next *next; /* kept */
	static size_t cap;
	size_t k = 0;

	if (n > cap) {
		struct up_next *bigger = reallocarray(next, n, sizeof(*next));

		if (!bigger) {
			b->starved = true;
			return;
		}
		next = bigger;
		cap = n;
	}
	for (size_t i = 0; i < n && !b->starved; i++)
		k += source_peek(list[i], until, &next[k]);
	while (k && !b->starved) {
		uint64_t rest;
		struct up_next *at = sources_oldest(next, k, &rest);
		bool more = true;

		while (more && at->v.r.stamp <= rest) {
			b->starved = !publish_next_record(at);
			if (b->starved)
				break;
			more = source_peek(at->src, until, at);
		}
		if (!more)
			*at = next[--k];
	}
	for (size_t i = 0; i < n; i++)
		source_pause(list[i]);
}
