/*
 * handshake: the HTTP request before the upgrade, and every answer to it.
 *
 * llhttp parses; what llhttp 8.1 lets pass and RFC 9112 or RFC 6455 4.2.1 do not is refused here
 * (obs-fold, two Hosts, versions other than 1.1, a body, NUL, bare LF). No I/O. Room: ws.
 * One allocation a handshake, a second one for a request above 1.5 KiB; together bounded by the
 * limits (doubling included, about 2 * (max_header + max_request)).
 *
 * The order that gives the table of answers: feed until FAILED (what handshake_answer() says: 400,
 * 414, 431, 505 for other versions, 503 without memory) or DONE; then, first objection wins:
 *   1. handshake_identify(): its 404 and 400 now, its 401 only at 3
 *   2. handshake_check(): 405, 426, 400
 *   3. the 401 of 1
 *   4. handshake_origin(): 403
 * Where credentials name who it is, handshake_named() takes the place of 1, and they are judged
 * after 4.
 * For other endpoints (echo) 2 and 4 alone, after the caller compared handshake_path().
 */
#ifndef WSGATE_HANDSHAKE_H
#define WSGATE_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct handshake; /* opaque; owned by the connection */

struct handshake_limits {
	size_t max_header;  /* bytes of all headers together, with their CR LF: 431 beyond */
	size_t max_request; /* bytes of the request line, without its CR LF: 414 beyond */
	bool http10;        /* HTTP/1.0 will do, without Host: health checks of load balancers */
};

enum handshake_state { HANDSHAKE_MORE, HANDSHAKE_DONE, HANDSHAKE_FAILED };

/* NULL: no memory. limits are copied. */
struct handshake *handshake_new(const struct handshake_limits *limits);
void handshake_free(struct handshake *h); /* NULL is fine */

/*
 * Feeds bytes. *used says how many belong to the request: with HANDSHAKE_DONE the rest of an
 * upgrade are WebSocket frames already. FAILED: handshake_answer() says what to send. After DONE or
 * FAILED nothing more is consumed. However the bytes are cut, the outcome is the same.
 */
enum handshake_state handshake_feed(struct handshake *h, const char *buf, size_t len, size_t *used);

/* Borrowed views into the handshake, terminated; valid from DONE until handshake_free. */
const char *handshake_method(const struct handshake *h);
const char *handshake_path(const struct handshake *h);  /* without the query, not decoded */
const char *handshake_query(const struct handshake *h); /* "" when there is none */
/* host[:port] that was asked for: of an absolute request target, else the Host header; "": neither
 * (HTTP/1.0) */
const char *handshake_authority(const struct handshake *h);
/* First header of that name (case-insensitive), or NULL. */
const char *handshake_header(const struct handshake *h, const char *name);
/* Calls fn for each header of that name, in order. */
void handshake_each(const struct handshake *h, const char *name,
	void (*fn)(const char *value, void *arg), void *arg);

struct http_answer {
	unsigned status;     /* 0: no objection */
	const char *text;    /* body, one line that says what was wrong; static */
	const char *headers; /* extra header lines, each ending with CRLF; static, "" for none */
};

/* After FAILED: the answer. 400, 414, 431, 503, 505 */
struct http_answer handshake_answer(const struct handshake *h);
/*
 * The method, the upgrade and the WebSocket headers of a finished request on a valid path:
 * 405 + Allow, 426 + Upgrade/Connection, 426 + Sec-WebSocket-Version (also when there is none),
 * 400; status 0 when all is well. The version is looked at before the key.
 */
struct http_answer handshake_check(const struct handshake *h);

/* Who may be taken from a request. */
struct identity_rules {
	bool path, cookie;
	const char *service_cookie, *user_cookie;
	bool cert;             /* a certificate may name the user */
	const char *cert_user; /* what the client's one does, not terminated; NULL: it has none */
	size_t cert_user_len;
};
struct handshake_identity {
	char service[128], user[128]; /* raw tokens, not terminated */
	size_t service_len, user_len;
};
/*
 * "/ws/{service}/{user}" (percent-decoded: a raw '/' separates, %2F does not; the last slash is
 * optional; "/ws/{service}" is 404, "/ws/{service}/" has an empty user) and "/ws" + cookies (taken
 * as they are; a value in double quotes loses them; two cookies of one name with different values
 * are refused: 400). 404 for other paths, 400 for empty or overlong tokens and bad escapes, 401 +
 * WWW-Authenticate without identity. The path form does not look at cookies. Without rules->path it
 * is 404; without rules->cookie "/ws" is 401.
 * A certificate's user goes before all: then the path is "/ws/{service}/", or names the same user
 * (403 else), or the service comes from its cookie; user's is not looked at.
 */
struct http_answer handshake_identify(const struct handshake *h, const struct identity_rules *rules,
	struct handshake_identity *id);

/*
 * The same where credentials name who it is, and a request may leave it open: "/ws/{service}/"
 * names no user, and cookies may name one of the two or none (no 401). What is not named has a
 * length of 0.
 */
struct http_answer handshake_named(const struct handshake *h, const struct identity_rules *rules,
	struct handshake_identity *id);

/*
 * origin.allow, item by item: "same" (host and port of the Host header; default ports filled in by
 * the origin's scheme; `tls` says which scheme we are reached by, -1 unknown), "any", a scheme and
 * a host whose first label may be "*", a scheme, host and port. A rule without a port means its
 * scheme's default port; "*." stands for one label or more. Compared after parsing, never by
 * substring. No Origin header: allowed. 403 otherwise.
 */
struct http_answer handshake_origin(
	const struct handshake *h, const char *const *allow, size_t nallow, int tls);
/* Nonzero when the rule is well formed (for the configuration check). */
bool handshake_origin_rule_valid(const char *rule);

/* The subprotocol of the answer, up to 64 bytes, "" for none; NULL: none was chosen. */
void handshake_choose(struct handshake *h, const char *protocol);
const char *handshake_chosen(const struct handshake *h);

/* What of Sec-WebSocket-Extensions the answer says; shorter than DEFLATE_ANSWER_MAX. */
void handshake_extend(struct handshake *h, const char *extension);

/* The 101 answer. protocol NULL: none. Returns its length, 0 when it does not fit (512 bytes do,
 * plus the protocol). */
size_t handshake_accept(const struct handshake *h, const char *protocol, char *out, size_t outlen);
/*
 * The head of an answer with a body of that type and length, and "Connection: close". Returns its
 * length, 0: does not fit (1024 do, plus the headers).
 */
size_t handshake_head(unsigned status, const char *type, const char *headers, size_t length,
	char *out, size_t outlen);
/* Any other answer with its headers, "Connection: close", Date, Content-Length, text/plain.
 * retry_after 0: none. Returns its length, 0: does not fit (1024 do). */
size_t handshake_refuse(
	const struct http_answer *a, unsigned retry_after, char *out, size_t outlen);

#endif
