/*
 * pack: see pack.h.
 */
#include <stdlib.h>
#include <string.h>

#include <wsgate/log.h>

#include "pack.h"
#include "parcel.h"

#define BATCH_MAX (1024u * 1024) /* of compressed messages that wait for their batch */
#define BITS_MIN 8

struct packed { /* owned by one of the lists of struct pack */
	struct packed *next;
	size_t len;
	uint8_t data[];
};

/* What a connection with context has, besides its bits. */
struct pack_own {                /* owned by the connection */
	struct deflate_out *out; /* owned; NULL: the worker's, or not needed so far */
	struct deflate_in *in;   /* owned; NULL: the worker's */
	uint8_t client_bits;
	bool out_context;
	bool broken; /* what was compressed was not sent: nothing is any more */
};

/* ---- terms ---- */

static bool pack_terms(struct conn *c, const struct deflate_terms *t)
{
	if (t->server_context || t->client_context) {
		c->own = calloc(1, sizeof(*c->own));
		if (!c->own)
			return false;
		c->own->client_bits = t->client_bits;
		c->own->out_context = t->server_context;
		c->own->in = t->client_context ? deflate_in_new(t->client_bits, true) : NULL;
		if (t->client_context && !c->own->in) {
			pack_free_conn(c);
			return false;
		}
	}
	c->packs = 1;
	c->pack_bits = t->server_bits & 7u; /* 8 to 15 */
	return true;
}

void pack_agree(struct conn *c)
{
	const struct config *cf = c->w->c;
	const struct deflate_rules rules = {
		cf->compression.context == SWITCH_ON, (uint8_t)cf->compression.window_bits};
	char answer[DEFLATE_ANSWER_MAX];
	struct deflate_terms t;

	if (cf->compression.enabled != SWITCH_ON || !deflate_offer_agree(c->hs, &rules, &t))
		return;
	if (!pack_terms(c, &t)) {
		log_some_errors(5, "no memory to compress for a connection: it goes on without",
			kv_more(conn_who(c)));
		return;
	}
	deflate_offer_answer(&t, answer);
	handshake_extend(c->hs, answer);
}

void pack_free_conn(struct conn *c)
{
	c->packs = 0;
	if (!c->own)
		return;
	deflate_out_free(c->own->out);
	deflate_in_free(c->own->in);
	free(c->own);
	c->own = NULL;
}

/* ---- in ---- */

const struct ws_inflate *pack_reader(struct conn *c, struct ws_inflate *space, bool *failed)
{
	struct pack *p = &c->w->pack;

	*failed = false;
	if (!c->packs)
		return NULL;
	space->room = &p->in_room;
	space->in = c->own ? c->own->in : NULL;
	if (!space->in) {
		if (!p->in)
			p->in = deflate_in_new(15, false);
		space->in = p->in;
	}
	*failed = !space->in;
	return space->in ? space : NULL;
}

void pack_read(struct worker *w)
{
	deflate_room_rest(&w->pack.in_room);
}

/* ---- out ---- */

static struct deflate_out *pack_new(const struct worker *w, unsigned bits, bool context)
{
	return deflate_out_new(bits, (int)w->c->compression.level,
		(unsigned)w->c->compression.memory_level, context);
}

static bool pack_wants(const struct conn *c, size_t len)
{
	const struct config *cf = c->w->c;

	return c->packs && len >= cf->compression.threshold && cf->compression.enabled == SWITCH_ON;
}

static bool pack_has_context(const struct conn *c)
{
	return c->own && c->own->out_context;
}

/* Into the room for what goes out. 0: it goes as it is. */
static size_t pack_run(struct conn *c, const uint8_t *data, size_t len)
{
	struct pack *p = &c->w->pack;
	bool context = pack_has_context(c);
	struct deflate_out **o = context ? &c->own->out : &p->out[c->pack_bits];
	size_t n;

	if (context && c->own->broken)
		return 0;
	if (!*o)
		*o = pack_new(c->w, BITS_MIN + c->pack_bits, context);
	if (!*o)
		return 0; /* no memory now */
	stat_add(c->w->slot->stats.compressions, 1);
	n = deflate_out_message(*o, data, len, &p->out_room);
	if (n || !context)
		return n;
	c->own->broken = true;
	deflate_out_free(*o);
	*o = NULL;
	return 0;
}

static void pack_count(struct conn *c, size_t from, size_t to)
{
	struct worker_stats *s = &c->w->slot->stats;

	stat_add(s->compressed, 1);
	stat_add(s->compressed_from, from);
	stat_add(s->compressed_to, to);
}

bool pack_answer(struct conn *c, struct pack_payload *p)
{
	size_t n = pack_wants(c, p->len) ? pack_run(c, p->data, p->len) : 0;

	if (!n)
		return false;
	pack_count(c, p->len, n);
	*p = (struct pack_payload){c->w->pack.out_room.buf, n};
	return true;
}

/* What the room holds, for longer. NULL: no memory. */
static struct packed *pack_keep(struct pack *p, struct packed **list, size_t *sum, size_t n)
{
	struct packed *k = n ? malloc(sizeof(*k) + n) : NULL;

