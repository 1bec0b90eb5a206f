/*
 * family: see family.h.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include <wsgate/clock.h>
#include <wsgate/log.h>

#include "brief.h"
#include "certs.h"
#include "family.h"
#include "hear.h"
#include "said.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 10000
#define STABLE_MS 60000   /* who lived so long starts again at once */
#define START_FAILURES 3  /* ends before the first READY, then the start has failed */
#define FLUSH_MIN_MS 2000 /* of the bridge, however short the drain */
#define GRACE_MS 2000     /* beyond the drain time: then SIGKILL */
#define HURRY_MS 1000
#define KILLED_MS 5000 /* a process that SIGKILL does not end hangs in the kernel */
#define REFUSE_MS 1000 /* a worker that does not hang has heard of the stop by then */
#define RETRY_MS 50
#define HANG_MIN_MS 3000 /* three beats: below that a child would die of a hiccup */

uint64_t family_clock(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

void family_wake(struct family *f)
{
	f->woken = true;
	event_active(f->timer, EV_TIMEOUT, 0);
}

/* The bridge is number 0. */
static struct child *family_child(struct family *f, unsigned i)
{
	return i == 0 ? &f->bridge : &f->workers[i - 1];
}

bool family_stopping(const struct family *f)
{
	return f->state != FAMILY_RUNS;
}

/* ---- birth ---- */

/* Who cannot begin then ends the whole; one that replaces another does not serve before it has all.
 */
static bool family_begins(const struct family *f)
{
	return !f->was_ready || f->hold_clients;
}

void family_heritage(struct family *f, const struct child *c, struct heritage *h)
{
	const struct listen_set *l = f->listeners;

	memset(h, 0, sizeof(*h));
	h->config = f->config;
	h->segment = f->segment->fd;
	h->trace = f->trace;
	h->nslots = f->nslots;
	h->late = !family_begins(f);
	h->slot = c->slot;
	h->bell = h->predecessor = h->tls = -1;
	for (int i = 0; i < HERITAGE_ADMINS; i++)
		h->admin[i] = -1;
	for (unsigned i = 0; i < HERITAGE_SLOT_MAX; i++)
		h->bells[i] = -1;
	if (c != &f->bridge) {
		h->secrets = f->keys;
		h->file = f->file;
		h->nlisten = f->hold_clients ? 0 : l->n;
		for (size_t i = 0; i < h->nlisten; i++) {
			h->listen[i] = l->fds[i][c->slot];
			h->listen_id[i] = listen_id(&l->rows[i], c->slot);
			h->listen_tls[i] = l->rows[i].tls ? l->rows[i].text : NULL;
		}
		h->tls = f->tls;
		h->tickets = f->tickets;
		h->deeds = f->deeds;
		h->drain = f->drain;
		_Static_assert(HERITAGE_ADMINS == LISTEN_ADMINS, "one each");
		for (int i = 0; i < LISTEN_ADMINS; i++) {
			h->admin[i] = f->hold_admin ? -1 : l->admins[i].fd;
			h->admin_id[i] = listen_id(&l->admins[i].row, 0);
		}
		h->bell = f->bells[c->slot][0];
		return;
	}
	for (unsigned i = 0; i < f->nslots; i++) {
		h->bells[i] = f->bells[i][1];
		h->generations[i] = f->workers[i].pid ? f->workers[i].generation : 0;
	}
	h->nstale = f->nstale;
	for (size_t i = 0; i < f->nstale; i++) {
		h->stale[i] = f->segment->stale[f->stale_index[i]].fd;
		if ((int)f->stale_index[i] == f->segment->predecessor)
			h->predecessor = (int)i;
	}
}

static void family_come_back(struct child *c, uint64_t now)
{
	if (c->started_ms && now - c->started_ms >= STABLE_MS)
		c->backoff_ms = 0;
	c->start_ms = now + c->backoff_ms;
	if (c->backoff_ms)
		log_info("starts again later", kv_str("child", c->name),
			kv_uint("ms", c->backoff_ms));
	c->backoff_ms = c->backoff_ms ? c->backoff_ms * 2 : BACKOFF_FIRST_MS;
	if (c->backoff_ms > BACKOFF_MAX_MS)
		c->backoff_ms = BACKOFF_MAX_MS;
}

static bool family_held(const struct child *c)
{
	const struct family *f = c->family;

	return c == &f->bridge ? f->hold_bridge : f->hold_workers;
}

static bool family_may_start(struct family *f, struct child *c)
{
	if (c == &f->bridge || brief_ring_free(c))
		return true;
	if (!c->waits)
		log_warn("a worker waits until the messages of a dead one are stored",
			kv_str("child", c->name), kv_uint("generation", c->generation + 1));
	c->waits = true;
	return false;
}

static void family_fail_start(struct family *f, const struct child *c)
{
	char why[PROTO_TEXT_MAX];

	snprintf(why, sizeof(why),
		"%s ended %u times before it was ready; its own lines in the log say why", c->name,
		c->failures);
	family_fail(f, why);
}

/* In a graceful stop the bridge is needed until the workers have ended. */
static bool family_needs(const struct family *f, const struct child *c)
{
	return !family_stopping(f) ||
	       (c == &f->bridge && f->state == FAMILY_STOPS_WORKERS && !f->hurry);
}

static void family_lost(struct family *f, struct child *c, uint64_t now)
{
	if (!family_needs(f, c) || (!family_stopping(f) && handover_lost(c, now)))
		return;
	if (family_held(c)) {
		c->start_ms = now;
		return;
	}
	family_come_back(c, now);
	if (!f->was_ready && !c->was_ready && ++c->failures >= START_FAILURES)
		family_fail_start(f, c);
}

static void family_start_due(struct family *f, uint64_t now)
{
	for (unsigned i = 0; i <= f->nslots; i++) {
		struct child *c = family_child(f, i);
		bool bridge = c == &f->bridge;

		if (!family_needs(f, c) || !c->start_ms || now < c->start_ms || c->pid ||
			family_held(c) || !family_may_start(f, c))
			continue;
		if (bridge)
			brief_begin(f);
		c->started_ms = c->beat_ms = now;
		news_born(f, c);
		if (child_spawn(c, bridge ? hear_bridge : hear_worker, hear_gone) < 0)
			family_lost(f, c, now);
	}
}

/* ---- keys of TLS tickets ---- */

static uint64_t family_tickets_due(const struct family *f)
{
	uint64_t interval = f->config->tls_ticket_interval;

	return f->config->ntls && interval ? f->tickets_ms + interval : 0;
}

/* Workers born from here on have them; the others are told. */
static void family_rotate(struct family *f, uint64_t now)
{
	uint64_t due = family_tickets_due(f);

	if (!due || (f->tickets_ms && now < due))
		return;
	f->tickets_ms = now;
	if (tickets_rotate(&f->tickets) < 0) {
		log_error("no new key for TLS tickets: the old one stays in use", kv_errno(errno));
		return;
	}
	f->news.tickets++;
	log_debug("a new key for TLS tickets", kv_uint("keys", f->tickets.n));
}

/* ---- death ---- */

void family_reap(struct family *f)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		bool known = false;

		for (unsigned i = 0; i <= f->nslots; i++) {
			struct child *c = family_child(f, i);

			if (c->pid != pid)
				continue;
			c->exited = known = true;
			c->status = status;
		}
		if (!known)
			f->other_ended(f->arg, pid, status);
	}
	family_wake(f);
}

