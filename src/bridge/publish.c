#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wsgate/clock.h>
#include <wsgate/log.h>

#include "bridge.h"

#define IN_FLIGHT_MAX 8192 /* publishes without an answer, over all users */
#define POOL_MAX 4096      /* records kept for the next ones */

/* A record of an up ring on its way. */
struct pub {
	struct pub *ring_next; /* in the ring's order */
	struct pub *user_next; /* in the user's order */
	struct up_source *src;
	struct pub_user *user;
	uint64_t end; /* position behind the record */
	uint64_t generation;
	uint64_t stamp;
	uint32_t index;
	uint16_t type;
	bool final, seen; /* seen: it may have been published before */
	bool poisoned;    /* behind a message of its connection that was refused */
	struct broker_publish p;
	char conn[ROUTE_ID_TEXT];
	char msg_id[96];
	char trace[TRACE_TEXT];
};

/* Users with records here: order is kept by one unacknowledged message each. */
struct pub_user {
	struct bridge *b;
	struct bstream *s; /* NULL: none has its service any more */
	struct pub *first, *last;
	struct pub_user *next;  /* in the ready or the later list */
	uint64_t full_since_ms; /* the stream refuses this user; 0: no */
	bool in_flight, listed, later;
	uint16_t key_len;
	char key[];
};

void publish_start(struct bridge *b)
{
	table_init(&b->pub_users);
}

static struct pub *pub_new(struct bridge *b)
{
	struct pub *p = b->pub_free;

	if (!p)
		return malloc(sizeof(*p));
	b->pub_free = p->ring_next;
	b->npub_free--;
	return p;
}

static void pub_put_back(struct bridge *b, struct pub *p)
{
	if (b->npub_free >= POOL_MAX) {
		free(p);
		return;
	}
	p->ring_next = b->pub_free;
	b->pub_free = p;
	b->npub_free++;
}

static struct pub_user *pub_user_get(struct bridge *b, const struct identity *id)
{
	char key[KEY_MAX];
	size_t len = bridge_key(id, key);
	struct pub_user *u = table_get(&b->pub_users, key, len);

	if (u)
		return u;
	u = calloc(1, sizeof(*u) + len);
	if (!u)
		return NULL;
	u->b = b;
	u->s = streams_of(b, id);
	u->key_len = (uint16_t)len;
	memcpy(u->key, key, len);
	if (table_put(&b->pub_users, u->key, len, u) < 0) {
		free(u);
		return NULL;
	}
	return u;
}

static void pub_user_list(struct pub_user *u)
{
	struct bstream *s = u->s ? u->s : u->b->streams;

	if (u->listed || u->in_flight || u->later || !u->first)
		return;
	u->listed = true;
	u->next = NULL;
	if (s->ready_last)
		s->ready_last->next = u;
	else
		s->ready_first = u;
	s->ready_last = u;
}

static void pub_user_later(struct pub_user *u)
{
	struct bstream *s = u->s ? u->s : u->b->streams;

	u->later = true;
	u->next = s->later;
	s->later = u;
}

static void pub_user_done(struct pub_user *u)
{
	if (u->first || u->in_flight || u->listed || u->later)
		return;
	table_del(&u->b->pub_users, u->key, u->key_len);
	free(u);
}

/* Ring space goes back as a prefix of records that are final. */
static void publish_release(struct up_source *src)
{
	uint64_t end = 0;

	while (src->first && src->first->final) {
		struct pub *p = src->first;

		src->first = p->ring_next;
		if (!src->first)
			src->last = NULL;
		end = p->end;
		pub_put_back(src->b, p);
	}
	if (!end)
		return;
	/* Pads and nothing else may lie between the last record and what was read. */
	ring_release(&src->ring, src->first ? end : src->ring.pos);
	slots_released(src);
}

/* By the name that it has in every worker. NULL: it is not here. */
static struct bconn *conn_named(struct bridge *b, const struct identity *id, const char *conn)
{
	struct buser *u = dispatch_user(b, id, false);
	char name[ROUTE_ID_TEXT];

	for (struct bconn *c = u ? u->conns : NULL; c; c = c->next) {
		route_id_text(b->slots[c->slot].routes.ids[c->index], name);
		if (strcmp(name, conn) == 0)
			return c;
	}
	return NULL;
}

