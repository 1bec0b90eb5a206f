/*
 * follow: the trace context of a connection, and lines for the log about the messages of the one
 * user who is followed.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <wsgate/clock.h>
#include <wsgate/log.h>

#include "follow.h"

/* From its request, or a new one. Without memory it has none. */
void follow_begin(struct conn *c)
{
	enum trace_mode mode = c->w->c->trace_context;
	const char *text = c->hs ? handshake_header(c->hs, "traceparent") : NULL;
	struct trace_context t;
	bool given = text && trace_parse(text, strlen(text), &t);

	if (mode == TRACE_OFF || (!given && mode != TRACE_MADE))
		return;
	if (!given) {
		memset(&t, 0, sizeof(t));
		if (getrandom(t.trace, sizeof(t.trace), 0) != (ssize_t)sizeof(t.trace))
			return;
	}
	follow_adopt(c, &t);
}

void follow_adopt(struct conn *c, const struct trace_context *t)
{
	static const uint8_t none[sizeof(t->trace)];

	if (memcmp(t->trace, none, sizeof(none)) == 0)
		return;
	c->trace = malloc(sizeof(*c->trace));
	if (c->trace)
		*c->trace = *t;
}

/* Each message is a span of its own. */
void follow_context(struct conn *c, void *to)
{
	struct trace_context t = *c->trace;

	if (worker_random(c->w, t.span) < 0)
		memcpy(t.span, c->trace->span, sizeof(t.span));
	memcpy(to, &t, sizeof(t));
}

static uint64_t age_us(uint64_t stamp_ns)
{
	uint64_t now = clock_us(CLOCK_REALTIME);

	return stamp_ns && now > stamp_ns / 1000 ? now - stamp_ns / 1000 : 0;
}

void follow_up(const struct conn *c, const struct up_record *r, uint64_t end)
{
	char text[TRACE_TEXT] = "";

	if (r->trace_len)
		trace_format(
			(const struct trace_context *)(const void *)((const char *)(r + 1) +
								     r->service_len + r->user_len),
			text);
	trace_say("followed: a message of the client goes into the ring",
		(const struct log_field[]){kv_uint("pos", end), kv_uint("bytes", r->len),
			kv_str("trace", text), kv_more(conn_who(c)), kv_end});
}

void follow_down(const struct conn *c, const struct down_message *m)
{
	trace_say("followed: a message comes out of the ring and is written to the client",
		(const struct log_field[]){kv_uint("seq", m->seq), kv_uint("bytes", m->len),
			kv_uint("age_us", age_us(m->stamp_ns)), kv_more(conn_who(c)), kv_end});
}

void follow_confirmed(const struct conn *c, uint64_t seq)
{
	trace_say("followed: the client has proved to have all up to there",
		(const struct log_field[]){kv_uint("seq", seq), kv_more(conn_who(c)), kv_end});
}
