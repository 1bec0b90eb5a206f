/*
 * stream: see stream.h.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wsgate/log.h>
#include <wsgate/subject.h>
#include "stream.h"
#include "stream_edit.h"

#define INFO_TIMEOUT_MS 1500 /* without a leader nobody answers: ask again soon */
#define CHANGE_TIMEOUT_MS 5000

enum { /* err_code of the JetStream API */
	ERR_NO_ACCOUNT = 10035,
	ERR_NOT_FOR_ACCOUNT = 10039,
	ERR_NAME_EXISTS = 10058,
	ERR_NOT_FOUND = 10059,
	ERR_OVERLAP = 10065,
	ERR_NOT_ENABLED = 10076,
	ERR_NOT_CLUSTERED = 10074,
	ERR_MAX_BYTES_REQUIRED = 10113,
	ERR_INVALID_CONFIG = 10052,
	ERR_UPDATE = 10069,
	ERR_MAX_STREAMS = 10027,
};

struct answer {
	json_t *doc;       /* owned; NULL: there was none, or it makes no sense */
	int64_t code, err; /* 0: no error */
};

static enum stream_result no_jetstream(struct stream_state *out)
{
	return stream_say(out, STREAM_RETRY,
		"this server (or account) has no JetStream: start it with \"nats-server -js\", or "
		"enable JetStream in its configuration and for the account");
}

/* STREAM_OK: there is an answer, which may be an error. */
static enum stream_result ask(natsConnection *nc, const char *verb, const struct settings *s,
	const char *body, struct answer *a, struct stream_state *out)
{
	char subject[512];
	bool info = strcmp(verb, "STREAM.INFO") == 0;
	natsMsg *msg = NULL;
	const json_t *error;
	natsStatus st;

	*a = (struct answer){0};
	snprintf(subject, sizeof(subject), "$JS.API.%s.%s", verb, s->stream);
	st = natsConnection_Request(&msg, nc, subject, body, (int)strlen(body),
		info ? INFO_TIMEOUT_MS : CHANGE_TIMEOUT_MS);
	if (st == NATS_NO_RESPONDERS)
		return no_jetstream(out);
	if (st != NATS_OK)
		return stream_say(out, STREAM_RETRY, "no answer about stream %s: %s", s->stream,
			natsStatus_GetText(st));
	/* A number above INT64_MAX (the lag of a replica, from some servers) spoils all of it. */
	a->doc = json_loadb(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg), 0, NULL);
	natsMsg_Destroy(msg);
	error = json_object_get(a->doc, "error");
	a->code = json_integer_value(json_object_get(error, "code"));
	a->err = json_integer_value(json_object_get(error, "err_code"));
	if (a->err == ERR_NO_ACCOUNT || a->err == ERR_NOT_FOR_ACCOUNT || a->err == ERR_NOT_ENABLED)
		return no_jetstream(out);
	return STREAM_OK;
}

static void answer_free(struct answer *a)
{
	json_decref(a->doc);
	*a = (struct answer){0};
}

static const char *error_text(const struct answer *a)
{
	const json_t *error = json_object_get(a->doc, "error");
	const char *text = json_string_value(json_object_get(error, "description"));

	return text ? text : "";
}

/* An error of CREATE or UPDATE, in words. */
static enum stream_result explain(
	const struct answer *a, const struct settings *s, struct stream_state *out)
{
	const char *e = error_text(a);

	if (a->err == ERR_OVERLAP && s->nservices > 0)
		return stream_say(out, STREAM_REFUSED,
			"stream %s cannot have the subjects %s.send.%s.> and %s.recv.%s.> (or "
			"those of "
			"another one of its services): a stream of this account has them already; "
			"see \"Several streams\" in wsgate(7)",
			s->stream, s->prefix, s->services[0], s->prefix, s->services[0]);
	switch (a->err) {
	case ERR_OVERLAP:
		return stream_say(out, STREAM_REFUSED,
			"another stream of this account has subjects under \"%s.\" already: name "
			"it in "
			"stream.name, or choose another subject_prefix",
			s->prefix);
	case ERR_NOT_CLUSTERED:
		return stream_say(out, STREAM_REFUSED,
			"stream.replicas is %u, but the server is no cluster: set it to 1",
			s->replicas);
	case ERR_MAX_BYTES_REQUIRED:
		return stream_say(
			out, STREAM_REFUSED, "this account demands a limit: set stream.max_bytes");
	case ERR_MAX_STREAMS:
	case ERR_INVALID_CONFIG:
	case ERR_UPDATE:
		return stream_say(out, STREAM_REFUSED,
			"the server refuses the configuration of stream %s: %s; see the keys of "
			"section stream",
			s->stream, e);
	default:
		return stream_say(out, STREAM_RETRY, "stream %s: %s (error %lld)", s->stream, e,
			(long long)a->err);
	}
}

