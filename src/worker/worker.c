#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <wsgate/clock.h>
#include <wsgate/log.h>

#include "pack.h"
#include "tally.h"
#include "tls.h"
#include "worker.h"

#define ACCEPT_BATCH 64
#define FILES_KEPT 48  /* of a worker's descriptors, or an eighth of few */
#define PACE_FROM 1500 /* a second: connections, requests, answers to them, Pongs */
#define SHED_MIN 50
#define SHED_SECONDS 20

uint64_t worker_clock(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

/* Of all workers: each writes its own count. */
size_t worker_family_connections(const struct worker *w)
{
	size_t n = 0;

	for (unsigned i = 0; i < w->shm.header->sizes.max_workers && shm_slot_used(&w->shm, i);
		i++) {
		const struct shm_slot *s = shm_slot(&w->shm, i);

		/* A worker that was killed leaves its count, in a slot that may stay idle. */
		if (stat_get(s->buried) < stat_get(s->generation))
			n += stat_get(s->stats.connections);
	}
	return n;
}

/* ---- accepting ---- */

static void worker_peer(const struct sockaddr_storage *ss, struct route_peer *p)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

	memset(p, 0, sizeof(*p));
	if (ss->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)ss;

		memcpy(p->addr, mapped, sizeof(mapped));
		memcpy(p->addr + 12, &in->sin_addr, 4);
		p->port = ntohs(in->sin_port);
	} else if (ss->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;

		memcpy(p->addr, &in6->sin6_addr, 16);
		p->port = ntohs(in6->sin6_port);
	}
}

static const struct timeval accept_pause = {0, 100000};

static void worker_accept_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	worker_listen(arg);
}

/* Trap: with something unread the close is a reset, in which the answer is lost. */
static void close_read(int fd)
{
	char unread[4096];

	(void)shutdown(fd, SHUT_WR);
	for (int i = 0; i < 16 && recv(fd, unread, sizeof(unread), MSG_DONTWAIT) > 0; i++)
		;
	close(fd);
}

/*
 * A new descriptor is the lowest free one: as many others are taken. The last ones below the limit
 * are kept for what the family sends, and half of them for the operator and who moves here, too:
 * a full worker follows a reload all the same.
 */
bool worker_has_room(const struct worker *w, int fd, bool dear)
{
	uint64_t max = stat_get(w->slot->process.max_files);
	uint64_t kept = max / 8 < FILES_KEPT ? max / 8 : FILES_KEPT;

	return (uint64_t)fd < max - (dear ? kept / 2 : kept);
}

void worker_say_full(const struct worker *w)
{
	log_some_warnings(1,
		"no file descriptor left for a connection: raise the limit of open files",
		kv_uint("connections", w->nconns));
}

/* Takes fd. */
static void worker_turn_away(struct worker *w, const struct listener *l, int fd)
{
	static const char full[] =
		"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\n"
		"Content-Type: text/plain\r\nContent-Length: 21\r\n\r\ntoo many connections\n";

	if (!l->admin)
		tally_refused(w, 503);
	worker_say_full(w);
	if (!l->tls)
		(void)!send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	close_read(fd);
}

/* Out of memory, or the system of files: whoever waits is let in later. A listener is
 * level-triggered, and would spin. */
static void worker_accept_later(struct worker *w)
{
	for (struct listener *l = w->listeners; l; l = l->next)
		event_del(l->ev);
	if (event_add(w->accept_pause, &accept_pause) < 0)
		worker_listen(w);
}

static void worker_accept_some(struct worker *w, struct listener *l, size_t max)
{
	for (size_t i = 0; i < max; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		struct route_peer peer;
		struct conn *c;
		int fd = accept4(l->fd, (struct sockaddr *)&ss, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
				      errno == ENOMEM)) {
			log_some_warnings(1, "no connection can be accepted: tried again",
				kv_errno(errno), kv_uint("connections", w->nconns));
			worker_accept_later(w);
			return;
		}
		if (fd < 0)
			return; /* EAGAIN, or a caller who went away in between */
		if (!worker_has_room(w, fd, l->admin)) {
			worker_turn_away(w, l, fd);
			if (l->admin)
				return;
			continue;
		}
		worker_peer(&ss, &peer);
		if (!l->admin) {
			stat_add(w->slot->stats.accepted, 1);
			pace_count(&w->pace, 1);
		}
		c = conn_accept(w, fd, l, &peer);
		if (c && l->tls && !tls_begin(c, sections_find(w, l->tls))) {
			conn_starved(c, "no memory for TLS");
			c = NULL;
		}
		if (c && !l->admin)
			peer_accepted(c);
		if (l->admin)
			return; /* one shared socket: the other workers have their turn */
	}
}

