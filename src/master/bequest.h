/*
 * bequest: what a program inherits from the one that it replaces, piece by piece. Room: master.
 */
#ifndef WSGATE_MASTER_BEQUEST_H
#define WSGATE_MASTER_BEQUEST_H

#include <stddef.h>

struct upgrade;
struct will;

/* Number n = 0, 1, … up to the one of type WILL_COMPLETE. Returns the descriptor that goes with it,
 * borrowed, or -1. */
int bequest(const struct upgrade *u, size_t n, struct will *w);

#endif
