/*
 * hookup: makes a session: two connections, the stream checked, the reply subjects subscribed; and
 * what nats.c's own threads bring from it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "carrier_parts.h"
#include "headers.h"
#include "stored.h"
#include "stream.h"

#define CONNECT_TIMEOUT_MS 2000
#define WRITE_TIMEOUT_MS 5000
#define PING_MS 5000 /* a peer that is silent for three of these is gone */
#define REFUSED_MS 5000
#define ANEW_MS 2000
#define LEVEL_BATCHES 1 /* of the API: nats-server 2.11 (ADR-31, ADR-44) */

/* ---- nats.c's threads ---- */

static unsigned wire_of(const void *closure)
{
	return (unsigned)((uint64_t)(uintptr_t)closure >> WIRE_KEY_BITS);
}

static void on_error(natsConnection *nc, natsSubscription *sub, natsStatus err, void *closure)
{
	/* nats.c 3.4 sets its thread's last error to the server's text around this call; that of
	 * the connection may be a later one's. */
	const char *text = nats_GetLastError(NULL);
	struct wire_event *e;

	(void)nc;
	(void)sub;
	if (err == NATS_NOT_PERMITTED && text)
		e = wire_event_new(wire_of(closure), WIRE_DENIED, text);
	else if (err == NATS_SLOW_CONSUMER)
		e = wire_event_new(wire_of(closure), WIRE_OVERFLOW, NULL);
	else
		return;
	if (e)
		wire_post(e);
}

/* Of the last tokens, "LETTER.TOKEN". */
static bool is_get(const natsMsg *msg)
{
	const char *subject = natsMsg_GetSubject(msg), *token = strrchr(subject, '.');

	return token && token > subject && token[-1] == WIRE_LETTERS[WIRE_GETS];
}

struct wire_event *hookup_message(unsigned wire, enum wire_kind kind, natsMsg *msg, uint64_t key)
{
	struct wire_event *e = wire_event_new(wire, kind, NULL);

	if (!e) {
		natsMsg_Destroy(msg);
		return NULL;
	}
	e->msg = msg;
	e->key = key;
	e->m.data = (const uint8_t *)natsMsg_GetData(msg);
	e->m.len = (size_t)natsMsg_GetDataLength(msg);
	headers_read(msg, e);
	if (kind == WIRE_REPLY && e->m.seq == 0 && e->status == 0 && e->m.len > 0 && is_get(msg))
		stored_read(e);
	return e;
}

static void post_message(const void *closure, enum wire_kind kind, natsMsg *msg, uint64_t key)
{
	struct wire_event *e = hookup_message(wire_of(closure), kind, msg, key);

	if (e)
		wire_post(e);
}

uint64_t hookup_token(const natsMsg *msg)
{
	const char *token = strrchr(natsMsg_GetSubject(msg), '.');

	return token ? strtoull(token + 1, NULL, 16) : 0;
}

void hookup_on_live(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
	(void)nc;
	(void)sub;
	post_message(closure, WIRE_LIVE, msg,
		(uint64_t)(uintptr_t)closure & ((UINT64_C(1) << WIRE_KEY_BITS) - 1));
}

static void on_beat(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
	(void)nc;
	(void)sub;
	post_message(closure, WIRE_BEAT, msg, 0);
}

static void on_reply(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
	(void)nc;
	(void)sub;
	post_message(closure, WIRE_REPLY, msg, hookup_token(msg));
}

/* $JS.EVENT.ADVISORY.STREAM.<what>.<stream> */
static void on_advisory(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
	const char *subject = natsMsg_GetSubject(msg);
	struct wire_event *e = NULL;

	if (strstr(subject, ".LEADER_ELECTED."))
		e = wire_event_new(wire_of(closure), WIRE_ELECTED, NULL);
	else if (strstr(subject, ".CREATED.") || strstr(subject, ".DELETED."))
		e = wire_event_new(wire_of(closure), WIRE_CHANGED, NULL);
	else if (strstr(subject, ".UPDATED."))
		e = wire_event_new(wire_of(closure), WIRE_UPDATED, NULL);

	(void)nc;
	(void)sub;
	natsMsg_Destroy(msg);
	if (e)
		wire_post(e);
}

/* ---- making a session ---- */

static natsStatus make_options(struct carrier *k, natsOptions *o, const char *name, void *closure)
{
	natsStatus s = settings_apply(&k->settings, o);

	if (s == NATS_OK)
		s = natsOptions_SetName(o, name);
	if (s == NATS_OK)
		s = natsOptions_SetTimeout(o, CONNECT_TIMEOUT_MS);
	if (s == NATS_OK)
		s = natsOptions_SetWriteDeadline(o, WRITE_TIMEOUT_MS);
	if (s == NATS_OK)
		s = natsOptions_SetPingInterval(o, PING_MS);
	if (s == NATS_OK)
		s = natsOptions_SetMaxPingsOut(o, 2);
	if (s == NATS_OK)
		s = natsOptions_SetIOBufSize(o, 64 * 1024);
	if (s == NATS_OK)
		s = natsOptions_SetAllowReconnect(o, false);
	if (s == NATS_OK)
		s = natsOptions_UseGlobalMessageDelivery(o, true);
	/* What gateways say to each other is not for the one that says it. Trap: the order of
	 * beats and words (gates.c) needs a delivery pool of one thread, nats.c's default. */
	if (s == NATS_OK)
		s = natsOptions_SetNoEcho(o, true);
	if (s == NATS_OK)
		s = natsOptions_SetErrorHandler(o, on_error, hookup_closure(k, 0));
	if (s == NATS_OK)
		s = natsOptions_SetClosedCB(o, carrier_on_closed, closure);
	return s;
}

