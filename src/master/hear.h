/*
 * hear: what children say to the master. Room: master.
 */
#ifndef WSGATE_MASTER_HEAR_H
#define WSGATE_MASTER_HEAR_H

#include <wsgate/chan.h>

extern const struct chan_handler hear_bridge[], hear_worker[];
/* The end of a child's channel. */
void hear_gone(void *child);

#endif
