/* What comes to the server's end of a rig (tls_rig.h) that has no OpenSSL any more. */
#ifndef WSGATE_TEST_SEAL_RIG_H
#define WSGATE_TEST_SEAL_RIG_H

#include <wsgate/seal.h>
#include "tls_rig.h"

extern uint8_t seal_in[64 * 1024], seal_out[SEAL_FRONT + SEAL_DATA_MAX + SEAL_BEHIND];
extern const char *seal_why;
extern bool seal_more;
/* A connection without a handshake. */
extern const struct seal_state seal_fresh;

ssize_t seal_receive(struct seal *s);
/* And stays one. */
void seal_is_fault(struct seal *s, const char *text);
void seal_send(struct seal *s, const char *text);

#endif
