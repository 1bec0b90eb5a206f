/*
 * arrive: connections that other workers give us. parcel.h: the wire, and who owns what when.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <wsgate/clock.h>
#include <wsgate/log.h>

#include "follow.h"
#include "pack.h"
#include "parcel.h"
#include "sealed.h"
#include "tally.h"
#include "worker.h"

struct arrival { /* one giver */
	struct arrival *next;
	struct worker *w;
	struct event *ev; /* owned */
	int fd;           /* owned */
	bool wait;        /* a connection is ours only when the bridge knows it */
	struct conn *arriving[PARCEL_UNANSWERED]; /* state CONN_ARRIVING */
	struct down_ref taken[PARCEL_UNANSWERED]; /* and by which routes the last ones were ours */
	/* The one whose body is coming. */
	struct parcel_head head;
	uint8_t *body; /* owned; NULL: none */
	size_t got;
	uint64_t id;
	int sock; /* owned while body is there; -1: we had no descriptor left for it */
};

/* ---- the giver's end ---- */

static void arrival_free(struct arrival *a)
{
	struct arrival **at = &a->w->arrivals;

	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	if (a->body && a->sock >= 0)
		close(a->sock);
	parcel_drop(a->body, a->head.body_len);
	event_free(a->ev);
	close(a->fd);
	free(a);
}

/*
 * The giver is gone, or says what makes no sense. Gone: what waits for the bridge has no other
 * owner now, and stays. Nonsense: the giver takes back what we did not answer, so we must let go of
 * it.
 */
static void arrival_end(struct arrival *a, bool nonsense)
{
	struct conn *list[PARCEL_UNANSWERED];

	memcpy(list, a->arriving, sizeof(list));
	memset(a->arriving, 0, sizeof(a->arriving));
	for (unsigned i = 0; nonsense && i < PARCEL_UNANSWERED; i++)
		if (list[i])
			conn_free(list[i]);
	if (nonsense)
		log_error("another worker hands connections over in a way that makes no sense: it "
			  "keeps them");
	arrival_free(a);
}

/* False: the giver did not hear it. */
static bool arrival_answer(struct arrival *a, uint64_t id, enum parcel_type type)
{
	if (parcel_send(a->fd, type, id, NULL, 0, -1) == 0)
		return true;
	log_error("cannot answer another worker that hands connections over", kv_errno(errno));
	return false;
}

void arrive_forget(const struct conn *c)
{
	for (struct arrival *a = c->w->arrivals; a; a = a->next)
		for (unsigned i = 0; i < PARCEL_UNANSWERED; i++)
			if (a->arriving[i] == c)
				a->arriving[i] = NULL;
}

/* ---- a connection ---- */

/* It is ours now. False: it is gone. */
static bool conn_begin(struct conn *c)
{
	c->counted = 1;
	tally_moved_in(c);
	conn_set_state(c, CONN_OPEN);
	conn_deadline(c, session_deadline(c));
	if (!conn_write_again(c))
		return false;
	if (c->pending && !link_fits(c, c->pending_len))
		return session_too_big(c);
	if (c->pending)
		lane_wait(c);
	if (c->kicked) {
		char *reason = c->close_reason;
		bool alive;

		c->kicked = 0;
		c->close_reason = NULL;
		alive = session_close(c, c->close_code, reason ? reason : "");
		free(reason);
		return alive && conn_resume(c); /* its Pong */
	}
	return conn_resume(c) && session_prove(c);
}

/* The bridge knows its route. A giver that is gone needs no answer. */
bool arrive_opened(struct conn *c)
{
	for (struct arrival *a = c->w->arrivals; a; a = a->next) {
		for (unsigned i = 0; i < PARCEL_UNANSWERED; i++) {
			if (a->arriving[i] != c)
				continue;
			a->arriving[i] = NULL;
			a->taken[i] = (struct down_ref){c->generation, c->route, 0};
			/* A giver that is dead keeps nothing: then it is ours all the same. */
			if (!arrival_answer(a, i, PARCEL_TAKEN) && errno != EPIPE &&
				errno != ECONNRESET) {
				conn_free(c);
				arrival_end(a, true);
				return false;
			}
		}
	}
	return conn_begin(c);
}

