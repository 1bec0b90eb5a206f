#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <wsgate/clock.h>

#include "pack.h"
#include "tally.h"
#include "tls.h"
#include "worker.h"

#define LINGER_MS 2000           /* for the peer's end, from its last byte on */
#define LOOK_MS 500              /* to read what lay unread when its time was over */
#define LINGER_MAX_MS 30000      /* however much it goes on sending */
#define CONTROL_QUEUED_MAX 8192u /* unsent Pongs and echoes of a client that does not read */

/* A worker has one thread. */
const struct log_field *conn_who(const struct conn *c)
{
	static char conn[ROUTE_ID_TEXT], addr[ROUTE_ADDR_NAME];
	static struct log_field fields[5];
	struct log_field *f = fields;
	struct identity id;

	if (c->route != NO_ROUTE) {
		id = place_identity(c);
		route_id_text(c->id, conn);
		*f++ = kv_str("conn", conn);
		*f++ = kv_mem("service", id.service, id.service_len);
		*f++ = kv_mem("user", id.user, id.user_len);
	}
	route_addr_name(addr, c->peer.addr, c->peer.port);
	*f++ = kv_str("addr", addr);
	*f = kv_end;
	return fields;
}

struct conn *conn_adopt(struct worker *w, int fd, const struct route_peer *peer)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c) {
		log_some_errors(5, "no memory for a connection");
		close(fd);
		return NULL;
	}
	c->w = w;
	c->fd = fd;
	c->peer = *peer;
	c->route = NO_ROUTE;
	c->first_seg = c->last_seg = NO_SEG;
	c->heard_ms = w->now_ms;
	c->next = w->conns;
	if (c->next)
		c->next->prev = c;
	w->conns = c;
	w->nconns++;
	conn_set_state(c, CONN_ARRIVING);
	return c;
}

struct conn *conn_accept(
	struct worker *w, int fd, const struct listener *l, const struct route_peer *peer)
{
	struct handshake_limits limits = {
		w->c->max_header, w->c->max_header, .http10 = l && l->admin};
	struct conn *c = conn_adopt(w, fd, peer);

	if (!c)
		return NULL;
	c->admin = l && l->admin;
	c->local = l && l->local;
	c->hs = handshake_new(&limits);
	if (!c->hs || !sight_read(c, true)) {
		log_some_errors(5, "cannot watch a connection", kv_errno(errno));
		conn_free(c);
		return NULL;
	}
	conn_set_state(c, CONN_REQUEST);
	conn_deadline(c, w->now_ms + w->c->handshake_timeout);
	return c;
}

void conn_free(struct conn *c)
{
	struct worker *w = c->w;

	cork_drop(c);
	lane_unwait(c);
	if (c->admin)
		live_forget(c);
	meter_free(c);
	peer_leave(c);
	move_forget(c);
	if (c->state == CONN_ARRIVING)
		arrive_forget(c);
	if (c->state == CONN_AUTHORIZING)
		auth_forget(c);
	if (c->counted)
		tally_closed(c);
	if (c->route != NO_ROUTE)
		place_end(c);
	wheel_del(&w->wheel, &c->timer);
	sight_drop(c);
	if (tls_on(c))
		tls_free(c);
	pack_free_conn(c);
	close(c->fd);
	handshake_free(c->hs);
	ws_reader_clear(&c->reader);
	free(c->stash);
	free(c->pending);
	free(c->trace);
	free(c->out.buf);
	free(c->close_reason);
	if (c->prev)
		c->prev->next = c->next;
	else
		w->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	w->nconns--;
	/* The segs of a batch may still name it. */
	for (uint16_t s = c->first_seg; s != NO_SEG; s = w->segs[s].next)
		w->segs[s].conn = NULL;
	free(c);
	drain_check(w);
	if (w->move && !w->ends)
		move_ended(w);
}

void conn_set_state(struct conn *c, enum conn_state state)
{
	c->state = state & 15;
	c->state_ms = c->w->now_ms;
	c->looked = 0;
}

void conn_deadline(struct conn *c, uint64_t at_ms)
{
	if (c->state == CONN_OPEN && c->expires_ms && at_ms > c->expires_ms)
		at_ms = c->expires_ms;
	wheel_set(&c->w->wheel, &c->timer, at_ms, c->w->now_ms);
}

bool conn_gone(struct conn *c, const char *why)
{
	log_debug("connection ends", kv_str("why", why), kv_more(conn_who(c)));
	c->by_client |= !c->close_sent;
	conn_free(c);
	return false;
}

bool conn_starved(struct conn *c, const char *why)
{
	log_some_errors(5, "a connection ends for lack of memory", kv_str("why", why),
		kv_more(conn_who(c)));
	conn_free(c);
	return false;
}

