/*
 * deflate: permessage-deflate (RFC 7692): what is agreed on in the handshake (deflate_offer.c), and
 * messages through zlib (deflate.c). No I/O. Room: ws.
 *
 * Who carries no window from message to message owns nothing: one compressor for each size of
 * window and one decompressor serve any number of connections.
 */
#ifndef WSGATE_DEFLATE_H
#define WSGATE_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the handshake ---- */

struct deflate_rules {
	bool context;        /* windows may be carried from message to message */
	uint8_t window_bits; /* of ours, and, with context, of what a client's may need here: 9 … 15
			      */
};
struct deflate_terms {
	uint8_t server_bits; /* of the window that we compress with: 8 … 15; 0: nothing was agreed
			      */
	uint8_t client_bits; /* of the client's: 8 … 15 */
	bool server_context, client_context; /* the window lives on behind a message */
	bool say_server_bits, say_client_bits;
};
/*
 * One value of Sec-WebSocket-Extensions: the first offer of permessage-deflate in it that can be
 * taken (7.1). One with a parameter that is unknown, stands there twice, or has a value that it may
 * not have, is passed over. False: there is none.
 */
bool deflate_offer_take(
	const char *value, const struct deflate_rules *rules, struct deflate_terms *out);
struct handshake;
/* The same of a whole request. */
bool deflate_offer_agree(
	const struct handshake *h, const struct deflate_rules *rules, struct deflate_terms *out);
#define DEFLATE_ANSWER_MAX 160
/* What the answer says of it. Its length. */
size_t deflate_offer_answer(const struct deflate_terms *t, char out[DEFLATE_ANSWER_MAX]);

/* ---- messages ---- */

/* Where results lie, valid until its next use. Zero it to start; deflate_room_free() to end. */
struct deflate_room {
	uint8_t *buf; /* owned */
	size_t cap;
};
/* Gives back what a rare large message took. */
void deflate_room_rest(struct deflate_room *r);
void deflate_room_free(struct deflate_room *r);

struct deflate_out; /* a compressor */
struct deflate_in;  /* a decompressor */

/*
 * bits: 8 … 15; level: 1 … 9, memory: 1 … 9, as zlib has them; context: the window stays from
 * message to message, so that what was compressed must be sent. NULL: no memory. Freeing NULL is
 * fine. (1 << bits + 2) + (1 << memory + 9) bytes and 6 KiB.
 */
struct deflate_out *deflate_out_new(unsigned bits, int level, unsigned memory, bool context);
void deflate_out_free(struct deflate_out *o);
/*
 * Compresses a message of at least 1 byte into the room: as it goes into a frame, without the last
 * four bytes (7.2.1). 0: it would not be shorter (never with context), or there is no memory (with
 * context: the compressor cannot be used any more).
 */
size_t deflate_out_message(
	struct deflate_out *o, const uint8_t *data, size_t len, struct deflate_room *room);

/* 7 KiB and 1 << bits bytes, from the first message on. */
struct deflate_in *deflate_in_new(unsigned bits, bool context);
void deflate_in_free(struct deflate_in *i);
enum deflate_result { DEFLATE_GOOD, DEFLATE_BAD, DEFLATE_TOO_BIG, DEFLATE_NO_MEMORY };
/*
 * The payload of a whole message; at most max bytes come out, and the room never has more. All but
 * GOOD: the decompressor cannot go on with context.
 */
enum deflate_result deflate_in_message(struct deflate_in *i, const uint8_t *data, size_t len,
	size_t max, struct deflate_room *room, size_t *outlen);
/* What a compressed message may have at most to be looked at, when it may have `max` without. */
size_t deflate_in_limit(size_t max);

/* The window, to be carried elsewhere. Its length, also when out is NULL. */
#define DEFLATE_WINDOW_MAX 32768
size_t deflate_out_window(struct deflate_out *o, uint8_t *out);
size_t deflate_in_window(struct deflate_in *i, uint8_t *out);
/* Into a new one, before its first message. False: zlib does not take it. */
bool deflate_out_restore(struct deflate_out *o, const uint8_t *window, size_t len);
bool deflate_in_restore(struct deflate_in *i, const uint8_t *window, size_t len);

#endif
