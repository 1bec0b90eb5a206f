#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include <wsgate/clock.h>
#include <wsgate/log.h>

#include "pack.h"
#include "tally.h"
#include "worker.h"

#define PING_LEN 16 /* random id, then the mark */
#define STORE_AWAY_MS 10000
#define LOOKS_MAX 12 /* at a late Pong or Close, while something of the client is coming */

static uint64_t session_store_wait(const struct conn *c)
{
	const struct config *cf = c->w->c;
	uint64_t ms = cf->broker.grace < cf->drain_timeout ? cf->broker.grace : cf->drain_timeout;

	/* It waited for the grace already, and stays in the ring; the client is to be elsewhere
	 * before the lease is over (broker/gates.c). */
	if (ms > STORE_AWAY_MS && link_broker(c->w, c->stream) == LINK_BROKER_AWAY)
		return STORE_AWAY_MS;
	/* Neither says how long a broker that is there may take. */
	if (ms < STORE_AWAY_MS && link_connected(c->w, c->stream))
		return STORE_AWAY_MS;
	return ms;
}

static bool session_end(struct conn *c, const char *why)
{
	log_debug("connection ends without a Close", kv_str("why", why), kv_more(conn_who(c)));
	conn_free(c);
	return false;
}

static bool session_frame(
	struct conn *c, uint8_t opcode, bool compressed, const uint8_t *data, size_t len)
{
	uint8_t head[WS_HEADER_MAX];
	struct iovec iov[2] = {{head, ws_frame_header(head, opcode, true, compressed, len)},
		{(void *)(uintptr_t)data, len}};

	if (cork_put(c, iov, 2))
		return true;
	if (!conn_sendv(c, iov, 2))
		return false;
	if (c->out.len > c->out.off)
		c->out.control += (uint32_t)(iov[0].iov_len + len);
	return true;
}

/* Control frames and echoes: what the client makes us send is bounded by not reading from it. */
bool session_reply(struct conn *c, uint8_t opcode, const uint8_t *data, size_t len)
{
	return session_frame(c, opcode, false, data, len);
}

size_t session_ping_frame(struct conn *c, uint8_t out[WS_HEADER_MAX + PING_LEN])
{
	struct worker *w = c->w;
	uint64_t due;
	size_t n;

	/* While we part: until all that was given is confirmed, else it would be given twice. */
	if (c->ping_out || !(c->state == CONN_OPEN ||
				   (c->state == CONN_PARTING && !c->peer_closed && !c->flushing)))
		return 0;
	if (worker_random(w, c->ping_id) < 0) {
		log_some_errors(1, "no random bytes for a Ping: it waits", kv_errno(errno));
		return 0;
	}
	c->ping_mark = place_given(c);
	c->ping_count = tally_sent(c);
	c->ping_ms = w->now_ms;
	c->ping_out = 1;
	c->came = 0;
	c->coming = 0;
	c->unsent_last = UINT32_MAX;
	n = ws_frame_header(out, WS_PING, true, false, PING_LEN);
	memcpy(out + n, c->ping_id, sizeof(c->ping_id));
	memcpy(out + n + sizeof(c->ping_id), &c->ping_mark, sizeof(c->ping_mark));
	due = w->now_ms + w->c->pong_timeout;
	if (due < c->timer.at_ms)
		conn_deadline(c, due);
	return n + PING_LEN;
}

static bool session_ping(struct conn *c)
{
	uint8_t frame[WS_HEADER_MAX + PING_LEN];
	size_t n = session_ping_frame(c, frame);

	return !n || conn_send(c, frame, n);
}

static bool session_pong(struct conn *c, const uint8_t *data, size_t len)
{
	if (!c->ping_out || len != PING_LEN || memcmp(data, c->ping_id, sizeof(c->ping_id)) ||
		memcmp(data + sizeof(c->ping_id), &c->ping_mark, sizeof(c->ping_mark)))
		return true; /* 5.5.3: an unsolicited Pong; it proves nothing */
	c->ping_out = 0;
	pace_count(&c->w->pace, 1);
	if (!c->echo && c->ping_mark > place_confirmed(c))
		place_confirm(c, c->ping_mark);
	if (!c->echo && place_given(c) > place_confirmed(c) && !session_ping(c))
		return false;
	if (c->state == CONN_OPEN && c->timer.at_ms > session_deadline(c))
		conn_deadline(c, session_deadline(c)); /* pong_timeout above ping_interval */
	return c->state != CONN_PARTING || session_step(c);
}

static bool session_send_close(struct conn *c)
{
	uint8_t frame[WS_HEADER_MAX + WS_CONTROL_MAX], payload[WS_CONTROL_MAX];
	size_t len =
		ws_close_payload(payload, c->close_code, c->close_reason ? c->close_reason : "");
	size_t n = ws_frame_header(frame, WS_CLOSE, true, false, len);

	memcpy(frame + n, payload, len);
	c->close_sent = 1;
	return conn_send(c, frame, n + len);
}

