/*
 * frame: RFC 6455 section 5 frames, bytes in, events out. No I/O, no allocation, no limits of its
 * own but the protocol's. Server side: client frames must be masked (5.1). Room: ws.
 */
#ifndef WSGATE_FRAME_H
#define WSGATE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ws_opcode { WS_CONT = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

enum ws_close_code {
	WS_CODE_NORMAL = 1000,
	WS_CODE_GOING_AWAY = 1001,
	WS_CODE_PROTOCOL = 1002,
	WS_CODE_NO_STATUS = 1005, /* never sent: a Close without a body */
	WS_CODE_ABNORMAL = 1006,  /* never sent */
	WS_CODE_INVALID = 1007,
	WS_CODE_POLICY = 1008,
	WS_CODE_TOO_BIG = 1009,
	WS_CODE_INTERNAL = 1011,
	WS_CODE_RESTART = 1012,
	WS_CODE_TRY_LATER = 1013,
	WS_CODE_EXPIRED = 3000,
	WS_CODE_NO_PONG = 3008,
	WS_CODE_SUPERSEDED = 4001,
	WS_CODE_CLOSED_BY_OPERATOR = 4002,
};

#define WS_HEADER_MAX 10   /* of a frame that we send (never masked) */
#define WS_CONTROL_MAX 125 /* payload of a control frame (5.5) */
#define WS_REASON_MAX 123

struct ws_frame_parser { /* zero it to start */
	uint64_t left;   /* payload bytes of the current frame still to come */
	uint8_t head[14];
	uint8_t head_len;
	uint8_t mask[4]; /* rotated so that mask[0] fits the next byte */
	uint8_t opcode;  /* of the current frame */
	bool fin, rsv1;
	bool in_payload;
	uint8_t message; /* opcode of the fragmented message under way, 0: none */
};

enum ws_frame_event_kind {
	WS_FRAME_NONE,    /* all bytes consumed, more are needed */
	WS_FRAME_BEGIN,   /* a header is complete: opcode, fin, length are set */
	WS_FRAME_PAYLOAD, /* data/len: unmasked in place; `end` with the frame's last byte */
	WS_FRAME_ERROR,   /* code, reason: the connection must be closed */
};

struct ws_frame_event {
	enum ws_frame_event_kind kind;
	uint8_t opcode;
	bool fin, rsv1, end;
	uint64_t length; /* BEGIN: of the whole payload */
	uint8_t *data; /* PAYLOAD: into the caller's buffer; len 0 with `end` for an empty frame */
	size_t len;
	uint16_t code;      /* ERROR */
	const char *reason; /* ERROR: static text */
};

/*
 * Consumes bytes from buf until one event is there; returns how many were consumed (may be 0 only
 * with len 0, an error, or the `end` of an empty frame). RSV bits, unknown opcodes, control frames
 * that are fragmented or above 125 bytes, unmasked frames, lengths not in the shortest form or with
 * the top bit set, a continuation of nothing and a new message inside another are errors 1002.
 * allow_rsv1: permessage-deflate was negotiated (RSV1 only on the first frame of a message).
 */
size_t ws_frame_parse(struct ws_frame_parser *p, uint8_t *buf, size_t len, bool allow_rsv1,
	struct ws_frame_event *ev);

/* Whether a state that came from elsewhere is one that ws_frame_parse() can have left. */
bool ws_frame_sound(const struct ws_frame_parser *p);

/* Writes the header of an unmasked frame; returns its length, 2 … WS_HEADER_MAX. */
size_t ws_frame_header(
	uint8_t out[WS_HEADER_MAX], uint8_t opcode, bool fin, bool rsv1, uint64_t length);

/* Builds a Close payload; a reason is cut at a character boundary to WS_REASON_MAX. Returns its
 * length (0 for 1005). */
size_t ws_close_payload(uint8_t out[WS_CONTROL_MAX], uint16_t code, const char *reason);
/*
 * Checks a received Close payload (7.4: length 0 or >= 2, allowed code, UTF-8). Returns 0 and *code
 * (1005 for an empty one), or the code to fail the connection with (1002, 1007).
 */
uint16_t ws_close_check(const uint8_t *data, size_t len, uint16_t *code);

#endif
