/*
 * watch: now and then, and when the server says that the stream was made or deleted: is it still
 * the same one? The first sequences of another would look like old ones. And how full is it? A full
 * one refuses, so the operator must hear of it before.
 */
#include "parts.h"
#include "stream.h"

#define ERR_STREAM_NOT_FOUND 10059 /* err_code of the JetStream API */

#define EVERY_MS 30000
#define NAME_EVERY_MS 300000
#define WARN_PERCENT 80
#define NAMED 3

static void ask(struct broker *b, bool names)
{
	char subject[300], body[64] = "";
	uint64_t token = request_start(b, &b->watch.request, REQUEST_INFO);

	if (token == 0)
		return;
	snprintf(subject, sizeof(subject), "$JS.API.STREAM.INFO.%s", b->settings.stream);
	if (names)
		snprintf(body, sizeof(body), "{\"subjects_filter\":\"%s.send.>\"}",
			b->settings.prefix);
	b->watch.names = names;
	(void)wire_request(b->wire, token, subject, body);
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

/* False: it is another one, or none. The session ends; the next one makes or checks it. */
static bool same_stream(struct broker *b, struct json doc)
{
	struct json created;

	if (json_get_int(doc, "error.err_code", 0) != ERR_STREAM_NOT_FOUND &&
		(!json_get(doc, "created", &created) || stream_time(created) == b->created))
		return true;
	log_warn("the stream was deleted or made again: everything is checked anew",
		kv_str("stream", b->settings.stream));
	wire_break(b->wire);
	return false;
}

static bool fuller_than(int64_t used, int64_t max)
{
	return max > 0 && (double)used * 100 > (double)max * WARN_PERCENT;
}

/* Messages of clients that no service reads. */
static void name_unread(struct broker *b, struct json doc)
{
	struct {
		struct json subject;
		int64_t n;
	} top[NAMED + 1] = {0};
	struct json subjects, k, v;
	size_t pos = 0;
	int64_t n;

	if (!json_get(doc, "state.subjects", &subjects))
		return;
	while (json_next(subjects, &pos, &k, &v)) {
		int i = NAMED;

		if (!json_int(v, &n) || n <= top[NAMED - 1].n)
			continue;
		for (; i > 0 && top[i - 1].n < n; i--)
			top[i] = top[i - 1];
		top[i].subject = k;
		top[i].n = n;
	}
	for (int i = 0; i < NAMED && top[i].n > 0; i++)
		log_warn("messages of clients that no service reads fill the stream",
			kv_str("stream", b->settings.stream),
			kv_mem("subject", top[i].subject.p, top[i].subject.n),
			kv_int("messages", top[i].n));
}

static void look(struct broker *b, struct json doc)
{
	int64_t bytes = json_get_int(doc, "state.bytes", 0),
		max_bytes = json_get_int(doc, "config.max_bytes", -1);
	int64_t msgs = json_get_int(doc, "state.messages", 0),
		max_msgs = json_get_int(doc, "config.max_msgs", -1);

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

void watch_reply(struct broker *b, struct wire_event *e)
{
	bool again = b->watch.again;

	b->watch.again = false;
	if (e && same_stream(b, broker_doc(e))) {
		if (b->watch.names)
			name_unread(b, broker_doc(e));
		else
			look(b, broker_doc(e));
	}
	if (e)
		broker_message_unref(&e->m);
	if (again)
		watch_now(b);
}
