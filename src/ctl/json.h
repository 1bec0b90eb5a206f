/*
 * json: what wsgatectl says with --json: one object a line. Members are documented in wsgatectl(8).
 * Room: ctl.
 */
#ifndef WSGATE_CTL_JSON_H
#define WSGATE_CTL_JSON_H

#include <jansson.h>
#include <stdbool.h>

#include "snapshot.h"

/* Each adds a member; without memory the line is refused at the end (json_line). */
void json_add(json_t *object, const char *key, json_t *value); /* takes value */
void json_text(json_t *object, const char *key, const char *text);
void json_number(json_t *object, const char *key, uint64_t n);
void json_flag(json_t *object, const char *key, bool on);
json_t *json_counters(const void *base, const struct stats_desc *table, size_t n);
json_t *json_traffic(
	const struct snapshot_traffic *n, const struct stats_rates *rates); /* rates NULL: none */
json_t *json_workers(const struct snapshot *s);
json_t *json_services(const struct snapshot *s);
const char *json_life(enum snapshot_life life);
/* Takes it, and prints it. CTL_OK; or CTL_FAILED, said. */
int json_line(json_t *object);

#endif
