/* Files → bundle → context → a handshake in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include <wsgate/option.h>
#include <wsgate/tlsctx.h>

static char dir[] = "/tmp/test_tlsctx.XXXXXX";
static char cert_file[64], key_file[64], ocsp_file[64];
static X509 *cert;
static EVP_PKEY *key;
static struct tickets tickets;
static long passed; /* seconds, for ours alone: OpenSSL's clock stands still */

time_t __real_time(time_t *out);
time_t __wrap_time(time_t *out);

time_t __wrap_time(time_t *out)
{
	time_t now = __real_time(NULL) + passed;

	if (out)
		*out = now;
	return now;
}

static int group_setup(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(cert_file, sizeof(cert_file), "%s/cert.pem", dir);
	snprintf(key_file, sizeof(key_file), "%s/key.pem", dir);
	snprintf(ocsp_file, sizeof(ocsp_file), "%s/ocsp.der", dir);
	key = EVP_EC_gen("P-256");
	assert_non_null(key);
	assert_int_equal(tickets_rotate(&tickets), 0);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	unlink(cert_file);
	unlink(key_file);
	unlink(ocsp_file);
	X509_free(cert);
	EVP_PKEY_free(key);
	return rmdir(dir);
}

/* Signs itself; valid from -1 h to so many seconds from now. */
static void issue(long until)
{
	X509_NAME *name;
	FILE *f;

	X509_free(cert);
	cert = X509_new();
	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 77);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), until);
	X509_set_pubkey(cert, key);
	name = X509_get_subject_name(cert);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"a.test", -1, -1, 0);
	X509_set_issuer_name(cert, name);
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	f = fopen(cert_file, "w");
	assert_true(PEM_write_X509(f, cert));
	fclose(f);
	f = fopen(key_file, "w");
	assert_true(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL));
	fclose(f);
}

/* "good" until so many seconds from now. */
static void respond(long until)
{
	OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
	ASN1_TIME *this = X509_gmtime_adj(NULL, -7200), *next = X509_gmtime_adj(NULL, until);
	OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), cert, cert);
	OCSP_RESPONSE *r;
	FILE *f = fopen(ocsp_file, "w");
	uint8_t *der = NULL;
	int n;

	assert_non_null(
		OCSP_basic_add1_status(basic, id, V_OCSP_CERTSTATUS_GOOD, 0, NULL, this, next));
	assert_true(OCSP_basic_sign(basic, cert, key, EVP_sha256(), NULL, 0));
	r = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
	n = i2d_OCSP_RESPONSE(r, &der);
	assert_true(n > 0 && fwrite(der, 1, (size_t)n, f) == (size_t)n);
	OPENSSL_free(der);
	fclose(f);
	OCSP_RESPONSE_free(r);
	OCSP_BASICRESP_free(basic);
	OCSP_CERTID_free(id);
	ASN1_TIME_free(this);
	ASN1_TIME_free(next);
}

static void clear(struct config *c)
{
	for (size_t i = 0; i < option_tls_count; i++)
		option_clear(c->tls, &option_tls_table[i]);
}

static void configure(struct config *c, struct config_tls *t, bool ocsp)
{
	char err[400];

	memset(t, 0, sizeof(*t));
	memset(c, 0, sizeof(*c));
	c->tls = t;
	c->ntls = 1;
	c->tls_ticket_interval = 60000;
	t->listen = (char *)(uintptr_t) "x:1";
	for (size_t i = 0; i < option_tls_count; i++) {
		const struct option *o = &option_tls_table[i];
		const char *text = strcmp(o->key, "tls.certificate") == 0    ? cert_file
				   : strcmp(o->key, "tls.key") == 0          ? key_file
				   : strcmp(o->key, "tls.ocsp") == 0 && ocsp ? ocsp_file
									     : o->def;

		assert_int_equal(option_set_text(t, o, text, err, sizeof(err)), 0);
	}
}

static struct tlsctx *make(const struct config *c, char *err, size_t errlen)
{
	int fd = bundle_make(c, err, errlen);
	struct bundle b;
	struct tlsctx *t;

	assert_true(fd >= 0);
	assert_int_equal(bundle_open(&b, fd), 0);
	assert_int_equal(write(fd, "x", 1), -1); /* sealed */
	t = tlsctx_new(c, 0, &b, false, err, errlen);
	bundle_close(&b);
	close(fd);
	return t;
}

static bool reused;

