/*
 * segment: the shared-memory file as the master sees it: its place in runtime_dir, the lock on that
 * folder, and what dead masters left there. Room: master.
 *
 *   runtime_dir/segment.<hex id>    the file
 *   runtime_dir/segment             symbolic link to the one in use, for wsgatectl
 */
#ifndef WSGATE_MASTER_SEGMENT_H
#define WSGATE_MASTER_SEGMENT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <wsgate/config.h>
#include <wsgate/heritage.h>
#include <wsgate/shm.h>

#define SEGMENT_NAME_MAX 64

struct segment_stale {
	int fd; /* owned; -1: drained, and gone */
	uint64_t created_ms;
	bool foreign; /* of another layout: only shm_read_streams() can read it */
	char name[SEGMENT_NAME_MAX];
};

struct segment {
	int dir; /* owned; holds the lock on runtime_dir */
	int fd;  /* owned */
	char name[SEGMENT_NAME_MAX];
	bool linked;     /* the link is ours */
	bool left;       /* to another master: all files stay */
	int predecessor; /* index into stale: the segment of the master that we replaced; -1: none
			  */
	unsigned nslots;
	struct shm_sizes sizes;
	size_t nstale;
	struct segment_stale
		stale[HERITAGE_STALE_MAX]; /* oldest first: so are their messages published */
};

/* What the configuration asks for. */
void segment_sizes(const struct config *c, unsigned nslots, struct shm_sizes *out);
/* Opens runtime_dir, and makes it when it is missing. 0; or -1 and one line in err. First of all.
 */
int segment_dir(struct segment *s, const struct config *c, uid_t uid, gid_t gid, char *err,
	size_t errlen) __attribute__((warn_unused_result));
/*
 * Instead of both: the folder of a master that is to be replaced, with its lock, and the name of
 * its segment. 0; or -1 and one line. Takes dir, also when it fails.
 */
int segment_inherit(struct segment *s, int dir, const char *name, char *err, size_t errlen)
	__attribute__((warn_unused_result));
/* Locks it against a second master. 0; or -1 and one line. */
int segment_lock(struct segment *s, const struct config *c, char *err, size_t errlen)
	__attribute__((warn_unused_result));
/* After segment_lock(): finds the stale ones, makes ours, prepares nslots slots. 0; or -1 and one
 * line. segment_publish() then lets it be found. */
int segment_open(struct segment *s, const struct config *c, unsigned nslots, uid_t uid, gid_t gid,
	char *err, size_t errlen) __attribute__((warn_unused_result));
/* Prepares more slots. 0; or -1 and one line, and there are no more than before. */
int segment_grow(struct segment *s, const struct config *c, unsigned nslots, char *err,
	size_t errlen) __attribute__((warn_unused_result));
/* Gives those behind the first nslots back, which nobody has used. */
void segment_shrink(struct segment *s, unsigned nslots);
/* Makes the link. 0 or -1 with errno. */
int segment_publish(struct segment *s) __attribute__((warn_unused_result));
/* What a master that failed to replace us, and is dead with all its children, left: empty, it is
 * removed; else it is one more stale one for the next bridge. */
void segment_find_failed(struct segment *s, pid_t master);
/* Whether another process holds a lock on ours. */
bool segment_locked(const struct segment *s);
bool segment_predecessor_locked(const struct segment *s);
/* No message is left in ours. Nobody writes there any more. */
bool segment_stored(const struct segment *s);
/* The predecessor is done with: it has emptied its segment itself, and removes it. */
void segment_forget_predecessor(struct segment *s);
/* The folder is another master's now, and so is its lock. */
void segment_leave(struct segment *s);
/* The bridge has stored all that stale segment i held. */
void segment_stale_drained(struct segment *s, size_t i);
/* When no process uses it any more: unlinks it if no message is left in it, else says so. Also
 * after a failed open. */
void segment_close(struct segment *s);

#endif
