/*
 * conservice: see conservice.h.
 */
#include <stdlib.h>
#include <string.h>
#include <wsgate/option.h>
#include <wsgate/subject.h>
#include "conservice.h"

void conservice_clear(struct config_service *s)
{
	for (size_t i = 0; i < option_service_count; i++)
		option_clear(s, &option_service_table[i]);
	free(s->service);
	memset(s, 0, sizeof(*s));
}

void conservice_free(struct config *c)
{
	for (size_t i = 0; i < c->nservices; i++)
		conservice_clear(&c->services[i]);
	free(c->services);
}

int conservice_done(
	struct config *c, struct config_service *s, const char *title, char *err, size_t errlen)
{
	size_t len = strlen(title);
	struct config_service *bigger;

	if (len == 0 || len > TOKEN_MAX) {
		snprintf(err, errlen,
			"section \"%.140s\": the name of a service has 1 to 128 bytes", title);
		return -1;
	}
	if (c->nservices == CONSERVICE_MAX) {
		snprintf(err, errlen, "more than 256 sections; remove some");
		return -1;
	}
	s->service = strdup(title);
	bigger = s->service ? reallocarray(c->services, c->nservices + 1, sizeof(*c->services))
			    : NULL;
	if (!bigger) {
		snprintf(err, errlen, "out of memory");
		return -1;
	}
	c->services = bigger;
	c->services[c->nservices++] = *s;
	memset(s, 0, sizeof(*s));
	return 0;
}

void conservice_print(const struct config *c, FILE *out)
{
	for (size_t i = 0; i < c->nservices; i++)
		option_print_section("service", c->services[i].service, &c->services[i],
			option_service_table, option_service_count, out);
}

const struct config_service *config_service_of(
	const struct config *c, const char *service, size_t len)
{
	const struct config_service *rest = NULL;

	for (size_t i = 0; i < c->nservices; i++) {
		const char *name = c->services[i].service;

		if (strcmp(name, "*") == 0)
			rest = &c->services[i];
		else if (strlen(name) == len && memcmp(name, service, len) == 0)
			return &c->services[i];
	}
	return rest;
}

bool config_services_equal(const struct config *a, const struct config *b)
{
	return option_sections_equal(a->services, a->nservices, b->services, b->nservices,
		sizeof(*a->services), option_service_table, option_service_count);
}
