#include <llhttp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <wsgate/deflate.h>
#include "handshake_parts.h"

/*
 * Two readers, one after the other: take_method() and take_lines() look at each byte up to the end
 * of the headers, for what llhttp 8.1 lets pass (bare LF, obs-fold, NUL, "Name :", any size); then
 * llhttp gets what they let through and never a byte more, so it sees neither a body nor frames.
 */
enum phase { PHASE_METHOD, PHASE_LINE, PHASE_HEADERS };
enum mark { MARK_NONE, MARK_LINE_END, MARK_HEADERS_END };

#define STORE_SMALL 1536 /* most requests fit: then the struct is the only allocation */

struct handshake {
	llhttp_t parser;
	struct handshake_limits limits;
	enum handshake_state state;
	struct http_answer answer;

	enum phase phase;
	bool cr;              /* the last byte was a CR */
	bool space;           /* the last byte of the request line was one */
	bool colon;           /* the name of the current header is over */
	bool headers_seen;    /* llhttp agrees that the headers are over */
	size_t line;          /* bytes of the current line */
	size_t request_bytes; /* of the request line, without its CR LF */
	size_t header_bytes;  /* of all header lines, with CR LF and the empty line */
	char method[24];
	size_t method_len;

	/*
	 * data: target NUL { name NUL value NUL }... [ authority NUL ]
	 *       0          ^headers              ^headers_end          ^len
	 * It moves when it grows: offsets while parsing, pointers only from DONE on.
	 */
	char *data; /* small, or owned */
	size_t len, cap;
	size_t value; /* where the last header's value begins */
	size_t path, query, authority, headers, headers_end;
	char protocol[65]; /* of the answer; "" : none */
	char extension[DEFLATE_ANSWER_MAX];
	char small[];
};

static void fail(struct handshake *h, unsigned status, const char *text)
{
	h->state = HANDSHAKE_FAILED;
	h->answer = (struct http_answer){status, text, ""};
}

static bool grow(struct handshake *h, size_t need)
{
	size_t cap = 2 * h->cap > need ? 2 * h->cap : need;
	char *data = realloc(h->data == h->small ? NULL : h->data, cap);

	if (!data) {
		fail(h, 503, "out of memory");
		return false;
	}
	if (h->data == h->small)
		memcpy(data, h->small, h->len);
	h->data = data;
	h->cap = cap;
	return true;
}

/* Bounded by the limits: every stored byte was counted as one of the request. */
static int store(struct handshake *h, const char *s, size_t n)
{
	if (n > h->cap - h->len && !grow(h, h->len + n))
		return -1;
	memcpy(h->data + h->len, s, n);
	h->len += n;
	return 0;
}

static int on_bytes(llhttp_t *p, const char *s, size_t n)
{
	return store(p->data, s, n);
}

static int on_url_complete(llhttp_t *p)
{
	struct handshake *h = p->data;

	if (store(h, "", 1))
		return -1;
	h->headers = h->len;
	return 0;
}

static int on_field_complete(llhttp_t *p)
{
	struct handshake *h = p->data;

	if (store(h, "", 1))
		return -1;
	h->value = h->len;
	return 0;
}

/* RFC 9112 5: the white space behind a value is not part of it; llhttp leaves it there. */
static int on_value_complete(llhttp_t *p)
{
	struct handshake *h = p->data;

	while (h->len > h->value && (h->data[h->len - 1] == ' ' || h->data[h->len - 1] == '\t'))
		h->len--;
	return store(h, "", 1);
}

static int on_headers_complete(llhttp_t *p)
{
	struct handshake *h = p->data;

	h->headers_seen = true;
	return 0;
}

static const llhttp_settings_t settings = {
	.on_url = on_bytes,
	.on_url_complete = on_url_complete,
	.on_header_field = on_bytes,
	.on_header_field_complete = on_field_complete,
	.on_header_value = on_bytes,
	.on_header_value_complete = on_value_complete,
	.on_headers_complete = on_headers_complete,
};

struct handshake *handshake_new(const struct handshake_limits *limits)
{
	struct handshake *h = malloc(sizeof(*h) + STORE_SMALL);

	if (!h)
		return NULL;
	*h = (struct handshake){.limits = *limits, .data = h->small, .cap = STORE_SMALL};
	llhttp_init(&h->parser, HTTP_REQUEST, &settings);
	h->parser.data = h;
	return h;
}

void handshake_free(struct handshake *h)
{
	if (!h)
		return;
	if (h->data != h->small)
		free(h->data);
	free(h);
}

static void parse(struct handshake *h, const char *buf, size_t len)
{
	llhttp_errno_t err = llhttp_execute(&h->parser, buf, len);

	if (err == HPE_OK || h->state == HANDSHAKE_FAILED)
		return;
	switch (err) {
	case HPE_PAUSED_UPGRADE:
		if (llhttp_get_error_pos(&h->parser) != buf + len)
			fail(h, 400, "malformed request");
		break;
	case HPE_INVALID_VERSION:
		fail(h, 505, "only HTTP/1.1 is spoken here");
		break;
	case HPE_INVALID_URL:
		fail(h, 400, "malformed request target");
		break;
	case HPE_INVALID_HEADER_TOKEN:
		fail(h, 400, "malformed header");
		break;
	case HPE_INVALID_CONTENT_LENGTH:
	case HPE_UNEXPECTED_CONTENT_LENGTH:
	case HPE_INVALID_TRANSFER_ENCODING:
		fail(h, 400, "a request with a body cannot be upgraded");
		break;
	default:
		fail(h, 400, "malformed request");
	}
}

