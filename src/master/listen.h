/*
 * listen: the sockets that clients reach us by. Made by the master and kept by it, so that the
 * accept queue of a dead worker waits for its successor; workers get copies over fork. Room:
 * master.
 */
#ifndef WSGATE_MASTER_LISTEN_H
#define WSGATE_MASTER_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <wsgate/config.h>
#include <wsgate/heritage.h>

#define LISTEN_TEXT_MAX 272
struct listen_row {
	uint32_t id;                /* never the same twice in a process */
	char text[LISTEN_TEXT_MAX]; /* as configured; a name may have several rows */
	char name[64];              /* as bound: numbers, and the port that port 0 became */
	struct sockaddr_storage ss; /* the same */
	socklen_t len;
	bool tls; /* text is the title of its section */
};
/* The name of one socket of it, for a child. */
#define listen_id(row, slot) ((row)->id * HERITAGE_SLOT_MAX + (slot))
#define listen_row_of(id) ((id) / HERITAGE_SLOT_MAX)
enum listen_admin_kind { LISTEN_ADMIN, LISTEN_LOCAL, LISTEN_ADMINS }; /* by TCP, a Unix socket */
struct listen_set {
	unsigned nslots;
	size_t n; /* addresses */
	struct listen_row rows[HERITAGE_LISTEN_MAX];
	int fds[HERITAGE_LISTEN_MAX][HERITAGE_SLOT_MAX]; /* owned; by address and slot */
	struct listen_admin {
		int fd;                /* owned; -1: none */
		struct listen_row row; /* name "": none */
		bool linked;           /* LOCAL: its name goes with it */
	} admins[LISTEN_ADMINS];
};

/* An empty one. */
void listen_init(struct listen_set *l);
/* Whose group may connect to the Unix socket; before anything is opened. */
void listen_group(gid_t gid);
/* Of what another master opened: the Unix socket's name is ours from here on. */
void listen_own(struct listen_set *l);

/*
 * Opens one SO_REUSEPORT socket per slot and address of config->listen and config->tls, and the
 * admin listeners.
 * A port that another program has is tried for patience_ms: orphans of a dead master may still be
 * leaving. 0; or -1 and one line in err, and nothing is left open. nslots is at most
 * HERITAGE_SLOT_MAX.
 */
int listen_open(struct listen_set *l, const struct config *c, unsigned nslots, unsigned patience_ms,
	char *err, size_t errlen) __attribute__((warn_unused_result));
/*
 * The same for a new configuration and perhaps more slots, beside a set that is in use: what both
 * have is shared, not opened again. 0; or -1 and one line, and nothing has changed. Then
 * listen_close_but() closes what one of the two has alone.
 */
int listen_change(struct listen_set *next, const struct listen_set *now, const struct config *c,
	unsigned nslots, char *err, size_t errlen) __attribute__((warn_unused_result));
/* The same, but nobody can connect to what is new before listen_begin(): as long as another program
 * serves, those who would come there might wait in vain. */
int listen_prepare(struct listen_set *next, const struct listen_set *now, const struct config *c,
	unsigned nslots, char *err, size_t errlen) __attribute__((warn_unused_result));
/* All is ours (listen_own()), and clients may come. For another group than before the Unix socket
 * is a new one. 0; or -1 and one line. */
int listen_begin(struct listen_set *l, bool same_group, char *err, size_t errlen)
	__attribute__((warn_unused_result));
/* Takes in what another master opened: a row, whose id becomes one of ours. */
void listen_inherit(struct listen_row *r);
/* Closes what l has and other has not; l is empty then. */
void listen_close_but(struct listen_set *l, const struct listen_set *other);
void listen_close(struct listen_set *l);
/* Whoever has them, clients cannot connect to those of that slot any more; who waits in them is
 * reset. */
void listen_shut(const struct listen_set *l, unsigned slot);
/* The same, but another master goes on with them. */
void listen_leave(struct listen_set *l);
void listen_say(const struct listen_set *l);

#endif