static void family_bury(struct family *f, struct child *c, uint64_t now)
{
	bool fatal = family_begins(f) && WIFEXITED(c->status) &&
		     WEXITSTATUS(c->status) == CHILD_EXIT_FATAL;
	char why[PROTO_TEXT_MAX];

	child_last_words(c, family_stopping(f) || c->dismissed);
	c->pid = 0;
	c->ready = c->exited = c->stop_wanted = c->dismissed = false;
	c->kill_ms = 0;
	if (fatal && !family_stopping(f)) { /* it could not even say so */
		snprintf(why, sizeof(why), "%s cannot go on; its own lines in the log say why",
			c->name);
		family_fail(f, why);
	}
	family_lost(f, c, now);
}

static void family_kill(struct child *c)
{
	if (c->pid && !c->exited && kill(c->pid, SIGKILL) < 0)
		log_error("cannot kill", kv_str("child", c->name), kv_int("pid", c->pid),
			kv_errno(errno));
	c->killed = true;
	c->kill_ms = 0;
}

static uint64_t family_hang(const struct family *f)
{
	uint64_t hang = f->config->hang_timeout;

	return hang && hang < HANG_MIN_MS ? HANG_MIN_MS : hang;
}

static void family_check(struct family *f, struct child *c, uint64_t now)
{
	uint64_t hang = family_hang(f);

	if (c->exited && !c->chan) {
		family_bury(f, c, now);
	} else if (c->exited || c->killed) {
		return;
	} else if (c->kill_ms && now >= c->kill_ms) {
		if (c->chan)
			log_warn("does not end in time: killed", kv_str("child", c->name),
				kv_int("pid", c->pid));
		else
			log_error("closed its channel and does not end: killed",
				kv_str("child", c->name), kv_int("pid", c->pid));
		family_kill(c);
	} else if (hang && now >= c->beat_ms + hang) {
		log_error("hangs: killed", kv_str("child", c->name), kv_int("pid", c->pid),
			kv_uint("silent_ms", now - c->beat_ms));
		family_kill(c);
	}
}

