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

#define SAMPLE "etc/wsgate.conf"
#define MAN "man/wsgate.conf.5"
#define MAN_BEGIN ".\\\" keys: made by test_option --write from the option table\n"
#define MAN_END ".\\\" keys: end\n"
#define MAN_TLS_BEGIN ".\\\" tls keys: made by test_option --write from the option table\n"
#define MAN_TLS_END ".\\\" tls keys: end\n"
#define MAN_AUTH_BEGIN ".\\\" auth keys: made by test_option --write from the option table\n"
#define MAN_AUTH_END ".\\\" auth keys: end\n"

#define MAN_SERVICE_BEGIN ".\\\" service keys: made by test_option --write from the option table\n"
#define MAN_SERVICE_END ".\\\" service keys: end\n"

#define MAN_STREAM_BEGIN ".\\\" stream keys: made by test_option --write from the option table\n"
#define MAN_STREAM_END ".\\\" stream keys: end\n"

static const char sample_head[] =
	"# wsgate.conf: every key of wsgated(8), with its default. wsgate.conf(5) says more.\n"
	"#\n"
	"# Sizes are bytes, or take k, m, g; times are seconds, or take ms, s, m, h, d.\n"
	"# A reload (SIGHUP) applies every key but those marked [restart].\n"
	"# \"wsgated -t\" checks this file, \"wsgated -T\" prints what is in effect.\n";

static const char sample_tls[] = "\n# TLS: one section for each address.\n"
				 "#tls \"0.0.0.0:8443\" {\n";

static const char sample_auth[] =
	"\n# Who may be whom: one section for each service, or \"*\" for all that have none.\n"
	"#auth \"*\" {\n";

static const char sample_service[] =
	"\n# What a service speaks: one section each, or \"*\" for all that have none.\n"
	"#service \"*\" {\n";

static const char sample_stream[] =
	"\n# Several streams: each service is in one section; there is none for all others then.\n"
	"# What a section does not say is as in section stream above.\n"
	"#stream \"ws-chat\" {\n";

/* The default as the file has it. The caller frees. */
static char *default_text(const struct option *o)
{
	struct config c; /* larger than the other structs that keys are of */
	char *text = NULL, err[400];
	size_t len = 0;
	FILE *f;

	/* As it is written in the table, 60s and not 1m. */
	if (o->type != OPTION_LIST && o->type != OPTION_STRING)
		return strdup(o->def);
	memset(&c, 0, sizeof(c));
	f = open_memstream(&text, &len);
	assert_non_null(f);
	if (o->unused) {
		option_print_string(o->def, f);
	} else {
		assert_int_equal(option_set_text(&c, o, o->def, err, sizeof(err)), 0);
		option_print(&c, o, f);
		option_clear(&c, o);
	}
	fclose(f);
	return text;
}

static const char *leaf(const struct option *o)
{
	const char *dot = strchr(o->key, '.');

	return dot ? dot + 1 : o->key;
}

static void sample_key(const struct option *o, const char *indent, FILE *f)
{
	char *def = default_text(o);

	fprintf(f, "%s# %s%s\n%s#%s = %s\n", indent, o->help,
		o->apply == OPTION_RESTART ? " [restart]" : "", indent, leaf(o), def);
	free(def);
}

/* Those that have no default, and those that have one. */
static void sample_tls_key(const struct option *o, FILE *f)
{
	char *def = default_text(o);

	if (o->def[0] == '\0')
		fprintf(f, "#\t# %s\n#\t%s%s = \"/etc/wsgate/%s.pem\"\n", o->help,
			o->offset <= offsetof(struct config_tls, key) ? "" : "#", leaf(o), leaf(o));
	else
		fprintf(f, "#\t# %s\n#\t#%s = %s\n", o->help, leaf(o), def);
	free(def);
}

static void make_sample(FILE *f)
{
	char section[32] = "", now[32];
	size_t i;

	fputs(sample_head, f);
	for (i = 0; i < option_count; i++) {
		const char *dot = strchr(option_table[i].key, '.');
		bool new_section;

		if (option_table[i].hidden)
			continue;
		snprintf(now, sizeof(now), "%.*s", dot ? (int)(dot - option_table[i].key) : 0,
			option_table[i].key);
		new_section = strcmp(now, section) != 0;
		if (new_section && section[0] != '\0')
			fputs("}\n", f);
		if (new_section)
			fprintf(f, "\n%s {\n", now);
		else
			putc('\n', f);
		strcpy(section, now);
		sample_key(&option_table[i], dot ? "\t" : "", f);
	}
	fputs("}\n", f);
	fputs(sample_tls, f);
	for (i = 0; i < option_tls_count; i++)
		sample_tls_key(&option_tls_table[i], f);
	fputs("#}\n", f);
	fputs(sample_auth, f);
	for (i = 0; i < option_auth_count; i++) {
		const struct option *o = &option_auth_table[i];
		char *def = default_text(o);

		fprintf(f, "#\t# %s\n#\t%s = %s\n", o->help, leaf(o),
			strcmp(leaf(o), "keys") == 0 ? "{\"/etc/wsgate/keys.json\"}" : def);
		free(def);
	}
	fputs("#}\n", f);
	fputs(sample_service, f);
	for (i = 0; i < option_service_count; i++) {
		const struct option *o = &option_service_table[i];
		char *def = default_text(o);

		fprintf(f, "#\t# %s\n#\t%s = %s\n", o->help, leaf(o), def);
		free(def);
	}
	fputs("#}\n", f);
	fputs(sample_stream, f);
	for (i = 0; i < option_stream_count; i++) {
		const struct option *o = &option_stream_table[i];
		char *def = default_text(o);

		fprintf(f, "#\t# %s\n#\t%s%s = %s\n", o->help, i == 0 ? "" : "#", leaf(o),
			i == 0 ? "{\"chat\"}" : def);
		free(def);
	}
	fputs("#}\n", f);
}

