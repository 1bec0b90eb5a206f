/*
 * route: one connection of one user, as the bridge sees it. One section of routes for each worker
 * slot; the worker is the only writer, the bridge reads. Room: ipc.
 *
 * generation: 0 while the place is empty or being written; read before and after the fields.
 * (slot generation << 32) | count: never used twice within a segment.
 * Marks: {epoch, seq}; a mark of another epoch counts as 0. The writer sets seq to 0, then epoch,
 * then seq again, so a reader that sees the same epoch before and after has a true pair.
 */
#ifndef WSGATE_ROUTE_H
#define WSGATE_ROUTE_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wsgate/subject.h>

enum route_state {
	ROUTE_FREE,
	ROUTE_OPENING,
	ROUTE_OPEN,
	ROUTE_ENDED,
	ROUTE_MOVED, /* came from another worker, with marks: not yet acknowledged by the bridge */
};

#define ROUTE_INLINE 46
struct route {
	_Atomic uint64_t generation;
	_Atomic uint64_t given;               /* last sequence handed to the socket */
	_Atomic uint64_t confirmed;           /* last sequence that the client proved to have */
	_Atomic uint64_t bytes_in, bytes_out; /* payload: client → service, service → client */
	_Atomic uint32_t messages_in, messages_out, messages_confirmed; /* modulo 2^32 */
	_Atomic uint32_t epoch;                                         /* of both marks */
	uint32_t opened_s;                                              /* since 1970 */
	_Atomic uint8_t state;
	uint8_t service; /* its row among the worker's services (stats.h) */
	uint8_t service_len,
		user_len; /* raw bytes; together above ROUTE_INLINE: in the section's long names */
	/* A message touches what stands above this line. */
	uint8_t addr[16]; /* IPv6, or IPv4-mapped */
	uint16_t port;
	char names[ROUTE_INLINE]; /* service, then user, not terminated */
};
_Static_assert(
	sizeof(struct route) == 128 && offsetof(struct route, addr) == 64, "two cache lines");

/* What one connection did. It goes with a connection that moves to another worker. */
struct route_figures {
	uint64_t bytes_in, bytes_out;
	uint32_t messages_in, messages_out, messages_confirmed;
	uint32_t opened_s;
};
_Static_assert(sizeof(struct route_figures) == 32, "layout");

#define ROUTE_LONG (2 * TOKEN_MAX)

/* A section, process-local view. */
struct route_section {
	struct route *routes;
	char *longs;   /* ROUTE_LONG bytes for each route: touched by long names alone */
	uint64_t *ids; /* random; names the connection to services and in logs, wherever it moves */
	uint32_t n;
};

/* A connection's name for people and services (Ws-Conn): "00c0ffee…", unique among gateways. */
#define ROUTE_ID_TEXT 17
void route_id_text(uint64_t id, char out[ROUTE_ID_TEXT]);

/* A consistent copy. */
struct route_view {
	uint64_t generation, given, confirmed;
	uint32_t epoch;
	enum route_state state;
	uint64_t id;
	struct route_figures figures;
	uint8_t addr[16];
	uint16_t port;
	uint8_t service_row;
	size_t service_len, user_len;
	char service[TOKEN_MAX], user[TOKEN_MAX];
};
/* False: empty, or changed while it was read (then it is on the change list again). */
bool route_read(const struct route_section *s, uint32_t index, struct route_view *out);
/* Marks and state alone, for a route whose generation is known: the cheap way for confirmations. */
bool route_read_marks(
	const struct route_section *s, uint32_t index, uint64_t generation, struct route_view *out);

/* Writer's side. */
struct route_peer {
	uint8_t addr[16];
	uint16_t port;
};
struct route_birth {
	uint64_t id;
	struct route_peer peer;
	unsigned service; /* row of services */
	struct route_figures figures;
	/* of a connection that moved */
	bool moved;
	uint32_t epoch;
	uint64_t given, confirmed;
};
void route_write(const struct route_section *s, uint32_t index, uint64_t generation,
	const struct identity *who, const struct route_birth *birth);
void route_get_figures(const struct route_section *s, uint32_t index, struct route_figures *out);
void route_set_state(const struct route_section *s, uint32_t index, enum route_state state);
void route_set_given(const struct route_section *s, uint32_t index, uint64_t seq);
void route_set_confirmed(const struct route_section *s, uint32_t index, uint64_t seq);
void route_set_epoch(
	const struct route_section *s, uint32_t index, uint32_t epoch); /* both marks go to 0 */
void route_clear(const struct route_section *s, uint32_t index);
/* "192.0.2.1:4711", "[2001:db8::1]:4711". */
#define ROUTE_ADDR_NAME 56
void route_addr_name(char out[ROUTE_ADDR_NAME], const uint8_t addr[16], uint16_t port);

/*
 * The change list: indexes of routes that changed, worker → bridge. Each route stands on it at most
 * once until the bridge took it; the list has room for all routes twice (a dead worker's and its
 * successor's), so it is never full. A full up ring cannot block it.
 */
struct changes_words {
	alignas(64) _Atomic uint64_t head; /* worker's */
	alignas(64) _Atomic uint64_t tail; /* bridge's */
};
struct changes {
	struct changes_words *words;
	_Atomic uint32_t *list;
	uint32_t size;    /* a power of two >= 2 * routes */
	uint64_t *pushed; /* writer only, owned: where each route was put last, 0: never */
};
/* Worker: route `index` was changed. False: the list is full (cannot happen unless memory was
 * scribbled on). */
bool changes_push(struct changes *c, uint32_t index);
/* Bridge: takes up to max indexes. The routes must be read after this returns. */
size_t changes_take(struct changes *c, uint32_t *out, size_t max);
uint32_t changes_size_for(uint32_t routes);

#endif
