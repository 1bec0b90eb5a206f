/*
 * master: the process that starts, watches and ends all others.
 */
#ifndef WSGATE_MASTER_H
#define WSGATE_MASTER_H

#include <stdbool.h>
#include <wsgate/config.h>

/*
 * Runs until the end, and goes to the background first unless told otherwise. The log is open.
 * A reload reads from `source` again. will: what will_take() gave.
 * Returns the exit status: 0 a clean stop, 2 could not start, or a process said that it cannot go
 * on; why is in the log.
 */
int master_run(
	const struct config *c, const struct config_source *source, bool foreground, int will);

#endif
