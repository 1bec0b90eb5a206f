/*
 * The first byte says how the rest is cut. One piece, pieces and single bytes must give the same
 * state, the same end of the request and the same answers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wsgate/credential.h>
#include <wsgate/handshake.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
	enum handshake_state state;
	size_t used;
	char said[8192];
};

static void check(int truth)
{
	if (!truth)
		abort();
}

static size_t say(struct outcome *o, size_t at, const char *s)
{
	int n = snprintf(o->said + at, sizeof(o->said) - at, "%s\n", s);

	check(n >= 0);
	return at + (size_t)n < sizeof(o->said) ? at + (size_t)n : sizeof(o->said) - 1;
}

static void each(const char *value, void *arg)
{
	*(size_t *)arg += strlen(value) + 1;
}

static size_t say_answer(struct outcome *o, size_t at, const struct http_answer *a)
{
	char out[1024];
	size_t n;

	if (a->status) {
		check(a->status >= 400 && a->text[0] != '\0');
		n = handshake_refuse(a, 7, out, sizeof(out));
		check(n > 0 && n == strlen(out));
	}
	snprintf(out, sizeof(out), "%u %s", a->status, a->text);
	return say(o, at, out);
}

static void judge_credentials(const struct handshake *h)
{
	static const char *const places[] = {"protocol", "query", "cookie", "bearer"};
	static const char *const names[] = {"Cookie", "Origin"};
	static const struct credential_rules rules = {places, 4, "user", "x", "c"};
	static const struct callout_question q = {"s", "u", 1, 1, "::1", names, 2};
	char token[64], protocol[65], *text = callout_ask(h, &q);
	struct callout_said said;
	bool by_protocol;

	if (credential_find(h, &rules, token, sizeof(token), &by_protocol) == CREDENTIAL_FOUND)
		check(strlen(token) < sizeof(token));
	if (credential_protocol(h, "c", protocol))
		check(protocol[0] && protocol[0] != 'c' && !strpbrk(protocol, " ,\r\n"));
	check(text && !strchr(text, '\n'));
	check(!callout_parse(text, strlen(text), &said));
	(void)callout_parse(handshake_query(h), strlen(handshake_query(h)), &said);
	(void)credential_refresh(
		handshake_query(h), strlen(handshake_query(h)), token, sizeof(token));
	free(text);
}

static void judge(const struct handshake *h, struct outcome *o)
{
	static const struct identity_rules rules = {
		.path = true, .cookie = true, .service_cookie = "service", .user_cookie = "user"};
	static const char *const allow[] = {"same", "https://*.example.org", "http://a:8000"};
	struct handshake_identity id;
	struct http_answer who = handshake_identify(h, &rules, &id), a = handshake_check(h);
	size_t at = 0, cookies = 0;
	char out[512];

	at = say(o, at, handshake_method(h));
	at = say(o, at, handshake_path(h));
	at = say(o, at, handshake_query(h));
	at = say(o, at, handshake_authority(h));
	check(handshake_header(h, "Host") != NULL);
	check(!strchr(handshake_path(h), '?') && !strchr(handshake_header(h, "host"), '\n'));
	handshake_each(h, "Cookie", each, &cookies);
	snprintf(out, sizeof(out), "%zu", cookies);
	at = say(o, at, out);
	at = say_answer(o, at, &who);
	if (!who.status) {
		check(id.service_len > 0 && id.service_len <= sizeof(id.service));
		check(id.user_len > 0 && id.user_len <= sizeof(id.user));
	}
	judge_credentials(h);
	at = say_answer(o, at, &a);
	if (!a.status) {
		check(handshake_accept(h, "x", out, sizeof(out)) > 0);
		at = say(o, at, out);
	}
	for (int tls = -1; tls <= 1; tls++) {
		a = handshake_origin(h, allow, 3, tls);
		at = say_answer(o, at, &a);
	}
}

static void run(const uint8_t *data, size_t size, size_t piece, struct outcome *o)
{
	static const struct handshake_limits limits = {.max_header = 3000, .max_request = 2500};
	struct handshake *h = handshake_new(&limits);

	check(h != NULL);
	memset(o, 0, sizeof(*o));
	while (o->used < size && o->state == HANDSHAKE_MORE) {
		size_t n = piece < size - o->used ? piece : size - o->used, used;
		char *copy = malloc(n);

		check(copy != NULL);
		memcpy(copy, data + o->used, n);
		o->state = handshake_feed(h, copy, n, &used);
		check(used <= n && (used == n || o->state != HANDSHAKE_MORE));
		o->used += used;
		free(copy);
	}
	if (o->state == HANDSHAKE_DONE) {
		judge(h, o);
	} else if (o->state == HANDSHAKE_FAILED) {
		struct http_answer a = handshake_answer(h);

		check(a.status >= 400);
		say_answer(o, 0, &a);
		o->used = 0; /* of no interest then */
	} else {
		check(o->used <= 3000 + 2500 + 2);
	}
	handshake_free(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct outcome whole, cut, single;
	char *rule;

	if (size < 1)
		return 0;
	run(data + 1, size - 1, size, &whole);
	run(data + 1, size - 1, 1u + data[0], &cut);
	run(data + 1, size - 1, 1, &single);
	check(whole.state == single.state && whole.used == single.used);
	check(whole.state == cut.state && whole.used == cut.used);
	check(strcmp(whole.said, single.said) == 0 && strcmp(whole.said, cut.said) == 0);
	rule = strndup((const char *)data, size);
	check(rule != NULL);
	(void)handshake_origin_rule_valid(rule);
	free(rule);
	return 0;
}
