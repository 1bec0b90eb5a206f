/*
 * oneshot: broker_send() and broker_tail(), for wsgatectl: one connection, blocking calls, no loop.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "parts.h"

#define TIMEOUT_MS 5000
#define LOOK_MS 200 /* how often a tail looks whether it is to stop */

__attribute__((format(printf, 3, 4))) static int fail(
	char *err, size_t errlen, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, errlen, fmt, ap);
	va_end(ap);
	return -1;
}

static int connect_to(const struct settings *s, natsConnection **nc, char *err, size_t errlen)
{
	natsOptions *o = NULL;
	natsStatus st = natsOptions_Create(&o);
	char url[256];

	if (st == NATS_OK)
		st = settings_apply(s, o);
	if (st == NATS_OK)
		st = natsOptions_SetName(o, "wsgatectl");
	if (st == NATS_OK)
		st = natsOptions_SetTimeout(o, TIMEOUT_MS);
	if (st == NATS_OK)
		st = login_connect(nc, o);
	natsOptions_Destroy(o);
	if (st == NATS_OK)
		return 0;
	settings_redact(s->nservers > 0 ? s->servers[0] : "", url, sizeof(url));
	return fail(
		err, errlen, "cannot connect to the broker %s: %s", url, natsStatus_GetText(st));
}

static int take_ack(natsMsg *ack, const struct settings *s, uint64_t *seq, char *err, size_t errlen)
{
	json_t *doc = json_loadb(natsMsg_GetData(ack), (size_t)natsMsg_GetDataLength(ack), 0, NULL);
	enum broker_result r;
	const char *why;
	int rc = 0;

	if (!npublish_result(doc, 0, s->stream, &r, &why))
		rc = fail(err, errlen,
			"something else than stream %s answered: is stream.name right?", s->stream);
	else if (r != BROKER_STORED && r != BROKER_DUPLICATE)
		rc = fail(err, errlen, "stream %s refuses: %s", s->stream, why ? why : "");
	else if (seq)
		*seq = (uint64_t)json_integer_value(json_object_get(doc, "seq"));
	json_decref(doc);
	return rc;
}

static int send_on(natsConnection *nc, const struct settings *s, const char *subject,
	enum broker_text text, const void *data, size_t len, uint64_t *seq, char *err,
	size_t errlen)
{
	natsMsg *m = NULL, *ack = NULL;
	natsStatus st;
	int r;

	if (len > INT32_MAX)
		return fail(err, errlen, "too large");
	st = natsMsg_Create(&m, subject, NULL, data, (int)len);
	if (st == NATS_OK && text != BROKER_TEXT_UNMARKED)
		st = natsMsgHeader_Set(m, "Ws-Type", text == BROKER_TEXT_TEXT ? "text" : "binary");
	if (st == NATS_OK)
		st = natsConnection_RequestMsg(&ack, nc, m, TIMEOUT_MS);
	natsMsg_Destroy(m);
	if (st == NATS_NO_RESPONDERS)
		return fail(err, errlen, "no stream takes %s: has wsgated made stream %s?", subject,
			s->stream);
	if (st != NATS_OK)
		return fail(
			err, errlen, "cannot publish on %s: %s", subject, natsStatus_GetText(st));
	r = take_ack(ack, s, seq, err, errlen);
	natsMsg_Destroy(ack);
	return r;
}

int broker_send(const struct config *c, const struct identity *id, enum broker_text text,
	const void *data, size_t len, uint64_t *seq, char *err, size_t errlen)
{
	char subject[SUBJECT_MAX];
	natsConnection *nc = NULL;
	struct settings s;
	int r, stream;

	if (subject_format(SUBJECT_RECV, c->subject_prefix, id, subject, sizeof(subject)) < 0)
		return fail(err, errlen, "not a valid service and user");
	stream = config_stream_of(c, id->service, id->service_len);
	if (stream < 0)
		return fail(err, errlen, "no stream section has that service");
	if (settings_copy(&s, c, (size_t)stream) < 0)
		return fail(err, errlen, "no memory");
	r = connect_to(&s, &nc, err, errlen);
	if (r == 0)
		r = send_on(nc, &s, subject, text, data, len, seq, err, errlen);
	natsConnection_Destroy(nc);
	settings_free(&s);
	return r;
}

static int show(natsMsg *msg, const struct settings *s,
	int (*fn)(const struct broker_tail_message *m, void *arg), void *arg)
{
	char service[TOKEN_MAX], user[TOKEN_MAX];
	struct broker_tail_message m = {0};
	const char *type = NULL;

	if (subject_parse(SUBJECT_SEND, s->prefix, natsMsg_GetSubject(msg), service, user, &m.id) <
		0)
		return 0; /* not of a gateway */
	if (natsMsgHeader_Get(msg, "Ws-Conn", &m.conn) != NATS_OK)
		m.conn = "";
	m.text = natsMsgHeader_Get(msg, "Ws-Type", &type) == NATS_OK && strcmp(type, "text") == 0;
	m.data = (const uint8_t *)natsMsg_GetData(msg);
	m.len = (size_t)natsMsg_GetDataLength(msg);
	return fn(&m, arg);
}

static int tail_on(natsConnection *nc, natsSubscription *sub, const struct settings *s,
	void (*ready)(void *arg), int (*fn)(const struct broker_tail_message *m, void *arg),
	void *arg, const volatile int *stop, char *err, size_t errlen)
{
	natsStatus st = natsConnection_FlushTimeout(nc, TIMEOUT_MS);
	natsMsg *msg;
	int end = 0;

	if (st == NATS_OK && ready)
		ready(arg);
	while (st == NATS_OK && !end && !(stop && *stop)) {
		st = natsSubscription_NextMsg(&msg, sub, LOOK_MS);
		if (st == NATS_TIMEOUT) {
			st = NATS_OK;
		} else if (st == NATS_OK) {
			end = show(msg, s, fn, arg);
			natsMsg_Destroy(msg);
		}
	}
	if (st != NATS_OK)
		return fail(err, errlen, "the connection to the broker ended: %s",
			natsStatus_GetText(st));
	return 0;
}

int broker_tail(const struct config *c, const char *service, size_t service_len,
	void (*ready)(void *arg), int (*fn)(const struct broker_tail_message *m, void *arg),
	void *arg, const volatile int *stop, char *err, size_t errlen)
{
	char token[TOKEN_ENCODED_MAX + 1], subject[SUBJECT_MAX];
	natsConnection *nc = NULL;
	natsSubscription *sub = NULL;
	struct settings s;
	natsStatus st;
	int r;

	if (service_len == 0 || token_encode(service, service_len, token, sizeof(token)) < 0)
		return fail(err, errlen, "not a valid service");
	/* Listens to what is said, in whatever stream it is kept. */
	if (settings_copy(&s, c, 0) < 0)
		return fail(err, errlen, "no memory");
	snprintf(subject, sizeof(subject), "%s.send.%s.*", s.prefix, token);
	r = connect_to(&s, &nc, err, errlen);
	if (r == 0) {
		st = natsConnection_SubscribeSync(&sub, nc, subject);
		if (st == NATS_OK)
			st = natsSubscription_SetPendingLimits(sub, -1, -1);
		r = st == NATS_OK ? tail_on(nc, sub, &s, ready, fn, arg, stop, err, errlen)
				  : fail(err, errlen, "cannot subscribe to %s: %s", subject,
					    natsStatus_GetText(st));
	}
	natsSubscription_Destroy(sub);
	natsConnection_Destroy(nc);
	settings_free(&s);
	return r;
}
