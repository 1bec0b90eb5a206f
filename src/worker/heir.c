/*
 * heir: see heir.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <wsgate/log.h>

#include "heir.h"
#include "pack.h"
#include "sealed.h"

/* ---- packing ---- */

static enum parcel_kind parcel_kind_of(const struct conn *c)
{
	if (c->state == CONN_REQUEST)
		return PARCEL_FRESH;
	if (c->echo)
		return PARCEL_ECHO;
	return c->state == CONN_OPENING ? PARCEL_OPENING : PARCEL_OPEN;
}

static void parcel_fill(struct conn *c, struct parcel_head *h, struct parcel_parts *p)
{
	const struct outbuf *o = &c->out;

	memset(h, 0, sizeof(*h));
	memset(p, 0, sizeof(*p));
	h->kind = (uint8_t)parcel_kind_of(c);
	h->peer = c->peer;
	h->heard_ms = c->heard_ms;
	h->expires_ms = c->expires_ms;
	h->control_queued = c->out.control;
	h->ping_out = c->ping_out;
	memcpy(h->ping_id, c->ping_id, sizeof(h->ping_id));
	h->ping_mark = c->ping_mark;
	h->ping_count = c->ping_count;
	h->ping_ms = c->ping_ms;
	h->data_s = c->data_s;
	h->ktls = c->ktls;
	h->unstored = c->up_bytes != 0 || c->unstored;
	h->seal_len = (uint16_t)sealed_pack(c, NULL);
	if (c->trace)
		h->trace = *c->trace;
	ws_reader_save(&c->reader, &h->reader, &p->message, &p->control);
	if (c->route != NO_ROUTE)
		place_describe(c, h, &p->who);
	h->service_len = (uint8_t)p->who.service_len;
	h->user_len = (uint8_t)p->who.user_len;
	p->stash = c->stash ? c->stash->bytes : NULL;
	h->stash_len = c->stash ? c->stash->len : 0;
	p->out = o->buf ? o->buf + o->off : NULL;
	h->out_len = o->len - o->off;
	p->pending = c->pending;
	h->pending = c->pending != NULL; /* a message of 0 bytes is one, too */
	h->pending_len = c->pending ? c->pending_len : 0;
	h->pending_text = c->pending_text;
	h->pending_us = c->pending ? link_waited_us(c) : 0;
	pack_describe(c, h);
}

static void body_add(uint8_t **at, const void *data, size_t len)
{
	if (len)
		memcpy(*at, data, len);
	*at += len;
}

/* Owned by the caller. NULL: no memory. */
static uint8_t *parcel_pack(struct conn *c, struct parcel_head *h)
{
	char answer[UPGRADE_ANSWER_MAX];
	struct parcel_parts p;
	uint8_t *body, *at;

	parcel_fill(c, h, &p);
	if (h->kind == PARCEL_OPENING && c->hs) { /* else it lies in c->out, as it came */
		p.out = (const uint8_t *)answer;
		h->out_len = upgrade_answer_text(c, answer);
	}
	h->body_len = parcel_body_len(h);
	body = at = malloc(h->body_len + 1);
	if (!body)
		return NULL;
	body_add(&at, p.who.service, h->service_len);
	body_add(&at, p.who.user, h->user_len);
	body_add(&at, p.message, h->reader.len);
	body_add(&at, p.control, h->reader.control_len);
	body_add(&at, p.stash, h->stash_len);
	body_add(&at, p.out, h->out_len);
	body_add(&at, p.pending, h->pending_len);
	at += pack_windows(c, h, at);
	(void)sealed_pack(c, at);
	return body;
}

/* ---- its socket ---- */

static void heir_drop_body(struct heir *h)
{
	parcel_drop(h->body, h->body_len);
	h->body = NULL;
}

void heir_close(struct heir *h)
{
	if (h->fd < 0)
		return;
	event_free(h->read_ev);
	event_free(h->write_ev);
	close(h->fd);
	h->fd = -1;
	h->unanswered = 0;
	h->taken = 0;
	memset(h->given, 0, sizeof(h->given));
	heir_drop_body(h);
}

static void heir_send_kick(struct heir *h, unsigned place)
{
	struct conn *c = h->given[place];
	struct parcel_kick k = {.code = c->close_code};
	struct iovec iov = {&k, sizeof(k)};

	if (!c->kicked || c->kick_told || (h->body && h->body_place == place))
		return; /* it goes behind the body */
	if (c->close_reason) {
		strncpy(k.reason, c->close_reason, sizeof(k.reason) - 1);
		k.reason_len = (uint16_t)strlen(k.reason);
	}
	/* Still kicked: if it comes back it is closed here. */
	if (parcel_send(h->fd, PARCEL_KICK, place, &iov, 1, -1) == 0)
		c->kick_told = 1;
	else if (event_add(h->write_ev, NULL) < 0)
		log_error("cannot watch a worker", kv_errno(errno));
}

static void heir_answered(struct heir *h, unsigned place, bool taken)
{
	struct conn *c = h->given[place];

	h->given[place] = NULL;
	h->taken &= ~(UINT64_C(1) << place);
	h->unanswered--;
	move_answered(h->w, c, taken);
}

/* One answer. False: none, with errno. */
static bool heir_hear(struct heir *h)
{
	struct parcel_note note;
	struct conn *c;
	char none[8];
	int got;

	if (parcel_receive(h->fd, &note, none, sizeof(none), &got) < 0)
		return false;
	if (got >= 0)
		close(got);
	c = note.id < PARCEL_UNANSWERED ? h->given[note.id] : NULL;
	if (!c)
		return true;
	/* An order to close it may lie in the ring, of a bridge that did not know its new route. */
	link_wakeup(h->w);
	heir_send_kick(h, (unsigned)note.id);
	if (note.type == PARCEL_TAKEN && c->kicked && !c->kick_told)
		h->taken |= UINT64_C(1) << note.id;
	else
		heir_answered(h, (unsigned)note.id, note.type == PARCEL_TAKEN);
	return true;
}

