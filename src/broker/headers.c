/*
 * headers: see headers.h. A publisher's own headers come first and the server appends its own: the
 * LAST value of each Nats-* header counts, the others may be forged. A status may be forged too,
 * but an answer that has a status of the server's has no Nats-Sequence.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "headers.h"

#define TRACE_MAX 128

static uint64_t number(const char *p, size_t n)
{
	uint64_t x = 0;

	for (; n > 0 && *p == ' '; n--)
		p++;
	if (n == 0 || n > 19)
		return 0;
	for (; n > 0; p++, n--) {
		if (*p < '0' || *p > '9')
			return 0;
		x = x * 10 + (uint64_t)(*p - '0');
	}
	return x;
}

static enum broker_text text_of(const char *p, size_t n)
{
	if (n == 4 && memcmp(p, "text", 4) == 0)
		return BROKER_TEXT_TEXT;
	if (n == 6 && memcmp(p, "binary", 6) == 0)
		return BROKER_TEXT_BINARY;
	return BROKER_TEXT_UNMARKED;
}

/* No timegm(): it takes a lock, and reads the time zone. */
uint64_t headers_stamp(const char *text, size_t len)
{
	static const unsigned days[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
	unsigned y, mo, d, h, mi, s;
	uint64_t ns = 0, day;
	char copy[40], *v = copy;
	int at = 0;

	if (len >= sizeof(copy))
		return 0;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (sscanf(v, "%4u-%2u-%2uT%2u:%2u:%2u%n", &y, &mo, &d, &h, &mi, &s, &at) != 6 ||
		y < 1970 || mo < 1 || mo > 12 || d < 1)
		return 0;
	v += at;
	if (*v == '.')
		for (uint64_t unit = 100000000; *++v >= '0' && *v <= '9'; unit /= 10)
			ns += (uint64_t)(*v - '0') * unit;
	if (*v != 'Z')
		return 0;
	/* Leap days before this year, and this year's. */
	day = (uint64_t)(y - 1970) * 365 + (y - 1) / 4 - (y - 1) / 100 + (y - 1) / 400 - 477;
	day += days[mo - 1] + d - 1;
	day += mo > 2 && (y % 4 == 0 && (y % 100 != 0 || y % 400 == 0));
	return (((day * 24 + h) * 60 + mi) * 60 + s) * UINT64_C(1000000000) + ns;
}

static uint64_t arrival(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* The last one: a publisher's own come first. */
static uint64_t last_stamp(natsMsg *msg)
{
	const char **values = NULL;
	uint64_t t = 0;
	int n = 0;

	if (natsMsgHeader_Values(msg, "Nats-Time-Stamp", &values, &n) == NATS_OK && n > 0)
		t = headers_stamp(values[n - 1], strlen(values[n - 1]));
	free(values);
	return t;
}

static natsStatus last_number(natsMsg *msg, const char *key, uint64_t *out)
{
	const char **values = NULL;
	int n = 0;
	natsStatus s = natsMsgHeader_Values(msg, key, &values, &n);

	if (s == NATS_OK && n > 0)
		*out = number(values[n - 1], strlen(values[n - 1]));
	free(values);
	return s;
}

/* A part of a batch has it, and its end. */
static void set_pending(struct wire_event *e, uint64_t n)
{
	e->batched = true;
	e->pending = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

static bool line_value(const char *line, size_t n, const char *key, const char **value, size_t *len)
{
	size_t k = strlen(key);

	if (n <= k || line[k] != ':' || memcmp(line, key, k) != 0)
		return false;
	*value = line + k + 1;
	*len = n - k - 1;
	while (*len > 0 && **value == ' ') {
		++*value;
		--*len;
	}
	return true;
}

/* The status in a first line "NATS/1.0 404 Message Not Found"; 0: none. */
static uint16_t status_of(const char *p, size_t n)
{
	if (n < sizeof("NATS/1.0") - 1 || memcmp(p, "NATS/1.0", sizeof("NATS/1.0") - 1) != 0)
		return 0;
	p += sizeof("NATS/1.0") - 1;
	n -= sizeof("NATS/1.0") - 1;
	for (; n > 0 && *p == ' '; n--)
		p++;
	return (uint16_t)number(p, n < 3 ? 0 : 3);
}

/* The block of headers, as it came. False: there is none, or it lies elsewhere. */
static bool raw_block(natsMsg *msg, const char **from, const char **end)
{
	const char *p = natsMsg_GetReply(msg), *data = natsMsg_GetData(msg);

	if (!p)
		p = natsMsg_GetSubject(msg);
	p += strlen(p) + 1;
	*from = p;
	*end = data;
	return data && data - p >= 8 && data - p <= (64 << 20) && memcmp(p, "NATS/1.0", 8) == 0;
}

/*
 * The block of headers, as it came: nats.c would make a table with an allocation for each of them,
 * and refuses all when one line is broken, which any publisher can send and the server stores: such
 * a message must not block its queue. It lies between the message's subjects and its payload (3.4;
 * checked by its first line). False: none is there.
 */
void headers_block(const char *p, const char *end, struct wire_event *e)
{
	const char *v, *nl;
	bool first = true;
	size_t n;

	for (; p < end && (nl = memchr(p, '\n', (size_t)(end - p))); p = nl + 1, first = false) {
		size_t len = (size_t)(nl - p);

		while (len > 0 && (p[len - 1] == '\r' || p[len - 1] == ' '))
			len--;
		if (first)
			e->status = status_of(p, len);
		else if (line_value(p, len, "Nats-Sequence", &v, &n))
			e->m.seq = number(v, n);
		else if (line_value(p, len, "Nats-Last-Sequence", &v, &n))
			e->last = number(v, n);
		else if (line_value(p, len, "Nats-Num-Pending", &v, &n))
			set_pending(e, number(v, n));
		else if (line_value(p, len, "Nats-Time-Stamp", &v, &n))
			e->m.stamp_ns = headers_stamp(v, n);
		else if (line_value(p, len, "Ws-Type", &v, &n) && e->m.text == BROKER_TEXT_UNMARKED)
			e->m.text = text_of(v, n);
		else if (line_value(p, len, "traceparent", &v, &n) && n < TRACE_MAX) {
			e->m.trace = v;
			e->m.trace_len = n;
		} else if (line_value(p, len, "Ws-Compress", &v, &n) && n == 2)
			e->m.plain |= memcmp(v, "no", 2) == 0;
		else if (line_value(p, len, WIRE_WORD_HEADER, &v, &n))
			e->word = true;
	}
}

static bool read_raw(natsMsg *msg, struct wire_event *e)
{
	const char *p, *end;

	if (!raw_block(msg, &p, &end))
		return false;
	headers_block(p, end, e);
	return true;
}

/*
 * The library's own way, should it ever lay out its messages in another one; and for a message
 * without payload, whose headers it looks at before it hands it out (natsSubscription_NextMsg): its
 * table lies in the block then.
 */
static void read_by_library(natsMsg *msg, struct wire_event *e)
{
	uint64_t pending = 0;
	const char *v;

	if (last_number(msg, "Nats-Sequence", &e->m.seq) != NATS_OK)
		e->m.seq = 0;
	if (last_number(msg, "Nats-Last-Sequence", &e->last) != NATS_OK)
		e->last = 0;
	if (last_number(msg, "Nats-Num-Pending", &pending) == NATS_OK)
		set_pending(e, pending);
	e->m.stamp_ns = last_stamp(msg);
	if (natsMsgHeader_Get(msg, "Ws-Type", &v) == NATS_OK && v)
		e->m.text = text_of(v, strlen(v));
	if (natsMsgHeader_Get(msg, "Ws-Compress", &v) == NATS_OK && v)
		e->m.plain = strcmp(v, "no") == 0;
	e->word = natsMsgHeader_Get(msg, WIRE_WORD_HEADER, &v) == NATS_OK;
	if (natsMsgHeader_Get(msg, "Status", &v) == NATS_OK && v)
		e->status = (uint16_t)number(v, strlen(v) < 4 ? strlen(v) : 0);
}

void headers_read(natsMsg *msg, struct wire_event *e)
{
	if (!read_raw(msg, e) || (e->m.seq == 0 && e->status == 0))
		read_by_library(msg, e);
	if (e->m.seq != 0) {
		e->status = 0;
		e->word = false; /* anybody may write that on ws.recv */
		if (e->m.stamp_ns == 0)
			e->m.stamp_ns = arrival();
	}
}

bool headers_subject(natsMsg *msg, const char *prefix, const char **name, size_t *len)
{
	const char *p, *end, *nl, *v, *subject = NULL, **values = NULL;
	size_t n = 0, vn, skip = strlen(prefix) + sizeof(".recv.") - 1;
	int count = 0;

	if (raw_block(msg, &p, &end)) {
		for (; p < end && (nl = memchr(p, '\n', (size_t)(end - p))); p = nl + 1) {
			if (!line_value(p, (size_t)(nl - p), "Nats-Subject", &v, &vn))
				continue;
			subject = v; /* the last one is the server's */
			n = vn > 0 && v[vn - 1] == '\r' ? vn - 1 : vn;
		}
	}
	if (!subject && natsMsgHeader_Values(msg, "Nats-Subject", &values, &count) == NATS_OK &&
		count > 0) {
		subject = values[count - 1];
		n = strlen(subject);
	}
	free(values);
	if (!subject) { /* out of the leader's answer (stored.c) */
		subject = natsMsg_GetSubject(msg);
		n = strlen(subject);
	}
	if (n <= skip || memcmp(subject, prefix, skip - 6) != 0 ||
		memcmp(subject + skip - 6, ".recv.", 6) != 0)
		return false;
	*name = subject + skip;
	*len = n - skip;
	return true;
}
