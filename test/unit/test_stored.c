/*
 * What the stream's leader answers becomes what a direct get brings, and nothing that a publisher
 * wrote counts for the server's word.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../src/broker/headers.h"
#include "../../src/broker/stored.h"

#define MESSAGE(body) "{\"type\":\"x\",\"message\":{\"subject\":\"ws.recv.chat.ann\"," body "}}"
#define TIME ",\"time\":\"1970-01-01T00:00:01.5Z\""

static struct wire_event *answer(const char *text)
{
	struct wire_event *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	assert_int_equal(
		natsMsg_Create(&e->msg, "_INBOX.a.g.1", NULL, text, (int)strlen(text)), NATS_OK);
	e->m.data = (const uint8_t *)natsMsg_GetData(e->msg);
	e->m.len = strlen(text);
	stored_read(e);
	return e;
}

static void done(struct wire_event *e)
{
	natsMsg_Destroy(e->msg);
	free(e);
}

static void plain(void **state)
{
	struct wire_event *e = answer(MESSAGE("\"seq\":23,\"data\":\"bTIy\"" TIME));
	const char *name;
	size_t len;

	(void)state;
	assert_int_equal(e->m.seq, 23);
	assert_int_equal(e->m.len, 3);
	assert_memory_equal(e->m.data, "m22", 3);
	assert_int_equal(e->m.stamp_ns, 1500000000);
	assert_int_equal(e->m.text, BROKER_TEXT_UNMARKED);
	assert_int_equal(e->last, 0);
	assert_true(headers_subject(e->msg, "ws", &name, &len));
	assert_int_equal(len, 8);
	assert_memory_equal(name, "chat.ann", 8);
	assert_false(headers_subject(e->msg, "wt", &name, &len));
	done(e);
}

/* NATS/1.0, Ws-Type: binary, traceparent: 00-ab, Nats-Sequence: 99, Nats-Last-Sequence: 98,
 * Nats-Num-Pending: 7, Nats-Subject: ws.recv.chat.bob, Ws-Gateway: x */
#define HEADERS                                                                                    \
	"TkFUUy8xLjANCldzLVR5cGU6IGJpbmFyeQ0KdHJhY2VwYXJlbnQ6IDAwLWFiDQpOYXRzLVNlcXVlbmNlOiA5OQ0K" \
	"TmF0cy1MYXN0LVNlcXVlbmNlOiA5OA0KTmF0cy1OdW0tUGVuZGluZzogNw0KTmF0cy1TdWJqZWN0OiB3cy5yZWN2" \
	"LmNoYXQuYm9iDQpXcy1HYXRld2F5OiB4DQoNCg=="

static void headers(void **state)
{
	struct wire_event *e =
		answer(MESSAGE("\"seq\":5,\"hdrs\":\"" HEADERS "\",\"data\":\"aA==\"" TIME));
	const char *name;
	size_t len;

	(void)state;
	assert_int_equal(e->m.seq, 5);
	assert_int_equal(e->m.len, 1);
	assert_int_equal(e->m.data[0], 'h');
	assert_int_equal(e->m.text, BROKER_TEXT_BINARY);
	assert_int_equal(e->m.trace_len, 5);
	assert_memory_equal(e->m.trace, "00-ab", 5);
	assert_int_equal(e->last, 0);
	assert_int_equal(e->status, 0);
	assert_false(e->batched);
	assert_false(e->word);
	assert_true(headers_subject(e->msg, "ws", &name, &len));
	assert_memory_equal(name, "chat.ann", 8);
	done(e);
}

static void empty(void **state)
{
	struct wire_event *e = answer(MESSAGE("\"seq\":7" TIME));

	(void)state;
	assert_int_equal(e->m.seq, 7);
	assert_int_equal(e->m.len, 0);
	assert_non_null(e->m.data);
	done(e);
	e = answer(MESSAGE("\"seq\":8,\"hdrs\":\"" HEADERS "\"" TIME));
	assert_int_equal(e->m.seq, 8);
	assert_int_equal(e->m.len, 0);
	assert_non_null(e->m.data);
	done(e);
}

static void none(void **state)
{
	static const struct {
		const char *text;
		int status;
	} rows[] = {
		{"{\"error\":{\"code\":404,\"err_code\":10037,\"description\":\"no message "
		 "found\"}}",
			404},
		{"{\"error\":{\"code\":404,\"err_code\":10059,\"description\":\"stream not "
		 "found\"}}",
			503}, /* nothing is known of messages */
		{"{\"error\":{\"code\":503,\"err_code\":10008}}", 503},
		{"{\"error\":{}}", 503},
		{"{}", 0},
		{"{\"mess", 0},
		{MESSAGE("\"seq\":5,\"data\":\"a\"" TIME), 0},
		{MESSAGE("\"seq\":5,\"data\":\"a!==\"" TIME), 0},
		{MESSAGE("\"seq\":5,\"hdrs\":\"?\",\"data\":\"aA==\"" TIME), 0},
		{"{\"message\":{\"seq\":5,\"data\":\"aA==\"}}", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_event *e = answer(rows[i].text);

		assert_int_equal(e->status, rows[i].status);
		assert_int_equal(e->m.seq, 0);
		done(e);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain),
		cmocka_unit_test(headers),
		cmocka_unit_test(empty),
		cmocka_unit_test(none),
	};
	int failed;

	if (nats_Open(-1) != NATS_OK)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);

	nats_Close();
	return failed;
}
