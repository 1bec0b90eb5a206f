/*
 * lane: the ways up, one for each stream as far as there are so many; and who waits for room there.
 */
#include "worker.h"

struct lane *lane_of(struct worker *w, unsigned stream)
{
	return &w->lanes[stream % w->shm.header->sizes.lanes];
}

uint64_t lane_size(const struct worker *w)
{
	return w->shm.header->sizes.up_size;
}

/* Of a user one message is stored after the other, and room goes back in order: so many of one
 * connection, however small, are what others wait for. */
#define SHARE_RECORDS 256

uint32_t lane_charge(const struct worker *w, size_t size)
{
	uint64_t least = lane_share(w) / SHARE_RECORDS;

	return (uint32_t)(size < least ? least : size);
}

uint64_t lane_share(const struct worker *w)
{
	return lane_size(w) / 4;
}

/*
 * Our own records that the bridge gave back, before we write over them: their connections have that
 * much of their share again. The writer's tail moves here alone.
 */
void lane_reclaim(struct worker *w, struct lane *l)
{
	uint64_t tail = ring_refresh(&l->up);
	struct ring back = l->up;
	const void *payload;
	uint16_t type;
	uint64_t pos;
	size_t size;

	back.pos = l->reclaimed;
	while (back.pos < tail && ring_next(&back, &type, &payload, &size, &pos) == RING_RECORD) {
		const struct up_record *r = payload;
		struct down_ref ref = {r->generation, r->index, 0};
		struct conn *c;

		if (pos >= tail)
			break;
		c = place_find(w, &ref);
		if (c) {
			uint32_t charge = lane_charge(w, size);

			c->up_bytes -= c->up_bytes < charge ? c->up_bytes : charge;
		}
	}
	l->reclaimed = tail;
}

/* Room that was given back, and not looked at yet. */
static bool lane_room(const struct lane *l)
{
	return atomic_load_explicit(&l->up.words->tail, memory_order_acquire) != l->reclaimed;
}

void lane_wait(struct conn *c)
{
	struct worker *w = c->w;
	struct lane *l = lane_of(w, c->stream);

	if (c->waiting)
		return;
	c->waiting = 1;
	w->waiting++;
	conn_read_off(c);
	c->wait_next = NULL;
	c->wait_prev = l->wait_last;
	if (l->wait_last)
		l->wait_last->wait_next = c;
	else
		l->wait_first = c;
	l->wait_last = c;
	atomic_store_explicit(&w->slot->want_space, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	/* Before the bridge could see the flag. */
	if (lane_room(l))
		event_active(w->again, EV_TIMEOUT, 0);
}

void lane_unwait(struct conn *c)
{
	struct worker *w = c->w;
	struct lane *l = lane_of(w, c->stream);

	if (!c->waiting)
		return;
	c->waiting = 0;
	w->waiting--;
	if (c->wait_prev)
		c->wait_prev->wait_next = c->wait_next;
	else
		l->wait_first = c->wait_next;
	if (c->wait_next)
		c->wait_next->wait_prev = c->wait_prev;
	else
		l->wait_last = c->wait_prev;
	c->wait_prev = c->wait_next = NULL;
	if (!w->waiting)
		atomic_store_explicit(&w->slot->want_space, 0, memory_order_relaxed);
}

void lane_reclaim_all(struct worker *w)
{
	for (unsigned i = 0; i < w->shm.header->sizes.lanes; i++)
		lane_reclaim(w, &w->lanes[i]);
}

/* In order of waiting; who is over its own share does not hold up the others. */
static void lane_serve(struct worker *w, struct lane *l)
{
	struct conn *c = l->wait_first, *last = l->wait_last;

	lane_reclaim(w, l);
	while (c) {
		struct conn *next = c == last ? NULL : c->wait_next;
		bool full;

		if (!session_take_pending(c)) {
			c = next;
			continue;
		}
		full = c->waiting && !c->share_full;
		if (full)
			return;
		c = next;
	}
}

void lane_serve_all(struct worker *w)
{
	for (unsigned i = 0; w->waiting && i < w->shm.header->sizes.lanes; i++)
		if (w->lanes[i].wait_first)
			lane_serve(w, &w->lanes[i]);
}

bool lane_more(const struct worker *w)
{
	bool more = false;

	for (unsigned i = 0; w->waiting && i < w->shm.header->sizes.lanes; i++)
		more |= w->lanes[i].wait_first && lane_room(&w->lanes[i]);
	return more;
}

void lane_attach(struct worker *w)
{
	for (unsigned i = 0; i < w->shm.header->sizes.lanes; i++) {
		unsigned up = shm_lane_ring(i, w->h->generation);

		ring_attach_writer(&w->lanes[i].up, &w->slot->up[up],
			shm_up_data(&w->shm, w->h->slot, up), lane_size(w));
		w->lanes[i].reclaimed = w->lanes[i].up.tail;
	}
}
