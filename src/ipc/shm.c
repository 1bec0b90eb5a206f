#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <wsgate/clock.h>
#include <wsgate/shm.h>

#define PAGE 4096u /* of the layout; the kernel's may be larger */

/* See shm_read_streams(): other versions of the program read these. */
#define STREAM_SIZE 48
#define GATEWAY_LAYOUT 6  /* the first one that has a gateway's name, */
#define STREAMS_LAYOUT 10 /* and streams */
#define STREAMS_SIZE offsetof(struct shm_bridge, pid)
_Static_assert(offsetof(struct shm_bridge, epoch) == 0 &&
		       offsetof(struct shm_bridge, broker_state) == 4 &&
		       offsetof(struct shm_bridge, created) == 8 &&
		       offsetof(struct shm_bridge, max_message) == 24 &&
		       offsetof(struct shm_bridge, last_seq) == 32 &&
		       offsetof(struct shm_bridge, gateway) == 40 &&
		       offsetof(struct shm_bridge, streams) == 64 &&
		       sizeof(struct shm_stream_words) == 256 &&
		       offsetof(struct shm_stream_words, epoch) == 136 &&
		       offsetof(struct shm_stream_words, created) == 152 &&
		       offsetof(struct shm_stream_words, last_seq) == 160 &&
		       offsetof(struct shm_stream_words, said_ms) == 208,
	"stable over layouts");

/* Offsets within a slot; all page-aligned. */
struct slot_layout {
	uint64_t behind, ids, routes, longs, changes, crowd, up[SHM_UP_MAX], down, size;
};