/* The length of what was stapled; -1: nothing. */
static long handshake(struct tlsctx *t, SSL_SESSION **session)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *client = SSL_new(ctx), *server = tlsctx_connection(t);
	BIO *a, *b;
	const uint8_t *staple;
	char byte;
	long n;

	assert_true(BIO_new_bio_pair(&a, 0, &b, 0));
	SSL_set_bio(client, a, a);
	SSL_set_bio(server, b, b);
	SSL_set_connect_state(client);
	SSL_set_tlsext_status_type(client, TLSEXT_STATUSTYPE_ocsp);
	if (*session)
		SSL_set_session(client, *session);
	for (int i = 0; i < 8; i++) {
		(void)SSL_do_handshake(client);
		(void)SSL_do_handshake(server);
	}
	assert_true(SSL_is_init_finished(client) && SSL_is_init_finished(server));
	reused = SSL_session_reused(client);
	(void)SSL_read(client, &byte, 1); /* the ticket */
	n = SSL_get_tlsext_status_ocsp_resp(client, &staple);
	SSL_SESSION_free(*session);
	*session = SSL_get1_session(client); /* RFC 8446 C.4: the newest, once */
	SSL_shutdown(client);
	SSL_shutdown(server);
	SSL_free(client);
	SSL_free(server);
	SSL_CTX_free(ctx);
	return n;
}

static void test_staple(void **state)
{
	struct config c;
	struct config_tls section;
	char err[400] = "";

	(void)state;
	issue(3600);
	for (int late = 0; late < 2; late++) {
		SSL_SESSION *session = NULL;
		struct tlsctx *t;

		respond(late ? -60 : 3600);
		configure(&c, &section, true);
		t = make(&c, err, sizeof(err));
		assert_string_equal(err, "");
		assert_int_equal(handshake(t, &session) > 0, !late);
		SSL_SESSION_free(session);
		tlsctx_drop(t);
		clear(&c);
	}
}

static void test_resumed_elsewhere(void **state)
{
	struct config c;
	struct config_tls section;
	SSL_SESSION *session = NULL;
	char err[400] = "";
	struct tlsctx *one, *other;

	(void)state;
	issue(3600);
	configure(&c, &section, false);
	tlsctx_use_tickets(&tickets);
	one = make(&c, err, sizeof(err));
	other = make(&c, err, sizeof(err)); /* as another worker, or after a reload */
	assert_int_equal(handshake(one, &session), -1);
	assert_false(reused);
	for (int i = 0; i < 3; i++) {
		(void)handshake(other, &session);
		assert_true(reused);
	}
	assert_int_equal(tickets_rotate(&tickets), 0);
	(void)handshake(one, &session);
	assert_true(reused);
	SSL_SESSION_free(session);
	tlsctx_use_tickets(NULL);
	tlsctx_drop(one);
	tlsctx_drop(other);
	clear(&c);
}

/* However often it came meanwhile, a client is asked again who it is. */
static void test_resumed_for_ever(void **state)
{
	struct config c;
	struct config_tls section;
	SSL_SESSION *session = NULL;
	char err[400] = "";
	struct tlsctx *t;
	int n = 0;

	(void)state;
	issue(3600);
	configure(&c, &section, false);
	tlsctx_use_tickets(&tickets);
	t = make(&c, err, sizeof(err));
	for (int i = 0; i < 2; i++) {
		(void)handshake(t, &session);
		assert_false(reused);
		for (n = 0; n < 10; n++, passed += 25) {
			(void)handshake(t, &session);
			if (!reused)
				break;
		}
		assert_int_equal(n, 5); /* up to twice the interval */
		SSL_SESSION_free(session);
		session = NULL;
	}
	passed = 0;
	tlsctx_use_tickets(NULL);
	tlsctx_drop(t);
	clear(&c);
}

static void test_faults(void **state)
{
	struct config c;
	struct config_tls section;
	char err[400] = "", want[200];

	(void)state;
	issue(3600);
	respond(3600);
	configure(&c, &section, true);
	assert_int_equal(truncate(cert_file, 40), 0);
	assert_null(make(&c, err, sizeof(err)));
	snprintf(want, sizeof(want), "tls \"x:1\": %s: ", cert_file);
	assert_memory_equal(err, want, strlen(want));
	issue(3600);
	assert_int_equal(truncate(ocsp_file, 40), 0);
	assert_null(make(&c, err, sizeof(err)));
	assert_non_null(strstr(err, "there is no OCSP response in it (DER is expected)"));
	clear(&c);
	unlink(key_file);
	section.key = section.ocsp = section.certificate = (struct strlist){0, NULL};
	section.client_ca = (char *)(uintptr_t) "/nonexistent/ca.pem";
	assert_int_equal(bundle_make(&c, err, sizeof(err)), -1);
	assert_string_equal(err, "/nonexistent/ca.pem: No such file or directory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_staple),
		cmocka_unit_test(test_resumed_elsewhere),
		cmocka_unit_test(test_resumed_for_ever),
		cmocka_unit_test(test_faults),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
