/*
 * seal: see seal.h.
 */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <wsgate/seal.h>

#include "traffic.h"

#define HEADER 5
#define TAG 16
#define NONCE 12
#define KEY_UPDATE_RECORD (HEADER + 5 + 1 + TAG)
#define INPUT (64 * 1024) /* read at once */
#define SMALL_MAX 4
#define BARREN_MAX 32                   /* records without data in a row */
#define UPDATES_MAX 128                 /* of its keys, which cost far more than a record, */
#define DATA_PER_UPDATE 64              /* and one more for so many records with data */
#define RECORDS_MAX (UINT64_C(1) << 23) /* with one key of AES-GCM; RFC 8446 5.5: 2^24.5 */
_Static_assert(SEAL_FRONT >= KEY_UPDATE_RECORD + HEADER && SEAL_BEHIND > TAG, "room for a record");
_Static_assert(SEAL_ALERT_MAX >= HEADER + 2 + 1 + TAG, "room for an alert");

enum { RECORD_ALERT = 21, RECORD_HANDSHAKE = 22, RECORD_DATA = 23 };
enum { ALERT_WARNING = 1, ALERT_FATAL };
enum {
	ALERT_CLOSE = 0,
	ALERT_UNEXPECTED = 10,
	ALERT_BAD_MAC = 20,
	ALERT_OVERFLOW = 22,
	ALERT_ILLEGAL = 47,
	ALERT_DECODE = 50,
	ALERT_INTERNAL = 80,
	ALERT_CANCELED = 90,
};
enum { KEY_UPDATE = 24 };

struct way { /* one of two directions */
	uint64_t seq;
	uint8_t secret[TRAFFIC_SECRET_MAX], key[32], iv[NONCE];
};

struct seal {
	struct way read, write;
	uint8_t *rest; /* owned: of a record that has not come whole; NULL: none */
	uint32_t rest_len;
	uint8_t cipher;                /* enum seal_cipher */
	uint8_t small;                 /* as in seal_state */
	uint8_t barren, updates, data; /* see their bounds */
	uint8_t complaint;
	bool owes : 1, ended : 1, shut : 1;
	const char *fault; /* NULL: none */
};

/* ---- ciphers ---- */

static const struct kind {
	const char *name, *md;
	int nid;
	size_t key, secret;
} kinds[] = {
	[SEAL_AES_128_GCM] = {"AES-128-GCM", "SHA256", NID_aes_128_gcm, 16, 32},
	[SEAL_AES_256_GCM] = {"AES-256-GCM", "SHA384", NID_aes_256_gcm, 32, 48},
	[SEAL_CHACHA20_POLY1305] = {"ChaCha20-Poly1305", "SHA256", NID_chacha20_poly1305, 32, 32},
};
#define NKINDS (sizeof(kinds) / sizeof(kinds[0]))

/* A worker has one thread: all its connections share these, which live as long as it. */
static struct engine {
	EVP_CIPHER_CTX *ctx;
	const struct way *keyed; /* whose key it has; NULL: nobody's */
} engines[NKINDS][2];
static EVP_MD *digests[NKINDS];

static void unkey(const struct way *w)
{
	for (size_t i = 0; i < NKINDS; i++)
		for (int k = 0; k < 2; k++)
			if (engines[i][k].keyed == w)
				engines[i][k].keyed = NULL;
}

/* NULL: no memory. */
static EVP_CIPHER_CTX *engine_for(const struct seal *s, const struct way *w, bool writes)
{
	struct engine *e = &engines[s->cipher][writes];
	uint8_t nonce[NONCE];

	if (!e->ctx) {
		EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, kinds[s->cipher].name, NULL);

		e->ctx = cipher ? EVP_CIPHER_CTX_new() : NULL;
		if (e->ctx && !EVP_CipherInit_ex2(e->ctx, cipher, NULL, NULL, writes, NULL)) {
			EVP_CIPHER_CTX_free(e->ctx);
			e->ctx = NULL;
		}
		EVP_CIPHER_free(cipher);
	}
	memcpy(nonce, w->iv, NONCE);
	for (unsigned i = 0; i < 8; i++)
		nonce[NONCE - 1 - i] ^= (uint8_t)(w->seq >> (8 * i));
	if (!e->ctx || !EVP_CipherInit_ex2(
			       e->ctx, NULL, e->keyed == w ? NULL : w->key, nonce, writes, NULL)) {
		e->keyed = NULL;
		return NULL;
	}
	e->keyed = w;
	return e->ctx;
}

