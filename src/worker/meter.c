/*
 * meter: how fast a client may send. Over its rate nothing is read from it for a while; it is not
 * closed.
 *
 * Each rate is a moment up to which it has been used: more than limits.burst before now counts as
 * that; when it lies ahead, the client waits until then. What was read is let in, and paid for
 * afterwards.
 *
 * While we close it nothing holds it: its Pong and its Close may lie behind what it had sent
 * before. That can only be so much.
 */
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <wsgate/log.h>

#include "worker.h"

#define CLAMP (256 * 1024)
#define CLAMP_MAX (4 * 1024 * 1024)
/* On its way when we close: in our kernel up to twice what it was told, and in the client's own. */
#define CLOSING_MAX (3 * CLAMP_MAX)

struct meter {
	struct wheel_node timer; /* in w->holds while the client waits */
	struct conn *c;
	uint64_t messages_us, bytes_us;
	uint64_t held_ms; /* when a hold ended last */
	uint32_t closing; /* bytes over its rate while we close it */
	bool clamped;
};

/* Without memory it is not limited. */
static struct meter *meter_of(struct conn *c)
{
	if (!c->meter)
		c->meter = calloc(1, sizeof(*c->meter));
	if (c->meter)
		c->meter->c = c;
	return c->meter;
}

/*
 * The kernel would go on to take megabytes from the client, which are paid for with hours in tiny
 * frames, and outlive a client that is gone. A window that was announced is not taken back, so
 * nothing is lost.
 */
static void meter_clamp(struct conn *c)
{
	uint64_t rate = c->w->c->limits.bytes_per_second;
	int size = rate > CLAMP ? (int)(rate < CLAMP_MAX ? rate : CLAMP_MAX) : CLAMP;

	c->meter->clamped = true;
	(void)setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

static void meter_hold(struct conn *c, uint64_t until_us)
{
	struct worker *w = c->w;

	if (c->held || c->state != CONN_OPEN || until_us <= w->now_ms * 1000)
		return;
	c->held = 1;
	if (!c->meter->clamped)
		meter_clamp(c);
	conn_read_off(c);
	wheel_set(&w->holds, &c->meter->timer, until_us / 1000 + 1, w->now_ms);
	stat_add(w->slot->stats.limited_pauses, 1);
	log_some_infos(5, "a client is over its rate: it is read more slowly",
		kv_uint("ms", until_us / 1000 + 1 - w->now_ms), kv_more(conn_who(c)));
}

static void meter_use(struct conn *c, uint64_t *at_us, uint64_t n, uint64_t rate)
{
	uint64_t now_us = c->w->now_ms * 1000, burst_us = c->w->c->limits.burst * 1000;

	if (now_us > burst_us && *at_us < now_us - burst_us)
		*at_us = now_us - burst_us;
	*at_us += n * 1000000 / rate;
	meter_hold(c, *at_us);
}

void meter_message(struct conn *c)
{
	uint32_t rate = c->w->c->limits.messages_per_second;

	if (rate && meter_of(c))
		meter_use(c, &c->meter->messages_us, 1, rate);
}

void meter_bytes(struct conn *c, size_t n)
{
	uint64_t rate = c->w->c->limits.bytes_per_second;

	if (rate && meter_of(c))
		meter_use(c, &c->meter->bytes_us, n, rate);
}

static bool meter_sees(const struct conn *c, short what)
{
	struct pollfd p = {c->fd, POLLRDHUP, 0};

	return poll(&p, 1, 0) > 0 && p.revents & what;
}

/* Perhaps its Pong lies unread behind what it may not send yet. Once it has ended its side, there
 * is none. */
bool meter_hides_pong(const struct conn *c)
{
	return c->meter && (c->held || c->meter->held_ms >= c->ping_ms) &&
	       !meter_sees(c, POLLRDHUP);
}

void meter_release(struct conn *c)
{
	if (!c->held)
		return;
	c->held = 0;
	c->meter->held_ms = c->w->now_ms;
	wheel_del(&c->w->holds, &c->meter->timer);
}

bool meter_spent(struct conn *c, size_t n)
{
	uint64_t now_us = c->w->now_ms * 1000;
	struct meter *m = c->meter;

	if (!m || (c->state != CONN_PARTING && c->state != CONN_CLOSING) ||
		(m->messages_us <= now_us && m->bytes_us <= now_us))
		return false;
	m->closing += (uint32_t)n;
	return m->closing > CLOSING_MAX;
}

/* The rates are other ones: what was used up by the old ones is forgotten. c may be gone. */
void meter_renew(struct conn *c)
{
	bool held = c->held;

	if (!c->meter)
		return;
	meter_release(c);
	c->meter->messages_us = c->meter->bytes_us = 0;
	if (held)
		(void)!conn_resume(c);
}

void meter_free(struct conn *c)
{
	meter_release(c);
	free(c->meter);
	c->meter = NULL;
}

void meter_expired(void *arg, struct wheel_node *n)
{
	struct conn *c = ((struct meter *)(void *)((char *)n - offsetof(struct meter, timer)))->c;

	(void)arg;
	meter_release(c);
	if (meter_sees(c, POLLERR | POLLHUP)) /* a reset: nothing of it can be read any more */
		conn_free(c);
	else
		(void)!conn_resume(c);
}
