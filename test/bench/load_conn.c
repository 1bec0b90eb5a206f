/*
 * load_conn: see load.h. One connection of the load generator, once it is there.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#define READS 4 /* of one connection in a turn: others have theirs too */

static void fatal(const char *what)
{
	perror(what);
	_exit(2);
}

void load_conn_want(struct load_conn *c, bool wanted)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

	if (wanted == c->out_wanted)
		return;
	if (wanted)
		ev.events |= EPOLLOUT;
	if (epoll_ctl(c->loop->epoll, EPOLL_CTL_MOD, c->fd, &ev))
		fatal("load: epoll_ctl");
	c->out_wanted = wanted;
}

/* Every connection ends here, once. `clean`: both Closes were seen, with 1000. */
static void ended(struct load_conn *c, bool clean)
{
	struct load_loop *loop = c->loop;

	if (load_opening(c)) {
		loop->tally->failed++;
		loop->opening--;
	} else if (c->state == LOAD_OPEN || c->state == LOAD_CLOSING) {
		loop->alive--;
		if (clean)
			loop->tally->clean++;
		else
			loop->tally->unclean++;
		if (c->state == LOAD_OPEN)
			loop->tally->lost++;
		if (clean && loop->setup->mode == LOAD_SEND)
			loop->tally->last = load_now();
	}
	SSL_free(c->ssl);
	c->ssl = NULL;
	if (c->fd >= 0)
		close(c->fd);
	free(c->out);
	free(c->answer);
	c->fd = -1;
	c->out = NULL;
	c->answer = NULL;
	c->out_at = c->out_len = 0;
	c->state = LOAD_GONE;
}

void load_conn_drop(struct load_conn *c, int error)
{
	if (c->state == LOAD_GONE)
		return;
	if (error)
		c->loop->tally->error = error;
	ended(c, false);
}

/* ---- writing ---- */

static void keep(struct load_conn *c, const uint8_t *data, size_t len)
{
	size_t waiting = c->out_len - c->out_at;

	if (c->out_at) {
		memmove(c->out, c->out + c->out_at, waiting);
		c->out_at = 0;
		c->out_len = waiting;
	}
	c->out = realloc(c->out, waiting + len);
	if (!c->out)
		fatal("load");
	memcpy(c->out + waiting, data, len);
	c->out_len = waiting + len;
	load_conn_want(c, true);
}

int load_conn_put(struct load_conn *c, const uint8_t *data, size_t len)
{
	ssize_t n = 0;

	if (!c->out) {
		n = load_tls_send(c, data, len);
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			load_conn_drop(c, errno);
			return -1;
		}
		if (n < 0)
			n = 0;
	}
	if ((size_t)n < len)
		keep(c, data + n, len - (size_t)n);
	return 0;
}

static int put_control(struct load_conn *c, enum load_opcode op, const void *payload, size_t len)
{
	uint8_t frame[LOAD_HEAD + 125];

	return load_conn_put(c, frame, load_frame(frame, op, payload, len));
}

static int flush(struct load_conn *c)
{
	ssize_t n;

	if (!c->out)
		return 0;
	n = load_tls_send(c, c->out + c->out_at, c->out_len - c->out_at);
	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return 0;
		load_conn_drop(c, errno);
		return -1;
	}
	c->out_at += (size_t)n;
	if (c->out_at < c->out_len)
		return 0;
	free(c->out);
	c->out = NULL;
	c->out_at = c->out_len = 0;
	load_conn_want(c, false);
	return 0;
}

void load_conn_close(struct load_conn *c)
{
	static const uint8_t normal[2] = {1000 >> 8, 1000 & 0xff};

	if (c->state == LOAD_OPEN && !put_control(c, LOAD_CLOSE, normal, sizeof(normal)))
		c->state = LOAD_CLOSING;
}

/* One window at a time, in one write. */
static void echo_next(struct load_conn *c, char *message)
{
	const struct load_setup *setup = c->loop->setup;
	uint32_t window = setup->window ? setup->window : 1, left = setup->messages - c->next;
	size_t n = 0;

	if (c->unanswered)
		return;
	while (c->unanswered < window && c->unanswered < left &&
		n + setup->size + LOAD_HEAD <= c->loop->batch_size) {
		load_message(message, setup->size, c->next + c->unanswered++);
		n += load_frame(c->loop->batch + n, LOAD_TEXT, message, setup->size);
	}
	c->loop->tally->sent += c->unanswered;
	if (n)
		load_conn_put(c, c->loop->batch, n);
}

