/*
 * broker_nats: broker.h over NATS JetStream. Puts the parts together: the life of the session, the
 * events, the clock.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wsgate/clock.h>
#include "parts.h"

#define FAST_MS 5
#define SLOW_MS 50
#define CHANGED_MS 1000 /* by then it is known which stream this is */
#define APART_MS 60000  /* longer than a march that it stopped waits */

/* ---- the clock ---- */

static void set_timer(struct broker *b, bool fast)
{
	const struct timeval tv = {0, (fast ? FAST_MS : SLOW_MS) * 1000};

	b->timer_fast = fast;
	(void)event_add(b->timer, &tv);
}

void broker_hurry(struct broker *b)
{
	if (!b->timer_fast)
		set_timer(b, true);
}

void broker_defer(struct broker *b)
{
	event_active(b->deferred, EV_TIMEOUT, 0);
}

static void answer(
	struct broker *b, struct request *r, enum request_kind kind, struct wire_event *e)
{
	switch (kind) {
	case REQUEST_GET:
		feed_reply(b, (struct get *)(void *)r, e);
		return;
	case REQUEST_DELETE:
		removal_reply(b, (struct removal *)(void *)r, e);
		return;
	case REQUEST_PUBLISH:
		npublish_reply(b, (struct pub *)(void *)r, e);
		return;
	case REQUEST_ASIDE:
		aside_reply(b, (struct aside *)(void *)r, e);
		return;
	case REQUEST_INFO:
		watch_reply(b, e);
		return;
	case REQUEST_ASK:
		ask_reply(b, (struct ask *)(void *)r, e);
		return;
	case REQUEST_PROBE:
		gates_probed(b, e);
		return;
	case REQUEST_HEARD:
		gates_heard(b, e);
		return;
	case REQUEST_MARCH:
		march_reply(b, r, e);
		return;
	case REQUEST_LOOK:
		look_reply(b, e);
		return;
	case REQUEST_NONE:
	case REQUEST_KINDS:
		break;
	}
	if (e)
		broker_message_unref(&e->m);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct broker *b = arg;
	enum request_kind kind;
	struct request *r;
	bool fast = b->timer_fast;

	(void)fd;
	(void)what;
	b->now_ms = clock_ms(CLOCK_MONOTONIC);
	set_timer(b, false);
	while ((r = request_due(b))) {
		kind = (enum request_kind)r->kind;
		if (kind == REQUEST_PUBLISH && npublish_again(b, (struct pub *)(void *)r))
			continue;
		request_end(b, r);
		answer(b, r, kind, NULL);
	}
	queue_tick(b);
	feed_tick(b);
	gates_tick(b);
	removal_pump(b);
	aside_tick(b);
	watch_tick(b);
	if (!fast) /* else more come, and they go by the thousand */
		wire_free_spent();
}

static void on_deferred(evutil_socket_t fd, short what, void *arg)
{
	struct broker *b = arg;

	(void)fd;
	(void)what;
	b->now_ms = clock_ms(CLOCK_MONOTONIC);
	npublish_run_results(b);
	reread_run_failed(b);
	queue_run_closed(b);
}

/* ---- events of the wire ---- */

static void session_over(struct broker *b)
{
	enum request_kind kind;
	struct request *r;

	if (b->state == BROKER_DOWN)
		return;
	b->state = BROKER_DOWN;
	while ((r = request_take(b, &kind)))
		answer(b, r, kind, NULL);
	queue_session_lost(b);
	b->ev->lost(b->arg);
}

static void session_begins(struct broker *b, const struct wire_event *e)
{
	if (b->ever)
		b->stats.reconnects++;
	b->ever = true;
	b->state = BROKER_CHECKED;
	b->max_payload = e->up.max_payload;
	b->created = e->up.created;
	look_begin(b, e->up.subjects);
	if (b->highest > e->up.last_seq)
		b->highest = e->up.last_seq;
	b->batches = e->up.batches;
	b->replicated = e->up.replicated;
	b->clustered = e->up.clustered;
	if (b->batches)
		log_info("the server answers a direct get with many messages",
			kv_str("stream", b->settings.stream));
	snprintf(b->server, sizeof(b->server), "%s", e->text);
	b->ev->connected(b->arg, e->up.created, e->up.last_seq, e->up.max_payload);
}

void broker_resume(struct broker *b, bool marks_valid)
{
	if (b->state == BROKER_DOWN)
		return;
	b->now_ms = clock_ms(CLOCK_MONOTONIC);
	b->state = BROKER_LIVE;
	b->removal_pause = b->march_pause = 0;
	if (!marks_valid)
		aside_drop_all(b);
	watch_begin(b);
	gates_begin(b); /* before anything is said about a queue */
	queue_resume_all(b, marks_valid);
	aside_tick(b);
}

bool broker_connected(const struct broker *b)
{
	return b->state == BROKER_LIVE;
}

bool denied_is(const struct denied *d, const char *subject)
{
	return d->whole ? strcmp(subject, d->subject) == 0
			: strncmp(subject, d->subject, strlen(d->subject)) == 0;
}

