/*
 * wire: see wire.h.
 */
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>
#include <wsgate/log.h>
#include "carrier.h"
#include "engine.h"
#include "wire.h"

/* Live copies that are not worked off: above this, payloads are dropped; above twice this, the
 * events too. */
#define LIVE_BUDGET (64u << 20)
#define EVENTS_AT_ONCE 1024
#define DISCHARGE_BYTES (1u << 20) /* one lock for so many */

_Static_assert(WIRES_MAX >= CONFIG_STREAMS, "a wire for each stream");

struct wire {
	struct event *readable, *kick;
	struct carrier *carrier;
	struct engine *engine;
	bool direct; /* a session is up in which commands are executed here */
	void (*fn)(void *arg, struct wire_event *e);
	void *arg;
	int fd;
	unsigned number;
	uint64_t session; /* as the loop knows it */
	uint32_t era;     /* of the settings: those of other servers begin another one */
	char inbox[40];
	/* Loop's own. */
	struct wire_event *batch;
	struct command *out_first, *out_last;
	struct pace *pace; /* borrowed */
	/* Under hub.mu. */
	struct wire_event *first, **end;
	size_t live_bytes;
	bool overflow;
};

static struct {
	pthread_mutex_t mu;
	struct wire *wires[WIRES_MAX]; /* by number; NULL: nobody listens */
	unsigned next;
} hub = {.mu = PTHREAD_MUTEX_INITIALIZER};

struct wire_event *wire_event_new(unsigned wire, enum wire_kind kind, const char *text)
{
	size_t len = text ? strlen(text) : 0;
	struct wire_event *e = malloc(sizeof(*e) + len + 1);

	if (!e)
		return NULL;
	memset(e, 0, sizeof(*e));
	memcpy(e->text, text ? text : "", len + 1);
	e->kind = (uint8_t)kind;
	e->wire = (uint8_t)wire;
	e->refs = 1;
	return e;
}

void wire_event_free(struct wire_event *e)
{
	natsMsg_Destroy(e->msg);
	free(e);
}

/*
 * Messages that are done with, the loop's own. nats.c frees a message on a thread of its own, which
 * it wakes for each one that comes while that thread sleeps, and which then takes the allocator's
 * locks from the loop: seldom, and many at once (64 instead of 1024: a third more time a message).
 */
#define SPENT_MESSAGES 1024
#define SPENT_BYTES (256u << 10)
static struct {
	natsMsg *msgs[SPENT_MESSAGES];
	size_t n, bytes;
} spent;

void wire_free_spent(void)
{
	while (spent.n > 0)
		natsMsg_Destroy(spent.msgs[--spent.n]);
	spent.bytes = 0;
}

static void spent_add(natsMsg *msg)
{
	if (!msg)
		return;
	spent.msgs[spent.n++] = msg;
	spent.bytes += (size_t)natsMsg_GetDataLength(msg);
	if (spent.n == SPENT_MESSAGES || spent.bytes >= SPENT_BYTES)
		wire_free_spent();
}

struct broker_message *broker_message_ref(struct broker_message *m)
{
	wire_event_of(m)->refs++;
	return m;
}

void broker_message_unref(struct broker_message *m)
{
	struct wire_event *e = wire_event_of(m);

	if (--e->refs == 0) {
		spent_add(e->msg);
		free(e);
	}
}