static natsStatus connect_one(struct carrier *k, int which, uint64_t attempt)
{
	natsOptions *o = NULL;
	natsStatus s = natsOptions_Create(&o);

	if (s == NATS_OK)
		s = make_options(k, o, which == MAIN ? "wsgate" : "wsgate removals",
			(void *)(uintptr_t)attempt);
	if (s == NATS_OK && k->direct)
		s = engine_use(k->engine, (unsigned)which, o);
	if (s == NATS_OK)
		s = login_connect(&k->nc[which], o);
	if (s != NATS_OK && k->direct)
		engine_release(k->engine, (unsigned)which);
	natsOptions_Destroy(o);
	return s;
}

/*
 * In a direct session the loop takes replies itself, instead of being told by a thread of nats.c's.
 * That tells it of no token when nobody was there to answer (NextMsg keeps such a message), which
 * the few other requests need.
 */
static natsStatus subscribe_replies(struct carrier *k, enum wire_replies r)
{
	natsConnection *nc = k->nc[reply_connection(r)];
	char subject[WIRE_INBOX_MAX];
	natsStatus s;

	snprintf(subject, sizeof(subject), "%s.%c.*", k->inbox, WIRE_LETTERS[r]);
	if (k->direct && r != WIRE_OTHERS)
		s = natsConnection_SubscribeSync(&k->replies[r], nc, subject);
	else
		s = natsConnection_Subscribe(
			&k->replies[r], nc, subject, on_reply, hookup_closure(k, 0));
	if (s == NATS_OK)
		s = natsSubscription_SetPendingLimits(k->replies[r], -1, -1);
	return s;
}

static natsStatus subscribe_advisories(struct carrier *k)
{
	char subject[320];

	snprintf(subject, sizeof(subject), "$JS.EVENT.ADVISORY.STREAM.*.%s", k->settings.stream);
	return natsConnection_Subscribe(
		&k->advisories, k->nc[MAIN], subject, on_advisory, hookup_closure(k, 0));
}

static natsStatus subscribe_beats(struct carrier *k)
{
	return natsConnection_Subscribe(
		&k->beats, k->nc[MAIN], k->settings.beat, on_beat, hookup_closure(k, 0));
}

static void learn_servers(struct carrier *k)
{
	char **servers = NULL;
	int n = 0;

	if (natsConnection_GetDiscoveredServers(k->nc[MAIN], &servers, &n) != NATS_OK)
		return;
	for (int i = 0; i < n; i++) {
		settings_add_server(&k->settings, servers[i]);
		free(servers[i]);
	}
	free(servers);
}

static void say_failure(struct carrier *k, const char *what, const char *why)
{
	char url[256];

	settings_redact(k->settings.nservers > 0 ? k->settings.servers[0] : "", url, sizeof(url));
	log_some_errors(1, what, kv_str("stream", k->settings.stream), kv_str("url", url),
		kv_str("why", why));
}

/* OpenSSL's word, for one, is in nats.c's text alone. */
static void say_status(struct carrier *k, natsStatus s)
{
	const char *text = nats_GetLastError(NULL), *name = natsStatus_GetText(s);
	char why[400], *after = text && text[0] == '(' ? strstr(text, "): ") : NULL;

	text = after ? after + 3 : text; /* "(conn.c:1905): " */
	if (text && text[0] != '\0' && strcmp(text, name) != 0)
		snprintf(why, sizeof(why), "%s: %s", name, text);
	else
		snprintf(why, sizeof(why), "%s", name);
	say_failure(k, "cannot connect to the broker", why);
}

/* What failed before was said; the next failure is another one. */
void hookup_news(void)
{
	log_again("cannot connect to the broker");
	log_again("the broker is not ready");
}

static bool post_up(struct carrier *k, const struct stream_state *st)
{
	int64_t max = natsConnection_GetMaxPayload(k->nc[MAIN]);
	char url[512] = "", server[256];
	struct wire_event *e;

	(void)natsConnection_GetConnectedUrl(k->nc[MAIN], url, sizeof(url));
	settings_redact(url, server, sizeof(server));
	e = wire_event_new(k->wire, WIRE_UP, server);
	k->down = wire_event_new(k->wire, WIRE_DOWN, NULL);
	if (!e || !k->down) {
		free(e);
		free(k->down);
		k->down = NULL;
		return false;
	}
	e->up.created = st->created;
	e->up.last_seq = st->last;
	e->up.subjects = st->subjects;
	e->up.max_payload = max > 0 ? (size_t)max : 0;
	e->up.era = k->era;
	e->up.direct = k->direct;
	e->up.replicated = st->replicated;
	e->up.clustered = st->clustered;
	e->up.batches = st->level >= LEVEL_BATCHES && !st->replicated;
	/* The loop counts the sessions by these events. */
	k->session++;
	wire_post(e);
	return true;
}

