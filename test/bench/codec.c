/*
 * codec: how fast frames become messages in this process, and wslay's way of it. One line a case:
 * who, case, bytes of payload per second of CPU time. scripts/bench-codec makes the table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wslay/wslay.h>
#include <wsgate/message.h>
#include "../../src/ws/utf8_blocks.h"

#define STREAM (1u << 20) /* frames, and again from the beginning */
#define PIECE 65536       /* as the gateway reads */
#define RUNS 7
#define RUN_S 0.08

static uint8_t *stream;
static size_t stream_len, payload;
static uint8_t text[65536];
static uint64_t messages; /* of a pass: nothing is left out */

static void die(const char *why)
{
	fprintf(stderr, "codec: %s\n", why);
	exit(1);
}

static double cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The best of some runs: what else the machine does only makes it slower. */
static void measure(const char *who, const char *name, void (*pass)(void), size_t bytes)
{
	double best = 0;

	pass();
	for (int i = 0; i < RUNS; i++) {
		double begin = cpu(), now;
		size_t n = 0;

		do {
			pass();
			n += bytes;
			now = cpu();
		} while (now - begin < RUN_S);
		if ((double)n / (now - begin) > best)
			best = (double)n / (now - begin);
	}
	printf("%s\t%s\t%.0f\n", who, name, best);
}

/*
 * Whole frames up to STREAM. In place they are unmasked, and masked by the next pass, so that it
 * costs the same; texts have a mask of zeros, or they would be none the next time.
 */
static void make_stream(size_t size, uint8_t opcode)
{
	static const uint8_t key[4] = {0x12, 0xf4, 0x56, 0x9a};
	uint8_t head[WS_HEADER_MAX];

	stream_len = payload = messages = 0;
	for (;;) {
		size_t n = ws_frame_header(head, opcode, true, false, size);

		if (stream_len + n + 4 + size > STREAM)
			return;
		head[1] |= 0x80;
		memcpy(stream + stream_len, head, n);
		if (opcode == WS_BINARY)
			memcpy(stream + stream_len + n, key, 4);
		else
			memset(stream + stream_len + n, 0, 4);
		memcpy(stream + stream_len + n + 4, text, size);
		stream_len += n + 4 + size;
		payload += size;
		messages++;
	}
}

static void our_pass(void)
{
	static struct ws_reader r;
	uint64_t count = 0;
	struct ws_read m;

	for (size_t at = 0; at < stream_len;) {
		size_t len = stream_len - at < PIECE ? stream_len - at : PIECE, used = 0;

		do {
			used += ws_reader_feed(&r, stream + at + used, len - used, 1u << 20, &m);
			count += m.kind == WS_READ_MESSAGE;
		} while (m.kind == WS_READ_MESSAGE);
		if (m.kind != WS_READ_NONE)
			die(m.reason);
		at += len;
	}
	if (count != messages)
		die("messages are missing");
}

/* ---- wslay ---- */

static wslay_event_context_ptr wslay;
static size_t wslay_at;
static uint64_t wslay_count;

static ssize_t wslay_take(
	wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *arg)
{
	size_t n = stream_len - wslay_at;

	(void)flags;
	(void)arg;
	if (n == 0) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	if (n > len)
		n = len;
	memcpy(buf, stream + wslay_at, n);
	wslay_at += n;
	return (ssize_t)n;
}

static void wslay_message(
	wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *m, void *arg)
{
	(void)ctx;
	(void)arg;
	wslay_count += m->opcode == WSLAY_BINARY_FRAME || m->opcode == WSLAY_TEXT_FRAME;
}

static void wslay_pass(void)
{
	wslay_at = wslay_count = 0;
	if (wslay_event_recv(wslay) != 0 || wslay_count != messages)
		die("wslay does not take it");
}

/* ---- UTF-8 alone ---- */

static enum vector make;

static void utf8_pass(void)
{
	for (int i = 0; i < 16; i++) {
		utf8_state s = 0;

		if (!utf8_feed_as(make, &s, text, sizeof(text)) || s != 0)
			die("that is UTF-8");
	}
}

static void fill(const char *sample)
{
	size_t n = strlen(sample), at = 0;

	memset(text, 'x', sizeof(text));
	for (; at + n <= sizeof(text); at += n)
		memcpy(text + at, sample, n);
}

static void each(const char *name, size_t size, uint8_t opcode)
{
	make_stream(size, opcode);
	measure("wsgate", name, our_pass, payload);
	measure("wslay", name, wslay_pass, payload);
}

static void alone(const char *name)
{
	static const char *const makes[] = {"wsgate, plain", "wsgate, 128 bits", "wsgate"};

	for (make = VECTOR_PLAIN; make <= vector_best(); make++)
		measure(make == vector_best() ? "wsgate" : makes[make], name, utf8_pass,
			16 * sizeof(text));
}

int main(void)
{
	const struct wslay_event_callbacks callbacks = {
		.recv_callback = wslay_take, .on_msg_recv_callback = wslay_message};

	stream = malloc(STREAM);
	if (!stream || wslay_event_context_server_init(&wslay, &callbacks, NULL) != 0)
		die("no memory");
	fill("{\"id\":12345,\"user\":\"alice@example.org\",\"state\":\"shipped\"},");
	each("binary 16 B", 16, WS_BINARY);
	each("binary 128 B", 128, WS_BINARY);
	each("binary 1 kB", 1024, WS_BINARY);
	each("binary 64 kB", 65536, WS_BINARY);
	each("text 128 B, ASCII", 128, WS_TEXT);
	each("text 64 kB, ASCII", 65536, WS_TEXT);
	alone("UTF-8 alone, ASCII");
	/* German, Greek, Japanese, an emoji. */
	fill("Gr\xc3\xbc\xc3\x9f"
	     "e \xce\xba\xcf\x8c\xcf\x83\xce\xbc\xce\xb5 "
	     "\xe3\x81\x93\xe3\x82\x93\xe3\x81\xab\xe3\x81\xa1 \xf0\x9f\x98\x80, ");
	each("text 64 kB, mixed", 65536, WS_TEXT);
	alone("UTF-8 alone, mixed");
	wslay_event_context_free(wslay);
	free(stream);
	return 0;
}
