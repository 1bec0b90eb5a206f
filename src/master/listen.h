/*
 * listen: the sockets that clients reach us by. Made by the master and kept by it, so that the
 * accept queue of a dead worker waits for its successor; workers get copies over fork. Room:
 * master.
 */
#ifndef WSGATE_MASTER_LISTEN_H
#define WSGATE_MASTER_LISTEN_H

#include <stddef.h>
#include <wsgate/config.h>
#include <wsgate/heritage.h>

struct listen_set {
	unsigned nslots;
	size_t n;                                        /* addresses */
	int fds[HERITAGE_LISTEN_MAX][HERITAGE_SLOT_MAX]; /* owned; by address and slot */
	char names[HERITAGE_LISTEN_MAX]
		  [64];      /* as bound: numbers, and the port that port 0 became */
	int admin;           /* owned; -1: none */
	char admin_name[64]; /* "" : none */
};

/*
 * Opens one SO_REUSEPORT socket per address of config->listen and slot, and the admin listener.
 * A port that another program has is tried for patience_ms: orphans of a dead master may still be
 * leaving. 0; or -1 and one line in err, and nothing is left open. nslots is at most
 * HERITAGE_SLOT_MAX.
 */
int listen_open(struct listen_set *l, const struct config *c, unsigned nslots, unsigned patience_ms,
	char *err, size_t errlen) __attribute__((warn_unused_result));
void listen_close(struct listen_set *l);

#endif
