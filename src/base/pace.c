/* pace: see pace.h. */
#include <wsgate/clock.h>
#include <wsgate/pace.h>

#define TURN_NS UINT64_C(1000000)
#define COUNT_NS (10 * TURN_NS)
#define SECOND_NS UINT64_C(1000000000)

void pace_start(struct pace *p, uint32_t from)
{
	*p = (struct pace){.from = from};
	p->began_ns = p->since_ns = clock_ns(CLOCK_MONOTONIC);
}

static void judge(struct pace *p, uint64_t now)
{
	uint64_t span = now - p->since_ns;

	if (span < COUNT_NS)
		return;
	p->on = p->came * SECOND_NS / span >= p->from;
	p->came = 0;
	p->since_ns = now;
}

void pace_rest(struct pace *p)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC), until = p->began_ns + TURN_NS;
	struct timespec at = {(time_t)(until / SECOND_NS), (long)(until % SECOND_NS)};

	judge(p, now);
	p->began_ns = now;
	if (!p->on || now >= until)
		return;
	/* A signal ends it early: so be it. */
	(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
	p->began_ns = until;
}
