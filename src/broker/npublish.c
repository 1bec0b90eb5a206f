/*
 * npublish: clients' messages into the stream, and what its answer means.
 *
 * Traps: a publish without permission is answered by nothing but a line on the connection; and a
 * service that subscribes plainly to the same subject may answer on our reply subject before the
 * stream does.
 *
 * Who gets no answer in time publishes again, and waits for the answer to either: over a slow link
 * the first is on its way yet, and what is thrown away would be sent for ever.
 */
#include <stdlib.h>
#include <string.h>
#include "parts.h"

struct pub {
	struct request request; /* first */
	TAILQ_ENTRY(pub) link;  /* publishing or published */
	struct broker_publish *p;
	enum broker_result result;
	uint8_t tries; /* that nobody answered in time */
	bool over;
	char subject[];
};

size_t npublish_header_size(const char *key, const char *value)
{
	return strlen(key) + strlen(value) + sizeof(": \r\n") - 1;
}

static void finish(struct broker *b, struct pub *p, enum broker_result r)
{
	request_end(b, &p->request);
	TAILQ_REMOVE(&b->publishing, p, link);
	p->over = true;
	p->result = r;
	TAILQ_INSERT_TAIL(&b->published, p, link);
	broker_defer(b);
}

void npublish_run_results(struct broker *b)
{
	struct broker_publish *bp;
	enum broker_result r;
	struct pub *p, *last = TAILQ_LAST(&b->published, pub_list);
	bool more = last;

	/* The callee may publish again at once: what that ends with is for the next time. */
	while (more && (p = TAILQ_FIRST(&b->published))) {
		more = p != last;
		TAILQ_REMOVE(&b->published, p, link);
		bp = p->p;
		r = p->result;
		free(p);
		bp->impl = NULL;
		b->ev->published(b->arg, bp, r);
	}
}

static natsMsg *make_message(const struct broker *b, const struct pub *p, uint64_t token)
{
	const struct broker_publish *bp = p->p;
	char reply[WIRE_INBOX_MAX];
	natsMsg *m = NULL;
	natsStatus s;

	wire_inbox(b->wire, WIRE_PUBLISHES, token, reply);
	s = natsMsg_Create(&m, p->subject, reply, (const char *)bp->data, (int)bp->len);
	if (s == NATS_OK)
		s = natsMsgHeader_Set(m, "Ws-Type", bp->text ? "text" : "binary");
	if (s == NATS_OK)
		s = natsMsgHeader_Set(m, "Ws-Conn", bp->conn);
	if (s == NATS_OK)
		s = natsMsgHeader_Set(m, "Nats-Msg-Id", bp->msg_id);
	if (s == NATS_OK && bp->trace)
		s = natsMsgHeader_Set(m, "traceparent", bp->trace);
	if (s == NATS_OK)
		return m;
	natsMsg_Destroy(m);
	return NULL;
}

/* The library and the server count headers and payload together. */
static bool too_large(const struct broker *b, const struct broker_publish *bp)
{
	size_t n = HEADERS_FRAME + npublish_header_size("Ws-Type", bp->text ? "text" : "binary") +
		   npublish_header_size("Ws-Conn", bp->conn) +
		   npublish_header_size("Nats-Msg-Id", bp->msg_id) +
		   (bp->trace ? npublish_header_size("traceparent", bp->trace) : 0);

	return bp->len > INT32_MAX || (b->max_payload > 0 && n + bp->len > b->max_payload);
}

void broker_publish(struct broker *b, struct broker_publish *bp)
{
	char subject[SUBJECT_MAX];
	int len =
		subject_format(SUBJECT_SEND, b->settings.prefix, &bp->id, subject, sizeof(subject));
	struct pub *p = calloc(1, sizeof(*p) + (len > 0 ? (size_t)len : 0) + 1);
	natsMsg *m = NULL;
	uint64_t token;

	if (!p) {
		/* No result could be told: the process cannot go on honestly. Its successor
		 * publishes again. */
		log_error("no memory for a publish");
		abort();
	}
	p->p = bp;
	bp->impl = p;
	TAILQ_INSERT_TAIL(&b->publishing, p, link);
	if (len < 0) {
		finish(b, p, BROKER_FORBIDDEN);
		return;
	}
	memcpy(p->subject, subject, (size_t)len + 1);
	if (b->state != BROKER_LIVE) {
		finish(b, p, BROKER_AGAIN);
		return;
	}
	if (too_large(b, bp)) {
		finish(b, p, BROKER_TOO_LARGE);
		return;
	}
	token = request_start(b, &p->request, REQUEST_PUBLISH);
	if (token != 0)
		m = make_message(b, p, token);
	if (!m || !wire_publish(b->wire, token, m))
		finish(b, p, BROKER_AGAIN);
}

#define AGAIN_MS 5000
#define AGAIN_MAX_SHIFT 2

bool npublish_again(struct broker *b, struct pub *p)
{
	natsMsg *m = NULL;

	if (b->state != BROKER_LIVE)
		return false;
	watch_soon(b);
	if (!wire_is_full(b->wire)) { /* else ours has not even left */
		m = make_message(b, p, request_token(&p->request));
		if (!m || !wire_publish(b->wire, request_token(&p->request), m))
			return false;
		p->p->repeated = true;
		if (p->tries < AGAIN_MAX_SHIFT)
			p->tries++;
		b->stats.republished++;
		log_some_infos(5, "a client's message waits for the broker",
			kv_str("why", "no answer"), kv_str("conn", p->p->conn),
			kv_mem("service", p->p->id.service, p->p->id.service_len),
			kv_mem("user", p->p->id.user, p->p->id.user_len));
	}
	request_wait(b, &p->request, AGAIN_MS << p->tries);
	return true;
}

