/*
 * The headers of a message from the broker, whose sender may be anybody. nats.c is played: a
 * message is its subject, the block of headers and an empty payload in one piece of memory; as in
 * nats.c, one broken line makes all of them unreadable, and then the block itself is read.
 */
#include <stdlib.h>
#include <string.h>
#include "../../src/broker/headers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct __natsMsg {
	char *subject, *data;
	int broken;
	char *values[64]; /* "key: value", terminated */
	int n;
};

static void check(int truth)
{
	if (!truth)
		abort();
}

const char *natsMsg_GetSubject(const natsMsg *m)
{
	return m->subject;
}

const char *natsMsg_GetReply(const natsMsg *m)
{
	(void)m;
	return NULL;
}

const char *natsMsg_GetData(const natsMsg *m)
{
	return m->data;
}

static const char *value(const char *line, const char *key)
{
	size_t n = strlen(key);

	return strncmp(line, key, n) == 0 && line[n] == ':'
		       ? line + n + 1 + strspn(line + n + 1, " ")
		       : NULL;
}

natsStatus natsMsgHeader_Values(natsMsg *m, const char *key, const char ***values, int *count)
{
	const char **v = calloc(64, sizeof(*v));

	*count = 0;
	if (m->broken || !v) {
		free(v);
		return NATS_PROTOCOL_ERROR;
	}
	for (int i = 0; i < m->n; i++)
		if (value(m->values[i], key))
			v[(*count)++] = value(m->values[i], key);
	if (*count > 0) {
		*values = v;
		return NATS_OK;
	}
	free(v);
	return NATS_NOT_FOUND;
}

natsStatus natsMsgHeader_Get(natsMsg *m, const char *key, const char **out)
{
	if (m->broken)
		return NATS_PROTOCOL_ERROR;
	for (int i = 0; i < m->n; i++)
		if ((*out = value(m->values[i], key)))
			return NATS_OK;
	return NATS_NOT_FOUND;
}

static void split(natsMsg *m, const char *block, size_t size)
{
	const char *p = block, *nl;

	for (; m->n < 64 && (nl = memchr(p, '\n', size - (size_t)(p - block))); p = nl + 1) {
		size_t len = (size_t)(nl - p);

		if (len > 0 && p[len - 1] == '\r')
			len--;
		m->values[m->n++] = strndup(p, len);
	}
}

static struct wire_event *read_block(const uint8_t *data, size_t size, int broken)
{
	static const char subject[] = "wslive.a.b";
	struct wire_event *e = calloc(1, sizeof(*e) + 1);
	char *mem = malloc(sizeof(subject) + size); /* to the byte: what is behind is not ours */
	natsMsg m = {.subject = mem, .broken = broken};
	const char *name;
	size_t len;

	check(e && mem);
	memcpy(mem, subject, sizeof(subject));
	memcpy(mem + sizeof(subject), data, size);
	m.data = mem + sizeof(subject) + size;
	if (!broken)
		split(&m, mem + sizeof(subject), size);
	headers_read(&m, e);
	if (headers_subject(&m, "ws", &name, &len))
		check(len > 0 && len <= size && !memchr(name, '\n', len));
	for (int i = 0; i < m.n; i++)
		free(m.values[i]);
	free(mem);
	return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int broken = 0; broken < 2; broken++) {
		struct wire_event *e = read_block(data, size, broken);

		check(e->m.text <= BROKER_TEXT_BINARY && e->status < 1000);
		check(e->m.seq < UINT64_C(10000000000000000000));
		free(e);
	}
	return 0;
}
