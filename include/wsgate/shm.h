/*
 * shm: the segment. A file in runtime_dir that outlives every process; it begins with magic, layout, size
 * and id. Its space is allocated before it is used (posix_fallocate: a full tmpfs is an error, not a SIGBUS).
 *
 *   header | bridge region | slot 0 | slot 1 | … | slot max_workers-1
 *   slot:   words (generation, bells, ring words, counters) | routes | long names | change list | up ring 0 | up ring 1 | down ring
 *
 * The file is sparse: a slot's space is allocated when the slot is first used.
 * One writer per region: header: master, once, before the first fork. Bridge region, down rings' heads, tails of up rings
 * and change lists: the bridge. The rest of a slot: its worker. Room: ipc.
 */
#ifndef WSGATE_SHM_H
#define WSGATE_SHM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <wsgate/ring.h>
#include <wsgate/route.h>

#define SHM_MAGIC "wsgateSM"
#define SHM_LAYOUT 3
#define SHM_UP_RINGS 2 /* a dead worker's is drained while its successor uses the other */

struct shm_sizes {
	uint32_t max_workers;
	uint32_t routes; /* per slot */
	uint64_t up_size, down_size; /* bytes of a ring, powers of two */
};

struct shm_header {
	char magic[8];
	uint32_t layout;
	uint32_t header_size;
	uint64_t size; /* of the file */
	uint8_t id[16]; /* random; begins every Nats-Msg-Id */
	struct shm_sizes sizes;
	uint64_t created_ms;
	uint32_t master_pid;
	uint32_t reserved;
	char version[32];
};

/* Counters: written by their owner alone with relaxed stores; they survive a child's restart. */
struct worker_stats {
	_Atomic uint64_t accepted, opened, closed, refused, echo;
	_Atomic uint64_t messages_in, bytes_in;	  /* client → service, put into the up ring */
	_Atomic uint64_t messages_out, bytes_out; /* service → client, handed to the socket */
	_Atomic uint64_t confirmed;		  /* Pongs that confirmed something */
	_Atomic uint64_t paused;		  /* a connection stopped reading: ring or share full */
	_Atomic uint64_t stale_records, repeated;  /* records for dead connections; below the mark */
	_Atomic uint64_t pong_timeouts, errors;
	_Atomic uint64_t connections; /* now */
};
struct bridge_stats {
	_Atomic uint64_t stored, duplicates, refused, retries; /* client → service */
	_Atomic uint64_t delivered, behind, reread, aside;
	_Atomic uint64_t gets, live, gaps, rescans, removals, removals_pending, reconnects, rtt_us;
	_Atomic uint64_t users, buffered_bytes, publishing;
};

enum shm_broker_state { SHM_BROKER_NEVER, SHM_BROKER_CONNECTED, SHM_BROKER_LOST };

struct shm_bridge {
	/* The incarnation of the stream: epoch goes up before created changes, so a bridge killed between the two raises it once more. */
	alignas(64) _Atomic uint32_t epoch;
	_Atomic uint32_t broker_state;
	_Atomic uint64_t created;      /* ns since 1970, 0: never seen */
	_Atomic uint64_t state_since_ms; /* CLOCK_MONOTONIC: same boot, same clock for all processes */
	_Atomic uint64_t max_message;  /* bytes a client may send: configuration and broker; 0 before the first contact */
	_Atomic uint64_t last_seq;     /* highest mark ever given, of this epoch */
	_Atomic uint32_t pid;
	_Atomic uint64_t started_ms;   /* since 1970 */
	struct bell bell;
	struct bridge_stats stats;
};

struct shm_slot {
	alignas(64) _Atomic uint64_t generation; /* of the worker that owns the slot now; written by it first of all */
	_Atomic uint32_t pid;
	_Atomic uint32_t draining;
	_Atomic uint32_t want_space; /* the worker waits for room in its up ring: ring after a release */
	_Atomic uint64_t started_ms;
	struct bell bell; /* the worker's */
	alignas(64) _Atomic uint32_t down_wanted; /* the bridge's: it waits for room in the down ring */
	_Atomic uint64_t buried; /* the bridge's: what clients confirmed to this generation, and to those before it, was taken over */
	struct ring_words up[SHM_UP_RINGS], down;
	struct changes_words changes;
	struct worker_stats stats;
};

struct shm { /* one process' view */
	void *base;
	size_t size;
	struct shm_header *header;
	struct shm_bridge *bridge;
};

/* The worker of generation g writes into up ring g % SHM_UP_RINGS. */
#define shm_up_ring(generation) ((unsigned)((generation) % SHM_UP_RINGS))

uint64_t shm_file_size(const struct shm_sizes *s);
/*
 * Makes the file (mode 0600, owned by uid:gid), allocates header and bridge region. Returns a descriptor, or -1 with errno;
 * nothing is left behind then.
 */
int shm_create(const char *path, const struct shm_sizes *s, const char *version, uid_t uid, gid_t gid);
/* Allocates the space of one slot and prepares its words; once per slot, before any process maps it for use. 0 or -1 with errno. */
int shm_prepare_slot(int fd, unsigned slot);
/* Maps a segment after checking magic, layout and size. 0, or -1: errno EPROTO for another layout or a file that does not add up. */
int shm_map(struct shm *shm, int fd, bool writable);
void shm_unmap(struct shm *shm);
/* Reads the header alone, without mapping. 0 or -1 as above. */
int shm_read_header(int fd, struct shm_header *out);

struct shm_slot *shm_slot(const struct shm *shm, unsigned slot);
/* False: the slot was never prepared. */
bool shm_slot_used(const struct shm *shm, unsigned slot);
struct route_section shm_routes(const struct shm *shm, unsigned slot);
void shm_changes(const struct shm *shm, unsigned slot, struct changes *out);
void *shm_up_data(const struct shm *shm, unsigned slot, unsigned ring);
void *shm_down_data(const struct shm *shm, unsigned slot);

/* Counting without a locked instruction: each counter has one writer. */
#define stat_add(counter, n) \
	atomic_store_explicit(&(counter), atomic_load_explicit(&(counter), memory_order_relaxed) + (uint64_t)(n), memory_order_relaxed)
#define stat_set(counter, n) atomic_store_explicit(&(counter), (uint64_t)(n), memory_order_relaxed)
#define stat_get(counter) atomic_load_explicit(&(counter), memory_order_relaxed)

#endif
