/*
 * tls: between a connection and its socket. OpenSSL reads and writes the socket itself; nothing of
 * it is known above this file but that a read may wait for a write, and a write for a read.
 *
 * What OpenSSL has read is taken out of it to the last whole record: no event tells of what it
 * keeps. A write that was not taken is tried again with the same bytes in front, which is what
 * conn.c does: OpenSSL has made a record of them already (SSL_write(3)).
 *
 * Where the kernel can, it has the keys after the handshake (offload.h); else those of TLS 1.3 are
 * ours (seal.h). Then what OpenSSL knows is kept for the request's sake alone, and goes with it.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/uio.h>

#include <wsgate/log.h>
#include <wsgate/offload.h>
#include <wsgate/records.h>
#include <wsgate/seal.h>
#include <wsgate/tlsctx.h>

#include "sealed.h"
#include "tally.h"
#include "tls.h"
#include "worker.h"

bool tls_begin(struct conn *c, struct tlsctx *t)
{
	c->ssl = t ? tlsctx_connection(t) : NULL;
	if (!c->ssl)
		return false;
	if (!SSL_set_app_data(c->ssl, t)) {
		SSL_free(c->ssl);
		c->ssl = NULL;
		return false;
	}
	tlsctx_hold(t);
	if (SSL_set_fd(c->ssl, c->fd) != 1)
		return false;
	c->ktls_wanted = tlsctx_offloads(t) && offload_want(c->ssl);
	c->seal_wanted = c->ktls_wanted || seal_want(c->ssl);
	return c->seal_wanted;
}

/* OpenSSL's part. */
static void tls_forget(struct conn *c)
{
	struct tlsctx *t = c->ssl ? SSL_get_app_data(c->ssl) : NULL;

	SSL_free(c->ssl);
	tlsctx_drop(t);
	c->ssl = NULL;
	c->read_waits = c->write_waits = c->ktls_wanted = c->seal_wanted = 0;
}

void tls_free(struct conn *c)
{
	tls_forget(c);
	seal_free(c->seal);
	c->seal = NULL;
	c->read_more = 0;
}

bool tls_on(const struct conn *c)
{
	return c->ssl || c->seal || c->ktls;
}

bool tls_handshaking(const struct conn *c)
{
	return c->ssl && !SSL_is_init_finished(c->ssl);
}

bool tls_moves(const struct conn *c)
{
	return c->ktls || c->seal || !c->ssl;
}

void tls_opened(struct conn *c)
{
	if (c->ktls || c->seal)
		tls_forget(c);
}

