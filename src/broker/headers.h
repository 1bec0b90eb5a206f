/*
 * headers: what the server wrote into the headers of a message.
 */
#ifndef WSGATE_HEADERS_H
#define WSGATE_HEADERS_H

#include <stdint.h>

#include "wire.h"

/* Fills in m.seq, m.text, last and status. On a nats.c thread, once for each message. */
void headers_read(natsMsg *msg, struct wire_event *e);

/* The same out of a block of headers that lies elsewhere, and lives as long as the event. */
void headers_block(const char *from, const char *end, struct wire_event *e);

/*
 * "2026-11-28T10:59:34.518016806Z", as direct gets have it, and live copies of younger servers
 * (2.9 sends none with those): nanoseconds since 1970. 0: none that can be read.
 */
uint64_t headers_stamp(const char *text, size_t len);
/* Whose it is, in an answer to a get: "service.user", encoded, out of the subject that the server
 * names, or has. False: it names none of that prefix. Borrowed from the message. */
bool headers_subject(natsMsg *msg, const char *prefix, const char **name, size_t *len);

#endif
