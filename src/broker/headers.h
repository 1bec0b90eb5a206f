/*
 * headers: what the server wrote into the headers of a message.
 */
#ifndef WSGATE_HEADERS_H
#define WSGATE_HEADERS_H

#include "wire.h"

/* Fills in m.seq, m.text, last and status. On a nats.c thread, once for each message. */
void headers_read(natsMsg *msg, struct wire_event *e);

#endif
