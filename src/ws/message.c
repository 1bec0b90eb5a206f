#include <stdlib.h>
#include <string.h>
#include <wsgate/message.h>

#define BUFFER_MIN 256

/* Stands in for a NULL buffer: what is handed out has an address, even when its length is 0. */
static uint8_t nothing[1];

static bool is_control(uint8_t opcode)
{
	return (opcode & 0x08) != 0;
}

static void fail(struct ws_read *out, uint16_t code, const char *reason)
{
	out->kind = WS_READ_ERROR;
	out->code = code;
	out->reason = reason;
}

/* Gives back what the last call handed out. */
static void release(struct ws_reader *r)
{
	if (r->handed_out) {
		free(r->buf);
		r->buf = NULL;
		r->len = r->cap = 0;
		r->handed_out = false;
	}
	if (r->control && !(r->frame.in_payload && is_control(r->frame.opcode))) {
		free(r->control);
		r->control = NULL;
		r->control_len = 0;
	}
}

/* Room for n more bytes. `rest` is what the frame announces beyond them. */
static bool reserve(struct ws_reader *r, size_t n, uint64_t rest)
{
	size_t need = r->len + n, cap = r->cap < BUFFER_MIN / 2 ? BUFFER_MIN : 2 * (size_t)r->cap;
	uint8_t *buf;

	if (need <= r->cap)
		return true;
	if (r->frame.fin && cap > need && cap - need > rest)
		cap = need + (size_t)rest;
	if (cap < need)
		cap = need;
	buf = cap <= UINT32_MAX ? realloc(r->buf, cap) : NULL;
	if (!buf)
		return false;
	r->buf = buf;
	r->cap = (uint32_t)cap;
	return true;
}

static void control_done(const uint8_t *data, size_t len, uint8_t opcode, struct ws_read *out)
{
	uint16_t wrong;

	out->opcode = opcode;
	out->data = data;
	out->len = len;
	if (opcode != WS_CLOSE) {
		out->kind = opcode == WS_PING ? WS_READ_PING : WS_READ_PONG;
		return;
	}
	wrong = ws_close_check(data, len, &out->code);
	if (wrong) {
		fail(out, wrong,
			wrong == WS_CODE_INVALID ? "close reason is not UTF-8" : "bad close frame");
		return;
	}
	out->kind = WS_READ_CLOSE;
	if (len >= 2) {
		out->data += 2;
		out->len -= 2;
	}
}

static void control_piece(struct ws_reader *r, const struct ws_frame_event *ev, struct ws_read *out)
{
	if (ev->end && r->control_len == 0) {
		control_done(ev->data, ev->len, ev->opcode, out);
		return;
	}
	if (!r->control) {
		r->control = malloc(WS_CONTROL_MAX);
		if (!r->control) {
			fail(out, WS_CODE_INTERNAL, "out of memory");
			return;
		}
	}
	memcpy(r->control + r->control_len, ev->data, ev->len);
	r->control_len = (uint8_t)(r->control_len + ev->len);
	if (ev->end)
		control_done(r->control, r->control_len, ev->opcode, out);
}

/* A data frame's header: the only place where the length of what comes is measured. */
static void data_begin(struct ws_reader *r, const struct ws_frame_event *ev, size_t max_message,
	struct ws_read *out)
{
	if (ev->opcode != WS_CONT) {
		r->text = ev->opcode == WS_TEXT;
		r->deflated = ev->rsv1;
		r->frames = 0;
	}
	if (r->deflated)
		max_message = deflate_in_limit(max_message);
	if (r->max_frames && ++r->frames > r->max_frames)
		fail(out, WS_CODE_POLICY, "message in too many frames");
	else if (r->len > max_message || ev->length > max_message - r->len)
		fail(out, WS_CODE_TOO_BIG, "message too big");
}

/* A compressed message is whole. */
static void data_inflate(struct ws_reader *r, const struct ws_inflate *inflate, size_t max_message,
	struct ws_read *out)
{
	size_t len;

	if (!inflate) { /* begun elsewhere, where it was agreed on */
		fail(out, WS_CODE_PROTOCOL, "reserved bit set");
		return;
	}
	out->deflated = out->len;
	switch (deflate_in_message(
		inflate->in, out->data, out->len, max_message, inflate->room, &len)) {
	case DEFLATE_GOOD:
		break;
	case DEFLATE_BAD:
		fail(out, WS_CODE_INVALID, "bad compressed data");
		return;
	case DEFLATE_TOO_BIG:
		fail(out, WS_CODE_TOO_BIG, "message too big when decompressed");
		return;
	case DEFLATE_NO_MEMORY:
		fail(out, WS_CODE_INTERNAL, "out of memory");
		return;
	}
	out->data = inflate->room->buf;
	out->len = len;
	if (r->text && !utf8_valid(out->data, len))
		fail(out, WS_CODE_INVALID, "text is not UTF-8");
}

