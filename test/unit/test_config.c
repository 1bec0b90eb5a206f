/*
 * test_config: golden files. config/x.conf with x.err must fail with exactly that line; with x.ok
 * it must load, and x.ok lists what differs from the defaults. `test_config --write` makes the
 * expectations anew: read the diff.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>
#include <wsgate/config.h>
#include <wsgate/option.h>
#include "../../src/base/conauth.h"

#define DIR_PATH "test/unit/config/"
#define EMPTY DIR_PATH "empty.conf"

/* Our own allocations, not libconfuse's: the n-th from now fails; 0: none. */
static unsigned fail_at;

static int fails(void)
{
	return fail_at > 0 && --fail_at == 0;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *s);

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return fails() ? NULL : __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

static struct config *load_with(
	const char *file, const char *const *sets, size_t n, char *err, size_t errlen)
{
	const struct config_source src = {file, true, sets, n, 0, false};

	strcpy(err, "");
	return config_load(&src, err, errlen);
}

static struct config *load(const char *file, char *err, size_t errlen)
{
	return load_with(file, NULL, 0, err, errlen);
}

static void print_different(
	const void *c, const void *d, const struct option *o, const char *indent, FILE *f)
{
	if (option_equal(c, d, o))
		return;
	fprintf(f, "%s%s = ", indent, o->key);
	option_print(c, o, f);
	putc('\n', f);
}

static void print_tls(const struct config_tls *t, FILE *f)
{
	char err[1024];

	fprintf(f, "tls %s\n", t->listen);
	for (size_t i = 0; i < option_tls_count; i++) {
		const struct option *o = &option_tls_table[i];
		struct config_tls d = {.listen = NULL};

		assert_int_equal(option_set_text(&d, o, o->def, err, sizeof(err)), 0);
		print_different(t, &d, o, "  ", f);
		option_clear(&d, o);
	}
}

/* What differs from the defaults. The caller frees. */
static char *differences(const struct config *c)
{
	char err[1024], *text = NULL;
	size_t i, len = 0;
	struct config *d = load(EMPTY, err, sizeof(err));
	FILE *f = open_memstream(&text, &len);

	assert_non_null(d);
	assert_non_null(f);
	for (i = 0; i < option_count; i++)
		print_different(c, d, &option_table[i], "", f);
	for (i = 0; i < c->ntls; i++)
		print_tls(&c->tls[i], f);
	for (i = 0; i < c->nauth; i++) {
		struct config_auth none = {.service = NULL};

		fprintf(f, "auth %s\n", c->auth[i].service);
		assert_int_equal(conauth_defaults(&none), 0);
		for (size_t k = 0; k < option_auth_count; k++)
			print_different(&c->auth[i], &none, &option_auth_table[k], "\t", f);
		conauth_clear(&none);
	}
	for (i = 0; i < c->nservices; i++) {
		struct config_service none = {.service = NULL};

		fprintf(f, "service %s\n", c->services[i].service);
		for (size_t k = 0; k < option_service_count; k++)
			print_different(&c->services[i], &none, &option_service_table[k], "\t", f);
	}
	for (i = 0; i < c->nstreams; i++) {
		fprintf(f, "stream %s\n", c->streams[i].name);
		for (size_t k = 0; k < option_stream_count; k++)
			print_different(
				&c->streams[i], &d->stream, &option_stream_table[k], "\t", f);
	}
	fclose(f);
	config_free(d);
	return text;
}

/* NULL when there is none. The caller frees. */
static char *slurp(const char *path)
{
	char *text = calloc(1, 65536);
	FILE *f = fopen(path, "r");

	assert_non_null(text);
	if (!f) {
		free(text);
		return NULL;
	}
	assert_true(fread(text, 1, 65535, f) < 65535);
	fclose(f);
	return text;
}

/* What loading gives, and the suffix of the file that should say so. The caller frees. */
static char *outcome(const char *path, const char **suffix)
{
	char err[1024], *text;
	struct config *c = load(path, err, sizeof(err));

	*suffix = c ? "ok" : "err";
	if (!c) {
		assert_null(strchr(err, '\n'));
		assert_true(asprintf(&text, "%s\n", err) > 0);
		/* The next file must not feel the fault of this one. */
		c = load(DIR_PATH "sections_repeat.conf", err, sizeof(err));
		assert_string_equal(err, "");
		assert_non_null(c);
		config_free(c);
		return text;
	}
	text = differences(c);
	config_free(c);
	return text;
}

static int is_conf(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return n > 5 && strcmp(d->d_name + n - 5, ".conf") == 0;
}