/* One batch a call: the others have their turn, this one when its socket takes more. */
void load_conn_fill(struct load_conn *c)
{
	const struct load_setup *setup = c->loop->setup;
	static char *message;
	size_t n = 0;

	if (setup->mode < LOAD_SEND || !c->loop->started || c->state != LOAD_OPEN || c->out)
		return;
	if (!message && !(message = malloc(setup->size)))
		fatal("load");
	if (setup->mode == LOAD_ECHO) {
		echo_next(c, message);
		return;
	}
	while (!c->pinged && c->next < setup->messages &&
		n + setup->size + 2 * LOAD_HEAD <= c->loop->batch_size) {
		load_message(message, setup->size, c->next++);
		n += load_frame(c->loop->batch + n, LOAD_TEXT, message, setup->size);
		c->loop->tally->sent++;
		if (setup->window && ++c->unanswered == setup->window) {
			n += load_frame(c->loop->batch + n, LOAD_PING, NULL, 0);
			c->unanswered = 0;
			c->pinged = true;
		}
	}
	if (n && load_conn_put(c, c->loop->batch, n))
		return;
	if (c->next == setup->messages && !setup->keep)
		load_conn_close(c);
	if (c->state != LOAD_GONE)
		load_conn_want(c, c->out || (c->next < setup->messages && !c->pinged));
}

/* ---- reading ---- */

/* -1: there is no number. */
static int64_t number_at(const char *text)
{
	int64_t n = 0;

	for (int i = 0; i < LOAD_NUMBER - 1; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		n = n * 10 + (text[i] - '0');
	}
	return n;
}

static void lateness(struct load_conn *c, uint64_t now)
{
	int64_t sent = c->in.numbered == LOAD_STAMP ? number_at(c->in.number + LOAD_NUMBER) : -1;
	uint64_t us = sent > 0 && now > (uint64_t)sent ? (now - (uint64_t)sent) / 1000 : 0;

	if (sent > 0)
		c->loop->tally->late[us < LOAD_LATE ? us : LOAD_LATE - 1]++;
}

static void message_come(struct load_conn *c, uint64_t length, uint64_t now)
{
	const struct load_setup *setup = c->loop->setup;
	struct load_tally *t = c->loop->tally;
	int64_t number = number_at(c->in.number);

	t->received++;
	if (!t->first)
		t->first = now;
	t->last = now;
	lateness(c, now);
	if (length != setup->size || number < 0 || number >= setup->messages) {
		t->bad++;
		return;
	}
	if (number < c->next) {
		t->repeats++;
		return;
	}
	t->gaps += (uint64_t)number - c->next;
	c->next = (uint32_t)number + 1;
	if (c->next == setup->messages && !c->finished) {
		c->finished = true;
		c->loop->finished++;
	}
	if (setup->mode == LOAD_ECHO && c->unanswered && !--c->unanswered)
		load_conn_fill(c);
}

static void close_come(struct load_conn *c, const struct load_event *ev)
{
	int code = ev->length >= 2 ? ev->payload[0] << 8 | ev->payload[1] : 1005;

	if (code != 1000)
		c->loop->tally->close_code = code;
	if (c->state == LOAD_OPEN) {
		put_control(c, LOAD_CLOSE, ev->payload, ev->length >= 2 ? 2 : 0);
		load_conn_drop(c, 0);
		return;
	}
	ended(c, code == 1000);
}

/* A message may be complete before the bytes are: the loop looks at the state each time. */
void load_conn_take(struct load_conn *c, const uint8_t *data, size_t len, uint64_t now)
{
	struct load_event ev;
	int r;

	while ((r = load_parse(&c->in, &data, &len, &ev)) > 0) {
		switch (ev.opcode) {
		case LOAD_TEXT:
		case LOAD_BINARY:
			message_come(c, ev.length, now);
			break;
		case LOAD_PING:
			if (c->state != LOAD_OPEN)
				break;
			c->loop->tally->pings++;
			put_control(c, LOAD_PONG, ev.payload, (size_t)ev.length);
			break;
		case LOAD_PONG:
			c->pinged = false;
			load_conn_fill(c);
			break;
		case LOAD_CLOSE:
			close_come(c, &ev);
			break;
		}
		if (c->state == LOAD_GONE)
			return;
	}
	if (r < 0)
		load_conn_drop(c, EPROTO);
}

static void readable(struct load_conn *c)
{
	static uint8_t buffer[65536];
	int i;

	for (i = 0; (i < READS || load_tls_more(c)) && c->state != LOAD_GONE; i++) {
		ssize_t n = load_tls_recv(c, buffer, sizeof(buffer));

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			load_conn_drop(c, n ? errno : ECONNRESET);
			return;
		}
		if (c->state == LOAD_HANDSHAKE)
			load_open_answer(c, buffer, (size_t)n, load_now());
		else
			load_conn_take(c, buffer, (size_t)n, load_now());
		if ((size_t)n < sizeof(buffer) && !load_tls_more(c))
			return;
	}
}

void load_conn_event(struct load_conn *c, uint32_t events)
{
	if (c->state == LOAD_GONE)
		return;
	if (c->state == LOAD_CONNECTING) {
		load_open_connected(c);
		return;
	}
	if (c->state == LOAD_SECURING) {
		load_tls_go_on(c);
		return;
	}
	if (events & EPOLLOUT) {
		if (flush(c))
			return;
		load_conn_fill(c);
	}
	if (c->state != LOAD_GONE && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		readable(c);
}
