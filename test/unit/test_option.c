/*
 * test_option: the option table, what wsgated -T prints, etc/wsgate.conf and the table in
 * man/wsgate.conf.5 all agree. `test_option --write` makes the two files' parts anew from the
 * table.
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
#include <wsgate/option.h>
#include "option_pages.h"

#define SAMPLE "etc/wsgate.conf"
#define MAN "man/wsgate.conf.5"

static char *made(void (*make)(FILE *))
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	make(f);
	fclose(f);
	return text;
}

static char *slurp(const char *path)
{
	char *text = calloc(1, 262144);
	FILE *f = fopen(path, "r");

	assert_non_null(text);
	assert_non_null(f);
	assert_true(fread(text, 1, 262143, f) < 262143);
	fclose(f);
	return text;
}

/* What stands between two marker lines. The caller frees. */
static char *between(const char *text, const char *begin, const char *end)
{
	const char *a = strstr(text, begin), *b;

	assert_non_null(a);
	a += strlen(begin);
	b = strstr(a, end);
	assert_non_null(b);
	return strndup(a, (size_t)(b - a));
}

static struct config *load(const char *file, const char *const *sets, size_t n)
{
	const struct config_source src = {file, true, sets, n, 0, false};
	char err[1024] = "";
	struct config *c = config_load(&src, err, sizeof(err));

	assert_string_equal(err, "");
	assert_non_null(c);
	return c;
}

static struct config *load_defaults(void)
{
	const struct config_source src = {NULL, false, NULL, 0, 0, false};
	char err[1024] = "";
	struct config *c = config_load(&src, err, sizeof(err));

	assert_string_equal(err, "");
	return c;
}

static void assert_equal_configs(const struct config *a, const struct config *b)
{
	size_t i;

	for (i = 0; i < option_count; i++) {
		if (!option_equal(a, b, &option_table[i]))
			print_error("%s differs\n", option_table[i].key);
		assert_true(option_equal(a, b, &option_table[i]));
	}
	assert_int_equal(a->ntls, b->ntls);
}

static void test_rows(void **state)
{
	size_t i, j;

	(void)state;
	for (i = 0; i < option_count + option_tls_count; i++) {
		const struct option *o =
			i < option_count ? &option_table[i] : &option_tls_table[i - option_count];

		for (j = i + 1; j < option_count; j++)
			assert_string_not_equal(o->key, option_table[j].key);
		assert_true(strspn(o->key, "abcdefghijklmnopqrstuvwxyz_.") == strlen(o->key));
		assert_true(strlen(o->help) > 5 && strlen(o->help) <= 100);
		assert_true(o->help[strlen(o->help) - 1] != '.');
		for (j = 0; o->help[j] != '\0'; j++)
			assert_true(o->help[j] >= ' ' && o->help[j] <= '~');
		assert_int_equal(o->words != NULL, o->type == OPTION_ENUM);
		if (i < option_count)
			assert_ptr_equal(option_find(o->key), o);
	}
	assert_null(option_find("tls.key"));
	assert_null(option_find(""));
}

static size_t width(const struct option *o)
{
	switch (o->type) {
	case OPTION_NUMBER32:
		return sizeof(uint32_t);
	case OPTION_ENUM:
		return sizeof(unsigned);
	case OPTION_STRING:
		return sizeof(char *);
	case OPTION_LIST:
		return sizeof(struct strlist);
	default:
		return sizeof(uint64_t);
	}
}

/* No field of struct config without a row, none with two: what no row covers is padding, less than
 * 8 bytes in a piece. */