/* What is still to be sent may stand as long as it may at any other time. */
static uint64_t conn_linger(const struct conn *c)
{
	uint64_t ms = c->w->c->pong_timeout;

	return c->state == CONN_LINGER && !c->write_shut && ms > LINGER_MS ? ms : LINGER_MS;
}

/* Our side is done: the FIN goes out behind the last byte, then the peer has some time to end its
 * side. */
void conn_shut(struct conn *c, enum conn_state state)
{
	if (c->state != state) {
		conn_set_state(c, state);
		c->unsent_last = UINT32_MAX;
	}
	cork_drop(c);
	ws_reader_clear(&c->reader);
	free(c->stash);
	c->stash = NULL;
	if (c->out.len == c->out.off && !c->write_shut && (tls_shut(c) || !conn_want_write(c))) {
		shutdown(c->fd, SHUT_WR);
		c->write_shut = 1;
	}
	(void)!sight_read(c, true); /* to see the peer's end */
	conn_deadline(c, c->w->now_ms + conn_linger(c));
}

void conn_read_off(struct conn *c)
{
	(void)!sight_read(c, false);
}

bool conn_stash(struct conn *c, const uint8_t *data, size_t len)
{
	if (!len)
		return true;
	c->stash = malloc(sizeof(*c->stash) + len);
	if (!c->stash)
		return false;
	c->stash->len = (uint32_t)len;
	memcpy(c->stash->bytes, data, len);
	return true;
}

/* May bytes be parsed now? */
static bool conn_takes(const struct conn *c)
{
	if (c->waiting || c->pending || c->frozen || c->held || c->out.control > CONTROL_QUEUED_MAX)
		return false;
	return c->state == CONN_REQUEST || c->state == CONN_OPEN || c->state == CONN_CLOSING ||
	       (c->state == CONN_PARTING && !c->flushing);
}

static bool conn_feed(struct conn *c, uint8_t *buf, size_t len)
{
	bool corked = cork_begin(c);
	struct ws_read none;
	size_t at = 0;

	while (at < len && conn_takes(c)) {
		size_t used = 0;
		bool alive = c->state == CONN_REQUEST ? upgrade_feed(c, buf + at, len - at, &used)
						      : session_feed(c, buf + at, len - at, &used);

		if (!alive)
			return false;
		at += used;
	}
	if (corked && !cork_end(c))
		return false;
	if (c->state == CONN_LINGER || c->state == CONN_REFUSED || c->state == CONN_STORING)
		return true;                           /* what comes behind the end is nobody's */
	ws_reader_feed(&c->reader, NULL, 0, 0, &none); /* the last message's buffer goes */
	if (!conn_takes(c))
		conn_read_off(c);
	/* At most one read's worth. */
	return conn_stash(c, buf + at, len - at) || conn_starved(c, "no memory for input");
}

bool conn_resume(struct conn *c)
{
	struct stash *stash = c->stash;
	bool alive;

	if (!conn_takes(c))
		return true;
	c->stash = NULL;
	alive = conn_feed(c, stash ? stash->bytes : NULL, stash ? stash->len : 0);
	free(stash);
	if (!alive)
		return false;
	if (conn_takes(c) && !c->reading) {
		if (!sight_read(c, true))
			return conn_starved(c, "cannot watch for reading");
		if (c->read_more)
			sight_soon(c);
	}
	return true;
}

static void conn_fed(struct conn *c)
{
	if (c->state == CONN_REQUEST && !c->begun_us)
		c->begun_us = clock_us(CLOCK_MONOTONIC);
	c->fed = 1;
}

static void conn_ended_by_peer(struct conn *c)
{
	bool ending = c->state == CONN_LINGER || c->state == CONN_REFUSED;

	/* A client may end its side behind its Close: ours tells it that all is stored. */
	if (c->state == CONN_STORING || (ending && !c->write_shut)) {
		conn_read_off(c);
		return;
	}
	/* Half-closed without a Close frame: RFC 6455 7.1.5, an abnormal end (1006 on their side).
	 */
	conn_gone(c, "peer ended");
}

/* What comes behind the end is nobody's, but it is read: a socket that is closed with unread bytes
 * answers with a reset, which may cost the peer our Close (RFC 6455 7.1.1). */
static void conn_discarded(struct conn *c)
{
	uint64_t soon = c->w->now_ms + LINGER_MS, last = c->state_ms + LINGER_MAX_MS;

	/* Beyond the limit of its address nobody counts it: it may not last. */
	if (c->state == CONN_REFUSED && !c->crowded && c->w->c->limits.connections_per_address)
		return;
	if (c->state != CONN_STORING)
		conn_deadline(c, soon < last ? soon : last);
}

