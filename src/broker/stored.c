/*
 * stored: see stored.h.
 */
#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include "headers.h"
#include "stored.h"

#define ERR_NO_MESSAGE 10037
#define UNAVAILABLE 503

/* Base64, or nothing at all. Bytes written, at most three for four characters; -1: it is none. */
static int decode(const json_t *text, uint8_t *out)
{
	const char *s = json_string_value(text);
	size_t len = json_string_length(text);
	int n = len > 0 ? EVP_DecodeBlock(out, (const uint8_t *)s, (int)len) : 0;

	for (int i = 1; i <= 2 && n > 0 && s[len - (size_t)i] == '='; i++)
		n--;
	return n;
}

static size_t room_for(const json_t *text)
{
	return json_string_length(text) / 4 * 3;
}

static void take(struct wire_event *e, const json_t *m)
{
	const json_t *hdrs = json_object_get(m, "hdrs"), *data = json_object_get(m, "data"),
		     *time = json_object_get(m, "time");
	const char *subject = json_string_value(json_object_get(m, "subject")), *p;
	uint8_t *both = malloc(room_for(hdrs) + room_for(data) + 1);
	int nh = both ? decode(hdrs, both) : -1, nd = nh < 0 ? -1 : decode(data, both + nh);
	natsMsg *msg = NULL;

	if (nd >= 0 && subject &&
		natsMsg_Create(&msg, subject, NULL, (const char *)both, nh + nd) == NATS_OK) {
		p = nh + nd > 0 ? natsMsg_GetData(msg) : "";
		headers_block(p, p + nh, e);
		natsMsg_Destroy(e->msg);
		e->msg = msg;
		e->m.data = (const uint8_t *)p + nh;
		e->m.len = (size_t)nd;
		/* Whatever the publisher wrote there. */
		e->m.seq = (uint64_t)json_integer_value(json_object_get(m, "seq"));
		e->m.stamp_ns = json_is_string(time) ? headers_stamp(json_string_value(time),
							       json_string_length(time))
						     : 0;
		e->last = e->pending = e->status = 0;
		e->batched = e->word = false;
	}
	free(both);
}

void stored_read(struct wire_event *e)
{
	json_t *doc = json_loadb((const char *)e->m.data, e->m.len, 0, NULL);
	const json_t *m = json_object_get(doc, "message"), *error = json_object_get(doc, "error");

	if (m)
		take(e, m);
	else if (error)
		e->status = json_integer_value(json_object_get(error, "err_code")) == ERR_NO_MESSAGE
				    ? 404
				    : UNAVAILABLE;
	json_decref(doc);
}
