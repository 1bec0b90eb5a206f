/*
 * aside: a message that no client can ever get goes to wsdead.S.U, where a stream of the operator's
 * may keep it, and then out of its queue. With "stored", or when no stream is there that owes an
 * answer (plain subscribers give none), it is removed. What cannot be told after some tries stays
 * in the stream (until max_age), and is tried again by the next sweep, or by the next connection's
 * queue; so is what finds no room here. Nothing waits for it. Where payload and headers together
 * are more than the server takes, the payload is left out and Ws-Dropped says how many bytes it
 * had.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "parts.h"

#define TRACE_MAX 128

#define TRIES 4
#define AGAIN_MS 1000
#define REASON_MAX 128
#define BYTES_MAX (16u << 20) /* held; one larger message is held alone */

struct aside {
	struct request request; /* first */
	TAILQ_ENTRY(aside) link;
	struct broker_queue *q;
	struct broker_message *m; /* a reference */
	uint64_t due;             /* the next try; 0: one is under way */
	unsigned tries;
	bool bare;   /* without payload */
	bool asking; /* whether a stream keeps that subject */
	char reason[REASON_MAX];
};

static void aside_free(struct aside *a)
{
	struct broker *b = a->q->b;

	request_end(b, &a->request);
	TAILQ_REMOVE(&b->asides, a, link);
	a->q->asides--;
	b->aside_bytes -= a->m->len;
	broker_message_unref(a->m);
	free(a);
}

static void finish(struct aside *a, bool done, const char *why)
{
	struct broker_queue *q = a->q;
	uint64_t seq = a->m->seq;

	if (!done)
		log_some_errors(5, "a message could not be set aside: it stays in the stream",
			kv_uint("seq", seq), kv_str("why", why), kv_more(queue_who(q)));
	aside_free(a);
	if (done)
		removal_aside(q, seq);
	removal_pump(q->b);
	feed_kick(q);
	queue_settle(q);
}

static size_t headers_size(
	const struct aside *a, const char *id, const char *seq, const char *dropped)
{
	return HEADERS_FRAME + npublish_header_size("Nats-Msg-Id", id) +
	       npublish_header_size("Ws-Reason", a->reason) +
	       npublish_header_size("Ws-Sequence", seq) +
	       npublish_header_size("Ws-Type", "binary") + npublish_header_size("traceparent", "") +
	       a->m->trace_len + npublish_header_size("Ws-Compress", "no") +
	       npublish_header_size("Ws-Dropped", dropped);
}

static natsMsg *make_message(struct aside *a, const char *subject, uint64_t token)
{
	char reply[WIRE_INBOX_MAX], id[48], seq[24], bytes[24];
	size_t max = a->q->b->max_payload;
	natsMsg *m = NULL;
	natsStatus s;

	snprintf(seq, sizeof(seq), "%llu", (unsigned long long)a->m->seq);
	snprintf(bytes, sizeof(bytes), "%zu", a->m->len);
	/* It may come here again, as long as one below it is not confirmed. */
	snprintf(id, sizeof(id), "%llx-%s", (unsigned long long)a->q->b->created, seq);
	if (max > 0 && headers_size(a, id, seq, bytes) + a->m->len > max)
		a->bare = true;
	wire_inbox(a->q->b->wire, WIRE_OTHERS, token, reply);
	s = natsMsg_Create(
		&m, subject, reply, (const char *)a->m->data, a->bare ? 0 : (int)a->m->len);
	if (s == NATS_OK)
		s = natsMsgHeader_Set(m, "Nats-Msg-Id", id);
	if (s == NATS_OK)
		s = natsMsgHeader_Set(m, "Ws-Reason", a->reason);
	if (s == NATS_OK)
		s = natsMsgHeader_Set(m, "Ws-Sequence", seq);
	if (s == NATS_OK && a->m->text != BROKER_TEXT_UNMARKED)
		s = natsMsgHeader_Set(
			m, "Ws-Type", a->m->text == BROKER_TEXT_TEXT ? "text" : "binary");
	if (s == NATS_OK && a->m->trace_len) {
		char trace[TRACE_MAX];

		snprintf(trace, sizeof(trace), "%.*s", (int)a->m->trace_len, a->m->trace);
		s = natsMsgHeader_Set(m, "traceparent", trace);
	}
	if (s == NATS_OK && a->m->plain)
		s = natsMsgHeader_Set(m, "Ws-Compress", "no");
	if (s == NATS_OK && a->bare)
		s = natsMsgHeader_Set(m, "Ws-Dropped", bytes);
	if (s == NATS_OK)
		return m;
	natsMsg_Destroy(m);
	return NULL;
}

static void format_subject(const struct aside *a, char out[SUBJECT_MAX])
{
	snprintf(out, SUBJECT_MAX, "%sdead.%s", a->q->b->settings.prefix, a->q->name);
}

static void send(struct aside *a)
{
	struct broker *b = a->q->b;
	char subject[SUBJECT_MAX];
	uint64_t token = request_start(b, &a->request, REQUEST_ASIDE);
	natsMsg *m = NULL;

	format_subject(a, subject);
	if (token != 0)
		m = make_message(a, subject, token);
	a->due = 0;
	if (m && wire_publish(b->wire, token, m))
		return;
	request_end(b, &a->request);
	a->due = b->now_ms + AGAIN_MS;
}

