/*
 * snapshot: the figures of a gateway as of one moment, read from its segment. Whatever of it hangs
 * or is dead: nobody is asked. Room: ipc.
 */
#ifndef WSGATE_SNAPSHOT_H
#define WSGATE_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wsgate/proto.h>
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
	uint64_t up_bytes, down_bytes; /* that wait in the rings; up: in the fullest one */
	struct snapshot_traffic n;
	uint64_t tls, ktls;                /* connections */
	struct stats_rates rates;          /* of the last second or two */
	const struct shm_slot *slot_words; /* in the segment */
	const struct worker_stats *stats;  /* the same */
};
struct snapshot_service {
	char name[TOKEN_ENCODED_MAX + 1]; /* encoded: printable ASCII; "" : the rest */
	struct stats_service_view v;      /* sums over workers */
	uint64_t behind;
};
struct snapshot_stream {
	char name[SHM_STREAM_NAME];
	uint32_t state; /* enum shm_broker_state */
	uint64_t since_s;
	uint64_t users, stored, delivered, removals_pending, reconnects;
};
struct snapshot {
	struct shm shm;   /* borrowed */
	bool runs;        /* the master; the reader's to say */
	uint64_t at_ms;   /* CLOCK_MONOTONIC */
	uint64_t real_ms; /* since 1970 */
	uint64_t age_s, bridge_age_s, broker_since_s;
	enum snapshot_life bridge;
	char server[SHM_SERVER_MAX];
	struct snapshot_worker *workers; /* owned */
	size_t nworkers;
	struct snapshot_service *services; /* owned; by name, the rest last */
	size_t nservices;
	struct snapshot_stream streams[SHM_STREAMS];
	size_t nstreams;
	struct snapshot_traffic total; /* also of workers that are no more, and of replaced programs
					*/
	struct stats_rates rates;
	struct hist_view hists[STATS_HISTS]; /* the same */
};

/* shm stays mapped as long as the snapshot is used. 0; -1: no memory. */
int snapshot_take(struct snapshot *s, const struct shm *shm);
/* The same without services. */
int snapshot_take_sums(struct snapshot *s, const struct shm *shm);
void snapshot_free(struct snapshot *s);
/* "connected", "connected in part" (not for every stream), "away", "never reached yet"; or "not
 * known: the bridge ...", which does not run. */
const char *snapshot_broker(const struct snapshot *s);
/* The same of one stream. */
const char *snapshot_state(uint32_t state);
/* "no", "leaving" (not ready, and all as ever), "draining", "drained" */
const char *snapshot_drain(const struct snapshot *s, const struct proto_drain *d);
/* Over all workers that there ever were. d: a counter of stats_worker. */
uint64_t snapshot_sum(const struct snapshot *s, const struct stats_desc *d);
uint64_t snapshot_refused(const struct snapshot *s, unsigned status_index);
uint64_t snapshot_closed(const struct snapshot *s, enum stats_side side, unsigned code_index);

#endif
