/*
 * stream: see stream.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wsgate/log.h>
#include <wsgate/subject.h>
#include "json.h"
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
	natsMsg *msg; /* owned; NULL when there was none */
	struct json doc;
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
	natsStatus st;

	*a = (struct answer){0};
	snprintf(subject, sizeof(subject), "$JS.API.%s.%s", verb, s->stream);
	st = natsConnection_Request(&a->msg, nc, subject, body, (int)strlen(body),
		info ? INFO_TIMEOUT_MS : CHANGE_TIMEOUT_MS);
	if (st == NATS_NO_RESPONDERS)
		return no_jetstream(out);
	if (st != NATS_OK)
		return stream_say(out, STREAM_RETRY, "no answer about stream %s: %s", s->stream,
			natsStatus_GetText(st));
	a->doc = (struct json){natsMsg_GetData(a->msg), (size_t)natsMsg_GetDataLength(a->msg)};
	a->code = json_get_int(a->doc, "error.code", 0);
	a->err = json_get_int(a->doc, "error.err_code", 0);
	if (a->err == ERR_NO_ACCOUNT || a->err == ERR_NOT_FOR_ACCOUNT || a->err == ERR_NOT_ENABLED)
		return no_jetstream(out);
	return STREAM_OK;
}

static void answer_free(struct answer *a)
{
	natsMsg_Destroy(a->msg);
	a->msg = NULL;
}

static struct json error_text(const struct answer *a)
{
	struct json v = {"", 0};

	(void)json_get(a->doc, "error.description", &v);
	return json_inside(v);
}

/* An error of CREATE or UPDATE, in words. */
static enum stream_result explain(
	const struct answer *a, const struct settings *s, struct stream_state *out)
{
	struct json e = error_text(a);
	int n = (int)e.n;

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
			"the server refuses the configuration of stream %s: %.*s; see the keys of "
			"section stream",
			s->stream, n, e.p);
	default:
		return stream_say(out, STREAM_RETRY, "stream %s: %.*s (error %lld)", s->stream, n,
			e.p, (long long)a->err);
	}
}