/* A text as an argument of an mdoc macro or as text: no macro, no escape. */
static void man_text(const char *s, FILE *f)
{
	for (; *s != '\0'; s++) {
		if (*s == '\\')
			fputs("\\e", f);
		else if (*s == '"')
			fputs("\\(dq", f);
		else
			putc(*s, f);
	}
}

static void man_key(const struct option *o, FILE *f)
{
	char *def = default_text(o);

	fprintf(f, ".It Ic %s No = Li ", o->key);
	man_text(def, f);
	fprintf(f, "\n.Pq %s%s\n", o->apply == OPTION_RESTART ? "restart" : "reload",
		o->unused ? ", checked only" : "");
	man_text(o->help, f);
	fputs(".\n", f);
	free(def);
}

static void make_man_keys(FILE *f)
{
	size_t i;

	for (i = 0; i < option_count; i++)
		if (!option_table[i].hidden)
			man_key(&option_table[i], f);
}

static void make_man_tls(FILE *f)
{
	size_t i;

	for (i = 0; i < option_tls_count; i++) {
		const struct option *o = &option_tls_table[i];
		char *def = default_text(o);

		fprintf(f, ".It Ic %s", leaf(o));
		if (o->def[0] != '\0')
			fprintf(f, " No = Li %s", def);
		fprintf(f, "\n%s.\n", o->help);
		free(def);
	}
}

static void make_man_titled(const struct option *table, size_t n, FILE *f)
{
	size_t i;

	for (i = 0; i < n; i++) {
		const struct option *o = &table[i];
		char *def = default_text(o);

		fprintf(f, ".It Ic %s No = Li ", leaf(o));
		man_text(def, f);
		fprintf(f, "\n.Pq reload\n");
		man_text(o->help, f);
		fputs(".\n", f);
		free(def);
	}
}

static void make_man_auth(FILE *f)
{
	make_man_titled(option_auth_table, option_auth_count, f);
}

static void make_man_service(FILE *f)
{
	make_man_titled(option_service_table, option_service_count, f);
}

static void make_man_stream(FILE *f)
{
	make_man_titled(option_stream_table, option_stream_count, f);
}

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
			leaf(&option_table[i]));
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
	char *text = slurp(MAN), *got = between(text, MAN_BEGIN, MAN_END),
	     *want = made(make_man_keys);

	(void)state;
	assert_string_equal(got, want);
	free(got);
	free(want);
	got = between(text, MAN_TLS_BEGIN, MAN_TLS_END);
	want = made(make_man_tls);
	assert_string_equal(got, want);
	free(got);
	free(want);
	got = between(text, MAN_AUTH_BEGIN, MAN_AUTH_END);
	want = made(make_man_auth);
	assert_string_equal(got, want);
	free(got);
	free(want);
	got = between(text, MAN_SERVICE_BEGIN, MAN_SERVICE_END);
	want = made(make_man_service);
	assert_string_equal(got, want);
	free(got);
	free(want);
	got = between(text, MAN_STREAM_BEGIN, MAN_STREAM_END);
	want = made(make_man_stream);
	assert_string_equal(got, want);
	free(got);
	free(want);
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

static void write_man(const char *begin, const char *end, void (*make)(FILE *))
{
	char *text = slurp(MAN);
	char *a = strstr(text, begin), *b = strstr(text, end);
	FILE *f;

	assert_non_null(a);
	assert_non_null(b);
	f = fopen(MAN, "w");
	assert_non_null(f);
	fwrite(text, 1, (size_t)(a - text) + strlen(begin), f);
	make(f);
	fputs(b, f);
	assert_int_equal(fclose(f), 0);
	free(text);
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
		write_man(MAN_BEGIN, MAN_END, make_man_keys);
		write_man(MAN_TLS_BEGIN, MAN_TLS_END, make_man_tls);
		write_man(MAN_AUTH_BEGIN, MAN_AUTH_END, make_man_auth);
		write_man(MAN_SERVICE_BEGIN, MAN_SERVICE_END, make_man_service);
		write_man(MAN_STREAM_BEGIN, MAN_STREAM_END, make_man_stream);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
