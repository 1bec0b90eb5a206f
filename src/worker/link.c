#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <wsgate/clock.h>
#include <wsgate/hist.h>
#include <wsgate/log.h>

#include "follow.h"
#include "pack.h"
#include "tally.h"
#include "worker.h"

#define BATCH_RECORDS 1024 /* a wakeup; clients have their turn in between */
#define NS UINT64_C(1000000000)
#define FLUSH_IOVS 64 /* two for each frame, one for the Ping */

static void link_ring_bridge(struct worker *w)
{
	if (!bell_must_ring(&w->shm.bridge->bell, &w->bell_rung) ||
		chan_send(w->bell, PROTO_DOORBELL, NULL, 0, -1) == 0)
		return;
	w->bell_rung = 0; /* again with the next record */
	/* EAGAIN: no memory, or doorbells lie there unread already. Anything else: the bridge is
	 * gone, its successor looks by itself. */
	if (errno != EAGAIN)
		log_debug("doorbell not heard", kv_errno(errno));
}

void link_changed(struct worker *w, uint32_t index)
{
	if (!changes_push(&w->changes, index)) {
		log_error("change list overrun: shared memory is damaged");
		abort(); /* the connections of this worker alone are lost; going on could lose
			    messages */
	}
	link_ring_bridge(w);
}

size_t link_max_message(const struct worker *w)
{
	uint64_t max = stat_get(w->shm.bridge->max_message);

	return max ? max : w->c->max_message;
}

static uint32_t link_state(const struct worker *w, unsigned stream, uint64_t *since_ms)
{
	const struct shm_bridge *b = w->shm.bridge;
	uint32_t state;

	if (stream >= SHM_STREAMS) {
		state = atomic_load_explicit(&b->broker_state, memory_order_acquire);
		*since_ms = stat_get(b->state_since_ms);
	} else {
		state = atomic_load_explicit(&b->streams[stream].state, memory_order_acquire);
		*since_ms = stat_get(b->streams[stream].since_ms);
	}
	return state;
}

bool link_connected(const struct worker *w, unsigned stream)
{
	uint64_t since;

	return link_state(w, stream, &since) == SHM_BROKER_CONNECTED;
}

bool link_all_connected(const struct worker *w)
{
	for (size_t i = 0; i < config_streams(w->c); i++)
		if (!link_connected(w, (unsigned)i))
			return false;
	return true;
}

enum link_broker link_broker(const struct worker *w, unsigned stream)
{
	uint64_t since;

	switch (link_state(w, stream, &since)) {
	case SHM_BROKER_NEVER:
		return LINK_BROKER_STARTING;
	case SHM_BROKER_LOST:
		return w->now_ms > since + w->c->broker.grace ? LINK_BROKER_AWAY
							      : LINK_BROKER_READY;
	}
	return LINK_BROKER_READY;
}

/* ---- up: client → service ---- */

static void *link_reserve(struct conn *c, uint16_t type, size_t payload, struct identity *id)
{
	struct worker *w = c->w;
	struct lane *l = lane_of(w, c->stream);
	size_t size;

	*id = place_identity(c);
	size = sizeof(struct up_record) + id->service_len + id->user_len +
	       follow_trace_len(c, type) + payload;
	/* One message always. */
	c->share_full = c->up_bytes && c->up_bytes + lane_charge(w, size) > lane_share(w);
	if (c->share_full)
		return NULL;
	return w->shut ? NULL : ring_reserve(&l->up, type, size);
}

bool link_fits(const struct conn *c, size_t len)
{
	struct identity id = place_identity(c);

	return sizeof(struct up_record) + id.service_len + id.user_len +
		       follow_trace_len(c, UP_MESSAGE) + len <=
	       ring_max_record(lane_size(c->w));
}