static uint8_t *copy_of(const uint8_t *data, size_t len)
{
	uint8_t *p = malloc(len ? len : 1);

	if (p && len)
		memcpy(p, data, len);
	return p;
}

/* False: no memory, or it does not add up. */
static bool conn_fill(struct conn *c, const struct parcel_head *h, const struct parcel_parts *p)
{
	life_goes_on(c, h->figures.opened_s, h->data_s);
	c->heard_ms = h->heard_ms < c->w->now_ms ? h->heard_ms : c->w->now_ms;
	c->expires_ms = h->expires_ms;
	c->fed = 1;
	c->echo = h->kind == PARCEL_ECHO;
	c->ktls = h->ktls;
	c->unstored = h->unstored != 0;
	c->out.control = h->control_queued;
	c->ping_out = h->ping_out != 0;
	follow_adopt(c, &h->trace);
	memcpy(c->ping_id, h->ping_id, sizeof(c->ping_id));
	c->ping_mark = h->ping_mark;
	c->ping_count = h->ping_count;
	c->ping_ms = c->w->now_ms; /* its Pong may have come while nobody read */
	c->unsent_last = UINT32_MAX;
	if (!ws_reader_restore(&c->reader, &h->reader, p->message, p->control) ||
		!pack_adopt(c, h, p) || !sealed_adopt(c, h, p))
		return false;
	if (h->pending) {
		c->pending = copy_of(p->pending, h->pending_len);
		c->pending_len = (uint32_t)h->pending_len;
		c->pending_text = h->pending_text != 0;
		c->flush_stamp = clock_ns(CLOCK_MONOTONIC) - h->pending_us * UINT64_C(1000);
	}
	return conn_stash(c, p->stash, h->stash_len) && (!h->pending || c->pending);
}

static bool conn_route(struct conn *c, const struct parcel_head *h, const struct identity *who)
{
	if (h->kind == PARCEL_ECHO)
		return true;
	if (h->kind == PARCEL_OPEN)
		return place_adopt(c, who, h);
	if (!place_open(c, who))
		return false;
	conn_set_state(c, CONN_OPENING);
	conn_deadline(c, c->w->now_ms + c->w->c->handshake_timeout);
	return true;
}

/* Takes fd. NULL: it stays the giver's. */
static struct conn *arrive_build(
	struct worker *w, const struct parcel_head *h, const uint8_t *body, int fd)
{
	struct parcel_parts p;
	struct conn *c;

	if (fd < 0 || !worker_has_room(w, fd, true)) {
		worker_say_full(w);
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	if (w->ends || move_gives(w)) {
		close(fd);
		return NULL;
	}
	c = h->kind == PARCEL_FRESH ? conn_accept(w, fd, NULL, &h->peer)
				    : conn_adopt(w, fd, &h->peer);
	if (c && !peer_adopted(c)) {
		conn_free(c);
		return NULL;
	}
	if (h->kind == PARCEL_FRESH)
		return c;
	parcel_open(h, body, &p);
	if (c && conn_fill(c, h, &p) && conn_route(c, h, &p.who))
		return c;
	if (c)
		conn_free(c);
	log_some_errors(5, "cannot take a connection of another worker: no place, or no memory");
	return NULL;
}

/* The whole body is here. False: a is gone. */
static bool arrival_complete(struct arrival *a)
{
	struct parcel_head h = a->head;
	uint8_t *body = a->body;
	struct conn *c = arrive_build(a->w, &h, body, a->sock);

	a->body = NULL;
	parcel_drop(body, h.body_len);
	if (c && a->wait && h.kind == PARCEL_OPEN) {
		a->arriving[a->id] = c;
		return true;
	}
	/* As in arrive_opened(): of a giver that is dead it is ours. */
	if (!arrival_answer(a, a->id, c ? PARCEL_TAKEN : PARCEL_REFUSED) && errno != EPIPE &&
		errno != ECONNRESET) {
		if (c)
			conn_free(c);
		arrival_end(a, true);
		return false;
	}
	if (c && (h.kind == PARCEL_OPEN || h.kind == PARCEL_ECHO))
		(void)!conn_begin(c);
	return true;
}

/* ---- packets ---- */

static bool arrival_head(
	struct arrival *a, const struct parcel_note *note, uint8_t *data, size_t len, int fd)
{
	size_t first = len - sizeof(a->head);

