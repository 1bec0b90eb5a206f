/*
 * watch: now and then, and when the server says that the stream was made, changed or deleted: is it
 * still the same one? The first sequences of another would look like old ones. Are there replicas
 * now? And how full is it? A full one refuses, so the operator must hear of it before.
 *
 * A server may be there, and the stream not: it lost its cluster, or JetStream is off. Another one
 * may be better: when nothing was answered for a while the session ends.
 */
#include <stdio.h>
#include <string.h>
#include "parts.h"
#include "stream.h"
#include "stream_edit.h"

#define ERR_STREAM_NOT_FOUND 10059 /* err_code of the JetStream API */

#define EVERY_MS 30000
#define SOON_MS 1000
#define NAME_EVERY_MS 300000
#define WARN_PERCENT 80
#define NAMED 3
#define GIVE_UP_MS 10000 /* an election takes five seconds */
#define READ_EVERY_MS 30000

void watch_info(struct broker *b, uint64_t token, const char *names)
{
	char subject[300], body[SUBJECT_PREFIX_MAX + 40] = "";

	snprintf(subject, sizeof(subject), "$JS.API.STREAM.INFO.%s", b->settings.stream);
	if (names)
		snprintf(body, sizeof(body), "{\"subjects_filter\":\"%s.%s.>\"}",
			b->settings.prefix, names);
	(void)wire_request(b->wire, token, subject, body); /* not sent: it times out */
}

static void ask(struct broker *b, bool names)
{
	uint64_t token = request_start(b, &b->watch.request, REQUEST_INFO);

	if (token == 0)
		return;
	b->watch.names = names;
	b->watch.asked_ms = b->now_ms;
	b->watch.highest = b->highest;
	watch_info(b, token, names ? "send" : NULL);
}

void watch_begin(struct broker *b)
{
	struct watch *w = &b->watch;

	w->next_ms = b->now_ms;
	w->bad = 0;
	w->missed = false;
	w->leader[0] = '\0';
}

void watch_tick(struct broker *b)
{
	if (b->state != BROKER_LIVE || b->now_ms < b->watch.next_ms ||
		b->watch.request.kind != REQUEST_NONE)
		return;
	b->watch.next_ms = b->now_ms + EVERY_MS;
	ask(b, false);
}

void watch_now(struct broker *b)
{
	if (b->state != BROKER_LIVE)
		return;
	if (b->watch.request.kind != REQUEST_NONE)
		b->watch.again = true;
	else
		ask(b, false);
}

void watch_soon(struct broker *b)
{
	if (b->watch.next_ms > b->watch.asked_ms + SOON_MS)
		b->watch.next_ms = b->watch.asked_ms + SOON_MS;
}

/* False: it is another one, or none. The session ends; the next one makes or checks it. */
static bool same_stream(struct broker *b, const json_t *doc)
{
	const json_t *created = json_object_get(doc, "created"),
		     *err = json_object_get(json_object_get(doc, "error"), "err_code");

	if (json_integer_value(err) != ERR_STREAM_NOT_FOUND &&
		(!created || stream_time(json_string_value(created)) == b->created))
		return true;
	log_warn("the stream was deleted or made again: everything is checked anew",
		kv_str("stream", b->settings.stream));
	wire_break(b->wire);
	return false;
}

/* False: what was delivered is not in it any more, and its next sequences would look like old
 * ones. The session ends; the next one sees whether that is so. */
static bool has_all(struct broker *b, const json_t *doc)
{
	const json_t *last = json_object_get(json_object_get(doc, "state"), "last_seq");

	if (!json_is_integer(last) || (uint64_t)json_integer_value(last) >= b->watch.highest)
		return true;
	log_warn("the stream has not all that was delivered: everything is checked anew",
		kv_str("stream", b->settings.stream),
		kv_uint("last", (uint64_t)json_integer_value(last)),
		kv_uint("delivered", b->watch.highest));
	wire_break(b->wire);
	return false;
}

/* False: the stream has other servers than when the session began; in the next one it is read in
 * the way that is right for them. */
static bool same_replicas(struct broker *b, const json_t *doc)
{
	const json_t *config = json_object_get(doc, "config");

	if (!config || b->replicated == stream_replicated(config))
		return true;
	log_info("the stream's replicas were changed: everything is checked anew",
		kv_str("stream", b->settings.stream));
	wire_break(b->wire);
	return false;
}

/* False: somebody took away what nothing is read without, or nothing is safe; the next session
 * gives it back, or says why it cannot. */
static bool still_serves(struct broker *b, const json_t *doc)
{
	const json_t *config = json_object_get(doc, "config");

	if (!config || stream_edit_serves(config, &b->settings))
		return true;
	log_warn("the stream was changed, and does not serve so: everything is checked anew",
		kv_str("stream", b->settings.stream));
	wire_break(b->wire);
	return false;
}

static bool fuller_than(int64_t used, int64_t max)
{
	return max > 0 && (double)used * 100 > (double)max * WARN_PERCENT;
}

