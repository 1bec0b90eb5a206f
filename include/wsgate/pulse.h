/*
 * pulse: what a process notes of itself in shared memory: how long events wait for their turn,
 * memory, descriptors, processor time. Room: ipc.
 */
#ifndef WSGATE_PULSE_H
#define WSGATE_PULSE_H

#include <wsgate/stats.h>

struct event_base;
struct pulse;

/* Runs on base until pulse_free(). NULL: no memory. */
struct pulse *pulse_new(struct event_base *base, struct process_stats *out);
void pulse_free(struct pulse *p); /* NULL is fine */

#endif
