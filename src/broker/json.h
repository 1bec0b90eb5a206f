/*
 * json: just enough to read what the server answers and to change a key of a stream's configuration
 * without losing the keys that we do not know. Values are borrowed pieces of the text. Never fails
 * hard: what is not well formed is simply not found.
 */
#ifndef WSGATE_JSON_H
#define WSGATE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json {
	const char *p;
	size_t n;
};

/* The value at a path of keys, "error.err_code". False: not there. */
bool json_get(struct json doc, const char *path, struct json *out);
/* Members of an object (key without its quotes, escapes left alone) or elements of an array (key
 * empty). *pos begins at 0. */
bool json_next(struct json container, size_t *pos, struct json *key, struct json *value);
bool json_int(struct json v, int64_t *out);
bool json_true(struct json v);
/* Whether the value is this (ASCII) string, however it is escaped. */
bool json_is(struct json v, const char *s);
/* A string without its escapes, cut where it does not fit or is no ASCII; returns its length. */
size_t json_text(struct json v, char *out, size_t outlen);
/* The inside of a string value, escapes and all, for logs; an empty piece when it is no string. */
struct json json_inside(struct json v);

/* Shortcuts; the value given when there is none. */
int64_t json_get_int(struct json doc, const char *path, int64_t otherwise);
bool json_get_true(struct json doc, const char *path);

/* The object with one key set to a raw value. Owned by the caller; NULL: no memory, or not an
 * object. */
char *json_set(struct json object, const char *key, const char *value);

#endif
