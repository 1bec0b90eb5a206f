/*
 * brief: what the bridge must know of the workers. Room: master.
 *
 * The life of a slot is a row of numbers: 2g, generation g is up; 2g + 1, it is down. child.told is
 * the last one that the bridge knows: nothing needs a queue, and nothing is told twice or out of
 * order.
 */
#ifndef WSGATE_MASTER_BRIEF_H
#define WSGATE_MASTER_BRIEF_H

#include <stdbool.h>

#include "family.h"

/* Before a new bridge is started: its heritage tells how things are, and from here on it hears of
 * changes. */
void brief_begin(struct family *f);
/* It is ready: it must hear again of dead generations that are not drained. */
void brief_ready(struct family *f);
/* Nobody is to follow in its slot: if it is dead already, the bridge must hear that, too. */
void brief_unwanted(struct child *worker);
/* The bridge says so. */
void brief_drained(struct family *f, const struct proto_slot *s);
/* Whether the ring of the next generation is free. */
bool brief_ring_free(const struct child *worker);
/* Sends what has not been told. False: the bridge takes no more now. */
bool brief_tell(struct family *f) __attribute__((warn_unused_result));

#endif
