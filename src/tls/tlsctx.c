/*
 * tlsctx: see tlsctx.h. One SSL_CTX for each set of certificates that a name may ask for.
 */
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <wsgate/log.h>
#include <wsgate/tlsctx.h>

#include "pem.h"
#include "resume.h"
#include "sni.h"
#include "traffic.h"

struct cert {
	X509 *x509;              /* owned */
	STACK_OF(X509) * others; /* owned: up to the root */
	EVP_PKEY *key;           /* owned */
	uint8_t *ocsp;           /* owned; NULL: none */
	size_t ocsp_len;
	time_t ocsp_until; /* -1: for ever */
};

struct tlsctx {
	unsigned held;
	bool offloads;
	int64_t expires_s; /* since 1970 */
	struct sni sni;
	struct cert *certs; /* owned: sni.ncerts */
	SSL_CTX **ctx;      /* owned: sni.npicks */
};

struct making {
	struct tlsctx *t;
	const struct config *c;
	const struct config_tls *section;
	const struct bundle *b;
	bool loud;
	char *err;
	size_t errlen;
	X509_STORE *clients;               /* owned; NULL: none are asked for a certificate */
	STACK_OF(X509_NAME) * authorities; /* owned */
	uint8_t context[EVP_MAX_MD_SIZE];
	unsigned context_len;
};

static bool fault(const struct making *m, const char *file, const char *why)
{
	snprintf(m->err, m->errlen, "tls \"%.100s\": %s%s%s", m->section->listen, file,
		*file ? ": " : "", why);
	return false;
}

static const uint8_t *bytes_of(const struct making *m, const char *file, size_t *len)
{
	const uint8_t *data = bundle_find(m->b, file, len);

	if (!data || *len > INT_MAX)
		(void)fault(m, file, "was not handed over");
	return data;
}

/* ---- certificates ---- */

static bool names_add(struct sni_cert *c, const char *name, size_t len)
{
	char normal[SNI_NAME_MAX], **more;

	if (!sni_normal(name, len, normal))
		return true;
	more = reallocarray(c->names, c->nnames + 1, sizeof(*more));
	if (!more)
		return false;
	c->names = more;
	more[c->nnames] = strdup(normal);
	return more[c->nnames++] != NULL;
}

static bool names_from_subject(struct sni_cert *c, const X509 *x)
{
	X509_NAME *subject = X509_get_subject_name(x);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	const ASN1_STRING *s =
		at < 0 ? NULL : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));

	return !s ||
	       names_add(c, (const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
}

/* RFC 6125 6.4.4: the subject's name counts only where there is no other. */
static bool names_from(struct sni_cert *c, X509 *x)
{
	GENERAL_NAMES *list = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	bool good = true, dns = false;

	for (int i = 0; good && i < sk_GENERAL_NAME_num(list); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(list, i);

		if (g->type != GEN_DNS)
			continue;
		dns = true;
		good = names_add(c, (const char *)ASN1_STRING_get0_data(g->d.dNSName),
			(size_t)ASN1_STRING_length(g->d.dNSName));
	}
	GENERAL_NAMES_free(list);
	return good && (dns || names_from_subject(c, x));
}

static int kind_of(const EVP_PKEY *key)
{
	static const int kinds[SNI_KINDS] = {
		EVP_PKEY_RSA, EVP_PKEY_EC, EVP_PKEY_RSA_PSS, EVP_PKEY_ED25519, EVP_PKEY_ED448};

	for (int i = 0; i < SNI_KINDS; i++)
		if (EVP_PKEY_get_base_id(key) == kinds[i])
			return i;
	return -1;
}

static void warn_of_time(const struct making *m, const char *file, const X509 *x)
{
	if (!m->loud)
		return;
	if (X509_cmp_current_time(X509_get0_notAfter(x)) < 0)
		log_warn("a certificate has expired", kv_str("file", file));
	else if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0)
		log_warn("a certificate is not valid yet: is the clock right?",
			kv_str("file", file));
}

static void expires(struct tlsctx *t, const X509 *x)
{
	struct tm tm;
	int64_t at = ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1 ? timegm(&tm) : 0;

	if (at < t->expires_s)
		t->expires_s = at;
}