static void data_piece(struct ws_reader *r, const struct ws_frame_event *ev, struct ws_read *out)
{
	bool last = ev->end && ev->fin;

	if (r->text && !r->deflated &&
		(!utf8_feed(&r->utf8, ev->data, ev->len) || (last && r->utf8 != 0))) {
		fail(out, WS_CODE_INVALID, "text is not UTF-8");
		return;
	}
	if (last && r->len == 0) {
		out->data = ev->data;
		out->len = ev->len;
	} else if (ev->len > 0) {
		if (!reserve(r, ev->len, r->frame.left)) {
			fail(out, WS_CODE_INTERNAL, "out of memory");
			return;
		}
		memcpy(r->buf + r->len, ev->data, ev->len);
		r->len += (uint32_t)ev->len;
	}
	if (!last)
		return;
	if (r->len > 0) {
		out->data = r->buf;
		out->len = r->len;
		r->handed_out = true;
	}
	out->kind = WS_READ_MESSAGE;
	out->opcode = r->text ? WS_TEXT : WS_BINARY;
}

size_t ws_reader_feed(
	struct ws_reader *r, uint8_t *buf, size_t len, size_t max_message, struct ws_read *out)
{
	return ws_reader_feed_inflate(r, NULL, buf, len, max_message, out);
}

size_t ws_reader_feed_inflate(struct ws_reader *r, const struct ws_inflate *inflate, uint8_t *buf,
	size_t len, size_t max_message, struct ws_read *out)
{
	size_t used = 0;

	*out = (struct ws_read){.kind = WS_READ_NONE};
	release(r);
	if (!buf)
		buf = nothing;
	while (out->kind == WS_READ_NONE) {
		struct ws_frame_event ev;

		used += ws_frame_parse(&r->frame, buf + used, len - used, inflate != NULL, &ev);
		switch (ev.kind) {
		case WS_FRAME_NONE:
			return used;
		case WS_FRAME_BEGIN:
			if (!is_control(ev.opcode))
				data_begin(r, &ev, max_message, out);
			break;
		case WS_FRAME_PAYLOAD:
			if (is_control(ev.opcode))
				control_piece(r, &ev, out);
			else
				data_piece(r, &ev, out);
			if (out->kind == WS_READ_MESSAGE && r->deflated)
				data_inflate(r, inflate, max_message, out);
			break;
		case WS_FRAME_ERROR:
			fail(out, ev.code, ev.reason);
			break;
		}
	}
	return used;
}

bool ws_reader_busy(const struct ws_reader *r)
{
	return r->frame.in_payload || r->frame.head_len > 0 || r->frame.message != 0;
}

void ws_reader_clear(struct ws_reader *r)
{
	free(r->buf);
	free(r->control);
	*r = (struct ws_reader){.len = 0};
}

void ws_reader_save(const struct ws_reader *r, struct ws_reader_state *out, const uint8_t **buf,
	const uint8_t **control)
{
	const struct ws_frame_parser *f = &r->frame;

	*out = (struct ws_reader_state){.left = f->left,
		.len = r->len,
		.utf8 = r->utf8,
		.head_len = f->head_len,
		.opcode = f->opcode,
		.message = f->message,
		.control_len = r->control ? r->control_len : 0,
		.fin = f->fin,
		.rsv1 = f->rsv1,
		.in_payload = f->in_payload,
		.text = r->text,
		.deflated = r->deflated};
	memcpy(out->head, f->head, sizeof(out->head));
	memcpy(out->mask, f->mask, sizeof(out->mask));
	*buf = r->buf;
	*control = r->control;
}

/* Else what there is of one was handed out already. */
static bool in_control(const struct ws_reader_state *in)
{
	return in->in_payload && is_control(in->opcode);
}

static bool restore_buffers(struct ws_reader *r, const struct ws_reader_state *in,
	const uint8_t *buf, const uint8_t *control)
{
	if (in->len) {
		r->buf = in->len <= UINT32_MAX ? malloc(in->len) : NULL;
		if (!r->buf)
			return false;
		memcpy(r->buf, buf, in->len);
		r->len = r->cap = (uint32_t)in->len;
	}
	if (in->control_len && in_control(in)) {
		r->control = malloc(WS_CONTROL_MAX);
		if (!r->control)
			return false;
		memcpy(r->control, control, in->control_len);
		r->control_len = in->control_len;
	}
	return true;
}

bool ws_reader_restore(struct ws_reader *r, const struct ws_reader_state *in, const uint8_t *buf,
	const uint8_t *control)
{
	struct ws_frame_parser *f = &r->frame;

	if (in->control_len > WS_CONTROL_MAX || in->len > SIZE_MAX / 2 ||
		(in_control(in) && in->left > WS_CONTROL_MAX - (unsigned)in->control_len) ||
		!restore_buffers(r, in, buf, control)) {
		ws_reader_clear(r);
		return false;
	}
	f->left = in->left;
	f->head_len = in->head_len;
	f->opcode = in->opcode;
	f->message = in->message;
	f->fin = in->fin;
	f->rsv1 = in->rsv1;
	f->in_payload = in->in_payload;
	memcpy(f->head, in->head, sizeof(f->head));
	memcpy(f->mask, in->mask, sizeof(f->mask));
	r->utf8 = (utf8_state)in->utf8;
	r->text = in->text;
	r->deflated = in->deflated;
	if (ws_frame_sound(f))
		return true;
	ws_reader_clear(r);
	return false;
}
