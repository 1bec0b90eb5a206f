#include <signal.h>
#include <unistd.h>

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

static void source_check_drained(const struct up_source *src)
{
	if (src->stale < 0)
		slots_check_drained(&src->b->slots[src->slot], src->which % SHM_UP_RINGS);
}

void source_read(struct up_source *src)
{
	if (src->broken) {
		source_check_drained(src);
		return;
	}
	if (!publish_read(src))
		source_damaged(src);
	else if (!src->first && src->ring.pos != atomic_load_explicit(&src->ring.words->tail,
							 memory_order_relaxed))
		ring_release(&src->ring, src->ring.pos); /* a pad at the end */
	source_check_drained(src);
}
