/*
 * conauth: see conauth.h.
 */
#include <stdlib.h>
#include <string.h>
#include <wsgate/log.h>
#include <wsgate/option.h>
#include <wsgate/subject.h>
#include "conauth.h"

int conauth_defaults(struct config_auth *a)
{
	char err[320];

	for (size_t i = 0; i < option_auth_count; i++) {
		struct option o = option_auth_table[i];

		o.min = o.type == OPTION_LIST ? 0 : o.min;
		if (option_set_text(a, &o, o.def, err, sizeof(err)) < 0)
			return -1;
	}
	return 0;
}

void conauth_clear(struct config_auth *a)
{
	for (size_t i = 0; i < option_auth_count; i++)
		option_clear(a, &option_auth_table[i]);
	free(a->service);
	memset(a, 0, sizeof(*a));
}

void conauth_free(struct config *c)
{
	for (size_t i = 0; i < c->nauth; i++)
		conauth_clear(&c->auth[i]);
	free(c->auth);
}

/* NULL, or what does not go together. */
static const char *objection(const struct config *c, const struct config_auth *a, const char *title)
{
	size_t len = strlen(title);

	if (len == 0 || len > TOKEN_MAX)
		return "the name of a service has 1 to 128 bytes";
	if (a->type == AUTH_JWT && a->keys.n == 0)
		return "has no keys; add keys = {\"/path/of/keys.json\"}, or another type";
	if (a->type != AUTH_JWT && a->keys.n > 0)
		return "has keys, which are for type = jwt alone";
	if (a->type != AUTH_JWT && a->refresh)
		return "has refresh = on, which is for type = jwt alone";
	return c->nauth == CONAUTH_MAX ? "more than 256 sections; remove some" : NULL;
}

int conauth_done(
	struct config *c, struct config_auth *a, const char *title, char *err, size_t errlen)
{
	const char *why = objection(c, a, title);
	struct config_auth *bigger;

	if (why) {
		snprintf(err, errlen, "section \"%.140s\": %s", title, why);
		return -1;
	}
	a->service = strdup(title);
	bigger = a->service ? reallocarray(c->auth, c->nauth + 1, sizeof(*c->auth)) : NULL;
	if (!bigger) {
		snprintf(err, errlen, "out of memory");
		return -1;
	}
	c->auth = bigger;
	c->auth[c->nauth++] = *a;
	memset(a, 0, sizeof(*a));
	return 0;
}

void conauth_print(const struct config *c, FILE *out)
{
	for (size_t i = 0; i < c->nauth; i++)
		option_print_section("auth", c->auth[i].service, &c->auth[i], option_auth_table,
			option_auth_count, out);
}

const struct config_auth *config_auth_of(const struct config *c, const char *service, size_t len)
{
	const struct config_auth *rest = NULL;

	for (size_t i = 0; i < c->nauth; i++) {
		const char *name = c->auth[i].service;

		if (strcmp(name, "*") == 0)
			rest = &c->auth[i];
		else if (strlen(name) == len && memcmp(name, service, len) == 0)
			return &c->auth[i];
	}
	return rest;
}

bool config_auth_equal(const struct config *a, const struct config *b)
{
	return option_sections_equal(a->auth, a->nauth, b->auth, b->nauth, sizeof(*a->auth),
		option_auth_table, option_auth_count);
}

static bool is_loopback(const char *address)
{
	return strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]:", 6) == 0 ||
	       strncmp(address, "localhost:", 10) == 0;
}

void config_warn_open(const struct config *c)
{
	const char *open = NULL;

	for (size_t i = 0; !open && i < c->listen.n; i++)
		open = is_loopback(c->listen.v[i]) ? NULL : c->listen.v[i];
	for (size_t i = 0; !open && i < c->ntls; i++)
		open = is_loopback(c->tls[i].listen) ? NULL : c->tls[i].listen;
	if (c->nauth == 0 && open)
		log_warn("clients are believed who they say they are: add auth sections, or say "
			 "type = none for a proxy that checks them",
			kv_str("listen", open));
}