static uint64_t page_up(uint64_t n)
{
	return (n + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

static struct slot_layout shm_layout(const struct shm_sizes *s)
{
	struct slot_layout l;
	uint64_t at = page_up(sizeof(struct shm_slot));

	l.ids = at;
	at += page_up((uint64_t)s->routes * sizeof(uint64_t));
	l.behind = at;
	at += page_up(((uint64_t)s->routes + 31) / 32 * sizeof(uint32_t));
	l.routes = at;
	at += page_up((uint64_t)s->routes * sizeof(struct route));
	l.longs = at;
	at += page_up((uint64_t)s->routes * ROUTE_LONG);
	l.changes = at;
	at += page_up((uint64_t)changes_size_for(s->routes) * sizeof(uint32_t));
	l.crowd = at;
	at += page_up((uint64_t)crowd_size_for(s->routes) * sizeof(struct crowd_entry));
	for (unsigned i = 0; i < s->lanes * SHM_UP_RINGS; i++) {
		l.up[i] = at;
		at += s->up_size;
	}
	l.down = at;
	l.size = at + s->down_size;
	return l;
}

static uint64_t shm_slots_at(void)
{
	return page_up(sizeof(struct shm_header)) + page_up(sizeof(struct shm_bridge));
}

uint64_t shm_file_size(const struct shm_sizes *s)
{
	return shm_slots_at() + s->max_workers * shm_layout(s).size;
}

static bool shm_sizes_valid(const struct shm_sizes *s)
{
	return s->max_workers >= 1 && s->max_workers <= 4096 && s->routes >= 1 &&
	       s->routes <= 1u << 28 && s->lanes >= 1 && s->lanes <= SHM_LANES_MAX &&
	       s->up_size >= PAGE && s->up_size <= 1ull << 32 && !(s->up_size & (s->up_size - 1)) &&
	       s->down_size >= PAGE && s->down_size <= 1ull << 32 &&
	       !(s->down_size & (s->down_size - 1));
}

static int write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	for (off_t at = 0; len;) {
		ssize_t n = pwrite(fd, p, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

/* 0 or what went wrong. On a tmpfs any signal ends it. */
static int allocate(int fd, uint64_t at, uint64_t size)
{
	int err;

	do
		err = posix_fallocate(fd, (off_t)at, (off_t)size);
	while (err == EINTR);
	return err;
}

static int shm_fill(int fd, const struct shm_sizes *s, const char *version)
{
	struct shm_header h;
	int err;

	memset(&h, 0, sizeof(h));
	memcpy(h.magic, SHM_MAGIC, sizeof(h.magic));
	h.layout = SHM_LAYOUT;
	h.header_size = sizeof(h);
	h.size = shm_file_size(s);
	if (getrandom(h.id, sizeof(h.id), 0) != sizeof(h.id))
		return -1;
	h.sizes = *s;
	h.created_ms = clock_ms(CLOCK_REALTIME);
	h.master_pid = (uint32_t)getpid();
	strncpy(h.version, version, sizeof(h.version) - 1);
	if (ftruncate(fd, (off_t)h.size) < 0)
		return -1;
	err = allocate(fd, 0, shm_slots_at());
	if (err) {
		errno = err;
		return -1;
	}
	return write_all(fd, &h, sizeof(h));
}

int shm_create(
	const char *path, const struct shm_sizes *s, const char *version, uid_t uid, gid_t gid)
{
	int fd, saved;

	if (!shm_sizes_valid(s)) {
		errno = EINVAL;
		return -1;
	}
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -1;
	if (shm_fill(fd, s, version) == 0 && (geteuid() != 0 || fchown(fd, uid, gid) == 0))
		return fd;
	saved = errno;
	unlink(path);
	close(fd);
	errno = saved;
	return -1;
}

static int shm_check(const struct shm_header *h, uint64_t file_size)
{
	if (memcmp(h->magic, SHM_MAGIC, sizeof(h->magic)) || h->layout != SHM_LAYOUT ||
		h->header_size != sizeof(*h) || !shm_sizes_valid(&h->sizes) ||
		h->size != shm_file_size(&h->sizes) || h->size > file_size) {
		errno = EPROTO;
		return -1;
	}
	return 0;
}

int shm_read_header(int fd, struct shm_header *out)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return -1;
	n = pread(fd, out, sizeof(*out), 0);
	if (n < 0)
		return -1;
	if (n != sizeof(*out)) {
		errno = EPROTO;
		return -1;
	}
	return shm_check(out, (uint64_t)st.st_size);
}

/* Bytes of the region there; 0: it is not one of ours. */
static size_t streams_size(const struct shm_header *h)
{
	if (memcmp(h->magic, SHM_MAGIC, sizeof(h->magic)) != 0)
		return 0;
	return h->layout >= STREAMS_LAYOUT ? STREAMS_SIZE : STREAM_SIZE;
}

static void take_stream(struct shm_stream *out, const struct shm_stream_words *w)
{
	memcpy(out->name, w->name, sizeof(out->name));
	out->name[sizeof(out->name) - 1] = '\0';
	out->epoch = stat_get(w->epoch);
	out->created = stat_get(w->created);
	out->last_seq = stat_get(w->last_seq);
	out->said_ms = stat_get(w->said_ms);
	if (stat_get(w->state) == SHM_BROKER_LOST)
		out->lost_ms = stat_get(w->since_ms);
}

int shm_read_streams(int fd, struct shm_streams *out)
{
	static struct shm_bridge b; /* too large for the stack */
	struct shm_header h;
	size_t size;

	memset(&h, 0, sizeof(h));
	/* One of another layout may have a shorter header; its first fields keep their places. */
	if (pread(fd, &h, sizeof(h), 0) != sizeof(h) || (size = streams_size(&h)) == 0 ||
		pread(fd, &b, size, (off_t)page_up(h.header_size)) != (ssize_t)size) {
		errno = EPROTO;
		return -1;
	}
	memset(out, 0, sizeof(*out));
	out->epoch = stat_get(b.epoch);
	out->broker_state = stat_get(b.broker_state);
	out->max_message = stat_get(b.max_message);
	out->gateway = h.layout >= GATEWAY_LAYOUT ? stat_get(b.gateway) : 0;
	if (h.layout < STREAMS_LAYOUT) {
		out->v[0].epoch = out->epoch;
		out->v[0].created = stat_get(b.created);
		out->v[0].last_seq = stat_get(b.last_seq);
		out->n = out->v[0].created != 0;
		return 0;
	}
	for (unsigned i = 0; i < SHM_STREAMS && b.streams[i].name[0]; i++)
		take_stream(&out->v[out->n++], &b.streams[i]);
	return 0;
}

/* The kernel's pages may be larger than ours: what is to be unmapped begins at *base. NULL: errno.
 */
static struct shm_slot *map_words(int fd, uint64_t at, void **base, size_t *size)
{
	size_t before = at % (uint64_t)sysconf(_SC_PAGESIZE);

	*size = before + sizeof(struct shm_slot);
	*base = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(at - before));
	return *base == MAP_FAILED ? NULL : (struct shm_slot *)(void *)((char *)*base + before);
}

int shm_prepare_slot(int fd, unsigned slot)
{
	struct shm_header h;
	struct slot_layout l;
	struct shm_slot *words;
	uint64_t at;
	size_t size;
	void *base;
	int err;

	if (shm_read_header(fd, &h) < 0)
		return -1;
	if (slot >= h.sizes.max_workers) {
		errno = EINVAL;
		return -1;
	}
	l = shm_layout(&h.sizes);
	at = shm_slots_at() + slot * l.size;
	err = allocate(fd, at, l.size);
	if (err) {
		errno = err;
		return -1;
	}
	words = map_words(fd, at, &base, &size);
	if (!words)
		return -1;
	for (unsigned i = 0; i < SHM_UP_MAX; i++)
		ring_init(&words->up[i]);
	ring_init(&words->down);
	munmap(base, size);
	return 0;
}

/* Trap: others read in the words whether it is used. Their pages stay: to read a hole takes a page
 * of a tmpfs, and where none is left that is SIGBUS. */
void shm_drop_slot(int fd, unsigned slot)
{
	struct shm_header h;
	struct slot_layout l;
	struct shm_slot *words;
	uint64_t at, from;
	size_t size;
	void *base;

	if (shm_read_header(fd, &h) < 0 || slot >= h.sizes.max_workers)
		return;
	l = shm_layout(&h.sizes);
	at = shm_slots_at() + slot * l.size;
	words = map_words(fd, at, &base, &size);
	if (!words)
		return;
	memset(words, 0, sizeof(*words));
	munmap(base, size);
	from = at + page_up(sizeof(*words)); /* of a page in part the kernel leaves the page */
	while (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
		       (off_t)(at + l.size - from)) < 0 &&
		errno == EINTR)
		;
}

int shm_map(struct shm *shm, int fd, bool writable)
{
	struct shm_header h;

	if (shm_read_header(fd, &h) < 0)
		return -1;
	shm->size = h.size;
	shm->base = mmap(
		NULL, shm->size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
	if (shm->base == MAP_FAILED) {
		shm->base = NULL;
		return -1;
	}
	shm->header = shm->base;
	shm->bridge = (struct shm_bridge *)((char *)shm->base + page_up(sizeof(struct shm_header)));
	return 0;
}

void shm_unmap(struct shm *shm)
{
	if (shm->base)
		munmap(shm->base, shm->size);
	memset(shm, 0, sizeof(*shm));
}

static char *slot_at(const struct shm *shm, unsigned slot)
{
	return (char *)shm->base + shm_slots_at() + slot * shm_layout(&shm->header->sizes).size;
}

struct shm_slot *shm_slot(const struct shm *shm, unsigned slot)
{
	return (struct shm_slot *)slot_at(shm, slot);
}

bool shm_slot_used(const struct shm *shm, unsigned slot)
{
	/* ring_init() leaves RING_START: a slot that was never prepared is a hole of zeros. */
	return slot < shm->header->sizes.max_workers &&
	       atomic_load_explicit(&shm_slot(shm, slot)->down.head, memory_order_acquire) != 0;
}

struct route_section shm_routes(const struct shm *shm, unsigned slot)
{
	struct slot_layout l = shm_layout(&shm->header->sizes);
	char *at = slot_at(shm, slot);

	return (struct route_section){(struct route *)(at + l.routes), at + l.longs,
		(uint64_t *)(void *)(at + l.ids), shm->header->sizes.routes};
}

_Atomic uint32_t *shm_behind(const struct shm *shm, unsigned slot)
{
	return (_Atomic uint32_t *)(void *)(slot_at(shm, slot) +
					    shm_layout(&shm->header->sizes).behind);
}

void shm_changes(const struct shm *shm, unsigned slot, struct changes *out)
{
	struct slot_layout l = shm_layout(&shm->header->sizes);

	out->words = &shm_slot(shm, slot)->changes;
	out->list = (_Atomic uint32_t *)(void *)(slot_at(shm, slot) + l.changes);
	out->size = changes_size_for(shm->header->sizes.routes);
	out->pushed = NULL;
}

void shm_crowd(const struct shm *shm, unsigned slot, struct crowd *out)
{
	const struct shm_header *h = shm->header;

	out->entries =
		(struct crowd_entry *)(void *)(slot_at(shm, slot) + shm_layout(&h->sizes).crowd);
	out->size = crowd_size_for(h->sizes.routes);
	memcpy(&out->secret, h->id, sizeof(out->secret));
}

void *shm_up_data(const struct shm *shm, unsigned slot, unsigned ring)
{
	return slot_at(shm, slot) + shm_layout(&shm->header->sizes).up[ring];
}

void *shm_down_data(const struct shm *shm, unsigned slot)
{
	return slot_at(shm, slot) + shm_layout(&shm->header->sizes).down;
}
