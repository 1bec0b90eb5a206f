/*
 * auth: who a client is: by a token, which is checked here, or by the answer of a service, which
 * the bridge asks (UP_ASK, DOWN_ANSWER). A question is nobody's message: when a bridge is killed,
 * its successor is asked again.
 *
 * No token may reach a log: what is logged here are names, addresses and reasons of our own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wsgate/clock.h>
#include <wsgate/credential.h>
#include <wsgate/jwt.h>
#include <wsgate/log.h>
#include <wsgate/utf8.h>
#include <wsgate/vault.h>

#include "callout_cache.h"
#include "worker.h"

#define QUESTION_MAX 60000
#define RETRY_AFTER 5  /* seconds, when a service says 429 or 503 */
#define AGAIN_MAX 1024 /* a second: for as many of one service the bridge has room */

struct auth {
	const struct config *c;
	struct jwt_keys **keys; /* owned, one a section; NULL: it has none */
	size_t n;
	bool refresh;                /* some section has it */
	struct callout_cache *cache; /* owned */
};

/* ---- keys ---- */

static struct jwt_keys *auth_keys(
	const struct config_auth *rule, const struct vault *files, char *err, size_t errlen)
{
	struct jwt_keys *k = jwt_keys_new();
	char why[256] = "out of memory";
	bool good = k != NULL;

	for (size_t i = 0; good && i < rule->keys.n; i++) {
		const struct secret *f = files ? vault_find(files, rule->keys.v[i]) : NULL;

		if (!f)
			snprintf(why, sizeof(why), "%s did not come", rule->keys.v[i]);
		good = f && jwt_keys_add(k, f->data, f->len, why, sizeof(why)) == 0;
	}
	if (good)
		return k;
	snprintf(err, errlen, "auth \"%s\": keys: %s", rule->service, why);
	jwt_keys_free(k);
	return NULL;
}

struct auth *auth_new(const struct config *c, const struct vault *files, char *err, size_t errlen)
{
	struct auth *a = calloc(1, sizeof(*a));

	snprintf(err, errlen, "out of memory");
	if (!a)
		return NULL;
	a->c = c;
	a->n = c->nauth;
	a->keys = calloc(a->n + 1, sizeof(*a->keys));
	for (size_t i = 0; a->keys && i < a->n; i++) {
		a->refresh = a->refresh || c->auth[i].refresh;
		if (c->auth[i].type != AUTH_JWT)
			continue;
		a->keys[i] = auth_keys(&c->auth[i], files, err, errlen);
		if (!a->keys[i]) {
			auth_free(a);
			return NULL;
		}
	}
	if (a->keys)
		return a;
	auth_free(a);
	return NULL;
}

void auth_free(struct auth *a)
{
	if (!a)
		return;
	for (size_t i = 0; a->keys && i < a->n; i++)
		jwt_keys_free(a->keys[i]);
	free(a->keys);
	callout_cache_free(a->cache);
	free(a);
}

/* ---- answers ---- */

static const struct log_field *auth_who(const struct handshake_identity *who)
{
	static struct log_field f[3];

	f[0] = kv_mem("service", who->service, who->service_len);
	f[1] = kv_mem("user", who->user, who->user_len);
	f[2] = kv_end;
	return f;
}

/* RFC 6750 3: error NULL: there was no token at all. */
static bool auth_refuse(struct conn *c, unsigned status, const char *text, const char *error,
	const struct handshake_identity *who)
{
	char head[256];
	struct http_answer a = {status, text, head};

	if (error)
		snprintf(head, sizeof(head),
			"WWW-Authenticate: Bearer realm=\"wsgate\", error=\"%s\", "
			"error_description=\"%s\"\r\n",
			error, text);
	else
		snprintf(head, sizeof(head), "%s",
			status == 401 ? "WWW-Authenticate: Bearer realm=\"wsgate\"\r\n" : "");
	return upgrade_refuse(
		c, &a, status == 429 || status == 503 ? RETRY_AFTER : 0, auth_who(who));
}

static bool same(const char *a, size_t alen, const char *b, size_t blen)
{
	return alen == blen && memcmp(a, b, alen) == 0;
}

/* What is proven counts, and what the request says may only be the same. expires_s 0: never. */
static bool auth_proven(struct conn *c, struct handshake_identity *who, const char *user,
	size_t user_len, uint64_t expires_s)
{
	uint64_t now = clock_ms(CLOCK_REALTIME);

	if (who->user_len && !same(who->user, who->user_len, user, user_len))
		return auth_refuse(
			c, 403, "the request names another user than the credentials", NULL, who);
	memcpy(who->user, user, user_len);
	who->user_len = user_len;
	if (expires_s && expires_s * 1000 <= now)
		return auth_refuse(c, 401, "the credentials have expired", "invalid_token", who);
	c->expires_ms = expires_s ? c->w->now_ms + (expires_s * 1000 - now) : 0;
	return upgrade_route(c, who, auth_who(who));
}