static void wake(const struct wire *w)
{
	const uint64_t one = 1;

	/* Full (EAGAIN) means that it is awake already. */
	while (write(w->fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* A gateway's word costs nothing: it is never dropped. */
static size_t live_cost(const struct wire_event *e)
{
	return e->kind == WIRE_LIVE && !e->word ? e->m.len + BROKER_MESSAGE_COST : 0;
}

/* Over the budget a live copy loses its payload: a gap, which is read again. Returns what is to be
 * freed. */
static natsMsg *charge(struct wire *w, struct wire_event *e)
{
	natsMsg *drop = NULL;

	if (w->live_bytes > LIVE_BUDGET) {
		drop = e->msg;
		e->msg = NULL;
		e->m.data = NULL;
		e->m.len = 0;
	}
	w->live_bytes += live_cost(e);
	return drop;
}

/* They are worked off. */
static void discharge(struct wire *w, size_t bytes)
{
	pthread_mutex_lock(&hub.mu);
	w->live_bytes -= bytes;
	pthread_mutex_unlock(&hub.mu);
}

void wire_post(struct wire_event *e)
{
	natsMsg *drop = NULL;
	struct wire *w;

	pthread_mutex_lock(&hub.mu);
	w = hub.wires[e->wire];
	/* A gateway's word does not come again: it is never dropped. */
	if (!w || (e->kind == WIRE_LIVE && !e->word && w->live_bytes > 2 * (size_t)LIVE_BUDGET)) {
		if (w)
			w->overflow = true;
		pthread_mutex_unlock(&hub.mu);
		wire_event_free(e);
		return;
	}
	if (e->kind == WIRE_LIVE && !e->word)
		drop = charge(w, e);
	e->next = NULL;
	if (!w->first)
		wake(w);
	*w->end = e;
	w->end = &e->next;
	pthread_mutex_unlock(&hub.mu);
	natsMsg_Destroy(drop);
}

static void take_events(struct wire *w)
{
	struct wire_event *overflow;

	pthread_mutex_lock(&hub.mu);
	w->batch = w->first;
	w->first = NULL;
	w->end = &w->first;
	overflow = w->overflow ? wire_event_new(w->number, WIRE_OVERFLOW, NULL) : NULL;
	if (overflow) { /* no memory: the flag stays */
		w->overflow = false;
		overflow->next = w->batch;
		w->batch = overflow;
	}
	pthread_mutex_unlock(&hub.mu);
}

void wire_flush(struct wire *w)
{
	engine_flush(w->engine);
	if (!w->out_first)
		return;
	carrier_send(w->carrier, w->out_first, w->out_last);
	w->out_first = w->out_last = NULL;
}

static void on_one(struct wire *w, struct wire_event *e)
{
	bool down = e->kind == WIRE_DOWN;

	if (e->kind == WIRE_UP) {
		w->session++;
		if (e->up.era != w->era) { /* it ends as soon as it has begun */
			wire_event_free(e);
			return;
		}
		w->direct = e->up.direct;
	}
	w->fn(w->arg, e);
	if (down) {
		w->direct = false;
		carrier_give_back(w->carrier);
	}
}

/* The engine has read. */
static bool on_received(void *arg)
{
	struct wire *w = arg;

	if (w->direct)
		carrier_receive(w->carrier, w->fn, w->arg);
	wire_flush(w);
	return pace_on(w->pace);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct wire *w = arg;
	struct wire_event *e;
	uint32_t live = 0;
	size_t done = 0;
	uint64_t count;

	(void)what;
	if (!w->batch) {
		while (read((int)fd, &count, sizeof(count)) < 0 && errno == EINTR)
			;
		take_events(w);
	}
	for (int n = 0; w->batch && n < EVENTS_AT_ONCE; n++) {
		e = w->batch;
		w->batch = e->next;
		live += e->kind == WIRE_LIVE;
		done += live_cost(e);
		on_one(w, e);
		if (done >= DISCHARGE_BYTES) {
			discharge(w, done);
			done = 0;
		}
	}
	discharge(w, done);
	pace_count(w->pace, live);
	wire_flush(w);
	if (w->batch)
		event_active(w->readable, EV_READ, 0);
}

static void on_kick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	wire_flush(arg);
}

/* ---- commands ---- */

static void do_now(struct wire *w, const struct command *cmd)
{
	carrier_do(w->carrier, cmd);
	spent_add(cmd->msg);
	event_active(w->kick, EV_TIMEOUT, 0); /* once for all of this turn */
}

static bool command(struct wire *w, enum command_kind kind, uint64_t key, const char *subject,
	const char *body, natsMsg *msg)
{
	const struct command what = {.msg = msg,
		.session = w->session,
		.key = key,
		.subject = subject,
		.body = body,
		.kind = (uint8_t)kind};
	struct command *cmd;

	if (w->direct) {
		do_now(w, &what);
		return true;
	}
	cmd = command_keep(&what);
	if (!cmd) {
		natsMsg_Destroy(msg);
		return false;
	}
	if (w->out_last) {
		w->out_last->next = cmd;
	} else {
		w->out_first = cmd;
		event_active(w->kick, EV_TIMEOUT, 0);
	}
	w->out_last = cmd;
	return true;
}

bool wire_subscribe(struct wire *w, uint64_t key, const char *subject)
{
	return command(w, CMD_SUBSCRIBE, key, subject, "", NULL);
}

bool wire_unsubscribe(struct wire *w, uint64_t key)
{
	return command(w, CMD_UNSUBSCRIBE, key, "", "", NULL);
}

bool wire_get(struct wire *w, uint64_t token, bool apart, const char *body)
{
	return command(w, apart ? CMD_GET_APART : CMD_GET, token, "", body, NULL);
}

bool wire_delete(struct wire *w, uint64_t token, const char *body)
{
	pace_count(w->pace, 1);
	return command(w, CMD_DELETE, token, "", body, NULL);
}

bool wire_request(struct wire *w, uint64_t token, const char *subject, const char *body)
{
	return command(w, CMD_REQUEST, token, subject, body, NULL);
}

bool wire_publish(struct wire *w, uint64_t token, natsMsg *msg)
{
	return command(w, CMD_PUBLISH, token, "", "", msg);
}

void wire_inbox(
	const struct wire *w, enum wire_replies replies, uint64_t token, char out[WIRE_INBOX_MAX])
{
	snprintf(out, WIRE_INBOX_MAX, "%s.%c.%016llx", w->inbox, WIRE_LETTERS[replies],
		(unsigned long long)token);
}

void wire_break(struct wire *w)
{
	carrier_break(w->carrier);
}

void wire_reconfigure(struct wire *w, struct settings *s, bool elsewhere)
{
	w->era += elsewhere;
	carrier_reconfigure(w->carrier, s, w->era);
}

bool wire_is_full(const struct wire *w)
{
	return carrier_is_full(w->carrier);
}

uint64_t wire_rtt(const struct wire *w)
{
	return carrier_rtt(w->carrier);
}

/* ---- start and stop ---- */

static void wire_free(struct wire *w)
{
	struct wire_event *e;
	struct command *cmd;

	if (w->readable)
		event_free(w->readable);
	if (w->kick)
		event_free(w->kick);
	while ((e = w->batch)) {
		w->batch = e->next;
		wire_event_free(e);
	}
	while ((e = w->first)) {
		w->first = e->next;
		wire_event_free(e);
	}
	while ((cmd = w->out_first)) {
		w->out_first = cmd->next;
		command_free(cmd);
	}
	if (w->fd >= 0)
		close(w->fd);
	engine_free(w->engine);
	free(w);
}

static bool hub_take(struct wire *w)
{
	bool taken = false;

	pthread_mutex_lock(&hub.mu);
	for (unsigned i = 0; i < WIRES_MAX && !taken; i++) {
		unsigned n = hub.next++ % WIRES_MAX;

		taken = !hub.wires[n];
		if (taken) {
			hub.wires[n] = w;
			w->number = n;
		}
	}
	pthread_mutex_unlock(&hub.mu);
	if (!taken)
		errno = EBUSY;
	return taken;
}

static void hub_leave(struct wire *w)
{
	pthread_mutex_lock(&hub.mu);
	if (hub.wires[w->number] == w)
		hub.wires[w->number] = NULL;
	pthread_mutex_unlock(&hub.mu);
}

static bool make_events(struct wire *w, struct event_base *base)
{
	w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (w->fd < 0)
		return false;
	w->readable = event_new(base, w->fd, EV_READ | EV_PERSIST, on_readable, w);
	w->kick = event_new(base, -1, 0, on_kick, w);
	if (!w->readable || !w->kick || event_add(w->readable, NULL) < 0) {
		errno = ENOMEM;
		return false;
	}
	return true;
}

struct wire *wire_start(struct event_base *base, struct pace *pace, const struct config *c,
	size_t stream, void (*fn)(void *arg, struct wire_event *e), void *arg)
{
	struct wire *w = calloc(1, sizeof(*w));
	uint64_t id[2];
	int saved;

	if (!w)
		return NULL;
	w->pace = pace;
	w->fn = fn;
	w->arg = arg;
	w->fd = -1;
	w->end = &w->first;
	if (getrandom(id, sizeof(id), 0) != (ssize_t)sizeof(id) || !make_events(w, base))
		goto fail;
	snprintf(w->inbox, sizeof(w->inbox), "_INBOX.%016llx%04llx", (unsigned long long)id[0],
		(unsigned long long)id[1] & 0xffff);
	w->engine = engine_new(base, on_received, w);
	if (!w->engine || !hub_take(w))
		goto fail;
	w->carrier = carrier_start(c, stream, w->number, w->inbox, w->engine);
	if (w->carrier)
		return w;
	saved = errno;
	hub_leave(w);
	errno = saved;
fail:
	saved = errno;
	wire_free(w);
	errno = saved;
	return NULL;
}

void wire_quit(struct wire *w)
{
	hub_leave(w);
	wire_flush(w);
	carrier_quit(w->carrier);
}

bool wire_ended(struct wire *w, uint64_t until_ms)
{
	return carrier_ended(w->carrier, until_ms);
}

void wire_stop(struct wire *w)
{
	wire_quit(w);
	carrier_stop(w->carrier);
	wire_free(w);
	wire_free_spent();
}
