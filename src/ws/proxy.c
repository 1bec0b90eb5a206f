#include <arpa/inet.h>
#include <string.h>
#include <strings.h>
#include <wsgate/proxy.h>

/*
 * The PROXY protocol, as HAProxy's doc/proxy-protocol.txt has it.
 *
 *   v1: "PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n", at most 107 bytes
 *   v2: signature (12), version and command, family and transport, length (2), addresses, TLVs
 */
#define V2_HEAD 16
#define V2_INET 12 /* two addresses, two ports */
#define V2_INET6 36

static const uint8_t signature[12] = {
	'\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};
static const char v1_start[] = "PROXY ";

static bool parse_address(const char *s, size_t len, int family, uint8_t out[16])
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	char text[INET6_ADDRSTRLEN];

	if (len >= sizeof(text) || memchr(s, '\0', len))
		return false;
	memcpy(text, s, len);
	text[len] = '\0';
	if (family == AF_INET6)
		return inet_pton(AF_INET6, text, out) == 1;
	memcpy(out, mapped, sizeof(mapped));
	return inet_pton(AF_INET, text, out + sizeof(mapped)) == 1;
}

static bool parse_port(const char *s, size_t len, uint16_t *out)
{
	unsigned n = 0;

	if (len < 1 || len > 5 || (len > 1 && s[0] == '0'))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		n = 10 * n + (unsigned)(s[i] - '0');
	}
	*out = (uint16_t)n;
	return n <= 65535;
}

/* ---- version 1 ---- */

/* Up to a blank, or to the end, of which the last one alone may come. */
static bool v1_word(const char **at, const char *end, bool last, const char **word, size_t *len)
{
	const char *blank = memchr(*at, ' ', (size_t)(end - *at));

	if (!blank != last)
		return false;
	*word = *at;
	*len = (size_t)((blank ? blank : end) - *at);
	*at = blank ? blank + 1 : end;
	return true;
}

static bool v1_parse(const struct proxy_parser *p, struct proxy_source *out)
{
	const char *at = (const char *)p->head + sizeof(v1_start) - 1, *word;
	const char *end = (const char *)p->head + p->len - 2;
	struct proxy_source to;
	int family;
	size_t len;

	*out = (struct proxy_source){.known = false};
	if (end - at >= 7 && memcmp(at, "UNKNOWN", 7) == 0 && (end - at == 7 || at[7] == ' '))
		return true;
	if (end - at < 5 || (memcmp(at, "TCP4 ", 5) != 0 && memcmp(at, "TCP6 ", 5) != 0))
		return false;
	family = at[3] == '4' ? AF_INET : AF_INET6;
	at += 5;
	if (!v1_word(&at, end, false, &word, &len) ||
		!parse_address(word, len, family, out->addr) ||
		!v1_word(&at, end, false, &word, &len) ||
		!parse_address(word, len, family, to.addr) ||
		!v1_word(&at, end, false, &word, &len) || !parse_port(word, len, &out->port) ||
		!v1_word(&at, end, true, &word, &len) || !parse_port(word, len, &to.port))
		return false;
	out->known = true;
	return true;
}

static enum proxy_state v1_byte(struct proxy_parser *p)
{
	struct proxy_source ignored;
	uint8_t c = p->head[p->len - 1];

	if (p->len < sizeof(v1_start))
		return c == (uint8_t)v1_start[p->len - 1] ? PROXY_MORE : PROXY_FAILED;
	if (c == '\n')
		return p->head[p->len - 2] == '\r' && v1_parse(p, &ignored) ? PROXY_DONE
									    : PROXY_FAILED;
	return p->len < PROXY_V1_MAX && p->head[p->len - 2] != '\r' ? PROXY_MORE : PROXY_FAILED;
}

/* ---- version 2 ---- */

static bool v2_local(const struct proxy_parser *p)
{
	return (p->head[12] & 0x0f) == 0;
}

/* How many bytes of addresses are of interest; TCP alone, as HAProxy takes it. */
static unsigned v2_addresses(const struct proxy_parser *p)
{
	if (v2_local(p))
		return 0;
	return p->head[13] == 0x11 ? V2_INET : p->head[13] == 0x21 ? V2_INET6 : 0;
}

static bool v2_head_valid(const struct proxy_parser *p, unsigned length)
{
	if (p->head[12] >> 4 != 2 || (p->head[12] & 0x0f) > 1)
		return false;
	if (!v2_local(p) && (p->head[13] >> 4 > 3 || (p->head[13] & 0x0f) > 2))
		return false;
	return length >= v2_addresses(p);
}

static enum proxy_state v2_byte(struct proxy_parser *p)
{
	if (p->len <= sizeof(signature))
		return p->head[p->len - 1] == signature[p->len - 1] ? PROXY_MORE : PROXY_FAILED;
	if (p->len < V2_HEAD)
		return PROXY_MORE;
	if (p->len == V2_HEAD) {
		p->left = (uint16_t)(p->head[14] << 8 | p->head[15]);
		if (!v2_head_valid(p, p->left))
			return PROXY_FAILED;
	} else {
		p->left--;
	}
	return p->left ? PROXY_MORE : PROXY_DONE;
}

static void v2_parse(const struct proxy_parser *p, struct proxy_source *out)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	const uint8_t *at = p->head + V2_HEAD;

	switch (v2_addresses(p)) {
	case V2_INET:
		memcpy(out->addr, mapped, sizeof(mapped));
		memcpy(out->addr + sizeof(mapped), at, 4);
		out->port = (uint16_t)(at[8] << 8 | at[9]);
		out->known = true;
		break;
	case V2_INET6:
		memcpy(out->addr, at, 16);
		out->port = (uint16_t)(at[32] << 8 | at[33]);
		out->known = true;
		break;
	}
}

/* ---- both ---- */

static enum proxy_state proxy_byte(struct proxy_parser *p, uint8_t c)
{
	p->head[p->len++] = c;
	return p->head[0] == signature[0] ? v2_byte(p) : v1_byte(p);
}

enum proxy_state proxy_feed(struct proxy_parser *p, const uint8_t *buf, size_t len, size_t *used)
{
	enum proxy_state state = p->failed ? PROXY_FAILED : PROXY_MORE;

	*used = 0;
	while (state == PROXY_MORE && *used < len) {
		/* What lies behind the addresses of a v2 header. */
		if (p->len >= V2_HEAD && p->head[0] == signature[0] &&
			p->len == V2_HEAD + v2_addresses(p)) {
			size_t n = len - *used < p->left ? len - *used : p->left;

			*used += n;
			p->left = (uint16_t)(p->left - n);
			state = p->left ? PROXY_MORE : PROXY_DONE;
			continue;
		}
		state = proxy_byte(p, buf[(*used)++]);
	}
	p->failed = state == PROXY_FAILED;
	return state;
}

struct proxy_source proxy_source(const struct proxy_parser *p)
{
	struct proxy_source out = {.known = false};

	if (p->head[0] == signature[0])
		v2_parse(p, &out);
	else if (!v1_parse(p, &out))
		out.known = false;
	return out;
}
