/* wslay: frames alone, over a socket or TLS of our own. It answers Pings when the application has
 * it read. */
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>
#include "lines.h"

struct client {
	struct lines_options opt;
	BIO *bio;
	SSL_CTX *tls; /* NULL: plain */
	wslay_event_context_ptr ws;
	bool taking;
	bool over;
	uint16_t code; /* that we close with; 0: not yet, or done */
	char reason[124];
};

static void fail(const char *why)
{
	lines_say("error %s", why);
	exit(1);
}

static void dial(struct client *c)
{
	char where[300];

	snprintf(where, sizeof(where), "%s:%d", c->opt.host, c->opt.port);
	if (c->opt.tls) {
		SSL *ssl = NULL;

		c->tls = SSL_CTX_new(TLS_client_method());
		if (!c->tls ||
			(c->opt.ca && SSL_CTX_load_verify_locations(c->tls, c->opt.ca, NULL) != 1))
			fail("TLS context");
		SSL_CTX_set_verify(c->tls, SSL_VERIFY_PEER, NULL);
		SSL_CTX_set_mode(c->tls,
			SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
		c->bio = BIO_new_ssl_connect(c->tls);
		if (!c->bio || BIO_get_ssl(c->bio, &ssl) != 1 ||
			SSL_set1_host(ssl, c->opt.host) != 1)
			fail("TLS");
		BIO_set_conn_hostname(c->bio, where);
	} else {
		c->bio = BIO_new_connect(where);
	}
	if (!c->bio || BIO_do_connect(c->bio) != 1)
		fail("connect");
}

/* Byte by byte up to the empty line: what is behind it belongs to wslay. */
static void shake(struct client *c)
{
	char head[4096], b;
	size_t n = 0;
	int status = 0;

	BIO_printf(c->bio,
		"GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
		"dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s%s\r\n",
		c->opt.path, c->opt.host, c->opt.port, c->opt.cookie ? "Cookie: " : "",
		c->opt.cookie ? c->opt.cookie : "", c->opt.cookie ? "\r\n" : "");
	while (n < sizeof(head) - 1 && BIO_read(c->bio, &b, 1) == 1) {
		head[n++] = b;
		head[n] = '\0';
		if (n >= 4 && strcmp(head + n - 4, "\r\n\r\n") == 0)
			break;
	}
	head[n] = '\0';
	if (sscanf(head, "HTTP/1.1 %d", &status) != 1 || status != 101) {
		lines_say("refused %d", status);
		exit(0);
	}
	if (!strstr(head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
		fail("Sec-WebSocket-Accept");
	lines_say("open");
}

static ssize_t take_bytes(
	wslay_event_context_ptr ws, uint8_t *buf, size_t len, int flags, void *ctx)
{
	struct client *c = ctx;
	int n = BIO_read(c->bio, buf, (int)len);

	(void)flags;
	if (n > 0)
		return n;
	wslay_event_set_error(
		ws, BIO_should_retry(c->bio) ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static ssize_t give_bytes(
	wslay_event_context_ptr ws, const uint8_t *data, size_t len, int flags, void *ctx)
{
	struct client *c = ctx;
	int n = BIO_write(c->bio, data, (int)len);

	(void)flags;
	if (n > 0)
		return n;
	wslay_event_set_error(
		ws, BIO_should_retry(c->bio) ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static int mask(wslay_event_context_ptr ws, uint8_t *buf, size_t len, void *ctx)
{
	(void)ws;
	(void)ctx;
	arc4random_buf(buf, len);
	return 0;
}

static void heard(
	wslay_event_context_ptr ws, const struct wslay_event_on_msg_recv_arg *a, void *ctx)
{
	struct client *c = ctx;

	(void)ws;
	if (a->opcode == WSLAY_CONNECTION_CLOSE) {
		size_t reason = a->msg_length > 2 ? a->msg_length - 2 : 0;

		lines_say("closed %d %.*s", a->status_code, (int)reason,
			reason ? (const char *)a->msg + 2 : "");
		c->over = true;
	} else if (a->opcode == WSLAY_PONG) {
		lines_say("pong %.*s", (int)a->msg_length, (const char *)a->msg);
	} else if (!wslay_is_ctrl_frame(a->opcode)) {
		lines_message(a->opcode == WSLAY_TEXT_FRAME, a->msg, a->msg_length);
	}
}

static void queue(void *ctx, enum lines_kind kind, const void *data, size_t len)
{
	static const uint8_t opcodes[] = {
		[LINES_TEXT] = WSLAY_TEXT_FRAME,
		[LINES_BINARY] = WSLAY_BINARY_FRAME,
		[LINES_PING] = WSLAY_PING,
	};
	struct wslay_event_msg m = {opcodes[kind], data, len};
	struct client *c = ctx;

	if (wslay_event_queue_msg(c->ws, &m) != 0)
		fail("queue");
}

static void close_later(void *ctx, int code, const char *reason)
{
	struct client *c = ctx;

	c->code = (uint16_t)code;
	snprintf(c->reason, sizeof(c->reason), "%s", reason);
}

static void take(void *ctx, bool on)
{
	struct client *c = ctx;

	c->taking = on;
}

static const struct lines_acts acts = {queue, close_later, take, true};

/* Control frames overtake what is queued: a Close has to wait for the messages before it. */
static void close_when_sent(struct client *c)
{
	if (!c->code || wslay_event_get_queued_msg_count(c->ws) > 0)
		return;
	wslay_event_queue_close(c->ws, c->code, (const uint8_t *)c->reason, strlen(c->reason));
	c->code = 0;
}

static int step(struct client *c)
{
	bool reads = c->taking && wslay_event_want_read(c->ws);
	bool writes = wslay_event_want_write(c->ws);
	struct pollfd fds[2] = {{0, POLLIN, 0}, {(int)BIO_get_fd(c->bio, NULL), 0, 0}};

	fds[1].events = (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
	if (poll(fds, 2, reads && BIO_pending(c->bio) > 0 ? 0 : -1) < 0)
		return -1;
	if (fds[0].revents && !lines_read(&acts, c))
		return -1;
	if (c->taking && wslay_event_want_read(c->ws) && wslay_event_recv(c->ws) != 0)
		return -1;
	if (wslay_event_want_write(c->ws) && wslay_event_send(c->ws) != 0)
		return -1;
	return 0;
}

int main(int argc, char **argv)
{
	struct wslay_event_callbacks callbacks = {
		.recv_callback = take_bytes,
		.send_callback = give_bytes,
		.genmask_callback = mask,
		.on_msg_recv_callback = heard,
	};
	struct client c = {.taking = true};

	lines_options(&c.opt, argc, argv);
	dial(&c);
	shake(&c);
	BIO_socket_nbio((int)BIO_get_fd(c.bio, NULL), 1);
	if (wslay_event_context_client_init(&c.ws, &callbacks, &c) != 0)
		fail("no memory");
	wslay_event_config_set_max_recv_msg_length(c.ws, 64 << 20);
	while (!c.over && step(&c) == 0)
		close_when_sent(&c);
	while (wslay_event_want_write(c.ws) && step(&c) == 0)
		;
	if (!c.over)
		lines_say("closed 1006 ");
	wslay_event_context_free(c.ws);
	BIO_free_all(c.bio);
	SSL_CTX_free(c.tls);
	return 0;
}
