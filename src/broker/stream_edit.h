/*
 * stream_edit: what a stream of ours looks like, and what is to be changed in one that is there.
 * Pure: JSON in, JSON out. What we do not know in it stays as it is.
 */
#ifndef WSGATE_STREAM_EDIT_H
#define WSGATE_STREAM_EDIT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "stream.h"

/* Writes out->text; returns r. */
enum stream_result stream_say(struct stream_state *out, enum stream_result r, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

int64_t stream_edit_age(const struct settings *s); /* ns; 0: for ever */
/* The window for duplicates of a stream with that max_age. */
int64_t stream_edit_duplicates(const struct settings *s, int64_t age);
/* The subjects that it must have: a new reference; NULL: no memory. */
json_t *stream_edit_subjects(const struct settings *s);
/* A new reference; NULL: no memory. */
json_t *stream_edit_republish(const struct settings *s);
bool stream_edit_in_memory(const json_t *config);
/* Republish as we need it? *there: there is one at all. */
bool stream_edit_republishes(const json_t *config, const struct settings *s, bool *there);

/* Whether one that was changed while it is in use still has our subjects, is read, acknowledged and
 * never drops what was not delivered. Not: one that republishes elsewhere, which is read slowly,
 * but would be refused. */
bool stream_edit_serves(const json_t *config, const struct settings *s);

/* Whether this stream can be ours; REFUSED says why not. */
enum stream_result stream_edit_check(
	const json_t *config, const struct settings *s, struct stream_state *out);

struct stream_edit {
	json_t *config; /* borrowed; changed at its top level alone */
	bool changed;
	bool failed; /* no memory */
};
/* Without these it does not work, or it loses messages. */
void stream_edit_needed(struct stream_edit *e, const struct settings *s);
/* Limits are raised where the configuration has a higher one, never lowered. */
void stream_edit_limits(struct stream_edit *e, const struct settings *s);

#endif
