#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <wsgate/message.h>

#define MAX 100000

/* Linked with --wrap: counts what the reader asks for and refuses on demand. */
void *__real_malloc(size_t n);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_realloc(void *p, size_t n);
static bool refuse;
static size_t asked, asked_most;

static void note(size_t n)
{
	asked++;
	if (n > asked_most)
		asked_most = n;
}

void *__wrap_malloc(size_t n)
{
	note(n);
	return refuse ? NULL : __real_malloc(n);
}

void *__wrap_realloc(void *p, size_t n)
{
	note(n);
	return refuse ? NULL : __real_realloc(p, n);
}

struct bytes {
	uint8_t b[2 * MAX];
	size_t n;
};
static struct bytes in;

/* Appends a masked frame; announced: the length in the header when it is not len. */
static void frame_announced(uint8_t first, const void *data, size_t len, uint64_t announced)
{
	static const uint8_t key[4] = {0x12, 0xf4, 0x56, 0x9a};
	uint8_t head[WS_HEADER_MAX];
	size_t n = ws_frame_header(head, first & 15, first >> 7, first >> 6 & 1, announced);

	head[1] |= 0x80;
	memcpy(in.b + in.n, head, n);
	memcpy(in.b + in.n + n, key, 4);
	in.n += n + 4;
	for (size_t i = 0; i < len; i++)
		in.b[in.n++] = ((const uint8_t *)data)[i] ^ key[i % 4];
}

static void frame(uint8_t first, const void *data, size_t len)
{
	frame_announced(first, data, len, len);
}

/* What a reader says, as text: one item an event. */
static char said[1 << 14];

static void say(const struct ws_read *m)
{
	static const char *const names[] = {"none", "message", "ping", "pong", "close", "error"};
	size_t n = strlen(said);
	uint32_t sum = 0;

	for (size_t i = 0; i < m->len; i++)
		sum = sum * 31 + m->data[i];
	snprintf(said + n, sizeof(said) - n, "%s %u %zu %08x %u;", names[m->kind], m->opcode,
		m->len, (unsigned)sum, m->code);
}

/* To another worker: nothing of the old reader is left, and nothing of it is missing. */
static void move_reader(struct ws_reader *r)
{
	const uint8_t *buf, *control;
	struct ws_reader_state st;
	struct ws_reader to = {.len = 0};
	struct ws_read none;

	ws_reader_feed(r, NULL, 0, 0, &none); /* what was handed out goes */
	ws_reader_save(r, &st, &buf, &control);
	assert_true(ws_reader_restore(&to, &st, buf, control));
	ws_reader_clear(r);
	memset(r, 0xee, sizeof(*r));
	*r = to;
}

/* Feeds `in` in pieces; returns the last event that is not NONE. moves: to another reader after
 * each piece. */
static struct ws_read run(size_t piece, size_t max_message, bool moves)
{
	struct ws_reader r = {.len = 0};
	struct ws_read m = {.kind = WS_READ_NONE}, last = m;
	uint8_t *copy = malloc(in.n);

	assert_non_null(copy);
	memcpy(copy, in.b, in.n);
	said[0] = '\0';
	for (size_t at = 0, n; at < in.n; at += n) {
		size_t used = 0;

		n = piece < in.n - at ? piece : in.n - at;
		do {
			used += ws_reader_feed(&r, copy + at + used, n - used, max_message, &m);
			assert_true(used <= n);
			if (m.kind != WS_READ_NONE) {
				assert_non_null(m.data ? m.data : (const void *)m.reason);
				say(&m);
				last = m;
			}
		} while (m.kind != WS_READ_NONE && m.kind < WS_READ_CLOSE);
		if (m.kind >= WS_READ_CLOSE)
			break;
		assert_int_equal(used, n);
		if (moves)
			move_reader(&r);
	}
	if (m.kind == WS_READ_NONE) {
		assert_false(ws_reader_busy(&r));
		assert_null(r.buf);
		assert_null(r.control);
	}
	last.data = NULL;
	ws_reader_clear(&r);
	assert_null(r.buf);
	free(copy);
	return last;
}

