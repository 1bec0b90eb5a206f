/*
 * settings: see settings.h.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wsgate/subject.h>
#include "settings.h"

#define SERVERS_MAX 64

static size_t scheme_len(const char *url)
{
	const char *p = strstr(url, "://");

	return p ? (size_t)(p - url) + 3 : 0;
}

static size_t userinfo_len(const char *url)
{
	const char *p = url + scheme_len(url), *at = strrchr(p, '@');

	return at ? (size_t)(at - p) + 1 : 0;
}

static bool append(struct settings *s, char *url)
{
	char **v;

	if (!url)
		return false;
	v = realloc(s->servers, ((size_t)s->nservers + 1) * sizeof(*v));
	if (!v) {
		free(url);
		return false;
	}
	s->servers = v;
	s->servers[s->nservers++] = url;
	return true;
}

static int split(struct settings *s, const char *list)
{
	while (*list) {
		size_t n = strcspn(list, ","), from = strspn(list, " \t");
		size_t to = n;

		while (to > from && (list[to - 1] == ' ' || list[to - 1] == '\t'))
			to--;
		if (from < to && s->nservers < SERVERS_MAX &&
			!append(s, strndup(list + from, to - from)))
			return -1;
		list += n + (list[n] == ',');
	}
	return 0;
}

static int copy_services(struct settings *s, const struct strlist *names)
{
	char token[TOKEN_ENCODED_MAX + 1];

	s->services = calloc(names->n + 1, sizeof(*s->services));
	for (size_t i = 0; s->services && i < names->n; i++) {
		const char *name = names->v[i];

		if (token_encode(name, strlen(name), token, sizeof(token)) < 0)
			return -1;
		s->services[i] = strdup(token);
		if (!s->services[i])
			return -1;
		s->nservices++;
	}
	return s->services ? 0 : -1;
}

/* Only gateways that share a stream need to know of each other. */
static char *beat_subject(const struct config *c, const struct config_stream *st)
{
	char *subject;
	bool own = st->services.n > 0;

	if (asprintf(&subject, "%sgate.beat%s%s", c->subject_prefix, own ? "." : "",
		    own ? st->name : "") < 0)
		return NULL;
	return subject;
}

int settings_copy(struct settings *s, const struct config *c, size_t stream)
{
	const struct config_stream *st = config_stream(c, stream);

	*s = (struct settings){
		.stream = strdup(st->name),
		.prefix = strdup(c->subject_prefix),
		.beat = beat_subject(c, st),
		.url = strdup(c->broker.url),
		.max_age = st->max_age,
		.max_bytes = st->max_bytes,
		.max_per_user = st->max_messages_per_user,
		.duplicate_window = st->duplicate_window,
		.replicas = st->replicas,
		.grace = c->broker.grace,
	};
	if (login_copy(&s->login, c) < 0 || !s->stream || !s->prefix || !s->beat || !s->url ||
		copy_services(s, &st->services) < 0 || split(s, c->broker.url) < 0) {
		settings_free(s);
		errno = ENOMEM;
		return -1;
	}
	return 0;
}

void settings_free(struct settings *s)
{
	for (int i = 0; i < s->nservers; i++)
		free(s->servers[i]);
	free(s->servers);
	for (size_t i = 0; i < s->nservices; i++)
		free(s->services[i]);
	free(s->services);
	free(s->stream);
	free(s->prefix);
	free(s->beat);
	free(s->url);
	login_free(&s->login);
	*s = (struct settings){0};
}

bool settings_same_broker(const struct settings *a, const struct settings *b)
{
	return strcmp(a->url, b->url) == 0 && login_equal(&a->login, &b->login);
}

bool settings_tls(const struct settings *s)
{
	for (int i = 0; i < s->nservers; i++)
		if (strncmp(s->servers[i], "tls://", 6) == 0)
			return true;
	return login_wants_tls(&s->login);
}

natsStatus settings_apply(const struct settings *s, natsOptions *o)
{
	natsStatus st = natsOptions_SetServers(o, (const char **)(void *)s->servers, s->nservers);

	return st == NATS_OK ? login_apply(&s->login, settings_tls(s), o) : st;
}

static bool same_services(const struct settings *a, const struct settings *b)
{
	if (a->nservices != b->nservices)
		return false;
	for (size_t i = 0; i < a->nservices; i++)
		if (strcmp(a->services[i], b->services[i]) != 0)
			return false;
	return true;
}

bool settings_equal(const struct settings *a, const struct settings *b)
{
	return settings_same_broker(a, b) && strcmp(a->stream, b->stream) == 0 &&
	       strcmp(a->prefix, b->prefix) == 0 && same_services(a, b) &&
	       a->max_age == b->max_age && a->max_bytes == b->max_bytes &&
	       a->max_per_user == b->max_per_user && a->duplicate_window == b->duplicate_window &&
	       a->replicas == b->replicas;
}

static bool same_host(const char *a, const char *b)
{
	a += scheme_len(a) + userinfo_len(a);
	b += scheme_len(b) + userinfo_len(b);
	return strcmp(a, b) == 0;
}

void settings_add_server(struct settings *s, const char *url)
{
	const char *first = s->nservers > 0 ? s->servers[0] : "";
	size_t scheme = scheme_len(first), user = userinfo_len(first);
	char *full;

	if (s->nservers >= SERVERS_MAX)
		return;
	for (int i = 0; i < s->nservers; i++)
		if (same_host(s->servers[i], url))
			return;
	url += scheme_len(url) + userinfo_len(url);
	if (asprintf(&full, "%.*s%s", (int)(scheme + user), first, url) >= 0)
		(void)append(s, full);
}

void settings_redact(const char *url, char *out, size_t outlen)
{
	size_t scheme = scheme_len(url), user = userinfo_len(url);

	snprintf(out, outlen, "%.*s%s", (int)scheme, url, url + scheme + user);
}
