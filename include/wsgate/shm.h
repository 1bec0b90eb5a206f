/*
 * shm: the segment. A file in runtime_dir that outlives every process; it begins with magic,
 * layout, size and id. Its space is allocated before it is used (posix_fallocate: a full tmpfs is
 * an error, not a SIGBUS).
 *
 *   header | bridge region | slot 0 | slot 1 | … | slot max_workers-1
 *   slot:   words (generation, bells, ring words, counters, services) | behind | routes | long
 * names | change list | crowd | up rings, two a lane | down ring
 *
 * The file is sparse: a slot's space is allocated when the slot is first used.
 * One writer per region: header: master, once, before the first fork. Bridge region, down rings'
 * heads, tails of up rings and change lists: the bridge. The rest of a slot: its worker. Room: ipc.
 */
#ifndef WSGATE_SHM_H
#define WSGATE_SHM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <wsgate/crowd.h>
#include <wsgate/history.h>
#include <wsgate/notes.h>
#include <wsgate/ring.h>
#include <wsgate/route.h>
#include <wsgate/stats.h>

#define SHM_MAGIC "wsgateSM"
#ifndef SHM_LAYOUT /* a test builds a program with another one */
#define SHM_LAYOUT 10
#endif
#define SHM_UP_RINGS 2 /* a dead worker's is drained while its successor uses the other */
#define SHM_STREAMS 16
/*
 * Ways up of a worker, so that what waits for one stream does not hold up what is for others: what
 * is for stream n goes by lane n % lanes. Rings go back as a prefix.
 */
#define SHM_LANES_MAX SHM_STREAMS
#define SHM_UP_MAX (SHM_LANES_MAX * SHM_UP_RINGS)

struct shm_sizes {
	uint32_t max_workers;
	uint32_t routes; /* per slot */
	uint32_t lanes;  /* 1 … SHM_LANES_MAX */
	uint32_t reserved;
	uint64_t up_size, down_size; /* bytes of a ring, powers of two */
};

struct shm_header {
	char magic[8];
	uint32_t layout;
	uint32_t header_size;
	uint64_t size;  /* of the file */
	uint8_t id[16]; /* random; begins every Nats-Msg-Id */
	struct shm_sizes sizes;
	uint64_t created_ms;
	uint32_t master_pid;
	uint32_t left; /* 1: another program has taken over from that master, whose last workers may
			  write here still */
	char version[32];
};

#define SHM_SERVER_MAX 256
enum shm_broker_state { SHM_BROKER_NEVER, SHM_BROKER_CONNECTED, SHM_BROKER_LOST };

/* What the workers of replaced programs counted, so that sums go on. Gauges mean nothing here. */
struct shm_before {
	_Atomic uint32_t taken; /* 1: stats of the bridge go on from those of its predecessor */
	struct worker_stats stats;
	struct stats_service services[STATS_SERVICES + 1];
};

#define SHM_STREAM_NAME 136
struct shm_stream_words {
	alignas(64) char name[SHM_STREAM_NAME]; /* written once, before the rest; "": none */
	/* Its incarnation: the epoch is one that no stream ever had, and goes up before created
	 * changes, so a bridge killed between the two raises it once more. */
	_Atomic uint32_t epoch;
	_Atomic uint32_t state;    /* enum shm_broker_state */
	_Atomic uint64_t since_ms; /* CLOCK_MONOTONIC */
	_Atomic uint64_t created;  /* ns since 1970, 0: never seen */
	_Atomic uint64_t last_seq; /* highest mark ever given, of this epoch */
	/* As of struct bridge_stats. */
	_Atomic uint64_t users, stored, delivered, removals_pending, reconnects;
	_Atomic uint64_t said_ms; /* CLOCK_MONOTONIC: the last beat, to others; 0: to nobody */
};

struct shm_bridge {
	alignas(64) _Atomic uint32_t epoch; /* the highest of all streams */
	_Atomic uint32_t broker_state;      /* one stream at least is connected */
	_Atomic uint64_t created;           /* as of the first stream */
	_Atomic uint64_t
		state_since_ms;       /* CLOCK_MONOTONIC: same boot, same clock for all processes */
	_Atomic uint64_t max_message; /* bytes a client may send: configuration and broker; 0 before
					 the first contact */
	_Atomic uint64_t last_seq;    /* as of the first stream */
	_Atomic uint64_t gateway;     /* its name among others, kept by successors; 0: none yet */
	struct shm_stream_words streams[SHM_STREAMS]; /* the configuration's, in its order */
	_Atomic uint32_t pid;
	_Atomic uint64_t started_ms;     /* since 1970 */
	_Atomic uint64_t beat_ms;        /* CLOCK_MONOTONIC: it lived then */
	_Atomic uint32_t server_version; /* odd: being written */
	char server[SHM_SERVER_MAX];     /* URL without credentials, terminated; "": none yet */
	struct bell bell;
	alignas(64) struct bridge_stats stats;
	struct process_stats process;
	struct notes notes;
	struct history history;
	struct shm_before before;
};