void conn_readable(struct conn *c)
{
	struct worker *w = c->w;
	ssize_t n;

	if (c->proxy) {
		peer_readable(c);
		return;
	}
	n = tls_on(c) ? tls_recv(c, w->read_buf, READ_SIZE)
		      : recv(c->fd, w->read_buf, READ_SIZE, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN && c->read_waits && (!c->seal_wanted || !conn_want_write(c)))
		errno = ENOMEM; /* behind the handshake: it wants new keys, and does not read */
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		if (errno == EAGAIN && tls_on(c) && c->state >= CONN_OPEN)
			c->came = 1; /* a part of a record, in which a Pong may lie */
		return;
	}
	if (n < 0 && errno == EPROTO && tls_on(c)) {
		tls_failed(c);
		return;
	}
	if (n < 0 && errno == EKEYEXPIRED) {
		tls_rekeyed(c);
		return;
	}
	if (c->write_waits) {
		c->write_waits = 0;
		if (!conn_write_again(c))
			return;
	}
	if (n == 0) {
		conn_ended_by_peer(c);
		return;
	}
	if (n < 0) { /* ECONNRESET: it did not wait for its unread bytes */
		conn_gone(c, "peer ended");
		return;
	}
	c->heard_ms = w->now_ms;
	conn_fed(c);
	if (c->state == CONN_LINGER || c->state == CONN_REFUSED || c->state == CONN_STORING) {
		conn_discarded(c);
		return;
	}
	if (!conn_feed(c, w->read_buf, (size_t)n))
		return;
	meter_bytes(c, (size_t)n);
	if (meter_spent(c, (size_t)n))
		(void)!session_unheard(c, WS_CODE_POLICY, "over its rate while it is closed");
}

/* ---- from one worker to another ---- */

void conn_leave(struct conn *c)
{
	conn_read_off(c);
	lane_unwait(c);
	meter_release(c);
	(void)!sight_write(c, false);
	wheel_del(&c->w->wheel, &c->timer);
	c->came_from = c->state;
	conn_set_state(c, CONN_LEAVING);
}

/* Nothing but our copy of the socket ends. */
void conn_moved(struct conn *c)
{
	if (c->counted)
		tally_moved_out(c);
	c->counted = 0;
	conn_free(c);
}

void conn_stay(struct conn *c)
{
	uint64_t now = c->w->now_ms;

	if (c->missed && !place_reopen(c)) {
		conn_starved(c, "no place to begin anew after a move that failed");
		return;
	}
	c->missed = 0;
	c->ping_ms = now;
	conn_set_state(c, (enum conn_state)c->came_from);
	conn_deadline(
		c, c->state == CONN_OPEN ? session_deadline(c) : now + c->w->c->handshake_timeout);
	if (c->pending)
		lane_wait(c);
	if (c->kicked) {
		char *reason = c->close_reason;

		c->kicked = 0;
		c->close_reason = NULL;
		c->frozen = 0;
		(void)!(conn_write_again(c) &&
			session_close(c, c->close_code, reason ? reason : "") &&
			conn_resume(c)); /* its Pong */
		free(reason);
		return;
	}
	if (conn_write_again(c))
		(void)!conn_resume(c);
}

bool conn_unread(const struct conn *c)
{
	char byte;

	return c->reading && recv(c->fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) > 0;
}

void conn_expired(void *arg, struct wheel_node *n)
{
	struct conn *c = (struct conn *)(void *)((char *)n - offsetof(struct conn, timer));

	(void)arg;
	/* This process stood still, or is behind: what has come in time may lie there. */
	if (c->state != CONN_OPEN && !c->looked && conn_unread(c)) {
		c->looked = 1;
		conn_deadline(c, c->w->now_ms + LOOK_MS);
		return;
	}
	switch ((enum conn_state)c->state) {
	case CONN_REQUEST:
	case CONN_AUTHORIZING:
	case CONN_OPENING:
		if (tls_handshaking(c))
			tls_late(c);
		else
			(void)!upgrade_timeout(c);
		break;
	case CONN_LINGER:
	case CONN_REFUSED:
		if (conn_progress(c) &&
			(c->state == CONN_REFUSED ? c->w->now_ms < c->state_ms + LINGER_MAX_MS
						  : session_may_last(c, c->state_ms)))
			conn_deadline(c, c->w->now_ms + conn_linger(c));
		else
			conn_gone(c, "peer did not end");
		break;
	default:
		(void)!session_timeout(c);
	}
}
