/*
 * confile: libconfuse, and what it needs around it.
 *
 * libconfuse's traps, all met here: it stops at the first fault; its callbacks have no argument;
 * its lexer is global and stays inside a string that was not closed, into the next file; it counts
 * lines too many at each comment; the end of the file closes sections; an empty list calls no
 * validator; a failing read ends the process. So the file is read whole, loses its comments, gets
 * a tail that closes whatever is open, and values are stored as they come by.
 */
#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "conauth.h"
#include "confile.h"
#include "conftext.h"
#include "conservice.h"
#include "constream.h"
#include "contls.h"
#include "value.h"

#define FILE_MAX_BYTES (1024 * 1024)
#define KEYS_MAX 32 /* of a section with a title */
/* From within "…", '…' or neither: all is closed after it, and it adds no token of its own. */
#define TAIL "\n#\" #' #\n"

static struct {
	struct loading *l;
	int lines;                       /* of the file itself, without the tail */
	struct config_tls tls;           /* the section being read */
	struct origin origins[KEYS_MAX]; /* of its keys, by their place in the table */
	struct config_auth auth;
	bool auth_begun; /* it has its defaults */
	struct config_service service;
	struct config_stream stream;
	char *text;
	const struct option *secret; /* the last value was of it, and ended in that line */
	int secret_line;
} now;

static int fault_line(int line, const char *key, const char *text)
{
	struct origin o = {.kind = FROM_FILE, .line = line < now.lines ? line : now.lines};

	return config_fault(now.l, &o, key, "%s", text);
}

/* "section.key" */
static void full_key(const cfg_t *cfg, const char *name, char *out, size_t outlen)
{
	if (strcmp(cfg->name, "root") == 0)
		snprintf(out, outlen, "%.90s", name);
	else if (strcmp(cfg->name, CONFTEXT_STREAM) == 0)
		snprintf(out, outlen, "stream.%.90s", name);
	else
		snprintf(out, outlen, "%.30s.%.90s", cfg->name, name);
}

static void unknown_key(const cfg_t *cfg, const char *name)
{
	char key[128], text[256];
	const struct option *guess;
	const char *dot = strchr(name, '.');

	full_key(cfg, name, key, sizeof(key));
	guess = option_guess(key);
	if (strcmp(cfg->name, CONFTEXT_STREAM) == 0)
		snprintf(text, sizeof(text),
			"no such key in a stream section with a title; wsgate.conf(5) lists them");
	else if (dot && option_find(name))
		snprintf(text, sizeof(text), "in the file it is written %.*s { %s = ... }",
			(int)(dot - name), name, dot + 1);
	else if (guess)
		snprintf(text, sizeof(text),
			"no such key; is %s meant? wsgate.conf(5) lists them all", guess->key);
	else
		snprintf(text, sizeof(text), "no such key; wsgate.conf(5) lists them all");
	fault_line(cfg->line, key, text);
}

/* libconfuse does not say of which kind: the sections that are done come before it in the text. */
static void twice(const cfg_t *cfg)
{
	const struct config *c = now.l->c;
	const char *kind =
		conftext_titled(now.text, c->ntls + c->nauth + c->nservices + c->nstreams);

	if (strncmp(kind, CONFTEXT_STREAM, strlen(CONFTEXT_STREAM)) == 0)
		fault_line(cfg->line, "stream", "a stream has two sections; keep one");
	else if (strncmp(kind, "auth", 4) == 0)
		fault_line(cfg->line, "auth", "a service has two sections; keep one");
	else if (strncmp(kind, "service", 7) == 0)
		fault_line(cfg->line, "service", "a service has two sections; keep one");
	else
		fault_line(cfg->line, "tls", "an address has two sections; keep one");
}

/* What libconfuse names may be the rest of a password that has no quotes. */
static bool behind_secret(const cfg_t *cfg)
{
	return now.secret && cfg->line == now.secret_line;
}