static void for_each_file(void (*fn)(const char *expect, const char *other, const char *got))
{
	char path[512], expect[512], other[512];
	struct dirent **names;
	const char *suffix;
	int i, n = scandir(DIR_PATH, &names, is_conf, alphasort);

	assert_true(n > 50);
	for (i = 0; i < n; i++) {
		int stem = (int)strlen(names[i]->d_name) - 5;
		char *got;

		snprintf(path, sizeof(path), DIR_PATH "%.200s", names[i]->d_name);
		got = outcome(path, &suffix);
		snprintf(
			expect, sizeof(expect), DIR_PATH "%.*s.%s", stem, names[i]->d_name, suffix);
		snprintf(other, sizeof(other), DIR_PATH "%.*s.%s", stem, names[i]->d_name,
			strcmp(suffix, "ok") == 0 ? "err" : "ok");
		fn(expect, other, got);
		free(got);
		free(names[i]);
	}
	free(names);
}

static void write_one(const char *expect, const char *other, const char *got)
{
	FILE *f = fopen(expect, "w");

	assert_non_null(f);
	fputs(got, f);
	assert_int_equal(fclose(f), 0);
	unlink(other);
}

static void compare_one(const char *expect, const char *other, const char *got)
{
	char *want = slurp(expect);

	if (!want)
		print_error("%s: got\n%s", expect, got);
	assert_non_null(want);
	if (strcmp(want, got) != 0)
		print_error("%s:\n", expect);
	assert_string_equal(got, want);
	assert_int_equal(access(other, F_OK), -1);
	free(want);
}

static void test_golden(void **state)
{
	(void)state;
	for_each_file(compare_one);
}

/* What one process of ours writes another one reads, whatever is in it. */
static void test_print_loads_back(void **state)
{
	static const char *const files[] = {EMPTY, DIR_PATH "all_keys.conf", DIR_PATH "quotes.conf",
		DIR_PATH "tls.conf", DIR_PATH "auth.conf", DIR_PATH "no_browser.conf",
		DIR_PATH "service.conf", DIR_PATH "streams.conf", "etc/wsgate.conf"};
	char err[1024], path[] = "/tmp/test_config.XXXXXX", *before, *after;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct config *c = load(files[i], err, sizeof(err)), *d;
		int fd;
		FILE *f;

		assert_string_equal(err, "");
		strcpy(path, "/tmp/test_config.XXXXXX");
		fd = mkstemp(path);
		assert_true(fd >= 0);
		f = fdopen(fd, "w");
		assert_non_null(f);
		assert_int_equal(config_write(c, CONFIG_BRIDGE, f), 0);
		fclose(f);
		fd = open(path, O_RDONLY);
		d = config_load_fd(fd, err, sizeof(err));
		close(fd);
		unlink(path);
		assert_non_null(d);
		before = differences(c);
		after = differences(d);
		assert_string_equal(before, after);
		free(before);
		free(after);
		config_free(c);
		config_free(d);
	}
}

static void test_order(void **state)
{
	static const char *const sets[] = {
		"broker.url=nats://set", "log.level=debug", "log.level=warn"};
	char err[1024], path[] = "/tmp/test_config.XXXXXX";
	int fd = mkstemp(path);
	struct config *c;

	(void)state;
	assert_true(fd >= 0);
	assert_true(write(fd, "broker { url = \"nats://file\" }", 30) == 30);
	close(fd);
	c = load(path, err, sizeof(err));
	assert_string_equal(c->broker.url, "nats://file");
	config_free(c);
	assert_int_equal(setenv("NATS_BROKER_URL", "nats://environment,other:1", 1), 0);
	c = load(path, err, sizeof(err));
	assert_string_equal(c->broker.url, "nats://environment,other:1");
	config_free(c);
	c = load_with(path, sets, 3, err, sizeof(err));
	assert_string_equal(c->broker.url, "nats://set");
	assert_int_equal(c->log.level, LOG_LEVEL_WARN);
	config_free(c);
	assert_int_equal(setenv("NATS_BROKER_URL", "", 1), 0);
	c = load(path, err, sizeof(err));
	assert_string_equal(c->broker.url, "nats://file");
	config_free(c);
	unsetenv("NATS_BROKER_URL");
	unlink(path);
}

static void test_environment_faults(void **state)
{
	char err[1024];

	(void)state;
	setenv("NATS_BROKER_URL", "http://me:secret@x", 1);
	assert_null(load(EMPTY, err, sizeof(err)));
	assert_non_null(strstr(err, "environment NATS_BROKER_URL: broker.url: "));
	assert_null(strstr(err, "secret"));
	unsetenv("NATS_BROKER_URL");
	setenv("PUBSUB_BROKER", "kafka", 1);
	assert_null(load(EMPTY, err, sizeof(err)));
	assert_string_equal(err, "environment PUBSUB_BROKER: broker.type: \"kafka\" is an unknown "
				 "broker; the only one is nats");
	unsetenv("PUBSUB_BROKER");
}

