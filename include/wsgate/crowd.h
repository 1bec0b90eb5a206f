/*
 * crowd: how many connections each client address has. A table for each worker slot in shared
 * memory, written by its worker alone; who wants to know how many there are in all reads those of
 * all living workers. Room: ipc.
 *
 * Open addressing within a window: an address stands in one of CROWD_WINDOW entries from its hash
 * on, so a look never takes longer, and nothing is ever moved. An entry whose count is 0 is free
 * for another address, but its key stays: a look ends at the first entry that never had one.
 */
#ifndef WSGATE_CROWD_H
#define WSGATE_CROWD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CROWD_WINDOW 64

struct crowd_entry {
	_Atomic uint64_t key; /* 0: never used */
	_Atomic uint32_t count;
	uint32_t reserved;
};
_Static_assert(sizeof(struct crowd_entry) == 16, "layout");

struct crowd { /* process-local view */
	struct crowd_entry *entries;
	uint32_t size;   /* a power of two, at least CROWD_WINDOW */
	uint64_t secret; /* of the segment: nobody outside can choose addresses that meet */
};

/* At least twice as many entries as a worker has places for connections. */
uint32_t crowd_size_for(uint32_t routes);
/* What counts as one address: an IPv4 address, or an IPv6 /64. Never 0. */
uint64_t crowd_key(const uint8_t addr[16]);
/* The owner. False: no entry is free in its window. */
bool crowd_enter(const struct crowd *c, uint64_t key);
void crowd_leave(const struct crowd *c, uint64_t key);
void crowd_clear(const struct crowd *c);
/* Anybody. */
uint32_t crowd_count(const struct crowd *c, uint64_t key);

#endif