/* ---- tokens ---- */

static enum jwt_verdict auth_check(const struct worker *w, const struct config_auth *rule,
	const char *service, size_t service_len, const char *token, struct jwt_said *said)
{
	const struct jwt_rules r = {.issuer = rule->issuer,
		.audience = (const char *const *)rule->audience.v,
		.naudience = rule->audience.n,
		.leeway_s = rule->leeway / 1000,
		.service_claim = rule->service_claim,
		.user_claim = rule->user_claim,
		.service = service,
		.service_len = service_len};

	return jwt_check(w->auth->keys[rule - w->c->auth], &r, token, strlen(token),
		clock_ms(CLOCK_REALTIME) / 1000, said);
}

static bool auth_verdict(struct conn *c, enum jwt_verdict v, const struct handshake_identity *who)
{
	bool elsewhere = v == JWT_NO_SERVICE || v == JWT_OTHER_SERVICE;

	return auth_refuse(c, elsewhere ? 403 : 401, jwt_verdict_text(v),
		elsewhere ? "insufficient_scope" : "invalid_token", who);
}

static bool auth_token(struct conn *c, const struct config_auth *rule,
	struct handshake_identity *who, const char *token)
{
	struct jwt_said said;
	enum jwt_verdict v = auth_check(c->w, rule, who->service, who->service_len, token, &said);

	if (v != JWT_GOOD)
		return auth_verdict(c, v, who);
	if (!said.service_len)
		return auth_refuse(c, 401,
			"no service is named: by the path, a cookie or the token", NULL, who);
	memcpy(who->service, said.service, said.service_len);
	who->service_len = said.service_len;
	/* Its own section did not judge it. */
	if (config_auth_of(c->w->c, who->service, who->service_len) != rule)
		return auth_refuse(c, 403,
			"this service has rules of its own: name it in the path or a cookie", NULL,
			who);
	return auth_proven(c, who, said.user, said.user_len, said.expires_s);
}

static bool auth_jwt(struct conn *c, const struct config_auth *rule, struct handshake_identity *who)
{
	const struct credential_rules r = {(const char *const *)rule->token.v, rule->token.n,
		rule->token_cookie, rule->token_query, rule->token_protocol};
	char token[JWT_TOKEN_MAX + 1], protocol[65];
	bool by_protocol, alive;

	switch (credential_find(c->hs, &r, token, sizeof(token), &by_protocol)) {
	case CREDENTIAL_NONE:
		return auth_refuse(c, 401, "no token", NULL, who);
	case CREDENTIAL_TWICE:
		return auth_refuse(c, 400, "two tokens that differ", "invalid_request", who);
	case CREDENTIAL_TOO_LONG:
		return auth_refuse(c, 401, "the token is too long", "invalid_token", who);
	case CREDENTIAL_FOUND:
		break;
	}
	/* RFC 6455 4.2.2: one that was offered. A browser ends a connection without it. */
	if (by_protocol && credential_protocol(c->hs, rule->token_protocol, protocol))
		handshake_choose(c->hs, protocol);
	alive = auth_token(c, rule, who, token);
	explicit_bzero(token, sizeof(token));
	return alive;
}

/* ---- a fresh token ---- */

static const char *auth_fresh(struct conn *c, const struct config_auth *rule, const char *token)
{
	struct identity id = place_identity(c);
	struct jwt_said said;
	enum jwt_verdict v = auth_check(c->w, rule, id.service, id.service_len, token, &said);
	uint64_t now = clock_ms(CLOCK_REALTIME);

	if (v != JWT_GOOD)
		return jwt_verdict_text(v);
	if (!same(said.user, said.user_len, id.user, id.user_len))
		return "the token names another user";
	c->expires_ms =
		said.expires_s
			? c->w->now_ms +
				  (said.expires_s * 1000 > now ? said.expires_s * 1000 - now : 0)
			: 0;
	conn_deadline(c, session_deadline(c));
	return NULL;
}