/* ---- the end ---- */

static bool family_tell_stop(struct child *c)
{
	struct proto_stop stop = {c->stop_drain_ms, c->restart, c->stop_delay_ms};

	if (!c->stop_wanted || !c->chan)
		return true;
	if (chan_send(c->chan, PROTO_STOP, &stop, sizeof(stop), -1) < 0 && errno == EAGAIN)
		return false;
	c->stop_wanted = false;
	return true;
}

/* False: somebody did not take all. */
static bool family_tell(struct family *f)
{
	bool told = brief_tell(f);

	for (unsigned i = 0; i <= f->nslots; i++) {
		struct child *c = family_child(f, i);

		told = news_tell(f, c) && family_tell_stop(c) && told;
	}
	return handover_tell(f) && told;
}

static void family_ask_stop(struct child *c, uint64_t drain_ms)
{
	c->stop_wanted = c->pid != 0;
	c->stop_drain_ms = drain_ms;
	c->stop_delay_ms = 0;
}

void family_dismiss(struct child *c, uint64_t drain_ms, uint64_t now)
{
	family_ask_stop(c, drain_ms);
	c->dismissed = true;
	c->restart = true; /* the bridge: a successor goes on */
	c->kill_ms = now + drain_ms + GRACE_MS;
	family_wake(c->family);
}

static void family_ask_workers(struct family *f, uint64_t delay_ms, uint64_t drain_ms)
{
	for (unsigned i = 0; i < f->nslots; i++) {
		struct child *w = &f->workers[i];

		family_ask_stop(w, drain_ms);
		w->stop_delay_ms = (uint32_t)delay_ms;
		w->restart = f->restart;
		if (w->chan)
			w->kill_ms = 0; /* of an earlier dismissal: it has f->deadline_ms now */
	}
}

static void family_ask_bridge(struct family *f, uint64_t now)
{
	uint64_t left = f->drain_end_ms > now ? f->drain_end_ms - now : 0;
	uint64_t flush = f->hurry ? 0 : left > FLUSH_MIN_MS ? left : FLUSH_MIN_MS;

	family_ask_stop(&f->bridge, flush);
	f->deadline_ms = now + flush + (f->hurry ? HURRY_MS : GRACE_MS);
	f->killed = false;
}