static void worker_acceptable(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;

	(void)fd;
	(void)what;
	l->w->now_ms = worker_clock();
	worker_accept_some(l->w, l, ACCEPT_BATCH);
}

/* One that cannot be watched now is tried again. */
void worker_listen(struct worker *w)
{
	for (struct listener *l = w->listeners; l; l = l->next) {
		if (l->tls && !sections_find(w, l->tls)) {
			event_del(l->ev);
		} else if (event_add(l->ev, NULL) < 0) {
			log_some_errors(1, "cannot watch a listener", kv_errno(errno));
			(void)event_add(w->accept_pause, &accept_pause);
		}
	}
}

static bool worker_is_local(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	return getsockname(fd, (struct sockaddr *)&ss, &len) == 0 && ss.ss_family == AF_UNIX;
}

/* One whose section is not here yet waits for it. */
int worker_add_listener(struct worker *w, int fd, uint32_t id, bool admin, const char *tls)
{
	struct listener *l;
	int one = 1;

	for (l = w->listeners; l; l = l->next) {
		if (l->id == id) { /* told again */
			close(fd);
			return 0;
		}
	}
	l = malloc(sizeof(*l));
	/* What it accepts inherits this; a Unix socket has no use for it. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (l) {
		*l = (struct listener){
			.w = w, .next = w->listeners, .fd = fd, .id = id, .admin = admin};
		l->local = admin && worker_is_local(fd);
		l->tls = tls ? strdup(tls) : NULL;
		l->ev = event_new(w->base, fd, EV_READ | EV_PERSIST, worker_acceptable, l);
		if (l->ev && (!tls || l->tls) &&
			((tls && !sections_find(w, tls)) || event_add(l->ev, NULL) == 0)) {
			w->listeners = l;
			return 0;
		}
		if (l->ev)
			event_free(l->ev);
		free(l->tls);
		free(l);
	}
	close(fd);
	errno = ENOMEM;
	return -1;
}

void worker_drop_listener(struct worker *w, struct listener *l, bool keep)
{
	struct listener **at = &w->listeners;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	event_free(l->ev);
	if (!keep) {
		if (!l->tls || sections_find(w, l->tls))
			worker_accept_some(w, l, SIZE_MAX); /* they get an answer */
		/* The master holds this socket too: from here on a connect is refused at once. */
		shutdown(l->fd, SHUT_RD);
	}
	close(l->fd);
	free(l->tls);
	free(l);
}

void worker_leave_listeners(struct worker *w)
{
	struct listener *l, *next;

	for (l = w->listeners; l; l = next) {
		next = l->next;
		if (!l->admin)
			worker_drop_listener(w, l, true);
	}
}

/* Random bytes, fetched by the page: a system call for 512 times eight of them. */
int worker_random(struct worker *w, uint8_t out[8])
{
	if (w->nonce_left < 8) {
		if (getrandom(w->nonce, sizeof(w->nonce), 0) != sizeof(w->nonce))
			return -1;
		w->nonce_left = sizeof(w->nonce);
	}
	w->nonce_left -= 8;
	memcpy(out, w->nonce + w->nonce_left, 8);
	return 0;
}

/* ---- the end ---- */

/* Without a master nobody would restart us or stop us: the clients come back elsewhere. */
static void worker_orphaned(void *arg)
{
	struct worker *w = arg;

	log_warn("the master is gone: this worker ends");
	chan_free(w->master);
	w->master = NULL;
	event_base_loopexit(w->base, NULL);
}

/* ---- channels ---- */

static void worker_on_doorbell(void *arg, const void *body, int fd)
{
	struct worker *w = arg;

	(void)body;
	if (fd >= 0)
		close(fd);
	event_active(w->again, EV_TIMEOUT, 0); /* once, however often it rang */
}

