/*
 * reload: a new configuration for a running family. All is read, checked and opened first; a fault
 * changes nothing. Then it is applied, and the answers are counted. Room: master.
 */
#ifndef WSGATE_MASTER_RELOAD_H
#define WSGATE_MASTER_RELOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <wsgate/config.h>
#include <wsgate/vault.h>

#include "family.h"
#include "listen.h"
#include "segment.h"

#define RELOAD_TEXT_MAX 1024

struct reload {
	struct family *family; /* borrowed, as the next three */
	struct listen_set *listeners;
	struct segment *segment;
	const struct config_source *source;
	bool background;
	const char *blocked;                      /* why none can be now; NULL: it can */
	void (*done)(void *arg, uint64_t number); /* that one has ended */
	void *arg;

	struct config *own; /* owned: the family's configuration; NULL: it is the first one */
	struct vault keys;  /* owned: what the family's configuration names */
	struct vault next_keys;
	struct event *timer;       /* owned */
	uint64_t number;           /* of the one under way, or the last one */
	bool busy, again;          /* again: one more was asked for meanwhile */
	unsigned fresh;            /* slots from here on are new: they must get ready */
	unsigned active;           /* so many workers it asks for */
	unsigned changed, restart; /* keys */
	struct listen_set next, retired;
	int tls; /* owned: what the new tls sections name; -1: none */
	/* the outcome of the last one */
	uint64_t ended_ms; /* since 1970; 0: none so far */
	bool failed;
	char text[RELOAD_TEXT_MAX];
};

/* The caller has set everything above `own`. 0 or -1 with errno. */
int reload_init(struct reload *r) __attribute__((warn_unused_result));
/* Asks for one. Returns its number; one that is under way may have read the files too early. */
uint64_t reload_start(struct reload *r);
/* Something has happened in the family. */
void reload_look(struct reload *r);
/* Opens the log again, and all processes follow. */
void reload_log(struct reload *r);
void reload_log_file(struct reload *r); /* the same, if it is a file */
/* In a child: gives up the timer. */
void reload_forget(struct reload *r);
void reload_free(struct reload *r);

#endif
