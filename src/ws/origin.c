#include <string.h>
#include <strings.h>
#include "handshake_parts.h"

struct origin {
	const char *scheme;
	size_t scheme_len;
	struct authority at;
	bool wildcard; /* of a rule: any host that ends with "." and this one */
};

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_host_char(char c)
{
	return is_alnum(c) || (c != '\0' && strchr("-._~%", c) != NULL);
}

static bool is_v6_char(char c)
{
	return is_alnum(c) || c == ':' || c == '.' || c == '%';
}

static bool port_parse(const char *s, size_t len, int *port)
{
	int n = 0;

	*port = -1;
	if (len > 5)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		n = 10 * n + (s[i] - '0');
	}
	if (len > 0)
		*port = n;
	return n <= 65535;
}

bool authority_parse(const char *s, size_t len, struct authority *a)
{
	size_t n = 0;

	if (len > 0 && s[0] == '[') {
		for (n = 1; n < len && is_v6_char(s[n]); n++)
			;
		if (n < 3 || n == len || s[n] != ']')
			return false;
		n++;
	} else {
		while (n < len && is_host_char(s[n]))
			n++;
	}
	a->host = s;
	a->host_len = n;
	a->port = -1;
	if (n == 0)
		return false;
	if (n == len)
		return true;
	return s[n] == ':' && port_parse(s + n + 1, len - n - 1, &a->port);
}

/* A browser writes a host in ASCII, decoded, and without userinfo: nothing that another parser
 * could take apart. */
static bool is_plain(const struct authority *a)
{
	if (a->host[0] == '[')
		return true;
	for (size_t i = 0; i < a->host_len; i++) {
		char c = a->host[i];

		if (c == '%' || c == '~' || (c == '.' && (i == 0 || a->host[i - 1] == '.')))
			return false;
	}
	return true;
}

/* RFC 6454 6.2: scheme "://" host [ ":" port ], and nothing behind. */
static bool origin_parse(const char *s, bool rule, struct origin *o)
{
	const char *colon = strstr(s, "://"), *host;

	if (!colon || colon == s)
		return false;
	for (const char *p = s; p < colon; p++)
		if (!is_alnum(*p) && (p == s || !strchr("+-.", *p)))
			return false;
	o->scheme = s;
	o->scheme_len = (size_t)(colon - s);
	host = colon + 3;
	o->wildcard = rule && strncmp(host, "*.", 2) == 0;
	if (o->wildcard)
		host += 2;
	if (!authority_parse(host, strlen(host), &o->at) || !is_plain(&o->at))
		return false;
	return !o->wildcard || o->at.host[0] != '[';
}

static bool equal(const char *a, size_t alen, const char *b, size_t blen)
{
	return alen == blen && strncasecmp(a, b, alen) == 0;
}

static bool is_scheme(const struct origin *o, const char *scheme)
{
	return equal(o->scheme, o->scheme_len, scheme, strlen(scheme));
}

static int default_port(const struct origin *o)
{
	if (is_scheme(o, "http") || is_scheme(o, "ws"))
		return 80;
	if (is_scheme(o, "https") || is_scheme(o, "wss"))
		return 443;
	return -1;
}

static int port_or(int port, int otherwise)
{
	return port >= 0 ? port : otherwise;
}

static bool allowed_by_host(const struct handshake *h, const struct origin *o, int tls)
{
	const char *s = handshake_authority(h);
	struct authority host;

	if (!(is_scheme(o, "http") && tls != 1) && !(is_scheme(o, "https") && tls != 0))
		return false;
	return authority_parse(s, strlen(s), &host) &&
	       equal(host.host, host.host_len, o->at.host, o->at.host_len) &&
	       port_or(host.port, default_port(o)) == port_or(o->at.port, default_port(o));
}

static bool allowed_by_rule(const char *text, const struct origin *o)
{
	const struct authority *at = &o->at;
	struct origin rule;
	size_t n;

	if (!origin_parse(text, true, &rule))
		return false;
	if (!equal(rule.scheme, rule.scheme_len, o->scheme, o->scheme_len))
		return false;
	if (port_or(rule.at.port, default_port(o)) != port_or(at->port, default_port(o)))
		return false;
	n = rule.at.host_len;
	if (!rule.wildcard)
		return equal(rule.at.host, n, at->host, at->host_len);
	if (at->host_len < n + 2 || at->host[at->host_len - n - 1] != '.')
		return false;
	return equal(rule.at.host, n, at->host + at->host_len - n, n);
}

struct http_answer handshake_origin(
	const struct handshake *h, const char *const *allow, size_t nallow, int tls)
{
	static const struct http_answer fine = {0, "", ""};
	const char *text = handshake_header(h, "Origin");
	struct origin o;
	bool parsed;

	if (!text)
		return fine;
	parsed = !handshake_next(h, "Origin", text) && origin_parse(text, false, &o);
	for (size_t i = 0; i < nallow; i++) {
		if (strcmp(allow[i], "any") == 0)
			return fine;
		if (!parsed)
			continue;
		if (strcmp(allow[i], "same") == 0) {
			if (allowed_by_host(h, &o, tls))
				return fine;
		} else if (allowed_by_rule(allow[i], &o)) {
			return fine;
		}
	}
	return (struct http_answer){403, "this origin is not allowed", ""};
}

bool handshake_origin_rule_valid(const char *rule)
{
	struct origin o;

	return strcmp(rule, "same") == 0 || strcmp(rule, "any") == 0 ||
	       origin_parse(rule, true, &o);
}