/* A line end that is not one of the file's moves no line. */
static void test_variable_line_end(void **state)
{
	static const char *const files[] = {DIR_PATH "line_end_variable.conf",
		DIR_PATH "line_end_bare.conf", DIR_PATH "line_end_list.conf"};
	char err[1024];

	(void)state;
	setenv("WSGATE_TEST", "a:1\n\n", 1);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		assert_null(load(files[i], err, sizeof(err)));
		assert_non_null(strstr(err, ".conf:3: listen: \"a:1...\" has a line end in it"));
	}
	unsetenv("WSGATE_TEST");
}

static void test_sets(void **state)
{
	static const struct {
		const char *set, *err;
	} rows[] = {
		{"workers", "-o: workers: has no value; write -o workers=VALUE"},
		{"=3", "-o: no such key; wsgate.conf(5) lists them all"},
		{"", "-o: no such key; wsgate.conf(5) lists them all"},
		{"wrokers=1", "-o: wrokers: no such key; is workers meant? wsgate.conf(5) lists "
			      "them all"},
		{"log=1", "-o: log: no such key; wsgate.conf(5) lists them all"},
		{"tls.key=1", "-o: tls.key: sections with a title are for the file alone"},
		{"workers=x", "-o: workers: \"x\" is no number; write digits alone"},
		{"identity.sources=cert",
			"-o: identity.sources: nobody can be identified: no section tls asks for "
			"certificates; add client_verify and client_ca to one, or another source "
			"here"},
		{"workers=65", "-o: workers: workers must not be above max_workers; lower the one "
			       "or raise the other"},
		{"listen=", "-o: listen: no address at all; add one, or a section tls \"address\""},
		{"listen=a:1,", "-o: listen: \"\" must be host:port or [v6]:port, port 1 to 65535"},
		{"proxy.networks=10.0.0.1/8",
			"-o: proxy.networks: \"10.0.0.1/8\" must be an address or a network like "
			"10.0.0.0/8, with no bits set behind its prefix"},
		{"proxy.forwarded=forwarded",
			"-o: proxy.forwarded: from nobody: name the proxies in "
			"proxy.networks, or leave it out"},
		{"limits.idle_timeout=10ms",
			"-o: limits.idle_timeout: \"10ms\" is out of range; it "
			"must be 1s to 365d, or 0 for none"},
		{"user=a\nb",
			"-o: user: \"a...\" has a line end in it: is a quote missing, or does a "
			"variable end with one?"},
	};
	static const char *const good[] = {
		"listen= a:1 , [::]:2", "origin.allow=", "echo_path=/a=b"};
	char err[1024];
	struct config *c;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_null(load_with(EMPTY, &rows[i].set, 1, err, sizeof(err)));
		assert_string_equal(err, rows[i].err);
	}
	c = load_with(EMPTY, good, 3, err, sizeof(err));
	assert_string_equal(err, "");
	assert_int_equal(c->listen.n, 2);
	assert_string_equal(c->listen.v[0], "a:1");
	assert_string_equal(c->listen.v[1], "[::]:2");
	assert_int_equal(c->origin.allow.n, 0);
	assert_string_equal(c->echo_path, "/a=b");
	config_free(c);
}

/* Values that another process has checked: what cannot be read here is taken all the same. */
static void test_descriptor(void **state)
{
	static const char text[] = "listen = {\"127.0.0.1:1\", \"[::1]:2\"}\n"
				   "log { level = warn }\n"
				   "tls \"127.0.0.1:3\" { certificate = \"/nonexistent/a\" "
				   "key = \"/nonexistent/b\" }\n";
	char err[1024] = "", path[] = "/tmp/test_config.XXXXXX";
	int fd = mkstemp(path);
	struct config *c;

	(void)state;
	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	for (int i = 0; i < 2; i++) { /* from the beginning each time */
		c = config_load_fd(fd, err, sizeof(err));
		assert_string_equal(err, "");
		assert_non_null(c);
		assert_int_equal(c->listen.n, 2);
		assert_int_equal(c->log.level, LOG_LEVEL_WARN);
		assert_string_equal(c->tls[0].key.v[0], "/nonexistent/b");
		config_free(c);
	}
	assert_null(config_load_fd(-1, err, sizeof(err)));
	assert_string_not_equal(err, "");
	close(fd);
}

static void test_verbose(void **state)
{
	struct config_source src = {NULL, false, NULL, 0, 1, false};
	char err[1024];
	struct config *c = config_load(&src, err, sizeof(err));

	(void)state;
	assert_non_null(c);
	assert_int_equal(c->log.level, LOG_LEVEL_DEBUG);
	config_free(c);
	src.verbose = 9;
	c = config_load(&src, err, sizeof(err));
	assert_non_null(c);
	assert_int_equal(c->log.level, LOG_LEVEL_TRACE);
	config_free(c);
}

