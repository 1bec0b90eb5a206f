/*
 * proto: the whole protocol between processes of the family, over SOCK_SEQPACKET pairs (chan.h).
 * Both ends refuse a version they do not know. Room: ipc.
 */
#ifndef WSGATE_PROTO_H
#define WSGATE_PROTO_H

#include <stdint.h>
#include <wsgate/tickets.h>
#include <wsgate/trace.h>

#define PROTO_VERSION 3

enum proto_type {
	/* child → master */
	PROTO_READY = 1, /* the child serves */
	PROTO_BEAT,      /* about once a second */
	PROTO_FATAL,     /* struct proto_text: do not restart me, end with 2 and this line */
	PROTO_DRAINED, /* bridge: struct proto_slot: the up ring of that dead generation is empty */
	PROTO_STALE_DRAINED, /* bridge: struct proto_stale: unlink that old segment */
	PROTO_FLUSHED,       /* bridge, before it ends: struct proto_flushed */
	PROTO_APPLIED,       /* answer to PROTO_CONFIG: struct proto_applied */
	PROTO_CLOSED,        /* bridge, answer to PROTO_CLOSE: struct proto_closed */
	PROTO_MOVED,         /* worker, after PROTO_HEIR: struct proto_moved */
	PROTO_HEIRLESS, /* worker, no body: all those of PROTO_HEIR are gone, and it has more to
			   give */
	PROTO_SHUT,     /* worker, answer to PROTO_RETIRE with shut: no body */
	PROTO_SYNCED,   /* answer to PROTO_SYNC: the same */
	/* master → child */
	PROTO_STOP = 20,   /* struct proto_stop: graceful */
	PROTO_WORKER_UP,   /* bridge: struct proto_slot: generation g of slot s was started */
	PROTO_WORKER_DOWN, /* bridge: struct proto_slot: generation g of slot s is dead */
	PROTO_CONFIG,      /* struct proto_config, and the text as config_print() writes it */
	PROTO_LOG,         /* struct proto_log, and the file when it is one */
	PROTO_LISTEN,      /* worker: struct proto_listen, and the socket: accept there too */
	PROTO_UNLISTEN,    /* worker: struct proto_listen: not there any more */
	PROTO_SLOT,        /* bridge: struct proto_slot, and the bell: a slot that is new */
	PROTO_CLOSE,       /* bridge: struct proto_close: end the connections of a user */
	PROTO_RETIRE,      /* worker: struct proto_retire: accept no more, connections will move */
	PROTO_HEIR,    /* worker: struct proto_heir, and a socket: another worker reads there (see
			  parcel.h) */
	PROTO_ARRIVE,  /* worker: struct proto_arrive, and the other end of such a socket */
	PROTO_RESUME,  /* worker: no body: forget PROTO_RETIRE, accept and read again */
	PROTO_TLS,     /* worker: struct proto_config, and a bundle (bundle.h): for the PROTO_CONFIG
			  that follows */
	PROTO_TICKETS, /* worker: struct tickets: keys of TLS sessions */
	PROTO_VAULT, /* worker: no body, and vault_write()'s file: of the PROTO_CONFIG that follows
		      */
	PROTO_TRACE, /* struct trace_order: whose messages are followed, from now on */
	PROTO_DRAIN, /* worker: struct proto_drain: anew, whenever it changes */
	PROTO_DEEDS, /* worker: struct proto_deeds: anew, whenever something of it changes */
	PROTO_SYNC,  /* struct proto_sync: say so when all that was told before is done */
	/* worker ↔ bridge */
	PROTO_DOORBELL = 40, /* no body: look at your rings */
	PROTO_MAX
};

struct proto_header {
	uint16_t version;
	uint16_t type;
	uint32_t size; /* of the body */
};
struct proto_slot {
	uint32_t slot;
	uint32_t last; /* of PROTO_WORKER_DOWN: 1: nobody follows it */
	uint64_t generation;
};
struct proto_stale {
	uint32_t index, reserved; /* into heritage.stale */
};
struct proto_stop {
	uint64_t drain_ms;
	uint32_t restart;  /* 1: clients are told 1012, come back at once; 0: 1001, stopping for
			      good. To a bridge: a successor goes on */
	uint32_t delay_ms; /* before all that: not ready, and everything as ever */
};
/*
 * The gateway is to be empty, and to go on. Times are those of CLOCK_MONOTONIC: they hold for
 * successors, and for the program that replaces this one.
 */