	if (!k)
		return NULL;
	memcpy(k->data, p->out_room.buf, n);
	k->len = n;
	k->next = *list;
	*list = k;
	*sum += n;
	return k;
}

/* One for all connections with that size of window. */
static const struct packed *pack_shared(
	struct conn *c, uint32_t epoch, uint64_t seq, const struct pack_payload *m)
{
	struct pack *p = &c->w->pack;
	struct pack_known *k = &p->known[(seq + c->pack_bits * 61u) % PACK_KNOWN];

	if (k->seq == seq && k->epoch == epoch && k->bits == c->pack_bits)
		return k->made;
	*k = (struct pack_known){seq, epoch, c->pack_bits,
		pack_keep(p, &p->shared, &p->shared_bytes, pack_run(c, m->data, m->len))};
	p->shared_count += k->made != NULL;
	return k->made;
}

static const struct packed *pack_alone(struct conn *c, const struct pack_payload *m)
{
	struct pack *p = &c->w->pack;
	size_t n = pack_run(c, m->data, m->len);
	struct packed *k = pack_keep(p, &p->alone, &p->alone_bytes, n);

	if (n && !k) {
		c->own->broken = true;
		deflate_out_free(c->own->out);
		c->own->out = NULL;
	}
	return k;
}

bool pack_message(struct conn *c, uint32_t epoch, uint64_t seq, struct pack_payload *m)
{
	const struct packed *k = NULL;

	if (pack_wants(c, m->len))
		k = pack_has_context(c) ? pack_alone(c, m) : pack_shared(c, epoch, seq, m);
	if (!k)
		return false;
	pack_count(c, m->len, k->len);
	*m = (struct pack_payload){k->data, k->len};
	return true;
}

static void pack_drop(struct packed **list, size_t *sum)
{
	while (*list) {
		struct packed *k = *list;

		*list = k->next;
		free(k);
	}
	*sum = 0;
}

static void pack_forget(struct pack *p)
{
	pack_drop(&p->shared, &p->shared_bytes);
	p->shared_count = 0;
	memset(p->known, 0, sizeof(p->known));
}

bool pack_full(const struct worker *w)
{
	return w->pack.alone_bytes + w->pack.shared_bytes > BATCH_MAX;
}

void pack_written(struct worker *w)
{
	struct pack *p = &w->pack;

	pack_drop(&p->alone, &p->alone_bytes);
	if (p->shared_bytes > BATCH_MAX / 2 || p->shared_count >= PACK_KNOWN)
		pack_forget(p);
	deflate_room_rest(&p->out_room);
}

void pack_beat(struct worker *w)
{
	if (w->pack.shared)
		pack_forget(&w->pack);
}

/* ---- from one worker to another ---- */

void pack_describe(const struct conn *c, struct parcel_head *h)
{
	const struct pack_own *own = c->own;

	if (!c->packs)
		return;
	h->server_bits = (uint8_t)(BITS_MIN + c->pack_bits);
	h->client_bits = own ? own->client_bits : 15;
	if (!own)
		return;
	h->deflate = (uint8_t)((own->out_context ? PARCEL_OUT_CONTEXT : 0) |
			       (own->in ? PARCEL_IN_CONTEXT : 0) |
			       (own->broken ? PARCEL_OUT_BROKEN : 0));
	h->out_window = own->out ? (uint16_t)deflate_out_window(own->out, NULL) : 0;
	h->in_window = own->in ? (uint16_t)deflate_in_window(own->in, NULL) : 0;
}

size_t pack_windows(struct conn *c, const struct parcel_head *h, uint8_t *out)
{
	size_t n = 0;

	if (h->out_window)
		n = deflate_out_window(c->own->out, out);
	if (h->in_window)
		n += deflate_in_window(c->own->in, out + n);
	return n;
}

bool pack_adopt(struct conn *c, const struct parcel_head *h, const struct parcel_parts *p)
{
	const struct deflate_terms t = {.server_bits = h->server_bits,
		.client_bits = h->client_bits,
		.server_context = (h->deflate & PARCEL_OUT_CONTEXT) != 0,
		.client_context = (h->deflate & PARCEL_IN_CONTEXT) != 0};

	if (!h->server_bits)
		return true;
	if (!pack_terms(c, &t))
		return false;
	if (c->own)
		c->own->broken = (h->deflate & PARCEL_OUT_BROKEN) != 0;
	if (h->in_window && !deflate_in_restore(c->own->in, p->in_window, h->in_window))
		return false;
	if (!h->out_window)
		return true;
	c->own->out = pack_new(c->w, h->server_bits, true);
	return c->own->out && deflate_out_restore(c->own->out, p->out_window, h->out_window);
}

/* ---- start and stop ---- */

/* Compressors with a context of their own stay as they are. */
void pack_renew(struct worker *w)
{
	for (size_t i = 0; i < PACK_SIZES; i++) {
		deflate_out_free(w->pack.out[i]);
		w->pack.out[i] = NULL;
	}
}

void pack_stop(struct worker *w)
{
	pack_renew(w);
	pack_written(w);
	pack_forget(&w->pack);
	deflate_in_free(w->pack.in);
	w->pack.in = NULL;
	deflate_room_free(&w->pack.in_room);
	deflate_room_free(&w->pack.out_room);
}
