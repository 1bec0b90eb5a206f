/* libwebsockets: one loop, one callback. "pause" is lws_rx_flow_control(). */
#include <libwebsockets.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lines.h"

struct piece { /* what is to be sent, owned */
	struct piece *next;
	enum lws_write_protocol kind;
	size_t len;
	unsigned char data[];
};

struct client {
	struct lines_options opt;
	struct lws *ws;
	struct lws *in; /* standard input */
	struct piece *first, **last;
	uint8_t *got; /* the message under way, owned */
	size_t len;
	int code; /* that we close with; 0: not yet */
	char reason[124];
	char closed[200]; /* the Close that came */
	bool over;
};

static void die(const char *why)
{
	lines_say("error %s", why);
	exit(1);
}

static void queue(void *ctx, enum lines_kind kind, const void *data, size_t len)
{
	static const enum lws_write_protocol kinds[] = {
		[LINES_TEXT] = LWS_WRITE_TEXT,
		[LINES_BINARY] = LWS_WRITE_BINARY,
		[LINES_PING] = LWS_WRITE_PING,
	};
	struct client *c = ctx;
	struct piece *p = malloc(sizeof(*p) + LWS_PRE + len);

	if (!p)
		die("no memory");
	p->next = NULL;
	p->kind = kinds[kind];
	p->len = len;
	memcpy(p->data + LWS_PRE, data, len);
	*c->last = p;
	c->last = &p->next;
	lws_callback_on_writable(c->ws);
}

static void close_later(void *ctx, int code, const char *reason)
{
	struct client *c = ctx;

	c->code = code;
	snprintf(c->reason, sizeof(c->reason), "%s", reason);
	lws_callback_on_writable(c->ws);
}

static void take(void *ctx, bool on)
{
	struct client *c = ctx;

	lws_rx_flow_control(c->ws, on);
}

static const struct lines_acts acts = {queue, close_later, take, true};

/* One piece a call: libwebsockets calls again when there is room. */
static int writable(struct client *c)
{
	struct piece *p = c->first;

	if (p) {
		if (lws_write(c->ws, p->data + LWS_PRE, p->len, p->kind) < 0)
			return -1;
		c->first = p->next;
		if (!c->first)
			c->last = &c->first;
		free(p);
		if (c->first || c->code)
			lws_callback_on_writable(c->ws);
		return 0;
	}
	if (!c->code)
		return 0;
	if (lws_partial_buffered(c->ws)) { /* it would be dropped */
		lws_callback_on_writable(c->ws);
		return 0;
	}
	lws_close_reason(c->ws, (enum lws_close_status)c->code, (unsigned char *)c->reason,
		strlen(c->reason));
	return -1;
}

static void received(struct client *c, const void *data, size_t len)
{
	c->got = realloc(c->got, c->len + len + 1);
	if (!c->got)
		die("no memory");
	memcpy(c->got + c->len, data, len);
	c->len += len;
	if (!lws_is_final_fragment(c->ws) || lws_remaining_packet_payload(c->ws) > 0)
		return;
	lines_message(!lws_frame_is_binary(c->ws), c->got, c->len);
	c->len = 0;
}

static void close_came(struct client *c, const unsigned char *data, size_t len)
{
	snprintf(c->closed, sizeof(c->closed), "closed %d %.*s",
		len < 2 ? 1005 : data[0] << 8 | data[1], len < 2 ? 0 : (int)len - 2,
		len < 2 ? "" : (const char *)data + 2);
}

static int add_cookie(struct client *c, struct lws *wsi, unsigned char **at, size_t room)
{
	if (!c->opt.cookie)
		return 0;
	return lws_add_http_header_by_token(wsi, WSI_TOKEN_HTTP_COOKIE,
		(const unsigned char *)c->opt.cookie, (int)strlen(c->opt.cookie), at, *at + room);
}

static int callback(
	struct lws *wsi, enum lws_callback_reasons why, void *user, void *in, size_t len)
{
	struct client *c = lws_context_user(lws_get_context(wsi));

	(void)user;
	switch (why) {
	case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
		return add_cookie(c, wsi, in, len);
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
		lines_say("open");
		break;
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
		lines_say("error %s", in ? (const char *)in : "connection");
		c->over = true;
		break;
	case LWS_CALLBACK_CLIENT_RECEIVE:
		received(c, in, len);
		break;
	case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
		lines_say("pong %.*s", (int)len, (const char *)in);
		break;
	case LWS_CALLBACK_CLIENT_WRITEABLE:
		return writable(c);
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		close_came(c, in, len);
		break;
	case LWS_CALLBACK_CLIENT_CLOSED:
		/* the answer to a Close of our own is not shown */
		if (!c->closed[0])
			snprintf(c->closed, sizeof(c->closed), "closed %d %s",
				c->code ? c->code : 1006, c->reason);
		lines_say("%s", c->closed);
		c->over = true;
		break;
	default:
		break;
	}
	return 0;
}

/* Standard input in the same loop. */
static int input(struct lws *wsi, enum lws_callback_reasons why, void *user, void *in, size_t len)
{
	struct client *c = lws_context_user(lws_get_context(wsi));

	(void)user;
	(void)in;
	(void)len;
	if (why == LWS_CALLBACK_RAW_RX_FILE && !lines_read(&acts, c))
		c->over = true;
	return 0;
}

int main(int argc, char **argv)
{
	static const struct lws_protocols protocols[] = {
		{.name = "wsgate", .callback = callback, .rx_buffer_size = 65536},
		{.name = "input", .callback = input},
		{0},
	};
	static const struct lws_extension deflate[] = {
		{"permessage-deflate", lws_extension_callback_pm_deflate, "permessage-deflate"},
		{0},
	};
	struct client c = {.last = &c.first};
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN, .protocols = protocols, .user = &c};
	struct lws_client_connect_info to = {0};
	struct lws_context *context;
	struct lws_vhost *vhost;

	lines_options(&c.opt, argc, argv);
	lws_set_log_level(0, NULL);
	info.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
	info.client_ssl_ca_filepath = c.opt.ca;
	info.extensions = c.opt.deflate ? deflate : NULL;
	context = lws_create_context(&info);
	vhost = context ? lws_create_vhost(context, &info) : NULL;
	if (!vhost)
		die("context");
	to.context = context;
	to.vhost = vhost;
	to.address = to.host = c.opt.host;
	to.port = c.opt.port;
	to.path = c.opt.path;
	to.ssl_connection = c.opt.tls ? LCCSCF_USE_SSL : 0;
	to.pwsi = &c.ws;
	to.local_protocol_name = "wsgate";
	if (!lws_client_connect_via_info(&to) ||
		!lws_adopt_descriptor_vhost(vhost, LWS_ADOPT_RAW_FILE_DESC,
			(lws_sock_file_fd_type){.filefd = 0}, "input", NULL))
		die("connect");
	while (!c.over && lws_service(context, 0) >= 0)
		;
	free(c.got);
	lws_context_destroy(context);
	return 0;
}
