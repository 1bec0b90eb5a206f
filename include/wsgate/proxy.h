/*
 * proxy: what a proxy says of its client: the PROXY header, version 1 or 2, in front of all other
 * bytes of a connection, and X-Forwarded-For or Forwarded (RFC 7239) in the request. Who may say it
 * is the caller's affair. No I/O, no allocation. Room: ws.
 */
#ifndef WSGATE_PROXY_H
#define WSGATE_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wsgate/handshake.h>

struct proxy_source {
	bool known; /* false: LOCAL, UNKNOWN, or of a family that is none of ours: the socket's
		       address is it */
	uint8_t addr[16]; /* IPv6, or IPv4-mapped */
	uint16_t port;    /* 0: not said */
};

enum proxy_state { PROXY_MORE, PROXY_DONE, PROXY_FAILED };

#define PROXY_V1_MAX 107            /* with CR LF */
struct proxy_parser {               /* zero it to start */
	uint8_t head[PROXY_V1_MAX]; /* v1: the line; v2: 16 bytes and the addresses */
	uint8_t len;
	uint16_t left; /* v2: bytes to be skipped: what follows the addresses, TLVs */
	bool failed;
};

/*
 * Feeds bytes; *used says how many belong to the header: all of them with MORE, none behind its end
 * with DONE. However the bytes are cut, the outcome is the same.
 */
enum proxy_state proxy_feed(struct proxy_parser *p, const uint8_t *buf, size_t len, size_t *used);
/* After DONE. */
struct proxy_source proxy_source(const struct proxy_parser *p);

/*
 * The chain of addresses of a request, in the order of the header: the last one was written by the
 * proxy that speaks to us. Of a longer one the last PROXY_CHAIN_MAX. A member that names no address
 * ("unknown", "_hidden") is not known. False: malformed.
 */
#define PROXY_CHAIN_MAX 32
struct proxy_chain {
	size_t n;
	struct proxy_source v[PROXY_CHAIN_MAX];
};
bool proxy_x_forwarded_for(const struct handshake *h, struct proxy_chain *out);
bool proxy_forwarded(const struct handshake *h, struct proxy_chain *out);

#endif
