/*
 * deflate_offer: see deflate.h.
 */
#include <stdio.h>
#include <string.h>
#include <wsgate/deflate.h>
#include "handshake_parts.h"

#define VALUE_MAX 16 /* longer ones are none of ours */

struct offer {
	bool server_context, client_context; /* _no_context_takeover was not there */
	uint8_t server_bits, client_bits;    /* 0: not there */
	bool bad;
};

struct text { /* what is left */
	const char *s;
};

static void skip_blanks(struct text *t)
{
	while (*t->s == ' ' || *t->s == '\t')
		t->s++;
}

static bool take_char(struct text *t, char c)
{
	skip_blanks(t);
	if (*t->s != c)
		return false;
	t->s++;
	skip_blanks(t);
	return true;
}

/* RFC 9110 5.6.2. False: there is none. */
static bool take_token(struct text *t, const char **token, size_t *len)
{
	skip_blanks(t);
	*token = t->s;
	while (handshake_token_char((unsigned char)*t->s))
		t->s++;
	*len = (size_t)(t->s - *token);
	return *len > 0;
}

/* RFC 6455 9.1: what a quoted value says must be a token. False: it is none, or too long. */
static bool take_quoted(struct text *t, char out[VALUE_MAX])
{
	bool good = true;
	size_t n = 0;

	for (t->s++; *t->s && *t->s != '"'; t->s++) {
		if (*t->s == '\\' && t->s[1])
			t->s++;
		good = good && n + 1 < VALUE_MAX && handshake_token_char((unsigned char)*t->s);
		if (good)
			out[n++] = *t->s;
	}
	out[n] = '\0';
	if (!*t->s)
		return false;
	t->s++;
	return good && n > 0;
}

static bool take_value(struct text *t, char out[VALUE_MAX])
{
	const char *token;
	size_t len;

	if (*t->s == '"')
		return take_quoted(t, out);
	if (!take_token(t, &token, &len) || len >= VALUE_MAX)
		return false;
	memcpy(out, token, len);
	out[len] = '\0';
	return true;
}

/* 7.1.2: 8 to 15, without a leading zero. 0: something else. */
static uint8_t bits_of(const char *v)
{
	if (v[0] >= '8' && v[0] <= '9' && v[1] == '\0')
		return (uint8_t)(v[0] - '0');
	if (v[0] == '1' && v[1] >= '0' && v[1] <= '5' && v[2] == '\0')
		return (uint8_t)(10 + v[1] - '0');
	return 0;
}

static bool named(const char *token, size_t len, const char *name)
{
	return len == strlen(name) && memcmp(token, name, len) == 0;
}

/* value NULL: it has none. False: the offer cannot be taken. */
static bool offer_param(struct offer *o, const char *name, size_t len, const char *value)
{
	if (named(name, len, "server_no_context_takeover")) {
		if (value || !o->server_context)
			return false;
		o->server_context = false;
	} else if (named(name, len, "client_no_context_takeover")) {
		if (value || !o->client_context)
			return false;
		o->client_context = false;
	} else if (named(name, len, "server_max_window_bits")) {
		if (!value || o->server_bits)
			return false;
		o->server_bits = bits_of(value);
		return o->server_bits != 0;
	} else if (named(name, len, "client_max_window_bits")) {
		if (o->client_bits)
			return false;
		/* Without a value: ours to say. */
		o->client_bits = value ? bits_of(value) : 15;
		return o->client_bits != 0;
	} else {
		return false;
	}
	return true;
}

/* Behind a fault: to the next offer. A comma within quotes is none. */
static void skip_offer(struct text *t)
{
	bool quoted = false;

	for (; *t->s && (quoted || *t->s != ','); t->s++) {
		if (quoted && *t->s == '\\' && t->s[1])
			t->s++;
		else if (*t->s == '"')
			quoted = !quoted;
	}
}

/* One member of the list. False: none of permessage-deflate, or one that cannot be taken. */
static bool take_offer(struct text *t, struct offer *o)
{
	const char *name;
	size_t len;
	bool good;

	*o = (struct offer){.server_context = true, .client_context = true};
	good = take_token(t, &name, &len) && named(name, len, "permessage-deflate");
	while (good && take_char(t, ';')) {
		char value[VALUE_MAX];
		bool valued;

		good = take_token(t, &name, &len);
		valued = good && take_char(t, '=');
		good = good && (!valued || take_value(t, value)) &&
		       offer_param(o, name, len, valued ? value : NULL);
	}
	skip_blanks(t);
	if (good && (*t->s == '\0' || *t->s == ','))
		return true;
	skip_offer(t);
	return false;
}

static void agree(
	const struct offer *o, const struct deflate_rules *rules, struct deflate_terms *out)
{
	*out = (struct deflate_terms){.server_bits = rules->window_bits,
		.client_bits = 15,
		.server_context = rules->context && o->server_context,
		.client_context = rules->context && o->client_context};
	if (o->server_bits) {
		if (o->server_bits < out->server_bits)
			out->server_bits = o->server_bits;
		out->say_server_bits = true;
	}
	/* Only a window that is kept for it costs anything. */
	if (o->client_bits && out->client_context) {
		out->client_bits =
			o->client_bits < rules->window_bits ? o->client_bits : rules->window_bits;
		out->say_client_bits = true;
	}
}

bool deflate_offer_take(
	const char *value, const struct deflate_rules *rules, struct deflate_terms *out)
{
	struct text t = {value};

	for (;;) {
		struct offer o;

		while (take_char(&t, ','))
			;
		if (!*t.s)
			return false;
		if (take_offer(&t, &o)) {
			agree(&o, rules, out);
			return true;
		}
	}
}

/* RFC 6455 9.1: several headers are one list. */
bool deflate_offer_agree(
	const struct handshake *h, const struct deflate_rules *rules, struct deflate_terms *out)
{
	const char *value = NULL;

	while ((value = handshake_next(h, "Sec-WebSocket-Extensions", value)) != NULL)
		if (deflate_offer_take(value, rules, out))
			return true;
	return false;
}

size_t deflate_offer_answer(const struct deflate_terms *t, char out[DEFLATE_ANSWER_MAX])
{
	char server[32] = "", client[32] = "";
	int n;

	if (t->say_server_bits)
		snprintf(server, sizeof(server), "; server_max_window_bits=%u", t->server_bits);
	if (t->say_client_bits)
		snprintf(client, sizeof(client), "; client_max_window_bits=%u", t->client_bits);
	n = snprintf(out, DEFLATE_ANSWER_MAX, "permessage-deflate%s%s%s%s",
		t->server_context ? "" : "; server_no_context_takeover",
		t->client_context ? "" : "; client_no_context_takeover", server, client);
	return n > 0 ? (size_t)n : 0;
}
