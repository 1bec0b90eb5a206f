/*
 * upgrade: the program on disk replaces the running one: the part of the running one. Room: master.
 *
 *   PREPARES   the new one has been started, and gets what it needs (will.h)
 *   FLUSHES    workers stand still, the bridge stores what it can and ends
 *   GIVES      connections go to the new workers
 *   TAKES      the new one starts its bridge, and serves
 *   LEFT       what could not move drains; then we end
 *
 * Until LEFT a failure of the new one puts everything back: KILLS, then RESUMES.
 */
#ifndef WSGATE_MASTER_UPGRADE_H
#define WSGATE_MASTER_UPGRADE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "control.h"
#include "family.h"
#include "listen.h"
#include "segment.h"

#define UPGRADE_LINE_MAX 512

enum upgrade_state {
	UPGRADE_NONE,
	UPGRADE_PREPARES,
	UPGRADE_FLUSHES,
	UPGRADE_GIVES,
	UPGRADE_TAKES,
	UPGRADE_KILLS,
	UPGRADE_RESUMES,
	UPGRADE_LEFT,
};

struct upgrade {
	struct family *family; /* borrowed, as the next four */
	struct listen_set *listeners;
	struct segment *segment;
	struct control *control;
	const struct config *config; /* of the start: paths */
	int pidfile;                 /* borrowed */
	gid_t gid;
	/* The new one serves: give up what it has now. */
	void (*serves)(void *arg, pid_t pid);
	/* Nothing came of it, or it has ended: reloads may go on. */
	void (*over)(void *arg);
	void *arg;

	enum upgrade_state state;
	pid_t pid;     /* of the new one; 0: none, or it has ended */
	pid_t started; /* the same, also when it has ended */
	int fd;        /* owned: to the new one; -1 */
	int says;      /* owned: its standard error, in the background; -1 */
	struct event *read_ev, *write_ev, *says_ev, *timer; /* owned */
	uint64_t deadline_ms;
	size_t given;                       /* of what it inherits: see upgrade_next() */
	unsigned workers;                   /* of the new one */
	bool foreign;                       /* the new one cannot read our segment */
	bool frozen;                        /* our workers stand still */
	bool stop_asked;                    /* and deferred */
	bool again;                         /* something could not be sent */
	bool failed;                        /* it said so, and ends by itself */
	bool told[HERITAGE_SLOT_MAX];       /* of the word that all workers must hear */
	unsigned givers[HERITAGE_SLOT_MAX]; /* slots */
	uint64_t generations[HERITAGE_SLOT_MAX];
	unsigned ngivers, npairs, pair;
	unsigned more; /* pairs for those who lost theirs */
	int ends[2];   /* owned: a pair on its way: 0 to the new one, 1 to our worker; -1 */
	size_t line_len;
	char line[UPGRADE_LINE_MAX];
};

/* The caller has set everything above `state`. 0 or -1 with errno. */
int upgrade_init(struct upgrade *u) __attribute__((warn_unused_result));
/* Asked for. busy: why not now; NULL: nothing is against it. */
void upgrade_start(struct upgrade *u);
/* Why not; NULL: nothing is against it. The first is for good, the second passes by itself. */
const char *upgrade_never(const struct upgrade *u);
const char *upgrade_waits(const struct upgrade *u);
bool upgrade_under_way(const struct upgrade *u);
/* A stop is asked for. True: it is deferred until it is clear whose it is. */
bool upgrade_stop(struct upgrade *u, bool again);
/* Something has happened in the family. */
void upgrade_look(struct upgrade *u);
void upgrade_ended(struct upgrade *u, pid_t pid, int status);
/* In a child: gives up what hangs on the master's base. */
void upgrade_forget(struct upgrade *u);
void upgrade_free(struct upgrade *u);

#endif