static struct bconn *publish_conn(const struct pub *p)
{
	struct up_source *src = p->src;
	struct slot *s = &src->b->slots[src->slot];
	struct bconn *c;

	/* It may have come here since, by another route. */
	if (src->stale >= 0)
		return conn_named(src->b, &p->p.id, p->conn);
	if (!s->used || p->index >= s->routes.n)
		return NULL;
	c = s->conns[p->index];
	return c && c->generation == p->generation ? c : NULL;
}

static bool publish_poisoned(const struct pub *p, const struct bconn *c)
{
	const struct bridge *b = p->src->b;

	for (size_t i = 0; !c && i < b->npoisoned && i < POISONED_MAX; i++)
		if (strcmp(b->poisoned[i], p->conn) == 0)
			return true;
	return c && c->poisoned;
}

/* Whom we do not know is remembered by its id: one that stayed with a program that was replaced, or
 * has ended. */
static void publish_poison(const struct pub *p, struct bconn *c)
{
	struct bridge *b = p->src->b;

	if (publish_poisoned(p, c))
		return;
	if (c)
		c->poisoned = true;
	else
		memcpy(b->poisoned[b->npoisoned++ % POISONED_MAX], p->conn, sizeof(p->conn));
}

/* The first record of its user is final. */
static void publish_final(struct pub *p)
{
	struct pub_user *u = p->user;

	u->first = p->user_next;
	if (!u->first)
		u->last = NULL;
	p->final = true;
	publish_release(p->src);
	pub_user_list(u);
	pub_user_done(u);
}

static void publish_track(const struct pub *p, const char *state)
{
	if (p->type == UP_MESSAGE && trace_is(&p->p.id))
		track_up(state, &p->p, p->stamp);
}

static const struct log_field *publish_who(const struct pub *p)
{
	static struct log_field f[4];

	f[0] = kv_str("conn", p->conn);
	f[1] = kv_mem("service", p->p.id.service, p->p.id.service_len);
	f[2] = kv_mem("user", p->p.id.user, p->p.id.user_len);
	f[3] = kv_end;
	return f;
}

static void publish_again(struct pub *p, const char *why)
{
	p->seen = true;
	stat_add(p->src->b->shm.bridge->stats.retries, 1);
	log_some_infos(5, "a client's message waits for the broker", kv_str("why", why),
		kv_more(publish_who(p)));
	pub_user_later(p->user);
}

/*
 * False: no room for it now. A bridge that stops knows no connections any more, but their worker
 * may go on: it looks for itself whether it has this one, and nobody waits for room.
 */
static bool publish_tell(const struct pub *p, const struct bconn *c, enum down_type type,
	uint16_t code, const char *reason)
{
	struct bridge *b = p->src->b;
	struct down_ref ref = {p->generation, p->index, 0};
	uint64_t seq = type == DOWN_FLUSHED ? p->stamp : 0;
	struct slot *s;

	if (c) {
		ref = (struct down_ref){c->generation, c->index, 0};
		return slots_try_notify(&b->slots[c->slot], type, &ref, seq, code, reason);
	}
	if (p->src->stale >= 0)
		s = stale_slot(b, p->src);
	else
		s = slots_dead(&b->slots[p->src->slot], p->generation) ? NULL
								       : &b->slots[p->src->slot];
	/* One that was not taken in here, but has to end in good order: streams_serve(). Or one
	 * that stays with a program that was replaced. */
	return !s || slots_try_notify(s, type, &ref, seq, code, reason) || b->stopping;
}

static void publish_refuse(struct pub *p, uint16_t code, const char *reason)
{
	struct bridge *b = p->src->b;
	struct bconn *c = publish_conn(p);

	/* The notice before the release: a bridge killed between the two says it twice, never not
	 * at all. */
	if (!(c ? c->poisoned : p->poisoned) && !publish_tell(p, c, DOWN_CLOSE, code, reason)) {
		publish_again(p, "the worker has no room for its refusal");
		return;
	}
	stat_add(b->shm.bridge->stats.refused, 1);
	track(publish_track(p, "refused"));
	log_some_warnings(20, "a client's message was refused", kv_str("reason", reason),
		kv_uint("bytes", p->p.len), kv_more(publish_who(p)));
	/* What it sent behind it would be stored with a hole before it, also when it has ended. */
	for (struct pub *q = p->user_next; q && !p->poisoned; q = q->user_next)
		q->poisoned |= strcmp(q->conn, p->conn) == 0;
	publish_poison(p, c);
	publish_final(p);
}