	if (len < sizeof(a->head) || a->body || note->id >= PARCEL_UNANSWERED ||
		a->arriving[note->id])
		return false;
	memcpy(&a->head, data, sizeof(a->head));
	if (!parcel_check(&a->head) || first > a->head.body_len)
		return false;
	a->id = note->id;
	a->taken[a->id] = (struct down_ref){0, 0, 0}; /* the name is another one's now */
	a->sock = fd;
	a->got = first;
	a->body = malloc(a->head.body_len + 1);
	if (!a->body) {
		log_error("no memory for a connection of another worker");
		return false;
	}
	memcpy(a->body, data + sizeof(a->head), first);
	explicit_bzero(data, len); /* it is every connection's buffer */
	return true;
}

static bool arrival_body(
	struct arrival *a, const struct parcel_note *note, uint8_t *data, size_t len)
{
	if (!a->body || note->id != a->id || len > a->head.body_len - a->got)
		return false;
	memcpy(a->body + a->got, data, len);
	explicit_bzero(data, len);
	a->got += len;
	return true;
}

/* Perhaps of one that we took already: the giver did not know it yet. */
static struct conn *arrival_find(struct arrival *a, uint64_t id)
{
	return a->arriving[id] ? a->arriving[id] : place_find(a->w, &a->taken[id]);
}

static bool arrival_kick(
	struct arrival *a, const struct parcel_note *note, const uint8_t *data, size_t len)
{
	struct parcel_kick k;
	struct conn *c;

	if (len != sizeof(k) || note->id >= PARCEL_UNANSWERED)
		return false;
	memcpy(&k, data, sizeof(k));
	k.reason[WS_REASON_MAX] = '\0';
	c = arrival_find(a, note->id);
	if (c && c->state == CONN_ARRIVING) {
		c->kicked = 1;
		c->close_code = k.code;
		free(c->close_reason);
		c->close_reason = strdup(k.reason); /* without memory: without a reason */
	} else if (c) {
		(void)!session_close(c, k.code, k.reason);
	}
	return true;
}

/* False: a is gone. */
static bool arrival_packet(
	struct arrival *a, const struct parcel_note *note, uint8_t *data, size_t len, int fd)
{
	bool good = false;

	switch (note->type) {
	case PARCEL_HEAD:
		good = arrival_head(a, note, data, len, fd);
		if (good)
			fd = -1;
		break;
	case PARCEL_BODY:
		good = arrival_body(a, note, data, len);
		break;
	case PARCEL_KICK:
		good = arrival_kick(a, note, data, len);
		break;
	default:
		break;
	}
	if (fd >= 0)
		close(fd);
	if (!good) {
		arrival_end(a, true);
		return false;
	}
	return !a->body || a->got < a->head.body_len || arrival_complete(a);
}

static void arrival_readable(evutil_socket_t sock, short what, void *arg)
{
	struct arrival *a = arg;
	struct worker *w = a->w;
	struct parcel_note note;

	(void)what;
	w->now_ms = worker_clock();
	for (unsigned i = 0; i < PARCEL_UNANSWERED; i++) {
		int fd;
		long n = parcel_receive(sock, &note, w->read_buf, READ_SIZE, &fd);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			arrival_end(a, errno == EPROTO);
			return;
		}
		if (!arrival_packet(a, &note, w->read_buf, (size_t)n, fd))
			return;
	}
}

void arrive_on_channel(void *arg, const void *body, int fd)
{
	const struct proto_arrive *pa = body;
	struct worker *w = arg;
	struct arrival *a = fd >= 0 ? calloc(1, sizeof(*a)) : NULL;

	if (a) {
		a->w = w;
		a->fd = fd;
		a->wait = pa->wait;
		a->ev = event_new(w->base, fd, EV_READ | EV_PERSIST, arrival_readable, a);
	}
	if (a && a->ev && event_add(a->ev, NULL) == 0) {
		a->next = w->arrivals;
		w->arrivals = a;
		return;
	}
	log_some_errors(
		1, "cannot take connections of another worker: it keeps them", kv_errno(errno));
	if (a && a->ev)
		event_free(a->ev);
	free(a);
	if (fd >= 0)
		close(fd);
}

void arrive_free(struct worker *w)
{
	while (w->arrivals)
		arrival_free(w->arrivals);
}
