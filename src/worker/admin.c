/*
 * admin: the admin listener. Any worker answers for the whole family: what it says stands in shared
 * memory, or was said by the master.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "page.h"
#include "worker.h"

#define HEADERS                                                                                    \
	"Cache-Control: no-store\r\n"                                                              \
	"X-Content-Type-Options: nosniff\r\n"                                                      \
	"Cross-Origin-Resource-Policy: same-origin\r\n"                                            \
	"Referrer-Policy: no-referrer\r\n"
#define PLAIN "text/plain; charset=utf-8"
#define HEAD_MAX 4096

struct admin_answer {
	unsigned status;
	const char *type, *headers; /* more of them, each ending with CRLF */
	const char *body;
	size_t len;
};

static bool admin_answer(struct conn *c, const struct admin_answer *a)
{
	bool body = strcmp(handshake_method(c->hs), "HEAD") != 0;
	char headers[HEAD_MAX - 1024], head[HEAD_MAX];
	int h = snprintf(headers, sizeof(headers), HEADERS "%s", a->headers);
	size_t n = 0;

	if (h > 0 && (size_t)h < sizeof(headers))
		n = handshake_head(a->status, a->type, headers, a->len, head, sizeof(head));
	if (!n)
		return conn_gone(c, "no room for an answer");
	if (!conn_send(c, head, n) || (body && a->len && !conn_send(c, a->body, a->len)))
		return false;
	conn_shut(c, CONN_REFUSED);
	return true;
}

static bool admin_text(struct conn *c, unsigned status, const char *headers, const char *text)
{
	struct admin_answer a = {status, PLAIN, headers, text, strlen(text)};

	return admin_answer(c, &a);
}

/* Frees body. */
static bool admin_made(struct conn *c, const char *type, char *body, size_t len)
{
	struct admin_answer a = {200, type, "", body, len};
	bool alive = body ? admin_answer(c, &a) : admin_text(c, 503, "", "out of memory\n");

	free(body);
	return alive;
}

/* ---- health ---- */

const char *admin_not_ready(const struct worker *w)
{
	uint64_t beat = stat_get(w->shm.bridge->beat_ms);

	if (w->draining || w->leaving)
		return w->stopping ? "not ready: draining"
				   : "not ready: drained, until wsgatectl undrain";
	switch (link_broker(w, LINK_ANY)) {
	case LINK_BROKER_STARTING:
		return "not ready: no contact with the broker yet";
	case LINK_BROKER_AWAY:
		return "not ready: no broker for longer than broker.grace";
	case LINK_BROKER_READY:
		break;
	}
	return w->now_ms > beat + ADMIN_SILENCE_MS ? "not ready: the bridge does not answer" : NULL;
}

static bool admin_readyz(struct conn *c)
{
	const char *why = admin_not_ready(c->w);
	char text[128];

	snprintf(text, sizeof(text), "%s\n", why ? why : "ready");
	return admin_text(c, why ? 503 : 200, "", text);
}

/* ---- who asks ---- */

/*
 * A page of somebody else may let its own name point here, and read what its browser is answered
 * (DNS rebinding): then Host has that name. The name of a Unix socket means nothing.
 */
static bool admin_host_known(const struct conn *c)
{
	const char *host = handshake_authority(c->hs), *colon = strrchr(host, ':');
	const struct strlist *l = &c->w->c->admin.hosts;
	size_t n = colon ? (size_t)(colon - host) : strlen(host);
	struct in_addr in;
	char name[256];

	/* None: HTTP/1.0, which no browser speaks. An address in brackets: that was checked. */
	if (c->local || host[0] == '\0' || host[0] == '[')
		return true;
	if (n == 0 || n >= sizeof(name))
		return false;
	memcpy(name, host, n);
	name[n] = '\0';
	if (strcasecmp(name, "localhost") == 0 || inet_pton(AF_INET, name, &in) == 1)
		return true;
	for (size_t i = 0; i < l->n; i++)
		if (strcasecmp(name, l->v[i]) == 0)
			return true;
	return false;
}

/* ---- pages ---- */

static bool admin_page(struct conn *c)
{
	char headers[PAGE_HEADERS_MAX];
	struct admin_answer a = {200, "text/html; charset=utf-8", headers, page_begin,
		(size_t)(page_end - page_begin)};

	if (!page_headers(c, headers))
		return admin_text(c, 500, "", "the page cannot be shown\n");
	return admin_answer(c, &a);
}

bool admin_request(struct conn *c)
{
	const char *path = handshake_path(c->hs), *method = handshake_method(c->hs);
	size_t len = 0;
	char *body;

	if (!admin_host_known(c))
		return admin_text(c, 421, "",
			"not by this name: ask by address or as localhost, or add the name to "
			"admin.hosts\n");
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return admin_text(c, 405, "Allow: GET, HEAD\r\n", "only GET here\n");
	if (strcmp(path, "/livez") == 0)
		return admin_text(c, 200, "", "live\n");
	if (strcmp(path, "/readyz") == 0)
		return admin_readyz(c);
	if (strcmp(path, "/metrics") == 0) {
		body = metrics_text(c->w, &len);
		return admin_made(c, "text/plain; version=0.0.4; charset=utf-8", body, len);
	}
	if (strcmp(path, "/status.json") == 0) {
		body = live_status(c->w, &len);
		return admin_made(c, "application/json", body, len);
	}
	if (strcmp(path, "/live") == 0)
		return live_open(c);
	if (strcmp(path, "/") == 0)
		return admin_page(c);
	return admin_text(c, 404, "",
		"there are /, /livez, /readyz, /metrics, /status.json and, for WebSocket, /live\n");
}