bool handshake_token_char(unsigned char c)
{
	if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
		return true;
	return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

/*
 * llhttp always gets "GET": its other methods have parsers of their own (CONNECT, PRI) or are
 * unknown to it, and every one of them is to be answered with 405. RFC 9112 2.2: empty lines in
 * front of a request are skipped.
 */
static size_t take_method(struct handshake *h, const char *buf, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)buf[i];

		if (++h->request_bytes > h->limits.max_request) {
			fail(h, 414, "request line too long");
			return i;
		}
		if (h->cr && c != '\n') {
			fail(h, 400, "CR without LF");
			return i;
		}
		if (h->method_len == 0 && (c == '\r' || (c == '\n' && h->cr))) {
			h->cr = c == '\r';
			continue;
		}
		if (h->method_len > 0 && c == ' ') {
			h->phase = PHASE_LINE;
			parse(h, "GET ", 4);
			return i + 1;
		}
		if (!handshake_token_char(c)) {
			fail(h, 400, "malformed request line");
			return i;
		}
		if (h->method_len + 1 < sizeof(h->method))
			h->method[h->method_len++] = (char)c;
	}
	return len;
}

/* One byte behind the method. An objection, or NULL and what ends with it. */
static const char *scan(struct handshake *h, unsigned char c, enum mark *mark)
{
	if (h->cr && c != '\n')
		return "CR without LF";
	if (c == '\n') {
		if (!h->cr)
			return "LF without CR";
		if (h->phase == PHASE_LINE)
			*mark = MARK_LINE_END;
		else if (h->line == 0)
			*mark = MARK_HEADERS_END;
		h->phase = PHASE_HEADERS;
		h->cr = h->colon = false;
		h->line = 0;
		return NULL;
	}
	if (c == '\r') {
		h->cr = true;
		return NULL;
	}
	if ((c < 0x20 && !(c == '\t' && h->phase == PHASE_HEADERS)) || c == 0x7f)
		return "control character";
	/* RFC 9112 5.2 */
	if (h->phase == PHASE_HEADERS && h->line == 0 && (c == ' ' || c == '\t'))
		return "folded header line";
	/* RFC 9112 5.1: a name, and no white space between it and its colon. */
	if (h->phase == PHASE_HEADERS && !h->colon) {
		h->colon = c == ':';
		if (h->colon ? h->line == 0 : !handshake_token_char(c))
			return "malformed header";
	}
	/* llhttp takes RTSP/1.1 for HTTP/1.1. */
	if (h->phase == PHASE_LINE && h->space && c == 'R')
		return "malformed request line";
	h->space = c == ' ';
	h->line++;
	return NULL;
}

static bool within_limits(struct handshake *h, unsigned char c)
{
	if (h->phase == PHASE_HEADERS)
		return ++h->header_bytes <= h->limits.max_header;
	return c == '\r' || c == '\n' || ++h->request_bytes <= h->limits.max_request;
}

/* RFC 9112 3.2: one Host, and one that is a host. 6.1, 6.2: no body, as far as anyone could see
 * one. */
static void check_framing(struct handshake *h)
{
	const char *host = handshake_next(h, "Host", NULL), *length = NULL;
	struct authority a;

	if (!host && h->limits.http10 && h->parser.http_minor == 0)
		host = h->data + h->len - 1; /* the end of what was stored last: "" */
	else if (!host)
		fail(h, 400, "no Host header");
	else if (handshake_next(h, "Host", host))
		fail(h, 400, "more than one Host header");
	else if (!authority_parse(host, strlen(host), &a))
		fail(h, 400, "malformed Host header");
	else if (handshake_next(h, "Transfer-Encoding", NULL))
		fail(h, 400, "a request with a body cannot be upgraded");
	while (h->state != HANDSHAKE_FAILED &&
		(length = handshake_next(h, "Content-Length", length)) != NULL)
		if (strcmp(length, "0") != 0)
			fail(h, 400, "a request with a body cannot be upgraded");
	if (h->state != HANDSHAKE_FAILED)
		h->authority = (size_t)(host - h->data);
}

/* RFC 9112 3.2.2: an absolute target counts with its own authority, and Host not at all. */
static void split_absolute(struct handshake *h)
{
	static const char *const schemes[] = {"http://", "https://", "ws://", "wss://"};
	size_t begin = 0, end;
	struct authority a;

	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++)
		if (strncasecmp(h->data, schemes[i], strlen(schemes[i])) == 0)
			begin = strlen(schemes[i]);
	if (begin == 0) {
		fail(h, 400, "malformed request target");
		return;
	}
	end = begin + strcspn(h->data + begin, "/?");
	if (!authority_parse(h->data + begin, end - begin, &a)) {
		fail(h, 400, "malformed request target");
		return;
	}
	h->path = end;
	h->authority = h->len;
	/* Not from h->data: it may move. */
	for (size_t i = begin; i < end; i++)
		if (store(h, &(char){h->data[i]}, 1))
			return;
	store(h, "", 1);
}

