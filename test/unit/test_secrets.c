/*
 * test_secrets: passwords, tokens and keys, in the configuration and in files: who gets them, and
 * who does not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <wsgate/config.h>

static char *printed(const struct config *c)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	assert_int_equal(config_print(c, f), 0);
	fclose(f);
	return text;
}

/* A file of secrets. */
static const char *keep(const char *name, const char *text)
{
	static char path[4][64];
	static unsigned n;
	char *p = path[n++ % 4];
	FILE *f;

	snprintf(p, sizeof(path[0]), "/tmp/test_config.%d.%s", (int)getpid(), name);
	f = fopen(p, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	return p;
}

static const char pem[] =
	"-----BEGIN CERTIFICATE-----\nAA\\\"${HOME}==\r\n-----END CERTIFICATE-----\n";

static void test_secrets(void **state)
{
	char err[1024] = "", sets[3][128], *text, path[] = "/tmp/test_config.XXXXXX";
	const char *v[] = {
		"broker.user=me", sets[0], sets[1], "broker.url=nats://me:geheim@a,tls://b"};
	struct config_source src = {.sets = v, .nsets = 4};
	struct config *c, *d;
	FILE *f;
	int fd;

	(void)state;
	snprintf(sets[0], sizeof(sets[0]), "broker.password_file=%s", keep("pw", "geheim too\r\n"));
	snprintf(sets[1], sizeof(sets[1]), "broker.tls_ca=%s", keep("ca", pem));
	c = config_load(&src, err, sizeof(err)); /* as wsgatectl status */
	assert_string_equal(err, "");
	assert_string_equal(c->broker.password, "");
	config_free(c);
	c = config_load_secret(&src, err, sizeof(err));
	assert_string_equal(err, "");
	assert_string_equal(c->broker.password, "geheim too");
	assert_string_equal(c->broker.tls_ca_text, pem);
	text = printed(c);
	assert_null(strstr(text, "geheim"));
	assert_null(strstr(text, "AA"));
	assert_non_null(strstr(text, "password = \"\" # not shown\n"));
	assert_non_null(strstr(text, "url = \"nats://xxx@a,tls://b\"\n"));
	free(text);
	/* To the bridge. */
	fd = mkstemp(path);
	f = fdopen(fd, "w+");
	assert_non_null(f);
	assert_int_equal(config_write(c, CONFIG_BRIDGE, f), 0);
	d = config_load_fd(fd, err, sizeof(err));
	assert_non_null(d);
	assert_string_equal(d->broker.password, "geheim too");
	assert_string_equal(d->broker.tls_ca_text, pem);
	assert_string_equal(d->broker.url, "nats://me:geheim@a,tls://b");
	fclose(f);
	unlink(path);
	config_forget_secrets(d, CONFIG_WORKER);
	assert_string_equal(d->broker.password, "");
	assert_string_equal(d->broker.tls_ca_text, "");
	assert_string_equal(d->broker.url, "nats://xxx@a,tls://b");
	config_free(c);
	config_free(d);
	unlink(keep("pw", ""));
	unlink(keep("ca", ""));
}

static void refused(const char *a, const char *b, const char *want)
{
	const char *v[] = {a, b};
	const struct config_source src = {.sets = v, .nsets = 2};
	char err[1024] = "";

	assert_null(config_load_secret(&src, err, sizeof(err)));
	if (!strstr(err, want) || strstr(err, "geheim"))
		fail_msg("%s", err);
}

static void test_secrets_refused(void **state)
{
	char set[128];

	(void)state;
	refused("broker.user=a", "broker.token=geheim", "one way to log in is enough");
	refused("broker.nkey_file=/x", "broker.credentials_file=/x", "one way to log in is enough");
	refused("workers=1", "broker.password=geheim", "without broker.user");
	refused("workers=1", "broker.tls_key=/x",
		"-o: broker.tls_key: tls_certificate and tls_key go");
	refused("workers=1", "broker.nkey=SU", "no such key");
	refused("workers=1", "broker.token_file=/nonexistent", "cannot be read (No such file");
	refused("workers=1", "broker.token_file=/tmp", "cannot be read");
	snprintf(set, sizeof(set), "broker.token_file=%s", keep("t", ""));
	refused("workers=1", set, "must be a file with a token");
	keep("t", "a geheim\ntoken");
	refused("workers=1", set, "has a line end in it");
	snprintf(set, sizeof(set), "broker.nkey_file=%s", keep("t", "geheim"));
	refused("workers=1", set, "must be a file with the seed of a user's NKey");
	snprintf(set, sizeof(set), "broker.tls_ca=%s", keep("t", "geheim"));
	refused("workers=1", set, "must be a file with certificates in PEM");
	unlink(keep("t", ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_secrets_refused),
	};

	unsetenv("NATS_BROKER_URL");
	unsetenv("PUBSUB_BROKER");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
