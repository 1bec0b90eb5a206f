/*
 * json: see json.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "json.h"

static size_t skip_space(struct json d, size_t i)
{
	while (i < d.n && (d.p[i] == ' ' || d.p[i] == '\t' || d.p[i] == '\n' || d.p[i] == '\r'))
		i++;
	return i;
}

/* The end of the string that begins at i, behind its closing quote. 0: it has none. */
static size_t string_end(struct json d, size_t i)
{
	for (i++; i < d.n; i++) {
		if (d.p[i] == '\\')
			i++;
		else if (d.p[i] == '"')
			return i + 1;
	}
	return 0;
}

/* The end of the value that begins at i; brackets are only counted. 0: it has none. */
static size_t value_end(struct json d, size_t i)
{
	size_t depth = 0;

	while (i < d.n) {
		char c = d.p[i];

		if (c == '"') {
			i = string_end(d, i);
			if (i == 0)
				return 0;
			if (depth == 0)
				return i;
			continue;
		}
		if (c == '{' || c == '[') {
			depth++;
		} else if (c == '}' || c == ']') {
			if (depth == 0)
				return i;
			if (--depth == 0)
				return i + 1;
		} else if (depth == 0 &&
			   (c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t')) {
			return i;
		}
		i++;
	}
	return depth == 0 ? i : 0;
}

static struct json piece(struct json d, size_t from, size_t to)
{
	return (struct json){d.p + from, to - from};
}

bool json_next(struct json d, size_t *pos, struct json *key, struct json *value)
{
	size_t i = skip_space(d, *pos), end;
	bool object;

	if (*pos == 0) {
		if (i >= d.n || (d.p[i] != '{' && d.p[i] != '['))
			return false;
	} else if (i >= d.n || d.p[i] != ',') {
		return false;
	}
	object = d.n > 0 && d.p[skip_space(d, 0)] == '{';
	i = skip_space(d, i + 1);
	*key = (struct json){"", 0};
	if (object) {
		if (i >= d.n || d.p[i] != '"')
			return false;
		end = string_end(d, i);
		if (end == 0)
			return false;
		*key = piece(d, i + 1, end - 1);
		i = skip_space(d, end);
		if (i >= d.n || d.p[i] != ':')
			return false;
		i = skip_space(d, i + 1);
	}
	end = value_end(d, i);
	if (end <= i)
		return false;
	*value = piece(d, i, end);
	*pos = skip_space(d, end);
	return true;
}

static bool member(struct json object, const char *key, size_t len, struct json *out)
{
	struct json k, v;
	size_t pos = 0;

	while (json_next(object, &pos, &k, &v)) {
		if (k.n == len && memcmp(k.p, key, len) == 0) {
			*out = v;
			return true;
		}
	}
	return false;
}

bool json_get(struct json doc, const char *path, struct json *out)
{
	for (;;) {
		size_t len = strcspn(path, ".");

		if (!member(doc, path, len, &doc))
			return false;
		if (path[len] == '\0')
			break;
		path += len + 1;
	}
	*out = doc;
	return true;
}

bool json_int(struct json v, int64_t *out)
{
	size_t i = v.n > 0 && v.p[0] == '-' ? 1 : 0;
	bool minus = i == 1;
	uint64_t x = 0;

	if (i >= v.n)
		return false;
	for (; i < v.n; i++) {
		if (v.p[i] < '0' || v.p[i] > '9' || x > (uint64_t)(INT64_MAX - 9) / 10)
			return false;
		x = x * 10 + (uint64_t)(v.p[i] - '0');
	}
	*out = minus ? -(int64_t)x : (int64_t)x;
	return true;
}

bool json_true(struct json v)
{
	return v.n == 4 && memcmp(v.p, "true", 4) == 0;
}

struct json json_inside(struct json v)
{
	if (v.n < 2 || v.p[0] != '"')
		return (struct json){"", 0};
	return piece(v, 1, v.n - 1);
}

static int hex(char c)
{
	const char *digits = "0123456789abcdef", *p = c ? strchr(digits, c | ('a' ^ 'A')) : NULL;

	return p ? (int)(p - digits) : -1;
}

/* One byte of a string, its escape taken off; -1: the end, or an escape that is no ASCII. Go
 * escapes '>', '<' and '&': "ws.\u003e". */
static int string_byte(struct json in, size_t *i)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *p = in.p + *i;
	int hi, lo;

	if (*i >= in.n)
		return -1;
	if (*p != '\\') {
		++*i;
		return (unsigned char)*p;
	}
	if (in.n - *i >= 2 && p[1] != 'u') {
		const char *e = p[1] ? strchr(from, p[1]) : NULL;

		*i += 2;
		return e ? to[e - from] : -1;
	}
	if (in.n - *i < 6 || p[2] != '0' || p[3] != '0')
		return -1;
	hi = hex(p[4]);
	lo = hex(p[5]);
	*i += 6;
	return hi < 0 || hi > 7 || lo < 0 ? -1 : hi << 4 | lo;
}

bool json_is(struct json v, const char *s)
{
	struct json in = json_inside(v);
	size_t i = 0;

	if (v.n < 2 || v.p[0] != '"')
		return false;
	for (; *s; s++)
		if (string_byte(in, &i) != (unsigned char)*s)
			return false;
	return i == in.n;
}

size_t json_text(struct json v, char *out, size_t outlen)
{
	struct json in = json_inside(v);
	size_t i = 0, n = 0;
	int c;

	while (n + 1 < outlen && (c = string_byte(in, &i)) >= 0)
		out[n++] = (char)c;
	out[n] = '\0';
	return n;
}

int64_t json_get_int(struct json doc, const char *path, int64_t otherwise)
{
	struct json v;
	int64_t x;

	return json_get(doc, path, &v) && json_int(v, &x) ? x : otherwise;
}

bool json_get_true(struct json doc, const char *path)
{
	struct json v;

	return json_get(doc, path, &v) && json_true(v);
}

char *json_set(struct json object, const char *key, const char *value)
{
	size_t klen = strlen(key), vlen = strlen(value), start, from, to;
	struct json old, any;
	bool empty, there;
	size_t pos = 0;
	char *out;
	int n;

	start = skip_space(object, 0);
	if (start >= object.n || object.p[start] != '{')
		return NULL;
	empty = !json_next(object, &pos, &any, &any);
	there = member(object, key, klen, &old);
	from = there ? (size_t)(old.p - object.p) : start + 1;
	to = there ? from + old.n : from;
	out = malloc(object.n + klen + vlen + 8);
	if (!out)
		return NULL;
	memcpy(out, object.p, from);
	if (there)
		n = sprintf(out + from, "%s", value);
	else
		n = sprintf(out + from, "\"%s\":%s%s", key, value, empty ? "" : ",");
	memcpy(out + from + (size_t)n, object.p + to, object.n - to);
	out[from + (size_t)n + object.n - to] = '\0';
	return out;
}
