/*
 * utf8_blocks: UTF-8 by the vector. Room: ws.
 */
#ifndef WSGATE_WS_UTF8_BLOCKS_H
#define WSGATE_WS_UTF8_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wsgate/utf8.h>
#include "vector.h"

/* utf8_feed() in one make. */
bool utf8_feed_as(enum vector v, utf8_state *state, const uint8_t *data, size_t len)
	__attribute__((warn_unused_result));

/* Whether these bytes are whole characters. VECTOR_256 alone. */
bool utf8_blocks_valid(const uint8_t *data, size_t len);

#endif