/* Keys of the way's secret. */
static bool derive(const struct seal *s, struct way *w)
{
	const struct kind *k = &kinds[s->cipher];

	if (!digests[s->cipher])
		digests[s->cipher] = EVP_MD_fetch(NULL, k->md, NULL);
	unkey(w);
	return digests[s->cipher] &&
	       traffic_expand(digests[s->cipher], w->secret, k->secret, "key", w->key, k->key) &&
	       traffic_expand(digests[s->cipher], w->secret, k->secret, "iv", w->iv, NONCE);
}

/* RFC 8446 7.2 */
static bool update(struct seal *s, struct way *w)
{
	const struct kind *k = &kinds[s->cipher];
	uint8_t next[TRAFFIC_SECRET_MAX];
	bool good = traffic_expand(
		digests[s->cipher], w->secret, k->secret, "traffic upd", next, k->secret);

	if (good)
		memcpy(w->secret, next, k->secret);
	OPENSSL_cleanse(next, sizeof(next));
	if (!good || !derive(s, w))
		return false;
	w->seq = 0;
	return true;
}

/* ---- made and freed ---- */

struct seal *seal_restore(const struct seal_state *st, const uint8_t *rest, size_t rest_len)
{
	struct seal *s;

	if (st->cipher == 0 || st->cipher >= NKINDS || st->small > SMALL_MAX ||
		rest_len >= SEAL_RECORD_MAX)
		return NULL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->cipher = st->cipher;
	s->small = st->small;
	s->owes = st->owes;
	s->ended = st->ended;
	s->shut = st->shut;
	s->fault = st->failed ? "what another worker has read" : NULL;
	s->complaint = st->complaint;
	s->read.seq = st->read_seq;
	s->write.seq = st->write_seq;
	memcpy(s->read.secret, st->read_secret, TRAFFIC_SECRET_MAX);
	memcpy(s->write.secret, st->write_secret, TRAFFIC_SECRET_MAX);
	s->rest = rest_len ? malloc(rest_len) : NULL;
	if ((rest_len && !s->rest) || !derive(s, &s->read) || !derive(s, &s->write)) {
		ERR_clear_error();
		seal_free(s);
		return NULL;
	}
	if (rest_len)
		memcpy(s->rest, rest, rest_len);
	s->rest_len = (uint32_t)rest_len;
	return s;
}

void seal_save(const struct seal *s, struct seal_state *st, const uint8_t **rest, size_t *rest_len)
{
	memset(st, 0, sizeof(*st));
	st->cipher = s->cipher;
	st->small = s->small;
	st->owes = s->owes;
	st->ended = s->ended;
	st->shut = s->shut;
	st->failed = s->fault != NULL;
	st->complaint = s->complaint;
	st->read_seq = s->read.seq;
	st->write_seq = s->write.seq;
	memcpy(st->read_secret, s->read.secret, TRAFFIC_SECRET_MAX);
	memcpy(st->write_secret, s->write.secret, TRAFFIC_SECRET_MAX);
	*rest = s->rest;
	*rest_len = s->rest_len;
}

void seal_free(struct seal *s)
{
	if (!s)
		return;
	unkey(&s->read);
	unkey(&s->write);
	free(s->rest);
	OPENSSL_cleanse(s, sizeof(*s));
	free(s);
}

bool seal_want(SSL *ssl)
{
	return traffic_want(ssl);
}

static struct seal *take(SSL *ssl, const struct traffic *t)
{
	int nid = SSL_CIPHER_get_cipher_nid(SSL_get_current_cipher(ssl));
	struct seal_state st = {.write_seq = t->written,
		.small = SSL_SESSION_get_max_fragment_length(SSL_get_session(ssl))};
	struct seal *s = NULL;

	memcpy(st.read_secret, t->client, TRAFFIC_SECRET_MAX);
	memcpy(st.write_secret, t->server, TRAFFIC_SECRET_MAX);
	for (uint8_t i = 1; i < NKINDS; i++)
		if (kinds[i].nid == nid && kinds[i].secret == t->len)
			st.cipher = i;
	if (st.cipher)
		s = seal_restore(&st, NULL, 0);
	OPENSSL_cleanse(&st, sizeof(st));
	return s;
}

struct seal *seal_take(SSL *ssl)
{
	const struct traffic *t = traffic_of(ssl);
	struct seal *s = NULL;

	if (t && SSL_is_init_finished(ssl) && !SSL_has_pending(ssl) &&
		!BIO_get_ktls_send(SSL_get_wbio(ssl)) && !BIO_get_ktls_recv(SSL_get_rbio(ssl)))
		s = take(ssl, t);
	traffic_forget(ssl);
	if (!s)
		SSL_set_read_ahead(ssl, 1);
	return s;
}