#define SHM_RETIRING 2
struct shm_slot {
	alignas(64) _Atomic uint64_t
		generation;   /* of the worker that owns the slot now; written by it first of all */
	_Atomic uint32_t pid; /* 0: it has ended well; also the bridge's, when nobody follows */
	_Atomic uint32_t draining; /* 1; or SHM_RETIRING: its last connections end by themselves */
	_Atomic uint32_t
		want_space; /* the worker waits for room in its up ring: ring after a release */
	_Atomic uint64_t started_ms;
	struct bell bell; /* the worker's */
	alignas(64) _Atomic uint32_t
		down_wanted; /* the bridge's: it waits for room in the down ring */
	_Atomic uint32_t behind[STATS_SERVICES + 1]; /* the bridge's: connections that are behind,
							by row of services */
	_Atomic uint64_t down_peak; /* the bridge's: most bytes that ever waited for the worker */
	_Atomic uint64_t buried; /* the bridge's: what clients confirmed to this generation, and to
				    those before it, was taken over */
	struct ring_words up[SHM_UP_MAX], down;
	struct changes_words changes;
	alignas(64) struct worker_stats stats;
	struct process_stats process;
	struct notes notes;
	struct stats_samples samples;
	struct stats_service services[STATS_SERVICES + 1];
};

struct shm { /* one process' view */
	void *base;
	size_t size;
	struct shm_header *header;
	struct shm_bridge *bridge;
};

/* The worker of generation g writes into these up rings: of each lane, the one g % SHM_UP_RINGS. */
#define shm_up_ring(generation) ((unsigned)((generation) % SHM_UP_RINGS))
#define shm_lane_ring(lane, generation) ((unsigned)(lane)*SHM_UP_RINGS + shm_up_ring(generation))
/* All of a slot's. */
static inline unsigned shm_up_rings(const struct shm *shm)
{
	return shm->header->sizes.lanes * SHM_UP_RINGS;
}

uint64_t shm_file_size(const struct shm_sizes *s);
/*
 * Makes the file (mode 0600, owned by uid:gid), allocates header and bridge region. Returns a
 * descriptor, or -1 with errno; nothing is left behind then.
 */
int shm_create(
	const char *path, const struct shm_sizes *s, const char *version, uid_t uid, gid_t gid);
/* Allocates the space of one slot and prepares its words; once per slot, before any process maps it
 * for use. 0 or -1 with errno. */
int shm_prepare_slot(int fd, unsigned slot);
/* Gives the space of the last prepared slot back, which no process has used. */
void shm_drop_slot(int fd, unsigned slot);
/* Maps a segment after checking magic, layout and size. 0, or -1: errno EPROTO for another layout
 * or a file that does not add up. */
int shm_map(struct shm *shm, int fd, bool writable);
void shm_unmap(struct shm *shm);
/*
 * Where the streams stood for the bridge of another segment, which no bridge serves any more: what
 * its connections' marks mean. Also of other layouts: these words keep their places at the
 * beginning of the bridge region, behind the header's pages. 0 or -1 with errno.
 */
struct shm_stream {
	char name[SHM_STREAM_NAME]; /* "": its layout is older than that; it is the only one */
	uint32_t epoch;
	uint64_t created, last_seq, said_ms;
	uint64_t lost_ms; /* CLOCK_MONOTONIC: without a session since then; 0: it had one */
};
struct shm_streams {
	uint32_t epoch, broker_state;
	uint64_t max_message;
	uint64_t gateway; /* 0: its layout is older than that */
	unsigned n;
	struct shm_stream v[SHM_STREAMS];
};
int shm_read_streams(int fd, struct shm_streams *out);
/* Reads the header alone, without mapping. 0 or -1 as above. */
int shm_read_header(int fd, struct shm_header *out);

struct shm_slot *shm_slot(const struct shm *shm, unsigned slot);
/* False: the slot was never prepared. */
bool shm_slot_used(const struct shm *shm, unsigned slot);
struct route_section shm_routes(const struct shm *shm, unsigned slot);
/* The bridge's: a bit for each route, set while the connection is behind. */
_Atomic uint32_t *shm_behind(const struct shm *shm, unsigned slot);
void shm_changes(const struct shm *shm, unsigned slot, struct changes *out);
/* Client addresses; the worker's. */
void shm_crowd(const struct shm *shm, unsigned slot, struct crowd *out);
void *shm_up_data(const struct shm *shm, unsigned slot, unsigned ring);
void *shm_down_data(const struct shm *shm, unsigned slot);

#endif
