/*
 * message: whole messages and control frames out of frames; the only buffer of a reading
 * connection.
 *
 * A message that lies in one piece in the caller's bytes is handed out in place; else it is
 * collected in a buffer that is allocated when needed and freed when its message is done. An idle
 * reader owns nothing. Room: ws.
 */
#ifndef WSGATE_MESSAGE_H
#define WSGATE_MESSAGE_H

#include <wsgate/deflate.h>
#include <wsgate/frame.h>
#include <wsgate/utf8.h>

struct ws_reader { /* zero it to start; ws_reader_clear() to end */
	struct ws_frame_parser frame;
	utf8_state utf8;
	uint8_t control_len;
	bool handed_out;     /* the last message was buf: freed by the next call */
	bool text;           /* the data message under way is text */
	bool deflated;       /* and compressed: buf is what came */
	uint32_t frames;     /* of the data message under way */
	uint32_t max_frames; /* the caller's; more are refused (1008); 0: any number */
	uint32_t len, cap;   /* bytes of buf */
	uint8_t *buf;     /* owned: the data message under way, NULL while nothing is collected */
	uint8_t *control; /* owned: a control frame that came in pieces, WS_CONTROL_MAX bytes, or
			     NULL */
};

/* What reads compressed messages: the caller's, of one connection or of many. */
struct ws_inflate {
	struct deflate_in *in;
	struct deflate_room *room; /* a message that came compressed is handed out in it */
};

enum ws_read_kind {
	WS_READ_NONE,    /* all bytes consumed, more are needed */
	WS_READ_MESSAGE, /* opcode WS_TEXT or WS_BINARY */
	WS_READ_PING,
	WS_READ_PONG,
	WS_READ_CLOSE, /* code: what the peer said, 1005 for nothing; data: its reason */
	WS_READ_ERROR, /* code, reason: send this Close and end. 1011 when memory ran out */
};

struct ws_read {
	enum ws_read_kind kind;
	uint8_t opcode;
	const uint8_t *data; /* valid until the next call with this reader, or ws_reader_clear; of a
				compressed message also until the next use of its room */
	size_t len;
	size_t deflated; /* MESSAGE: what came of a compressed one; 0: it was none */
	uint16_t code;
	const char *reason;
};

/*
 * Consumes bytes until one message, control frame or error is there, or all are consumed: call it
 * until WS_READ_NONE (a call with len 0 is fine and gives back what was handed out before). Nothing
 * may be fed after WS_READ_CLOSE or WS_READ_ERROR. Text is
 * checked as it comes (1007 at the first impossible byte). A message whose announced length goes
 * beyond max_message (1 GiB at most) is refused (1009) before its payload is read. The buffer grows
 * with what really came, at most doubling: an announced length alone allocates nothing.
 */
size_t ws_reader_feed(
	struct ws_reader *r, uint8_t *buf, size_t len, size_t max_message, struct ws_read *out);
/*
 * The same where permessage-deflate was agreed on (RFC 7692); inflate NULL: it was not. The first
 * frame of a data message alone may have RSV1. A compressed message is kept as it came, at most a
 * little more than max_message, and decompressed when it is whole: to max_message bytes at most
 * (1009 for more), bad data is 1007, and then its text is checked.
 */
size_t ws_reader_feed_inflate(struct ws_reader *r, const struct ws_inflate *inflate, uint8_t *buf,
	size_t len, size_t max_message, struct ws_read *out);
/* True between the first byte of a message and its end (frame header bytes included). */
bool ws_reader_busy(const struct ws_reader *r);
void ws_reader_clear(struct ws_reader *r);

/*
 * A reader on its way to another process, which may be another version of the program: fixed sizes.
 * Behind it go `len` bytes of the message under way and `control_len` bytes of a control frame.
 */
struct ws_reader_state {
	uint64_t left;
	uint64_t len;
	uint32_t utf8;
	uint8_t head[14];
	uint8_t head_len, opcode, message, control_len;
	uint8_t mask[4];
	uint8_t fin, rsv1, in_payload, text;
	uint8_t deflated;
	uint8_t reserved;
};
/* buf and control stay the reader's. Nothing may be handed out (a call with len 0 sees to that). */
void ws_reader_save(const struct ws_reader *r, struct ws_reader_state *out, const uint8_t **buf,
	const uint8_t **control);
/* Into a zeroed reader; both are copied. False: it does not add up, or no memory; the reader is as
 * zeroed. */
bool ws_reader_restore(struct ws_reader *r, const struct ws_reader_state *in, const uint8_t *buf,
	const uint8_t *control);

#endif