static void post_text(const struct carrier *k, enum wire_kind kind, const char *text)
{
	struct wire_event *e = wire_event_new(k->wire, kind, text);

	if (e)
		wire_post(e);
}

/*
 * False: not yet; *wait says how long until the next try.
 *
 * Trap: a stream that is deleted is "not found" already while the server still removes its files.
 * One that is made then may lose them with the old ones': it stores, and finds nothing again
 * (2.9.10, tried).
 */
static bool check_stream(struct carrier *k, struct stream_state *st, unsigned *wait)
{
	switch (stream_check(k->nc[MAIN], &k->settings, k->known_stream == 0, st)) {
	case STREAM_MISSING:
		log_info("the stream was deleted: it is made again in a moment",
			kv_str("stream", k->settings.stream));
		k->known_stream = 0;
		*wait = ANEW_MS;
		return false;
	case STREAM_OK:
		if (st->created != k->known_stream)
			stream_warn_consumers(k->nc[MAIN], &k->settings);
		k->known_stream = st->created;
		return true;
	case STREAM_REFUSED:
		post_text(k, WIRE_REFUSED, st->text);
		*wait = REFUSED_MS;
		return false;
	default:
		say_failure(k, "the broker is not ready", st->text);
		return false;
	}
}

void hookup_check_again(struct carrier *k)
{
	struct stream_state st;

	learn_servers(k);
	if (stream_check(k->nc[MAIN], &k->settings, false, &st) != STREAM_OK)
		say_failure(
			k, "the stream cannot be brought up to date: it stays as it is", st.text);
	else if (st.replicated != k->by_leader)
		carrier_break(k); /* the next session asks in the other way */
}

/*
 * Direct gets are answered by any replica, first of all by that of the server that we are connected
 * to. One that lags is reckoned with (feed.c); but one whose server was killed may come back with
 * holes, and keep them (2.9.10, tried): a message that it lacks would be passed over, and removed
 * as confirmed. So where there are several, the leader is asked, at three times the cost.
 */
static void choose_gets(struct carrier *k, const struct stream_state *st)
{
	k->by_leader = st->replicated;
	snprintf(k->get_subject, sizeof(k->get_subject), "$JS.API.%s.GET.%s",
		k->by_leader ? "STREAM.MSG" : "DIRECT", k->settings.stream);
}

bool hookup_open(struct carrier *k, unsigned *wait)
{
	uint64_t attempt = carrier_new_attempt(k);
	struct stream_state st;
	natsStatus s;

	k->direct = !settings_tls(&k->settings);
	s = connect_one(k, MAIN, attempt);
	if (s == NATS_OK && !check_stream(k, &st, wait))
		return false;
	if (s == NATS_OK) {
		choose_gets(k, &st);
		s = connect_one(k, REMOVAL, attempt);
	}
	if (s == NATS_OK)
		s = subscribe_advisories(k);
	if (s == NATS_OK)
		s = subscribe_beats(k);
	for (int r = 0; r < WIRE_REPLIES && s == NATS_OK; r++)
		s = subscribe_replies(k, (enum wire_replies)r);
	for (int i = 0; i < NCONN && s == NATS_OK; i++)
		s = natsConnection_FlushTimeout(k->nc[i], CONNECT_TIMEOUT_MS);
	if (s != NATS_OK) {
		say_status(k, s);
		return false;
	}
	if (k->direct)
		errand_measure(k);
	learn_servers(k);
	hookup_news();
	return post_up(k, &st);
}

void hookup_close(struct carrier *k)
{
	atomic_store(&k->rtt_us, 0);
	/* First, so that no subscription has to be taken back one by one. */
	for (int i = 0; i < NCONN; i++) {
		if (k->direct)
			engine_release(k->engine, (unsigned)i);
		natsConnection_Close(k->nc[i]);
	}
	for (size_t i = 0; i < k->nsubs; i++)
		natsSubscription_Destroy(k->subs[i].sub);
	free(k->subs);
	k->subs = NULL;
	k->nsubs = 0;
	natsSubscription_Destroy(k->advisories);
	k->advisories = NULL;
	natsSubscription_Destroy(k->beats);
	k->beats = NULL;
	for (int r = 0; r < WIRE_REPLIES; r++) {
		natsSubscription_Destroy(k->replies[r]);
		k->replies[r] = NULL;
	}
	for (int i = 0; i < NCONN; i++) {
		natsConnection_Destroy(k->nc[i]);
		k->nc[i] = NULL;
	}
}
