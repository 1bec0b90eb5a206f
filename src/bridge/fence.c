/*
 * fence: connections that may lack messages, because other gateways did not know of them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bridge.h"

#define FENCE_SECONDS 5 /* over which clients are asked to come back */

void fence_user(void *owner)
{
	char reason[64];

	snprintf(reason, sizeof(reason), "this gateway was cut off; reconnect in %u s",
		1 + (unsigned)rand() % FENCE_SECONDS);
	(void)dispatch_kick_user(owner, 1012, reason);
}

static bool fence_each(void *value, void *arg)
{
	struct buser *u = value;

	if (u->s == arg)
		fence_user(u);
	return true;
}

void fence_stream(void *stream)
{
	struct bstream *s = stream;

	table_each(&s->b->users, fence_each, s);
}