static void on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	static const char unknown[] = "no such option '";
	char text[256], more[400], *mark;

	vsnprintf(text, sizeof(text), fmt, ap);
	mark = strstr(text, CONFTEXT_STREAM);
	if (mark)
		memcpy(mark, "stream", strlen(CONFTEXT_STREAM));
	if (cfg->line > now.lines) {
		fault_line(now.lines, NULL,
			"the file ends too early; a value, a quote or a brace is missing");
	} else if (strncmp(text, "found duplicate title", 21) == 0) {
		twice(cfg);
	} else if (behind_secret(cfg)) {
		fault_line(cfg->line, now.secret->key,
			"something stands behind the value; write the value in quotes");
	} else if (strncmp(text, unknown, sizeof(unknown) - 1) == 0) {
		text[strlen(text) - 1] = '\0';
		unknown_key(cfg, text + sizeof(unknown) - 1);
	} else {
		snprintf(more, sizeof(more), "%s; wsgate.conf(5) shows how it is written", text);
		fault_line(cfg->line, NULL, more);
	}
}

static void on_error_ignored(cfg_t *cfg, const char *fmt, va_list ap)
{
	(void)cfg;
	(void)fmt;
	(void)ap;
}

static int store(const cfg_t *cfg, cfg_opt_t *opt, void *base, const struct option *o)
{
	unsigned i, n = cfg_opt_size(opt);
	const char **v = calloc(n + 1, sizeof(*v));
	struct option unchecked = *o;
	char err[320];
	int r;

	if (now.l->trusted || (now.l->names_only && value_is_file(o->check))) {
		unchecked.check = NULL;
		o = &unchecked;
	}
	if (!v)
		return fault_line(cfg->line, o->key, "out of memory");
	for (i = 0; i < n; i++)
		v[i] = cfg_opt_getnstr(opt, i);
	if (n == 1 && strcmp(v[0], CONFTEXT_EMPTY) == 0)
		n = 0;
	r = option_set(base, o, v, n, err, sizeof(err));
	if (r < 0)
		fault_line(conftext_value_line(now.text, cfg->line), o->key, err);
	free(v);
	return r;
}

/*
 * Called for each value; for a list after each item with those so far, and once more at its brace,
 * if no comma stands before that: then nothing was added, and the flag is as we left it. Other
 * calls for the same key mean that it was set before.
 */
static int seen_before(
	const cfg_t *cfg, cfg_opt_t *opt, const struct option *o, struct origin *from)
{
	char text[96];
	size_t n = cfg_opt_size(opt);
	bool added = opt->flags & CFGF_MODIFIED;

	opt->flags &= ~CFGF_MODIFIED;
	if (from->kind == FROM_FILE &&
		(o->type != OPTION_LIST || from->complete || n < from->items + (added ? 1 : 0))) {
		snprintf(text, sizeof(text), "set twice, first in line %d; keep one", from->line);
		return fault_line(cfg->line, o->key, text);
	}
	from->complete = !added;
	if (from->kind != FROM_FILE)
		from->line = cfg->line;
	from->kind = FROM_FILE;
	from->items = n;
	return 0;
}

static int auth_begin(const cfg_t *cfg)
{
	if (now.auth_begun)
		return 0;
	now.auth_begun = true;
	return conauth_defaults(&now.auth) < 0 ? fault_line(cfg->line, "auth", "out of memory") : 0;
}

/* Keys of sections with a title: their tables, and the one that is being read. */
static const struct titled_section {
	const struct option *table;
	const size_t *count;
	void *section;
} titled_sections[] = {
	{option_tls_table, &option_tls_count, &now.tls},
	{option_auth_table, &option_auth_count, &now.auth},
	{option_service_table, &option_service_count, &now.service},
	{option_stream_table, &option_stream_count, &now.stream},
};

#define TITLED_SECTIONS (sizeof(titled_sections) / sizeof(titled_sections[0]))

static int titled_value(const cfg_t *cfg, cfg_opt_t *opt, const struct titled_section *t, size_t i)
{
	if (t->section == &now.stream)
		now.stream.given |= UINT32_C(1) << i;
	if (t->section == &now.auth && auth_begin(cfg) < 0)
		return -1;
	if (seen_before(cfg, opt, &t->table[i], &now.origins[i]) < 0)
		return -1;
	return store(cfg, opt, t->section, &t->table[i]);
}

static int on_value(cfg_t *cfg, cfg_opt_t *opt)
{
	bool stream = strcmp(cfg->name, CONFTEXT_STREAM) == 0;
	const struct option *o;
	char key[128];

	now.secret = NULL;
	full_key(cfg, opt->name, key, sizeof(key));
	for (const struct titled_section *t = titled_sections;
		t < titled_sections + TITLED_SECTIONS; t++)
		for (size_t i = 0; stream == (t->section == &now.stream) && i < *t->count; i++)
			if (strcmp(t->table[i].key, key) == 0)
				return titled_value(cfg, opt, t, i);
	if (stream)
		return fault_line(cfg->line, key, "write key = value, without |");
	o = option_find(key);
	if (!o) /* "section|key", which libconfuse follows */
		return fault_line(cfg->line, key, "write section { key = value }, without |");
	if (seen_before(cfg, opt, o, &now.l->origins[o - option_table]) < 0)
		return -1;
	now.secret = o->secret ? o : NULL;
	now.secret_line = cfg->line;
	return store(cfg, opt, now.l->c, o);
}

