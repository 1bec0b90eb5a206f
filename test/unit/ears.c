/*
 * ears: see ears.h.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "ears.h"

struct ears ears;

void say(struct rig *r, const char *subject, const char *text)
{
	natsMsg *m;

	assert_int_equal(natsMsg_Create(&m, subject, NULL, text, (int)strlen(text)), NATS_OK);
	assert_int_equal(natsMsgHeader_Set(m, "Ws-Gateway", "x"), NATS_OK);
	assert_int_equal(natsConnection_PublishMsg(r->nc, m), NATS_OK);
	assert_int_equal(natsConnection_Flush(r->nc), NATS_OK);
	natsMsg_Destroy(m);
}

void word(struct rig *r, const char *what, uint64_t id, uint64_t mark)
{
	char text[96];

	snprintf(text, sizeof(text), "%s %016" PRIx64 " %" PRIu64 " %" PRIu64, what, id, r->created,
		mark);
	say(r, "wslive.svc.ann", text);
}

void late_here(struct rig *r, uint64_t id, uint64_t mark, unsigned age, uint64_t news)
{
	char text[112];

	snprintf(text, sizeof(text), "here %016" PRIx64 " %" PRIu64 " %" PRIu64 " %u %016" PRIx64,
		id, r->created, mark, age, news);
	say(r, "wslive.svc.ann", text);
}

void here_for(struct rig *r, uint64_t id, uint64_t mark, uint64_t least)
{
	char text[136];

	snprintf(text, sizeof(text),
		"here %016" PRIx64 " %" PRIu64 " %" PRIu64 " 100000 0 %" PRIu64, id, r->created,
		mark, least);
	say(r, "wslive.svc.ann", text);
}

void leave(struct rig *r, uint64_t id, uint64_t n)
{
	char text[64];

	snprintf(text, sizeof(text), "1 %016" PRIx64 " %016x %" PRIu64 " %d 1\n", id, 7, n, LEASE);
	say(r, "wsgate.beat", text);
}

static void hear_beat(const char *text)
{
	uint64_t id, inc, n;
	unsigned losses;
	int leaves;

	assert_int_equal(sscanf(text, "1 %" SCNx64 " %" SCNx64 " %" SCNu64 " %*u %d", &ears.id,
				 &ears.inc, &ears.beat, &leaves),
		4);
	ears.leaves = leaves & 1;
	ears.urgent = leaves & 2;
	for (const char *p = strchr(text, '\n'); p && p[1]; p = strchr(p + 1, '\n')) {
		assert_int_equal(sscanf(p + 1, "%" SCNx64 " %" SCNx64 " %" SCNu64 " %u", &id, &inc,
					 &n, &losses),
			4);
		ears.heard = n;
		ears.losses = losses;
	}
}

static void hear_word(const char *text)
{
	ears.least = 0;
	assert_true(sscanf(text, "%7s %*x %*u %" SCNu64 " %u %" SCNx64 " %" SCNu64, ears.word,
			    &ears.mark, &ears.age, &ears.news, &ears.least) >= 2);
	ears.hellos += strcmp(ears.word, "hello") == 0;
	ears.heres += strcmp(ears.word, "here") == 0;
	ears.marks += strcmp(ears.word, "mark") == 0;
	ears.byes += strcmp(ears.word, "bye") == 0;
}

void listen_to(struct rig *r)
{
	natsMsg *m;
	const char *v;
	char text[512];

	rig_turn(r);
	for (int i = 0; i < 2; i++) {
		while (natsSubscription_NextMsg(&m, i ? ears.words : ears.beats, 1) == NATS_OK) {
			snprintf(text, sizeof(text), "%.*s", natsMsg_GetDataLength(m),
				natsMsg_GetData(m));
			if (natsMsgHeader_Get(m, "Ws-Gateway", &v) != NATS_OK ||
				strcmp(v, "x") == 0)
				; /* a copy of the server's, or our own */
			else if (i)
				hear_word(text);
			else
				hear_beat(text);
			natsMsg_Destroy(m);
		}
	}
}

void beat(struct rig *r, uint64_t id, uint64_t n, uint64_t echo, unsigned losses)
{
	char text[256];

	snprintf(text, sizeof(text),
		"1 %016" PRIx64 " %016x %" PRIu64 " %d 0\n%016" PRIx64 " %016" PRIx64 " %" PRIu64
		" %u\n",
		id, 7, n, LEASE, ears.id, ears.inc, echo, losses);
	say(r, "wsgate.beat", text);
}

struct rig *rig_with_ears(const char *extra)
{
	struct rig *r = rig_new(extra);

	memset(&ears, 0, sizeof(ears));
	rig_connect(r);
	assert_int_equal(natsConnection_SubscribeSync(&ears.beats, r->nc, "wsgate.beat"), NATS_OK);
	assert_int_equal(natsConnection_SubscribeSync(&ears.words, r->nc, "wslive.>"), NATS_OK);
	assert_int_equal(natsConnection_Flush(r->nc), NATS_OK);
	r->config.broker.grace = LEASE; /* so its own lease is three seconds */
	rig_start(r);
	rig_until(r, r->connects == 1);
	hear_until(r, ears.beat > 0);
	return r;
}

void rig_without_ears(struct rig *r)
{
	natsSubscription_Destroy(ears.beats);
	natsSubscription_Destroy(ears.words);
	rig_free(r);
}

void echo_next(struct rig *r, uint64_t id, uint64_t n)
{
	uint64_t now;

	listen_to(r);
	now = ears.beat;
	hear_until(r, ears.beat > now);
	beat(r, id, n, ears.beat, 0);
}

void echo_all(struct rig *r, uint64_t id, uint64_t n)
{
	do
		echo_next(r, id, n++);
	while (ears.urgent);
}