static void worker_bell_gone(void *arg)
{
	(void)arg;
	/* The master holds both ends: they close only when it and the bridge are gone. */
	log_info("the family is gone: this worker ends");
	_exit(1);
}

static void worker_on_deeds(void *arg, const void *body, int fd)
{
	struct worker *w = arg;

	if (fd >= 0)
		close(fd);
	memcpy(&w->deeds, body, sizeof(w->deeds));
}

static void worker_on_sync(void *arg, const void *body, int fd)
{
	struct worker *w = arg;

	if (fd >= 0)
		close(fd);
	if (chan_send(w->master, PROTO_SYNCED, body, sizeof(struct proto_sync), -1) < 0)
		log_warn("cannot tell the master", kv_errno(errno));
}

static const struct chan_handler master_handlers[] = {
	{PROTO_STOP, sizeof(struct proto_stop), drain_on_stop},
	{PROTO_DRAIN, sizeof(struct proto_drain), drain_on_order},
	{PROTO_TRACE, sizeof(struct trace_order), chan_on_trace},
	{PROTO_SYNC, sizeof(struct proto_sync), worker_on_sync},
	{PROTO_DEEDS, sizeof(struct proto_deeds), worker_on_deeds},
	{PROTO_CONFIG, sizeof(struct proto_config), reconf_on_config},
	{PROTO_TLS, sizeof(struct proto_config), sections_on_tls},
	{PROTO_TICKETS, sizeof(struct tickets), sections_on_tickets},
	{PROTO_VAULT, 0, reconf_on_secrets},
	{PROTO_LOG, sizeof(struct proto_log), chan_on_log},
	{PROTO_LISTEN, sizeof(struct proto_listen), reconf_on_listen},
	{PROTO_UNLISTEN, sizeof(struct proto_listen), reconf_on_unlisten},
	{PROTO_RETIRE, sizeof(struct proto_retire), move_on_retire},
	{PROTO_HEIR, sizeof(struct proto_heir), move_on_heir},
	{PROTO_ARRIVE, sizeof(struct proto_arrive), arrive_on_channel},
	{PROTO_RESUME, 0, move_on_resume},
	{0, 0, NULL},
};
static const struct chan_handler bell_handlers[] = {
	{PROTO_DOORBELL, 0, worker_on_doorbell},
	{0, 0, NULL},
};

/*
 * The broker, or a stream, has been away for longer than the grace: clients are told to try again
 * later, perhaps through another gateway. Some each second, so that they do not all come at once.
 */
static void worker_shed(struct worker *w)
{
	static uint32_t before;
	static size_t passed; /* seconds of it */
	struct conn *c, *next;
	size_t n;
	uint32_t away = 0; /* a bit a stream */

	for (size_t i = 0; i < config_streams(w->c); i++)
		away |= (uint32_t)(link_broker(w, (unsigned)i) == LINK_BROKER_AWAY) << i;
	if (away != before)
		passed = 0;
	before = away;
	if (w->draining || !away)
		return;
	n = w->nconns / (passed < SHED_SECONDS ? SHED_SECONDS - passed : 1) + SHED_MIN;
	passed++;
	for (c = w->conns; c && n; c = next) {
		next = c->next;
		if (c->state != CONN_OPEN || c->echo || !(away & UINT32_C(1) << c->stream))
			continue;
		n--;
		(void)!session_close(c, WS_CODE_TRY_LATER, "the broker is away");
	}
}

/* Browsers connect in advance: who has sent no byte for a second is not waited for. */
static void worker_drop_idle(struct worker *w)
{
	struct conn *c, *next;

	for (c = w->conns; c; c = next) {
		next = c->next;
		if (c->state == CONN_REQUEST && !c->begun_us && w->now_ms >= c->state_ms + 1000)
			conn_free(c);
	}
}

static void worker_beat(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	w->now_ms = worker_clock();
	tally_beat(w);
	pack_beat(w);
	worker_shed(w);
	auth_beat(w);
	live_beat(w);
	trace_tick(w->now_ms);
	drain_beat(w);
	if (w->ends)
		worker_drop_idle(w);
	link_wakeup(w); /* a doorbell may have been lost */
	log_catch_up();
	/* EAGAIN: the master has not read the last ones; it will. */
	if (w->master && chan_send(w->master, PROTO_BEAT, NULL, 0, -1) < 0 && errno != EAGAIN)
		log_debug("beat not sent", kv_errno(errno));
}

