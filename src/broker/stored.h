/*
 * stored: a message of the stream as its leader answers it ($JS.API.STREAM.MSG.GET): a document,
 * with headers and payload in base64.
 */
#ifndef WSGATE_STORED_H
#define WSGATE_STORED_H

#include "wire.h"

/* Any thread. Makes of such an answer what a direct get brings: message, seq and stamp, or status.
 * What is no such answer, or finds no memory, stays as it is: an answer without either. */
void stored_read(struct wire_event *e);

#endif
