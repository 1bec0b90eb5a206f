#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <zlib.h>
#include <wsgate/message.h>

#define MAX (1u << 20)

/* Linked with --wrap: refuses on demand. zlib's own malloc is not among them. */
void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);
static bool refuse;

void *__wrap_realloc(void *p, size_t n)
{
	return refuse ? NULL : __real_realloc(p, n);
}

static uint8_t text[MAX + 100000]; /* compressible, and not only nearby */

static void fill(void)
{
	static const char *const words[] = {"{\"id\":", "\"user\":\"", "@example.org\",", "true,",
		"\"time\":\"2026-11-", "null},\n", "[[", "]]"};
	uint32_t x = 1;
	size_t n = 0;

	while (n < sizeof(text)) {
		const char *w = words[(x = x * 1664525u + 1013904223u) >> 29];
		size_t len = strlen(w);

		for (size_t i = 0; i < len && n < sizeof(text); i++)
			text[n++] = (uint8_t)w[i];
		if (n < sizeof(text))
			text[n++] = (uint8_t)('0' + (x >> 20) % 10);
	}
}

/*
 * What a client with a window of so many bits makes of it, byte by byte, so that zlib has nothing
 * but its window to look back to. False: it cannot.
 */
static bool client_reads(
	z_stream *z, const uint8_t *data, size_t len, const uint8_t *want, size_t n)
{
	static const uint8_t tail[4] = {0, 0, 0xff, 0xff};
	uint8_t *all = malloc(len + 4), byte;
	size_t got = 0;
	int r = Z_OK;

	assert_non_null(all);
	memcpy(all, data, len);
	memcpy(all + len, tail, 4);
	z->next_in = all;
	z->avail_in = (uInt)len + 4;
	while (r == Z_OK) {
		z->next_out = &byte;
		z->avail_out = 1;
		r = inflate(z, Z_SYNC_FLUSH);
		if (r == Z_OK && z->avail_out == 0 && (got == n || byte != want[got++]))
			r = Z_DATA_ERROR;
	}
	free(all);
	return r == Z_BUF_ERROR && got == n && z->avail_in == 0;
}

/* Every size of window, with and without context: a client with a window of that size reads it. */
static void test_out(void **state)
{
	static const size_t sizes[] = {1, 2, 20, 300, 1000, 5000, 70000, 7, 300000, 40};
	struct deflate_room room = {NULL, 0};

	(void)state;
	for (unsigned bits = 8; bits <= 15; bits++) {
		for (unsigned k = 0; k < 4; k++) {
			struct deflate_out *o = deflate_out_new(bits, k & 2 ? 6 : 1, 5, k & 1);
			z_stream z = {.zalloc = NULL};
			unsigned shorter = 0;

			assert_non_null(o);
			assert_int_equal(inflateInit2(&z, -(int)bits), Z_OK);
			for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
				const uint8_t *m = text + 31 * i;
				size_t n = deflate_out_message(o, m, sizes[i], &room);

				if (!(k & 1))
					inflateReset(&z);
				assert_true(n > 0 || !(k & 1));
				shorter += n > 0 && n < sizes[i];
				if (n && !client_reads(&z, room.buf, n, m, sizes[i]))
					fail_msg("%u bits, %zu bytes", bits, sizes[i]);
			}
			assert_true(shorter > (bits == 8 ? 2 : 5));
			inflateEnd(&z);
			deflate_out_free(o);
		}
	}
	deflate_room_free(&room);
}

/* Noise: goes as it is, and with context is compressed all the same, because it must be. */
static void test_incompressible(void **state)
{
	struct deflate_out *o = deflate_out_new(12, 6, 5, false);
	struct deflate_room room = {NULL, 0};
	uint8_t noise[5000];
	uint32_t x = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)((x = x * 1664525u + 1013904223u) >> 24);
	assert_int_equal(deflate_out_message(o, noise, sizeof(noise), &room), 0);
	assert_true(deflate_out_message(o, text, 5000, &room) > 0); /* and goes on */
	deflate_out_free(o);
	o = deflate_out_new(12, 6, 5, true);
	assert_in_range(deflate_out_message(o, noise, sizeof(noise), &room), sizeof(noise), 5100);
	deflate_out_free(o);
	deflate_room_free(&room);
}

static size_t compress_as(
	z_stream *z, const uint8_t *data, size_t len, int flush, uint8_t *out, size_t outlen)
{
	z->next_in = (Bytef *)(uintptr_t)data;
	z->avail_in = (uInt)len;
	z->next_out = out;
	z->avail_out = (uInt)outlen;
	assert_true(deflate(z, flush) >= 0);
	assert_int_equal(z->avail_in, 0);
	return outlen - z->avail_out;
}