static void test_every_field(void **state)
{
	unsigned char covered[sizeof(struct config)] = {0};
	size_t i, j, gap = 0;

	(void)state;
	for (i = 0; i < option_count; i++) {
		for (j = 0; j < width(&option_table[i]); j++) {
			assert_int_equal(covered[option_table[i].offset + j], 0);
			covered[option_table[i].offset + j] = 1;
		}
	}
	memset(covered + offsetof(struct config, ntls), 1, sizeof(size_t));
	memset(covered + offsetof(struct config, tls), 1, sizeof(struct config_tls *));
	memset(covered + offsetof(struct config, nauth), 1, sizeof(size_t));
	memset(covered + offsetof(struct config, auth), 1, sizeof(struct config_auth *));
	memset(covered + offsetof(struct config, nservices), 1, sizeof(size_t));
	memset(covered + offsetof(struct config, services), 1, sizeof(struct config_service *));
	memset(covered + offsetof(struct config, nstreams), 1, sizeof(size_t));
	memset(covered + offsetof(struct config, streams), 1, sizeof(struct config_stream *));
	/* Of a section with a title alone. */
	memset(covered + offsetof(struct config, stream.services), 1, sizeof(struct strlist));
	memset(covered + offsetof(struct config, stream.given), 1, sizeof(uint32_t));
	for (i = 0; i < sizeof(covered); i++) {
		gap = covered[i] ? 0 : gap + 1;
		assert_true(gap < 8);
		/* A field of four bytes would begin at such a place; padding ends at one of eight.
		 */
		if (gap == 4)
			assert_true((i + 1) % 8 == 0);
	}
}

static void test_printed(void **state)
{
	struct config *c = load_defaults(), *d;
	char path[] = "/tmp/test_option.XXXXXX", *text, *p;
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w+");
	size_t i;

	(void)state;
	assert_non_null(f);
	assert_int_equal(config_print(c, f), 0);
	d = load(path, NULL, 0);
	assert_equal_configs(c, d);
	text = slurp(path);
	p = text;
	for (i = 0; i < option_count; i++) { /* every key, in the table's order */
		char line[128];

		if (option_table[i].hidden)
			continue;
		snprintf(line, sizeof(line), "%s%s = ",
			strchr(option_table[i].key, '.') ? "\n\t"
			: i > 0                          ? "\n"
							 : "",
			option_leaf(&option_table[i]));
		p = strstr(p, line);
		assert_non_null(p);
		p++;
	}
	free(text);
	fclose(f);
	unlink(path);
	config_free(c);
	config_free(d);
}

static void test_sample(void **state)
{
	struct config *c = load_defaults(), *d = load(SAMPLE, NULL, 0);
	char *want = made(make_sample), *got = slurp(SAMPLE);

	(void)state;
	assert_string_equal(got, want);
	assert_equal_configs(c, d);
	free(want);
	free(got);
	config_free(c);
	config_free(d);
}

/* With every key's comment sign taken away it still loads, and is still the default. */
static void test_sample_uncommented(void **state)
{
	char path[] = "/tmp/test_option.XXXXXX", line[512];
	FILE *in = fopen(SAMPLE, "r"), *out = fdopen(mkstemp(path), "w");
	struct config *c = load_defaults(), *d;
	size_t keys = 0, want = 0;

	(void)state;
	for (size_t i = 0; i < option_count; i++)
		want += !option_table[i].hidden;
	assert_non_null(in);
	assert_non_null(out);
	while (fgets(line, sizeof(line), in)) {
		char *hash = strchr(line, '#');

		if (strncmp(line, "#tls \"", 6) == 0 || strncmp(line, "#auth", 5) == 0)
			break;
		if (hash && hash[1] != ' ' && strstr(hash, " = ")) {
			*hash = ' ';
			keys++;
		}
		fputs(line, out);
	}
	fclose(in);
	fclose(out);
	d = load(path, NULL, 0);
	unlink(path);
	assert_int_equal(keys, want);
	assert_equal_configs(c, d);
	config_free(c);
	config_free(d);
}

static void test_man(void **state)
{
	char *text = slurp(MAN);

	(void)state;
	for (size_t i = 0; i < MAN_PARTS; i++) {
		char *begin = man_line(&man_parts[i], true), *end = man_line(&man_parts[i], false);
		char *got = between(text, begin, end), *want = man_made(&man_parts[i]);

		assert_string_equal(got, want);
		free(got);
		free(want);
		free(begin);
		free(end);
	}
	free(text);
}

