#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <wsgate/clock.h>
#include <wsgate/log.h>

#include "bridge.h"

#define CHANGES_BATCH 256
#define SILENT_MS 1000
#define OPEN_COUNTS 4 /* for the pace: the change, a subscription, a get, its answer */

/* ---- down: records and notices for a worker ---- */

static void slot_ring(struct slot *s)
{
	if (!s->bell || !bell_must_ring(&s->words->bell, &s->rung) ||
		chan_send(s->bell, PROTO_DOORBELL, NULL, 0, -1) == 0)
		return;
	s->rung = 0; /* again with the next record */
	/* EAGAIN: no memory, or doorbells lie there unread already. A dead worker's successor looks
	 * by itself. */
	if (errno != EAGAIN)
		log_debug("doorbell not heard", kv_uint("slot", s->n), kv_errno(errno));
}

/* Room in the down ring; when there is none, the worker will ring after its next release. */
static void *slot_reserve(struct slot *s, uint16_t type, size_t size)
{
	void *p = ring_reserve(&s->down, type, size);

	if (p)
		return p;
	ring_refresh(&s->down);
	p = ring_reserve(&s->down, type, size);
	if (p)
		return p;
	atomic_store_explicit(&s->words->down_wanted, 1, memory_order_relaxed);
	/* Dekker with the worker's release: it sees the flag, or we see the room. */
	atomic_thread_fence(memory_order_seq_cst);
	ring_refresh(&s->down);
	return ring_reserve(&s->down, type, size);
}

static void slot_commit(struct slot *s)
{
	ring_commit(&s->down);
	/* The reader's word is another processor's: it is looked at no more often than that. */
	if (s->down.pos - s->down.tail > stat_get(s->words->down_peak)) {
		ring_refresh(&s->down);
		stat_max(s->words->down_peak, s->down.pos - s->down.tail);
	}
	slot_ring(s);
}

bool slots_put_message(struct slot *s, const struct broker_message *m, uint32_t epoch, uint8_t text,
	const struct down_ref *refs, uint32_t nrefs)
{
	size_t size = sizeof(struct down_message) + nrefs * sizeof(*refs) + m->len;
	struct down_message *d;
	char *p;

	if (s->notice_first)
		return false; /* notices were first */
	d = slot_reserve(s, DOWN_MESSAGE, size);
	if (!d)
		return false;
	memset(d, 0, sizeof(*d));
	d->seq = m->seq;
	d->stamp_ns = m->stamp_ns;
	d->epoch = epoch;
	d->len = (uint32_t)m->len;
	d->nrefs = nrefs;
	d->text = text;
	d->plain = m->plain;
	p = (char *)(d + 1);
	memcpy(p, refs, nrefs * sizeof(*refs));
	if (m->len)
		memcpy(p + nrefs * sizeof(*refs), m->data, m->len);
	slot_commit(s);
	return true;
}

bool slots_put_answer(struct slot *s, uint64_t generation, uint64_t stamp, enum down_answer a,
	const char *data, size_t len)
{
	struct down_notice *d = slot_reserve(s, DOWN_ANSWER, sizeof(*d) + len);

	if (!d)
		return false;
	memset(d, 0, sizeof(*d));
	d->ref = (struct down_ref){generation, UP_NOBODY, 0};
	d->seq = stamp;
	d->code = (uint16_t)a;
	d->reason_len = (uint16_t)len;
	if (len)
		memcpy(d + 1, data, len);
	slot_commit(s);
	return true;
}

static bool slot_put_notice(struct slot *s, const struct notice *no)
{
	struct down_notice *d = slot_reserve(s, no->type, sizeof(no->n) + no->n.reason_len);

	if (!d)
		return false;
	*d = no->n;
	memcpy(d + 1, no->reason, no->n.reason_len);
	slot_commit(s);
	return true;
}

static struct notice slot_notice(const struct slot *s, enum down_type type,
	const struct down_ref *ref, uint64_t seq, uint16_t code, const char *reason)
{
	const struct bconn *c = ref->index < s->routes.n ? s->conns[ref->index] : NULL;
	struct notice no;

	memset(&no, 0, sizeof(no));
	no.type = (uint16_t)type;
	no.n.ref = *ref;
	no.n.seq = seq;
	no.n.epoch = c && c->generation == ref->generation ? c->user->s->epoch : 0;
	no.n.code = code;
	if (reason) {
		strncpy(no.reason, reason, sizeof(no.reason) - 1);
		no.n.reason_len = (uint16_t)strlen(no.reason);
	}
	return no;
}