static int tls_done(const cfg_t *parent, const cfg_t *sec)
{
	uint32_t seen = 0;
	char err[480];

	for (size_t i = 0; i < option_tls_count; i++)
		if (now.origins[i].kind == FROM_FILE)
			seen |= UINT32_C(1) << i;
	if (now.l->c->ntls < CONFILE_TLS_MAX)
		now.l->tls_lines[now.l->c->ntls] = parent->line;
	return contls_done(now.l->c, &now.tls, seen, sec->title, err, sizeof(err)) < 0
		       ? fault_line(parent->line, "tls", err)
		       : 0;
}

static int auth_done(const cfg_t *parent, const cfg_t *sec)
{
	char err[320];

	if (auth_begin(parent) < 0)
		return -1;
	now.auth_begun = false;
	if (conauth_done(now.l->c, &now.auth, sec->title, err, sizeof(err)) < 0)
		return fault_line(parent->line, "auth", err);
	return 0;
}

static int service_done(const cfg_t *parent, const cfg_t *sec)
{
	char err[320];

	return conservice_done(now.l->c, &now.service, sec->title, err, sizeof(err)) < 0
		       ? fault_line(parent->line, "service", err)
		       : 0;
}

static int stream_done(const cfg_t *parent, const cfg_t *sec)
{
	char err[480];

	return constream_done(now.l->c, &now.stream, sec->title, err, sizeof(err)) < 0
		       ? fault_line(parent->line, "stream", err)
		       : 0;
}

static int section_done(const cfg_t *cfg, const cfg_opt_t *opt, const cfg_t *sec)
{
	if (strcmp(opt->name, "tls") == 0)
		return tls_done(cfg, sec);
	if (strcmp(opt->name, "auth") == 0)
		return auth_done(cfg, sec);
	if (strcmp(opt->name, "service") == 0)
		return service_done(cfg, sec);
	if (strcmp(opt->name, CONFTEXT_STREAM) == 0)
		return stream_done(cfg, sec);
	return 0;
}

/* A section's end. */
static int on_section(cfg_t *cfg, cfg_opt_t *opt)
{
	int r;

	if (cfg->line > now.lines)
		return fault_line(now.lines, *opt->name == '$' ? "stream" : opt->name,
			"the section is not closed; add a }");
	r = section_done(cfg, opt, cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1));
	memset(now.origins, 0, sizeof(now.origins));
	return r;
}

static cfg_opt_t *add_opt(cfg_opt_t *opts, const char *name, cfg_type_t type, cfg_flag_t flags)
{
	for (; opts->name; opts++)
		if (strcmp(opts->name, name) == 0)
			return opts;
	opts->name = name;
	opts->type = type;
	opts->flags = flags;
	opts->validcb = type == CFGT_SEC ? on_section : on_value;
	return opts;
}

/* False: no memory. */
static bool add_option(cfg_opt_t *opts, const struct option *o, char *section, cfg_flag_t flags)
{
	const char *dot = strchr(o->key, '.'), *name = o->key;
	bool titled_stream = flags && strncmp(o->key, "stream.", 7) == 0;
	cfg_opt_t *sec;

	if (dot) {
		snprintf(section, 32, "%.*s", (int)(dot - o->key),
			titled_stream ? CONFTEXT_STREAM : o->key);
		sec = add_opt(opts, section, CFGT_SEC, flags);
		if (!sec->subopts)
			sec->subopts =
				calloc(option_count + option_tls_count + 1, sizeof(*sec->subopts));
		if (!sec->subopts)
			return false;
		opts = sec->subopts;
		name = dot + 1;
	}
	add_opt(opts, name, CFGT_STR,
		CFGF_NODEFAULT | (o->type == OPTION_LIST ? CFGF_LIST : CFGF_NONE));
	return true;
}