static void split_target(struct handshake *h)
{
	char *query;

	if (strchr(h->data, '#')) {
		fail(h, 400, "fragment in the request target");
		return;
	}
	if (h->data[0] != '/' && strcmp(h->data, "*") != 0)
		split_absolute(h);
	if (h->state == HANDSHAKE_FAILED)
		return;
	query = strchr(h->data + h->path, '?');
	if (query)
		*query = '\0';
	h->query = query ? (size_t)(query - h->data) + 1 : h->headers - 1;
}

static void finish(struct handshake *h)
{
	h->headers_end = h->len;
	if (!h->headers_seen) {
		fail(h, 400, "malformed request");
		return;
	}
	check_framing(h);
	if (h->state != HANDSHAKE_FAILED)
		split_target(h);
	if (h->state != HANDSHAKE_FAILED)
		h->state = HANDSHAKE_DONE;
}

static bool version_spoken(const struct handshake *h)
{
	const llhttp_t *p = &h->parser;

	return p->http_major == 1 &&
	       (p->http_minor == 1 || (p->http_minor == 0 && h->limits.http10));
}

/* Up to the end of the request line or of the headers. */
static size_t take_lines(struct handshake *h, const char *buf, size_t len)
{
	enum mark mark = MARK_NONE;
	const char *wrong = NULL;
	unsigned status = 400;
	size_t n = 0;

	while (n < len && mark == MARK_NONE) {
		unsigned char c = (unsigned char)buf[n];

		if (!within_limits(h, c)) {
			status = h->phase == PHASE_LINE ? 414 : 431;
			wrong = status == 414 ? "request line too long" : "headers too large";
			break;
		}
		wrong = scan(h, c, &mark);
		if (wrong)
			break;
		n++;
	}
	/* What stands before the fault may be one itself: whichever comes first is the answer. */
	if (n > 0)
		parse(h, buf, n);
	if (h->state == HANDSHAKE_FAILED)
		return n;
	if (wrong)
		fail(h, status, wrong);
	else if (mark == MARK_LINE_END && !version_spoken(h))
		fail(h, 505, "only HTTP/1.1 is spoken here");
	else if (mark == MARK_HEADERS_END)
		finish(h);
	return n;
}

enum handshake_state handshake_feed(struct handshake *h, const char *buf, size_t len, size_t *used)
{
	size_t n = 0;

	while (n < len && h->state == HANDSHAKE_MORE) {
		if (h->phase == PHASE_METHOD)
			n += take_method(h, buf + n, len - n);
		else
			n += take_lines(h, buf + n, len - n);
	}
	*used = n;
	return h->state;
}

const char *handshake_method(const struct handshake *h)
{
	return h->method;
}

const char *handshake_path(const struct handshake *h)
{
	/* An absolute target may end with its authority. */
	if (h->state != HANDSHAKE_DONE || h->data[h->path] == '\0')
		return "/";
	return h->data + h->path;
}

const char *handshake_query(const struct handshake *h)
{
	return h->state == HANDSHAKE_DONE ? h->data + h->query : "";
}

const char *handshake_authority(const struct handshake *h)
{
	return h->state == HANDSHAKE_DONE ? h->data + h->authority : "";
}

const char *handshake_next(const struct handshake *h, const char *name, const char *after)
{
	const char *p = after ? after + strlen(after) + 1 : h->data + h->headers;
	const char *end = h->data + h->headers_end;

	while (p < end) {
		const char *value = p + strlen(p) + 1;

		if (strcasecmp(p, name) == 0)
			return value;
		p = value + strlen(value) + 1;
	}
	return NULL;
}

const char *handshake_header(const struct handshake *h, const char *name)
{
	return h->state == HANDSHAKE_DONE ? handshake_next(h, name, NULL) : NULL;
}

void handshake_each(const struct handshake *h, const char *name,
	void (*fn)(const char *value, void *arg), void *arg)
{
	const char *value = NULL;

	if (h->state != HANDSHAKE_DONE)
		return;
	while ((value = handshake_next(h, name, value)) != NULL)
		fn(value, arg);
}

void handshake_choose(struct handshake *h, const char *protocol)
{
	size_t n = strlen(protocol);

	if (n < sizeof(h->protocol))
		memcpy(h->protocol, protocol, n + 1);
}

const char *handshake_chosen(const struct handshake *h)
{
	return h->protocol[0] ? h->protocol : NULL;
}

void handshake_extend(struct handshake *h, const char *extension)
{
	size_t n = strlen(extension);

	if (n < sizeof(h->extension))
		memcpy(h->extension, extension, n + 1);
}

const char *handshake_extended(const struct handshake *h)
{
	return h->extension;
}

struct http_answer handshake_answer(const struct handshake *h)
{
	return h->answer;
}
