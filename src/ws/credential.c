/*
 * credential: see credential.h.
 */
#include <string.h>
#include <strings.h>
#include <wsgate/credential.h>
#include "handshake_parts.h"

struct find {
	char *out;
	size_t outlen, len;
	enum credential_found found;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

static void trim(const char **s, size_t *len)
{
	while (*len > 0 && is_space(**s)) {
		++*s;
		--*len;
	}
	while (*len > 0 && is_space((*s)[*len - 1]))
		--*len;
}

static void note(struct find *f, const char *s, size_t len)
{
	if (f->found > CREDENTIAL_FOUND || len == 0)
		return;
	if (f->found == CREDENTIAL_FOUND) {
		if (f->len != len || memcmp(f->out, s, len) != 0)
			f->found = CREDENTIAL_TWICE;
		return;
	}
	if (len >= f->outlen) {
		f->found = CREDENTIAL_TOO_LONG;
		return;
	}
	memcpy(f->out, s, len);
	f->out[len] = '\0';
	f->len = len;
	f->found = CREDENTIAL_FOUND;
}

/* RFC 6750 2.1; other schemes are somebody else's. */
static void in_bearer(const struct handshake *h, struct find *f)
{
	const char *v = NULL, *s;
	size_t len;

	while ((v = handshake_next(h, "Authorization", v)) != NULL) {
		if (strncasecmp(v, "Bearer", 6) != 0 || !is_space(v[6]))
			continue;
		s = v + 6;
		len = strlen(s);
		trim(&s, &len);
		note(f, s, len);
	}
}

static void in_cookies(const struct handshake *h, const char *name, struct find *f)
{
	const char *v = NULL, *s;

	while ((v = handshake_next(h, "Cookie", v)) != NULL) {
		for (s = v; *s; s += strcspn(s, ";"), s += *s == ';') {
			const char *key = s, *value;
			size_t all = strcspn(s, ";"), n = strcspn(s, "=;");
			size_t len = n < all ? all - n - 1 : 0;

			value = s + n + (n < all);
			trim(&key, &n);
			if (n != strlen(name) || memcmp(key, name, n) != 0)
				continue;
			trim(&value, &len);
			if (len >= 2 && value[0] == '"' && value[len - 1] == '"') {
				value++;
				len -= 2;
			}
			note(f, value, len);
		}
	}
}

static int hex(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* In place in out, which has room for it. Escapes that are none stay as they are. */
static size_t decode(const char *s, size_t len, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (s[i] == '%' && i + 2 < len && hex(s[i + 1]) >= 0 && hex(s[i + 2]) >= 0) {
			out[n++] = (char)(hex(s[i + 1]) << 4 | hex(s[i + 2]));
			i += 2;
		} else {
			out[n++] = s[i];
		}
	}
	return n;
}

static void in_query(const struct handshake *h, const char *name, struct find *f)
{
	size_t want = strlen(name);
	const char *s = handshake_query(h);
	char value[8192 + 1];

	for (; *s; s += strcspn(s, "&"), s += *s == '&') {
		size_t len = strcspn(s, "&");

		if (len <= want || s[want] != '=' || memcmp(s, name, want) != 0)
			continue;
		len -= want + 1;
		if (len >= sizeof(value))
			f->found = CREDENTIAL_TOO_LONG;
		else
			note(f, value, decode(s + want + 1, len, value));
	}
}

/* One of a list; *s goes on behind it. False: there is none. */
static bool next_protocol(const char **s, const char **item, size_t *len)
{
	while (**s) {
		*item = *s;
		*len = strcspn(*s, ",");
		*s += *len + ((*s)[*len] == ',');
		trim(item, len);
		if (*len > 0)
			return true;
	}
	return false;
}

static bool begins(const char *s, size_t len, const char *prefix)
{
	return len >= strlen(prefix) && memcmp(s, prefix, strlen(prefix)) == 0;
}

static void in_protocols(const struct handshake *h, const char *prefix, struct find *f)
{
	const char *v = NULL, *item;
	size_t len;

	while ((v = handshake_next(h, "Sec-WebSocket-Protocol", v)) != NULL) {
		const char *s = v;

		while (next_protocol(&s, &item, &len))
			if (begins(item, len, prefix))
				note(f, item + strlen(prefix), len - strlen(prefix));
	}
}

bool credential_protocol(const struct handshake *h, const char *prefix, char out[65])
{
	const char *v = NULL, *item;
	size_t len;

	while ((v = handshake_next(h, "Sec-WebSocket-Protocol", v)) != NULL) {
		const char *s = v;

		while (next_protocol(&s, &item, &len)) {
			size_t good = 0;

			while (good < len && handshake_token_char((unsigned char)item[good]))
				good++;
			if (good < len || len > 64 || begins(item, len, prefix))
				continue;
			memcpy(out, item, len);
			out[len] = '\0';
			return true;
		}
	}
	return false;
}

const char *credential_subprotocol(const struct handshake *h, const char *const *known, size_t n)
{
	const char *v = NULL, *item;
	size_t len;

	while ((v = handshake_next(h, "Sec-WebSocket-Protocol", v)) != NULL) {
		const char *s = v;

		while (next_protocol(&s, &item, &len))
			for (size_t i = 0; i < n; i++)
				if (strlen(known[i]) == len && memcmp(known[i], item, len) == 0)
					return known[i];
	}
	return NULL;
}

enum credential_found credential_find(const struct handshake *h, const struct credential_rules *r,
	char *out, size_t outlen, bool *by_protocol)
{
	struct find f = {out, outlen, 0, CREDENTIAL_NONE};

	*by_protocol = false;
	for (size_t i = 0; i < r->nplaces && f.found == CREDENTIAL_NONE; i++) {
		const char *place = r->places[i];

		if (strcmp(place, "bearer") == 0) {
			in_bearer(h, &f);
		} else if (strcmp(place, "cookie") == 0) {
			in_cookies(h, r->cookie, &f);
		} else if (strcmp(place, "query") == 0) {
			in_query(h, r->query, &f);
		} else {
			in_protocols(h, r->protocol, &f);
			*by_protocol = f.found == CREDENTIAL_FOUND;
		}
	}
	return f.found;
}
