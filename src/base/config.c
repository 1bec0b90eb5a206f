/*
 * config: see config.h.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wsgate/config.h>
#include <wsgate/option.h>
#include "conauth.h"
#include "confile.h"
#include "conservice.h"
#include "constream.h"
#include "secrets.h"

#define LISTEN_MAX 32 /* with those of tls */

int config_fault(struct loading *l, const struct origin *o, const char *key, const char *fmt, ...)
{
	char where[4200], text[512];
	va_list ap;

	if (l->failed)
		return -1;
	l->failed = true;
	if (o->kind == FROM_FILE && o->line > 0)
		snprintf(where, sizeof(where), "%s:%d", l->path, o->line);
	else if (o->kind == FROM_FILE)
		snprintf(where, sizeof(where), "%s", l->path);
	else if (o->kind == FROM_ENV)
		snprintf(where, sizeof(where), "environment %s", o->variable);
	else
		snprintf(where, sizeof(where), "%s", o->kind == FROM_SET ? "-o" : "default");
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(l->err, l->errlen, "%s: %s%s%s", where, key ? key : "", key && *key ? ": " : "",
		text);
	/* libconfuse repeats what it does not understand, line ends too. */
	for (char *s = l->err; l->errlen > 0 && *s != '\0'; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = '?';
	return -1;
}

static int set(
	struct loading *l, const struct option *o, const char *text, const struct origin *from)
{
	char err[320];

	if (option_set_text(l->c, o, text, err, sizeof(err)) < 0)
		return config_fault(l, from, o->key, "%s", err);
	l->origins[o - option_table] = *from;
	return 0;
}

static int set_defaults(struct loading *l)
{
	const struct origin from = {.kind = FROM_DEFAULT};
	size_t i;

	for (i = 0; i < option_count; i++)
		if (set(l, &option_table[i], option_table[i].def, &from) < 0)
			return -1;
	return 0;
}

static int set_from_environment(struct loading *l)
{
	static const struct {
		const char *variable, *key;
	} map[] = {
		{"NATS_BROKER_URL", "broker.url"},
		{"PUBSUB_BROKER", "broker.type"},
	};
	size_t i;

	for (i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
		const struct origin from = {.kind = FROM_ENV, .variable = map[i].variable};
		const char *value = getenv(map[i].variable);

		if (value && *value != '\0' && set(l, option_find(map[i].key), value, &from) < 0)
			return -1;
	}
	return 0;
}

static bool of_section(const char *key, const char *section)
{
	size_t n = strlen(section);

	return strncmp(key, section, n) == 0 && (key[n] == '.' || key[n] == '\0');
}

static int set_one(struct loading *l, const char *text)
{
	const struct origin from = {.kind = FROM_SET};
	const struct option *o, *guess;
	const char *eq = strchr(text, '=');
	char key[64];

	snprintf(key, sizeof(key), "%.*s", eq ? (int)(eq - text) : (int)strlen(text), text);
	if (of_section(key, "tls") || of_section(key, "auth") || of_section(key, "service"))
		return config_fault(l, &from, key, "sections with a title are for the file alone");
	o = option_find(key);
	if (o && o->hidden)
		o = NULL;
	guess = o ? NULL : option_guess(key);
	if (guess)
		return config_fault(l, &from, key,
			"no such key; is %s meant? wsgate.conf(5) lists them all", guess->key);
	if (!o)
		return config_fault(l, &from, key, "no such key; wsgate.conf(5) lists them all");
	if (!eq)
		return config_fault(l, &from, key, "has no value; write -o %s=VALUE", key);
	return set(l, o, eq + 1, &from);
}

/* The key to blame when two do not go together: the one that was set last, and not a default. */
static const char *blame(
	const struct loading *l, const char *a, const char *b, const struct origin **from)
{
	const struct origin *x = &l->origins[option_find(a) - option_table];
	const struct origin *y = &l->origins[option_find(b) - option_table];
	bool second = y->kind > x->kind || (y->kind == x->kind && y->line > x->line);

	*from = second ? y : x;
	return second ? b : a;
}

/* a's value must not be above b's; both are numbers of one kind. */
static int check_order(struct loading *l, const char *a, const char *b, uint64_t x, uint64_t y)
{
	const struct origin *from;
	const char *key = blame(l, a, b, &from);

	if (x <= y)
		return 0;
	return config_fault(
		l, from, key, "%s must not be above %s; lower the one or raise the other", a, b);
}

static bool listed(const struct config *c, const char *address)
{
	size_t i;

	for (i = 0; i < c->listen.n; i++)
		if (strcmp(c->listen.v[i], address) == 0)
			return true;
	return false;
}

static int check_listen(struct loading *l)
{
	const struct config *c = l->c;
	struct origin at = {.kind = FROM_FILE};
	const struct origin *from;
	const char *key = blame(l, "admin.listen", "listen", &from);
	size_t i;

	if (c->listen.n == 0 && c->ntls == 0)
		return config_fault(l, &l->origins[option_find("listen") - option_table], "listen",
			"no address at all; add one, or a section tls \"address\"");
	if (listed(c, c->admin.listen))
		return config_fault(l, from, key,
			"clients and admin.listen have the same address; give each its own port");
	for (i = 0; i < c->ntls; i++) {
		at.line = l->tls_lines[i];
		if (listed(c, c->tls[i].listen) || strcmp(c->tls[i].listen, c->admin.listen) == 0)
			return config_fault(l, &at, "tls",
				"\"%s\" is also in listen or admin.listen; give each its own port",
				c->tls[i].listen);
		if (c->listen.n + i >= LISTEN_MAX)
			return config_fault(
				l, &at, "tls", "more than 32 addresses, with listen; remove some");
	}
	return 0;
}

static int check_proxy(struct loading *l)
{
	const struct config *c = l->c;
	const struct origin *from;
	const char *key = blame(l, "proxy.protocol", "proxy.forwarded", &from);

	if (c->proxy.networks.n || (c->proxy.protocol == PROXY_PROTOCOL_NONE &&
					   c->proxy.forwarded == PROXY_FORWARDED_NONE))
		return 0;
	return config_fault(
		l, from, key, "from nobody: name the proxies in proxy.networks, or leave it out");
}

static int check_certificates(struct loading *l)
{
	const struct config *c = l->c;
	const struct option *o = option_find("identity.sources");

	if (c->identity.sources.n != 1 || strcmp(c->identity.sources.v[0], "cert") != 0)
		return 0;
	for (size_t i = 0; i < c->ntls; i++)
		if (c->tls[i].client_verify != TLS_VERIFY_NONE)
			return 0;
	for (size_t i = 0; i < c->nauth; i++)
		if (c->auth[i].type != AUTH_NONE)
			return 0; /* who has a token needs no certificate */
	return config_fault(l, &l->origins[o - option_table], o->key,
		"nobody can be identified: no section tls asks for certificates; add "
		"client_verify and client_ca to one, or another source here");
}

static int check_streams(struct loading *l)
{
	const struct origin from = {.kind = FROM_FILE};
	char err[320];

	return constream_inherit(l->c, err, sizeof(err)) < 0
		       ? config_fault(l, &from, "stream", "%s", err)
		       : 0;
}

static int check_together(struct loading *l)
{
	const struct config *c = l->c;
	const struct origin *from;
	const char *key = blame(l, "identity.service_cookie", "identity.user_cookie", &from);

	if (check_order(l, "workers", "max_workers", c->workers, c->max_workers) < 0 ||
		check_order(l, "delivery.user_buffer", "delivery.total_buffer",
			c->delivery.user_buffer, c->delivery.total_buffer) < 0)
		return -1;
	if (c->stream.max_age != 0 && check_order(l, "stream.duplicate_window", "stream.max_age",
					      c->stream.duplicate_window, c->stream.max_age) < 0)
		return -1;
	if (strcmp(c->identity.service_cookie, c->identity.user_cookie) == 0)
		return config_fault(l, from, key,
			"service_cookie and user_cookie are the same; give them two names");
	if (check_proxy(l) < 0 || check_streams(l) < 0 || secrets_check(l) < 0)
		return -1;
	return check_listen(l) < 0 ? -1 : check_certificates(l);
}

static void raise_level(struct config *c, unsigned steps)
{
	for (; steps > 0 && c->log.level < LOG_LEVEL_TRACE; steps--)
		c->log.level++;
}

static int load(struct loading *l, const struct config_source *src)
{
	size_t i;

	if (set_defaults(l) < 0)
		return -1;
	if (src->file && confile_read(l, src->file_required) < 0)
		return -1;
	if (set_from_environment(l) < 0)
		return -1;
	for (i = 0; i < src->nsets; i++)
		if (set_one(l, src->sets[i]) < 0)
			return -1;
	raise_level(l->c, src->verbose);
	if (check_together(l) < 0)
		return -1;
	return l->secrets ? secrets_read(l) : 0;
}

/* src NULL: l->path alone, which was checked before. */
static struct config *load_new(struct loading *l, const struct config_source *src)
{
	int r = -1;

	l->c = calloc(1, sizeof(*l->c));
	l->origins = calloc(option_count, sizeof(*l->origins));
	if (!l->c || !l->origins)
		snprintf(l->err, l->errlen, "configuration: out of memory");
	else if (src)
		r = load(l, src);
	else if (set_defaults(l) == 0)
		r = confile_read(l, true) < 0 ? -1 : check_streams(l);
	free(l->origins);
	if (r == 0)
		return l->c;
	config_free(l->c);
	return NULL;
}

struct config *config_load(const struct config_source *src, char *err, size_t errlen)
{
	struct loading l = {
		.path = src->file, .err = err, .errlen = errlen, .names_only = src->names_only};

	return load_new(&l, src);
}

struct config *config_load_secret(const struct config_source *src, char *err, size_t errlen)
{
	struct loading l = {.path = src->file,
		.err = err,
		.errlen = errlen,
		.names_only = src->names_only,
		.secrets = true};

	return load_new(&l, src);
}

struct config *config_load_fd(int fd, char *err, size_t errlen)
{
	char path[40];
	struct loading l = {.path = path, .err = err, .errlen = errlen, .trusted = true};

	if (fd < 0) {
		snprintf(err, errlen, "no file descriptor left for it");
		return NULL;
	}
	/* Opened again: the offset of the writer's descriptor is everybody's. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return load_new(&l, NULL);
}

void config_free(struct config *c)
{
	size_t i, j;

	if (!c)
		return;
	for (i = 0; i < option_count; i++)
		option_clear(c, &option_table[i]);
	for (j = 0; j < c->ntls; j++) {
		for (i = 0; i < option_tls_count; i++)
			option_clear(&c->tls[j], &option_tls_table[i]);
		free(c->tls[j].listen);
	}
	free(c->tls);
	conauth_free(c);
	conservice_free(c);
	constream_free(c);
	free(c);
}

static bool may_have(enum config_reader reader, const struct option *o)
{
	return !o->secret || reader == CONFIG_BRIDGE ||
	       (reader == CONFIG_WORKER && strncmp(o->key, "broker.", 7) != 0);
}

static void print_key(const void *base, const struct option *o, const char *name,
	const char *indent, bool secrets, FILE *out)
{
	fprintf(out, "%s%s = ", indent, name);
	if (secrets)
		option_print(base, o, out);
	else
		option_print_public(base, o, out);
	putc('\n', out);
}

void config_forget_secrets(struct config *c, enum config_reader reader)
{
	for (size_t i = 0; i < option_count; i++)
		if (!may_have(reader, &option_table[i]))
			option_forget(c, &option_table[i]);
}

int config_print(const struct config *c, FILE *out)
{
	return config_write(c, CONFIG_PEOPLE, out);
}

int config_write(const struct config *c, enum config_reader reader, FILE *out)
{
	const char *section = NULL;
	size_t i, j, len = 0;

	for (i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];
		const char *dot = strchr(o->key, '.');

		if (o->hidden && !may_have(reader, o))
			continue;
		if (section && (!dot || strncmp(o->key, section, len) != 0)) {
			fputs("}\n", out);
			section = NULL;
		}
		if (dot && !section) {
			section = o->key;
			len = (size_t)(dot + 1 - section);
			fprintf(out, "%.*s {\n", (int)len - 1, section);
		}
		print_key(c, o, dot ? dot + 1 : o->key, dot ? "\t" : "", may_have(reader, o), out);
	}
	fputs(section ? "}\n" : "", out);
	for (j = 0; j < c->ntls; j++) {
		fputs("tls ", out);
		option_print_string(c->tls[j].listen, out);
		fputs(" {\n", out);
		for (i = 0; i < option_tls_count; i++)
			print_key(&c->tls[j], &option_tls_table[i],
				strchr(option_tls_table[i].key, '.') + 1, "\t", true, out);
		fputs("}\n", out);
	}
	conauth_print(c, out);
	conservice_print(c, out);
	constream_print(c, out);
	return fflush(out) != 0 || ferror(out) ? -1 : 0;
}

uint32_t config_workers(const struct config *c)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	uint32_t n = c->workers > 0 ? c->workers : online > 0 ? (uint32_t)online : 1;

	return n < c->max_workers ? n : c->max_workers;
}