void family_stop(struct family *f, uint64_t delay_ms, uint64_t drain_ms, bool hurry)
{
	uint64_t now = family_clock();

	if (f->state == FAMILY_ENDED || (family_stopping(f) && (f->hurry || !hurry)))
		return;
	f->hurry = hurry;
	if (hurry)
		delay_ms = drain_ms = 0;
	f->drain_end_ms = now + delay_ms + drain_ms;
	f->refuse_ms = hurry ? 0 : now + delay_ms;
	for (unsigned i = hurry ? 0 : 1; i <= f->nslots; i++)
		family_child(f, i)->start_ms = 0;
	if (f->state == FAMILY_STOPS_BRIDGE) {
		family_ask_bridge(f, now);
	} else {
		f->state = FAMILY_STOPS_WORKERS;
		family_ask_workers(f, delay_ms, drain_ms);
		f->deadline_ms = f->drain_end_ms + (hurry ? HURRY_MS : GRACE_MS);
		f->killed = false;
	}
	family_wake(f);
}

void family_fail(struct family *f, const char *why)
{
	if (!f->status) {
		snprintf(f->why, sizeof(f->why), "%s", why);
		f->status = 2;
		log_error("all processes end", kv_str("why", f->why));
	}
	family_stop(f, 0, 0, true);
}

/* Each worker refuses clients at its own listeners. One that is dead does not, nor one that hangs:
 * those would get all who come. */
static void family_refuse(struct family *f, uint64_t now)
{
	if (!f->refuse_ms || now < f->refuse_ms)
		return;
	for (unsigned i = 0; i < f->listeners->nslots && !f->hold_clients; i++)
		if (f->refuses || (!f->workers[i].pid && f->lent_to[i] < 0))
			listen_shut(f->listeners, i);
	f->refuse_ms = f->refuses ? 0 : now + REFUSE_MS;
	f->refuses = true;
}

/* Those that this state waits for: killed when the time is over. True: none is left, or nothing
 * helps. */
static bool family_gone(struct family *f, unsigned first, unsigned last, uint64_t now)
{
	bool late = now >= f->deadline_ms;
	unsigned alive = 0;

	for (unsigned i = first; i <= last; i++) {
		struct child *c = family_child(f, i);

		alive += c->pid != 0;
		if (!c->pid || !late || c->exited)
			continue;
		log_warn(f->killed ? "cannot be killed" : "does not end in time: killed",
			kv_str("child", c->name), kv_int("pid", c->pid));
		family_kill(c);
	}
	if (!alive || !late)
		return !alive;
	if (f->killed) {
		f->stuck = true;
		return true;
	}
	f->deadline_ms = now + KILLED_MS;
	f->killed = true;
	return false;
}

static void family_advance(struct family *f, uint64_t now)
{
	bool all = f->bridge.ready || f->hold_bridge;

	if (f->state == FAMILY_STOPS_WORKERS && family_gone(f, 1, f->nslots, now)) {
		f->state = FAMILY_STOPS_BRIDGE;
		f->bridge.start_ms = 0;
		family_ask_bridge(f, now);
	}
	if (f->state == FAMILY_STOPS_BRIDGE && family_gone(f, 0, 0, now)) {
		f->state = FAMILY_ENDED;
		f->ended(f->arg);
	}
	if (f->was_ready || family_stopping(f))
		return;
	for (unsigned i = 0; i < f->active; i++)
		all = all && f->workers[i].ready;
	if (!all)
		return;
	f->was_ready = true;
	f->ready(f->arg);
}

/* ---- the timer ---- */

static void sooner(uint64_t *at, uint64_t when)
{
	if (when && (!*at || when < *at))
		*at = when;
}