/* Are all earlier messages of this connection stored? Asks for it once. */
static bool session_stored(struct conn *c)
{
	if (c->flushed || c->echo || c->route == NO_ROUTE)
		return true;
	lane_reclaim_all(c->w);
	/* A refusal was put into the down ring before the record was released. */
	if (!c->flushing && !c->pending && !c->up_bytes && !c->unstored &&
		atomic_load_explicit(&c->w->down.words->head, memory_order_acquire) ==
			c->w->down.pos)
		return true;
	if (c->flushing)
		return false;
	c->flushing = 1;
	conn_deadline(c, c->w->now_ms + session_store_wait(c));
	if (c->pending || link_put_flush(c) == LINK_FULL)
		lane_wait(c);
	return false;
}

static bool session_part(struct conn *c)
{
	bool failed = c->peer_closed; /* nothing readable comes any more */

	if (c->ping_out && !failed && c->close_code != WS_CODE_NO_PONG &&
		c->ping_mark > place_confirmed(c) &&
		c->w->now_ms < c->state_ms + c->w->c->pong_timeout) {
		conn_deadline(c, c->state_ms + c->w->c->pong_timeout);
		return true;
	}
	if (!session_stored(c)) {
		conn_read_off(c);
		return true;
	}
	if (!session_send_close(c))
		return false;
	if (failed) {
		conn_shut(c, CONN_LINGER);
		return true;
	}
	conn_set_state(c, CONN_CLOSING);
	c->came = 0;
	c->coming = 0;
	c->unsent_last = UINT32_MAX;
	c->flushing = c->flushed = 0;
	conn_deadline(c, c->w->now_ms + c->w->c->pong_timeout);
	return conn_resume(c);
}

/* What is next on the way to the end? */
bool session_step(struct conn *c)
{
	if (c->state == CONN_PARTING)
		return session_part(c);
	if (c->state != CONN_STORING || !session_stored(c))
		return true;
	if (!c->close_sent && !session_send_close(c))
		return false;
	conn_shut(c, CONN_LINGER);
	return true;
}

static void session_set_close(struct conn *c, uint16_t code, const char *reason)
{
	c->close_code = code;
	free(c->close_reason);
	c->close_reason =
		reason ? strdup(reason) : NULL; /* without memory: a Close without a reason */
}

bool session_close(struct conn *c, uint16_t code, const char *reason)
{
	bool off = c->frozen || c->held;

	if (c->state != CONN_OPEN)
		return true;
	log_debug("closes a connection", kv_uint("code", code), kv_str("reason", reason),
		kv_more(conn_who(c)));
	session_set_close(c, code, reason);
	conn_set_state(c, CONN_PARTING);
	/* It does not move any more, and its rate is no matter now: its Pong and its Close are to
	 * be read. */
	c->frozen = 0;
	meter_release(c);
	return session_step(c) && (!off || conn_resume(c));
}

/* A message of this client was not stored: no Close may say that all was well. */
bool session_refused(struct conn *c, uint16_t code, const char *reason)
{
	c->refused = 1; /* what comes behind it would be stored with a hole before it */
	if ((c->state == CONN_STORING || c->state == CONN_PARTING) && !c->close_sent) {
		session_set_close(c, code, reason);
		return true; /* it goes out in its turn */
	}
	if (c->close_sent && c->state != CONN_LINGER)
		return session_end(c, "a message behind our Close was refused");
	return session_close(c, code, reason);
}

bool session_unheard(struct conn *c, uint16_t code, const char *reason)
{
	c->peer_closed = 1;
	if (c->close_sent) {
		conn_shut(c, CONN_LINGER);
		return true;
	}
	if (c->state == CONN_PARTING) {
		session_set_close(c, code, reason);
		return session_step(c);
	}
	return session_close(c, code, reason);
}

/* 7.1.7: after an error nothing more is read as frames; what came before is stored all the same. */
static bool session_fail(struct conn *c, uint16_t code, const char *reason)
{
	stat_add(c->w->slot->stats.errors, 1);
	log_some_infos(20, "client fault", kv_uint("code", code), kv_str("reason", reason),
		kv_more(conn_who(c)));
	return session_unheard(c, code, reason);
}

bool session_too_big(struct conn *c)
{
	free(c->pending);
	c->pending = NULL;
	return session_fail(c, WS_CODE_TOO_BIG, "message too big");
}