/* Messages of clients that no service reads. */
static void name_unread(struct broker *b, const json_t *doc)
{
	struct {
		const char *subject;
		int64_t n;
	} top[NAMED + 1] = {0};
	json_t *subjects = json_object_get(json_object_get(doc, "state"), "subjects"), *value;
	const char *subject;

	json_object_foreach(subjects, subject, value)
	{
		int64_t n = json_integer_value(value);
		int i = NAMED;

		if (n <= top[NAMED - 1].n)
			continue;
		for (; i > 0 && top[i - 1].n < n; i--)
			top[i] = top[i - 1];
		top[i].subject = subject;
		top[i].n = n;
	}
	for (int i = 0; i < NAMED && top[i].n > 0; i++)
		log_warn("messages of clients that no service reads fill the stream",
			kv_str("stream", b->settings.stream), kv_str("subject", top[i].subject),
			kv_int("messages", top[i].n));
}

static void look(struct broker *b, const json_t *doc)
{
	const json_t *state = json_object_get(doc, "state"),
		     *config = json_object_get(doc, "config");
	int64_t bytes = json_integer_value(json_object_get(state, "bytes")),
		max_bytes = json_integer_value(json_object_get(config, "max_bytes"));
	int64_t msgs = json_integer_value(json_object_get(state, "messages")),
		max_msgs = json_integer_value(json_object_get(config, "max_msgs"));

	b->subjects = stream_subjects(state);
	if (!fuller_than(bytes, max_bytes) && !fuller_than(msgs, max_msgs))
		return;
	log_warn("the stream is filling up: when it is full, messages are refused",
		kv_str("stream", b->settings.stream), kv_int("bytes", bytes),
		kv_int("max_bytes", max_bytes), kv_int("messages", msgs),
		kv_int("max_msgs", max_msgs));
	if (b->watch.named_ms == 0 || b->now_ms - b->watch.named_ms > NAME_EVERY_MS) {
		b->watch.named_ms = b->now_ms;
		ask(b, true);
	}
}

/* ---- does it answer? ---- */

static bool is_good(const struct broker *b, const json_t *doc)
{
	const json_t *error = json_object_get(doc, "error");
	const char *stream = json_string_value(json_object_get(doc, "stream"));

	if (error)
		return json_integer_value(json_object_get(error, "code")) == 404;
	return json_object_get(doc, "config") || json_is_true(json_object_get(doc, "success")) ||
	       (stream && strcmp(stream, b->settings.stream) == 0);
}

void watch_heard(struct broker *b, const struct wire_event *e)
{
	json_t *doc;

	if (b->watch.bad == 0)
		return; /* the usual case, in which nobody looks closely */
	if (e->m.seq > 0 || e->status == 404 || e->status == 204) {
		b->watch.bad = 0;
	} else if (e->status == 0) {
		doc = broker_doc(e);
		if (is_good(b, doc))
			b->watch.bad = 0;
		json_decref(doc);
	}
}

static void unanswered(struct broker *b)
{
	struct watch *w = &b->watch;

	watch_soon(b);
	w->missed = true;
	if (w->bad++ == 0)
		w->bad_ms = w->asked_ms;
	/* Once is not enough: this process may have stood still. */
	if (b->state != BROKER_LIVE || w->bad < 2 || b->now_ms - w->bad_ms < GIVE_UP_MS)
		return;
	log_warn("the server is there, but the stream does not answer: the session ends",
		kv_str("stream", b->settings.stream), kv_str("server", b->server),
		kv_uint("ms", b->now_ms - w->bad_ms));
	w->bad = 0;
	wire_break(b->wire);
}

/* Advisories may be lost as well as live copies, between servers that lose each other. */
static void answered(struct broker *b, const json_t *doc)
{
	struct watch *w = &b->watch;
	const char *leader = stream_leader(doc);

	w->bad = 0;
	if (leader) {
		if (w->leader[0] && strncmp(leader, w->leader, sizeof(w->leader) - 1) != 0) {
			w->missed = false;
			broker_new_leader(b);
		}
		snprintf(w->leader, sizeof(w->leader), "%s", leader);
	}
	if (!w->missed || (w->read_ms && b->now_ms - w->read_ms < READ_EVERY_MS))
		return;
	log_info("the stream answers again: every queue is read again",
		kv_str("stream", b->settings.stream));
	w->missed = false;
	w->read_ms = b->now_ms;
	queue_rescan_all(b);
}

static bool is_answer(const struct wire_event *e, const json_t *doc)
{
	/* Trap: some servers write numbers that are no JSON for us; it is an answer all the same.
	 */
	return e && e->status == 0 && e->m.len > 0 && !json_object_get(doc, "error");
}

void watch_reply(struct broker *b, struct wire_event *e)
{
	bool again = b->watch.again;
	json_t *doc = e ? broker_doc(e) : NULL;

	b->watch.again = false;
	if (!e || same_stream(b, doc)) {
		if (!is_answer(e, doc)) {
			unanswered(b);
		} else if (has_all(b, doc) && same_replicas(b, doc) && still_serves(b, doc)) {
			answered(b, doc);
			if (b->watch.names)
				name_unread(b, doc);
			else
				look(b, doc);
		}
	}
	json_decref(doc);
	if (e)
		broker_message_unref(&e->m);
	if (again)
		watch_now(b);
}
