/*
 * stream: makes or checks the stream. Blocking: on the broker thread, after every connect and
 * before any get or delete.
 */
#ifndef WSGATE_STREAM_H
#define WSGATE_STREAM_H

#include <jansson.h>
#include <nats/nats.h>
#include "settings.h"

enum stream_result {
	STREAM_OK,
	STREAM_RETRY,   /* text says why; later it may work */
	STREAM_REFUSED, /* text says why not, and how to mend it */
	STREAM_MISSING, /* it was not to be made */
};

struct stream_state {
	uint64_t created; /* ns since 1970 */
	uint64_t last;    /* sequence */
	uint64_t subjects;
	bool replicated; /* so that others than its leader answer direct gets */
	bool clustered;  /* a request may come to its server through another one */
	uint64_t level;  /* of the server's JetStream API (ADR-44): 0 before 2.11, which has 1 */
	char text[640];
};

/* make: if it is not there. */
enum stream_result stream_check(
	natsConnection *nc, const struct settings *s, bool make, struct stream_state *out);
/* A stream's time of creation as the server writes it, in ns since 1970; 0: not that (or NULL), or
 * the year 1, which it writes of one that somebody else is just making (2.9.10, tried). Pure. */
uint64_t stream_time(const char *text);
/* Of a stream's state: how many subjects have messages. UINT64_MAX: the server does not say. Pure.
 */
uint64_t stream_subjects(const json_t *state);
/* Of what the server tells of a stream: its leader's name. NULL: none. Pure. */
const char *stream_leader(const json_t *doc);
/* Whether that configuration of a stream, as the server tells it, has replicas. Pure. */
bool stream_replicated(const json_t *config);
/* Warns of consumers that take messages away from the clients. */
void stream_warn_consumers(natsConnection *nc, const struct settings *s);

#endif