static bool session_peer_close(struct conn *c, uint16_t code)
{
	c->peer_closed = 1;
	if (!c->close_sent && c->state != CONN_PARTING) {
		c->by_client = 1;
		session_set_close(
			c, code, NULL); /* 5.5.1: echoed; 1005 goes back as an empty Close */
	}
	conn_set_state(c, CONN_STORING);
	return session_step(c);
}

static bool session_echo(struct conn *c, uint8_t opcode, const uint8_t *data, size_t len)
{
	struct pack_payload p = {data, len};
	bool compressed;

	stat_add(c->w->slot->stats.echo, 1);
	if (c->close_sent)
		return true;
	compressed = pack_answer(c, &p);
	return session_frame(c, opcode, compressed, p.data, p.len);
}

static bool session_message(struct conn *c, const struct ws_read *m)
{
	bool alive;

	if (c->admin)
		return true; /* /live is there to be read */
	if (c->refused)
		return true;
	c->data_s = (uint32_t)(c->w->now_ms / 1000);
	meter_message(c);
	if (c->echo)
		return session_echo(c, m->opcode, m->data, m->len);
	if (m->opcode == WS_TEXT && auth_refreshes(c, m->data, m->len, &alive))
		return alive;
	if (link_put_message(c, m->opcode == WS_TEXT, m->data, m->len) == LINK_PUT)
		return true;
	c->pending = malloc(m->len ? m->len : 1);
	if (!c->pending)
		return conn_starved(c, "no memory for a message");
	memcpy(c->pending, m->data, m->len);
	c->pending_len = (uint32_t)m->len;
	c->pending_text = m->opcode == WS_TEXT;
	c->flush_stamp = clock_ns(CLOCK_MONOTONIC);
	stat_add(c->w->slot->stats.paused, 1);
	lane_wait(c);
	return true;
}

/* There may be room in the up ring now. True with c->waiting still set: there was none. */
bool session_take_pending(struct conn *c)
{
	if (c->pending) {
		if (!c->refused && link_put_message(c, c->pending_text, c->pending,
					   c->pending_len) == LINK_FULL)
			return true;
		free(c->pending);
		c->pending = NULL;
	}
	if (c->flushing && !c->flushed && link_put_flush(c) == LINK_FULL)
		return true;
	lane_unwait(c);
	return conn_resume(c);
}

/* limits.bytes_per_second is about what a client makes us carry. */
static void session_inflated(struct conn *c, const struct ws_read *m)
{
	struct worker_stats *s = &c->w->slot->stats;

	stat_add(s->decompressed, 1);
	stat_add(s->decompressed_from, m->deflated);
	stat_add(s->decompressed_to, m->len);
	if (m->len > m->deflated)
		meter_bytes(c, m->len - m->deflated);
}

bool session_feed(struct conn *c, uint8_t *buf, size_t len, size_t *used)
{
	size_t max = c->admin  ? WS_CONTROL_MAX
		     : c->echo ? c->w->c->max_message
			       : link_max_message(c->w);
	size_t had = c->reader.len;
	struct worker *w = c->w;
	struct ws_inflate space;
	const struct ws_inflate *inflate;
	struct ws_read m;
	bool failed, alive;

	c->reader.max_frames = w->c->limits.fragments;
	inflate = pack_reader(c, &space, &failed);
	if (failed)
		return conn_starved(c, "no memory for what reads compressed messages");
	*used = ws_reader_feed_inflate(&c->reader, inflate, buf, len, max, &m);
	switch (m.kind) {
	case WS_READ_NONE:
		if (c->reader.len > had) { /* of a message that is not whole yet */
			c->came = 1;
			c->data_s = (uint32_t)(w->now_ms / 1000);
		}
		return true;
	case WS_READ_MESSAGE:
		c->came = 1; /* through TLS whole records come, which may end with it */
		if (!c->echo && !link_fits(c, m.len)) {
			*used = len;
			return session_too_big(c);
		}
		if (m.deflated)
			session_inflated(c, &m);
		alive = session_message(c, &m);
		if (m.deflated)
			pack_read(w);
		return alive;
	case WS_READ_PING:
		meter_message(c);
		return c->close_sent || session_reply(c, WS_PONG, m.data, m.len);
	case WS_READ_PONG:
		return session_pong(c, m.data, m.len);
	case WS_READ_CLOSE:
		*used = len;
		return session_peer_close(c, m.code);
	case WS_READ_ERROR:
		*used = len;
		if (m.code == WS_CODE_POLICY)
			stat_add(c->w->slot->stats.limited_fragments, 1);
		if (m.code == WS_CODE_INTERNAL)
			log_some_errors(5, "a connection ends for lack of memory",
				kv_str("why", m.reason), kv_more(conn_who(c)));
		return session_fail(c, m.code, m.reason);
	}
	return true;
}

/* Without a Pong: what was given is confirmed when the socket has it. With `none` a window's worth
 * may wait for that; more of it would be memory without a bound. */