struct proto_drain {
	uint64_t begin_ms; /* not ready from then on; 0: it takes connections */
	uint64_t close_ms; /* until then all goes on as ever, then connections are closed */
	uint64_t end_ms;   /* what is open then is cut off */
	uint32_t even;     /* 1: closes are spread over all of that time, however few they are */
	uint32_t reserved;
};
/*
 * A worker gives its connections away: PROTO_RETIRE, then PROTO_HEIR for each worker that gets
 * some, `last` with the last of them: it begins. PROTO_MOVED says that none is left that can move;
 * PROTO_STOP ends the rest.
 */
struct proto_retire {
	uint32_t freeze; /* 1: read nothing more from clients: the bridge ends, and they all move at
			    once */
	uint32_t shut;   /* 1: and put nothing more into the rings: who comes cannot read them */
};
struct proto_heir {
	uint32_t last, reserved;
};
struct proto_arrive {
	uint32_t wait, reserved; /* 1: a connection is ours only when the bridge knows it; 0: no
				    bridge runs meanwhile */
};
struct proto_moved {
	uint64_t moved, left;
	uint64_t stay; /* of those left: cannot move, and are not to be ended; said again when it
			  has become 0 */
};
struct proto_sync {
	uint64_t serial;
};
struct proto_flushed {
	uint32_t empty, reserved; /* 1: nothing is left in any ring: the segment may go */
};
#define PROTO_TEXT_MAX 1024
struct proto_text {
	char text[PROTO_TEXT_MAX]; /* terminated */
};
struct proto_config {
	uint64_t serial;
};
#define PROTO_FAULT_MAX 240
struct proto_applied {
	uint64_t serial;
	uint32_t failed, reserved;
	char fault[PROTO_FAULT_MAX]; /* failed: one line, terminated */
};
enum proto_log_target { PROTO_LOG_STDERR, PROTO_LOG_SYSLOG, PROTO_LOG_FILE };
struct proto_log {
	uint32_t target, reserved; /* enum proto_log_target */
};
#define PROTO_ADDRESS_MAX 272
struct proto_listen {
	uint32_t id;    /* names the socket in PROTO_UNLISTEN */
	uint16_t admin; /* 1: the admin listener */
	uint16_t keep;  /* PROTO_UNLISTEN: 1: others go on to accept there: close the copy, do not
			   shut the socket down */
	char tls[PROTO_ADDRESS_MAX]; /* terminated: the title of its tls section; "": without TLS */
};
#define PROTO_NAME_MAX 128
#define PROTO_REASON_MAX 124
struct proto_close {
	uint64_t id; /* comes back in the answer */
	uint16_t code;
	uint8_t service_len, user_len;
	uint32_t reserved;
	char service[PROTO_NAME_MAX], user[PROTO_NAME_MAX];
	char reason[PROTO_REASON_MAX]; /* terminated */
	uint32_t reserved2;
};
struct proto_closed {
	uint64_t id;
	uint64_t connections;
};
/* What the master has done, which shared memory does not say: it touches none. */
#define PROTO_NOTE_MAX 232
struct proto_note {     /* a warning or an error in the log */
	uint64_t at_ms; /* since 1970; 0: none */
	uint32_t error, reserved;
	char text[PROTO_NOTE_MAX]; /* terminated */
};
#define PROTO_NOTES 6
enum proto_outcome { PROTO_RELOAD_NONE, PROTO_RELOAD_GOOD, PROTO_RELOAD_FAILED };
struct proto_deeds {
	uint64_t reloads_good, reloads_failed;
	uint64_t reload_ms; /* when the last one ended, since 1970 */
	uint32_t outcome;   /* enum proto_outcome, of the last one */
	uint32_t noted;     /* notes so far; the next one goes to that number modulo PROTO_NOTES */
	char reload[PROTO_FAULT_MAX];
	struct proto_note notes[PROTO_NOTES];
};
#define PROTO_BODY_MAX 2048
_Static_assert(sizeof(struct proto_note) == 248 && sizeof(struct proto_deeds) == 1760 &&
		       sizeof(struct proto_deeds) <= PROTO_BODY_MAX,
	"layout");
_Static_assert(sizeof(struct proto_header) == 8 && sizeof(struct proto_slot) == 16 &&
		       sizeof(struct proto_stop) == 16 && sizeof(struct proto_drain) == 32 &&
		       sizeof(struct proto_applied) == 256 && sizeof(struct proto_listen) == 280 &&
		       sizeof(struct proto_close) == 400,
	"layout");

/* "DOORBELL", for logs with -vv; "?" for an unknown one. */
const char *proto_name(unsigned type);

#endif