static int worker_start(struct worker *w)
{
	struct timeval second = {1, 0};
	char err[320];

	w->now_ms = worker_clock();
	peer_configure(w);
	w->secrets = -1;
	w->auth = auth_new(w->c, w->h->secrets, err, sizeof(err));
	if (!w->auth) {
		log_error("the keys that check tokens cannot be used", kv_str("why", err));
		return -1;
	}
	w->read_buf = malloc(READ_SIZE);
	w->base = turns_new();
	pace_start(&w->pace, PACE_FROM);
	if (!w->base || !w->read_buf || link_start(w) < 0 || sight_start(w) < 0 ||
		wheel_start(&w->wheel, w->base, w->now_ms, conn_expired, w) < 0 ||
		wheel_start(&w->holds, w->base, w->now_ms, meter_expired, w) < 0)
		return -1;
	log_tap(notes_tap, &w->slot->notes);
	w->deeds = w->h->deeds;
	trace_follow(&w->h->trace);
	w->pulse = pulse_new(w->base, &w->slot->process);
	w->accept_pause = event_new(w->base, -1, 0, worker_accept_again, w);
	w->beat = event_new(w->base, -1, EV_PERSIST, worker_beat, w);
	w->master = chan_new(w->base, w->h->control, "master", master_handlers, worker_orphaned, w);
	w->bell = chan_new(w->base, w->h->bell, "bridge", bell_handlers, worker_bell_gone, w);
	if (!w->pulse || !w->accept_pause || !w->beat || !w->master || !w->bell ||
		event_add(w->beat, &second) < 0 || sections_start(w) < 0)
		return -1;
	for (size_t i = 0; i < w->h->nlisten; i++)
		if (worker_add_listener(
			    w, w->h->listen[i], w->h->listen_id[i], false, w->h->listen_tls[i]) < 0)
			return -1;
	for (int i = 0; i < HERITAGE_ADMINS; i++)
		if (w->h->admin[i] >= 0 &&
			worker_add_listener(w, w->h->admin[i], w->h->admin_id[i], true, NULL) < 0)
			return -1;
	if (w->h->drain.begin_ms)
		drain_set(w, &w->h->drain);
	return chan_send(w->master, PROTO_READY, NULL, 0, -1);
}

/* Without a master it is as if this worker were killed: its connections end all at once, and the
 * least of what those of a user have confirmed counts, whichever is freed first. */
static void worker_leave_places(struct worker *w)
{
	for (struct conn *c = w->conns; c; c = c->next)
		if (c->route != NO_ROUTE)
			place_leave(c);
}

static void worker_free(struct worker *w)
{
	w->draining = false;
	if (!w->master)
		worker_leave_places(w);
	while (w->conns)
		conn_free(w->conns);
	move_free(w);
	arrive_free(w);
	while (w->listeners)
		worker_drop_listener(w, w->listeners, true); /* the successor goes on there */
	sections_stop(w);
	auth_free(w->auth);
	if (w->secrets >= 0)
		close(w->secrets);
	config_free(w->own);
	pulse_free(w->pulse);
	log_tap(NULL, NULL);
	if (w->accept_pause)
		event_free(w->accept_pause);
	if (w->drain_timer)
		event_free(w->drain_timer);
	if (w->beat)
		event_free(w->beat);
	chan_free(w->master);
	chan_free(w->bell);
	sight_stop(w);
	wheel_stop(&w->wheel);
	wheel_stop(&w->holds);
	pack_stop(w);
	link_stop(w);
	if (w->base)
		event_base_free(w->base);
	free(w->read_buf);
}

int worker_main(const struct heritage *h)
{
	static struct worker w; /* one a process; too large for the stack */
	int status = 0;

	w.h = h;
	w.c = h->config;
	if (worker_start(&w) < 0) {
		log_error("worker cannot start", kv_errno(errno));
		status = 1;
	} else if (turns_run(w.base, &w.pace) < 0) {
		log_error("event loop failed", kv_errno(errno));
		status = 1;
	}
	if (w.slot && !status)
		worker_free(&w);
	return status;
}
