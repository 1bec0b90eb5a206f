#include <arpa/inet.h>
#include <string.h>
#include <strings.h>
#include <wsgate/proxy.h>
#include "handshake_parts.h"

#define NODE_MAX 64 /* "[v6]:port", and some more */

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

static void chain_add(struct proxy_chain *out, const struct proxy_source *s)
{
	if (out->n == PROXY_CHAIN_MAX) {
		memmove(out->v, out->v + 1, sizeof(out->v) - sizeof(*out->v));
		out->n--;
	}
	out->v[out->n++] = *s;
}

static bool port_of(const char *s, uint16_t *out)
{
	unsigned n = 0;

	if (*s++ != ':' || strlen(s) > 5 || *s == '\0')
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return false;
		n = 10 * n + (unsigned)(*s - '0');
	}
	*out = (uint16_t)n;
	return n <= 65535;
}

/* 192.0.2.1, 192.0.2.1:4711, [2001:db8::1], [2001:db8::1]:4711; bare: 2001:db8::1, too. */
static struct proxy_source node_parse(const char *s, size_t len, bool bare)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	struct proxy_source out = {.known = false};
	char text[NODE_MAX], *end;

	if (len >= sizeof(text) || memchr(s, '\0', len))
		return out;
	memcpy(text, s, len);
	text[len] = '\0';
	if (text[0] == '[') {
		end = strchr(text, ']');
		if (!end || (end[1] != '\0' && !port_of(end + 1, &out.port)))
			return out;
		*end = '\0';
		out.known = inet_pton(AF_INET6, text + 1, out.addr) == 1;
		return out;
	}
	if (bare && inet_pton(AF_INET6, text, out.addr) == 1) {
		out.known = true;
		return out;
	}
	end = strchrnul(text, ':');
	if (*end != '\0' && !port_of(end, &out.port))
		return out;
	*end = '\0';
	memcpy(out.addr, mapped, sizeof(mapped));
	out.known = inet_pton(AF_INET, text, out.addr + sizeof(mapped)) == 1;
	return out;
}

bool proxy_x_forwarded_for(const struct handshake *h, struct proxy_chain *out)
{
	const char *value = NULL;

	out->n = 0;
	while ((value = handshake_next(h, "X-Forwarded-For", value)) != NULL) {
		for (const char *p = value; *p;) {
			size_t all = strcspn(p, ","), len = all;
			const char *s = p;

			p += all + (p[all] == ',');
			for (; len > 0 && is_space(*s); len--)
				s++;
			while (len > 0 && is_space(s[len - 1]))
				len--;
			if (len > 0) {
				struct proxy_source node = node_parse(s, len, true);

				chain_add(out, &node);
			}
		}
	}
	return true;
}

/* ---- RFC 7239 ---- */

static const char *skip_spaces(const char *p)
{
	while (is_space(*p))
		p++;
	return p;
}

/* token or quoted-string (RFC 9110 5.6.2, 5.6.4); what is too long for an address is cut. NULL:
 * neither. */
static const char *value_parse(const char *p, char out[NODE_MAX], size_t *len)
{
	bool quoted = *p == '"';
	const char *start = p;

	*len = 0;
	for (p += quoted; quoted ? *p != '"' : handshake_token_char((unsigned char)*p); p++) {
		if (quoted && *p == '\\')
			p++;
		if (*p == '\0')
			return NULL;
		if (*len < NODE_MAX)
			out[(*len)++] = *p;
	}
	p += quoted;
	return p > start ? p : NULL;
}

/*
 * One element: pairs between semicolons. NULL: malformed. Nothing is guessed then: a quote that a
 * client left open would swallow what its proxy wrote behind it.
 */
static const char *element_parse(const char *p, struct proxy_chain *out)
{
	struct proxy_source node = {.known = false};
	bool named = false, any = false;
	char value[NODE_MAX];
	size_t len;

	for (;; p = skip_spaces(p + 1)) {
		const char *name = p;

		while (handshake_token_char((unsigned char)*p))
			p++;
		if (p > name) {
			size_t n = (size_t)(p - name);

			if (*p != '=')
				return NULL;
			p = value_parse(p + 1, value, &len);
			if (!p)
				return NULL;
			any = true;
			if (n == 3 && strncasecmp(name, "for", 3) == 0) {
				if (named)
					return NULL;
				named = true;
				node = node_parse(value, len, false);
			}
		}
		p = skip_spaces(p);
		if (*p != ';')
			break;
	}
	if (*p != ',' && *p != '\0')
		return NULL;
	if (any)
		chain_add(out, &node);
	return p;
}

bool proxy_forwarded(const struct handshake *h, struct proxy_chain *out)
{
	const char *value = NULL;

	out->n = 0;
	while ((value = handshake_next(h, "Forwarded", value)) != NULL) {
		const char *p = skip_spaces(value);

		while (*p) {
			p = element_parse(p, out);
			if (!p)
				return false;
			p = skip_spaces(p + (*p == ','));
		}
	}
	return true;
}
