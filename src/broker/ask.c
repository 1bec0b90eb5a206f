/*
 * ask: questions to services, and their answers: plain requests, kept nowhere.
 */
#include <stdlib.h>
#include <string.h>
#include "parts.h"

struct ask {
	struct request request; /* first */
	void *tag;
	char subject[];
};

bool broker_ask(struct broker *b, const char *service, size_t len, const char *text,
	uint64_t timeout_ms, void *tag)
{
	char subject[SUBJECT_MAX];
	int n = subject_auth(b->settings.prefix, service, len, subject, sizeof(subject));
	struct ask *a;
	uint64_t token;

	if (n < 0 || b->state != BROKER_LIVE || (b->max_payload && strlen(text) > b->max_payload))
		return false;
	a = calloc(1, sizeof(*a) + (size_t)n + 1);
	if (!a)
		return false;
	a->tag = tag;
	memcpy(a->subject, subject, (size_t)n + 1);
	token = request_start_for(b, &a->request, REQUEST_ASK, timeout_ms);
	if (token && wire_request(b->wire, token, subject, text))
		return true;
	request_end(b, &a->request);
	free(a);
	return false;
}

void ask_reply(struct broker *b, struct ask *a, struct wire_event *e)
{
	enum broker_answer r = e ? BROKER_ANSWERED : BROKER_NOT_NOW;

	/* The server's own "no responders" is empty; a service may send any header it likes. */
	if (e && e->status == 503 && e->m.len == 0) {
		r = BROKER_NOBODY;
		log_some_warnings(5, "nobody answers for a service whether clients may come in",
			kv_str("subject", a->subject));
	}
	b->ev->answered(b->arg, a->tag, r, e ? (const char *)e->m.data : NULL, e ? e->m.len : 0);
	if (e)
		broker_message_unref(&e->m);
	free(a);
}

void ask_denied(struct broker *b, const struct denied *d)
{
	struct request *r;

	TAILQ_FOREACH(r, &b->requests.waiting[REQUEST_ASK], link)
	{
		struct ask *a = (struct ask *)(void *)r;

		if (!denied_is(d, a->subject))
			continue;
		request_end(b, r);
		b->ev->answered(b->arg, a->tag, BROKER_NOT_ALLOWED, NULL, 0);
		free(a);
		return;
	}
}
