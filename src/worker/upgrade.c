#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <wsgate/clock.h>
#include <wsgate/credential.h>
#include <wsgate/log.h>

#include "follow.h"
#include "pack.h"
#include "tally.h"
#include "tls.h"
#include "worker.h"

#define RETRY_AFTER                                                                                \
	5 /* seconds; what a 503 asks for, plus up to as much again so that they do not all come   \
	     at once */

unsigned upgrade_retry_after(const struct worker *w)
{
	return RETRY_AFTER +
	       (unsigned)((w->now_ms ^ w->route_count * 2654435761u) % (RETRY_AFTER + 1));
}

bool upgrade_refuse(struct conn *c, const struct http_answer *a, unsigned retry_after,
	const struct log_field *more)
{
	char out[1024];
	size_t n = handshake_refuse(a, retry_after, out, sizeof(out));

	if (c->hs && strcmp(handshake_method(c->hs), "HEAD") == 0)
		n -= strlen(a->text) + 1; /* RFC 9110, 9.3.2 */

	/* The 101 that came with it from another worker is not to go out before the refusal. */
	if (c->state == CONN_OPENING && !c->hs)
		c->out.off = c->out.len = 0;

	if (!c->admin) {
		tally_refused(c->w, a->status);
		log_some_infos(20, "handshake refused", kv_uint("status", a->status),
			kv_str("why", a->text), kv_more(more), kv_more(conn_who(c)));
	}
	if (!conn_send(c, out, n))
		return false;
	conn_shut(c, CONN_REFUSED);
	return true;
}

bool upgrade_answer(struct conn *c, const struct http_answer *a, unsigned retry_after)
{
	return upgrade_refuse(c, a, retry_after, NULL);
}

bool upgrade_unavailable(struct conn *c, const char *text, const struct log_field *who)
{
	struct http_answer a = {503, text, ""};

	return upgrade_refuse(c, &a, upgrade_retry_after(c->w), who);
}

size_t upgrade_answer_text(const struct conn *c, char out[UPGRADE_ANSWER_MAX])
{
	return handshake_accept(c->hs, handshake_chosen(c->hs), out, UPGRADE_ANSWER_MAX);
}

/* Without a request it came from another worker, and the answer lies in c->out, as text. */
static bool upgrade_accept(struct conn *c)
{
	char out[UPGRADE_ANSWER_MAX];
	struct outbuf came = c->out;
	size_t n = c->hs ? upgrade_answer_text(c, out) : came.len - came.off;
	bool alive;

	memset(&c->out, 0, sizeof(c->out));
	c->counted = 1;
	tally_opened(c); /* first: who has the answer may look at once */
	alive = n && conn_send(c, c->hs ? out : (char *)came.buf + came.off, n);
	free(came.buf);
	if (!alive)
		return false;
	pace_count(&c->w->pace, 1);
	handshake_free(c->hs);
	c->hs = NULL;
	if (c->begun_us)
		hist_add(&c->w->slot->stats.handshake, clock_us(CLOCK_MONOTONIC) - c->begun_us, 1);
	c->ping_mark = 0;
	life_begin(c);
	conn_set_state(c, CONN_OPEN);
	conn_deadline(c, session_deadline(c));
	log_debug("connection opened", kv_more(conn_who(c)), kv_more(tls_who(c)));
	tls_opened(c);
	return true;
}

static bool upgrade_too_many(struct conn *c, const struct log_field *named)
{
	stat_add(c->w->slot->stats.limited_total, 1);
	return upgrade_unavailable(c, "too many connections", named);
}

/* The bridge knows the route: now the client may, if there is still room: many may have found the
 * last place at once. Who came from another worker has his. */
void upgrade_opened(struct conn *c)
{
	if (c->hs && worker_family_connections(c->w) >= c->w->c->max_connections) {
		if (upgrade_too_many(c, NULL))
			place_end(c);
		return;
	}
	if (upgrade_accept(c))
		(void)!conn_resume(c);
}

static const struct http_answer no_stream = {404, "there is no such service", ""};

