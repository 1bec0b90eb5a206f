/*
 * ears: what the gateway under test says to others, and what the test says in their names.
 */
#ifndef EARS_H
#define EARS_H

#include "nats_rig.h"

#define FIRST UINT64_C(1)                 /* before any real one: it removes */
#define LAST UINT64_C(0xfffffffffffffffe) /* behind any: this one removes */
#define LEASE 1000

extern struct ears {
	natsSubscription *beats, *words;
	uint64_t id, inc, beat; /* of the real one, as it says them */
	uint32_t losses;        /* of the last one in its beat */
	uint64_t heard;
	bool leaves, urgent;
	char word[8];
	uint64_t mark, news, least;
	unsigned age;
	int hellos, heres, marks, byes;
} ears;

struct rig *rig_with_ears(const char *extra);
void rig_without_ears(struct rig *r);
/* Takes in what the real one has said until now. */
void listen_to(struct rig *r);

#define hear_until(r, condition)                                                                   \
	do {                                                                                       \
		listen_to(r);                                                                      \
		rig_until(r, (listen_to(r), (condition)));                                         \
	} while (0)

/* As another gateway would. */
void say(struct rig *r, const char *subject, const char *text);
/* A word about the user "ann". */
void word(struct rig *r, const char *what, uint64_t id, uint64_t mark);
/* The answer of one that learns of somebody now (news; 0: it knew), and whose mark moved so many ms
 * ago. */
void late_here(struct rig *r, uint64_t id, uint64_t mark, unsigned age, uint64_t news);
/* The answer of one whose mark is not the least that it knows. */
void here_for(struct rig *r, uint64_t id, uint64_t mark, uint64_t least);
/* Its last beat: it leaves in good order. */
void leave(struct rig *r, uint64_t id, uint64_t n);
/* A beat of another one that has heard all of ours up to echo. */
void beat(struct rig *r, uint64_t id, uint64_t n, uint64_t echo, unsigned losses);
/* Waits until the real one has said a beat that begins now, and echoes it. */
void echo_next(struct rig *r, uint64_t id, uint64_t n);
/* Beat by beat, until it waits for no echo any more: a hello is repeated. n: of the first of ours.
 */
void echo_all(struct rig *r, uint64_t id, uint64_t n);

#endif
