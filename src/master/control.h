/*
 * control: the master's end of the control socket (wsgate/control.h). Root and the service user
 * may speak; whoever else is refused. Room: master.
 */
#ifndef WSGATE_MASTER_CONTROL_H
#define WSGATE_MASTER_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <wsgate/control.h>

#include "reload.h"

struct event;
struct event_base;
struct control;

#define CONTROL_CALLERS 16

struct caller {
	struct control *control;
	int fd;                        /* owned; -1: free */
	struct event *ev;              /* owned */
	uint64_t reload;               /* waits for the end of that one; 0: not */
	uint64_t close;                /* waits for the answer of the bridge; 0: not */
	uint64_t sync;                 /* waits until the workers have heard (news.h); 0: not */
	bool bridge;                   /* and until the bridge has */
	struct control_answer outcome; /* of its reload, while it waits for sync */
	uint16_t drain;                /* CONTROL_DRAIN or CONTROL_UNDRAIN; 0: none */
};

struct control {
	struct event_base *base; /* borrowed, as the next two */
	struct family *family;
	struct reload *reload;
	uid_t uid;                /* of the service */
	int dir;                  /* borrowed: runtime_dir; -1: there is no socket of ours in it */
	int fd;                   /* owned */
	struct event *ev, *pause; /* owned */
	uint64_t last_close;
	struct caller callers[CONTROL_CALLERS];
};

/* Binds it in the folder `dir`. The caller has set base, family, reload, uid. 0; or -1 and one line
 * in err. */
int control_open(struct control *c, int dir, gid_t gid, char *err, size_t errlen)
	__attribute__((warn_unused_result));
/* The same with a socket that another master has bound there. Takes fd, also when it fails. */
int control_adopt(struct control *c, int fd, int dir) __attribute__((warn_unused_result));
/* Closes all, and the socket stays for another master. */
void control_leave(struct control *c);
void control_reloaded(struct control *c, uint64_t number);
/* Something has happened: perhaps all have heard. */
void control_look(struct control *c);
void control_closed(struct control *c, const struct proto_closed *p);
/* In a child: frees what hangs on the master's base. */
void control_forget(struct control *c);
/* Closes, and removes the socket. */
void control_close(struct control *c);

#endif