void session_given(struct conn *c)
{
	const struct config *cf = c->w->c;
	uint32_t kept = c->out.len - c->out.off;

	if (c->echo || c->route == NO_ROUTE || place_given(c) <= place_confirmed(c))
		return;
	if ((cf->delivery.confirm == CONFIRM_WRITE && kept == 0) ||
		(cf->delivery.confirm == CONFIRM_NONE && kept <= cf->delivery.window))
		place_confirm(c, place_given(c));
}

/*
 * A Pong cannot come in the middle of a frame (5.4), nor before what the client had queued already:
 * a message of its own that is still coming is sign enough, or what lies there unread, though not
 * for ever.
 */
static bool session_look(struct conn *c, bool comes)
{
	if (!comes || c->coming == LOOKS_MAX)
		return false;
	c->came = 0;
	c->coming++;
	return true;
}

/*
 * A slow link is not a dead one: the time begins anew while the unsent bytes become fewer; at the
 * first look, when the last of them were taken. Its Pong counts also when it comes behind our
 * Close: who is that slow would be given the same again, and again be too slow.
 */
static bool session_pong_late(struct conn *c)
{
	uint32_t unsent = conn_unsent(c), before = c->unsent_last;
	uint64_t since = c->w->now_ms;
	bool unread, goes_on;

	unread = c->waiting || c->pending || c->frozen || meter_hides_pong(c) ||
		 session_look(c, c->came || conn_unread(c));
	c->unsent_last = unsent;
	goes_on = unread || unsent < before;
	if (!unread && before == UINT32_MAX) {
		since = conn_taken_ms(c, c->ping_ms);
		goes_on = since > c->ping_ms;
	}
	if (goes_on) {
		c->ping_ms = since;
		conn_deadline(c, session_deadline(c));
		return true;
	}
	stat_add(c->w->slot->stats.pong_timeouts, 1);
	return session_close(c, WS_CODE_NO_PONG, "no pong in time");
}

uint64_t session_deadline(const struct conn *c)
{
	uint64_t life = life_due(c);
	uint64_t due = c->ping_out ? c->ping_ms + c->w->c->pong_timeout
				   : c->heard_ms + c->w->c->ping_interval;

	return life < due ? life : due;
}

static bool session_open_due(struct conn *c)
{
	uint64_t due, now = c->w->now_ms;
	uint16_t code;
	const char *over = life_over(c, &code);

	if (over)
		return session_close(c, code, over);
	if (c->expires_ms && now >= c->expires_ms)
		return session_close(c, WS_CODE_EXPIRED, "the token has expired");
	if (c->ping_out && now >= c->ping_ms + c->w->c->pong_timeout)
		return session_pong_late(c);
	if (!c->ping_out && now >= c->heard_ms + c->w->c->ping_interval && !session_ping(c))
		return false;
	due = session_deadline(c);
	conn_deadline(c, due > now ? due : now + 100);
	return true;
}

/* However slowly a peer takes what is there: it may not go on for ever. */
bool session_may_last(const struct conn *c, uint64_t since_ms)
{
	return c->w->now_ms < since_ms + LOOKS_MAX * c->w->c->pong_timeout;
}

/* Either way. */
static bool session_goes_on(struct conn *c)
{
	bool fewer = conn_progress(c);

	return fewer || session_look(c, c->came);
}

/* What is still to be stored; behind it lies its Close, unread. */
static bool session_waits_for_room(const struct conn *c)
{
	return (c->waiting || c->pending) && c->w->now_ms < c->state_ms + session_store_wait(c);
}

bool session_timeout(struct conn *c)
{
	switch ((enum conn_state)c->state) {
	case CONN_OPEN:
		return session_open_due(c);
	case CONN_PARTING:
		if (c->flushing)
			return session_end(c, "its messages could not be stored in time");
		/* A slow link: the Ping lies behind these bytes. */
		if (session_goes_on(c) && session_may_last(c, c->ping_ms))
			c->state_ms = c->w->now_ms;
		return session_step(c);
	case CONN_STORING:
		return session_end(c, "its messages could not be stored in time");
	default:
		if (session_waits_for_room(c) ||
			(session_goes_on(c) && session_may_last(c, c->state_ms))) {
			conn_deadline(c, c->w->now_ms + c->w->c->pong_timeout);
			return true;
		}
		return session_end(c, "no answer to our Close");
	}
}

/* What was given and is not confirmed: the old proof may never come. */
bool session_prove(struct conn *c)
{
	if (c->state != CONN_OPEN || c->echo || place_given(c) <= place_confirmed(c))
		return true;
	if (c->w->c->delivery.confirm == CONFIRM_PONG)
		return session_ping(c);
	session_given(c);
	return true;
}
