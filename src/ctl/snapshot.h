/*
 * snapshot: the figures of a gateway as of one moment, read from its segment. Room: ctl.
 */
#ifndef WSGATE_CTL_SNAPSHOT_H
#define WSGATE_CTL_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wsgate/config.h>
#include <wsgate/shm.h>
#include <wsgate/subject.h>

enum snapshot_life { SNAPSHOT_RUNS, SNAPSHOT_HANGS, SNAPSHOT_DEAD, SNAPSHOT_ENDED };
/* "", "hangs", "not running", "ended" */
const char *snapshot_life_text(enum snapshot_life life);

struct snapshot_traffic {
	uint64_t messages_in, bytes_in, messages_out, bytes_out, unconfirmed, behind, connections;
};
struct snapshot_worker {
	unsigned slot;
	uint32_t pid;
	enum snapshot_life life;
	bool draining, retiring;
	uint64_t age_s, starts;
	struct snapshot_traffic n;
	struct stats_rates rates;         /* of the last second or two */
	const struct worker_stats *stats; /* in the segment */
};
struct snapshot_service {
	char name[TOKEN_ENCODED_MAX + 1]; /* encoded: printable ASCII; "" : the rest */
	struct snapshot_traffic n;
};
struct snapshot {
	struct shm shm;
	bool runs;      /* the master */
	uint64_t at_ms; /* CLOCK_MONOTONIC */
	uint64_t age_s, bridge_age_s, broker_since_s;
	enum snapshot_life bridge;
	char server[SHM_SERVER_MAX];
	struct snapshot_worker *workers; /* owned */
	size_t nworkers;
	struct snapshot_service *services; /* owned; by name, the rest last */
	size_t nservices;
	struct snapshot_traffic total;
	struct stats_rates rates;
};

/* 0, or -1 after a line on standard error. */
int snapshot_take(struct snapshot *s, const struct config *c);
void snapshot_free(struct snapshot *s);
const char *snapshot_broker(
	const struct snapshot *s); /* "connected", "away", "never reached yet" */

#endif
