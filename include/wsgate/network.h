/*
 * network: addresses and networks in CIDR form. An IPv4 address is kept IPv4-mapped, as everywhere.
 * Room: base.
 */
#ifndef WSGATE_NETWORK_H
#define WSGATE_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct network {
	uint8_t addr[16];
	uint8_t bits; /* of all 128: 10.0.0.0/8 has 104 */
};

/* "192.0.2.1", "2001:db8::1"; no zone, no brackets. False: none. */
bool network_address(const char *s, size_t len, uint8_t out[16]);
/* "10.0.0.0/8", "2001:db8::/32", or an address alone. False: none, or bits are set behind the
 * prefix. */
bool network_parse(const char *s, struct network *out);
bool network_listed(const struct network *list, size_t n, const uint8_t addr[16]);

#endif
