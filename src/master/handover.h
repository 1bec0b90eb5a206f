/*
 * handover: fewer workers. A surplus one gives its listeners and then its connections to the
 * others, waits for those that cannot move, and ends; its slot is idle until more are wanted again.
 * One that waits goes on as before when it is wanted again. Room: master.
 *
 * Closing one of several SO_REUSEPORT sockets resets what waits in it: the listeners of an idle
 * slot are lent to a worker that lives, and given back when the slot has one of its own.
 */
#ifndef WSGATE_MASTER_HANDOVER_H
#define WSGATE_MASTER_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

#define HANDOVER_HEIRS 4

enum handover_state {
	HANDOVER_NONE,
	HANDOVER_RESUMES, /* it is wanted again, and about to be told */
	HANDOVER_WANTED,  /* waits: another one gives to it */
	HANDOVER_RETIRES, /* others have its listeners, or will: PROTO_RETIRE is due */
	HANDOVER_GIVES,   /* heirs are made, then it says PROTO_MOVED */
	HANDOVER_STAYS,   /* what has TLS cannot move: it ends by itself, and takes its time */
	HANDOVER_STOPS,   /* the rest drains */
};

struct handover_heir {
	unsigned slot;
	uint64_t generation;
};

struct handover {
	enum handover_state state;
	unsigned nheirs;
	bool begun;  /* it was told the last of them */
	int pair[2]; /* owned, on their way: 0 to the giver, 1 to the heir; -1: none, or sent */
	struct handover_heir to; /* whose pair that is */
	struct handover_heir heirs[HANDOVER_HEIRS];
};

struct child;
struct family;

/* So many workers are wanted from here on: slots 0 … active-1, which the family has. */
void handover_resize(struct family *f, unsigned active, uint64_t now);
/* What has become possible; which listeners are lent, and to whom. */
void handover_look(struct family *f, uint64_t now);
/* Sends what is due. False: somebody takes no more now. */
bool handover_tell(struct family *f) __attribute__((warn_unused_result));
/* A worker is dead. True: its next start is decided: none, or at once. */
bool handover_lost(struct child *c, uint64_t now);
/* Whether it is on its way out, and has no listeners. */
bool handover_retires(const struct child *c);
/* All were told to go on. */
void handover_retire_again(struct family *f);
/* It gives, or is about to; not one that only waits for the ends of those that stay. */
bool handover_moves(const struct handover *h);
/* Closes what is open. */
void handover_end(struct handover *h);

#endif