/* libconfuse's view of the option table. NULL: no memory. */
static cfg_t *make_parser(void)
{
	size_t i, n = option_count + option_tls_count + option_auth_count + option_service_count +
		      option_stream_count;
	size_t at = option_count;
	cfg_opt_t *opts = calloc(n + 1, sizeof(*opts));
	char(*sections)[32] = calloc(n, sizeof(*sections));
	bool ok = opts && sections;
	cfg_t *cfg = NULL;

	for (i = 0; ok && i < option_count; i++)
		ok = (option_table[i].hidden && !now.l->trusted) ||
		     add_option(opts, &option_table[i], sections[i], CFGF_NONE);
	for (size_t k = 0; k < TITLED_SECTIONS; k++)
		for (i = 0; ok && i < *titled_sections[k].count; i++)
			ok = add_option(opts, &titled_sections[k].table[i], sections[at++],
				CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
	if (ok)
		cfg = cfg_init(opts, CFGF_NONE); /* copies them */
	for (i = 0; opts && opts[i].name; i++)
		free(opts[i].subopts);
	free(opts);
	free(sections);
	return cfg;
}

/* After a fault the lexer may still be inside a string: it is global, and the next file must not
 * begin there. */
static void reset_lexer(void)
{
	cfg_opt_t none = {.name = NULL};
	cfg_t *cfg = cfg_init(&none, CFGF_NONE);

	if (!cfg)
		return;
	cfg_set_error_function(cfg, on_error_ignored);
	(void)cfg_parse_buf(cfg, TAIL);
	cfg_free(cfg);
}

/* text is the file and the tail. */
static int parse(struct loading *l, char *text, int lines)
{
	cfg_t *cfg;

	memset(&now, 0, sizeof(now));
	now.l = l;
	now.lines = lines > 0 ? lines : 1;
	now.text = text;
	cfg = make_parser();
	if (cfg) {
		cfg_set_error_function(cfg, on_error);
		if (cfg_parse_buf(cfg, text) != CFG_SUCCESS && !l->failed)
			fault_line(1, NULL, "out of memory");
		cfg_free(cfg);
	} else {
		fault_line(1, NULL, "out of memory");
	}
	contls_clear(&now.tls);
	conauth_clear(&now.auth);
	conservice_clear(&now.service);
	constream_clear(&now.stream);
	if (l->failed)
		reset_lexer();
	return l->failed ? -1 : 0;
}

static int parse_bytes(struct loading *l, char *buf, size_t len)
{
	struct origin o = {.kind = FROM_FILE};
	int lines;
	char *open_comment;

	buf[len] = '\0';
	o.line = conftext_line(buf, buf + strlen(buf));
	if (strlen(buf) < len)
		return config_fault(l, &o, NULL, "a NUL byte; this is no text file");
	lines = len > 0 && buf[len - 1] == '\n' ? o.line - 1 : o.line;
	open_comment = conftext_blank_comments(buf);
	o.line = open_comment ? conftext_line(buf, open_comment) : 0;
	if (open_comment)
		return config_fault(
			l, &o, NULL, "the comment that begins here is not closed; add */");
	conftext_mark(buf);
	memcpy(buf + len, TAIL, sizeof(TAIL));
	return parse(l, buf, lines);
}

int confile_read(struct loading *l, bool required)
{
	struct origin o = {.kind = FROM_FILE};
	size_t most = FILE_MAX_BYTES;
	struct stat st;
	char *buf;
	ssize_t len;
	int fd, r;

	fd = open(l->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 && errno == ENOENT && !required)
		return 0;
	if (fd < 0)
		return config_fault(l, &o, NULL,
			"cannot be opened (%s); make it readable, or name another with -c",
			strerror(errno));
	/* What the master wrote has all defaults and variables in it. */
	if (l->trusted && fstat(fd, &st) == 0)
		most = (size_t)st.st_size;
	buf = malloc(most + 1 + sizeof(TAIL));
	len = buf ? conftext_slurp(fd, buf, most) : -1;
	r = len >= 0 ? parse_bytes(l, buf, (size_t)len)
		     : config_fault(l, &o, NULL,
			       "cannot be read (%s); make it a readable file, or name another with "
			       "-c",
			       buf ? strerror(errno) : "out of memory");
	if (buf) /* a password may be in it; what was never written to stays untouched */
		explicit_bzero(buf, len < 0 ? most + 1 : (size_t)len + sizeof(TAIL));
	free(buf);
	close(fd);
	return r;
}