static void family_arm(struct family *f, uint64_t now)
{
	uint64_t at = f->retry ? now + RETRY_MS : 0, wait;
	struct timeval tv;

	for (unsigned i = 0; i <= f->nslots; i++) {
		const struct child *c = family_child(f, i);

		if (!c->pid)
			sooner(&at, c->waits || family_held(c) ? 0 : c->start_ms);
		else if (!c->killed && !c->exited)
			sooner(&at, c->kill_ms);
		if (c->pid && !c->killed && !c->exited && family_hang(f))
			sooner(&at, c->beat_ms + family_hang(f));
	}
	if (family_stopping(f))
		sooner(&at, f->deadline_ms);
	else
		sooner(&at, family_tickets_due(f));
	sooner(&at, f->refuse_ms);
	/* event_add() takes back what event_active() asked for meanwhile. */
	if (f->woken)
		at = now;
	f->timer_ms = at;
	if (!at || f->state == FAMILY_ENDED)
		return;
	wait = at > now ? at - now : 0;
	tv = (struct timeval){(time_t)(wait / 1000), (suseconds_t)(wait % 1000 * 1000)};
	if (event_add(f->timer, &tv) < 0)
		log_error("no timer: the next event must do", kv_errno(ENOMEM));
}

void family_stood(struct family *f, uint64_t since_ms, uint64_t now)
{
	for (unsigned i = 0; i <= f->nslots && now > since_ms + 1000; i++)
		family_child(f, i)->beat_ms = now;
}

static void family_due(evutil_socket_t fd, short what, void *arg)
{
	struct family *f = arg;
	uint64_t now = family_clock();

	(void)fd;
	(void)what;
	f->woken = false;
	if (f->timer_ms)
		family_stood(f, f->timer_ms, now);
	for (unsigned i = 0; i <= f->nslots; i++)
		if (family_child(f, i)->pid)
			family_check(f, family_child(f, i), now);
	family_rotate(f, now);
	family_start_due(f, now);
	family_refuse(f, now);
	family_advance(f, now);
	handover_look(f, now);
	f->retry = !family_tell(f);
	f->looked(f->arg);
	log_catch_up();
	family_arm(f, now);
}

/* ---- the whole ---- */

int family_grow(struct family *f, unsigned nslots)
{
	unsigned n = f->nslots;

	for (; n < nslots; n++)
		if (chan_pair(f->bells[n]) < 0)
			goto fail;
	for (; f->nslots < nslots; f->nslots++)
		child_init(&f->workers[f->nslots], f, CHILD_WORKER, f->nslots);
	return 0;
fail:
	nslots = n;
	for (n = f->nslots; n < nslots; n++) {
		close(f->bells[n][0]);
		close(f->bells[n][1]);
	}
	errno = EMFILE;
	return -1;
}

int family_start(struct family *f, unsigned nslots)
{
	news_init(&f->news);
	log_tap(news_tap, f);
	child_init(&f->bridge, f, CHILD_BRIDGE, 0);
	f->bridge.start_ms = family_clock();
	f->timer = event_new(f->base, -1, 0, family_due, f);
	if (!f->timer) {
		errno = ENOMEM;
		return -1;
	}
	for (unsigned i = 0; i < HERITAGE_SLOT_MAX; i++)
		f->lent_to[i] = -1;
	if (family_grow(f, nslots) < 0)
		return -1;
	handover_resize(f, nslots, f->bridge.start_ms);
	return 0;
}

void family_forget(struct family *f)
{
	for (unsigned i = 0; i <= f->nslots; i++)
		child_free(family_child(f, i));
	if (f->timer)
		event_free(f->timer);
	f->timer = NULL;
	tickets_wipe(&f->tickets); /* a worker has its own */
}

void family_free(struct family *f)
{
	family_forget(f);
	for (unsigned i = 0; i < f->nslots; i++) {
		close(f->bells[i][0]);
		close(f->bells[i][1]);
	}
	f->nslots = 0;
	news_free(&f->news);
	certs_drop(&f->tls);
	tickets_wipe(&f->tickets);
}
