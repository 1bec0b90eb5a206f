/*
 * figures: a snapshot as JSON: what wsgatectl says with --json, and /status.json. Members are
 * documented in wsgatectl(8) and wsgated(8). Room: ipc.
 */
#ifndef WSGATE_FIGURES_H
#define WSGATE_FIGURES_H

#include <jansson.h>
#include <stdbool.h>
#include <wsgate/history.h>
#include <wsgate/snapshot.h>

/* Each adds a member; without memory figures_complete() says so in the end. */
void figures_add(json_t *object, const char *key, json_t *value); /* takes value */
void figures_append(json_t *array, json_t *value);                /* the same */
void figures_text(json_t *object, const char *key, const char *text);
/* A path, and what cites a file, may have any bytes, of which JSON takes UTF-8 alone: else it has ?
 * for what is not ASCII. */
json_t *figures_string(const char *s, size_t len);
void figures_number(json_t *object, const char *key, uint64_t n);
void figures_flag(json_t *object, const char *key, bool on);
/* Nothing has failed since the last call. */
bool figures_complete(void);

const char *figures_life(enum snapshot_life life);
json_t *figures_traffic(
	const struct snapshot_traffic *n, const struct stats_rates *rates); /* rates NULL: none */
json_t *figures_workers(const struct snapshot *s);
/* Sums over all workers that there were: refused handshakes, ended connections. */
json_t *figures_endings(const struct snapshot *s);
json_t *figures_services(const struct snapshot *s);
/* The whole, but for history. Takes reload: how the last one ended. */
json_t *figures_status(const struct snapshot *s, json_t *reload, json_t *drain);
/* Whether the gateway is to be empty, and how far it is. NULL: not known. */
json_t *figures_drain(const struct snapshot *s, const struct proto_drain *d);
/* Of n samples, oldest first, those from `from` on, a column each; the ones before serve for rates.
 */
json_t *figures_history(const struct history_view *v, size_t n, size_t from);
/* Of the last minute of these samples, and of all times together. */
json_t *figures_latency(const struct snapshot *s, const struct history_view *v, size_t n);

#endif
