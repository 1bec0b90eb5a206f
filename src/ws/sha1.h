/* FIPS 180-4. For Sec-WebSocket-Accept, which is no secret and guards nothing. */
#ifndef WS_SHA1_H
#define WS_SHA1_H

#include <stddef.h>
#include <stdint.h>

#define SHA1_BYTES 20

void sha1(const void *data, size_t len, uint8_t out[SHA1_BYTES]);

#endif