static void publish_flush(struct pub *p)
{
	/* As with a refusal: the answer first. */
	if (!publish_tell(p, publish_conn(p), DOWN_FLUSHED, 0, NULL))
		pub_user_later(p->user); /* no room: with the next tick */
	else
		publish_final(p);
}

static void publish_next(struct pub_user *u)
{
	struct pub *p = u->first;
	struct bconn *c;

	if (p->type == UP_FLUSH) {
		publish_flush(p);
		return;
	}
	if (!u->s) {
		publish_refuse(p, 1008, "no stream keeps this service");
		return;
	}
	c = publish_conn(p);
	if (p->poisoned || publish_poisoned(p, c)) {
		publish_refuse(p, 1008, "an earlier message was refused");
		return;
	}
	track(publish_track(p, "sent to the broker"));
	u->in_flight = true;
	u->s->publishing++;
	broker_publish(u->s->broker, &p->p);
}

static void publish_run_stream(struct bstream *s)
{
	while (s->connected && s->ready_first && s->publishing < IN_FLIGHT_MAX) {
		struct pub_user *u = s->ready_first;

		s->ready_first = u->next;
		if (!s->ready_first)
			s->ready_last = NULL;
		u->listed = false;
		if (u->first)
			publish_next(u);
		else
			pub_user_done(u);
	}
}

void publish_run(struct bridge *b)
{
	size_t n = 0;

	for (unsigned i = 0; i < b->nstreams; i++) {
		publish_run_stream(&b->streams[i]);
		n += b->streams[i].publishing;
	}
	stat_set(b->shm.bridge->stats.publishing, n);
}

static void publish_stored(struct pub *p, bool duplicate)
{
	struct bridge_stats *st = &p->src->b->shm.bridge->stats;

	track(publish_track(p, duplicate ? "it was stored before" : "stored"));
	hist_add(&st->publish, hist_elapsed(p->stamp, clock_ns(CLOCK_MONOTONIC)), 1);
	stat_add(st->stored, 1);
	stat_add(p->user->s->words->stored, 1);
	stat_add(st->stored_bytes, p->p.len);
	p->user->full_since_ms = 0;
	if (duplicate) {
		stat_add(st->duplicates, 1);
		if (!p->seen)
			log_some_errors(5,
				"the broker calls a first publish a duplicate: it did not store it",
				kv_str("msg_id", p->msg_id), kv_more(publish_who(p)));
	}
	publish_final(p);
}

void publish_result(void *arg, struct broker_publish *bp, enum broker_result r)
{
	struct pub *p = bp->arg;
	struct bstream *s = arg;
	struct bridge *b = s->b;

	p->user->in_flight = false;
	s->publishing--;
	switch (r) {
	case BROKER_STORED:
	case BROKER_DUPLICATE:
		publish_stored(p, r == BROKER_DUPLICATE);
		break;
	case BROKER_TOO_LARGE:
		publish_refuse(p, 1009, "too large for the broker");
		break;
	case BROKER_FORBIDDEN:
		publish_refuse(p, 1008, "not allowed by the broker");
		break;
	case BROKER_FULL:
		if (!p->user->full_since_ms)
			p->user->full_since_ms = b->now_ms;
		if (b->now_ms - p->user->full_since_ms >= b->c->broker.full_timeout ||
			(p == p->src->first &&
				ring_used(p->src->ring.words) > p->src->ring.size / 2))
			publish_refuse(p, 1013, "the stream is full");
		else
			publish_again(p, "the stream is full");
		break;
	case BROKER_AGAIN:
		publish_again(p, "no answer");
		break;
	}
	publish_run(b);
	if (b->stopping)
		bridge_check_flushed(b);
}

/* Those who have to wait try again, in the order in which they came to wait. */
void publish_again_all(struct bstream *s)
{
	struct pub_user *u = s->later, *reversed = NULL;

	if (!s->connected)
		return;
	s->later = NULL;
	while (u) {
		struct pub_user *next = u->next;

		u->next = reversed;
		reversed = u;
		u = next;
	}
	while (reversed) {
		u = reversed;
		reversed = u->next;
		u->later = false;
		pub_user_list(u);
	}
	publish_run(s->b);
}