bool slots_try_notify(struct slot *s, enum down_type type, const struct down_ref *ref, uint64_t seq,
	uint16_t code, const char *reason)
{
	struct notice no = slot_notice(s, type, ref, seq, code, reason);

	return !s->notice_first && slot_put_notice(s, &no);
}

void slots_notify(struct slot *s, enum down_type type, const struct down_ref *ref, uint64_t seq,
	uint16_t code, const char *reason)
{
	struct notice no = slot_notice(s, type, ref, seq, code, reason), *keep;

	if (!s->notice_first && slot_put_notice(s, &no))
		return;
	keep = malloc(sizeof(*keep));
	if (!keep) {
		/* A lost notice would leave a client hanging for ever; a new bridge reads all
		 * sections again. */
		log_error("no memory for a notice: the bridge begins anew");
		_exit(1);
	}
	*keep = no;
	if (s->notice_last)
		s->notice_last->next = keep;
	else
		s->notice_first = keep;
	s->notice_last = keep;
}

static void slot_flush_notices(struct slot *s)
{
	while (s->notice_first && slot_put_notice(s, s->notice_first)) {
		struct notice *no = s->notice_first;

		s->notice_first = no->next;
		if (!s->notice_first)
			s->notice_last = NULL;
		free(no);
	}
}

void slots_block(struct slot *s, struct bconn *c)
{
	if (c->blocked)
		return;
	c->blocked = true;
	TAILQ_INSERT_TAIL(&s->who_waits, c, blocked_link);
}

void slots_unblock(struct slot *s, struct bconn *c)
{
	if (!c->blocked)
		return;
	TAILQ_REMOVE(&s->who_waits, c, blocked_link);
	c->blocked = false;
}

/* In order of waiting, one turn each. */
static void slot_serve_blocked(struct slot *s)
{
	struct bconn *c, *last = TAILQ_LAST(&s->who_waits, blocked_list);

	atomic_store_explicit(&s->words->down_wanted, 0, memory_order_relaxed);
	slot_flush_notices(s);
	while ((c = TAILQ_FIRST(&s->who_waits)) && !s->notice_first) {
		bool was_last = c == last;

		slots_unblock(s, c);
		dispatch_pump(c);
		if (c->blocked || was_last)
			break; /* full again */
	}
}

/* ---- up: changes and records of a worker ---- */

/* Of the worker that is at work on it now, which writes it first of all: routes of other
 * generations are a dead one's. */
static uint64_t slots_generation(const struct slot *s)
{
	return atomic_load_explicit(&s->words->generation, memory_order_acquire);
}

/* The slot's generation does not show it before the worker's successor begins. */
bool slots_dead(const struct slot *s, uint64_t generation)
{
	return generation >> 32 != slots_generation(s) || slot_buried(s->words, generation);
}

static void slot_open(struct slot *s, uint32_t index, const struct route_view *v)
{
	pace_count(&s->b->pace, OPEN_COUNTS);
	if (dispatch_open(s->b, s, index, v))
		return;
	if (v->state == ROUTE_MOVED) {
		log_error("no memory for a connection that moved: the bridge begins anew");
		_exit(1); /* nobody else would tell the two workers whose it is */
	}
	s->b->more = true; /* without memory: the client gets its 503 when its time is over */
}

static void slot_change(struct slot *s, uint32_t index)
{
	struct bridge *b = s->b;
	struct route_view v;
	struct bconn *c;

	if (index >= s->routes.n || !route_read(&s->routes, index, &v))
		return;
	c = s->conns[index];
	if (c && c->generation != v.generation) {
		dispatch_end(b, c); /* its worker is dead; the place is a successor's now */
		c = NULL;
	}
	if (slots_dead(s, v.generation)) {
		if (c)
			dispatch_marks(c, &v); /* its end comes with PROTO_WORKER_DOWN */
	} else if (v.state == ROUTE_ENDED) {
		if (c) {
			if (c->poisoned) /* what it wrote before its end is refused with it */
				slots_read(b);
			dispatch_marks(c, &v);
			dispatch_end(b, c);
		}
		ended_now(s, index, &v);
	} else if (c) {
		dispatch_marks(c, &v);
	} else if ((v.state == ROUTE_OPENING || v.state == ROUTE_MOVED) && !b->moving &&
		   streams_serve(s, index, &v) && quota_admits(s, index, &v)) {
		slot_open(s, index, &v);
	}
}