static bool cert_load(struct making *m, size_t i)
{
	const char *file = m->section->certificate.v[i], *key = m->section->key.v[i], *why = "";
	struct sni_cert *names = &m->t->sni.certs[i];
	struct cert *c = &m->t->certs[i];
	size_t len = 0, key_len = 0;
	const uint8_t *data = bytes_of(m, file, &len), *key_data = bytes_of(m, key, &key_len);
	int kind;

	if (!data || !key_data)
		return false;
	c->others = pem_certs(data, len, &why);
	if (!c->others)
		return fault(m, file, why);
	c->x509 = sk_X509_shift(c->others);
	c->key = pem_key(key_data, key_len, &why);
	if (!c->key)
		return fault(m, key, why);
	kind = kind_of(c->key);
	if (kind < 0)
		return fault(m, key, "no kind of key for TLS; take RSA, EC or Ed25519");
	if (!X509_check_private_key(c->x509, c->key)) {
		(void)pem_reason();
		return fault(m, key, "is not the key of the certificate in the same place");
	}
	names->kind = (unsigned)kind;
	if (!names_from(names, c->x509))
		return fault(m, file, "no memory");
	warn_of_time(m, file, c->x509);
	expires(m->t, c->x509);
	for (int k = 0; k < sk_X509_num(c->others); k++)
		expires(m->t, sk_X509_value(c->others, k));
	return true;
}

static bool ocsp_keep(struct cert *c, const struct pem_ocsp *o, const uint8_t *data, size_t len)
{
	free(c->ocsp);
	c->ocsp = malloc(len);
	if (!c->ocsp)
		return false;
	memcpy(c->ocsp, data, len);
	c->ocsp_len = len;
	c->ocsp_until = o->until;
	return true;
}

static bool ocsp_load(struct making *m, const char *file)
{
	const char *why = "";
	struct pem_ocsp o;
	bool known = false, good = true;
	size_t len = 0;
	const uint8_t *data = bytes_of(m, file, &len);

	if (!data)
		return false;
	if (!pem_ocsp_read(&o, data, len, &why))
		return fault(m, file, why);
	for (size_t i = 0; good && i < m->t->sni.ncerts; i++) {
		if (!pem_ocsp_is_for(&o, m->t->certs[i].x509))
			continue;
		known = true;
		good = ocsp_keep(&m->t->certs[i], &o, data, len);
	}
	if (m->loud && o.until >= 0 && o.until < time(NULL))
		log_warn("an OCSP response is out of date: it is not sent", kv_str("file", file));
	pem_ocsp_free(&o);
	if (!good)
		return fault(m, file, "no memory");
	return known || fault(m, file, "is for none of the certificates of this section");
}

/* ---- clients' certificates ---- */

static bool clients_load(struct making *m)
{
	const char *file = m->section->client_ca, *why = "";
	size_t len = 0;
	const uint8_t *data = bytes_of(m, file, &len);
	STACK_OF(X509) *list = data ? pem_certs(data, len, &why) : NULL;
	bool good = true;

	if (!list)
		return data ? fault(m, file, why) : false;
	m->clients = X509_STORE_new();
	m->authorities = sk_X509_NAME_new_null();
	good = m->clients && m->authorities;
	for (int i = 0; good && i < sk_X509_num(list); i++) {
		X509 *x = sk_X509_value(list, i);
		X509_NAME *name = X509_NAME_dup(X509_get_subject_name(x));

		good = name && sk_X509_NAME_push(m->authorities, name) > 0;
		if (!good)
			X509_NAME_free(name);
		good = good && X509_STORE_add_cert(m->clients, x);
	}
	sk_X509_pop_free(list, X509_free);
	return good || fault(m, file, pem_reason());
}

/*
 * A session that is taken up again is not verified again: it must not come from other rules. What
 * counts is in its context.
 */
static bool context_make(struct making *m)
{
	const struct config_tls *s = m->section;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	const uint8_t *ca = NULL;
	size_t len = 0;
	bool good;

	if (s->client_ca[0] != '\0')
		ca = bytes_of(m, s->client_ca, &len);
	good = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) &&
	       EVP_DigestUpdate(md, s->listen, strlen(s->listen)) &&
	       EVP_DigestUpdate(md, &s->client_verify, sizeof(s->client_verify)) &&
	       (!ca || EVP_DigestUpdate(md, ca, len)) &&
	       EVP_DigestFinal_ex(md, m->context, &m->context_len);
	EVP_MD_CTX_free(md);
	return good || fault(m, "", pem_reason());
}

/* ---- what happens in a handshake ---- */