static void test_guess(void **state)
{
	(void)state;
	assert_string_equal(option_guess("max_mesage")->key, "max_message");
	assert_string_equal(option_guess("broker.ulr")->key, "broker.url");
	assert_string_equal(option_guess("window")->key, "delivery.window");
	assert_string_equal(option_guess("log.grace")->key, "broker.grace");
	assert_null(option_guess(""));
	assert_null(option_guess("something_else_altogether"));
	assert_null(option_guess(
		"0123456789012345678901234567890123456789012345678901234567890123456789"));
}

static void test_equal(void **state)
{
	static const char *const sets[] = {"listen=a:1,b:2", "user=x", "delivery.confirm=none",
		"max_workers=7", "broker.grace=7s"};
	struct config *a = load_defaults(), *b = load(SAMPLE, sets, 5);
	size_t i, differ = 0;

	(void)state;
	for (i = 0; i < option_count; i++)
		differ += !option_equal(a, b, &option_table[i]);
	assert_int_equal(differ, 5);
	config_free(a);
	config_free(b);
}

/* A value that is refused leaves the old one. */
static void test_copy(void **state)
{
	static const char *const sets[] = {"workers=3", "listen=127.0.0.1:1,127.0.0.1:2",
		"echo_path=/e", "delivery.text=binary", "max_header=32k", "ping_interval=1m",
		"stream.max_messages_per_user=7", "origin.allow="};
	struct config *a = load(NULL, sets, 8), *b = load_defaults();
	size_t i;

	(void)state;
	for (i = 0; i < option_count; i++)
		assert_int_equal(option_copy(b, a, &option_table[i]), 0);
	assert_equal_configs(a, b);
	config_free(a);
	assert_string_equal(b->listen.v[1], "127.0.0.1:2"); /* its own copy */
	assert_int_equal(b->origin.allow.n, 0);
	config_free(b);
}

static void test_refused(void **state)
{
	struct config *c = load_defaults();
	const char *two[] = {"a:1", "b"};
	char err[400];

	(void)state;
	assert_int_equal(option_set(c, option_find("listen"), two, 2, err, sizeof(err)), -1);
	assert_int_equal(c->listen.n, 2);
	assert_string_equal(c->listen.v[0], "0.0.0.0:8000");
	assert_int_equal(
		option_set_text(c, option_find("subject_prefix"), "a.b", err, sizeof(err)), -1);
	assert_string_equal(c->subject_prefix, "ws");
	assert_int_equal(option_set(c, option_find("workers"), two, 2, err, sizeof(err)), -1);
	assert_string_equal(err, "takes one value, not 2");
	config_free(c);
}

static void write_sample(void)
{
	FILE *f = fopen(SAMPLE, "w");

	assert_non_null(f);
	make_sample(f);
	assert_int_equal(fclose(f), 0);
}

static void write_man(const struct man_part *p)
{
	char *text = slurp(MAN), *begin = man_line(p, true), *end = man_line(p, false),
	     *want = man_made(p);
	char *a = strstr(text, begin), *b = strstr(text, end);
	FILE *f;

	assert_non_null(a);
	assert_non_null(b);
	f = fopen(MAN, "w");
	assert_non_null(f);
	fwrite(text, 1, (size_t)(a - text) + strlen(begin), f);
	fputs(want, f);
	fputs(b, f);
	assert_int_equal(fclose(f), 0);
	free(text);
	free(want);
	free(begin);
	free(end);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_every_field),
		cmocka_unit_test(test_printed),
		cmocka_unit_test(test_sample),
		cmocka_unit_test(test_sample_uncommented),
		cmocka_unit_test(test_man),
		cmocka_unit_test(test_guess),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_refused),
	};

	unsetenv("NATS_BROKER_URL");
	unsetenv("PUBSUB_BROKER");
	if (argc > 1 && strcmp(argv[1], "--write") == 0) {
		write_sample();
		for (size_t i = 0; i < MAN_PARTS; i++)
			write_man(&man_parts[i]);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