void publish_tick(struct bridge *b)
{
	for (unsigned i = 0; i < b->nstreams; i++)
		publish_again_all(&b->streams[i]);
}

static void pub_names(struct pub *p)
{
	static const char hex[] = "0123456789abcdef";
	const uint8_t *id = p->src->segment_id;
	char segment[33];

	for (int i = 0; i < 16; i++) {
		segment[2 * i] = hex[id[i] >> 4];
		segment[2 * i + 1] = hex[id[i] & 15];
	}
	segment[32] = '\0';
	/* Segment, slot, its generation, ring and a position that never restarts: once and never
	 * again. */
	snprintf(p->msg_id, sizeof(p->msg_id), "%s-%x-%llx-%x-%llx", segment, p->src->slot,
		(unsigned long long)(p->generation >> 32), p->src->which,
		(unsigned long long)p->end);
}

static void publish_trace(struct pub *p, const struct up_view *v)
{
	struct trace_context t;

	if (v->trace) {
		memcpy(&t, v->trace, sizeof(t));
		trace_format(&t, p->trace);
		p->p.trace = p->trace;
	}
	track(publish_track(p, "read from the ring"));
}

static bool publish_take(const struct up_next *n)
{
	const struct up_view *v = &n->v;
	struct up_source *src = n->src;
	struct bridge *b = src->b;
	struct pub *p = pub_new(b);

	if (!p)
		return false;
	memset(p, 0, offsetof(struct pub, conn));
	p->user = pub_user_get(b, &v->id);
	if (!p->user) {
		pub_put_back(b, p);
		return false;
	}
	p->src = src;
	p->end = n->end;
	p->generation = v->r.generation;
	p->stamp = v->r.stamp;
	p->index = v->r.index;
	p->type = n->type;
	p->seen = n->pos < src->retry_below;
	route_id_text(v->r.conn, p->conn);
	pub_names(p);
	p->p = (struct broker_publish){.id = v->id,
		.text = v->r.text,
		.conn = p->conn,
		.msg_id = p->msg_id,
		.data = v->data,
		.len = v->r.len,
		.arg = p};
	publish_trace(p, v);
	p->poisoned = publish_poisoned(p, publish_conn(p));
	if (src->last)
		src->last->ring_next = p;
	else
		src->first = p;
	src->last = p;
	if (p->user->last)
		p->user->last->user_next = p;
	else
		p->user->first = p;
	p->user->last = p;
	pub_user_list(p->user);
	return true;
}

enum ring_read publish_peek(struct up_source *src, struct up_next *out)
{
	struct ring ring = src->ring;
	const void *payload;
	size_t size;
	enum ring_read r = ring_next(&ring, &out->type, &payload, &size, &out->pos);

	if (r == RING_EMPTY)
		src->ring.pos = ring.pos; /* behind a pad at the end */
	if (r != RING_RECORD)
		return r;
	if ((out->type != UP_MESSAGE && out->type != UP_FLUSH && out->type != UP_ASK) ||
		!up_parse(payload, size, &out->v))
		return RING_CORRUPT;
	out->src = src;
	out->end = ring.pos;
	return RING_RECORD;
}

bool publish_next_record(const struct up_next *n)
{
	struct up_source *src = n->src;

	if (n->type == UP_ASK) /* nothing keeps its place: it goes with what is before it */
		query_take(src, &n->v);
	else if (!publish_take(n)) {
		log_some_errors(5, "no memory for a client's message: it waits");
		return false;
	}
	src->ring.pos = n->end;
	return true;
}

void publish_drop(struct up_source *src)
{
	while (src->first) {
		struct pub *p = src->first;

		src->first = p->ring_next;
		free(p);
	}
}

static bool pub_user_free(void *value, void *arg)
{
	struct bridge *b = arg;
	struct pub_user *u = value;

	table_del(&b->pub_users, u->key, u->key_len);
	free(u);
	return true;
}

void publish_stop(struct bridge *b)
{
	while (b->pub_free) {
		struct pub *p = b->pub_free;

		b->pub_free = p->ring_next;
		free(p);
	}
	table_each(&b->pub_users, pub_user_free, b);
	table_free(&b->pub_users);
}