/* All ways to cut must say the same. */
static struct ws_read run_all(size_t max_message)
{
	char one_piece[sizeof(said)];
	struct ws_read last = run(SIZE_MAX, max_message, false);

	strcpy(one_piece, said);
	for (size_t piece = 1; piece < 20; piece++) {
		run(piece, max_message, false);
		assert_string_equal(said, one_piece);
		run(piece, max_message, true);
		assert_string_equal(said, one_piece);
	}
	return last;
}

static void test_in_place(void **state)
{
	struct ws_reader r = {.len = 0};
	struct ws_read m;

	(void)state;
	in.n = 0;
	frame(0x81, "Hello", 5);
	frame(0x82, "", 0);
	frame(0x89, "ping", 4);
	asked = 0;
	assert_int_equal(ws_reader_feed(&r, in.b, in.n, MAX, &m), 11);
	assert_int_equal(m.kind, WS_READ_MESSAGE);
	assert_int_equal(m.opcode, WS_TEXT);
	assert_ptr_equal(m.data, in.b + 6);
	assert_int_equal(m.len, 5);
	assert_memory_equal(m.data, "Hello", 5);
	assert_int_equal(ws_reader_feed(&r, in.b + 11, in.n - 11, MAX, &m), 6);
	assert_int_equal(m.kind, WS_READ_MESSAGE);
	assert_int_equal(m.opcode, WS_BINARY);
	assert_int_equal(m.len, 0);
	assert_int_equal(ws_reader_feed(&r, in.b + 17, in.n - 17, MAX, &m), 10);
	assert_int_equal(m.kind, WS_READ_PING);
	assert_memory_equal(m.data, "ping", 4);
	assert_int_equal(ws_reader_feed(&r, NULL, 0, MAX, &m), 0);
	assert_int_equal(m.kind, WS_READ_NONE);
	assert_int_equal(asked, 0);
}

static void test_fragments_and_control(void **state)
{
	uint8_t big[5000];

	(void)state;
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 11);
	in.n = 0;
	frame(0x01, "Hel", 3);
	frame(0x89, "are you there", 13);
	frame(0x00, "", 0);
	frame(0x8a, "", 0);
	frame(0x80, "lo", 2);
	frame(0x02, "", 0);
	frame(0x00, big, sizeof(big));
	frame(0x8a, big, 125);
	frame(0x80, big, 77);
	frame(0x01, "", 0);
	frame(0x80, "", 0);
	frame(0x88, "\x03\xe9going", 7);
	frame(0x81, "not to be read", 14);
	run_all(MAX);
	/* Sums of "Hello" and the like, so that the text is compared too. */
	assert_non_null(strstr(said, "ping 9 13 "));
	assert_non_null(strstr(said, "pong 10 0 "));
	assert_non_null(strstr(said, "message 1 5 042628b2 0;pong 10 125 "));
	assert_non_null(strstr(said, "message 2 5077 "));
	assert_non_null(strstr(said, "message 1 0 00000000 0;close 8 5 "));
	assert_non_null(strstr(said, " 1001;"));
	assert_null(strstr(said, "message 1 14"));
}

static void test_collected_content(void **state)
{
	struct ws_reader r = {.len = 0};
	struct ws_read m;

	(void)state;
	in.n = 0;
	frame(0x01, "Hel", 3);
	frame(0x80, "lo", 2);
	for (size_t i = 0; i + 1 < in.n; i++) {
		assert_int_equal(ws_reader_feed(&r, in.b + i, 1, MAX, &m), 1);
		assert_int_equal(m.kind, WS_READ_NONE);
		assert_true(ws_reader_busy(&r));
	}
	ws_reader_feed(&r, in.b + in.n - 1, 1, MAX, &m);
	assert_int_equal(m.kind, WS_READ_MESSAGE);
	assert_int_equal(m.len, 5);
	assert_memory_equal(m.data, "Hello", 5);
	assert_false(ws_reader_busy(&r));
	ws_reader_feed(&r, NULL, 0, MAX, &m);
	assert_null(r.buf);
	ws_reader_clear(&r);
}

