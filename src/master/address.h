/*
 * address: where a TCP socket of ours is bound. Room: master.
 */
#ifndef WSGATE_MASTER_ADDRESS_H
#define WSGATE_MASTER_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct address {
	struct sockaddr_storage ss;
	socklen_t len;
};

/* "1.2.3.4:80", "[::1]:80" */
void address_name(const struct address *a, char *out, size_t outlen);
/* Bound, not yet listening. -1 with errno. */
int address_bind(const struct address *a, bool reuseport);
/*
 * SO_REUSEPORT sockets of one user do not collide, whosoever they are: a bind without it tells
 * whether the port is taken. The probe stays until ours are bound, and it learns what port 0
 * becomes.
 */
int address_probe(struct address *a, unsigned patience_ms);
/* The same port, of all addresses and of one of them, or of all in both. */
bool address_beside(const struct address *a, const struct address *b);

#endif