uint32_t link_waited_us(const struct conn *c)
{
	uint64_t us = hist_elapsed(c->flush_stamp, clock_ns(CLOCK_MONOTONIC));

	return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

static enum link_put link_put(
	struct conn *c, uint16_t type, bool text, const uint8_t *data, size_t len)
{
	struct worker *w = c->w;
	struct lane *l = lane_of(w, c->stream);
	struct identity id;
	struct up_record *r;
	char *p;

	lane_reclaim(w, l);
	r = link_reserve(c, type, len, &id);
	if (!r)
		return LINK_FULL;
	memset(r, 0, sizeof(*r));
	r->generation = c->generation;
	r->conn = c->id;
	r->stamp = clock_ns(CLOCK_MONOTONIC);
	if (type == UP_FLUSH)
		c->flush_stamp = r->stamp;
	else if (c->pending)
		r->waited_us = link_waited_us(c);
	r->index = c->route;
	r->len = (uint32_t)len;
	r->text = text;
	r->service_len = (uint8_t)id.service_len;
	r->user_len = (uint8_t)id.user_len;
	p = (char *)(r + 1);
	memcpy(p, id.service, id.service_len);
	memcpy(p + id.service_len, id.user, id.user_len);
	p += id.service_len + id.user_len;
	r->trace_len = follow_trace_len(c, type);
	if (r->trace_len)
		follow_context(c, p);
	if (len)
		memcpy(p + r->trace_len, data, len);
	c->up_bytes +=
		lane_charge(w, sizeof(*r) + id.service_len + id.user_len + r->trace_len + len);
	if (type == UP_MESSAGE && trace_wants(&id))
		follow_up(c, r, l->up.pos);
	ring_commit(&l->up);
	stat_max(w->slot->stats.up_peak, l->up.pos - l->up.tail);
	link_ring_bridge(w);
	return LINK_PUT;
}

enum link_put link_put_message(struct conn *c, bool text, const uint8_t *data, size_t len)
{
	enum link_put r = link_put(c, UP_MESSAGE, text, data, len);

	if (r == LINK_PUT)
		tally_in(c, len);
	return r;
}

enum link_put link_put_flush(struct conn *c)
{
	return link_put(c, UP_FLUSH, false, NULL, 0);
}

uint32_t link_bridge(const struct worker *w)
{
	return atomic_load_explicit(&w->shm.bridge->pid, memory_order_relaxed);
}

enum link_put link_put_question(
	struct conn *c, const char *service, size_t service_len, const char *text)
{
	struct worker *w = c->w;
	int stream = config_stream_of(w->c, service, service_len);
	struct lane *l = lane_of(w, stream < 0 ? 0 : (unsigned)stream);
	size_t len = strlen(text), size = sizeof(struct up_record) + service_len + 1 + len;
	struct up_record *r;
	char *p;

	lane_reclaim(w, l);
	r = w->shut || size > lane_size(w) / 4 ? NULL : ring_reserve(&l->up, UP_ASK, size);
	if (!r)
		return LINK_FULL;
	memset(r, 0, sizeof(*r));
	r->generation = w->h->generation << 32;
	r->stamp = clock_ns(CLOCK_MONOTONIC);
	r->index = UP_NOBODY;
	r->len = (uint32_t)len;
	r->service_len = (uint8_t)service_len;
	r->user_len = 1; /* a record has one: who it is, is the question */
	c->flush_stamp = r->stamp;
	p = (char *)(r + 1);
	memcpy(p, service, service_len);
	p[service_len] = '-';
	memcpy(p + service_len + 1, text, len);
	ring_commit(&l->up);
	link_ring_bridge(w);
	return LINK_PUT;
}

/* ---- down: service → client ---- */

static bool link_write_conn(struct worker *w, struct conn *c)
{
	struct iovec iov[FLUSH_IOVS + 1];
	uint8_t ping[WS_HEADER_MAX + 16];
	uint16_t s = c->first_seg;

	while (s != NO_SEG) {
		int n = 0;

		for (; s != NO_SEG && n + 2 <= FLUSH_IOVS; s = w->segs[s].next) {
			struct seg *g = &w->segs[s];

			iov[n++] = (struct iovec){g->head, g->head_len};
			if (g->len)
				iov[n++] = (struct iovec){(void *)(uintptr_t)g->data, g->len};
			g->conn = NULL;
		}
		c->first_seg = s;
		if (s == NO_SEG && w->c->delivery.confirm == CONFIRM_PONG) {
			size_t len = session_ping_frame(c, ping);

			if (len)
				iov[n++] = (struct iovec){ping, len};
		}
		if (!conn_sendv(c, iov, n))
			return false;
	}
	c->last_seg = NO_SEG;
	return true;
}

/* Writes what was put together; only then may the ring's bytes go. */
static void link_write_batch(struct worker *w)
{
	for (uint16_t i = 0; i < w->nsegs; i++) {
		struct conn *c = w->segs[i].conn;

		if (!c || !link_write_conn(w, c))
			continue;
		session_given(c);
	}
	if (w->nsegs)
		tally_delivered(w);
	w->nsegs = 0;
	pack_written(w);
}

static uint8_t link_opcode(struct worker *w, const struct down_view *v)
{
	if (v->m->text == DOWN_TEXT_BINARY)
		return WS_BINARY;
	if (utf8_valid(v->data, v->m->len))
		return WS_TEXT;
	/* Marked as text and not UTF-8: a client would have to fail the connection (8.1). */
	if (v->m->text == DOWN_TEXT_TEXT) {
		const struct conn *c = v->m->nrefs ? place_find(w, &v->refs[0]) : NULL;

		log_some_warnings(5, "message marked as text is not UTF-8: sent as binary",
			kv_uint("seq", v->m->seq), kv_more(c ? conn_who(c) : NULL));
	}
	return WS_BINARY;
}

static void link_message_to(
	struct worker *w, struct conn *c, const struct down_view *v, uint8_t opcode)
{
	const struct route *r = &w->routes.routes[c->route];
	struct pack_payload p = {v->data, v->m->len};
	bool compressed;
	struct seg *g;

	if (stat_get(r->epoch) != v->m->epoch) {
		if (v->m->epoch < stat_get(r->epoch))
			return; /* of a stream that is gone */
		route_set_epoch(&w->routes, c->route, v->m->epoch);
		tally_forget(c);
		c->ping_out = 0; /* its mark means nothing any more */
	}
	if (v->m->seq <= stat_get(r->given)) {
		stat_add(w->slot->stats.repeated, 1); /* a bridge's successor cannot know */
		if (v->m->seq <= stat_get(r->confirmed))
			link_changed(w, c->route);
		return;
	}
	if (c->state != CONN_OPEN) {
		c->missed = c->state == CONN_LEAVING;
		return; /* it stays in the stream */
	}
	compressed = !v->m->plain && pack_message(c, v->m->epoch, v->m->seq, &p);
	g = &w->segs[w->nsegs];
	*g = (struct seg){.conn = c, .data = p.data, .len = p.len, .next = NO_SEG};
	/* What lay there before says how long its user was away. */
	g->stamp_ns = v->m->stamp_ns / NS >= r->opened_s ? v->m->stamp_ns : 0;
	g->head_len = (uint8_t)ws_frame_header(g->head, opcode, true, compressed, p.len);
	if (c->last_seg == NO_SEG || c->first_seg == NO_SEG)
		c->first_seg = w->nsegs;
	else
		w->segs[c->last_seg].next = w->nsegs;
	c->last_seg = w->nsegs++;
	route_set_given(&w->routes, c->route, v->m->seq);
	c->data_s = (uint32_t)(w->now_ms / 1000);
	if (follow_wants(c))
		follow_down(c, v->m);
	tally_out(c, v->m->len);
}

static void link_message(struct worker *w, const struct down_view *v)
{
	uint8_t opcode = link_opcode(w, v);

	if (w->nsegs + v->m->nrefs > SEGS_MAX)
		link_write_batch(w);
	for (uint32_t i = 0; i < v->m->nrefs; i++) {
		struct conn *c;

		if (pack_full(w))
			link_write_batch(w); /* which may end connections */
		c = place_find(w, &v->refs[i]);
		if (c)
			link_message_to(w, c, v, opcode);
		else
			stat_add(w->slot->stats.stale_records, 1);
	}
}

static void link_notice(struct worker *w, uint16_t type, const struct down_view *v)
{
	struct conn *c = place_find(w, &v->n->ref);
	char reason[WS_REASON_MAX + 1];
	size_t n = v->n->reason_len < WS_REASON_MAX ? v->n->reason_len : WS_REASON_MAX;

	if (type == DOWN_ENDED) {
		place_ended(w, &v->n->ref);
		return;
	}
	if (type == DOWN_ANSWER)
		auth_answered(w, v);
	if (!c)
		return;
	if (type == DOWN_OPENED && c->state == CONN_OPENING) {
		route_set_epoch(&w->routes, c->route, v->n->epoch);
		route_set_given(&w->routes, c->route, v->n->seq);
		route_set_confirmed(&w->routes, c->route, v->n->seq);
		route_set_state(&w->routes, c->route, ROUTE_OPEN);
		link_changed(
			w, c->route); /* its marks may be above those of a bridge's successor */
		upgrade_opened(c);
	} else if (type == DOWN_REFUSED) {
		if (c->state == CONN_OPENING)
			upgrade_refused(c, v->n->code);
		else /* a bridge's successor does not serve whom it let in */
			(void)!session_close(c, WS_CODE_RESTART, "please come back");
	} else if (type == DOWN_OPENED &&
		   stat_get(w->routes.routes[c->route].state) == ROUTE_MOVED) {
		route_set_state(&w->routes, c->route, ROUTE_OPEN);
		link_changed(w, c->route);
		if (c->state == CONN_ARRIVING)
			(void)!arrive_opened(c);
	} else if (type == DOWN_FLUSHED && c->flushing && v->n->seq == c->flush_stamp) {
		c->flushed = 1;
		c->unstored = 0;
		(void)!session_step(c);
	} else if (type == DOWN_CLOSE || type == DOWN_KICK) {
		memcpy(reason, v->reason, n);
		reason[utf8_valid((const uint8_t *)reason, n) ? n : 0] = '\0';
		if (c->state == CONN_LEAVING) {
			move_kick(c, v->n->code, reason);
			return;
		}
		if (c->state == CONN_ARRIVING && !arrive_opened(c))
			return;
		(void)!(type == DOWN_KICK ? session_close(c, v->n->code, reason)
					  : session_refused(c, v->n->code, reason));
	}
}

/* Returns true when there is more to do. */
static bool link_batch(struct worker *w)
{
	struct down_view v;
	const void *payload;
	uint16_t type;
	uint64_t pos;
	size_t size;

	for (int i = 0; i < BATCH_RECORDS; i++) {
		enum ring_read r = ring_next(&w->down, &type, &payload, &size, &pos);

		if (r == RING_EMPTY)
			return false;
		if (r == RING_CORRUPT || !down_parse(type, payload, size, &v)) {
			log_error("down ring is damaged: this worker ends",
				kv_uint("pos", w->down.pos));
			_exit(1);
		}
		if (type == DOWN_MESSAGE) {
			link_message(w, &v);
			continue;
		}
		link_write_batch(w); /* notices keep their place among the messages */
		link_notice(w, type, &v);
	}
	return true;
}

void link_wakeup(struct worker *w)
{
	bool more;

	w->now_ms = worker_clock();
	bell_awake(&w->slot->bell);
	more = link_batch(w);
	link_write_batch(w);
	ring_release(&w->down, w->down.pos);
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&w->slot->down_wanted, memory_order_relaxed))
		link_ring_bridge(w);
	lane_serve_all(w);
	if (!more && pace_on(&w->pace) && turns_next(w->again) == 0)
		return; /* nobody rings meanwhile */
	if (!more) {
		bell_sleep(&w->slot->bell);
		more = atomic_load_explicit(&w->down.words->head, memory_order_acquire) !=
			       w->down.pos ||
		       lane_more(w);
	}
	if (more)
		event_active(w->again, EV_TIMEOUT, 0);
}