/* ---- writing ---- */

/* In place: `len` bytes lie at rec + HEADER, and have room behind them. Its length; 0: it cannot be
 * made. */
static size_t record(struct seal *s, uint8_t type, uint8_t *rec, size_t len)
{
	EVP_CIPHER_CTX *ctx = engine_for(s, &s->write, true);
	size_t body = len + 1 + TAG;
	int n;

	rec[0] = RECORD_DATA; /* RFC 8446 5.2: all look alike */
	rec[1] = 3;
	rec[2] = 3;
	rec[3] = (uint8_t)(body >> 8);
	rec[4] = (uint8_t)body;
	rec[HEADER + len] = type;
	if (!ctx || !EVP_EncryptUpdate(ctx, NULL, &n, rec, HEADER) ||
		!EVP_EncryptUpdate(ctx, rec + HEADER, &n, rec + HEADER, (int)len + 1) ||
		!EVP_EncryptFinal_ex(ctx, rec + HEADER + len + 1, &n) ||
		!EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, rec + HEADER + len + 1)) {
		unkey(&s->write);
		ERR_clear_error();
		s->shut = true; /* nothing comes behind a hole */
		return 0;
	}
	s->write.seq++;
	return HEADER + body;
}

/* KeyUpdate (not requested), and the keys that it tells of. */
static bool renew(struct seal *s, uint8_t *rec)
{
	static const uint8_t message[5] = {KEY_UPDATE, 0, 0, 1, 0};

	memcpy(rec + HEADER, message, sizeof(message));
	s->owes = false;
	if (record(s, RECORD_HANDSHAKE, rec, sizeof(message)) && update(s, &s->write))
		return true;
	s->shut = true;
	return false;
}

size_t seal_data_max(const struct seal *s)
{
	return s->small ? (size_t)256 << s->small : SEAL_DATA_MAX;
}

uint8_t *seal_data(struct seal *s, uint8_t *buf, size_t len, size_t *n)
{
	uint8_t *rec = buf + SEAL_FRONT - HEADER, *from = rec;

	if (s->shut)
		return NULL;
	if (s->cipher != SEAL_CHACHA20_POLY1305 && s->write.seq >= RECORDS_MAX)
		s->owes = true;
	if (s->owes) {
		from -= KEY_UPDATE_RECORD;
		if (!renew(s, from))
			return NULL;
	}
	*n = record(s, RECORD_DATA, rec, len);
	if (!*n)
		return NULL;
	*n += (size_t)(rec - from);
	return from;
}

static size_t alert(struct seal *s, uint8_t level, uint8_t what, uint8_t *out)
{
	if (s->shut)
		return 0;
	s->shut = true;
	out[HEADER] = level;
	out[HEADER + 1] = what;
	return record(s, RECORD_ALERT, out, 2);
}

size_t seal_end(struct seal *s, uint8_t *out)
{
	return alert(s, ALERT_WARNING, ALERT_CLOSE, out);
}

size_t seal_complaint(struct seal *s, uint8_t *out)
{
	return s->complaint ? alert(s, ALERT_FATAL, s->complaint, out) : 0;
}

/* ---- reading ---- */

static bool fault(struct seal *s, uint8_t complaint, const char *what)
{
	s->fault = what;
	s->complaint = complaint;
	return false;
}

static bool on_alert(struct seal *s, const uint8_t *body, size_t n)
{
	if (n != 2) /* RFC 8446 5.4: an empty one is no record at all */
		return fault(s, n ? ALERT_DECODE : ALERT_UNEXPECTED, "an alert that is none");
	if (body[1] == ALERT_CLOSE)
		s->ended = true;
	else if (body[1] != ALERT_CANCELED) /* RFC 8446 6: whatever its level */
		return fault(s, 0, "a fatal alert");
	return true;
}

/* What else may come behind a handshake is not for servers. */
static bool on_handshake(struct seal *s, const uint8_t *body, size_t n)
{
	static const uint8_t head[4] = {KEY_UPDATE, 0, 0, 1};

	if (n != 5 || memcmp(body, head, sizeof(head)) != 0)
		return fault(s, ALERT_UNEXPECTED, "a handshake within a connection");
	if (body[4] > 1)
		return fault(s, ALERT_ILLEGAL, "new keys in no known way");
	if (++s->updates > UPDATES_MAX)
		return fault(s, ALERT_UNEXPECTED, "too many new keys");
	s->owes |= body[4] == 1;
	return update(s, &s->read) || fault(s, ALERT_INTERNAL, "no keys");
}

