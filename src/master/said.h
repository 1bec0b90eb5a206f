/*
 * said: what a child writes to its standard error, when nobody else sees it. Its own lines go to
 * the log by themselves; this is for what libc, a library or a sanitizer says before it ends a
 * process.
 */
#ifndef WSGATE_MASTER_SAID_H
#define WSGATE_MASTER_SAID_H

#include <event2/event.h>

struct said;
/* fd is the reading end of a pipe, which is taken; child is borrowed. NULL: no memory, and fd stays
 * the caller's. */
struct said *said_new(struct event_base *base, const char *child, int fd);
/* Puts into the log what is there, to the last byte. */
void said_flush(struct said *s);
void said_free(struct said *s); /* NULL is fine */

#endif
