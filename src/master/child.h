/*
 * child: one process of the family: its row in the table, its birth and its last words. Room:
 * master.
 *
 * Signals in a child: TERM, INT, HUP, QUIT and USR2 are ignored, because a terminal sends its own
 * to the whole group and the master alone decides; so are USR1 and PIPE; all others are as the
 * kernel has them. An orphan learns of it by the end of its control channel.
 */
#ifndef WSGATE_MASTER_CHILD_H
#define WSGATE_MASTER_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <wsgate/chan.h>
#include <wsgate/config.h>
#include <wsgate/heritage.h>
#include <wsgate/shm.h>

#include "confine.h"
#include "handover.h"

enum child_kind { CHILD_BRIDGE, CHILD_WORKER, CHILD_KINDS };

/* The processes, in the order in which they start. */
struct child_row {
	const char *name;
	int (*entry)(const struct heritage *h);
	uint32_t (*count)(const struct config *c); /* NULL: one, whose title has no number */
	enum confine_who calls;                    /* which system calls it may make */
};
extern const struct child_row child_table[CHILD_KINDS];

/* A listener that it has. */
struct child_listen {
	uint32_t id;
	bool admin, again; /* with the next ones it is sent once more */
};

struct family;
struct child {
	struct family *family;
	const struct child_row *row;
	unsigned slot;
	char name[24];       /* "bridge", "worker 0": in logs and titles */
	pid_t pid;           /* 0: none runs */
	struct chan *chan;   /* owned; NULL: closed by the child, or none runs */
	struct said *said;   /* owned; NULL: nobody hears its standard error */
	uint64_t generation; /* of the one that runs or ran last; 0: none so far */
	uint64_t started_ms, beat_ms;
	uint64_t kill_ms;  /* SIGKILL is due then; 0: no */
	uint64_t start_ms; /* the next start is due then; 0: none wanted */
	uint64_t backoff_ms;
	uint64_t stop_drain_ms;
	uint32_t stop_delay_ms;
	unsigned failures; /* ends before it was ever ready */
	int status;        /* of waitpid(), when exited */
	bool ready, was_ready, exited, waits, killed;
	bool stop_wanted; /* PROTO_STOP is still to be sent */
	bool restart;     /* it says: clients are to come back at once */
	bool dismissed;   /* asked to end, and the others go on */
	/* see news.h: what it was told, or born with */
	uint64_t config_told, config_applied; /* serials */
	uint64_t log_told, tickets_told, deeds_told, trace_told, drain_told;
	uint64_t sync_told, synced;   /* serials */
	struct child_listen *listens; /* owned */
	size_t nlistens, listens_room;
	uint64_t listens_told; /* serial */
	bool faulty;           /* it said that the last configuration could not be applied: fault */
	char fault[PROTO_FAULT_MAX];
	/* a worker's: see brief.h */
	uint64_t told;
	uint64_t repeat[SHM_UP_RINGS];  /* by ring: dead, to be told again; 0: none */
	uint64_t drained[SHM_UP_RINGS]; /* by ring: the last generation that the bridge drained */
	bool introduced;                /* the bridge has the slot */
	struct handover handover;
	struct proto_moved moved; /* the last that it said; gave: it did */
	bool gave, shut;          /* shut: PROTO_SHUT */
	bool heirless;            /* it said so, and gets others */
};

void child_init(struct child *c, struct family *f, enum child_kind kind, unsigned slot);
void child_free(struct child *c);
/* It can be told something. */
static inline bool child_lives(const struct child *c)
{
	return c->pid && !c->exited && c->chan;
}
/* Starts it, with the next generation. 0; or -1: logged, and nothing has changed. */
int child_spawn(struct child *c, const struct chan_handler *handlers, void (*gone)(void *arg));
/* How it ended, as a line in the log. expected: it was asked to. */
void child_last_words(const struct child *c, bool expected);

#endif
