/*
 * life: how long a connection may be idle, and how old it may become.
 */
#include <time.h>

#include "worker.h"

void life_begin(struct conn *c)
{
	c->born_s = c->data_s = (uint32_t)(c->w->now_ms / 1000);
}

/* As old as its route says. A wall clock that was set meanwhile counts at most for those who move.
 */
void life_goes_on(struct conn *c, uint32_t opened_s, uint32_t data_s)
{
	uint32_t now_s = (uint32_t)(c->w->now_ms / 1000), age;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	age = (uint32_t)now.tv_sec > opened_s && opened_s ? (uint32_t)now.tv_sec - opened_s : 0;
	c->born_s = age < now_s ? now_s - age : 0;
	c->data_s = data_s && data_s < now_s ? data_s : now_s;
}

static uint64_t life_idle_due(const struct conn *c)
{
	uint64_t idle = c->w->c->limits.idle_timeout;

	return idle && !c->admin ? (c->data_s + UINT64_C(1)) * 1000 + idle : UINT64_MAX;
}

/* 80 to 100 % of the age, by the connection's random name: those who came together do not go
 * together. */
static uint64_t life_age_due(const struct conn *c)
{
	uint64_t age = c->w->c->limits.connection_age;

	return age && !c->echo ? c->born_s * UINT64_C(1000) + age - age / 5 * (c->id % 1024) / 1024
			       : UINT64_MAX;
}

uint64_t life_due(const struct conn *c)
{
	uint64_t idle = life_idle_due(c), age = life_age_due(c);

	return idle < age ? idle : age;
}

const char *life_over(struct conn *c, uint16_t *code)
{
	if (c->w->now_ms >= life_idle_due(c)) {
		stat_add(c->w->slot->stats.limited_idle, 1);
		*code = WS_CODE_GOING_AWAY;
		return "idle for too long";
	}
	if (c->w->now_ms >= life_age_due(c)) {
		stat_add(c->w->slot->stats.limited_age, 1);
		*code = WS_CODE_RESTART;
		return "this connection is old; reconnect now";
	}
	return NULL;
}