/* What a call that took nothing means, in errno. */
static ssize_t tls_result(struct conn *c, int r, bool reading)
{
	int saved = errno;

	switch (SSL_get_error(c->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		c->write_waits |= !reading;
		errno = EAGAIN;
		return -1;
	case SSL_ERROR_WANT_WRITE:
		c->read_waits |= reading;
		errno = EAGAIN;
		return -1;
	case SSL_ERROR_ZERO_RETURN: /* close_notify; or, by SSL_OP_IGNORE_UNEXPECTED_EOF, the end
				       without it */
		return 0;
	case SSL_ERROR_SYSCALL:
		errno = saved ? saved : ECONNRESET;
		return -1;
	}
	errno = EPROTO;
	return -1;
}

static const char *tls_why; /* of the last record that was none */

/* ---- what OpenSSL has no limit for ---- */

/* Messages of a handshake within a connection that one call may take. OpenSSL answers each, and
 * reads on within the call as long as more of them come: a client could hold a worker in it. */
#define MESSAGES_MAX 32
static unsigned messages;

static void tls_count(
	int write, int version, int type, const void *buf, size_t len, SSL *ssl, void *arg)
{
	(void)version;
	(void)buf;
	(void)len;
	(void)arg;
	if (!write && type == SSL3_RT_HANDSHAKE && ++messages > MESSAGES_MAX)
		/* It looks at that before it takes the next record. */
		SSL_set_shutdown(ssl, SSL_get_shutdown(ssl) | SSL_RECEIVED_SHUTDOWN);
}

static ssize_t tls_read(struct conn *c, uint8_t *buf, size_t len, size_t *got)
{
	ssize_t r = -1;
	size_t n;

	do {
		int ok = SSL_read_ex(c->ssl, buf + *got, len - *got, &n);

		if (ok != 1) {
			r = tls_result(c, ok, true);
			break;
		}
		*got += n;
	} while (*got < len && SSL_has_pending(c->ssl));
	if (messages <= MESSAGES_MAX)
		return r;
	tls_why = "too many handshakes within a connection";
	*got = 0;
	errno = EPROTO;
	return -1;
}

/* ---- without OpenSSL ---- */

/* The handshake, not a byte further: what is behind it may be the kernel's to read. 0: it is over;
 * else what a read that took nothing returns. */
static ssize_t tls_shake(struct conn *c, bool *ended)
{
	int r = SSL_do_handshake(c->ssl);

	*ended = r != 1;
	if (*ended)
		return tls_result(c, r, true);
	c->ktls = c->ktls_wanted && offload_take(c->ssl);
	if (!c->ktls)
		c->seal = seal_take(c->ssl);
	if (!c->ktls && !c->seal)
		SSL_set_msg_callback(c->ssl, tls_count);
	c->ktls_wanted = c->seal_wanted = 0;
	return 0;
}

void tls_rekeyed(struct conn *c)
{
	if (c->state == CONN_LINGER || c->state == CONN_REFUSED || c->state == CONN_STORING)
		conn_read_off(c); /* nothing more is wanted of it */
	else if (c->state == CONN_REQUEST)
		conn_gone(c, "new keys before a request");
	else
		(void)!session_unheard(c, WS_CODE_RESTART, "new keys: please come back");
}

/* ---- reading and writing ---- */

ssize_t tls_recv(struct conn *c, void *buf, size_t len)
{
	size_t got = 0;
	ssize_t r = -1;
	bool ended = false;

	c->read_waits = c->read_more = 0;
	messages = 0;
	ERR_clear_error();
	if (c->seal_wanted)
		r = tls_shake(c, &ended);
	if (ended)
		return r;
	if (c->ktls)
		return records_recv(c->fd, buf, len, &tls_why);
	if (c->seal)
		return sealed_recv(c, buf, len, &tls_why);
	r = tls_read(c, buf, len, &got);
	if (!got)
		return r;
	/* An end, or an error, behind it: it is found again. */
	c->read_more = got == len || r == 0 ||
		       (r < 0 && errno != EAGAIN && !SSL_is_init_finished(c->ssl)) ||
		       (SSL_get_shutdown(c->ssl) & SSL_RECEIVED_SHUTDOWN);
	if (c->read_more && c->reading)
		sight_soon(c);
	return (ssize_t)got;
}

/* One record. data stays the same, or begins the same, after EAGAIN. */
static ssize_t tls_send(struct conn *c, const void *data, size_t len)
{
	size_t done = 0;
	int ok;

	ERR_clear_error();
	ok = SSL_write_ex(c->ssl, data, len, &done);
	if (ok == 1)
		return (ssize_t)done;
	if (tls_result(c, ok, false) == 0)
		errno = EPIPE;
	return -1;
}

size_t tls_gather(const struct iovec *iov, int n, int *i, size_t *at, uint8_t *buf, size_t most)
{
	size_t len = 0;

	while (*i < n && len < most) {
		size_t left = iov[*i].iov_len - *at, part = left < most - len ? left : most - len;

		if (part)
			memcpy(buf + len, (const uint8_t *)iov[*i].iov_base + *at, part);
		len += part;
		*at += part;
		if (part == left) {
			(*i)++;
			*at = 0;
		}
	}
	return len;
}

ssize_t tls_sendv(struct conn *c, const struct iovec *iov, int n)
{
	uint8_t *buf = c->w->tls_buf;
	size_t done = 0, off = 0;
	int i = 0;

	if (c->seal_wanted) { /* the handshake is not over: it would be in plain text */
		errno = EPIPE;
		return -1;
	}
	for (;;) {
		int next = i;
		size_t at = off, len = tls_gather(iov, n, &next, &at, buf, SEAL_DATA_MAX);
		ssize_t r = len ? tls_send(c, buf, len) : 0;

		if (r <= 0)
			return done || !len ? (ssize_t)done : -1;
		done += (size_t)r;
		for (off += (size_t)r; i < n && off >= iov[i].iov_len; i++) /* perhaps a part */
			off -= iov[i].iov_len;
	}
}

bool tls_shut(struct conn *c)
{
	int r;

	if (c->ktls)
		return records_end(c->fd);
	if (c->seal)
		return sealed_end(c);
	if (!c->ssl || !SSL_is_init_finished(c->ssl))
		return true;
	ERR_clear_error();
	r = SSL_shutdown(c->ssl);
	return r >= 0 || SSL_get_error(c->ssl, r) != SSL_ERROR_WANT_WRITE;
}

/* ---- what went wrong ---- */

/* An alert may be under way: our side ends, and the rest of theirs is read, so that it is not lost.
 */
static void tls_refuse(struct conn *c)
{
	tls_free(c);
	conn_shut(c, CONN_REFUSED);
}

void tls_failed(struct conn *c)
{
	static const struct http_answer plain = {400, "this is a TLS port: use https or wss", ""};
	unsigned long e = ERR_peek_error();
	const char *why = ERR_reason_error_string(e);
	bool past = c->ktls || c->seal; /* the handshake */

	ERR_clear_error();
	if (c->seal)
		sealed_complain(c);
	if (past && (c->state == CONN_LINGER || c->state == CONN_REFUSED)) {
		conn_read_off(c); /* it has some time to read what we said last */
		return;
	}
	if (past || messages > MESSAGES_MAX)
		why = tls_why;
	if (c->state != CONN_REQUEST || past ||
		(c->begun_us &&
			!c->seal_wanted)) { /* after a fault OpenSSL calls any state a handshake */
		log_some_infos(20, "client fault", kv_str("reason", why ? why : "TLS"),
			kv_more(conn_who(c)));
		conn_gone(c, "TLS failed");
		return;
	}
	if (ERR_GET_LIB(e) == ERR_LIB_SSL &&
		(ERR_GET_REASON(e) == SSL_R_HTTP_REQUEST ||
			ERR_GET_REASON(e) == SSL_R_HTTPS_PROXY_REQUEST)) {
		tls_free(c); /* nothing was sent so far: in plain text */
		(void)!upgrade_answer(c, &plain, 0);
		return;
	}
	log_some_infos(20, "TLS handshake failed", kv_str("why", why ? why : "error"),
		kv_more(tls_who(c)), kv_more(conn_who(c)));
	tls_refuse(c);
}

void tls_late(struct conn *c)
{
	log_some_infos(
		20, "TLS handshake failed", kv_str("why", "not in time"), kv_more(conn_who(c)));
	tls_refuse(c);
}

/* ---- who ---- */

const struct log_field *tls_who(const struct conn *c)
{
	static struct log_field fields[4];
	struct log_field *f = fields;
	const char *name = c->ssl ? SSL_get_servername(c->ssl, TLSEXT_NAMETYPE_host_name) : NULL;

	if (!c->ssl)
		return NULL;
	*f++ = kv_str("tls", SSL_get_version(c->ssl));
	if (name)
		*f++ = kv_str("sni", name);
	if (SSL_session_reused(c->ssl))
		*f++ = kv_str("resumed", "yes");
	*f = kv_end;
	return fields;
}

static const ASN1_STRING *name_in_subject(const X509 *x)
{
	X509_NAME *subject = X509_get_subject_name(x);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

	return at < 0 ? NULL : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
}

static const ASN1_STRING *name_in_list(const GENERAL_NAMES *list, int type)
{
	for (int i = 0; list && i < sk_GENERAL_NAME_num(list); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(list, i);

		if (g->type == type)
			return g->d.ia5; /* the same for all three */
	}
	return NULL;
}

int tls_user(const struct conn *c, char *out, size_t size)
{
	static const int types[] = {[CERT_USER_EMAIL] = GEN_EMAIL,
		[CERT_USER_URI] = GEN_URI,
		[CERT_USER_DNS] = GEN_DNS};
	enum cert_user from = c->w->c->identity.cert_user;
	X509 *x = c->ssl ? SSL_get0_peer_certificate(c->ssl) : NULL;
	GENERAL_NAMES *list;
	const ASN1_STRING *s;
	uint8_t *utf8 = NULL;
	int n = 0;

	if (!x || SSL_get_verify_result(c->ssl) != X509_V_OK)
		return 0;
	list = from == CERT_USER_CN ? NULL : X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	s = from == CERT_USER_CN ? name_in_subject(x) : name_in_list(list, types[from]);
	if (s)
		n = ASN1_STRING_to_UTF8(&utf8, s);
	if (n > 0 && ((size_t)n > size || memchr(utf8, '\0', (size_t)n)))
		n = -1;
	if (n > 0)
		memcpy(out, utf8, (size_t)n);
	OPENSSL_free(utf8);
	GENERAL_NAMES_free(list);
	ERR_clear_error();
	return n;
}