/* As any client may make it: all levels, windows and strategies; full flushes; stored blocks. */
static void test_in(void **state)
{
	static uint8_t out[2 * MAX];
	static const int strategies[] = {
		Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED};
	struct deflate_room room = {NULL, 0};

	(void)state;
	for (int level = 0; level <= 9; level += 3) {
		for (int k = 0; k < 10; k++) {
			struct deflate_in *in = deflate_in_new(15, k & 1);
			z_stream z = {.zalloc = NULL};

			assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, -9 - k % 7, 8,
						 strategies[k / 2]),
				Z_OK);
			for (size_t len = 0; len < 200000; len = len * 5 + 1) {
				size_t n, got;

				if (!(k & 1))
					deflateReset(&z);
				n = compress_as(&z, text + len % 7, len,
					len % 3 ? Z_SYNC_FLUSH : Z_FULL_FLUSH, out, sizeof(out));
				if (len == 0 && n == 0) /* nothing new since the last flush */
					n = 5, memcpy(out, "\0\0\0\xff\xff", 5);
				assert_int_equal(
					deflate_in_message(in, out, n - 4, MAX, &room, &got),
					DEFLATE_GOOD);
				assert_int_equal(got, len);
				assert_memory_equal(room.buf, text + len % 7, len);
			}
			deflateEnd(&z);
			deflate_in_free(in);
		}
	}
	deflate_room_free(&room);
}

