/*
 * proto: the whole protocol between processes of the family, over SOCK_SEQPACKET pairs (chan.h).
 * Both ends refuse a version they do not know. Room: ipc.
 */
#ifndef WSGATE_PROTO_H
#define WSGATE_PROTO_H

#include <stdint.h>

#define PROTO_VERSION 1

enum proto_type {
	/* child → master */
	PROTO_READY = 1,      /* the child serves */
	PROTO_BEAT,	      /* about once a second */
	PROTO_FATAL,	      /* struct proto_text: do not restart me, end with 2 and this line */
	PROTO_DRAINED,	      /* bridge: struct proto_slot: the up ring of that dead generation is empty */
	PROTO_STALE_DRAINED,  /* bridge: struct proto_stale: unlink that old segment */
	PROTO_FLUSHED,	      /* bridge, before it ends: struct proto_flushed */
	/* master → child */
	PROTO_STOP = 20,      /* struct proto_stop: graceful */
	PROTO_WORKER_UP,      /* bridge: struct proto_slot: generation g of slot s was started */
	PROTO_WORKER_DOWN,    /* bridge: struct proto_slot: generation g of slot s is dead */
	/* worker ↔ bridge */
	PROTO_DOORBELL = 40,  /* no body: look at your rings */
	PROTO_MAX
};

struct proto_header {
	uint16_t version;
	uint16_t type;
	uint32_t size; /* of the body */
};
struct proto_slot {
	uint32_t slot, reserved;
	uint64_t generation;
};
struct proto_stale {
	uint32_t index, reserved; /* into heritage.stale */
};
struct proto_stop {
	uint64_t drain_ms;
};
struct proto_flushed {
	uint32_t empty, reserved; /* 1: nothing is left in any ring: the segment may go */
};
#define PROTO_TEXT_MAX 1024
struct proto_text {
	char text[PROTO_TEXT_MAX]; /* terminated */
};
#define PROTO_BODY_MAX 2048
_Static_assert(sizeof(struct proto_header) == 8 && sizeof(struct proto_slot) == 16, "layout");

/* "DOORBELL", for logs with -vv; "?" for an unknown one. */
const char *proto_name(unsigned type);

#endif