/* No acknowledgement came, or nobody listens: does any stream keep that subject? */
static void ask(struct aside *a)
{
	struct broker *b = a->q->b;
	char subject[SUBJECT_MAX], *body;
	uint64_t token;
	json_t *doc;

	format_subject(a, subject);
	doc = json_pack("{s:s}", "subject", subject);
	body = json_dumps(doc, JSON_COMPACT);
	json_decref(doc);
	token = body ? request_start(b, &a->request, REQUEST_ASIDE) : 0;
	a->asking = token != 0;
	a->due = token ? 0 : b->now_ms + AGAIN_MS;
	if (token)
		(void)wire_request(b->wire, token, "$JS.API.STREAM.NAMES", body);
	free(body);
}

static void asked(struct broker *b, struct aside *a, struct wire_event *e)
{
	json_t *doc = e ? broker_doc(e) : NULL;
	const json_t *total = json_object_get(doc, "total");
	bool none = json_is_integer(total) && json_integer_value(total) == 0;

	json_decref(doc);
	if (e)
		broker_message_unref(&e->m);
	request_end(b, &a->request);
	a->asking = false;
	if (none)
		finish(a, true, NULL);
	else
		a->due = b->now_ms + AGAIN_MS;
}

static bool under_way(const struct broker_queue *q, uint64_t seq)
{
	const struct aside *a;

	if (!q->asides)
		return false;
	TAILQ_FOREACH(a, &q->b->asides, link)
	{
		if (a->q == q && a->m->seq == seq)
			return true;
	}
	return false;
}

void broker_queue_set_aside(struct broker_queue *q, struct broker_message *m, const char *reason)
{
	struct broker *b = q->b;
	bool room = b->aside_bytes == 0 || b->aside_bytes + m->len <= BYTES_MAX;
	struct aside *a;

	if (under_way(q, m->seq) || removal_has_aside(q, m->seq))
		return; /* by a connection before this one */
	a = room ? calloc(1, sizeof(*a)) : NULL;
	removal_take(q, m->seq);
	if (!a) { /* it stays in the stream; a sweep finds it when the mark has passed it */
		log_some_warnings(5,
			"a message that no client can get stays in the stream for now: too many "
			"are being "
			"set aside, or there is no memory",
			kv_uint("seq", m->seq), kv_more(queue_who(q)));
		if (q->unknown < m->seq)
			q->unknown = m->seq;
		return;
	}
	b->stats.set_aside++;
	log_some_warnings(5, "a message that no client can get is set aside",
		kv_uint("seq", m->seq), kv_uint("bytes", m->len), kv_str("reason", reason),
		kv_more(queue_who(q)));
	a->q = q;
	a->m = broker_message_ref(m);
	for (size_t i = 0; reason[i] && i + 1 < sizeof(a->reason); i++)
		a->reason[i] = reason[i] >= ' ' && reason[i] <= '~' ? reason[i] : '?';
	q->asides++;
	b->aside_bytes += m->len;
	TAILQ_INSERT_TAIL(&b->asides, a, link);
	if (b->state == BROKER_LIVE)
		send(a);
}

void aside_reply(struct broker *b, struct aside *a, struct wire_event *e)
{
	enum broker_result r = BROKER_AGAIN;
	bool nobody = e && e->status == 503, silent = !e, ours;
	const char *why;
	json_t *doc;

	if (a->asking) {
		asked(b, a, e);
		return;
	}
	if (e) {
		doc = broker_doc(e);
		ours = npublish_result(doc, npublish_status(e), NULL, &r, &why);
		json_decref(doc);
		broker_message_unref(&e->m);
		if (!ours)
			return;
	}
	request_end(b, &a->request);
	if (r == BROKER_STORED || r == BROKER_DUPLICATE) {
		finish(a, true, NULL);
	} else if (r == BROKER_TOO_LARGE && !a->bare) {
		a->bare = true;
		send(a);
	} else if (b->state != BROKER_LIVE) {
		a->due = b->now_ms; /* with the next session */
	} else if (++a->tries >= TRIES) {
		finish(a, false, "no stream took it, and nobody said that there is none");
	} else if (silent || nobody) { /* or one that has no leader just now */
		ask(a);
	} else {
		a->due = b->now_ms + AGAIN_MS;
	}
}

void aside_denied(struct broker *b, const struct denied *d)
{
	char ours[SUBJECT_MAX];
	struct aside *a;

	TAILQ_FOREACH(a, &b->asides, link)
	{
		format_subject(a, ours);
		if (denied_is(d, ours)) {
			finish(a, false, "no permission to publish there");
			return;
		}
	}
}

void aside_tick(struct broker *b)
{
	struct aside *a, *next;

	if (b->state != BROKER_LIVE)
		return;
	for (a = TAILQ_FIRST(&b->asides); a; a = next) {
		next = TAILQ_NEXT(a, link);
		if (a->due != 0 && a->due <= b->now_ms)
			send(a);
	}
}

/* The stream is another one: their sequences say nothing any more. */
void aside_drop_all(struct broker *b)
{
	struct aside *a;

	while ((a = TAILQ_FIRST(&b->asides)))
		aside_free(a);
}
