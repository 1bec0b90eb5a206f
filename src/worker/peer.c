/*
 * peer: the address of a connection's client, how many connections it has, and the limits on those who come.
 */
#include <stdatomic.h>

#include <wsgate/log.h>

#include "worker.h"

#define HANDSHAKE_BURST_US 1000000u

static const struct http_answer none = { 0, "", "" };
static const struct http_answer crowded = { 429, "too many connections from this address", "" };
static const struct http_answer busy = { 503, "too many handshakes at a time", "" };

/* A worker that was killed leaves its words, in a slot that may stay idle. */
static bool peer_lives(const struct shm_slot *s)
{
	return stat_get(s->buried) < stat_get(s->generation) && stat_get(s->pid) != 0;
}

static uint64_t peer_workers(const struct worker *w)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < w->shm.header->sizes.max_workers && shm_slot_used(&w->shm, i); i++)
		n += peer_lives(shm_slot(&w->shm, i));
	return n ? n : 1;
}

static uint64_t peer_total(const struct worker *w, uint64_t key)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < w->shm.header->sizes.max_workers && shm_slot_used(&w->shm, i); i++) {
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
	if (!c->crowded)
		log_some_warnings(1, "no place to count an address: its limit does not hold",
			kv_more(conn_who(c)));
}

/* Counted first, then looked at: so two workers cannot both give the last place away. */
static bool peer_fits(struct conn *c)
{
	uint32_t limit = c->w->c->limits.connections_per_address;

	peer_enter(c);
	if (!limit || !c->crowded)
		return true;
	atomic_thread_fence(memory_order_seq_cst);
	if (peer_total(c->w, crowd_key(c->peer.addr)) <= limit)
		return true;
	peer_leave(c);
	stat_add(c->w->slot->stats.limited_address, 1);
	return false;
}

void peer_leave(struct conn *c)
{
	if (c->crowded)
		crowd_leave(&c->w->crowd, crowd_key(c->peer.addr));
	c->crowded = 0;
}

void peer_adopted(struct conn *c)
{
	peer_enter(c);
}

void peer_accepted(struct conn *c)
{
	if (!peer_fits(c))
		(void)!upgrade_answer(c, &crowded, upgrade_retry_after(c->w));
}

/* A bucket of one second. Each worker has its share of the rate: the kernel spreads connections evenly. */
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
	if (!peer_in_time(c->w)) {
		stat_add(c->w->slot->stats.limited_rate, 1);
		return busy;
	}
	return none;
}
