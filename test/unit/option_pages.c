/*
 * option_pages: see option_pages.h.
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
	assert_int_equal(option_set_text(&c, o, o->def, err, sizeof(err)), 0);
	option_print(&c, o, f);
	option_clear(&c, o);
	fclose(f);
	return text;
}

const char *option_leaf(const struct option *o)
{
	const char *dot = strchr(o->key, '.');

	return dot ? dot + 1 : o->key;
}

static void sample_key(const struct option *o, const char *indent, FILE *f)
{
	char *def = default_text(o);

	fprintf(f, "%s# %s%s\n%s#%s = %s\n", indent, o->help,
		o->apply == OPTION_RESTART ? " [restart]" : "", indent, option_leaf(o), def);
	free(def);
}

/* Those that have no default, and those that have one. */
static void sample_tls_key(const struct option *o, FILE *f)
{
	char *def = default_text(o);

	if (o->def[0] == '\0')
		fprintf(f, "#\t# %s\n#\t%s%s = \"/etc/wsgate/%s.%s\"\n", o->help,
			o->offset <= offsetof(struct config_tls, key) ? "" : "#", option_leaf(o),
			option_leaf(o), strcmp(option_leaf(o), "ocsp") == 0 ? "der" : "pem");
	else
		fprintf(f, "#\t# %s\n#\t#%s = %s\n", o->help, option_leaf(o), def);
	free(def);
}

/* value NULL: its default. */
static void sample_titled_key(const struct option *o, const char *sign, const char *value, FILE *f)
{
	char *def = default_text(o);

	fprintf(f, "#\t# %s\n#\t%s%s = %s\n", o->help, sign, option_leaf(o), value ? value : def);
	free(def);
}

void make_sample(FILE *f)
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
	for (i = 0; i < option_auth_count; i++)
		sample_titled_key(&option_auth_table[i], "",
			strcmp(option_leaf(&option_auth_table[i]), "keys") == 0
				? "{\"/etc/wsgate/keys.json\"}"
				: NULL,
			f);
	fputs("#}\n", f);
	fputs(sample_service, f);
	for (i = 0; i < option_service_count; i++)
		sample_titled_key(&option_service_table[i], "", NULL, f);
	fputs("#}\n", f);
	fputs(sample_stream, f);
	for (i = 0; i < option_stream_count; i++)
		sample_titled_key(&option_stream_table[i], i == 0 ? "" : "#",
			i == 0 ? "{\"chat\"}" : NULL, f);
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
	fprintf(f, "\n.Pq %s\n", o->apply == OPTION_RESTART ? "restart" : "reload");
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

		fprintf(f, ".It Ic %s", option_leaf(o));
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

		fprintf(f, ".It Ic %s No = Li ", option_leaf(o));
		man_text(def, f);
		fprintf(f, "\n.Pq reload\n");
		man_text(o->help, f);
		fputs(".\n", f);
		free(def);
	}
}

const struct man_part man_parts[MAN_PARTS] = {
	{"", make_man_keys, NULL, NULL},
	{"tls ", make_man_tls, NULL, NULL},
	{"auth ", NULL, option_auth_table, &option_auth_count},
	{"service ", NULL, option_service_table, &option_service_count},
	{"stream ", NULL, option_stream_table, &option_stream_count},
};

/* The line before a part, and that behind it. The caller frees. */
char *man_line(const struct man_part *p, bool first)
{
	char *text;

	assert_true(
		asprintf(&text, ".\\\" %skeys: %s\n", p->of,
			first ? "made by test_option --write from the option table" : "end") > 0);
	return text;
}

char *man_made(const struct man_part *p)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	if (p->make)
		p->make(f);
	else
		make_man_titled(p->table, *p->n, f);
	fclose(f);
	return text;
}