static void test_close(void **state)
{
	struct ws_read m;

	(void)state;
	in.n = 0;
	frame(0x88, "", 0);
	m = run_all(MAX);
	assert_int_equal(m.kind, WS_READ_CLOSE);
	assert_int_equal(m.code, 1005);
	assert_int_equal(m.len, 0);
	in.n = 0;
	frame(0x88, "\x0f\xa0why", 5);
	m = run_all(MAX);
	assert_int_equal(m.kind, WS_READ_CLOSE);
	assert_int_equal(m.code, 4000);
	assert_int_equal(m.len, 3);
	in.n = 0;
	frame(0x88, "\x03\xed", 2);
	m = run_all(MAX);
	assert_int_equal(m.kind, WS_READ_ERROR);
	assert_int_equal(m.code, 1002);
	in.n = 0;
	frame(0x88, "\x03\xe8\xff", 3);
	m = run_all(MAX);
	assert_int_equal(m.kind, WS_READ_ERROR);
	assert_int_equal(m.code, 1007);
	in.n = 0;
	frame(0x88, "\x03", 1);
	assert_int_equal(run_all(MAX).code, 1002);
}

static void test_text(void **state)
{
	struct ws_read m;

	(void)state;
	in.n = 0;
	frame(0x01, "\xe2", 1); /* a character over two frames, a Ping between */
	frame(0x89, "\xff", 1);
	frame(0x80, "\x82\xac", 2);
	m = run_all(MAX);
	assert_int_equal(m.kind, WS_READ_MESSAGE);
	assert_int_equal(m.len, 3);
	in.n = 0;
	frame(0x81, "\xe2\x82", 2); /* ends inside a character */
	m = run_all(MAX);
	assert_int_equal(m.kind, WS_READ_ERROR);
	assert_int_equal(m.code, 1007);
	in.n = 0;
	frame(0x01, "\xe2\x82", 2);
	frame(0x80, "", 0);
	assert_int_equal(run_all(MAX).code, 1007);
	in.n = 0;
	frame(0x01, "\xf4", 1);
	frame_announced(0x00, "\x90", 1, 1000); /* impossible already, though the rest is missing */
	m = run_all(MAX);
	assert_int_equal(m.kind, WS_READ_ERROR);
	assert_int_equal(m.code, 1007);
	in.n = 0;
	frame(0x82, "\xff\xfe", 2); /* binary is not text */
	frame(0x02, "\xff", 1);
	frame(0x80, "\xff", 1);
	m = run_all(MAX);
	assert_int_equal(m.kind, WS_READ_MESSAGE);
	assert_int_equal(m.opcode, WS_BINARY);
	in.n = 0;
	frame(0x01, "a", 1); /* a broken end must not leak into the next text */
	frame(0x80, "b", 1);
	frame(0x81, "\xc3\xa9", 2);
	assert_int_equal(run_all(MAX).kind, WS_READ_MESSAGE);
}

static void test_limits(void **state)
{
	uint8_t data[300] = {0};
	struct ws_read m;

	(void)state;
	in.n = 0;
	frame(0x82, data, 300);
	m = run_all(300);
	assert_int_equal(m.kind, WS_READ_MESSAGE);
	assert_int_equal(m.len, 300);
	m = run_all(299);
	assert_int_equal(m.kind, WS_READ_ERROR);
	assert_int_equal(m.code, 1009);
	in.n = 0;
	frame(0x02, data, 200);
	frame(0x89, data, 100); /* does not count */
	frame(0x80, data, 100);
	assert_int_equal(run_all(300).len, 300);
	m = run_all(299);
	assert_int_equal(m.kind, WS_READ_ERROR);
	assert_int_equal(m.code, 1009);
	in.n = 0;
	frame_announced(0x82, data, 0, INT64_MAX);
	assert_int_equal(run_all(300).code, 1009);
	in.n = 0;
	frame(0x02, data, 200); /* a sum that would overflow */
	frame_announced(0x80, data, 0, INT64_MAX);
	assert_int_equal(run_all(300).code, 1009);
}

