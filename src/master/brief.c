/*
 * brief: see brief.h.
 */
#include <errno.h>
#include <string.h>

#include <wsgate/log.h>

#include "brief.h"

static uint64_t brief_now(const struct child *w)
{
	return 2 * w->generation + (w->pid == 0);
}

/* Its slot is to be empty. */
static bool brief_last(const struct child *w, uint64_t generation)
{
	return generation == w->generation && !w->pid && w->slot >= w->family->active;
}

void brief_begin(struct family *f)
{
	f->nstale = 0;
	for (size_t i = 0; i < f->segment->nstale; i++)
		if (f->segment->stale[i].fd >= 0)
			f->stale_index[f->nstale++] = i;
	for (unsigned i = 0; i < f->nslots; i++) {
		f->workers[i].told = brief_now(&f->workers[i]);
		f->workers[i].introduced = true;
		memset(f->workers[i].repeat, 0, sizeof(f->workers[i].repeat));
	}
}

void brief_ready(struct family *f)
{
	for (unsigned i = 0; i < f->nslots; i++) {
		struct child *w = &f->workers[i];
		uint64_t g = w->generation > 1 ? w->generation - 1 : 1;

		for (; g <= w->generation; g++)
			if (2 * g + 1 <= w->told &&
				(w->drained[shm_up_ring(g)] < g || brief_last(w, g)))
				w->repeat[shm_up_ring(g)] = g;
	}
}

void brief_unwanted(struct child *w)
{
	if (w->generation && !w->pid && w->told == brief_now(w))
		w->repeat[shm_up_ring(w->generation)] = w->generation;
}

void brief_drained(struct family *f, const struct proto_slot *s)
{
	unsigned ring = shm_up_ring(s->generation);
	struct child *w;

	if (s->slot >= f->nslots)
		return;
	w = &f->workers[s->slot];
	if (s->generation > w->generation || (s->generation == w->generation && w->pid)) {
		log_error("the bridge has drained a worker that is not dead",
			kv_uint("slot", s->slot), kv_uint("generation", s->generation));
		return;
	}
	if (s->generation > w->drained[ring])
		w->drained[ring] = s->generation;
	if (w->repeat[ring] == s->generation)
		w->repeat[ring] = 0;
}

/* Two up rings per slot: what generation g left must be stored before g + 2 writes there. */
bool brief_ring_free(const struct child *w)
{
	uint64_t next = w->generation + 1;

	return next <= SHM_UP_RINGS || w->drained[shm_up_ring(next)] >= next - SHM_UP_RINGS;
}

static bool brief_send(
	struct family *f, const struct child *w, enum proto_type type, uint64_t generation)
{
	struct proto_slot body = {
		w->slot, type == PROTO_WORKER_DOWN && brief_last(w, generation), generation};

	/* What is not EAGAIN is the end of the bridge, and its successor will be told. */
	return chan_send(f->bridge.chan, type, &body, sizeof(body), -1) == 0 || errno != EAGAIN;
}

/* A slot that is newer than the bridge. */
static bool brief_introduce(struct family *f, struct child *w)
{
	struct proto_slot body = {w->slot, 0, 0};

	if (w->introduced)
		return true;
	if (chan_send(f->bridge.chan, PROTO_SLOT, &body, sizeof(body), f->bells[w->slot][1]) < 0 &&
		errno == EAGAIN)
		return false;
	w->introduced = true;
	return true;
}

/* Dead generations again, older first, then what happened since. */
static bool brief_worker(struct family *f, struct child *w)
{
	if (!brief_introduce(f, w))
		return false;
	for (unsigned i = 1; i <= SHM_UP_RINGS; i++) {
		uint64_t *again = &w->repeat[shm_up_ring(w->generation + i)];

		if (*again && !brief_send(f, w, PROTO_WORKER_DOWN, *again))
			return false;
		*again = 0;
	}
	for (; w->told < brief_now(w); w->told++) {
		uint64_t next = w->told + 1;

		if (!brief_send(f, w, next & 1 ? PROTO_WORKER_DOWN : PROTO_WORKER_UP, next / 2))
			return false;
	}
	return true;
}

bool brief_tell(struct family *f)
{
	if (!f->bridge.chan || !f->bridge.ready)
		return true;
	for (unsigned i = 0; i < f->nslots; i++)
		if (!brief_worker(f, &f->workers[i]))
			return false;
	return true;
}
