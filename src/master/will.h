/*
 * will: what a master says to the program that is to replace it, and the answers, over a
 * SOCK_SEQPACKET pair. The two may be of different versions: this protocol has its own, and both
 * ends refuse one that they do not know. Room: master.
 *
 *   old → new   HELLO PIDFILE DIR CONTROL LISTENER… [ADMIN] [DRAIN] COMPLETE
 *   new → old   PREPARED       its workers are ready, without listeners and without a bridge
 *   old → new   PAIR… MOVED    connections go from worker to worker; no bridge runs
 *   new → old   SERVING        it has everything now
 *
 * The end of the new one before SERVING: the old one goes on. The end of the old one once COMPLETE
 * was read: the new one goes on as if it had been told MOVED.
 */
#ifndef WSGATE_MASTER_WILL_H
#define WSGATE_MASTER_WILL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <wsgate/proto.h>

#include "listen.h"
#include "segment.h"

#define WILL_VERSION 1
#define WILL_PATH_MAX 1024
#define WILL_TEXT_MAX 1024
#define WILL_ENV                                                                                   \
	"WSGATE_WILL" /* the number of the descriptor, in the environment of the new one           \
		       */

enum will_type {
	WILL_HELLO = 1,
	WILL_PIDFILE, /* and the descriptor, as with the next ones */
	WILL_DIR,
	WILL_CONTROL,
	WILL_LISTENER,
	WILL_ADMIN,
	WILL_COMPLETE,
	WILL_PAIR, /* one end of a pair, for a worker of the new one */
	WILL_MOVED,
	WILL_DRAIN, /* before COMPLETE: the gateway is drained; not said otherwise, so that older
		       programs need not know it */
	WILL_PREPARED = 20,
	WILL_SERVING,
	WILL_FAILED, /* it ends; text says why */
};

struct will_hello {
	uint32_t pid;
	uint32_t gid;    /* of the control socket */
	uint32_t nslots; /* of the listeners */
	uint32_t nrows;
	char program[32]; /* version */
	char segment[SEGMENT_NAME_MAX];
	char pidfile[WILL_PATH_MAX], runtime_dir[WILL_PATH_MAX];
};
struct will_listener { /* also WILL_ADMIN: row: enum listen_admin_kind */
	uint32_t row, slot;
	uint32_t len, tls; /* tls: 1: text is the title of a tls section */
	char text[LISTEN_TEXT_MAX], name[64];
	struct sockaddr_storage ss;
};
struct will_number { /* WILL_PAIR: slot; WILL_PREPARED: workers; WILL_SERVING: pid */
	uint32_t value;
	uint32_t foreign; /* WILL_PREPARED: 1: it cannot read our segment, which must be empty
			     before it goes on */
};
struct will_text {
	char text[WILL_TEXT_MAX];
};
struct will {
	uint32_t version, type;
	union {
		struct will_hello hello;
		struct will_listener listener;
		struct will_number number;
		struct will_text text;
		struct proto_drain drain;
	} u;
};
_Static_assert(sizeof(struct will_hello) == 2160 && sizeof(struct will_listener) == 480, "layout");

/* Sends at once; fd -1: none, else it stays the caller's. 0; or -1 with errno, EAGAIN among them.
 */
int will_send(int sock, const struct will *w, int fd) __attribute__((warn_unused_result));
/* 1: a message, its texts terminated; 0: the other end is closed; -1 with errno: EAGAIN, or EPROTO
 * for what makes no sense here. *fd: what came along, now the caller's, or -1. */
int will_receive(int sock, struct will *w, int *fd) __attribute__((warn_unused_result));
/* "PREPARED", for the log. */
const char *will_name(unsigned type);
/* The descriptor that the environment names, and no longer does then: -1 for none. */
int will_take(void);

#endif
