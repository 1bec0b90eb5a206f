/*
 * callout: the question to a service whether a client may come in, and its answer. See
 * credential.h.
 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <wsgate/credential.h>
#include <wsgate/utf8.h>
#include "handshake_parts.h"

#define NO_TIME 1e11
#define REFRESH_MAX 65536 /* bytes: what is longer is no refresh */

static json_t *text(const char *s, size_t len)
{
	json_t *j;
	char *wide;
	size_t n = 0;

	if (utf8_valid((const uint8_t *)s, len))
		return json_stringn(s, len);
	wide = malloc(2 * len);
	if (!wide)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c >= 0x80)
			wide[n++] = (char)(0xc0 | c >> 6);
		wide[n++] = (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c);
	}
	j = json_stringn(wide, n);
	free(wide);
	return j;
}

/* False: no memory. Takes v. */
static bool set(json_t *o, const char *key, json_t *v)
{
	return json_object_set_new(o, key, v) == 0;
}

static bool set_text(json_t *o, const char *key, const char *s)
{
	return set(o, key, text(s, strlen(s)));
}

static json_t *headers_of(const struct handshake *h, const struct callout_question *q)
{
	json_t *all = json_object();
	bool good = all != NULL;

	for (size_t i = 0; good && i < q->nheaders; i++) {
		const char *v = NULL;
		json_t *list = NULL;

		while (good && (v = handshake_next(h, q->headers[i], v)) != NULL) {
			if (!list) {
				list = json_array();
				good = set(all, q->headers[i], list);
			}
			good = good && json_array_append_new(list, text(v, strlen(v))) == 0;
		}
	}
	if (good)
		return all;
	json_decref(all);
	return NULL;
}

char *callout_ask(const struct handshake *h, const struct callout_question *q)
{
	json_t *o = json_object();
	char *out = NULL;

	if (set(o, "service", text(q->service, q->service_len)) &&
		(!q->user_len || set(o, "user", text(q->user, q->user_len))) &&
		set_text(o, "path", handshake_path(h)) &&
		set_text(o, "query", handshake_query(h)) && set_text(o, "address", q->address) &&
		set(o, "headers", headers_of(h, q)))
		out = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return out;
}

/* False: it is there, and no number from 0 on. */
static bool number(const json_t *o, const char *key, double max, uint64_t *out)
{
	const json_t *j = json_object_get(o, key);
	double d = json_number_value(j);

	*out = 0;
	if (!j)
		return true;
	if (!json_is_number(j) || !isfinite(d) || d < 0)
		return false;
	*out = (uint64_t)(d < max ? d : max);
	return true;
}

static bool parse_names(const json_t *o, struct callout_said *out)
{
	const json_t *user = json_object_get(o, "user"), *reason = json_object_get(o, "reason");
	const char *s = json_string_value(reason);
	size_t n = 0;

	if ((user && !json_is_string(user)) || (reason && !json_is_string(reason)))
		return false;
	out->user_len = json_string_length(user);
	if (user && (out->user_len == 0 || out->user_len > sizeof(out->user)))
		return false;
	if (user)
		memcpy(out->user, json_string_value(user), out->user_len);
	for (; s && *s && n < sizeof(out->reason) - 1; s++)
		out->reason[n++] = *s >= ' ' && *s <= '~' ? *s : '?';
	return true;
}

bool callout_parse(const char *data, size_t len, struct callout_said *out)
{
	json_t *o = len <= CALLOUT_ANSWER_MAX ? json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL)
					      : NULL;
	const json_t *allow = json_object_get(o, "allow");
	uint64_t status = 0;
	bool good;

	memset(out, 0, sizeof(*out));
	good = json_is_boolean(allow) && parse_names(o, out) &&
	       number(o, "expires", NO_TIME, &out->expires_s) &&
	       number(o, "cache", CALLOUT_CACHE_MAX, &out->cache_s) &&
	       number(o, "status", 1000, &status);
	out->allow = json_is_true(allow);
	out->status = (unsigned)(json_object_get(o, "status") ? status : 403);
	json_decref(o);
	return good && (out->allow || (out->status >= 400 && out->status <= 599));
}

bool credential_refresh(const char *data, size_t len, char *out, size_t outlen)
{
	/* Parsed takes many times its size. */
	json_t *o = len > 0 && len <= REFRESH_MAX && data[0] == '{' &&
				    memmem(data, len, "\"wsgate\"", 8)
			    ? json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL)
			    : NULL;
	const char *what = json_string_value(json_object_get(o, "wsgate"));
	const json_t *token = json_object_get(o, "token");
	bool is = what && strcmp(what, "refresh") == 0;

	*out = '\0';
	if (is && json_is_string(token) && json_string_length(token) < outlen)
		memcpy(out, json_string_value(token), json_string_length(token) + 1);
	json_decref(o);
	return is;
}