void upgrade_refused(struct conn *c, unsigned status)
{
	static const struct http_answer many = {429, "too many connections of this user", ""};

	if (status == no_stream.status) {
		if (upgrade_answer(c, &no_stream, 0))
			place_end(c);
		return;
	}
	stat_add(c->w->slot->stats.limited_user, 1);
	if (upgrade_answer(c, &many, upgrade_retry_after(c->w)))
		place_end(c);
}

bool upgrade_timeout(struct conn *c)
{
	static const struct http_answer silent = {
		504, "the service that knows who may come in did not answer in time", ""};
	static const struct http_answer late = {408, "the request did not come in time", ""};

	if (c->state == CONN_AUTHORIZING) {
		auth_forget(c);
		return upgrade_answer(c, &silent, 0);
	}
	if (c->state != CONN_OPENING)
		return upgrade_answer(c, &late, 0);
	if (!upgrade_unavailable(c, "the gateway could not open the route in time", NULL))
		return false;
	place_end(c);
	return true;
}

/* RFC 6455 4.2.2: one that was offered, or none. */
static void upgrade_protocol(struct conn *c, const struct handshake_identity *who)
{
	const struct config_service *s = config_service_of(c->w->c, who->service, who->service_len);
	const char *chosen;

	if (!s || !s->protocols.n)
		return; /* a token among them may have chosen */
	chosen = credential_subprotocol(c->hs, (const char *const *)s->protocols.v, s->protocols.n);
	handshake_choose(c->hs, chosen ? chosen : "");
}

bool upgrade_drained(struct conn *c, const struct log_field *named)
{
	const struct worker *w = c->w;

	return upgrade_unavailable(c,
		w->ends       ? "this gateway is stopping"
		: w->draining ? "this gateway is drained: it takes no connections for now"
			      : "this gateway is being replaced",
		named);
}

/* It has no service and no place, and is a connection like others. */
static bool upgrade_echo(struct conn *c, const struct log_field *path)
{
	if (c->w->draining)
		return upgrade_drained(c, path);
	if (worker_family_connections(c->w) >= c->w->c->max_connections)
		return upgrade_too_many(c, path);
	c->echo = 1;
	return upgrade_accept(c);
}

/* What it reads another process writes: who is let through here may be barred at the next call, and
 * the other way round. */
bool upgrade_bars(struct conn *c, const struct handshake_identity *who,
	const struct log_field *named, bool *alive)
{
	const struct worker *w = c->w;
	int stream = config_stream_of(w->c, who->service, who->service_len);

	if (w->draining) {
		*alive = upgrade_drained(c, named);
		return true;
	}
	if (stream < 0) {
		*alive = upgrade_refuse(c, &no_stream, 0, named);
		return true;
	}
	switch (link_broker(w, (unsigned)stream)) {
	case LINK_BROKER_STARTING:
		*alive = upgrade_unavailable(c, "no contact with the broker yet", named);
		return true;
	case LINK_BROKER_AWAY:
		*alive = upgrade_unavailable(c, "the broker has been away for too long", named);
		return true;
	case LINK_BROKER_READY:
		break;
	}
	return false;
}

bool upgrade_route(
	struct conn *c, const struct handshake_identity *who, const struct log_field *named)
{
	struct worker *w = c->w;
	struct identity id = {who->service, who->user, who->service_len, who->user_len};
	bool alive;

	if (upgrade_bars(c, who, named, &alive))
		return alive;
	if (worker_family_connections(w) >= w->c->max_connections || !place_open(c, &id))
		return upgrade_too_many(c, named);
	upgrade_protocol(c, who);
	follow_begin(c);
	conn_set_state(c, CONN_OPENING);
	/* The client is through in time, if not by much; what is missing now is ours. */
	conn_deadline(c, w->now_ms + w->c->handshake_timeout);
	return true;
}

/* One without a name, or with one that nobody can have, names nobody. */
static void upgrade_certificate(
	const struct conn *c, struct identity_rules *rules, char name[TOKEN_MAX + 1])
{
	int n = tls_user(c, name, TOKEN_MAX + 1);

	if (n > 0) {
		rules->cert_user = name;
		rules->cert_user_len = (size_t)n;
	} else if (n < 0) {
		log_some_infos(5, "the certificate of a client names no user that there can be",
			kv_more(conn_who(c)));
	}
}