/* Its end is closed: what it did not answer is ours again. */
static void heir_gone(struct heir *h)
{
	struct worker *w = h->w;
	struct conn *back[PARCEL_UNANSWERED];

	while (heir_hear(h)) /* what it took before, it may have written to */
		;
	for (unsigned i = 0; i < PARCEL_UNANSWERED; i++)
		if (h->taken & UINT64_C(1) << i)
			heir_answered(h, i, true);
	if (h->unanswered)
		log_warn("a worker ended before it took what it was given: that stays here",
			kv_uint("connections", h->unanswered));
	memcpy(back, h->given, sizeof(back));
	heir_close(h);
	for (unsigned i = 0; i < PARCEL_UNANSWERED; i++)
		if (back[i])
			move_answered(w, back[i], false);
	move_heir_gone(w);
}

/* 0: it went out; -1: not now, or never. */
static int heir_send(struct heir *h, enum parcel_type type, unsigned place, const struct iovec *iov,
	size_t n, int fd)
{
	if (parcel_send(h->fd, type, place, iov, n, fd) == 0)
		return 0;
	if (errno != EAGAIN)
		heir_gone(h);
	else if (event_add(h->write_ev, NULL) < 0)
		log_error("cannot watch a worker", kv_errno(errno));
	return -1;
}

static void heir_send_kicks(struct heir *h)
{
	for (unsigned i = 0; i < PARCEL_UNANSWERED; i++)
		if (h->given[i])
			heir_send_kick(h, i);
	for (unsigned i = 0; i < PARCEL_UNANSWERED; i++)
		if (h->taken & UINT64_C(1) << i && h->given[i]->kick_told)
			heir_answered(h, i, true);
}

void heir_kick(struct heir *h, struct conn *c, uint16_t code, const char *reason)
{
	unsigned place = 0;

	while (place < PARCEL_UNANSWERED && h->given[place] != c)
		place++;
	if (place == PARCEL_UNANSWERED)
		return;
	c->kicked = 1;
	c->kick_told = 0;
	c->close_code = code;
	free(c->close_reason);
	c->close_reason = strdup(reason); /* without memory: without a reason */
	heir_send_kick(h, place);
}

/* True: there is nothing more to send. */
static bool heir_send_body(struct heir *h)
{
	while (h->body) {
		size_t left = h->body_len - h->body_sent;
		struct iovec iov = {
			h->body + h->body_sent, left < PARCEL_PIECE ? left : PARCEL_PIECE};

		if (heir_send(h, PARCEL_BODY, h->body_place, &iov, 1, -1) < 0)
			return false;
		h->body_sent += iov.iov_len;
		if (h->body_sent < h->body_len)
			continue;
		heir_drop_body(h);
		heir_send_kick(h, h->body_place);
	}
	return true;
}

bool heir_takes(const struct heir *h)
{
	return h->fd >= 0 && !h->body && h->unanswered < PARCEL_UNANSWERED &&
	       !event_pending(h->write_ev, EV_WRITE, NULL);
}

bool heir_give(struct heir *h, struct conn *c)
{
	struct parcel_head head;
	struct iovec iov[2] = {{&head, sizeof(head)}};
	unsigned place = 0;
	uint8_t *body;

	while (h->given[place])
		place++;
	body = parcel_pack(c, &head);
	if (!body) {
		log_error("no memory to move a connection: it is tried again");
		return false;
	}
	iov[1] = (struct iovec){body, head.body_len < PARCEL_PIECE ? head.body_len : PARCEL_PIECE};
	if (heir_send(h, PARCEL_HEAD, place, iov, 2, c->fd) < 0) {
		parcel_drop(body, head.body_len);
		return false;
	}
	conn_leave(c);
	h->given[place] = c;
	h->unanswered++;
	h->body_len = head.body_len;
	h->body_sent = iov[1].iov_len;
	h->body_place = place;
	h->body = body;
	if (h->body_sent < h->body_len)
		return heir_send_body(h);
	heir_drop_body(h);
	return true;
}

static void heir_readable(evutil_socket_t fd, short what, void *arg)
{
	struct heir *h = arg;
	struct worker *w = h->w;

	(void)fd;
	(void)what;
	w->now_ms = worker_clock();
	for (unsigned i = 0; i < PARCEL_UNANSWERED; i++) {
		if (heir_hear(h))
			continue;
		if (errno == EAGAIN)
			break;
		heir_gone(h);
		return;
	}
	move_go_on(w);
}

static void heir_writable(evutil_socket_t fd, short what, void *arg)
{
	struct heir *h = arg;

	(void)fd;
	(void)what;
	h->w->now_ms = worker_clock();
	heir_send_kicks(h);
	if (heir_send_body(h))
		move_go_on(h->w);
}

int heir_open(struct heir *h, struct worker *w, int fd)
{
	*h = (struct heir){.w = w, .fd = fd};
	h->read_ev = event_new(w->base, fd, EV_READ | EV_PERSIST, heir_readable, h);
	h->write_ev = event_new(w->base, fd, EV_WRITE, heir_writable, h);
	if (h->read_ev && h->write_ev && event_add(h->read_ev, NULL) == 0)
		return 0;
	if (h->read_ev)
		event_free(h->read_ev);
	if (h->write_ev)
		event_free(h->write_ev);
	close(fd);
	h->fd = -1;
	errno = ENOMEM;
	return -1;
}
