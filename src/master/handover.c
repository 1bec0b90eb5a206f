/*
 * handover: see handover.h.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <wsgate/log.h>

#include "brief.h"
#include "family.h"

/* ---- who ---- */

/* May get connections. */
static bool survives(const struct family *f, const struct child *w)
{
	return w->slot < f->active && child_lives(w) && w->ready &&
	       w->handover.state == HANDOVER_NONE;
}

bool handover_retires(const struct child *c)
{
	return c->handover.state >= HANDOVER_RETIRES || c->handover.state == HANDOVER_RESUMES;
}

static bool is(const struct handover_heir *h, const struct child *w)
{
	return h->slot == w->slot && h->generation == w->generation;
}

static bool has_heir(const struct handover *h, const struct child *w)
{
	for (unsigned i = 0; i < h->nheirs; i++)
		if (is(&h->heirs[i], w))
			return true;
	return false;
}

/* Somebody gives to it: it is not to give away what it has not got yet. */
static bool receives(const struct family *f, const struct child *w)
{
	for (unsigned i = 0; i < f->nslots; i++) {
		const struct handover *h = &f->workers[i].handover;

		if (h->state == HANDOVER_GIVES &&
			(has_heir(h, w) || (h->pair[0] >= 0 && is(&h->to, w))))
			return true;
	}
	return false;
}

/* ---- how many ---- */

void handover_resize(struct family *f, unsigned active, uint64_t now)
{
	f->active = active;
	for (unsigned i = 0; i < f->nslots; i++) {
		struct child *w = &f->workers[i];

		if (i >= active) {
			if (w->start_ms)
				brief_unwanted(w);
			w->start_ms = 0;
			w->waits = false;
			if (w->pid && w->handover.state == HANDOVER_NONE)
				w->handover.state = HANDOVER_WANTED;
			else if (w->handover.state == HANDOVER_RESUMES)
				w->handover.state = HANDOVER_STAYS;
			continue;
		}
		if (w->handover.state == HANDOVER_WANTED)
			w->handover.state = HANDOVER_NONE;
		if (!w->pid && !w->start_ms)
			w->start_ms = now;
	}
	f->news.listeners++;
	family_wake(f);
}

bool handover_moves(const struct handover *h)
{
	return h->state != HANDOVER_NONE && h->state != HANDOVER_STAYS;
}

void handover_end(struct handover *h)
{
	for (int i = 0; i < 2; i++) {
		if (h->pair[i] >= 0)
			close(h->pair[i]);
		h->pair[i] = -1;
	}
	h->state = HANDOVER_NONE;
	h->nheirs = 0;
	h->begun = false;
}

bool handover_lost(struct child *c, uint64_t now)
{
	struct family *f = c->family;
	bool retired = handover_retires(c);

	if (c == &f->bridge)
		return false;
	handover_end(&c->handover);
	if (c->slot < f->active && !retired)
		return false;
	c->start_ms = c->slot < f->active ? now : 0;
	c->backoff_ms = 0;
	return true;
}

/* ---- listeners ---- */

static bool at_home(const struct family *f, unsigned slot)
{
	const struct child *w = &f->workers[slot];

	if (slot >= f->nslots)
		return false;
	if (slot >= f->active)
		return w->pid && !handover_retires(w);
	/* When it dies, they wait for its successor. */
	return f->lent_to[slot] < 0 || (w->ready && !handover_retires(w));
}

static int lender(const struct family *f, unsigned slot)
{
	unsigned to = slot % f->active;

	return f->lent_to[to] < 0 ? (int)to : 0;
}

static void lend(struct family *f)
{
	for (unsigned i = 0; i < f->listeners->nslots; i++) {
		int *to = &f->lent_to[i], before = *to;

		if (at_home(f, i))
			*to = -1;
		else if (*to < 0 || *to >= (int)f->active || f->lent_to[*to] >= 0)
			*to = lender(f, i);
		if (*to != before)
			f->news.listeners++;
	}
}

/* ---- steps ---- */

static void forget_dead_heirs(struct family *f, struct child *c)
{
	struct handover *h = &c->handover;

	for (unsigned i = 0; i < h->nheirs;) {
		const struct child *w = &f->workers[h->heirs[i].slot];

		if (is(&h->heirs[i], w) && child_lives(w))
			i++;
		else
			h->heirs[i] = h->heirs[--h->nheirs];
	}
	/* The giver saw the ends of all sockets and has what it could not give. */
	if (c->heirless)
		h->nheirs = 0;
	c->heirless = false;
	if (h->nheirs == 0)
		h->begun = false;
}

static void stop(struct family *f, struct child *c, uint64_t now)
{
	c->handover.state = HANDOVER_STOPS;
	family_dismiss(c, f->config->drain_timeout, now);
}

static void given(struct family *f, struct child *c, uint64_t now)
{
	forget_dead_heirs(f, c);
	if (!c->gave)
		return;
	log_info("a worker has handed its connections over", kv_str("child", c->name),
		kv_uint("moved", c->moved.moved), kv_uint("left", c->moved.left));
	handover_end(&c->handover);
	if (!c->moved.stay) {
		stop(f, c, now);
		return;
	}
	c->handover.state = HANDOVER_STAYS;
	log_info("a worker retires when its connections with TLS have ended",
		kv_str("child", c->name), kv_uint("connections", c->moved.stay));
}

void handover_retire_again(struct family *f)
{
	for (unsigned i = 0; i < f->nslots; i++)
		if (f->workers[i].handover.state == HANDOVER_STAYS)
			f->workers[i].handover.state = HANDOVER_RETIRES;
}