bool auth_refreshes(struct conn *c, const uint8_t *data, size_t len, bool *alive)
{
	const struct config_auth *rule;
	char token[JWT_TOKEN_MAX + 1], answer[256];
	struct identity id;
	const char *why;
	int n;

	*alive = true;
	if (!c->w->auth->refresh || len == 0 || data[0] != '{')
		return false;
	id = place_identity(c);
	rule = config_auth_of(c->w->c, id.service, id.service_len);
	if (!rule || !rule->refresh ||
		!credential_refresh((const char *)data, len, token, sizeof(token)))
		return false;
	if (c->state != CONN_OPEN)
		return true; /* it is ending */
	why = auth_fresh(c, rule, token);
	explicit_bzero(token, sizeof(token));
	log_debug(why ? "a fresh token was refused" : "a fresh token came",
		kv_str("why", why ? why : ""), kv_more(conn_who(c)));
	if (why)
		n = snprintf(answer, sizeof(answer),
			"{\"wsgate\":\"refresh\",\"ok\":false,\"error\":\"%s\"}", why);
	else
		n = snprintf(answer, sizeof(answer),
			"{\"wsgate\":\"refresh\",\"ok\":true,\"seconds\":%llu}",
			(unsigned long long)(c->expires_ms ? (c->expires_ms - c->w->now_ms) / 1000
							   : 0));
	*alive = session_reply(c, WS_TEXT, (const uint8_t *)answer, (size_t)n);
	return true;
}

/* ---- callouts: who waits ---- */

static void auth_line_up(struct conn *c)
{
	struct worker *w = c->w;

	c->wait_next = NULL;
	c->wait_prev = w->asking_last;
	if (w->asking_last)
		w->asking_last->wait_next = c;
	else
		w->asking_first = c;
	w->asking_last = c;
}

static void auth_step_out(struct conn *c)
{
	struct worker *w = c->w;

	if (c->wait_prev)
		c->wait_prev->wait_next = c->wait_next;
	else
		w->asking_first = c->wait_next;
	if (c->wait_next)
		c->wait_next->wait_prev = c->wait_prev;
	else
		w->asking_last = c->wait_prev;
	c->wait_prev = c->wait_next = NULL;
}

static void auth_wait(struct conn *c)
{
	auth_line_up(c);
	conn_set_state(c, CONN_AUTHORIZING);
}

/* It waits no more; the caller gives it another state. */
void auth_forget(struct conn *c)
{
	auth_step_out(c);
	conn_set_state(c, CONN_REQUEST);
}

/* ---- callouts: questions ---- */

/* Owned by the caller; NULL: no memory. */
static char *auth_question(
	const struct conn *c, const struct config_auth *rule, const struct handshake_identity *who)
{
	char text[ROUTE_ADDR_NAME], *address = text;
	struct callout_question q = {who->service, who->user, who->service_len, who->user_len, NULL,
		(const char *const *)rule->headers.v, rule->headers.n};

	/* Without the port, which is another each time. */
	route_addr_name(text, c->peer.addr, 0);
	address += *address == '[';
	address[strlen(address) - (address == text ? 2 : 3)] = '\0'; /* ":0", "]:0" */
	q.address = address;
	return callout_ask(c->hs, &q);
}

/* False: no room for it. */
static bool auth_ask(struct conn *c, const struct handshake_identity *who, const char *question)
{
	uint32_t bridge = link_bridge(c->w); /* read behind it this may be one that never had it */
	int stream = config_stream_of(c->w->c, who->service, who->service_len);

	/* Behind messages that wait for the broker nothing is given back: the beat asks. */
	if (stream >= 0 && !link_connected(c->w, (unsigned)stream)) {
		c->asked = 0;
		return true;
	}
	if (link_put_question(c, who->service, who->service_len, question) == LINK_FULL)
		return false;
	c->asked = bridge;
	return true;
}

static bool auth_said(struct conn *c, struct handshake_identity *who, const struct callout_said *s)
{
	if (s->allow)
		return s->user_len || who->user_len
			       ? auth_proven(c, who, s->user_len ? s->user : who->user,
					 s->user_len ? s->user_len : who->user_len, s->expires_s)
			       : auth_refuse(c, 502,
					 "the service that knows who may come in names no user",
					 NULL, who);
	return auth_refuse(c, s->status, s->reason[0] ? s->reason : "not allowed", NULL, who);
}

/* A question has text alone: one for other bytes would be the same as another user's. */
static bool auth_is_text(const struct handshake_identity *who)
{
	return utf8_valid((const uint8_t *)who->service, who->service_len) &&
	       utf8_valid((const uint8_t *)who->user, who->user_len);
}

/* A new answer may say that it goes on. */
static bool auth_holds(const struct callout_said *s)
{
	return !s->allow || !s->expires_s || s->expires_s * 1000 > clock_ms(CLOCK_REALTIME);
}

static bool auth_callout(
	struct conn *c, const struct config_auth *rule, struct handshake_identity *who)
{
	struct worker *w = c->w;
	const struct callout_said *known;
	uint64_t due = w->now_ms + rule->timeout;
	char *question;
	bool asked, alive;

