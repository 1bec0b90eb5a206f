/*
 * The first byte says how the rest is cut. However it is cut, headers, payloads and the verdict
 * must be the same.
 */
#include <stdlib.h>
#include <string.h>
#include <wsgate/frame.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct log {
	uint64_t headers, bytes, sum, ends;
	uint64_t last_length, end; /* no padding: compared as it is */
	const char *reason;
};

static void check(int truth)
{
	if (!truth)
		abort();
}

static void note(struct log *l, const struct ws_frame_event *ev)
{
	switch (ev->kind) {
	case WS_FRAME_NONE:
		break;
	case WS_FRAME_BEGIN:
		check(ev->opcode <= 2 || (ev->opcode >= 8 && ev->opcode <= 10));
		check(ev->opcode < 8 || (ev->fin && ev->length <= WS_CONTROL_MAX));
		check(ev->length <= INT64_MAX);
		l->headers = l->headers * 31 + ev->opcode + ev->fin * 16u + ev->rsv1 * 32u;
		l->last_length = ev->length;
		break;
	case WS_FRAME_PAYLOAD:
		check(ev->len <= l->last_length);
		for (size_t i = 0; i < ev->len; i++)
			l->sum = l->sum * 31 + ev->data[i];
		l->bytes += ev->len;
		l->last_length -= ev->len;
		check(ev->end == (l->last_length == 0));
		l->ends += ev->end;
		break;
	case WS_FRAME_ERROR:
		check(ev->code == WS_CODE_PROTOCOL && ev->reason);
		l->end = WS_FRAME_ERROR;
		l->reason = ev->reason;
		break;
	}
}

static struct log run(const uint8_t *data, size_t size, size_t piece, bool rsv1)
{
	struct ws_frame_parser p = {.left = 0};
	struct log l = {.end = WS_FRAME_NONE};

	for (size_t at = 0; at < size && l.end != WS_FRAME_ERROR;) {
		size_t n = piece < size - at ? piece : size - at, used = 0;
		uint8_t *copy = malloc(n);
		struct ws_frame_event ev;

		check(copy != NULL);
		memcpy(copy, data + at, n);
		do {
			used += ws_frame_parse(&p, copy + used, n - used, rsv1, &ev);
			check(used <= n);
			note(&l, &ev);
		} while (ev.kind != WS_FRAME_NONE && ev.kind != WS_FRAME_ERROR);
		check(ev.kind == WS_FRAME_ERROR || used == n);
		free(copy);
		at += n;
	}
	return l;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct log whole, cut, single;
	uint16_t code;
	bool rsv1;

	if (size < 1)
		return 0;
	(void)!ws_close_check(data, size, &code);
	rsv1 = data[0] & 0x80;
	whole = run(data + 1, size - 1, size, rsv1);
	cut = run(data + 1, size - 1, 1u + (data[0] & 0x7f), rsv1);
	single = run(data + 1, size - 1, 1, rsv1);
	check(memcmp(&whole, &single, sizeof(whole)) == 0);
	check(memcmp(&whole, &cut, sizeof(whole)) == 0);
	return 0;
}
