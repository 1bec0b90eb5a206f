/*
 * load_tls: see load.h. OpenSSL reads and writes the socket itself.
 */
#include <errno.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "load.h"

SSL_CTX *load_tls_new(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (!ctx)
		load_usage("no TLS");
	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return ctx;
}

void load_tls_begin(struct load_conn *c)
{
	c->state = LOAD_SECURING;
	c->ssl = SSL_new(c->loop->setup->tls);
	if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1) {
		load_conn_drop(c, ENOMEM);
		return;
	}
	SSL_set_connect_state(c->ssl);
	load_tls_go_on(c);
}

void load_tls_go_on(struct load_conn *c)
{
	int r;

	ERR_clear_error();
	r = SSL_do_handshake(c->ssl);
	if (r == 1) {
		load_open_request(c);
		return;
	}
	switch (SSL_get_error(c->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		load_conn_want(c, false);
		return;
	case SSL_ERROR_WANT_WRITE:
		load_conn_want(c, true);
		return;
	}
	load_conn_drop(c, EPROTO);
}

/* What a call that took nothing means: 0 for the end, else -1 and errno. */
static ssize_t nothing(struct load_conn *c, int r)
{
	int saved = errno;

	switch (SSL_get_error(c->ssl, r)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		errno = EAGAIN;
		return -1;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		errno = saved ? saved : ECONNRESET;
		return -1;
	}
	errno = EPROTO;
	return -1;
}

ssize_t load_tls_send(struct load_conn *c, const void *data, size_t len)
{
	size_t n = 0;
	int r;

	if (!c->ssl)
		return send(c->fd, data, len, MSG_NOSIGNAL);
	ERR_clear_error();
	errno = 0;
	r = SSL_write_ex(c->ssl, data, len, &n);
	if (r == 1)
		return (ssize_t)n;
	if (nothing(c, r) == 0)
		errno = EPIPE;
	return -1;
}

ssize_t load_tls_recv(struct load_conn *c, void *to, size_t len)
{
	size_t n = 0;
	int r;

	if (!c->ssl)
		return recv(c->fd, to, len, 0);
	ERR_clear_error();
	errno = 0;
	r = SSL_read_ex(c->ssl, to, len, &n);
	return r == 1 ? (ssize_t)n : nothing(c, r);
}

bool load_tls_more(const struct load_conn *c)
{
	return c->ssl && SSL_has_pending(c->ssl) && SSL_is_init_finished(c->ssl);
}
