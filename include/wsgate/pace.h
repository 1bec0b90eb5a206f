/*
 * pace: who is woken for each of many small things pays more for the waking than for them
 * (measured: test/bench/RESULTS.md). While they come fast, its turns begin a millisecond apart at
 * least, and each takes all that came meanwhile. Room: base. Of one thread.
 */
#ifndef WSGATE_PACE_H
#define WSGATE_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct pace {
	uint64_t began_ns; /* this turn */
	uint64_t since_ns; /* what came is counted */
	uint32_t came;
	uint32_t from; /* so many a second are many */
	bool on;
};

void pace_start(struct pace *p, uint32_t from);

static inline void pace_count(struct pace *p, uint32_t n)
{
	p->came += n;
}

/* Many came, of late: what comes next may wait for the next turn. */
static inline bool pace_on(const struct pace *p)
{
	return p->on;
}

/* At the end of a turn: sleeps for what is left of its millisecond, when many come. */
void pace_rest(struct pace *p);

#endif
