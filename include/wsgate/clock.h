/*
 * clock: readings of a clock (clock_gettime(2)) as one number. Those that are asked here,
 * CLOCK_MONOTONIC and CLOCK_REALTIME (since 1970), and a process's own time never fail. Room: base.
 */
#ifndef WSGATE_CLOCK_H
#define WSGATE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_ns(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline uint64_t clock_us(clockid_t id)
{
	return clock_ns(id) / 1000;
}

static inline uint64_t clock_ms(clockid_t id)
{
	return clock_ns(id) / 1000000;
}

#endif