/* "2022-12-01T10:11:12.123456789Z", the form in which the server sends UTC. 0: not that. */
uint64_t stream_time(const char *text)
{
	size_t i, len = text ? strlen(text) : 0;
	unsigned y, mo, d, h, mi, sec;
	uint64_t frac = 0, unit = 1000000000;
	struct tm tm = {0};

	if (len == 0 || sscanf(text, "%4u-%2u-%2uT%2u:%2u:%2u", &y, &mo, &d, &h, &mi, &sec) != 6 ||
		y < 1970)
		return 0;
	for (i = 20; len > 19 && text[19] == '.' && text[i] >= '0' && text[i] <= '9' && unit > 1;
		i++) {
		frac = frac * 10 + (uint64_t)(text[i] - '0');
		unit /= 10;
	}
	tm.tm_year = (int)y - 1900;
	tm.tm_mon = (int)mo - 1;
	tm.tm_mday = (int)d;
	tm.tm_hour = (int)h;
	tm.tm_min = (int)mi;
	tm.tm_sec = (int)sec;
	return (uint64_t)timegm(&tm) * 1000000000u + frac * unit;
}

/* Owned by the caller; NULL: no memory. */
static char *new_config(const struct settings *s)
{
	int64_t age = stream_edit_age(s);
	json_t *doc = json_pack("{s:s, s:s, s:o, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:i, s:i, "
				"s:i, s:i, s:I, s:b, s:o}",
		"name", s->stream, "description", "Queues of WebSocket users", "subjects",
		stream_edit_subjects(s), "retention", "workqueue", "storage", "file", "discard",
		"new", "discard_new_per_subject", s->max_per_user > 0, "max_msgs_per_subject",
		s->max_per_user > 0 ? (json_int_t)s->max_per_user : -1, "max_age", (json_int_t)age,
		"max_bytes", s->max_bytes > 0 ? (json_int_t)s->max_bytes : -1, "max_msgs", -1,
		"max_consumers", -1, "max_msg_size", -1, "num_replicas", (int)s->replicas,
		"duplicate_window", (json_int_t)stream_edit_duplicates(s, age), "allow_direct",
		true, "republish", stream_edit_republish(s));
	char *text = json_dumps(doc, JSON_COMPACT);

	json_decref(doc);
	return text;
}

static enum stream_result create(
	natsConnection *nc, const struct settings *s, struct answer *a, struct stream_state *out)
{
	char *body = new_config(s);
	enum stream_result r;

	if (!body)
		return stream_say(out, STREAM_RETRY, "no memory");
	r = ask(nc, "STREAM.CREATE", s, body, a, out);
	free(body);
	if (r == STREAM_OK && a->err == 0)
		log_info("stream created", kv_str("stream", s->stream));
	return r;
}

static enum stream_result update(natsConnection *nc, const struct settings *s, const char *body,
	struct answer *a, struct stream_state *out)
{
	enum stream_result r = ask(nc, "STREAM.UPDATE", s, body, a, out);

	if (r == STREAM_OK && a->err == 0)
		log_info("stream brought up to date", kv_str("stream", s->stream));
	return r;
}

