/*
 * The first byte says how the rest is cut, and from 128 on that messages may come compressed; the
 * second how large a message may be. One piece, pieces
 * and single bytes must give the same messages and the same end; text must be UTF-8.
 */
#include <stdlib.h>
#include <string.h>
#include <wsgate/message.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct log {
	uint64_t count, sum;
	const char *reason;
	uint32_t code, end;
};

static void check(int truth)
{
	if (!truth)
		abort();
}

static void note(struct log *l, const struct ws_read *m, size_t max)
{
	if (m->kind == WS_READ_NONE)
		return;
	l->count++;
	l->sum = l->sum * 31 + m->kind * 16u + m->opcode;
	l->sum = l->sum * 31 + m->len;
	for (size_t i = 0; i < m->len; i++)
		l->sum = l->sum * 31 + m->data[i];
	if (m->kind == WS_READ_MESSAGE) {
		check(m->len <= max);
		check(m->opcode == WS_TEXT || m->opcode == WS_BINARY);
		check(m->opcode == WS_BINARY || utf8_valid(m->data, m->len));
	}
	if (m->kind == WS_READ_PING || m->kind == WS_READ_PONG)
		check(m->len <= WS_CONTROL_MAX);
	if (m->kind == WS_READ_CLOSE)
		check(m->len <= WS_REASON_MAX && utf8_valid(m->data, m->len));
	if (m->kind == WS_READ_ERROR)
		check(m->reason && (m->code == 1002 || m->code == 1007 || m->code == 1009));
	if (m->kind >= WS_READ_CLOSE) {
		l->end = m->kind;
		l->code = m->code;
		l->reason = m->reason;
	}
}

static struct log run(const struct ws_inflate *inflate, const uint8_t *data, size_t size,
	size_t piece, size_t max)
{
	struct ws_reader r = {.len = 0};
	struct log l = {.count = 0};

	for (size_t at = 0; at < size && !l.end;) {
		size_t n = piece < size - at ? piece : size - at, used = 0;
		uint8_t *copy = malloc(n);
		struct ws_read m;

		check(copy != NULL);
		memcpy(copy, data + at, n);
		do {
			used += ws_reader_feed_inflate(&r, inflate, copy + used, n - used, max, &m);
			check(used <= n);
			note(&l, &m, max);
		} while (m.kind != WS_READ_NONE && m.kind < WS_READ_CLOSE);
		check(m.kind != WS_READ_NONE || used == n);
		/* Never more than twice what came. */
		check(r.cap <= 2 * (at + n) + 256);
		if (m.kind == WS_READ_NONE && !ws_reader_busy(&r))
			check(!r.buf && !r.control);
		free(copy);
		at += n;
	}
	ws_reader_clear(&r);
	return l;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct deflate_room room;
	static struct ws_inflate shared = {NULL, &room};
	const struct ws_inflate *inflate = size > 0 && data[0] > 127 ? &shared : NULL;
	struct log whole, cut, single;
	size_t max;

	if (!shared.in)
		shared.in = deflate_in_new(15, false);
	check(shared.in != NULL);

	if (size < 2)
		return 0;
	max = (size_t)data[1] << (data[1] & 7);
	whole = run(inflate, data + 2, size - 2, size, max);
	cut = run(inflate, data + 2, size - 2, 1u + data[0], max);
	single = run(inflate, data + 2, size - 2, 1, max);
	check(memcmp(&whole, &single, sizeof(whole)) == 0);
	check(memcmp(&whole, &cut, sizeof(whole)) == 0);
	return 0;
}
