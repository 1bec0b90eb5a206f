#include <string.h>
#include <wsgate/frame.h>
#include <wsgate/utf8.h>
#include "mask.h"

#define BIT_FIN 0x80
#define BIT_RSV1 0x40
#define BITS_RSV23 0x30
#define BITS_OPCODE 0x0f
#define BIT_MASK 0x80
#define BITS_LENGTH 0x7f
#define LENGTH_16 126
#define LENGTH_64 127

static bool is_control(uint8_t opcode)
{
	return (opcode & 0x08) != 0;
}

static void fail(struct ws_frame_event *ev, const char *reason)
{
	ev->kind = WS_FRAME_ERROR;
	ev->code = WS_CODE_PROTOCOL;
	ev->reason = reason;
}

/* RFC 6455 5.2, 5.4, 5.5: what the first byte alone can be wrong in. */
static const char *check_first(const struct ws_frame_parser *p, uint8_t b, bool allow_rsv1)
{
	uint8_t opcode = b & BITS_OPCODE;

	if (b & BITS_RSV23)
		return "reserved bit set";
	switch (opcode) {
	case WS_CONT:
		if (b & BIT_RSV1)
			return "reserved bit set";
		return p->message == 0 ? "continuation without a message" : NULL;
	case WS_TEXT:
	case WS_BINARY:
		if ((b & BIT_RSV1) && !allow_rsv1)
			return "reserved bit set";
		return p->message != 0 ? "new message inside another" : NULL;
	case WS_CLOSE:
	case WS_PING:
	case WS_PONG:
		if (b & BIT_RSV1)
			return "reserved bit set";
		return b & BIT_FIN ? NULL : "fragmented control frame";
	default:
		return "unknown opcode";
	}
}

static const char *check_second(const struct ws_frame_parser *p, uint8_t b)
{
	if (!(b & BIT_MASK))
		return "frame is not masked";
	if (is_control(p->head[0] & BITS_OPCODE) && (b & BITS_LENGTH) > WS_CONTROL_MAX)
		return "control frame too long";
	return NULL;
}

static size_t head_size_of(uint8_t second)
{
	switch (second & BITS_LENGTH) {
	case LENGTH_16:
		return 2 + 2 + 4;
	case LENGTH_64:
		return 2 + 8 + 4;
	default:
		return 2 + 4;
	}
}

/* Bytes of the whole header, as far as the bytes so far tell. */
static size_t head_size(const struct ws_frame_parser *p)
{
	return p->head_len < 2 ? 2 : head_size_of(p->head[1]);
}