/* RFC 7692 7.2.3: its own examples; the first one of each pair has more than one block. */
static void test_examples(void **state)
{
	static const struct {
		const char *data;
		size_t len;
	} hello[] = {
		{"\xf2\x48\xcd\xc9\xc9\x07\x00", 7},
		{"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 11},         /* stored */
		{"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8},                      /* a last block */
		{"\xf3\x48\xcd\xc9\xc9\x07\x00", 7},                          /* and no more */
		{"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 13}, /* two blocks */
	};
	struct deflate_in *in = deflate_in_new(15, true);
	struct deflate_room room = {NULL, 0};
	size_t got;

	(void)state;
	for (size_t i = 0; i < sizeof(hello) / sizeof(*hello); i++) {
		assert_int_equal(deflate_in_message(in, (const uint8_t *)hello[i].data,
					 hello[i].len, 5, &room, &got),
			DEFLATE_GOOD);
		assert_int_equal(got, 5);
		assert_memory_equal(room.buf, "Hello", 5);
	}
	/* 7.2.3.2: it refers to the messages before, also over a last block. */
	assert_int_equal(
		deflate_in_message(in, (const uint8_t *)"\xf2\x00\x11\x00\x00", 5, 5, &room, &got),
		DEFLATE_GOOD);
	assert_int_equal(got, 5);
	assert_memory_equal(room.buf, "Hello", 5);
	assert_int_equal(
		deflate_in_message(in, (const uint8_t *)"", 1, 5, &room, &got), DEFLATE_GOOD);
	assert_int_equal(got, 0);
	deflate_in_free(in);
	/* Without context it refers to nothing. */
	in = deflate_in_new(15, false);
	assert_int_equal(deflate_in_message(in, (const uint8_t *)hello[0].data, 7, 5, &room, &got),
		DEFLATE_GOOD);
	assert_int_equal(
		deflate_in_message(in, (const uint8_t *)"\xf2\x00\x11\x00\x00", 5, 5, &room, &got),
		DEFLATE_BAD);
	deflate_in_free(in);
	deflate_room_free(&room);
}

static void test_bad(void **state)
{
	static const struct {
		const char *data;
		size_t len;
	} bad[] = {
		{"", 0},                                              /* not even a block */
		{"\x07", 1},                                          /* no such kind of block */
		{"\x00\x05\x00\xfa\xfe\x48\x65\x6c\x6c\x6f\x00", 11}, /* stored, a wrong length */
		{"\x00\x05\x00\xfa\xff\x48\x65", 7},                  /* ends within a block */
		{"\xf2\x48\xcd\xc9\xc9", 5}, {"\xf2\x48\xcd\xc9\xc9\x07", 6},
		{"\xf2\x48\xcd\xc9\xc9\x07\x00\xff", 8}, {"\xff\xff\xff\xff", 4},
		{"\x04\xff\xff\xff\xff\xff\xff", 7}, /* codes that cannot be */
		{"\x62\x00\x11\x00\x00", 5},         /* too far back */
	};
	struct deflate_in *in = deflate_in_new(15, false);
	struct deflate_room room = {NULL, 0};
	size_t got;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (deflate_in_message(in, (const uint8_t *)bad[i].data, bad[i].len, MAX, &room,
			    &got) != DEFLATE_BAD)
			fail_msg("row %zu", i);
	/* The decompressor of many connections goes on. */
	assert_int_equal(deflate_in_message(in, (const uint8_t *)"\xf2\x48\xcd\xc9\xc9\x07", 7, MAX,
				 &room, &got),
		DEFLATE_GOOD);
	deflate_in_free(in);
	deflate_room_free(&room);
}

/* A bomb: no more than what is allowed is ever there. */
static void test_bomb(void **state)
{
	static uint8_t zeros[8 * MAX], out[MAX];
	struct deflate_in *in = deflate_in_new(15, false);
	struct deflate_room room = {NULL, 0};
	z_stream z = {.zalloc = NULL};
	size_t n, got;

	(void)state;
	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 9, 0), Z_OK);
	n = compress_as(&z, zeros, sizeof(zeros), Z_SYNC_FLUSH, out, sizeof(out)) - 4;
	assert_true(n < 10000);
	for (size_t max = 1; max <= MAX; max *= 2) {
		assert_int_equal(deflate_in_message(in, out, n, max, &room, &got), DEFLATE_TOO_BIG);
		assert_true(room.cap <= (max + 1 < 1024 ? 1024 : max + 1));
	}
	assert_int_equal(
		deflate_in_message(in, out, n, sizeof(zeros) - 1, &room, &got), DEFLATE_TOO_BIG);
	assert_int_equal(deflate_in_message(in, out, n, sizeof(zeros), &room, &got), DEFLATE_GOOD);
	assert_int_equal(got, sizeof(zeros));
	deflate_room_rest(&room);
	assert_int_equal(room.cap, 0);
	refuse = true;
	assert_int_equal(
		deflate_in_message(in, out, n, sizeof(zeros), &room, &got), DEFLATE_NO_MEMORY);
	refuse = false;
	deflateEnd(&z);
	deflate_in_free(in);
	deflate_room_free(&room);
}

/* Windows that are carried to another process: the stream goes on there. */
static void test_windows(void **state)
{
	static uint8_t window[DEFLATE_WINDOW_MAX];

	(void)state;
	for (unsigned bits = 8; bits <= 15; bits++) {
		struct deflate_out *o = deflate_out_new(bits, 6, 5, true);
		struct deflate_in *in = deflate_in_new(bits, true);
		struct deflate_room sent = {NULL, 0}, read = {NULL, 0};
		size_t short_one = SIZE_MAX;

		for (unsigned i = 0; i < 40; i++) {
			size_t len = 100 + 37 * i % 4 * 1000, n, got;
			const uint8_t *m = text + 90 * (i % 2);

			n = deflate_out_message(o, m, len, &sent);
			assert_true(n > 0);
			assert_int_equal(deflate_in_message(in, sent.buf, n, MAX, &read, &got),
				DEFLATE_GOOD);
			assert_int_equal(got, len);
			assert_memory_equal(read.buf, m, len);
			if (len == 100 && n < short_one)
				short_one = n;
			if (i % 3 == 0) {
				n = deflate_out_window(o, NULL);
				assert_int_equal(deflate_out_window(o, window), n);
				deflate_out_free(o);
				o = deflate_out_new(bits, 6, 5, true);
				assert_true(deflate_out_restore(o, window, n));
			}
			if (i % 3 == 1) {
				n = deflate_in_window(in, NULL);
				assert_true(n <= 1u << (bits < 9 ? 9 : bits));
				assert_int_equal(deflate_in_window(in, window), n);
				deflate_in_free(in);
				in = deflate_in_new(bits, true);
				assert_true(deflate_in_restore(in, window, n));
			}
		}
		if (bits > 8)
			assert_true(short_one < 40); /* it did remember */
		deflate_out_free(o);
		deflate_in_free(in);
		deflate_room_free(&sent);
		deflate_room_free(&read);
	}
}

/* ---- through the reader of messages ---- */

static uint8_t wire[MAX];
static size_t wire_len;

static void frame(uint8_t first, const void *data, size_t len)
{
	static const uint8_t key[4] = {0x12, 0xf4, 0x56, 0x9a};
	uint8_t head[WS_HEADER_MAX];
	size_t n = ws_frame_header(head, 0, false, false, len);

	head[0] = first;
	head[1] |= 0x80;
	memcpy(wire + wire_len, head, n);
	memcpy(wire + wire_len + n, key, 4);
	wire_len += n + 4;
	for (size_t i = 0; i < len; i++)
		wire[wire_len++] = ((const uint8_t *)data)[i] ^ key[i % 4];
}

#define HELLO "\xf2\x48\xcd\xc9\xc9\x07\x00"

/* What a reader says, as text, when the bytes come in pieces of that size. */
static void said(size_t piece, const struct ws_inflate *inflate, size_t max, char out[1000])
{
	static uint8_t copy[MAX];
	struct ws_reader r = {.len = 0};
	struct ws_read m = {.kind = WS_READ_NONE};
	size_t n = 0;

	*out = '\0';
	for (size_t at = 0; at < wire_len && m.kind < WS_READ_CLOSE;) {
		size_t len = piece < wire_len - at ? piece : wire_len - at, used = 0;

		memcpy(copy, wire + at, len);
		do {
			used += ws_reader_feed_inflate(
				&r, inflate, copy + used, len - used, max, &m);
			if (m.kind == WS_READ_NONE)
				break;
			if (m.kind == WS_READ_ERROR)
				snprintf(out + n, 1000 - n, "error %u;", m.code);
			else
				n += (size_t)snprintf(out + n, 1000 - n, "%u %.*s %zu;", m.opcode,
					(int)m.len, (const char *)m.data, m.deflated);
		} while (m.kind < WS_READ_CLOSE);
		at += len;
	}
	ws_reader_clear(&r);
}

static void expect(const char *want, const struct ws_inflate *inflate, size_t max)
{
	for (size_t piece = 1; piece <= wire_len; piece = piece < 12 ? piece + 1 : piece * 4) {
		char got[1000];

		said(piece, inflate, max, got);
		if (strcmp(got, want) != 0)
			fail_msg("in pieces of %zu: %s, not %s", piece, got, want);
	}
	wire_len = 0;
}

static void test_reader(void **state)
{
	struct deflate_room room = {NULL, 0};
	const struct ws_inflate inflate = {deflate_in_new(15, false), &room};
	char name[1200];

	(void)state;
	frame(0xc1, HELLO, 7);
	frame(0x81, "plain", 5);
	frame(0x41, HELLO, 3); /* in pieces, with control frames between; compressed as a whole */
	frame(0x89, "ping", 4);
	frame(0x00, HELLO + 3, 2);
	frame(0x00, "", 0);
	frame(0x8a, "", 0);
	frame(0x80, HELLO + 5, 2);
	frame(0xc2, HELLO, 7);
	frame(0xc1, "", 1);
	frame(0x82, "x", 1);
	expect("1 Hello 7;1 plain 0;9 ping 0;10  0;1 Hello 7;2 Hello 7;1  1;2 x 0;", &inflate, 100);
	/* RSV1 elsewhere than in the first frame of a data message (RFC 7692 6), or not agreed on.
	 */
	frame(0xc9, "", 0);
	expect("error 1002;", &inflate, 100);
	frame(0x41, HELLO, 3);
	frame(0xc0, HELLO + 3, 4);
	expect("error 1002;", &inflate, 100);
	frame(0x02, HELLO, 3);
	frame(0xc0, HELLO + 3, 4);
	expect("error 1002;", &inflate, 100);
	frame(0xc1, HELLO, 7);
	expect("error 1002;", NULL, 100);
	frame(0xe1, HELLO, 7);
	expect("error 1002;", &inflate, 100);
	/* Bad data; text that is none, when it can be seen; the same bytes are good as binary. */
	frame(0xc2, "\xff\xff\xff", 3);
	expect("error 1007;", &inflate, 100);
	frame(0xc1, "\x00\x02\x00\xfd\xff\xc3\x28\x00", 8);
	expect("error 1007;", &inflate, 100);
	frame(0xc2, "\x00\x02\x00\xfd\xff\xc3\x28\x00", 8);
	expect("2 \xc3\x28 8;", &inflate, 100);
	/* Too much of it: when it is decompressed; by its mere length, before it comes. */
	frame(0xc1, HELLO, 7);
	expect("1 Hello 7;", &inflate, 5);
	frame(0xc1, HELLO, 7);
	expect("error 1009;", &inflate, 4);
	memset(name, 0, sizeof(name));
	frame(0x42, name, 1000);
	frame(0x00, name, 64 + 64 / 8 + 24 + 1);
	expect("error 1009;", &inflate, 64);
	deflate_in_free(inflate.in);
	deflate_room_free(&room);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_out),
		cmocka_unit_test(test_incompressible),
		cmocka_unit_test(test_in),
		cmocka_unit_test(test_examples),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_bomb),
		cmocka_unit_test(test_windows),
		cmocka_unit_test(test_reader),
	};

	fill();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