/* rec is whole; body has room for what is in it. The length of that, with its type behind it; 0:
 * see s->fault. */
static size_t unseal(struct seal *s, uint8_t *rec, size_t len, uint8_t *body)
{
	EVP_CIPHER_CTX *ctx = engine_for(s, &s->read, false);
	size_t in = len - TAG;
	int n;

	if (!ctx || !EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG, rec + HEADER + in) ||
		!EVP_DecryptUpdate(ctx, NULL, &n, rec, HEADER) ||
		!EVP_DecryptUpdate(ctx, body, &n, rec + HEADER, (int)in)) {
		unkey(&s->read);
		return fault(s, ALERT_INTERNAL, "it cannot be decrypted");
	}
	if (EVP_DecryptFinal_ex(ctx, body + in, &n) <= 0) {
		unkey(&s->read);
		return fault(s, ALERT_BAD_MAC, "a record that was not encrypted with its key");
	}
	s->read.seq++;
	if (in > SEAL_DATA_MAX + 1)
		return fault(s, ALERT_OVERFLOW, "a record that is too large");
	while (in > 0 && body[in - 1] == 0) /* RFC 8446 5.4: padding */
		in--;
	if (!in)
		return fault(s, ALERT_UNEXPECTED, "a record without a type");
	return in;
}

/* One that is whole; *got counts the data in buf. */
static bool take_record(struct seal *s, uint8_t *rec, size_t len, uint8_t *buf, size_t *got)
{
	uint8_t *body = buf + *got;
	size_t n = unseal(s, rec, len, body);

	if (!n)
		return false;
	if (body[--n] == RECORD_DATA && n > 0) {
		*got += n;
		s->barren = 0;
		if (++s->data % DATA_PER_UPDATE == 0 && s->updates)
			s->updates--;
		return true;
	}
	if (++s->barren > BARREN_MAX)
		return fault(s, ALERT_UNEXPECTED, "too many records without data");
	switch (body[n]) {
	case RECORD_DATA: /* an empty one is allowed */
		return true;
	case RECORD_ALERT:
		return on_alert(s, body, n);
	case RECORD_HANDSHAKE:
		return on_handshake(s, body, n);
	}
	return fault(s, ALERT_UNEXPECTED, "a record of no known type");
}

/* The length of what follows the header; 0: none, see s->fault. */
static size_t header(struct seal *s, const uint8_t *rec)
{
	size_t len = (size_t)rec[3] << 8 | rec[4];

	if (rec[0] != RECORD_DATA || rec[1] != 3)
		return fault(s, ALERT_UNEXPECTED, "no record of TLS 1.3");
	if (len > SEAL_RECORD_MAX - HEADER)
		return fault(s, ALERT_OVERFLOW, "a record that is too large");
	if (len <= TAG)
		return fault(s, ALERT_DECODE, "a record that is too short");
	return len;
}

/* What is not whole waits. False: no memory. */
static bool keep(struct seal *s, const uint8_t *data, size_t len)
{
	uint8_t *rest = len ? malloc(len) : NULL;

	if (len && !rest)
		return false;
	if (len)
		memcpy(rest, data, len);
	free(s->rest);
	s->rest = rest;
	s->rest_len = (uint32_t)len;
	return true;
}

static ssize_t over(const struct seal *s, const char **why)
{
	if (!s->fault)
		return 0;
	*why = s->fault;
	errno = EPROTO;
	return -1;
}

ssize_t seal_recv(struct seal *s, int fd, void *buf, size_t len, bool *more, const char **why)
{
	static uint8_t input[INPUT]; /* of all connections: nothing stays in it */
	size_t room = len < INPUT ? len : INPUT, have = s->rest_len, at = 0, got = 0, part;
	ssize_t n;

	*more = false;
	if (s->ended || s->fault)
		return over(s, why);
	n = recv(fd, input + have, room - have, MSG_DONTWAIT);
	if (n <= 0)
		return n;
	if (have)
		memcpy(input, s->rest, have);
	have += (size_t)n;
	while (!s->ended && have - at >= HEADER) {
		part = header(s, input + at);
		if (!part || have - at - HEADER < part ||
			!take_record(s, input + at, part, buf, &got))
			break;
		at += HEADER + part;
	}
	ERR_clear_error();
	if (s->ended || s->fault)
		at = have; /* what follows is nobody's */
	if (!keep(s, input + at, have - at)) {
		errno = ENOMEM;
		return -1;
	}
	*more = got && (s->ended || s->fault);
	if (got)
		return (ssize_t)got;
	if (s->ended || s->fault)
		return over(s, why);
	errno = EAGAIN;
	return -1;
}
