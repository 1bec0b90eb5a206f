#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wsgate/clock.h>
#include <wsgate/log.h>

#include "bridge.h"
#include "pub.h"

#define IN_FLIGHT_MAX 8192 /* publishes without an answer, over all users of a stream */
/* And of their bytes: what stands before others' gets and beats on the way to the broker. */
#define IN_FLIGHT_BYTES ((size_t)2 << 20)
#define PUBLISH_COST 256 /* its headers, and what the server has around it */
#define POOL_MAX 4096    /* records kept for the next ones */

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

static struct bstream *pub_user_stream(const struct pub_user *u)
{
	return u->s ? u->s : u->b->streams;
}

static void pub_user_list(struct pub_user *u)
{
	struct bstream *s = pub_user_stream(u);

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
	struct bstream *s = pub_user_stream(u);

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

/* The first record of its user is final. */
static void publish_final(struct pub *p)
{
	struct pub_user *u = p->user;

	u->first = p->user_next;
	if (!u->first)
		u->last = NULL;
	p->final = true;
	pub_user_stream(u)->flushes -= p->type == UP_FLUSH;
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
	u->s->publishing_bytes += p->p.len + PUBLISH_COST;
	broker_publish(u->s->broker, &p->p);
}

static void publish_run_stream(struct bstream *s)
{
	while (s->connected && s->ready_first && s->publishing < IN_FLIGHT_MAX &&
		s->publishing_bytes < IN_FLIGHT_BYTES) {
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
		if (!p->seen && !p->p.repeated)
			log_some_errors(5,
				"the broker calls a first publish a duplicate: it did not store it",
				kv_str("msg_id", p->msg_id), kv_more(publish_who(p)));
	}
	publish_final(p);
}

static const char *full_reason(enum broker_result r)
{
	return r == BROKER_FULL ? "the stream is full" : "too many messages of this user wait";
}

void publish_result(void *arg, struct broker_publish *bp, enum broker_result r)
{
	struct pub *p = bp->arg;
	struct bstream *s = arg;
	struct bridge *b = s->b;

	p->user->in_flight = false;
	s->publishing--;
	s->publishing_bytes -= p->p.len + PUBLISH_COST;
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
	case BROKER_USER_FULL:
		if (!p->user->full_since_ms)
			p->user->full_since_ms = b->now_ms;
		if (b->now_ms - p->user->full_since_ms >= b->c->broker.full_timeout ||
			(p == p->src->first &&
				ring_used(p->src->ring.words) > p->src->ring.size / 2))
			publish_refuse(p, 1013, full_reason(r));
		else
			publish_again(p, full_reason(r));
		break;
	case BROKER_AGAIN:
		p->user->full_since_ms = 0;
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

	if (!s->connected || broker_is_full(s->broker))
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

/* Nothing is left to be stored before them: they do not wait for the broker. */
static void publish_flush_all(struct bstream *s)
{
	struct pub_user *u = s->ready_first, *last = s->ready_last;

	while (u && s->flushes) {
		bool more = u != last;

		s->ready_first = u->next;
		if (!s->ready_first)
			s->ready_last = NULL;
		u->listed = false;
		if (u->first && u->first->type == UP_FLUSH)
			publish_flush(u->first);
		else
			pub_user_list(u);
		u = more ? s->ready_first : NULL;
	}
}

void publish_tick(struct bridge *b)
{
	for (unsigned i = 0; i < b->nstreams; i++) {
		struct bstream *s = &b->streams[i];

		publish_again_all(s);
		if (!s->connected)
			publish_flush_all(s);
	}
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
	p->stamp = v->r.stamp - v->r.waited_us * UINT64_C(1000); /* 0 for a flush */
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
	pub_user_stream(p->user)->flushes += p->type == UP_FLUSH;
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