	if (!who->service_len)
		return auth_refuse(
			c, 401, "no service is named: by the path or a cookie", NULL, who);
	if (!auth_is_text(who))
		return auth_refuse(c, 400, "service and user must be UTF-8 here", NULL, who);
	if (upgrade_bars(c, who, auth_who(who), &alive))
		return alive;
	question = auth_question(c, rule, who);
	if (!question)
		return upgrade_unavailable(c, "out of memory", auth_who(who));
	known = callout_cache_find(w->auth->cache, question, w->now_ms);
	if (known && auth_holds(known)) {
		free(question);
		return auth_said(c, who, known);
	}
	if (strlen(question) > QUESTION_MAX) {
		free(question);
		return auth_refuse(c, 431, "too much to ask a service about", NULL, who);
	}
	asked = auth_ask(c, who, question);
	free(question);
	if (!asked)
		return upgrade_unavailable(c, "the gateway is busy", auth_who(who));
	auth_wait(c);
	if (due < c->timer.at_ms)
		conn_deadline(c, due);
	return true;
}

bool auth_begin(
	struct conn *c, const struct config_auth *rule, const struct handshake_identity *named)
{
	struct handshake_identity who = *named;

	if (!rule)
		return auth_refuse(c, 403, "nobody is let in to this service", NULL, &who);
	return rule->type == AUTH_JWT ? auth_jwt(c, rule, &who) : auth_callout(c, rule, &who);
}

/* ---- callouts: answers ---- */

static struct conn *auth_find(struct worker *w, uint64_t stamp)
{
	struct conn *c = w->asking_first;

	while (c && c->flush_stamp != stamp)
		c = c->wait_next;
	return c;
}

static bool auth_read(struct conn *c, struct handshake_identity *who,
	const struct config_auth *rule, const struct down_view *v)
{
	const char *why = v->n->code == DOWN_NOBODY ? "no service says who may come in"
			  : v->n->code == DOWN_NOT_ALLOWED
				  ? "the broker does not let us ask who may come in"
				  : "the service that knows who may come in answers nonsense";
	struct callout_said said;
	char *question;

	if (v->n->code != DOWN_ANSWERED || !callout_parse(v->reason, v->n->reason_len, &said)) {
		log_some_warnings(5, "a callout has no good answer", kv_str("why", why),
			kv_mem("service", who->service, who->service_len));
		return auth_refuse(c, 502, why, NULL, who);
	}
	question = said.cache_s ? auth_question(c, rule, who) : NULL;
	if (question)
		callout_cache_keep(&c->w->auth->cache, question, &said, c->w->now_ms);
	free(question);
	return auth_said(c, who, &said);
}

/* NULL: by now no service is to be asked about it. */
static const struct config_auth *auth_rule(const struct conn *c, struct handshake_identity *who)
{
	const struct config_auth *rule =
		upgrade_named(c, who).status || !who->service_len || !auth_is_text(who)
			? NULL
			: config_auth_of(c->w->c, who->service, who->service_len);

	return rule && rule->type == AUTH_CALLOUT ? rule : NULL;
}

static void auth_without_rule(struct conn *c)
{
	auth_forget(c);
	(void)!upgrade_unavailable(c, "the rules have changed", NULL);
}

void auth_answered(struct worker *w, const struct down_view *v)
{
	struct conn *c =
		v->n->ref.generation >> 32 == w->h->generation ? auth_find(w, v->n->seq) : NULL;
	const struct config_auth *rule;
	struct handshake_identity who;

	if (!c)
		return; /* its time is over */
	if (v->n->code == DOWN_NOT_NOW) {
		c->asked = 0;
		return;
	}
	rule = auth_rule(c, &who);
	if (!rule) {
		auth_without_rule(c);
		return;
	}
	auth_forget(c);
	(void)!auth_read(c, &who, rule, v);
}

static void auth_ask_again(struct conn *c)
{
	struct handshake_identity who;
	const struct config_auth *rule = auth_rule(c, &who);
	char *question;

	if (!rule) {
		auth_without_rule(c);
		return;
	}
	auth_step_out(c);
	auth_line_up(c); /* the next time it is the turn of others */
	question = auth_question(c, rule, &who);
	if (question)
		(void)auth_ask(c, &who, question); /* no room: with another beat */
	free(question);
}

void auth_beat(struct worker *w)
{
	struct conn *c = w->asking_first, *last = w->asking_last, *next;
	uint32_t bridge = link_bridge(w);
	unsigned again = 0;

	for (; c; c = next) {
		next = c == last ? NULL : c->wait_next;
		if (c->asked != bridge && (c->asked || again++ < AGAIN_MAX))
			auth_ask_again(c);
	}
}

/* The answers to what was asked by the old rules find nobody. */
void auth_renew(struct worker *w)
{
	for (struct conn *c = w->asking_first; c; c = c->wait_next) {
		c->asked = 0;
		c->flush_stamp = 0;
	}
}

void auth_give_up(struct worker *w)
{
	while (w->asking_first) {
		struct conn *c = w->asking_first;

		auth_forget(c);
		(void)!upgrade_drained(c, NULL);
	}
}