static struct identity_rules upgrade_rules(const struct config *cf)
{
	struct identity_rules rules = {.service_cookie = cf->identity.service_cookie,
		.user_cookie = cf->identity.user_cookie};

	for (size_t i = 0; i < cf->identity.sources.n; i++) {
		rules.path |= strcmp(cf->identity.sources.v[i], "path") == 0;
		rules.cookie |= strcmp(cf->identity.sources.v[i], "cookie") == 0;
		rules.cert |= strcmp(cf->identity.sources.v[i], "cert") == 0;
	}
	return rules;
}

struct http_answer upgrade_named(const struct conn *c, struct handshake_identity *who)
{
	struct identity_rules rules = upgrade_rules(c->w->c);

	return handshake_named(c->hs, &rules, who);
}

/* *rule: the section that judges its credentials; *proven: it needs some. */
static struct http_answer upgrade_identify(const struct conn *c, struct handshake_identity *who,
	const struct config_auth **rule, bool *proven)
{
	const struct config *cf = c->w->c;
	struct identity_rules rules = upgrade_rules(cf);
	struct http_answer a = handshake_named(c->hs, &rules, who);
	char cert[TOKEN_MAX + 1];

	*rule = config_auth_of(cf, who->service, who->service_len);
	*proven = *rule ? (*rule)->type != AUTH_NONE : cf->nauth > 0 && who->service_len > 0;
	if (a.status || *proven)
		return a;
	if (rules.cert)
		upgrade_certificate(c, &rules, cert);
	a = handshake_identify(c->hs, &rules, who);
	/* Nobody comes to a service that another section, or none, has judged. */
	if (!a.status && config_auth_of(cf, who->service, who->service_len) != *rule)
		return (struct http_answer){403, "this service has rules of its own", ""};
	return a;
}

static bool upgrade_request(struct conn *c)
{
	const struct config *cf = c->w->c;
	const struct config_auth *rule = NULL;
	struct handshake_identity who = {.service_len = 0};
	struct http_answer a, bad;
	const char *from = handshake_header(c->hs, "Origin");
	struct log_field named[4] = {kv_end, kv_end, kv_end, kv_end};
	const struct log_field path[] = {kv_str("path", handshake_path(c->hs)), kv_end};
	bool echo = cf->echo_path[0] && strcmp(handshake_path(c->hs), cf->echo_path) == 0,
	     proven = false;

	a = echo ? (struct http_answer){0, "", ""} : upgrade_identify(c, &who, &rule, &proven);
	if (a.status && a.status != 401)
		return upgrade_refuse(c, &a, 0, path);
	bad = handshake_check(c->hs);
	if (bad.status || a.status)
		return upgrade_refuse(c, bad.status ? &bad : &a, 0, path);
	pack_agree(c);
	a = handshake_origin(c->hs, (const char *const *)cf->origin.allow.v, cf->origin.allow.n,
		c->ssl ? 1 : -1); /* what a proxy before us speaks is not known */
	if (!a.status && echo)
		return upgrade_echo(c, path);
	named[0] = kv_mem("service", who.service, who.service_len);
	named[1] = kv_mem("user", who.user, who.user_len);
	if (!a.status)
		return proven ? auth_begin(c, rule, &who) : upgrade_route(c, &who, named);
	named[2] = kv_str("origin", from);
	return upgrade_refuse(c, &a, 0, echo ? named + 2 : named);
}

bool upgrade_feed(struct conn *c, const uint8_t *buf, size_t len, size_t *used)
{
	struct http_answer a;

	switch (handshake_feed(c->hs, (const char *)buf, len, used)) {
	case HANDSHAKE_MORE:
		*used = len;
		return true;
	case HANDSHAKE_DONE:
		if (c->admin)
			return admin_request(c);
		pace_count(&c->w->pace, 1);
		a = peer_request(c);
		if (a.status)
			return upgrade_answer(
				c, &a, a.status == 400 ? 0 : upgrade_retry_after(c->w));
		return upgrade_request(c);
	case HANDSHAKE_FAILED:
		break;
	}
	*used = len;
	a = handshake_answer(c->hs);
	return upgrade_answer(c, &a, 0);
}
