/*
 * pub: a client's message on its way from a ring to the broker. Of publish.c and sender.c alone.
 */
#ifndef WSGATE_BRIDGE_PUB_H
#define WSGATE_BRIDGE_PUB_H

#include "bridge.h"

/* A record of an up ring on its way. */
struct pub {
	struct pub *ring_next; /* in the ring's order */
	struct pub *user_next; /* in the user's order */
	struct up_source *src;
	struct pub_user *user;
	uint64_t end; /* position behind the record */
	uint64_t generation;
	uint64_t stamp;
	uint32_t index;
	uint16_t type;
	bool final, seen; /* seen: it may have been published before */
	bool poisoned;    /* behind a message of its connection that was refused */
	struct broker_publish p;
	char conn[ROUTE_ID_TEXT];
	char msg_id[96];
	char trace[TRACE_TEXT];
};

/* Users with records here: order is kept by one unacknowledged message each. */
struct pub_user {
	struct bridge *b;
	struct bstream *s; /* NULL: none has its service any more */
	struct pub *first, *last;
	struct pub_user *next;  /* in the ready or the later list */
	uint64_t full_since_ms; /* the stream refuses this user; 0: no */
	bool in_flight, listed, later;
	uint16_t key_len;
	char key[];
};

/* sender.c */
/* NULL: it is not here. */
struct bconn *publish_conn(const struct pub *p);
/* A message before it was refused: c, or who is remembered by his name. */
bool publish_poisoned(const struct pub *p, const struct bconn *c);
void publish_poison(const struct pub *p, struct bconn *c);
/*
 * False: no room for it now. A bridge that stops knows no connections any more, but their worker
 * may go on: it looks for itself whether it has this one, and nobody waits for room.
 */
bool publish_tell(const struct pub *p, const struct bconn *c, enum down_type type, uint16_t code,
	const char *reason);

#endif