static void slot_changes(struct slot *s)
{
	uint32_t list[CHANGES_BATCH];
	size_t n = changes_take(&s->changes, list, CHANGES_BATCH);

	for (size_t i = 0; i < n; i++)
		slot_change(s, list[i]);
	if (n == CHANGES_BATCH)
		s->b->more = true;
}

void slots_released(struct up_source *src)
{
	struct slot *s = &src->b->slots[src->slot];

	if (src->stale >= 0)
		return;
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&s->words->want_space, memory_order_relaxed))
		slot_ring(s);
}

static bool slot_idle(const struct slot *s)
{
	uint64_t changes = atomic_load_explicit(&s->changes.words->head, memory_order_acquire);

	if (changes != atomic_load_explicit(&s->changes.words->tail, memory_order_relaxed))
		return false;
	/* Somebody waits for room, and there is some. */
	if ((s->notice_first || !TAILQ_EMPTY(&s->who_waits)) &&
		atomic_load_explicit(&s->down.words->tail, memory_order_acquire) != s->down.tail)
		return false;
	for (unsigned i = 0; s->b->stale_read && i < s->nup; i++)
		if (source_unread(&s->up[i]))
			return false;
	return true;
}

size_t slots_up_sources(struct bridge *b, struct up_source **list)
{
	size_t n = 0;

	for (unsigned i = 0; i < b->nslots; i++)
		for (unsigned r = 0; b->slots[i].used && r < b->slots[i].nup; r++)
			list[n++] = &b->slots[i].up[r];
	return n;
}

void slots_read(struct bridge *b)
{
	static struct up_source *list[SOURCES_MAX]; /* too large for the stack */
	size_t n;

	if (!b->stale_read)
		return; /* the same user's older messages go first */
	n = slots_up_sources(b, list);
	n += stale_up_sources(b, list + n);
	sources_read(b, list, n, clock_ns(CLOCK_MONOTONIC));
}

static void slots_round(struct bridge *b)
{
	for (unsigned i = 0; i < b->nslots; i++)
		if (b->slots[i].used)
			slot_changes(&b->slots[i]);
	told_ask(b);
	slots_read(b);
	for (unsigned i = 0; i < b->nslots; i++)
		if (b->slots[i].notice_first || !TAILQ_EMPTY(&b->slots[i].who_waits))
			slot_serve_blocked(&b->slots[i]);
}

void slots_wakeup(struct bridge *b)
{
	b->now_ms = bridge_clock();
	b->more = b->starved = false;
	bell_awake(&b->shm.bridge->bell);
	slots_round(b);
	dispatch_settle(b);
	publish_run(b);
	if (!b->more && pace_on(&b->pace) && turns_next(b->again) == 0)
		return; /* nobody rings meanwhile */
	if (!b->more) {
		bell_sleep(&b->shm.bridge->bell);
		for (unsigned i = 0; i < b->nslots; i++)
			b->more |= b->slots[i].used && !slot_idle(&b->slots[i]);
		b->more = b->more && !b->starved; /* without memory: with the next tick */
	}
	if (b->more)
		event_active(b->again, EV_TIMEOUT, 0);
}

void slots_tick(struct bridge *b)
{
	bool before = b->stale_read;

	stale_read_all(b);
	if (!before && b->stale_read)
		event_active(b->again, EV_TIMEOUT, 0);
	for (unsigned i = 0; i < b->nslots; i++) {
		struct slot *s = &b->slots[i];

		/* Trap: who dies closes its descriptors one by one. A master whose control channel
		 * is still open may be dead, and nobody would begin what is given up. */
		if (s->used && !s->bell && b->master && b->now_ms - s->silent_ms > SILENT_MS) {
			log_error("doorbell channel is broken: the bridge begins anew",
				kv_uint("slot", i));
			_exit(1);
		}
		for (unsigned r = 0; s->used && r < SHM_UP_RINGS; r++)
			slots_check_drained(s, r);
	}
}

/* ---- workers come and go ---- */

