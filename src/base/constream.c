/*
 * constream: see constream.h.
 */
#include <stdlib.h>
#include <string.h>
#include <wsgate/option.h>
#include "constream.h"
#include "value.h"

void constream_clear(struct config_stream *s)
{
	for (size_t i = 0; i < option_stream_count; i++)
		option_clear(s, &option_stream_table[i]);
	free(s->name);
	memset(s, 0, sizeof(*s));
}

void constream_free(struct config *c)
{
	for (size_t i = 0; i < c->nstreams; i++)
		constream_clear(&c->streams[i]);
	free(c->streams);
	c->streams = NULL;
	c->nstreams = 0;
}

static int fault(char *err, size_t errlen, const char *title, const char *why)
{
	snprintf(err, errlen, "section \"%.140s\": %s", title, why);
	return -1;
}

static int has(const struct config_stream *s, const char *service, size_t len)
{
	for (size_t i = 0; i < s->services.n; i++)
		if (strlen(s->services.v[i]) == len && memcmp(s->services.v[i], service, len) == 0)
			return (int)i;
	return -1;
}

/* The subjects of two streams must have nothing in common. */
static int check_services(const struct config *c, const struct config_stream *s, const char *title,
	char *err, size_t errlen)
{
	for (size_t i = 0; i < s->services.n; i++) {
		const char *name = s->services.v[i];

		for (size_t k = 0; k < c->nstreams; k++) {
			if (has(&c->streams[k], name, strlen(name)) < 0)
				continue;
			snprintf(err, errlen,
				"section \"%.130s\": service \"%.130s\" is in section \"%.130s\" "
				"already; keep one",
				title, name, c->streams[k].name);
			return -1;
		}
	}
	return 0;
}

static int append(struct config *c, struct config_stream *s)
{
	struct config_stream *bigger =
		reallocarray(c->streams, c->nstreams + 1, sizeof(*c->streams));

	if (!bigger)
		return -1;
	c->streams = bigger;
	c->streams[c->nstreams++] = *s;
	memset(s, 0, sizeof(*s));
	return 0;
}

int constream_done(
	struct config *c, struct config_stream *s, const char *title, char *err, size_t errlen)
{
	const char *why = value_check_stream(title);

	if (why) {
		snprintf(err, errlen, "section \"%.140s\": the name of a stream %s", title, why);
		return -1;
	}
	if (s->services.n == 0)
		return fault(err, errlen, title,
			"has no services; add services = {\"name\", ...}: each service is in one "
			"section, and there is none for all others");
	if (c->nstreams == CONFIG_STREAMS)
		return fault(err, errlen, title, "more than 16 sections; remove some");
	if (check_services(c, s, title, err, errlen) < 0)
		return -1;
	s->name = strdup(title);
	if (!s->name || append(c, s) < 0) {
		snprintf(err, errlen, "out of memory");
		return -1;
	}
	return 0;
}

int constream_inherit(struct config *c, char *err, size_t errlen)
{
	for (size_t k = 0; k < c->nstreams; k++) {
		struct config_stream *s = &c->streams[k];

		for (size_t i = 0; i < option_stream_count; i++) {
			const struct option *o = &option_stream_table[i];

			if (!(s->given & UINT32_C(1) << i) && o->type != OPTION_LIST &&
				option_copy(s, &c->stream, o) < 0) {
				snprintf(err, errlen, "out of memory");
				return -1;
			}
		}
		if (s->max_age != 0 && s->duplicate_window > s->max_age)
			return fault(err, errlen, s->name,
				"duplicate_window must not be above max_age; lower the one or "
				"raise the other");
	}
	return 0;
}

void constream_print(const struct config *c, FILE *out)
{
	for (size_t i = 0; i < c->nstreams; i++)
		option_print_section("stream", c->streams[i].name, &c->streams[i],
			option_stream_table, option_stream_count, out);
}

size_t config_streams(const struct config *c)
{
	return c->nstreams > 0 ? c->nstreams : 1;
}

const struct config_stream *config_stream(const struct config *c, size_t i)
{
	return c->nstreams > 0 ? &c->streams[i] : &c->stream;
}

int config_stream_of(const struct config *c, const char *service, size_t len)
{
	if (c->nstreams == 0)
		return 0;
	for (size_t i = 0; i < c->nstreams; i++)
		if (has(&c->streams[i], service, len) >= 0)
			return (int)i;
	return -1;
}

bool config_streams_equal(const struct config *a, const struct config *b)
{
	return option_sections_equal(a->streams, a->nstreams, b->streams, b->nstreams,
		sizeof(*a->streams), option_stream_table, option_stream_count);
}

bool config_streams_extend(const struct config *next, const struct config *now)
{
	if (next->nstreams < now->nstreams || (next->nstreams > 0) != (now->nstreams > 0))
		return false;
	for (size_t i = 0; i < now->nstreams; i++) {
		const struct config_stream *a = &now->streams[i], *b = &next->streams[i];

		if (strcmp(a->name, b->name) != 0)
			return false;
		for (size_t k = 0; k < a->services.n; k++)
			if (has(b, a->services.v[k], strlen(a->services.v[k])) < 0)
				return false;
	}
	return true;
}

static int copy(struct config_stream *to, const struct config_stream *from)
{
	*to = (struct config_stream){.name = strdup(from->name), .given = from->given};
	for (size_t i = 0; to->name && i < option_stream_count; i++) {
		if (option_copy(to, from, &option_stream_table[i]) == 0)
			continue;
		constream_clear(to);
		return -1;
	}
	return to->name ? 0 : -1;
}

int config_streams_copy(struct config *to, const struct config *from)
{
	struct config_stream s;

	constream_free(to);
	for (size_t i = 0; i < from->nstreams; i++) {
		if (copy(&s, &from->streams[i]) == 0 && append(to, &s) == 0)
			continue;
		constream_clear(&s);
		constream_free(to);
		return -1;
	}
	return 0;
}