static void test_files(void **state)
{
	struct config_source src = {"/nonexistent/x.conf", false, NULL, 0, 0, false};
	char err[1024], path[] = "/tmp/test_config.XXXXXX";
	struct config *c = config_load(&src, err, sizeof(err));
	int fd = mkstemp(path), i;

	(void)state;
	assert_non_null(c); /* not asked for: may be absent */
	config_free(c);
	assert_null(load("/nonexistent/x.conf", err, sizeof(err)));
	assert_non_null(strstr(err, "/nonexistent/x.conf: cannot be opened (No such file"));
	assert_null(load("/", err, sizeof(err)));
	assert_non_null(strstr(err, "/: cannot be read (Is a directory)"));
	assert_true(fd >= 0);
	assert_true(write(fd, "\n\nuser = \"a\0b\"\n", 15) == 15);
	assert_null(load(path, err, sizeof(err)));
	assert_non_null(strstr(err, ":3: a NUL byte; this is no text file"));
	for (i = 0; i < 1024 * 1024 / 16 + 1; i++)
		assert_true(write(fd, "# 0123456789abcd\n", 16) == 16);
	assert_null(load(path, err, sizeof(err)));
	assert_non_null(strstr(err, "cannot be read (File too large)"));
	close(fd);
	unlink(path);
}

static void test_short_buffer(void **state)
{
	char err[8];

	(void)state;
	assert_null(load("/nonexistent/x.conf", err, sizeof(err)));
	assert_string_equal(err, "/nonexi");
}

/* wsgatectl is for others than root, too. */
static void test_no_files(void **state)
{
	struct config_source source = {
		.file = DIR_PATH "auth_key_missing.conf", .file_required = true};
	char err[1024];
	struct config *c;

	(void)state;
	assert_null(config_load(&source, err, sizeof(err)));
	source.names_only = true;
	c = config_load(&source, err, sizeof(err));
	assert_non_null(c);
	assert_string_equal(c->auth[0].keys.v[0], "/nonexistent/keys.json");
	config_free(c);
}

/* Each allocation fails once: a line that says so, nothing left behind (which the sanitizer sees),
 * no crash. */
static void test_no_memory(void **state)
{
	static const char *const files[] = {
		DIR_PATH "all_keys.conf", DIR_PATH "tls.conf", DIR_PATH "auth.conf"};
	static const char *const sets[] = {"listen=a:1,b:2"};
	char err[1024];
	struct config *c;
	unsigned n;
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		for (n = 1;; n++) {
			fail_at = n;
			c = load_with(files[i], sets, 1, err, sizeof(err));
			if (c)
				break;
			assert_int_equal(fail_at, 0);
			assert_non_null(strstr(err, "out of memory"));
		}
		assert_true(fail_at > 0 && n > 50);
		fail_at = 0;
		config_free(c);
	}
}

static void test_workers(void **state)
{
	static const char *const many[] = {"workers=0", "max_workers=1"}, *const three[] = {
										  "workers=3"};
	char err[1024];
	struct config *c = load_with(EMPTY, many, 2, err, sizeof(err));

	(void)state;
	assert_int_equal(config_workers(c), 1);
	config_free(c);
	c = load_with(EMPTY, three, 1, err, sizeof(err));
	assert_int_equal(config_workers(c), 3);
	config_free(c);
}

/* A reload of a small file must not dirty a megabyte of the master's: pages count, not bytes. */
static void test_touches_little(void **state)
{
	const struct config_source src = {.file = EMPTY, .file_required = true};
	char err[1024];
	struct rusage before, after;
	struct config *c;

	(void)state;
	getrusage(RUSAGE_SELF, &before);
	c = config_load_secret(&src, err, sizeof(err));
	getrusage(RUSAGE_SELF, &after);
	assert_non_null(c);
	config_free(c);
#ifndef WSGATE_SANITIZED /* a sanitizer touches pages of its own */
	assert_in_range(after.ru_minflt - before.ru_minflt, 0, 63);
#endif
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_print_loads_back),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_environment_faults),
		cmocka_unit_test(test_variable_line_end),
		cmocka_unit_test(test_sets),
		cmocka_unit_test(test_descriptor),
		cmocka_unit_test(test_verbose),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_short_buffer),
		cmocka_unit_test(test_no_files),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_workers),
		cmocka_unit_test(test_touches_little),
	};

	mallopt(M_MMAP_THRESHOLD, 128 * 1024); /* what is large has fresh pages each time */
	unsetenv("NATS_BROKER_URL");
	unsetenv("PUBSUB_BROKER");
	if (argc > 1 && strcmp(argv[1], "--write") == 0) {
		for_each_file(write_one);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
