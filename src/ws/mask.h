/*
 * mask: RFC 6455 5.3 over many bytes. Room: ws.
 */
#ifndef WSGATE_WS_MASK_H
#define WSGATE_WS_MASK_H

#include <stddef.h>
#include <stdint.h>
#include "vector.h"

/* In place; p[0] goes with mask[0]. Nothing is read or written beyond len. */
void mask_apply(enum vector v, const uint8_t mask[4], uint8_t *p, size_t len);

#endif
