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
	(void)arg;
	fence_user(value);
	return true;
}

void fence_all(void *arg)
{
	struct bridge *b = arg;

	table_each(&b->users, fence_each, NULL);
}
