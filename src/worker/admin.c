#include <string.h>

#include "worker.h"

/* Any worker answers for the whole family: what it says stands in shared memory. */

static bool admin_readyz(struct conn *c)
{
	static const struct http_answer ready = {200, "ready", ""};
	static const struct http_answer draining = {503, "not ready: draining", ""};
	static const struct http_answer starting = {
		503, "not ready: no contact with the broker yet", ""};
	static const struct http_answer away = {
		503, "not ready: no broker for longer than broker.grace", ""};

	if (c->w->draining || c->w->leaving)
		return upgrade_answer(c, &draining, 0);
	switch (link_broker(c->w)) {
	case LINK_BROKER_STARTING:
		return upgrade_answer(c, &starting, 0);
	case LINK_BROKER_AWAY:
		return upgrade_answer(c, &away, 0);
	case LINK_BROKER_READY:
		break;
	}
	return upgrade_answer(c, &ready, 0);
}

bool admin_request(struct conn *c)
{
	static const struct http_answer live = {200, "live", ""};
	static const struct http_answer method = {405, "only GET here", "Allow: GET\r\n"};
	static const struct http_answer unknown = {404, "there are /livez and /readyz", ""};
	const char *path = handshake_path(c->hs);

	if (strcmp(handshake_method(c->hs), "GET") != 0)
		return upgrade_answer(c, &method, 0);
	if (strcmp(path, "/livez") == 0)
		return upgrade_answer(c, &live, 0);
	if (strcmp(path, "/readyz") == 0)
		return admin_readyz(c);
	return upgrade_answer(c, &unknown, 0);
}