static enum stream_result cannot_update(const struct answer *a, const json_t *config,
	const struct settings *s, struct stream_state *out)
{
	bool there;

	(void)stream_edit_republishes(config, s, &there);
	if (there || a->code >= 503 || a->err == ERR_OVERLAP)
		return explain(a, s, out);
	/* nats-server 2.9 refuses to add it to a stream that exists; 2.10 does not. */
	return stream_say(out, STREAM_REFUSED,
		"stream %s has no republish %s.recv.> to %slive.>, and this server does not add it "
		"(%s): "
		"use nats-server 2.10 or later, name a new stream and another subject_prefix, or "
		"delete stream %s "
		"when its messages are no longer needed",
		s->stream, s->prefix, s->prefix, error_text(a), s->stream);
}

/* The whole configuration; where that is refused, without the limits. needed: NULL when there is
 * nothing else to change. */
static enum stream_result try_updates(natsConnection *nc, const struct settings *s,
	const char *whole, const char *needed, struct answer *a, struct stream_state *out)
{
	enum stream_result r = update(nc, s, whole, a, out);

	if (r != STREAM_OK || a->err == 0 || (needed && strcmp(needed, whole) == 0))
		return r;
	/* The limits alone may be the reason: then the stream keeps those that it has. */
	log_warn("the stream's limits cannot be raised", kv_str("stream", s->stream),
		kv_str("why", error_text(a)));
	answer_free(a);
	return needed ? update(nc, s, needed, a, out) : STREAM_OK;
}

static enum stream_result bring_up_to_date(
	natsConnection *nc, const struct settings *s, json_t *config, struct stream_state *out)
{
	/* One level deep is what the edit changes: what is below is shared. */
	struct stream_edit e = {.config = json_copy(config)};
	enum stream_result r = STREAM_OK;
	char *needed, *whole;
	struct answer a = {0};
	bool must;

	if (stream_edit_in_memory(config))
		log_warn("the stream is kept in memory: what waits there is lost when the broker "
			 "restarts",
			kv_str("stream", s->stream));
	stream_edit_needed(&e, s);
	must = e.changed;
	needed = json_dumps(e.config, JSON_COMPACT);
	stream_edit_limits(&e, s);
	whole = json_dumps(e.config, JSON_COMPACT);
	if (e.failed || !needed || !whole)
		r = stream_say(out, STREAM_RETRY, "no memory");
	else if (e.changed)
		r = try_updates(nc, s, whole, must ? needed : NULL, &a, out);
	if (r == STREAM_OK && a.err != 0)
		r = cannot_update(&a, config, s, out);
	answer_free(&a);
	free(needed);
	free(whole);
	json_decref(e.config);
	return r;
}

/* Written into every answer by servers from 2.11 on (ADR-44), whatever the stream itself holds. */
static uint64_t api_level(const json_t *config)
{
	const char *level = json_string_value(
		json_object_get(json_object_get(config, "metadata"), "_nats.level"));

	return level ? strtoull(level, NULL, 10) : 0;
}

bool stream_replicated(const json_t *config)
{
	return json_integer_value(json_object_get(config, "num_replicas")) > 1;
}

const char *stream_leader(const json_t *doc)
{
	const char *name =
		json_string_value(json_object_get(json_object_get(doc, "cluster"), "leader"));

	return name && name[0] ? name : NULL;
}

/* A field that is 0 is left out. */
uint64_t stream_subjects(const json_t *state)
{
	const json_t *n = json_object_get(state, "num_subjects");

	if (json_is_integer(n))
		return (uint64_t)json_integer_value(n);
	return json_integer_value(json_object_get(state, "messages")) == 0 ? 0 : UINT64_MAX;
}

