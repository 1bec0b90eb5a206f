/*
 * follow: trace contexts, and the user who is followed. Room: worker.
 */
#ifndef WSGATE_WORKER_FOLLOW_H
#define WSGATE_WORKER_FOLLOW_H

#include <wsgate/trace.h>

#include "worker.h"

void follow_begin(struct conn *c);                                /* of a request that was let in */
void follow_adopt(struct conn *c, const struct trace_context *t); /* of another worker; 0: none */
/* Of the next message: writes sizeof(struct trace_context) bytes. c has a trace. */
void follow_context(struct conn *c, void *to);

/* What it takes of a record. */
static inline uint8_t follow_trace_len(const struct conn *c, uint16_t type)
{
	return c->trace && type == UP_MESSAGE ? sizeof(*c->trace) : 0;
}

/* Only when trace_wants(). */
void follow_up(const struct conn *c, const struct up_record *r, uint64_t end);
void follow_down(const struct conn *c, const struct down_message *m);
void follow_confirmed(const struct conn *c, uint64_t seq);

static inline bool follow_wants(const struct conn *c)
{
	struct identity who;

	if (!__builtin_expect(trace_on, 0) || c->route == NO_ROUTE)
		return false;
	who = place_identity(c);
	return trace_is(&who);
}

#endif
