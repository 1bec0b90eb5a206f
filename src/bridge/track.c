/*
 * track: lines for the log about the messages of the one user who is followed.
 */
#include <wsgate/clock.h>
#include <wsgate/log.h>

#include "bridge.h"

static uint64_t age_us(uint64_t stamp_ns)
{
	return hist_elapsed(stamp_ns, clock_ns(CLOCK_REALTIME));
}

/* `state` says how it got so far; stamp_ns: when its client had sent it, CLOCK_MONOTONIC. */
void track_up(const char *state, const struct broker_publish *p, uint64_t stamp_ns)
{
	trace_say("followed: a message of the client",
		(const struct log_field[]){kv_str("state", state), kv_str("msg_id", p->msg_id),
			kv_str("conn", p->conn), kv_uint("bytes", p->len),
			kv_uint("age_us", hist_elapsed(stamp_ns, clock_ns(CLOCK_MONOTONIC))),
			kv_str("trace", p->trace), kv_more(dispatch_who(&p->id)), kv_end});
}

void track_message(const struct buser *u, const struct broker_message *m)
{
	struct identity who = dispatch_identity(u);

	if (trace_is(&who))
		trace_say("followed: a message for the client comes from the broker",
			(const struct log_field[]){kv_uint("seq", m->seq), kv_uint("bytes", m->len),
				kv_uint("age_us", age_us(m->stamp_ns)),
				kv_mem("trace", m->trace, m->trace_len),
				kv_more(dispatch_who(&who)), kv_end});
}

void track_given(const struct bconn *c, const struct broker_message *m)
{
	struct identity who = dispatch_identity(c->user);

	if (trace_is(&who))
		trace_say("followed: a message for the client goes into the ring",
			(const struct log_field[]){kv_uint("seq", m->seq), kv_uint("bytes", m->len),
				kv_uint("worker", c->slot), kv_uint("age_us", age_us(m->stamp_ns)),
				kv_more(dispatch_who(&who)), kv_end});
}

void track_confirmed(const struct buser *u, uint64_t seq)
{
	struct identity who = dispatch_identity(u);

	if (trace_is(&who))
		trace_say("followed: all up to there is removed",
			(const struct log_field[]){
				kv_uint("seq", seq), kv_more(dispatch_who(&who)), kv_end});
}
