/*
 * notes: the last warnings and errors of a process, in shared memory, for whoever looks. One
 * writer. Room: ipc.
 */
#ifndef WSGATE_NOTES_H
#define WSGATE_NOTES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wsgate/proto.h>

#define NOTES_N 8

struct note {
	_Atomic uint32_t version; /* odd: being written */
	struct proto_note n;
};
struct notes {
	_Atomic uint64_t written; /* the next one goes to that number modulo NOTES_N */
	struct note v[NOTES_N];
};

/* text: a line as the log has it, escaped; cut where it is too long. */
void notes_make(struct proto_note *n, bool error, const char *text, size_t len);
/* As a callee of log_tap(): notes is a struct notes. Any thread of one process. */
void notes_tap(void *notes, bool error, const char *text, size_t len);
/* The latest first. Returns how many. */
size_t notes_read(const struct notes *notes, struct proto_note out[NOTES_N]);

#endif
