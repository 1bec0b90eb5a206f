/*
 * parcel: a connection on its way from one worker to another, perhaps of another version of the
 * program: what goes over the socket between the two (SOCK_SEQPACKET), and nothing of how.
 *
 *   giver → heir:  HEAD (the client's socket with it, and the first bytes of the body), BODY…; KICK
 *   heir → giver:  TAKEN: the connection is the heir's; REFUSED: it stays the giver's
 *
 * The giver writes and reads nothing for a client between HEAD and the answer, and neither does the
 * heir before TAKEN: so there is one owner at any instant, whoever dies. An unanswered parcel is
 * the giver's again when the heir's end is closed.
 */
#ifndef WSGATE_WORKER_PARCEL_H
#define WSGATE_WORKER_PARCEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wsgate/message.h>
#include <wsgate/route.h>
#include <wsgate/seal.h>
#include <wsgate/subject.h>
#include <wsgate/trace.h>

#define PARCEL_VERSION 3 /* of all that stands below */
#define PARCEL_PIECE 32768
#define PARCEL_UNANSWERED 64 /* at most, on one socket; ids are below it */

enum parcel_type { PARCEL_HEAD = 1, PARCEL_BODY, PARCEL_KICK, PARCEL_TAKEN, PARCEL_REFUSED };

struct parcel_note { /* begins every packet */
	uint16_t version;
	uint16_t type;
	uint32_t size; /* of what follows */
	uint64_t id;   /* the giver's name for the connection */
};

enum parcel_kind {
	PARCEL_FRESH = 1, /* nothing was read yet */
	PARCEL_OPENING,   /* its 101 lies in `out`, and goes out when the bridge knows the route */
	PARCEL_OPEN,
	PARCEL_ECHO,
};
#define PARCEL_OUT_CONTEXT 1 /* windows that live on behind a message */
#define PARCEL_IN_CONTEXT 2
#define PARCEL_OUT_BROKEN 4 /* nothing is compressed any more */
struct parcel_head {
	uint8_t kind;
	uint8_t ping_out;
	uint8_t pending, pending_text; /* a message that waits for room in a ring */
	uint8_t service_len, user_len;
	uint8_t server_bits, client_bits; /* permessage-deflate; 0: not agreed on */
	uint64_t conn;
	struct route_figures figures;
	uint32_t ping_count;
	uint32_t data_s; /* CLOCK_MONOTONIC; 0: not known */
	struct route_peer peer;
	uint16_t out_window, in_window; /* lengths */
	uint8_t deflate;                /* PARCEL_… */
	uint8_t ktls;                   /* 1: the kernel has its keys (records.h) */
	uint64_t given, confirmed;
	uint32_t epoch;
	uint32_t control_queued;
	uint8_t ping_id[8];
	uint64_t ping_mark, ping_ms, heard_ms, expires_ms; /* CLOCK_MONOTONIC */
	struct ws_reader_state reader;
	/* The body: service, user, the reader's message and control frame, then these, the windows,
	 * and struct seal_state with the bytes of a record that has not come whole. */
	uint64_t stash_len, out_len, pending_len;
	struct trace_context trace; /* all 0: none */
	uint8_t unstored;           /* 1: messages of it lie in rings of givers, perhaps */
	uint16_t seal_len;   /* 0: without; then `out` is in records already, but for an answer */
	uint32_t pending_us; /* it has waited for so long */
	uint64_t body_len;   /* all of it */
};
_Static_assert(sizeof(struct parcel_note) == 16 && sizeof(struct parcel_head) == 256, "layout");

struct parcel_kick {
	uint16_t code;
	uint16_t reason_len;
	char reason[WS_REASON_MAX + 1];
};

/* Where the parts of a body lie. */
struct parcel_parts {
	struct identity who;
	const uint8_t *message, *control, *stash, *out, *pending, *out_window, *in_window, *seal;
};
/* Checks a head, and that the body is as long as it says. */
bool parcel_check(const struct parcel_head *h);
/* After parcel_check(); body has h->body_len bytes. */
void parcel_open(const struct parcel_head *h, const uint8_t *body, struct parcel_parts *out);
/* The length of the body that the other fields of h make. */
uint64_t parcel_body_len(const struct parcel_head *h);

/* The end of a body, which may hold keys; NULL is fine. */
void parcel_drop(uint8_t *body, size_t len);

struct iovec;
/* One packet. fd -1: none. 0 or -1 with errno. */
int parcel_send(
	int sock, enum parcel_type type, uint64_t id, const struct iovec *iov, size_t n, int fd);
/*
 * One packet, into buf, without its note; *fd is -1 or a descriptor that is the caller's now. The
 * number of bytes; -1 with errno: EAGAIN, EPIPE at the end, EPROTO for one that is none of ours, or
 * another version's.
 */
long parcel_receive(int sock, struct parcel_note *note, void *buf, size_t size, int *fd);

#endif
