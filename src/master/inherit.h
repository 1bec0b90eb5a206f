/*
 * inherit: the program on disk replaces the running one: the part of the new one. Room: master.
 */
#ifndef WSGATE_MASTER_INHERIT_H
#define WSGATE_MASTER_INHERIT_H

#include <stdbool.h>
#include <stddef.h>

#include "family.h"
#include "listen.h"
#include "will.h"

struct inherit {
	struct family *family; /* borrowed */
	/* The bridge is ready: take the rest, and serve. 0; or -1: it cannot, and has said so. */
	int (*serve)(void *arg);
	void *arg;

	int fd;           /* owned: to the old one; -1: none */
	struct event *ev; /* owned */
	struct will_hello hello;
	struct proto_drain drain;  /* begin_ms 0: it takes connections */
	int pidfile, dir, control; /* owned, until somebody takes them and writes -1 */
	struct listen_set set;     /* owned */
	bool prepared;             /* our workers are ready, and the old one knows */
	bool moved;                /* it gives no more */
	bool gone;                 /* it has ended, */
	uint64_t gone_ms;          /* then */
	bool started;              /* our bridge */
	bool serves;
	unsigned narrivals; /* pairs for our workers */
	struct {
		unsigned slot;
		int fd; /* owned */
	} arrivals[HERITAGE_SLOT_MAX];
};

void inherit_init(struct inherit *in);
/* Takes fd, and waits until it has all. 0; or -1 and one line in err. */
int inherit_receive(struct inherit *in, int fd, char *err, size_t errlen)
	__attribute__((warn_unused_result));
/* Whether the configuration names the same places. 0; or -1 and one line. */
int inherit_check(const struct inherit *in, const struct config *c, char *err, size_t errlen)
	__attribute__((warn_unused_result));
/* Goes on with the loop of the family. 0 or -1 with errno. */
int inherit_watch(struct inherit *in) __attribute__((warn_unused_result));
/* All our workers are ready. */
void inherit_ready(struct inherit *in);
/* Something has happened in the family. */
void inherit_look(struct inherit *in);
/* We end, and why. */
void inherit_fail(struct inherit *in, const char *why);
/* Between the start and serve(). */
bool inherit_under_way(const struct inherit *in);
/* In a child, and at the end: closes all. */
void inherit_free(struct inherit *in);

#endif