/* A server that does not know a field answers without it: what it really does is what it says. */
static enum stream_result check_made(
	const struct answer *a, const struct settings *s, struct stream_state *out)
{
	const json_t *config = json_object_get(a->doc, "config"),
		     *created = json_object_get(a->doc, "created"),
		     *state = json_object_get(a->doc, "state");
	bool there;

	if (!config || !created)
		return stream_say(
			out, STREAM_RETRY, "stream %s: an answer that makes no sense", s->stream);
	if (!json_is_true(json_object_get(config, "allow_direct")) ||
		!stream_edit_republishes(config, s, &there))
		return stream_say(out, STREAM_REFUSED,
			"this server knows no direct gets or no republish: use nats-server 2.9 or "
			"later");
	if (json_integer_value(json_object_get(config, "max_msgs_per_subject")) > 0 &&
		!json_is_true(json_object_get(config, "discard_new_per_subject")))
		return stream_say(out, STREAM_REFUSED,
			"this server drops a user's oldest messages at "
			"stream.max_messages_per_user instead of "
			"refusing new ones: set it to 0, or use a later nats-server");
	out->created = stream_time(json_string_value(created));
	out->last = (uint64_t)json_integer_value(json_object_get(state, "last_seq"));
	out->subjects = stream_subjects(state);
	out->level = api_level(config);
	out->replicated = stream_replicated(config);
	/* A server that is alone names itself there, and no cluster. */
	out->clustered = json_object_get(json_object_get(a->doc, "cluster"), "name") != NULL;
	if (out->created == 0)
		return stream_say(out, STREAM_RETRY,
			"stream %s: a time of creation that makes no sense", s->stream);
	return STREAM_OK;
}

enum stream_result stream_check(
	natsConnection *nc, const struct settings *s, bool make, struct stream_state *out)
{
	struct answer a;
	enum stream_result r = ask(nc, "STREAM.INFO", s, "", &a, out);
	json_t *config = json_object_get(a.doc, "config");

	if (r == STREAM_OK && a.err == ERR_NOT_FOUND && !make) {
		r = stream_say(out, STREAM_MISSING, "stream %s is not there", s->stream);
	} else if (r == STREAM_OK && a.err == ERR_NOT_FOUND) {
		answer_free(&a);
		r = create(nc, s, &a, out);
		if (r == STREAM_OK && a.err != 0)
			r = a.err == ERR_NAME_EXISTS
				    ? stream_say(out, STREAM_RETRY, "somebody else made stream %s",
					      s->stream)
				    : explain(&a, s, out);
	} else if (r == STREAM_OK && a.err != 0) {
		r = explain(&a, s, out);
	} else if (r == STREAM_OK && config) {
		r = stream_edit_check(config, s, out);
		if (r == STREAM_OK)
			r = bring_up_to_date(nc, s, config, out);
		answer_free(&a);
		if (r == STREAM_OK)
			r = ask(nc, "STREAM.INFO", s, "", &a, out);
		if (r == STREAM_OK && a.err != 0)
			r = explain(&a, s, out);
	}
	if (r == STREAM_OK)
		r = check_made(&a, s, out);
	answer_free(&a);
	return r;
}

/* ---- consumers ---- */

static bool takes_ours(const char *filter, const struct settings *s)
{
	char ours[64];
	size_t n;

	if (!filter)
		return true;
	/* Good enough for a warning: what comes before the first wildcard, against "ws.recv.". */
	n = strcspn(filter, "*>");
	snprintf(ours, sizeof(ours), "%s.recv.", s->prefix);
	return strncmp(filter, ours, n < strlen(ours) ? n : strlen(ours)) == 0;
}

static void warn_consumer(const json_t *consumer, const struct settings *s)
{
	const char *name = json_string_value(json_object_get(consumer, "name")), *filter;
	const json_t *config = json_object_get(consumer, "config"), *filters, *v;
	bool takes = true;

	filter = json_string_value(json_object_get(config, "filter_subject"));
	filters = json_object_get(config, "filter_subjects");
	if (filter && *filter) {
		takes = takes_ours(filter, s);
	} else if (filters) {
		takes = false;
		for (size_t i = 0; (v = json_array_get(filters, i)); i++)
			takes |= takes_ours(json_string_value(v), s);
	}
	if (takes)
		log_warn("a consumer of somebody else takes messages for clients away: delete it",
			kv_str("stream", s->stream), kv_str("consumer", name));
}

void stream_warn_consumers(natsConnection *nc, const struct settings *s)
{
	struct stream_state ignored;
	const json_t *list, *consumer;
	struct answer a;

	/* The first page (256) is enough to know that there are some. */
	if (ask(nc, "CONSUMER.LIST", s, "{\"offset\":0}", &a, &ignored) == STREAM_OK &&
		a.err == 0) {
		list = json_object_get(a.doc, "consumers");
		for (size_t i = 0; (consumer = json_array_get(list, i)); i++)
			warn_consumer(consumer, s);
	}
	answer_free(&a);
}