/* "2022-12-01T10:11:12.123456789Z", the form in which the server sends UTC. 0: not that. */
uint64_t stream_time(struct json v)
{
	struct json in = json_inside(v);
	unsigned y, mo, d, h, mi, sec;
	uint64_t frac = 0, unit = 1000000000;
	struct tm tm = {0};
	char buf[40];
	size_t i;

	if (in.n >= sizeof(buf))
		return 0;
	memcpy(buf, in.p, in.n);
	buf[in.n] = '\0';
	if (sscanf(buf, "%4u-%2u-%2uT%2u:%2u:%2u", &y, &mo, &d, &h, &mi, &sec) != 6)
		return 0;
	for (i = 20; in.n > 19 && buf[19] == '.' && buf[i] >= '0' && buf[i] <= '9' && unit > 1;
		i++) {
		frac = frac * 10 + (uint64_t)(buf[i] - '0');
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

static enum stream_result create(
	natsConnection *nc, const struct settings *s, struct answer *a, struct stream_state *out)
{
	char body[2048], republish[160];
	int64_t age = stream_edit_age(s);
	enum stream_result r;

	stream_edit_republish(s, republish, sizeof(republish));
	snprintf(body, sizeof(body),
		"{\"name\":\"%s\",\"description\":\"Queues of WebSocket "
		"users\",\"subjects\":[\"%s.>\"],"
		"\"retention\":\"workqueue\",\"storage\":\"file\",\"discard\":\"new\","
		"\"discard_new_per_subject\":%s,\"max_msgs_per_subject\":%lld,\"max_age\":%lld,"
		"\"max_bytes\":%lld,\"max_msgs\":-1,\"max_consumers\":-1,\"max_msg_size\":-1,"
		"\"num_replicas\":%u,\"duplicate_window\":%lld,\"allow_direct\":true,\"republish\":"
		"%s}",
		s->stream, s->prefix, s->max_per_user > 0 ? "true" : "false",
		s->max_per_user > 0 ? (long long)s->max_per_user : -1, (long long)age,
		s->max_bytes > 0 ? (long long)s->max_bytes : -1, s->replicas,
		(long long)stream_edit_duplicates(s, age), republish);
	r = ask(nc, "STREAM.CREATE", s, body, a, out);
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

static enum stream_result cannot_update(const struct answer *a, struct json config,
	const struct settings *s, struct stream_state *out)
{
	struct json e = error_text(a);
	bool there;

	(void)stream_edit_republishes(config, s, &there);
	if (there || a->code >= 503)
		return explain(a, s, out);
	/* nats-server 2.9 refuses to add it to a stream that exists; 2.10 does not. */
	return stream_say(out, STREAM_REFUSED,
		"stream %s has no republish %s.recv.> to %slive.>, and this server does not add it "
		"(%.*s): "
		"use nats-server 2.10 or later, name a new stream and another subject_prefix, or "
		"delete stream %s "
		"when its messages are no longer needed",
		s->stream, s->prefix, s->prefix, (int)e.n, e.p, s->stream);
}

static enum stream_result bring_up_to_date(
	natsConnection *nc, const struct settings *s, struct json config, struct stream_state *out)
{
	struct stream_edit e = {strndup(config.p, config.n), false};
	struct answer a = {0};
	enum stream_result r = STREAM_OK;
	char *needed = NULL;
	bool must;

	stream_edit_needed(&e, config, s);
	must = e.changed;
	if (e.text)
		needed = strdup(e.text);
	stream_edit_limits(&e, config, s);
	if (!e.text || !needed)
		r = stream_say(out, STREAM_RETRY, "no memory");
	else if (e.changed)
		r = update(nc, s, e.text, &a, out);
	if (r == STREAM_OK && a.err != 0 && strcmp(needed, e.text) != 0) {
		struct json d = error_text(&a);

		/* The limits alone may be the reason: then the stream keeps those that it has. */
		log_warn("the stream's limits cannot be raised", kv_str("stream", s->stream),
			kv_mem("why", d.p, d.n));
		answer_free(&a);
		a = (struct answer){0};
		if (must)
			r = update(nc, s, needed, &a, out);
	}
	if (r == STREAM_OK && a.err != 0)
		r = cannot_update(&a, config, s, out);
	answer_free(&a);
	free(needed);
	free(e.text);
	return r;
}

/* A server that does not know a field answers without it: what it really does is what it says. */
static enum stream_result check_made(
	const struct answer *a, const struct settings *s, struct stream_state *out)
{
	struct json config, created;
	bool there;

	if (!json_get(a->doc, "config", &config) || !json_get(a->doc, "created", &created))
		return stream_say(
			out, STREAM_RETRY, "stream %s: an answer that makes no sense", s->stream);
	if (!json_get_true(config, "allow_direct") || !stream_edit_republishes(config, s, &there))
		return stream_say(out, STREAM_REFUSED,
			"this server knows no direct gets or no republish: use nats-server 2.9 or "
			"later");
	if (json_get_int(config, "max_msgs_per_subject", -1) > 0 &&
		!json_get_true(config, "discard_new_per_subject"))
		return stream_say(out, STREAM_REFUSED,
			"this server drops a user's oldest messages at "
			"stream.max_messages_per_user instead of "
			"refusing new ones: set it to 0, or use a later nats-server");
	out->created = stream_time(created);
	out->last = (uint64_t)json_get_int(a->doc, "state.last_seq", 0);
	if (out->created == 0)
		return stream_say(out, STREAM_RETRY,
			"stream %s: a time of creation that makes no sense", s->stream);
	return STREAM_OK;
}

static enum stream_result check_once(
	natsConnection *nc, const struct settings *s, struct stream_state *out)
{
	struct answer a;
	struct json config;
	enum stream_result r = ask(nc, "STREAM.INFO", s, "", &a, out);

	if (r == STREAM_OK && a.err == ERR_NOT_FOUND) {
		answer_free(&a);
		r = create(nc, s, &a, out);
		if (r == STREAM_OK && a.err != 0)
			r = a.err == ERR_NAME_EXISTS
				    ? stream_say(out, STREAM_RETRY, "somebody else made stream %s",
					      s->stream)
				    : explain(&a, s, out);
	} else if (r == STREAM_OK && a.err != 0) {
		r = explain(&a, s, out);
	} else if (r == STREAM_OK && json_get(a.doc, "config", &config)) {
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

enum stream_result stream_check(
	natsConnection *nc, const struct settings *s, struct stream_state *out)
{
	out->text[0] = '\0';
	return check_once(nc, s, out);
}

/* ---- consumers ---- */

static bool takes_ours(struct json filter, const struct settings *s)
{
	char ours[64], f[SUBJECT_MAX];
	size_t n;

	/* Good enough for a warning: what comes before the first wildcard, against "ws.recv.". */
	json_text(filter, f, sizeof(f));
	n = strcspn(f, "*>");
	snprintf(ours, sizeof(ours), "%s.recv.", s->prefix);
	return strncmp(f, ours, n < strlen(ours) ? n : strlen(ours)) == 0;
}

static void warn_consumer(struct json consumer, const struct settings *s)
{
	struct json name = {"", 0}, filter, filters, k, v;
	bool takes = true;
	size_t pos = 0;

	(void)json_get(consumer, "name", &name);
	if (json_get(consumer, "config.filter_subject", &filter) && json_inside(filter).n > 0) {
		takes = takes_ours(filter, s);
	} else if (json_get(consumer, "config.filter_subjects", &filters)) {
		for (takes = false; json_next(filters, &pos, &k, &v);)
			takes |= takes_ours(v, s);
	}
	name = json_inside(name);
	if (takes)
		log_warn("a consumer of somebody else takes messages for clients away: delete it",
			kv_str("stream", s->stream), kv_mem("consumer", name.p, name.n));
}

void stream_warn_consumers(natsConnection *nc, const struct settings *s)
{
	struct stream_state ignored;
	struct json list, k, v;
	struct answer a;
	size_t pos = 0;

	/* The first page (256) is enough to know that there are some. */
	if (ask(nc, "CONSUMER.LIST", s, "{\"offset\":0}", &a, &ignored) == STREAM_OK &&
		a.err == 0 && json_get(a.doc, "consumers", &list))
		while (json_next(list, &pos, &k, &v))
			warn_consumer(v, s);
	answer_free(&a);
}
