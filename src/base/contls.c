/*
 * contls: see contls.h.
 */
#include <stdlib.h>
#include <string.h>
#include <wsgate/option.h>
#include "confile.h"
#include "contls.h"

void contls_clear(struct config_tls *t)
{
	for (size_t i = 0; i < option_tls_count; i++)
		option_clear(t, &option_tls_table[i]);
	free(t->listen);
	memset(t, 0, sizeof(*t));
}

static int contls_defaults(struct config_tls *t, uint32_t seen, char *err, size_t errlen)
{
	for (size_t i = 0; i < option_tls_count; i++)
		if (!(seen & UINT32_C(1) << i) && option_set_text(t, &option_tls_table[i],
							  option_tls_table[i].def, err, errlen) < 0)
			return -1;
	return 0;
}

/* NULL, or what is wrong with the section as a whole. */
static const char *contls_fault(const struct config_tls *t)
{
	if (t->certificate.n == 0)
		return "has no certificate; add certificate = \"/path/of/a.pem\"";
	if (t->key.n == 0)
		return "has no key; add key = \"/path/of/a.pem\"";
	if (t->key.n != t->certificate.n)
		return "has not as many keys as certificates; name one for each, in the same order";
	if (t->client_verify != TLS_VERIFY_NONE && t->client_ca[0] == '\0')
		return "asks for clients' certificates, and has no client_ca; add the file of "
		       "their "
		       "authorities";
	if (t->client_verify == TLS_VERIFY_NONE && t->client_ca[0] != '\0')
		return "has a client_ca that nothing uses; add client_verify = optional or require";
	return NULL;
}

static int contls_add(struct config *c, struct config_tls *t, const char *title)
{
	struct config_tls *bigger;

	t->listen = strdup(title);
	bigger = t->listen ? reallocarray(c->tls, c->ntls + 1, sizeof(*c->tls)) : NULL;
	if (!bigger)
		return -1;
	c->tls = bigger;
	c->tls[c->ntls++] = *t;
	memset(t, 0, sizeof(*t));
	return 0;
}

int contls_done(struct config *c, struct config_tls *t, uint32_t seen, const char *title, char *err,
	size_t errlen)
{
	const struct option *address = option_find("listen");
	struct config scratch = {.listen = {0, NULL}};
	const char *fault;

	if (option_set(&scratch, address, (const char *const *)&title, 1, err, errlen) < 0)
		return -1;
	option_clear(&scratch, address);
	if (contls_defaults(t, seen, err, errlen) < 0)
		return -1;
	fault = contls_fault(t);
	if (fault) {
		snprintf(err, errlen, "section \"%.100s\" %s", title, fault);
		return -1;
	}
	if (c->ntls == CONFILE_TLS_MAX) {
		snprintf(err, errlen, "more than %d sections; remove some", CONFILE_TLS_MAX);
		return -1;
	}
	if (contls_add(c, t, title) < 0) {
		snprintf(err, errlen, "out of memory");
		return -1;
	}
	return 0;
}

bool config_tls_equal(const struct config *a, const struct config *b)
{
	return option_sections_equal(a->tls, a->ntls, b->tls, b->ntls, sizeof(*a->tls),
		option_tls_table, option_tls_count);
}
