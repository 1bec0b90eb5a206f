/*
 * job: who wants a direct get, and whose turn it is. Queues that have something new to read come
 * before those that are only looked at, but not always: one in TURNS is the others'.
 */
#include "parts.h"

#define SOON_MS 5
#define HELD_MS 50 /* or twice what another gateway's answer took of late, up to */
#define HELD_MAX_MS 500
#define LATER_MS 250

static uint32_t held_ms(const struct gates *g)
{
	uint64_t ms = 2 * g->far_ms;

	return ms < HELD_MS ? HELD_MS : ms > HELD_MAX_MS ? HELD_MAX_MS : (uint32_t)ms;
}

void job_move(struct broker *b, struct job *j, enum job_state to)
{
	if (j->state < JOB_LISTS && j->state != JOB_IDLE)
		TAILQ_REMOVE(&b->jobs[j->state], j, link);
	j->state = (uint8_t)to;
	if (to == JOB_IDLE || to == JOB_FLYING)
		return;
	if (to >= JOB_SOON && to <= JOB_LATER) {
		j->due = (uint32_t)b->now_ms + (to == JOB_SOON          ? SOON_MS
						       : to == JOB_HELD ? held_ms(&b->gates)
									: LATER_MS);
		broker_hurry(b);
	}
	TAILQ_INSERT_TAIL(&b->jobs[to], j, link);
}

struct broker_queue *job_queue(struct job *j)
{
	if (j->reread)
		return ((struct reread *)(void *)j)->q;
	return (struct broker_queue *)(void *)((char *)j - offsetof(struct broker_queue, job));
}