static void link_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	link_wakeup(arg);
}

/* ---- start and stop ---- */

static int link_alloc(struct worker *w)
{
	uint32_t n = w->routes.n;

	w->by_route = calloc(n, sizeof(struct conn *));
	w->free_routes = malloc(n * sizeof(uint32_t));
	w->changes.pushed = calloc(n, sizeof(uint64_t));
	w->segs = malloc(SEGS_MAX * sizeof(struct seg));
	w->again = event_new(w->base, -1, 0, link_again, w);
	if (!w->by_route || !w->free_routes || !w->changes.pushed || !w->segs || !w->again)
		return -1;
	w->dead_places = w->h->generation > 1;
	for (uint32_t i = n; i-- > 0;) /* low places first: fewer pages */
		if (!w->dead_places || !stat_get(w->routes.routes[i].generation))
			w->free_routes[w->nfree++] = i;
	return 0;
}

int link_start(struct worker *w)
{
	struct timespec now;

	if (shm_map(&w->shm, w->h->segment, true) < 0) {
		log_error("cannot map the segment", kv_errno(errno));
		return -1;
	}
	w->slot = shm_slot(&w->shm, w->h->slot);
	/* First of all: routes of other generations are a dead worker's from here on. Their marks
	 * stay readable. */
	atomic_store_explicit(&w->slot->generation, w->h->generation, memory_order_seq_cst);
	w->routes = shm_routes(&w->shm, w->h->slot);
	shm_changes(&w->shm, w->h->slot, &w->changes);
	shm_crowd(&w->shm, w->h->slot, &w->crowd);
	crowd_clear(&w->crowd);
	lane_attach(w);
	ring_attach_reader(&w->down, &w->slot->down, shm_down_data(&w->shm, w->h->slot),
		w->shm.header->sizes.down_size);
	/* What lies there is for dead workers, and the last one may have died of it. */
	w->down.pos = atomic_load_explicit(&w->slot->down.head, memory_order_acquire);
	ring_release(&w->down, w->down.pos);
	if (link_alloc(w) < 0) {
		log_error("no memory for the routes");
		return -1;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	atomic_store(&w->slot->started_ms, (uint64_t)now.tv_sec * 1000);
	atomic_store(&w->slot->pid, (uint32_t)getpid());
	atomic_store(&w->slot->draining, 0);
	atomic_store(&w->slot->want_space, 0);
	tally_start(w);
	event_active(w->again, EV_TIMEOUT, 0);
	return 0;
}

void link_stop(struct worker *w)
{
	atomic_store(&w->slot->pid, 0); /* writes no more */
	free(w->by_route);
	free(w->free_routes);
	free(w->changes.pushed);
	free(w->segs);
	if (w->again)
		event_free(w->again);
	shm_unmap(&w->shm);
}