/* 'Permissions Violation for Publish to "subject"', as nats-server writes it: quoted as Go does.
 * The library keeps 255 bytes of it. */
static void denied_read(struct denied *d, const char *text)
{
	size_t n = 0;

	d->whole = false;
	for (; *text && !d->whole && n + 1 < sizeof(d->subject); text++) {
		if (*text == '\\' && text[1] != '\0')
			d->subject[n++] = *++text;
		else if (*text == '"')
			d->whole = true;
		else
			d->subject[n++] = *text;
	}
	d->subject[n] = '\0';
}

static void denied(struct broker *b, const char *text)
{
	const char *from = strchr(text, '"');
	char ours[SUBJECT_PREFIX_MAX + 8];
	struct denied d;

	snprintf(ours, sizeof(ours), "%s.send.", b->settings.prefix);
	if (from && strstr(text, "Publish")) {
		denied_read(&d, from + 1);
		npublish_denied(b, &d);
		aside_denied(b, &d);
		ask_denied(b, &d);
	}
	if (from && strncmp(from + 1, ours, strlen(ours)) == 0)
		log_some_errors(5, "the broker does not let this user publish messages of clients",
			kv_str("why", text));
	else
		log_some_errors(5,
			"the broker does not let this user do what the gateway needs: "
			"see PERMISSIONS in wsgate(7)",
			kv_str("why", text));
}

/*
 * A message of a batch (ADR-31), behind which more or the end comes: the request goes on. Trap: a
 * service may write that header itself; it counts only where a batch was asked for, and a server
 * that knows none answers with one message that lacks it.
 */
static bool part(struct broker *b, struct request *r, struct wire_event *e)
{
	struct get *g = (struct get *)(void *)r;

	if (!e->batched || e->m.seq == 0)
		return false;
	if (r->kind == REQUEST_GET && g->batch > 0) {
		feed_part(b, g, e);
	} else if (r->kind != REQUEST_MARCH || !march_part(b, r, e)) {
		return false;
	}
	return true;
}

static void reply(struct broker *b, struct wire_event *e)
{
	struct request *r = request_find(b, e->key);
	enum request_kind kind;

	if (!r || r->kind != REQUEST_ASK) /* a service answers that */
		watch_heard(b, e);
	if (!r) {
		broker_message_unref(&e->m);
		return;
	}
	if (part(b, r, e))
		return;
	kind = (enum request_kind)r->kind;
	/* The reply to a publish may be somebody else's: its handler ends the request. */
	if (kind != REQUEST_PUBLISH && kind != REQUEST_ASIDE)
		request_end(b, r);
	answer(b, r, kind, e);
}

static void fail_all(struct broker *b, enum request_kind kind)
{
	struct request *r, *last = TAILQ_LAST(&b->requests.waiting[kind], request_list);
	bool more = last;

	/* Those that are made meanwhile have an answer of their own to come. */
	while (more && (r = TAILQ_FIRST(&b->requests.waiting[kind]))) {
		more = r != last;
		request_end(b, r);
		answer(b, r, kind, NULL);
	}
}

/* Which one of them is not known: all are asked again, with the same Nats-Msg-Id where there is
 * one. There is no leader, perhaps. */
static void nobody_answers(struct broker *b, enum wire_replies replies)
{
	watch_soon(b);
	switch (replies) {
	case WIRE_GETS:
		/* Or a service wrote that into a message: then only that one is meant. */
		b->apart = b->now_ms + APART_MS;
		fail_all(b, REQUEST_GET); /* the others' ends make new ones */
		fail_all(b, REQUEST_LOOK);
		fail_all(b, REQUEST_MARCH);
		break;
	case WIRE_PUBLISHES:
		fail_all(b, REQUEST_PUBLISH);
		break;
	case WIRE_DELETES:
		removal_pause(b);
		fail_all(b, REQUEST_DELETE);
		break;
	case WIRE_OTHERS:
	case WIRE_REPLIES:
		break;
	}
}

void broker_new_leader(struct broker *b)
{
	log_info("the stream has a new leader: every queue is read again",
		kv_str("stream", b->settings.stream));
	b->term++;
	b->watch.leader[0] = '\0';
	queue_new_leader(b);
	queue_rescan_all(b);
}

