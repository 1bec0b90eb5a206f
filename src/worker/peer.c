/*
 * peer: the address of a connection's client, how many connections it has, and the limits on those
 * who come.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <wsgate/log.h>

#include "worker.h"

#define HANDSHAKE_BURST_US 1000000u

static const struct http_answer none = {0, "", ""};
static const struct http_answer crowded = {429, "too many connections from this address", ""};
static const struct http_answer malformed = {400, "malformed Forwarded header", ""};
static const struct http_answer busy = {503, "too many handshakes at a time", ""};

/* A worker that was killed leaves its words, in a slot that may stay idle. */
static bool peer_lives(const struct shm_slot *s)
{
	return stat_get(s->buried) < stat_get(s->generation) && stat_get(s->pid) != 0;
}

/* Those who take new connections: one that retires may live for days. */
static uint64_t peer_workers(const struct worker *w)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < w->shm.header->sizes.max_workers && shm_slot_used(&w->shm, i);
		i++) {
		const struct shm_slot *s = shm_slot(&w->shm, i);

		n += peer_lives(s) && atomic_load(&s->draining) != SHM_RETIRING;
	}
	return n ? n : 1;
}

static uint64_t peer_total(const struct worker *w, uint64_t key)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < w->shm.header->sizes.max_workers && shm_slot_used(&w->shm, i);
		i++) {
		struct crowd crowd;

		if (!peer_lives(shm_slot(&w->shm, i)))
			continue;
		shm_crowd(&w->shm, i, &crowd);
		n += crowd_count(&crowd, key);
	}
	return n;
}

static void peer_enter(struct conn *c)
{
	c->crowded = crowd_enter(&c->w->crowd, crowd_key(c->peer.addr));
	if (!c->crowded && c->w->c->limits.connections_per_address)
		log_some_warnings(1, "no place to count an address: its limit does not hold",
			kv_more(conn_who(c)));
}

static bool peer_within(struct conn *c, uint32_t limit)
{
	atomic_thread_fence(memory_order_seq_cst);
	return peer_total(c->w, crowd_key(c->peer.addr)) <= limit;
}

/* Counted first, then looked at: so two workers cannot both give the last place away. When both
 * took theirs back, it is free again. */
static bool peer_fits(struct conn *c)
{
	uint32_t limit = c->w->c->limits.connections_per_address;

	for (int tries = 0; tries < 3; tries++) {
		peer_enter(c);
		if (!limit || !c->crowded || peer_within(c, limit))
			return true;
		peer_leave(c);
		if (!peer_within(c, limit - 1))
			break;
	}
	stat_add(c->w->slot->stats.limited_address, 1);
	return false;
}

void peer_leave(struct conn *c)
{
	if (c->crowded)
		crowd_leave(&c->w->crowd, crowd_key(c->peer.addr));
	c->crowded = 0;
	free(c->proxy);
	c->proxy = NULL;
}

/* ---- proxies ---- */

/* Checked when the configuration was read. */
void peer_configure(struct worker *w)
{
	const struct strlist *l = &w->c->proxy.networks;

	w->nnetworks = 0;
	for (size_t i = 0; i < l->n && i < NETWORKS_MAX; i++)
		w->nnetworks += network_parse(l->v[i], &w->networks[w->nnetworks]);
}

static bool peer_is_proxy(const struct conn *c)
{
	return network_listed(c->w->networks, c->w->nnetworks, c->peer.addr);
}

/* Nothing was read yet. A proxy's own address is not counted: it stands for all its clients. */
static bool peer_expect(struct conn *c)
{
	if (c->w->c->proxy.protocol == PROXY_PROTOCOL_NONE)
		return true;
	c->proxy = calloc(1, sizeof(*c->proxy));
	if (!c->proxy)
		log_some_errors(5, "no memory for a connection");
	return c->proxy != NULL;
}

bool peer_adopted(struct conn *c)
{
	bool fresh = c->state == CONN_REQUEST;

	if (!peer_is_proxy(c))
		peer_enter(c);
	else if (fresh)
		return peer_expect(c);
	return true;
}

void peer_accepted(struct conn *c)
{
	if (!peer_is_proxy(c)) {
		if (!peer_fits(c))
			(void)!upgrade_answer(c, &crowded, upgrade_retry_after(c->w));
	} else if (!peer_expect(c)) {
		conn_free(c);
	}
}

static void peer_set(struct conn *c, const struct proxy_source *s)
{
	memcpy(c->peer.addr, s->addr, sizeof(c->peer.addr));
	c->peer.port = s->port;
}

static void peer_told(struct conn *c)
{
	struct proxy_source s = proxy_source(c->proxy);

	free(c->proxy);
	c->proxy = NULL;
	if (s.known)
		peer_set(c, &s);
	if (!peer_is_proxy(c) && !peer_fits(c))
		(void)!upgrade_answer(c, &crowded, upgrade_retry_after(c->w));
}

/* Takes the bytes of the header alone from the socket: what follows may be TLS. */
void peer_readable(struct conn *c)
{
	uint8_t *buf = c->w->read_buf;
	ssize_t n = recv(c->fd, buf, READ_SIZE, MSG_PEEK | MSG_DONTWAIT);
	enum proxy_state state;
	size_t used;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_free(c); /* a health check */
		return;
	}
	state = proxy_feed(c->proxy, buf, (size_t)n, &used);
	c->fed = 1;
	if (state == PROXY_FAILED || recv(c->fd, buf, used, MSG_DONTWAIT) != (ssize_t)used) {
		stat_add(c->w->slot->stats.proxy_errors, 1);
		log_some_warnings(1, "no valid PROXY header from a proxy: the connection is closed",
			kv_more(conn_who(c)));
		conn_free(c);
	} else if (state == PROXY_DONE) {
		peer_told(c);
	}
}

/* From the right, through proxies that we know, to the first address that is none of theirs. */
static bool peer_forwarded(struct conn *c)
{
	struct proxy_chain chain;

	if (c->w->c->proxy.forwarded == PROXY_FORWARDED_NONE || !peer_is_proxy(c))
		return true;
	if (!(c->w->c->proxy.forwarded == PROXY_FORWARDED_X ? proxy_x_forwarded_for(c->hs, &chain)
							    : proxy_forwarded(c->hs, &chain)))
		return false;
	while (chain.n && chain.v[chain.n - 1].known && peer_is_proxy(c))
		peer_set(c, &chain.v[--chain.n]);
	return true;
}

/* ---- requests ---- */

/* A bucket of one second. Each worker has its share of the rate: the kernel spreads connections
 * evenly. */
static bool peer_in_time(struct worker *w)
{
	uint64_t now_us = w->now_ms * 1000, rate = w->c->limits.handshakes_per_second;

	if (!rate)
		return true;
	if (w->handshakes_us < now_us)
		w->handshakes_us = now_us;
	if (w->handshakes_us - now_us > HANDSHAKE_BURST_US)
		return false;
	w->handshakes_us += 1000000u * peer_workers(w) / rate;
	return true;
}

struct http_answer peer_request(struct conn *c)
{
	if (!c->crowded && !peer_forwarded(c))
		return malformed;
	if (!c->crowded && !peer_is_proxy(c) && !peer_fits(c))
		return crowded;
	if (!peer_in_time(c->w)) {
		stat_add(c->w->slot->stats.limited_rate, 1);
		return busy;
	}
	return none;
}