static int on_servername(SSL *ssl, int *alert, void *arg)
{
	struct tlsctx *t = arg;
	unsigned pick = sni_find(&t->sni, SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));

	if (pick && !SSL_set_SSL_CTX(ssl, t->ctx[pick])) {
		*alert = SSL_AD_INTERNAL_ERROR;
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	}
	return SSL_TLSEXT_ERR_OK;
}

/* RFC 7301 3.2: who offers others alone is refused. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen,
	const unsigned char *in, unsigned inlen, void *arg)
{
	static const unsigned char http[] = "\x08http/1.1";

	(void)ssl;
	(void)arg;
	for (unsigned at = 0; at < inlen; at += in[at] + 1u) {
		if (in[at] != http[0] || inlen - at <= http[0] ||
			memcmp(in + at, http, sizeof(http) - 1) != 0)
			continue;
		*out = in + at + 1;
		*outlen = in[at];
		return SSL_TLSEXT_ERR_OK;
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int on_status(SSL *ssl, void *arg)
{
	const struct tlsctx *t = arg;
	const X509 *now = SSL_get_certificate(ssl);
	uint8_t *copy;

	for (size_t i = 0; i < t->sni.ncerts; i++) {
		const struct cert *c = &t->certs[i];

		if (c->x509 != now || !c->ocsp)
			continue;
		if (c->ocsp_until >= 0 && c->ocsp_until < time(NULL))
			break;
		copy = OPENSSL_memdup(c->ocsp, c->ocsp_len); /* the connection's from here on */
		if (!copy)
			break;
		SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)c->ocsp_len);
		return SSL_TLSEXT_ERR_OK;
	}
	return SSL_TLSEXT_ERR_NOACK;
}

/* ---- contexts ---- */

static const uint64_t options =
	SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
	SSL_OP_PRIORITIZE_CHACHA |
	SSL_OP_IGNORE_UNEXPECTED_EOF; /* the end of a message is WebSocket's affair */

