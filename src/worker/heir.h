/*
 * heir: a worker that gets connections of ours: the giver's end of its socket. Room: worker.
 */
#ifndef WSGATE_WORKER_HEIR_H
#define WSGATE_WORKER_HEIR_H

#include "parcel.h"
#include "worker.h"

struct heir {
	struct worker *w;
	int fd;                                /* owned; -1: gone */
	struct event *read_ev, *write_ev;      /* owned */
	struct conn *given[PARCEL_UNANSWERED]; /* state CONN_LEAVING; parcel ids are the places */
	unsigned unanswered;
	uint64_t taken; /* a bit each: so it said, but the order to close it did not go out yet */
	bool past;      /* of an earlier move: it gets nothing more */
	/* A body that did not go out in one piece. */
	uint8_t *body; /* owned; NULL: none */
	size_t body_len, body_sent;
	unsigned body_place;
};

/* Takes fd, also when it fails. 0 or -1 with errno. h is zero, or of one that is gone. */
int heir_open(struct heir *h, struct worker *w, int fd);
/* Forgets what it holds; nobody gets anything back. */
void heir_close(struct heir *h);
bool heir_takes(const struct heir *h);
/* False: it takes no more now, or is gone; c is then as it was, or gone itself. */
bool heir_give(struct heir *h, struct conn *c);
/* An order to close c, which is under way. */
void heir_kick(struct heir *h, struct conn *c, uint16_t code, const char *reason);

/* move.c */
void move_answered(struct worker *w, struct conn *c, bool taken);
void move_heir_gone(struct worker *w);
void move_go_on(struct worker *w);

#endif