/* What is announced costs nothing, and what comes at most twice itself. */
static void test_announced_allocates_nothing(void **state)
{
	struct ws_reader r = {.len = 0};
	struct ws_read m;
	uint8_t data[64] = {0};

	(void)state;
	in.n = 0;
	frame_announced(0x82, data, 0, 1u << 30);
	asked = 0;
	ws_reader_feed(&r, in.b, in.n, SIZE_MAX, &m);
	assert_int_equal(m.kind, WS_READ_NONE);
	assert_true(ws_reader_busy(&r));
	assert_int_equal(asked, 0);
	asked_most = 0;
	for (size_t i = 0; i < 1000; i++) {
		ws_reader_feed(&r, data, sizeof(data), SIZE_MAX, &m);
		assert_int_equal(m.kind, WS_READ_NONE);
		assert_true(asked_most <= (i < 4 ? 256 : 2 * (i + 1) * sizeof(data)));
	}
	assert_true(asked < 12);
	ws_reader_clear(&r);
	/* A message whose end is known gets no more than that. */
	in.n = 0;
	frame_announced(0x82, data, 0, 100);
	asked_most = 0;
	ws_reader_feed(&r, in.b, in.n, SIZE_MAX, &m);
	ws_reader_feed(&r, data, 60, SIZE_MAX, &m);
	ws_reader_feed(&r, data, 40, SIZE_MAX, &m);
	assert_int_equal(m.kind, WS_READ_MESSAGE);
	assert_int_equal(asked_most, 100);
	ws_reader_clear(&r);
}

static void test_out_of_memory(void **state)
{
	struct ws_reader r = {.len = 0};
	struct ws_read m;

	(void)state;
	for (int control = 0; control < 2; control++) {
		in.n = 0;
		frame(control ? 0x89 : 0x82, "Hello", 5);
		refuse = true;
		ws_reader_feed(&r, in.b, in.n - 1, MAX, &m);
		refuse = false;
		assert_int_equal(m.kind, WS_READ_ERROR);
		assert_int_equal(m.code, 1011);
		ws_reader_clear(&r);
	}
	in.n = 0; /* when it grows */
	frame(0x02, in.b + MAX, 250);
	frame(0x80, in.b + MAX, 250);
	ws_reader_feed(&r, in.b, 258, MAX, &m); /* the first frame */
	assert_int_equal(m.kind, WS_READ_NONE);
	refuse = true;
	ws_reader_feed(&r, in.b + 258, in.n - 258, MAX, &m);
	refuse = false;
	assert_int_equal(m.kind, WS_READ_ERROR);
	assert_int_equal(m.code, 1011);
	ws_reader_clear(&r);
}

static void test_protocol_errors(void **state)
{
	(void)state;
	in.n = 0;
	frame(0x81, "first", 5);
	frame(0x80, "continues nothing", 17);
	assert_int_equal(run_all(MAX).code, 1002);
	assert_non_null(strstr(said, "message 1 5"));
	in.n = 0;
	frame(0xc1, "x", 1); /* RSV1: no extension was agreed on */
	assert_int_equal(run_all(MAX).code, 1002);
}

/* Random traffic, cut at random. */
static void test_random_traffic(void **state)
{
	static const uint8_t firsts[] = {0x01, 0x00, 0x80, 0x02, 0x00, 0x80, 0x81, 0x82};
	uint32_t x = 12345;

	(void)state;
	for (int round = 0; round < 50; round++) {
		in.n = 0;
		for (int i = 0; i < 40; i++) {
			uint8_t data[400];
			size_t len = (x >> 8) % sizeof(data);

			x = x * 1103515245 + 12345;
			memset(data, 'a' + (int)(x >> 24) % 26, sizeof(data));
			frame(firsts[i % 8], data, len);
			if (x >> 20 & 1)
				frame(x >> 21 & 1 ? 0x89 : 0x8a, data, len % 126);
		}
		run_all(MAX);
		assert_null(strstr(said, "error"));
	}
}

