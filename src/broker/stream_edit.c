/*
 * stream_edit: see stream_edit.h.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
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

void stream_edit_republish(const struct settings *s, char *out, size_t len)
{
	snprintf(out, len, "{\"src\":\"%s.recv.>\",\"dest\":\"%slive.>\"}", s->prefix, s->prefix);
}

/* ---- is the one that is there what we need? ---- */

static bool covers(struct json config, const struct settings *s, const char *kind)
{
	struct json subjects, k, v;
	char all[64], ours[64];
	size_t pos = 0;

	snprintf(all, sizeof(all), "%s.>", s->prefix);
	snprintf(ours, sizeof(ours), "%s.%s.>", s->prefix, kind);
	if (!json_get(config, "subjects", &subjects))
		return false;
	while (json_next(subjects, &pos, &k, &v))
		if (json_is(v, all) || json_is(v, ours) || json_is(v, ">"))
			return true;
	return false;
}

static bool key_is(struct json config, const char *key, const char *value)
{
	struct json v;

	return json_get(config, key, &v) && json_is(v, value);
}

/* Republish as we need it? *there: there is one at all. */
bool stream_edit_republishes(struct json config, const struct settings *s, bool *there)
{
	char src[64], dest[64];
	struct json v;

	snprintf(src, sizeof(src), "%s.recv.>", s->prefix);
	snprintf(dest, sizeof(dest), "%slive.>", s->prefix);
	*there = json_get(config, "republish", &v) && v.n > 0 && v.p[0] == '{';
	return *there && key_is(v, "src", src) && key_is(v, "dest", dest) &&
	       !json_get_true(v, "headers_only");
}

enum stream_result stream_edit_check(
	struct json config, const struct settings *s, struct stream_state *out)
{
	static const char mend[] =
		"name another one in stream.name (it is made if it does not exist)";
	struct json v;
	bool there;

	if (!key_is(config, "retention", "workqueue"))
		return stream_say(out, STREAM_REFUSED,
			"stream %s is no work queue, so it serves another purpose: %s", s->stream,
			mend);
	if (json_get(config, "mirror", &v) && v.p[0] == '{')
		return stream_say(
			out, STREAM_REFUSED, "stream %s is a mirror: %s", s->stream, mend);
	if (!covers(config, s, "send") || !covers(config, s, "recv"))
		return stream_say(out, STREAM_REFUSED,
			"stream %s does not have the subjects %s.>: add them to it, or %s",
			s->stream, s->prefix, mend);
	if (json_get_true(config, "sealed") || json_get_true(config, "deny_delete"))
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

static void edit_set(struct stream_edit *e, const char *key, const char *value)
{
	char *next;

	if (!e->text)
		return;
	next = json_set((struct json){e->text, strlen(e->text)}, key, value);
	free(e->text);
	e->text = next;
	e->changed = true;
}

static void edit_int(struct stream_edit *e, const char *key, int64_t value)
{
	char num[24];

	snprintf(num, sizeof(num), "%lld", (long long)value);
	edit_set(e, key, num);
}

/* Without these it does not work, or it loses messages. */
void stream_edit_needed(struct stream_edit *e, struct json config, const struct settings *s)
{
	char republish[160];
	bool there;

	if (!json_get_true(config, "allow_direct"))
		edit_set(e, "allow_direct", "true");
	if (!key_is(config, "discard", "new"))
		edit_set(e, "discard", "\"new\"");
	if (json_get_int(config, "max_msgs_per_subject", -1) > 0 &&
		!json_get_true(config, "discard_new_per_subject"))
		edit_set(e, "discard_new_per_subject", "true");
	if (!stream_edit_republishes(config, s, &there)) {
		stream_edit_republish(s, republish, sizeof(republish));
		edit_set(e, "republish", republish);
	}
}

/* Raises a limit that is there and is lower than the one configured. 0: no limit. */
static void edit_limit(struct stream_edit *e, struct json config, const char *key, int64_t wanted)
{
	int64_t now = json_get_int(config, key, -1);

	if (now > 0 && wanted > now)
		edit_int(e, key, wanted);
}

void stream_edit_limits(struct stream_edit *e, struct json config, const struct settings *s)
{
	int64_t age = json_get_int(config, "max_age", 0),
		d = json_get_int(config, "duplicate_window", 0);

	edit_limit(e, config, "max_bytes", (int64_t)s->max_bytes);
	edit_limit(e, config, "max_msgs_per_subject", (int64_t)s->max_per_user);
	if (age > 0 && (s->max_age == 0 || stream_edit_age(s) > age)) {
		age = stream_edit_age(s);
		edit_int(e, "max_age", age);
	}
	if (stream_edit_duplicates(s, age) > d)
		edit_int(e, "duplicate_window", stream_edit_duplicates(s, age));
	if (json_get_int(config, "num_replicas", 1) < s->replicas)
		edit_int(e, "num_replicas", s->replicas);
}