static void on_event(void *arg, struct wire_event *e)
{
	struct broker *b = arg;
	struct broker_queue *q;

	b->now_ms = clock_ms(CLOCK_MONOTONIC);
	switch ((enum wire_kind)e->kind) {
	case WIRE_LIVE:
		q = queue_of(b, e->key);
		if (q && e->word)
			holders_hear(q, e);
		else if (q)
			feed_live(q, e);
		else
			broker_message_unref(&e->m);
		return;
	case WIRE_REPLY:
		reply(b, e);
		return;
	case WIRE_BEAT:
		gates_hear(b, e);
		return;
	case WIRE_UP:
		session_begins(b, e);
		break;
	case WIRE_DOWN:
		session_over(b);
		break;
	case WIRE_REFUSED:
		b->ev->refused(b->arg, e->text);
		break;
	case WIRE_DENIED:
		denied(b, e->text);
		break;
	case WIRE_NOBODY:
		nobody_answers(b, (enum wire_replies)e->key);
		break;
	case WIRE_OVERFLOW:
		log_some_warnings(1, "live copies were lost: every queue is read again",
			kv_str("stream", b->settings.stream));
		queue_rescan_all(b);
		break;
	case WIRE_CHANGED:
		/* What is to be removed must not be looked for in another stream. */
		b->removal_pause = b->now_ms + CHANGED_MS;
		watch_now(b);
		break;
	case WIRE_UPDATED:
		watch_now(b);
		break;
	case WIRE_ELECTED:
		broker_new_leader(b);
		watch_now(b);
		break;
	}
	wire_event_free(e);
}

/* ---- start, stop ---- */

static void broker_destroy(struct broker *b)
{
	enum request_kind kind;

	if (b->timer)
		event_free(b->timer);
	if (b->deferred)
		event_free(b->deferred);
	aside_drop_all(b);
	queue_free_all(b);
	for (struct request *r; (r = request_take(b, &kind));)
		if (kind == REQUEST_GET || kind == REQUEST_DELETE || kind == REQUEST_ASK)
			free(r);
	march_free(b);
	look_forget(b);
	npublish_free_all(b);
	request_free(&b->requests);
	gates_free(b);
	settings_free(&b->settings);
	free(b);
}

struct broker *broker_new(struct event_base *base, struct pace *pace, const struct config *c,
	size_t stream, const struct broker_events *ev, void *arg, uint64_t gateway)
{
	struct broker *b = calloc(1, sizeof(*b));
	int saved;

	if (!b)
		return NULL;
	b->base = base;
	b->stream = stream;
	b->ev = ev;
	b->arg = arg;
	b->now_ms = clock_ms(CLOCK_MONOTONIC);
	request_init(&b->requests);
	feed_init(b);
	TAILQ_INIT(&b->closed);
	TAILQ_INIT(&b->removals);
	TAILQ_INIT(&b->publishing);
	TAILQ_INIT(&b->published);
	TAILQ_INIT(&b->asides);
	if (!gates_init(b, gateway))
		goto fail;
	errno = ENOMEM;
	if (settings_copy(&b->settings, c, stream) < 0)
		goto fail;
	b->timer = event_new(base, -1, 0, on_timer, b);
	b->deferred = event_new(base, -1, 0, on_deferred, b);
	if (!b->timer || !b->deferred)
		goto fail;
	b->wire = wire_start(base, pace, c, stream, on_event, b);
	if (!b->wire)
		goto fail;
	set_timer(b, false);
	return b;
fail:
	saved = errno;
	broker_destroy(b);
	errno = saved;
	return NULL;
}

int broker_reconfigure(struct broker *b, const struct config *c)
{
	struct settings mine, carriers;
	bool elsewhere;

	if (settings_copy(&mine, c, b->stream) < 0)
		return -1;
	b->settings.grace = mine.grace;
	if (settings_equal(&mine, &b->settings)) {
		settings_free(&mine);
		return 0;
	}
	if (settings_copy(&carriers, c, b->stream) < 0) {
		settings_free(&mine);
		return -1;
	}
	elsewhere = !settings_same_broker(&mine, &b->settings);
	settings_free(&b->settings);
	b->settings = mine;
	wire_reconfigure(b->wire, &carriers, elsewhere);
	if (!elsewhere)
		return 0;
	b->now_ms = clock_ms(CLOCK_MONOTONIC);
	session_over(b); /* nothing goes to those of old from here on */
	return 0;
}

void broker_farewell(struct broker *b)
{
	if (!b)
		return;
	gates_farewell(b);
	wire_flush(b->wire);
}

void broker_quit(struct broker *b)
{
	if (b)
		wire_quit(b->wire);
}

bool broker_ended(struct broker *b, uint64_t until_ms)
{
	return !b || wire_ended(b->wire, until_ms);
}

void broker_free(struct broker *b)
{
	if (!b)
		return;
	wire_stop(b->wire);
	b->state = BROKER_DOWN;
	broker_destroy(b);
}

void broker_moving(struct broker *b)
{
	b->gates.moving = true;
	queue_settle_all(b); /* nobody waits any more for what others say */
}

void broker_said(struct broker *b, _Atomic uint64_t *said_ms)
{
	b->gates.said = said_ms;
}

bool broker_is_full(const struct broker *b)
{
	return b->state == BROKER_LIVE && wire_is_full(b->wire);
}

void broker_stats(const struct broker *b, struct broker_stats *out)
{
	*out = b->stats;
	out->rtt_us = wire_rtt(b->wire);
	out->gateways = b->gates.living;
}

void broker_server(const struct broker *b, char *out, size_t len)
{
	snprintf(out, len, "%s", b->server);
}