static uint64_t big_endian(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

/* The header is complete. */
static void begin(struct ws_frame_parser *p, struct ws_frame_event *ev)
{
	size_t size = p->head_len;
	uint64_t length = p->head[1] & BITS_LENGTH;

	if (length == LENGTH_16) {
		length = big_endian(p->head + 2, 2);
		if (length < LENGTH_16) {
			fail(ev, "length not in its shortest form");
			return;
		}
	} else if (length == LENGTH_64) {
		length = big_endian(p->head + 2, 8);
		if (length >> 63) {
			fail(ev, "length out of range");
			return;
		}
		if (length <= UINT16_MAX) {
			fail(ev, "length not in its shortest form");
			return;
		}
	}
	memcpy(p->mask, p->head + size - 4, 4);
	p->opcode = p->head[0] & BITS_OPCODE;
	p->fin = (p->head[0] & BIT_FIN) != 0;
	p->rsv1 = (p->head[0] & BIT_RSV1) != 0;
	p->left = length;
	p->in_payload = true;
	p->head_len = 0;
	if (p->fin && !is_control(p->opcode))
		p->message = 0;
	else if (p->opcode == WS_TEXT || p->opcode == WS_BINARY)
		p->message = p->opcode;
	ev->kind = WS_FRAME_BEGIN;
	ev->length = length;
}

static void describe(const struct ws_frame_parser *p, struct ws_frame_event *ev)
{
	ev->opcode = p->opcode;
	ev->fin = p->fin;
	ev->rsv1 = p->rsv1;
}

/* The same of a header that is there as a whole, as most are: no piece of a size to be found out.
 */
static size_t parse_whole_head(struct ws_frame_parser *p, const uint8_t buf[14], bool allow_rsv1,
	struct ws_frame_event *ev)
{
	const char *wrong = check_first(p, buf[0], allow_rsv1);

	memcpy(p->head, buf, sizeof(p->head));
	if (!wrong)
		wrong = check_second(p, buf[1]);
	p->head_len = 2;
	if (wrong) {
		fail(ev, wrong);
		return 2;
	}
	p->head_len = (uint8_t)head_size(p);
	begin(p, ev);
	if (ev->kind == WS_FRAME_BEGIN)
		describe(p, ev);
	return head_size_of(buf[1]);
}

static size_t parse_head(struct ws_frame_parser *p, const uint8_t *buf, size_t len, bool allow_rsv1,
	struct ws_frame_event *ev)
{
	size_t used = 0;

	if (p->head_len == 0 && len >= sizeof(p->head))
		return parse_whole_head(p, buf, allow_rsv1, ev);
	while (used < len) {
		size_t size = head_size(p), n = size - p->head_len;
		const char *wrong = NULL;
		uint8_t had = p->head_len;

		if (n > len - used)
			n = len - used;
		memcpy(p->head + p->head_len, buf + used, n);
		p->head_len = (uint8_t)(p->head_len + n);
		used += n;
		if (had == 0)
			wrong = check_first(p, p->head[0], allow_rsv1);
		if (!wrong && had < 2 && p->head_len >= 2)
			wrong = check_second(p, p->head[1]);
		if (wrong) {
			fail(ev, wrong);
			return used;
		}
		if (p->head_len == head_size(p)) {
			begin(p, ev);
			if (ev->kind == WS_FRAME_BEGIN)
				describe(p, ev);
			return used;
		}
	}
	return used;
}

bool ws_frame_sound(const struct ws_frame_parser *p)
{
	if (p->message != 0 && p->message != WS_TEXT && p->message != WS_BINARY)
		return false;
	if (p->in_payload && is_control(p->opcode))
		return p->head_len == 0 && p->fin && p->left <= WS_CONTROL_MAX;
	if (p->in_payload)
		return p->head_len == 0 && p->opcode <= WS_BINARY;
	return p->head_len < 2 ||
	       (p->head_len < head_size_of(p->head[1]) && !check_second(p, p->head[1]));
}

/* So that mask[0] fits what follows these bytes. */
static void turn(uint8_t mask[4], size_t len)
{
	uint8_t turned[4];

	for (size_t k = 0; k < 4; k++)
		turned[k] = mask[(len + k) & 3];
	memcpy(mask, turned, 4);
}

size_t ws_frame_parse(struct ws_frame_parser *p, uint8_t *buf, size_t len, bool allow_rsv1,
	struct ws_frame_event *ev)
{
	size_t n = len;

	*ev = (struct ws_frame_event){.kind = WS_FRAME_NONE};
	if (!p->in_payload)
		return parse_head(p, buf, len, allow_rsv1, ev);
	if (n > p->left)
		n = (size_t)p->left;
	if (n == 0 && p->left > 0)
		return 0;
	if (n > 0)
		mask_apply(vector_best(), p->mask, buf, n);
	p->left -= n;
	describe(p, ev);
	ev->kind = WS_FRAME_PAYLOAD;
	ev->data = buf;
	ev->len = n;
	if (p->left == 0) {
		ev->end = true;
		p->in_payload = false;
	} else {
		turn(p->mask, n);
	}
	return n;
}

size_t ws_frame_header(
	uint8_t out[WS_HEADER_MAX], uint8_t opcode, bool fin, bool rsv1, uint64_t length)
{
	out[0] = (uint8_t)((fin ? BIT_FIN : 0) | (rsv1 ? BIT_RSV1 : 0) | (opcode & BITS_OPCODE));
	if (length < LENGTH_16) {
		out[1] = (uint8_t)length;
		return 2;
	}
	if (length <= UINT16_MAX) {
		out[1] = LENGTH_16;
		out[2] = (uint8_t)(length >> 8);
		out[3] = (uint8_t)length;
		return 4;
	}
	out[1] = LENGTH_64;
	for (int i = 0; i < 8; i++)
		out[2 + i] = (uint8_t)(length >> (56 - 8 * i));
	return 10;
}

size_t ws_close_payload(uint8_t out[WS_CONTROL_MAX], uint16_t code, const char *reason)
{
	size_t len = reason ? strlen(reason) : 0;

	if (code == WS_CODE_NO_STATUS)
		return 0;
	if (len > WS_REASON_MAX) {
		len = WS_REASON_MAX;
		/* The first byte left out must begin a character. */
		while (len > 0 && ((uint8_t)reason[len] & 0xc0) == 0x80)
			len--;
	}
	out[0] = (uint8_t)(code >> 8);
	out[1] = (uint8_t)code;
	if (len > 0)
		memcpy(out + 2, reason, len);
	return 2 + len;
}

/*
 * RFC 6455 7.4: 1004, 1005, 1006 and 1015 never stand in a frame; up to 2999 only what is
 * registered (1012 to 1014 came later, with IANA); 3000 to 4999 are free.
 */
static bool code_allowed(unsigned code)
{
	if (code >= 3000)
		return code <= 4999;
	return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

uint16_t ws_close_check(const uint8_t *data, size_t len, uint16_t *code)
{
	if (len == 0) {
		*code = WS_CODE_NO_STATUS;
		return 0;
	}
	if (len < 2)
		return WS_CODE_PROTOCOL;
	*code = (uint16_t)(data[0] << 8 | data[1]);
	if (!code_allowed(*code))
		return WS_CODE_PROTOCOL;
	if (!utf8_valid(data + 2, len - 2))
		return WS_CODE_INVALID;
	return 0;
}