void handover_look(struct family *f, uint64_t now)
{
	for (unsigned i = 0; i < f->nslots && !family_stopping(f); i++) {
		struct child *c = &f->workers[i];
		struct handover *h = &c->handover;

		if (h->state == HANDOVER_WANTED && child_lives(c) && !receives(f, c)) {
			h->state = HANDOVER_RETIRES;
			log_info("a worker hands its connections over", kv_str("child", c->name));
			f->news.listeners++;
		}
		if (h->state == HANDOVER_GIVES)
			given(f, c, now);
		else if (h->state == HANDOVER_STAYS && c->gave && !c->moved.stay)
			stop(f, c, now);
		if (h->state == HANDOVER_STAYS && c->slot < f->active)
			h->state = HANDOVER_RESUMES;
	}
	lend(f);
}

/* ---- telling ---- */

/* 1: sent; 0: it takes no more now; -1: it is gone. */
static int say(struct child *c, enum proto_type type, const void *body, size_t size, int fd)
{
	if (!c->chan)
		return -1;
	if (chan_send(c->chan, type, body, size, fd) == 0)
		return 1;
	return errno == EAGAIN ? 0 : -1;
}

static bool tell_retire(struct family *f, struct child *c)
{
	struct proto_retire body = {0, 0};
	int r;

	if (!news_lent(f, c->slot))
		return true; /* whoever is to have its listeners first takes no more now */
	r = say(c, PROTO_RETIRE, &body, sizeof(body), -1);
	if (r <= 0)
		return r < 0;
	c->handover.state = HANDOVER_GIVES;
	c->gave = c->heirless = false; /* what it said was of an earlier one */
	news_retired(c);
	return true;
}

/* Those that can be its heirs now, one after the other, each giver beginning elsewhere. */
static unsigned heirs_wanted(const struct family *f)
{
	unsigned n = 0;

	for (unsigned i = 0; i < f->active; i++)
		n += survives(f, &f->workers[i]);
	return n < HANDOVER_HEIRS ? n : HANDOVER_HEIRS;
}

static struct child *next_heir(struct family *f, const struct child *c)
{
	const struct handover *h = &c->handover;
	struct child *any = NULL;

	for (unsigned i = 0; i < f->active; i++) {
		struct child *w = &f->workers[(c->slot * HANDOVER_HEIRS + i) % f->active];

		if (!survives(f, w))
			continue;
		if (!has_heir(h, w))
			return w;
		any = w;
	}
	return any;
}

/* 1: there is one more heir, or nobody who could be; 0: later; -1: the giver is gone. */
static int tell_heir(struct family *f, struct child *c)
{
	struct handover *h = &c->handover;
	unsigned wanted = heirs_wanted(f);
	struct proto_heir heir = {h->nheirs + 1 >= wanted, 0};
	struct proto_arrive arrive = {1, 0};
	struct child *w = h->pair[0] < 0 ? next_heir(f, c) : &f->workers[h->to.slot];
	int r = 1;

	if (!w)
		return 1;
	if (h->pair[0] < 0) {
		if (chan_pair(h->pair) < 0) {
			log_some_warnings(1, "no descriptors for a hand-over: tried again",
				kv_str("child", c->name), kv_errno(errno));
			return 0;
		}
		h->to = (struct handover_heir){w->slot, w->generation};
	}
	if (h->pair[1] >= 0)
		r = !is(&h->to, w) ? -1 : say(w, PROTO_ARRIVE, &arrive, sizeof(arrive), h->pair[1]);
	if (r < 0) { /* dead meanwhile: another one */
		close(h->pair[0]);
		close(h->pair[1]);
		h->pair[0] = h->pair[1] = -1;
		return 1;
	}
	if (r == 0)
		return 0;
	if (h->pair[1] >= 0)
		close(h->pair[1]);
	h->pair[1] = -1;
	r = say(c, PROTO_HEIR, &heir, sizeof(heir), h->pair[0]);
	if (r == 0)
		return 0;
	close(h->pair[0]);
	h->pair[0] = -1;
	if (h->nheirs < HANDOVER_HEIRS)
		h->heirs[h->nheirs++] = h->to;
	h->begun = heir.last;
	return r;
}

static bool tell_heirs(struct family *f, struct child *c)
{
	for (unsigned i = 0; i <= HANDOVER_HEIRS && !c->handover.begun; i++) {
		int r = tell_heir(f, c);

		if (r <= 0)
			return r < 0;
	}
	return true;
}

static bool tell_resume(struct family *f, struct child *c)
{
	int r = say(c, PROTO_RESUME, NULL, 0, -1);

	if (r <= 0)
		return r < 0;
	log_info("a worker that was to retire goes on", kv_str("child", c->name));
	c->handover.state = HANDOVER_NONE;
	c->listens_told = 0;
	f->news.listeners++;
	family_wake(f);
	return true;
}

bool handover_tell(struct family *f)
{
	bool told = true;

	for (unsigned i = 0; i < f->nslots && !family_stopping(f); i++) {
		struct child *c = &f->workers[i];

		if (!child_lives(c))
			continue;
		if (c->handover.state == HANDOVER_RESUMES)
			told = tell_resume(f, c) && told;
		if (c->handover.state == HANDOVER_RETIRES)
			told = tell_retire(f, c) && told;
		if (c->handover.state == HANDOVER_GIVES)
			told = tell_heirs(f, c) && told;
	}
	return told;
}
