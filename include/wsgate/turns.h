/*
 * turns: the event loop of a worker and of the bridge. Room: ipc.
 */
#ifndef WSGATE_TURNS_H
#define WSGATE_TURNS_H

#include <wsgate/pace.h>

struct event;
struct event_base;

/*
 * A loop in which an event that is made active in its own callback, and again, does not keep
 * sockets and timers waiting: libevent 2.1 by itself goes on with it as long as it is active
 * (measured: a thousand times, and a pipe that was readable had no turn). NULL: no memory.
 */
struct event_base *turns_new(void);
/* event_base_dispatch(), and at the end of each turn pace_rest(). */
int turns_run(struct event_base *base, struct pace *p);
/* In the next turn, after what sockets and timers have brought. -1: no memory. */
int turns_next(struct event *ev);

#endif