/* The last that its client confirmed counts. */
static void slot_conn_marks(struct slot *s, uint32_t index)
{
	struct bconn *c = s->conns[index];
	struct route_view v;

	if (route_read_marks(&s->routes, index, c->generation, &v))
		dispatch_marks(c, &v);
}

static void slot_conn_dead(struct slot *s, uint32_t index)
{
	dispatch_end(s->b, s->conns[index]);
}

static void slot_each(
	struct slot *s, uint64_t generation, void (*fn)(struct slot *s, uint32_t index))
{
	for (uint32_t i = 0; s->used && i < s->routes.n; i++)
		if (s->conns[i] && s->conns[i]->generation >> 32 <= generation)
			fn(s, i);
}

/* Of so many slots, all up to that generation. They end at once, or live on elsewhere: what all of
 * a user's have confirmed counts, whichever comes last here; so first the marks. */
static void slots_end(struct bridge *b, unsigned from, unsigned n, uint64_t generation)
{
	for (unsigned i = from; i < from + n; i++)
		slot_each(&b->slots[i], generation, slot_conn_marks);
	dispatch_settle(b);
	b->together = true;
	for (unsigned i = from; i < from + n; i++)
		slot_each(&b->slots[i], generation, slot_conn_dead);
	dispatch_settle(b);
	b->together = false;
}

void slots_worker_up(struct bridge *b, unsigned slot, uint64_t generation)
{
	if (slot >= b->nslots || !b->slots[slot].used)
		return;
	b->slots[slot].generation = generation;
	for (unsigned r = shm_up_ring(generation); r < b->slots[slot].nup; r += SHM_UP_RINGS)
		b->slots[slot].up[r].broken = false; /* its writer is a new one */
	slots_wakeup(b);
}

/* As if it had ended well. A successor may begin at this moment: it writes its generation before
 * its pid. */
static void slot_leave_empty(struct shm_slot *words, uint64_t generation)
{
	uint32_t pid = atomic_load(&words->pid);

	if (stat_get(words->generation) <= generation)
		(void)atomic_compare_exchange_strong(&words->pid, &pid, 0);
}

void slots_worker_down(struct bridge *b, unsigned slot, uint64_t generation, bool last)
{
	struct slot *s;

	if (slot >= b->nslots || !b->slots[slot].used)
		return;
	s = &b->slots[slot];
	slots_wakeup(b); /* its last changes and records */
	slots_end(b, slot, 1, generation);
	if (generation > stat_get(s->words->buried))
		stat_set(s->words->buried, generation);
	if (last)
		slot_leave_empty(s->words, generation);
	s->drained_generation[shm_up_ring(generation)] = generation;
	slots_check_drained(s, shm_up_ring(generation));
}

/* Of a dead worker: all of its rings. */
void slots_check_drained(struct slot *s, unsigned ring)
{
	struct bridge *b = s->b;
	uint64_t *generation = &s->drained_generation[ring];
	struct proto_slot done = {s->n, 0, *generation};

	if (!*generation)
		return;
	for (unsigned r = ring; r < s->nup; r += SHM_UP_RINGS)
		if (!source_empty(&s->up[r]))
			return;
	if (b->master && chan_send(b->master, PROTO_DRAINED, &done, sizeof(done), -1) < 0)
		return; /* again with the next tick */
	log_debug("the up ring of a dead worker is empty", kv_uint("slot", s->n),
		kv_uint("generation", *generation));
	*generation = 0;
}

void slots_end_all(struct bridge *b)
{
	slots_end(b, 0, b->nslots, UINT64_MAX);
}

bool slots_empty(const struct bridge *b)
{
	for (unsigned i = 0; i < b->nslots; i++)
		for (unsigned r = 0; b->slots[i].used && r < b->slots[i].nup; r++)
			if (!source_empty(&b->slots[i].up[r]))
				return false;
	return true;
}

void slots_stop(struct bridge *b)
{
	for (unsigned i = 0; i < b->nslots; i++) {
		struct slot *s = &b->slots[i];

		while (s->notice_first) {
			struct notice *no = s->notice_first;

			s->notice_first = no->next;
			free(no);
		}
		for (unsigned r = 0; r < s->nup; r++)
			publish_drop(&s->up[r]);
		chan_free(s->bell);
		free(s->conns);
	}
	stale_free_all(b);
	stayed_free(b);
}