/* Tiny frames: memory is a small multiple of what they carry, empty ones take none, and their
 * number may be bounded. */
static void test_many_frames(void **state)
{
	struct ws_reader r = {.len = 0};
	struct ws_read m;

	(void)state;
	in.n = 0;
	for (int i = 0; i < 20000; i++)
		frame(i ? 0 : WS_TEXT, "x", 1);
	asked_most = 0;
	assert_int_equal(ws_reader_feed(&r, in.b, in.n, MAX, &m), in.n);
	assert_int_equal(m.kind, WS_READ_NONE);
	assert_int_equal(r.len, 20000);
	assert_true(r.cap <= 2 * r.len && asked_most <= 2 * r.len);
	ws_reader_clear(&r);

	in.n = 0;
	for (int i = 0; i < 20000; i++)
		frame(i ? 0 : WS_TEXT, "", 0);
	asked = 0;
	assert_int_equal(ws_reader_feed(&r, in.b, in.n, MAX, &m), in.n);
	assert_int_equal(asked, 0);
	ws_reader_clear(&r);

	r.max_frames = 3;
	for (int n = 1; n <= 4; n++) {
		in.n = 0;
		for (int i = 0; i < n; i++)
			frame((uint8_t)((i ? 0 : WS_TEXT) | (i == n - 1 ? 0x80 : 0)), "x", 1);
		ws_reader_feed(&r, in.b, in.n, MAX, &m);
		assert_int_equal(m.kind, n <= 3 ? WS_READ_MESSAGE : WS_READ_ERROR);
	}
	assert_int_equal(m.code, WS_CODE_POLICY);
	ws_reader_clear(&r);
}

static void test_restore_refuses(void **state)
{
	static const uint8_t bytes[200];
	struct ws_reader r = {.len = 0};
	struct ws_reader_state st = {.head_len = 15};

	(void)state;
	assert_false(ws_reader_restore(&r, &st, bytes, bytes));
	st = (struct ws_reader_state){.control_len = WS_CONTROL_MAX + 1};
	assert_false(ws_reader_restore(&r, &st, bytes, bytes));
	/* What no client can have sent so far. */
	const struct ws_reader_state forged[] = {
		{.head_len = 6, .head = {0x81, 0x80}},
		{.head_len = 2, .head = {0x81, 0x05}},
		{.head_len = 1, .in_payload = true, .opcode = WS_TEXT, .left = 1},
		{.in_payload = true, .fin = true, .opcode = WS_PING, .left = 100000},
		{.in_payload = true, .opcode = WS_PING, .left = 1},
		{.in_payload = true,
			.fin = true,
			.opcode = WS_PONG,
			.left = 100,
			.control_len = 26},
		{.in_payload = true, .opcode = 3, .left = 1},
		{.message = WS_PING},
	};
	for (size_t i = 0; i < sizeof(forged) / sizeof(forged[0]); i++)
		assert_false(ws_reader_restore(&r, &forged[i], bytes, bytes));
	st = (struct ws_reader_state){.len = 10,
		.control_len = 3,
		.in_payload = true,
		.fin = true,
		.opcode = WS_PING,
		.left = 1};
	refuse = true;
	assert_false(ws_reader_restore(&r, &st, bytes, bytes));
	refuse = false;
	assert_null(r.buf);
	assert_null(r.control);
	assert_int_equal(r.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_place),
		cmocka_unit_test(test_fragments_and_control),
		cmocka_unit_test(test_collected_content),
		cmocka_unit_test(test_close),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_announced_allocates_nothing),
		cmocka_unit_test(test_out_of_memory),
		cmocka_unit_test(test_protocol_errors),
		cmocka_unit_test(test_random_traffic),
		cmocka_unit_test(test_many_frames),
		cmocka_unit_test(test_restore_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
