/* libsoup 3: GLib's loop, signals. */
#include <libsoup/soup.h>
#include <stdlib.h>
#include <string.h>
#include "lines.h"

struct client {
	struct lines_options opt;
	GMainLoop *loop;
	SoupMessage *msg;
	SoupWebsocketConnection *ws;
};

static void send_message(void *ctx, enum lines_kind kind, const void *data, size_t len)
{
	struct client *c = ctx;

	if (kind == LINES_TEXT)
		soup_websocket_connection_send_text(c->ws, data);
	else
		soup_websocket_connection_send_binary(c->ws, data, len);
}

static void close_now(void *ctx, int code, const char *reason)
{
	struct client *c = ctx;

	soup_websocket_connection_close(c->ws, (gushort)code, reason);
}

static const struct lines_acts acts = {send_message, close_now, NULL, false};

static gboolean input(GIOChannel *in, GIOCondition what, gpointer ctx)
{
	struct client *c = ctx;

	(void)in;
	(void)what;
	if (lines_read(&acts, c))
		return TRUE;
	g_main_loop_quit(c->loop);
	return FALSE;
}

static void heard(SoupWebsocketConnection *ws, SoupWebsocketDataType type, GBytes *data)
{
	gsize len;
	const void *p = g_bytes_get_data(data, &len);

	(void)ws;
	lines_message(type == SOUP_WEBSOCKET_DATA_TEXT, p, len);
}

static void closed(SoupWebsocketConnection *ws, struct client *c)
{
	const char *reason = soup_websocket_connection_get_close_data(ws);
	gushort code = soup_websocket_connection_get_close_code(ws);

	lines_say("closed %d %s", code ? code : 1006, reason ? reason : "");
	g_main_loop_quit(c->loop);
}

static void connected(GObject *session, GAsyncResult *result, gpointer ctx)
{
	struct client *c = ctx;
	GError *err = NULL;

	c->ws = soup_session_websocket_connect_finish(SOUP_SESSION(session), result, &err);
	if (!c->ws) {
		if (soup_message_get_status(c->msg) >= 400)
			lines_say("refused %d", soup_message_get_status(c->msg));
		else
			lines_say("error %s", err->message);
		exit(0);
	}
	soup_websocket_connection_set_max_incoming_payload_size(c->ws, 64 << 20);
	g_signal_connect(c->ws, "message", G_CALLBACK(heard), NULL);
	g_signal_connect(c->ws, "closed", G_CALLBACK(closed), c);
	lines_say("open");
	g_io_add_watch(g_io_channel_unix_new(0), G_IO_IN | G_IO_HUP, input, c);
}

int main(int argc, char **argv)
{
	struct client c = {0};
	SoupSession *session = soup_session_new();
	GError *err = NULL;

	lines_options(&c.opt, argc, argv);
	c.loop = g_main_loop_new(NULL, FALSE);
	if (c.opt.deflate)
		soup_session_add_feature_by_type(session, SOUP_TYPE_WEBSOCKET_EXTENSION_MANAGER);
	if (c.opt.ca) {
		GTlsDatabase *trust = g_tls_file_database_new(c.opt.ca, &err);

		if (!trust) {
			lines_say("error %s", err->message);
			return 1;
		}
		soup_session_set_tls_database(session, trust);
	}
	c.msg = soup_message_new("GET", c.opt.url);
	if (c.opt.cookie)
		soup_message_headers_append(
			soup_message_get_request_headers(c.msg), "Cookie", c.opt.cookie);
	soup_session_websocket_connect_async(
		session, c.msg, NULL, NULL, G_PRIORITY_DEFAULT, NULL, connected, &c);
	g_main_loop_run(c.loop);
	return 0;
}