static bool ctx_rules(const struct making *m, SSL_CTX *ctx)
{
	static const int versions[] = {
		[TLS_VERSION_1_2] = TLS1_2_VERSION, [TLS_VERSION_1_3] = TLS1_3_VERSION};
	static const int verify[] = {[TLS_VERIFY_NONE] = SSL_VERIFY_NONE,
		[TLS_VERIFY_OPTIONAL] = SSL_VERIFY_PEER,
		[TLS_VERIFY_REQUIRE] = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT};
	const struct config_tls *s = m->section;

	SSL_CTX_set_options(ctx, options);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(ctx, 1); /* one recv() for a record, not two */
	if (!SSL_CTX_set_min_proto_version(ctx, versions[s->min_version]))
		return fault(m, "min_version", pem_reason());
	/* Those of OpenSSL's own list that are left out cost the server milliseconds at a client's
	 * wish. */
	if (!SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384"))
		return fault(m, "", pem_reason());
	if (!SSL_CTX_set_cipher_list(ctx, s->ciphers))
		return fault(m, "ciphers", pem_reason());
	if (!SSL_CTX_set_ciphersuites(ctx, s->ciphersuites))
		return fault(m, "ciphersuites", "one of them is unknown to OpenSSL");
	if (!SSL_CTX_set_session_id_context(ctx, m->context,
		    m->context_len < SSL_MAX_SID_CTX_LENGTH ? m->context_len
							    : SSL_MAX_SID_CTX_LENGTH) ||
		!resume_setup(ctx, m->c->tls_ticket_interval))
		return fault(m, "", pem_reason());
	SSL_CTX_set_verify(ctx, verify[s->client_verify], NULL);
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
	traffic_listen(ctx);
	SSL_CTX_set_tlsext_servername_callback(ctx, on_servername);
	SSL_CTX_set_tlsext_servername_arg(ctx, m->t);
	SSL_CTX_set_tlsext_status_cb(ctx, on_status);
	SSL_CTX_set_tlsext_status_arg(ctx, m->t);
	return true;
}

static bool ctx_clients(const struct making *m, SSL_CTX *ctx)
{
	STACK_OF(X509_NAME) * copy;

	if (!m->clients)
		return true;
	copy = SSL_dup_CA_list(m->authorities);
	if (!copy)
		return fault(m, m->section->client_ca, pem_reason());
	SSL_CTX_set1_cert_store(ctx, m->clients);
	SSL_CTX_set_client_CA_list(ctx, copy);
	return true;
}

static bool ctx_make(struct making *m, size_t pick)
{
	SSL_CTX *ctx = m->t->ctx[pick] = SSL_CTX_new(TLS_server_method());

	if (!ctx)
		return fault(m, "", pem_reason());
	for (unsigned k = 0; k < SNI_KINDS; k++) {
		int i = m->t->sni.picks[pick].cert[k];
		const struct cert *c = i < 0 ? NULL : &m->t->certs[i];

		if (c && !SSL_CTX_use_cert_and_key(ctx, c->x509, c->key, c->others, 1))
			return fault(m, m->section->certificate.v[i], pem_reason());
	}
	return ctx_rules(m, ctx) && ctx_clients(m, ctx);
}

static bool make_all(struct making *m)
{
	const struct config_tls *s = m->section;
	struct sni *sni = &m->t->sni;

	sni->certs = calloc(s->certificate.n, sizeof(*sni->certs));
	m->t->certs = calloc(s->certificate.n, sizeof(*m->t->certs));
	if (!sni->certs || !m->t->certs)
		return fault(m, "", "no memory");
	sni->ncerts = s->certificate.n;
	for (size_t i = 0; i < s->certificate.n; i++)
		if (!cert_load(m, i))
			return false;
	for (size_t i = 0; i < s->ocsp.n; i++)
		if (!ocsp_load(m, s->ocsp.v[i]))
			return false;
	if ((s->client_verify != TLS_VERIFY_NONE && !clients_load(m)) || !context_make(m))
		return false;
	if (sni_build(sni))
		m->t->ctx = calloc(sni->npicks, sizeof(SSL_CTX *));
	if (!m->t->ctx)
		return fault(m, "", "no memory");
	for (size_t i = 0; i < sni->npicks; i++)
		if (!ctx_make(m, i))
			return false;
	return true;
}

struct tlsctx *tlsctx_new(const struct config *c, size_t i, const struct bundle *b, bool loud,
	char *err, size_t errlen)
{
	struct making m = {.t = calloc(1, sizeof(struct tlsctx)),
		.c = c,
		.section = &c->tls[i],
		.b = b,
		.loud = loud,
		.err = err,
		.errlen = errlen};
	bool good;

	ERR_clear_error();
	if (!m.t) {
		(void)fault(&m, "", "no memory");
		return NULL;
	}
	m.t->held = 1;
	m.t->expires_s = INT64_MAX;
	m.t->offloads = m.section->ktls == TLS_KTLS_AUTO;
	good = make_all(&m);
	X509_STORE_free(m.clients);
	sk_X509_NAME_pop_free(m.authorities, X509_NAME_free);
	if (good)
		return m.t;
	tlsctx_drop(m.t);
	return NULL;
}

struct tlsctx *tlsctx_hold(struct tlsctx *t)
{
	t->held++;
	return t;
}

void tlsctx_drop(struct tlsctx *t)
{
	if (!t || --t->held)
		return;
	for (size_t i = 0; t->ctx && i < t->sni.npicks; i++)
		SSL_CTX_free(t->ctx[i]);
	for (size_t i = 0; i < t->sni.ncerts; i++) {
		X509_free(t->certs[i].x509);
		sk_X509_pop_free(t->certs[i].others, X509_free);
		EVP_PKEY_free(t->certs[i].key); /* wipes it */
		free(t->certs[i].ocsp);
	}
	free(t->certs);
	free(t->ctx);
	sni_free(&t->sni);
	free(t);
}

SSL *tlsctx_connection(struct tlsctx *t)
{
	SSL *ssl = SSL_new(t->ctx[0]);

	if (ssl)
		SSL_set_accept_state(ssl);
	return ssl;
}

int64_t tlsctx_expires_s(const struct tlsctx *t)
{
	return t->expires_s;
}

bool tlsctx_offloads(const struct tlsctx *t)
{
	return t->offloads;
}

int tlsctx_check(const struct config *c, int fd, bool loud, char *err, size_t errlen)
{
	struct bundle b;
	size_t i;

	if (bundle_open(&b, fd) < 0) {
		snprintf(err, errlen, "no certificates: %s", strerror(errno));
		return -1;
	}
	for (i = 0; i < c->ntls; i++) {
		struct tlsctx *t = tlsctx_new(c, i, &b, loud, err, errlen);

		if (!t)
			break;
		tlsctx_drop(t);
	}
	bundle_close(&b);
	return i == c->ntls ? 0 : -1;
}
