/*
 * stream_edit: see stream_edit.h.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "stream_edit.h"

#define NS_PER_MS INT64_C(1000000)

enum stream_result stream_say(struct stream_state *out, enum stream_result r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(out->text, sizeof(out->text), fmt, ap);
	va_end(ap);
	return r;
}

int64_t stream_edit_age(const struct settings *s)
{
	return (int64_t)s->max_age * NS_PER_MS;
}

/* The server refuses a max_age below the duplicate window. */
int64_t stream_edit_duplicates(const struct settings *s, int64_t age)
{
	int64_t d = (int64_t)s->duplicate_window * NS_PER_MS;

	return age > 0 && d > age ? age : d;
}

/* All that is below the prefix; or what services say and are told, so that another stream can have
 * the rest. */
json_t *stream_edit_subjects(const struct settings *s)
{
	json_t *list = json_array();
	bool good = list != NULL;

	if (s->nservices == 0)
		good = good && json_array_append_new(list, json_sprintf("%s.>", s->prefix)) == 0;
	for (size_t i = 0; good && i < 2 * s->nservices; i++)
		good = json_array_append_new(
			       list, json_sprintf("%s.%s.%s.>", s->prefix, i % 2 ? "recv" : "send",
					     s->services[i / 2])) == 0;
	if (good)
		return list;
	json_decref(list);
	return NULL;
}

json_t *stream_edit_republish(const struct settings *s)
{
	return json_pack("{s:s+,s:s+}", "src", s->prefix, ".recv.>", "dest", s->prefix, "live.>");
}

/* ---- is the one that is there what we need? ---- */

static bool is(const json_t *v, const char *s)
{
	const char *text = json_string_value(v);

	return text && strcmp(text, s) == 0;
}

static bool is_set(const json_t *config, const char *key)
{
	return json_is_true(json_object_get(config, key));
}

static int64_t int_of(const json_t *config, const char *key)
{
	return json_integer_value(json_object_get(config, key));
}

/* Whether a subject of a stream's is, or has in it, one of ours, which ends with ">". */
static bool subject_has(const char *wide, const char *ours)
{
	for (;;) {
		size_t n = strcspn(wide, "."), m = strcspn(ours, ".");

		if (strcmp(wide, ">") == 0)
			return true;
		if (strcmp(ours, ">") == 0 ||
			!((n == 1 && *wide == '*') || (n == m && memcmp(wide, ours, n) == 0)))
			return false;
		wide += n;
		ours += m;
		if (*wide != '.' || *ours != '.')
			return false;
		wide++;
		ours++;
	}
}

static bool covers(const json_t *config, const char *ours)
{
	const json_t *subjects = json_object_get(config, "subjects"), *v;

	for (size_t i = 0; (v = json_array_get(subjects, i)); i++)
		if (json_is_string(v) && subject_has(json_string_value(v), ours))
			return true;
	return false;
}

static bool covers_kind(const json_t *config, const struct settings *s, const char *kind)
{
	char ours[64];

	snprintf(ours, sizeof(ours), "%s.%s.>", s->prefix, kind);
	return covers(config, ours);
}

static bool key_is(const json_t *config, const char *key, const char *value)
{
	return is(json_object_get(config, key), value);
}

bool stream_edit_in_memory(const json_t *config)
{
	return key_is(config, "storage", "memory");
}

/* Republish as we need it? *there: there is one at all. */
bool stream_edit_republishes(const json_t *config, const struct settings *s, bool *there)
{
	const json_t *v = json_object_get(config, "republish");
	char src[64], dest[64];

	snprintf(src, sizeof(src), "%s.recv.>", s->prefix);
	snprintf(dest, sizeof(dest), "%slive.>", s->prefix);
	*there = json_is_object(v);
	return *there && key_is(v, "src", src) && key_is(v, "dest", dest) &&
	       !is_set(v, "headers_only");
}

static bool drops_oldest(const json_t *config)
{
	return int_of(config, "max_msgs_per_subject") > 0 &&
	       !is_set(config, "discard_new_per_subject");
}

/* Without memory: nothing is said to be missing. */
static bool covers_all(const json_t *config, const struct settings *s)
{
	json_t *ours, *v;
	bool all = true;

	if (s->nservices == 0)
		return covers_kind(config, s, "send") && covers_kind(config, s, "recv");
	ours = stream_edit_subjects(s);
	for (size_t i = 0; all && (v = json_array_get(ours, i)); i++)
		all = covers(config, json_string_value(v));
	json_decref(ours);
	return all;
}