/* ---- answers ---- */

/* The store's own words tell its errors apart. */
static enum broker_result result_of_store(const char *why)
{
	if (!why)
		return BROKER_FULL;
	if (strcmp(why, "store is closed") == 0) /* the server ends */
		return BROKER_AGAIN;
	return strncmp(why, "maximum messages per subject", 28) == 0 ? BROKER_USER_FULL
								     : BROKER_FULL;
}

static enum broker_result result_of_error(int64_t code, int64_t err, const char *why)
{
	switch (err) {
	case 10054: /* message size exceeds maximum allowed */
		return BROKER_TOO_LARGE;
	case 10077: /* store failed: maximum messages, bytes, or messages per subject exceeded */
		return result_of_store(why);
	case 10002: /* account resources exceeded */
	case 10023: /* insufficient resources */
	case 10028: /* memory resources exceeded */
	case 10047: /* storage resources exceeded */
	case 10122:
	case 10109: /* sealed */
		return BROKER_FULL;
	case 10158: /* an earlier publish of it is under way at the leader (2.11) */
	case 10167: /* too many at a time (2.11) */
		return BROKER_AGAIN;
	default:
		/* 5xx: no leader, store not ready, a peer gone. 4xx: it will never be taken as it
		 * is. */
		return code >= 400 && code < 500 && err != 10009 ? BROKER_FORBIDDEN : BROKER_AGAIN;
	}
}

/* 413 and 400 are the library's own, which come without a message; a 503 without payload says that
 * nobody is there. Any other status is that of a service which answers. */
unsigned npublish_status(const struct wire_event *e)
{
	if (!e->msg)
		return e->status;
	return e->status == 503 && e->m.len == 0 ? 503 : 0;
}

bool npublish_result(const json_t *doc, unsigned status, const char *stream, enum broker_result *r,
	const char **why)
{
	const char *name = json_string_value(json_object_get(doc, "stream"));
	const json_t *error = json_object_get(doc, "error");
	int64_t code = json_integer_value(json_object_get(error, "code"));

	*why = NULL;
	if (status != 0) { /* 413 and 400 are the library's own */
		*r = status == 413   ? BROKER_TOO_LARGE
		     : status == 400 ? BROKER_FORBIDDEN
				     : BROKER_AGAIN;
		return true;
	}
	if (!name || (stream && strcmp(name, stream) != 0))
		return false;
	if (code != 0) {
		*why = json_string_value(json_object_get(error, "description"));
		*r = result_of_error(
			code, json_integer_value(json_object_get(error, "err_code")), *why);
		return true;
	}
	if (json_integer_value(json_object_get(doc, "seq")) <= 0)
		return false;
	*r = json_is_true(json_object_get(doc, "duplicate")) ? BROKER_DUPLICATE : BROKER_STORED;
	return true;
}

/* An acknowledgement as the server writes it nearly always, {"stream":"websockets", "seq":12},
 * without a document made of it. */
static bool is_plain_ack(const struct broker *b, const struct wire_event *e)
{
	const char *p = (const char *)e->m.data, *end = p + e->m.len;
	size_t n = strlen(b->settings.stream);
	static const char open[] = "{\"stream\":\"", middle[] = "\", \"seq\":";

	if (e->status != 0 || e->m.len < sizeof(open) - 1 + n + sizeof(middle) - 1 + 2 ||
		memcmp(p, open, sizeof(open) - 1) != 0)
		return false;
	p += sizeof(open) - 1;
	if (memcmp(p, b->settings.stream, n) != 0 || memcmp(p + n, middle, sizeof(middle) - 1) != 0)
		return false;
	p += n + sizeof(middle) - 1;
	if (*p < '1' || *p > '9')
		return false;
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return end - p == 1 && *p == '}';
}

void npublish_reply(struct broker *b, struct pub *p, struct wire_event *e)
{
	enum broker_result r = BROKER_AGAIN;
	json_t *doc = NULL;
	const char *why = NULL;

	if (e && is_plain_ack(b, e)) {
		broker_message_unref(&e->m);
		finish(b, p, BROKER_STORED);
		return;
	}
	doc = e ? broker_doc(e) : NULL;
	if (e && !npublish_result(doc, npublish_status(e), b->settings.stream, &r, &why)) {
		/* Somebody else's answer: the stream's is still to come. */
		json_decref(doc);
		broker_message_unref(&e->m);
		return;
	}
	if (e && r > BROKER_DUPLICATE && r != BROKER_AGAIN)
		log_some_warnings(5, "the broker does not take a message", kv_str("why", why),
			kv_uint("bytes", p->p->len), kv_str("conn", p->p->conn),
			kv_mem("service", p->p->id.service, p->p->id.service_len),
			kv_mem("user", p->p->id.user, p->p->id.user_len));
	json_decref(doc);
	if (e)
		broker_message_unref(&e->m);
	if (r == BROKER_AGAIN)
		watch_soon(b);
	finish(b, p, r);
}

void npublish_denied(struct broker *b, const struct denied *d)
{
	struct pub *p;

	TAILQ_FOREACH(p, &b->publishing, link)
	{
		if (denied_is(d, p->subject)) {
			finish(b, p, BROKER_FORBIDDEN);
			return;
		}
	}
}

static void free_list(struct pub_list *list)
{
	struct pub *p;

	while ((p = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, p, link);
		p->p->impl = NULL;
		free(p);
	}
}

void npublish_free_all(struct broker *b)
{
	free_list(&b->publishing);
	free_list(&b->published);
}
