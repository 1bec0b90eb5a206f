/*
 * pairs: the sockets over which our workers give their connections to those of the new program: a
 * pair is made, one end goes to each side. Room: master; upgrade.c alone calls it.
 */
#ifndef WSGATE_MASTER_PAIRS_H
#define WSGATE_MASTER_PAIRS_H

#include "upgrade.h"

/* All that are due. 1: done; 0: somebody takes no more now, again later; -1: the new one is gone.
 */
int pairs_give(struct upgrade *u);
/* Our nth giver is still the one that began. */
bool pairs_gives(const struct upgrade *u, unsigned n);

#endif