bool stream_edit_serves(const json_t *config, const struct settings *s)
{
	return covers_all(config, s) && is_set(config, "allow_direct") &&
	       !is_set(config, "no_ack") && key_is(config, "discard", "new") &&
	       !drops_oldest(config) && json_is_object(json_object_get(config, "republish"));
}

enum stream_result stream_edit_check(
	const json_t *config, const struct settings *s, struct stream_state *out)
{
	const char *mend =
		s->nservices > 0
			? "give its section the name of another one (it is made if it does not "
			  "exist)"
			: "name another one in stream.name (it is made if it does not exist)";
	bool there;

	if (!key_is(config, "retention", "workqueue"))
		return stream_say(out, STREAM_REFUSED,
			"stream %s is no work queue, so it serves another purpose: %s", s->stream,
			mend);
	if (json_is_object(json_object_get(config, "mirror")))
		return stream_say(
			out, STREAM_REFUSED, "stream %s is a mirror: %s", s->stream, mend);
	if (s->nservices == 0 && !covers_all(config, s))
		return stream_say(out, STREAM_REFUSED,
			"stream %s does not have the subjects %s.>: add them to it, or %s",
			s->stream, s->prefix, mend);
	if (is_set(config, "sealed") || is_set(config, "deny_delete"))
		return stream_say(out, STREAM_REFUSED,
			"stream %s forbids that messages are deleted (sealed or deny_delete): %s",
			s->stream, mend);
	if (!stream_edit_republishes(config, s, &there) && there)
		return stream_say(out, STREAM_REFUSED,
			"stream %s republishes something else than %s.recv.> to %slive.>: change "
			"that, or %s",
			s->stream, s->prefix, s->prefix, mend);
	return STREAM_OK;
}

/* ---- bringing it up to date ---- */

/* Takes the value. */
static void edit_set(struct stream_edit *e, const char *key, json_t *value)
{
	if (json_object_set_new(e->config, key, value) < 0)
		e->failed = true;
	e->changed = true;
}

/* What its services lack is added; what else it has stays. */
static void edit_subjects(struct stream_edit *e, const struct settings *s)
{
	json_t *ours = stream_edit_subjects(s), *v,
	       *all = json_copy(json_object_get(e->config, "subjects"));
	bool more = false;

	if (!all)
		all = json_array();
	if (!ours || !all)
		e->failed = true;
	for (size_t i = 0; (v = json_array_get(ours, i)); i++) {
		if (covers(e->config, json_string_value(v)))
			continue;
		more = true;
		if (json_array_append(all, v) < 0)
			e->failed = true;
	}
	if (more)
		edit_set(e, "subjects", json_incref(all));
	json_decref(all);
	json_decref(ours);
}

/* Without these it does not work, or it loses messages. */
void stream_edit_needed(struct stream_edit *e, const struct settings *s)
{
	bool there;

	if (s->nservices > 0)
		edit_subjects(e, s);
	if (!is_set(e->config, "allow_direct"))
		edit_set(e, "allow_direct", json_true());
	if (is_set(e->config, "no_ack"))
		edit_set(e, "no_ack", json_false());
	if (!key_is(e->config, "discard", "new"))
		edit_set(e, "discard", json_string("new"));
	if (drops_oldest(e->config))
		edit_set(e, "discard_new_per_subject", json_true());
	if (!stream_edit_republishes(e->config, s, &there))
		edit_set(e, "republish", stream_edit_republish(s));
}

/* Raises a limit that is there and is lower than the one configured. 0: no limit. */
static void edit_limit(struct stream_edit *e, const char *key, int64_t wanted)
{
	int64_t now = int_of(e->config, key);

	if (now > 0 && wanted > now)
		edit_set(e, key, json_integer(wanted));
}

void stream_edit_limits(struct stream_edit *e, const struct settings *s)
{
	int64_t age = int_of(e->config, "max_age"), d = int_of(e->config, "duplicate_window"),
		replicas = int_of(e->config, "num_replicas");

	edit_limit(e, "max_bytes", (int64_t)s->max_bytes);
	edit_limit(e, "max_msgs_per_subject", (int64_t)s->max_per_user);
	if (age > 0 && (s->max_age == 0 || stream_edit_age(s) > age)) {
		age = stream_edit_age(s);
		edit_set(e, "max_age", json_integer(age));
	}
	if (stream_edit_duplicates(s, age) > d)
		edit_set(e, "duplicate_window", json_integer(stream_edit_duplicates(s, age)));
	if ((replicas > 0 ? replicas : 1) < s->replicas)
		edit_set(e, "num_replicas", json_integer(s->replicas));
}
