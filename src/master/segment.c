/*
 * segment: see segment.h. The folder belongs to the service user: nothing in it is trusted, and
 * links are not followed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <wsgate/log.h>
#include <wsgate/record.h>

#include "segment.h"

#define SEGMENT_LINK "segment"
#define SEGMENT_PREFIX "segment."
#define SEGMENT_NEW ".segment.new"
#define SEGMENT_LINK_NEW ".segment.link"
#define SEGMENT_UP_MIN (UINT64_C(1) << 20)
#define SEGMENT_DOWN_MIN (UINT64_C(4) << 20)

__attribute__((format(printf, 3, 4))) static int complain(
	char *err, size_t errlen, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, errlen, fmt, ap);
	va_end(ap);
	return -1;
}

/* ---- sizes ---- */

/* Beside the message a record holds names, or as many references as fit into one. */
#define SEGMENT_RECORD_MORE (sizeof(struct down_message) + DOWN_REFS_MAX * sizeof(struct down_ref))
_Static_assert(sizeof(struct up_record) + 2 * TOKEN_MAX <= SEGMENT_RECORD_MORE, "the larger one");

static uint64_t segment_ring_size(uint64_t max_message, uint64_t least)
{
	uint64_t size = least;

	while (ring_max_record(size) < max_message + SEGMENT_RECORD_MORE)
		size *= 2;
	return size;
}

/* SO_REUSEPORT spreads unevenly: a quarter more than its share for each slot. */
void segment_sizes(const struct config *c, unsigned nslots, struct shm_sizes *out)
{
	uint64_t share = ((uint64_t)c->max_connections + nslots - 1) / nslots;

	memset(out, 0, sizeof(*out));
	out->max_workers = c->max_workers > nslots ? c->max_workers : nslots;
	out->routes = (uint32_t)(share + (share + 3) / 4 + 256);
	out->lanes = (uint32_t)config_streams(c);
	out->up_size = segment_ring_size(c->max_message, SEGMENT_UP_MIN);
	out->down_size = segment_ring_size(c->max_message, SEGMENT_DOWN_MIN);
}

/* ---- the folder ---- */

static int segment_make_dir(const char *path, uid_t uid, gid_t gid)
{
	int fd, saved;

	if (mkdir(path, 0750) < 0 && errno != EEXIST)
		return -1;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -1;
	/* By descriptor: the umask may have taken bits away, and the name may be swapped by now. */
	if (fchmod(fd, 0750) == 0 && (geteuid() != 0 || fchown(fd, uid, gid) == 0))
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static int segment_open_dir(const char *path, uid_t uid, gid_t gid)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 && errno == ENOENT ? segment_make_dir(path, uid, gid) : fd;
}

int segment_dir(
	struct segment *s, const struct config *c, uid_t uid, gid_t gid, char *err, size_t errlen)
{
	const char *dir = c->runtime_dir;
	struct stat st;

	memset(s, 0, sizeof(*s));
	s->fd = s->predecessor = -1;
	s->dir = segment_open_dir(dir, uid, gid);
	if (s->dir < 0 || fstat(s->dir, &st) < 0)
		return complain(err, errlen,
			"runtime_dir %s: %s; make the folder, or name one that can be made", dir,
			strerror(errno));
	if (st.st_mode & S_IWOTH)
		return complain(err, errlen,
			"runtime_dir %s: everybody may write there; name a folder of its own", dir);
	return 0;
}

int segment_lock(struct segment *s, const struct config *c, char *err, size_t errlen)
{
	if (flock(s->dir, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return complain(err, errlen,
			"runtime_dir %s: another wsgated uses it; stop that one, or give this one "
			"its own runtime_dir and pidfile",
			c->runtime_dir);
	return complain(err, errlen,
		"runtime_dir %s: cannot lock it: %s; name one on another file system",
		c->runtime_dir, strerror(errno));
}

/* ---- what dead masters left ---- */

static int segment_open_stale(const struct segment *s, const char *name)
{
	struct shm_header h;
	struct stat st;
	int saved,
		fd = openat(s->dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1) {
		if (shm_read_header(fd, &h) == 0)
			return fd;
	} else {
		errno = EPROTO;
	}
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static bool segment_known(const struct segment *s, const char *name)
{
	for (size_t i = 0; i < s->nstale; i++)
		if (s->stale[i].fd >= 0 && strcmp(s->stale[i].name, name) == 0)
			return true;
	return strcmp(s->name, name) == 0;
}

static void segment_add_stale(struct segment *s, const char *name)
{
	struct segment_stale *st = &s->stale[s->nstale];
	struct shm_header h;
	int fd;

	if (segment_known(s, name))
		return;
	if (s->nstale == HERITAGE_STALE_MAX || strlen(name) >= sizeof(st->name)) {
		log_warn("an older segment is left for the next start", kv_str("file", name));
		return;
	}
	fd = segment_open_stale(s, name);
	if (fd < 0 && errno == EPROTO)
		log_warn("not a segment of this version: left alone; it may hold messages of "
			 "clients, "
			 "which the version that made it can still send",
			kv_str("file", name));
	else if (fd < 0)
		log_warn("an older segment cannot be opened: left alone", kv_str("file", name),
			kv_errno(errno));
	if (fd < 0)
		return;
	st->fd = fd;
	st->created_ms = shm_read_header(fd, &h) < 0 ? 0 : h.created_ms;
	strcpy(st->name, name);
	s->nstale++;
	if (s->predecessor < 0)
		log_info("found the segment of a gateway that did not end well",
			kv_str("file", name));
}

static int segment_older(const void *a, const void *b)
{
	uint64_t x = ((const struct segment_stale *)a)->created_ms;
	uint64_t y = ((const struct segment_stale *)b)->created_ms;

	return (x > y) - (x < y);
}

static int segment_scan(struct segment *s)
{
	struct dirent *e;
	DIR *d;
	int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	errno = 0;
	while ((e = readdir(d))) {
		if (strncmp(e->d_name, SEGMENT_PREFIX, strlen(SEGMENT_PREFIX)) == 0)
			segment_add_stale(s, e->d_name);
		errno = 0;
	}
	fd = errno;
	closedir(d);
	errno = fd;
	return fd ? -1 : 0;
}

static int segment_find_stale(struct segment *s)
{
	char old[SEGMENT_NAME_MAX] = "";

	if (s->predecessor >= 0)
		strcpy(old, s->stale[s->predecessor].name);
	if (segment_scan(s) < 0)
		return -1;
	qsort(s->stale, s->nstale, sizeof(s->stale[0]), segment_older);
	for (size_t i = 0; i < s->nstale; i++)
		if (strcmp(s->stale[i].name, old) == 0)
			s->predecessor = (int)i;
	return 0;
}

void segment_stale_drained(struct segment *s, size_t i)
{
	struct segment_stale *st = &s->stale[i];

	if (i >= s->nstale || st->fd < 0)
		return;
	/* ENOENT: the master that we replaced was quicker. */
	if (unlinkat(s->dir, st->name, 0) < 0 && errno != ENOENT)
		log_warn("cannot remove an older segment", kv_str("file", st->name),
			kv_errno(errno));
	else
		log_info("removed an older segment: its messages are stored",
			kv_str("file", st->name));
	close(st->fd);
	st->fd = -1;
	if (s->predecessor == (int)i)
		s->predecessor = -1;
}

/* ---- ours ---- */

/* Under a passing name first: the true one is in the header. */
static int segment_create(struct segment *s, const char *dir, uid_t uid, gid_t gid)
{
	struct shm_header h;
	char path[PATH_MAX];
	size_t n;

	if (snprintf(path, sizeof(path), "%s/%s", dir, SEGMENT_NEW) >= (int)sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (unlinkat(s->dir, SEGMENT_NEW, 0) < 0 && errno != ENOENT)
		return -1;
	s->fd = shm_create(path, &s->sizes, WSGATE_VERSION, uid, gid);
	if (s->fd < 0)
		return -1;
	strcpy(s->name, SEGMENT_NEW);
	if (shm_read_header(s->fd, &h) < 0)
		return -1;
	strcpy(s->name, SEGMENT_PREFIX);
	n = strlen(s->name);
	for (size_t i = 0; i < sizeof(h.id); i++, n += 2)
		snprintf(s->name + n, sizeof(s->name) - n, "%02x", h.id[i]);
	if (renameat(s->dir, SEGMENT_NEW, s->dir, s->name) == 0)
		return 0;
	strcpy(s->name, SEGMENT_NEW);
	return -1;
}

int segment_publish(struct segment *s)
{
	if (unlinkat(s->dir, SEGMENT_LINK_NEW, 0) < 0 && errno != ENOENT)
		return -1;
	if (symlinkat(s->name, s->dir, SEGMENT_LINK_NEW) < 0)
		return -1;
	if (renameat(s->dir, SEGMENT_LINK_NEW, s->dir, SEGMENT_LINK) < 0)
		return -1;
	s->linked = true;
	return 0;
}

void segment_shrink(struct segment *s, unsigned nslots)
{
	while (s->nslots > nslots)
		shm_drop_slot(s->fd, --s->nslots);
}

int segment_grow(
	struct segment *s, const struct config *c, unsigned nslots, char *err, size_t errlen)
{
	unsigned before = s->nslots;

	for (; s->nslots < nslots; s->nslots++) {
		if (shm_prepare_slot(s->fd, s->nslots) == 0)
			continue;
		complain(err, errlen,
			"runtime_dir %s: cannot allocate %llu bytes of shared memory: %s; free or "
			"add space, or lower max_connections, max_message or workers",
			c->runtime_dir,
			(unsigned long long)(shm_file_size(&s->sizes) / s->sizes.max_workers *
					     nslots),
			strerror(errno));
		segment_shrink(s, before);
		return -1;
	}
	return 0;
}

int segment_open(struct segment *s, const struct config *c, unsigned nslots, uid_t uid, gid_t gid,
	char *err, size_t errlen)
{
	const char *dir = c->runtime_dir;

	segment_sizes(c, nslots, &s->sizes);
	if (segment_find_stale(s) < 0)
		return complain(
			err, errlen, "runtime_dir %s: cannot read it: %s", dir, strerror(errno));
	if (segment_create(s, dir, uid, gid) < 0)
		return complain(err, errlen,
			"runtime_dir %s: cannot make the shared-memory file: %s; it needs space, "
			"and a file system that can allocate it",
			dir, strerror(errno));
	return segment_grow(s, c, nslots, err, errlen);
}

/* Nobody lives who could write: only now may the master look inside. */
static bool segment_empty(int fd, unsigned nslots)
{
	struct shm shm;
	bool empty = true;

	if (nslots == 0)
		return true; /* no slot was ever used */
	if (shm_map(&shm, fd, false) < 0)
		return false;
	for (unsigned i = 0; i < nslots && shm_slot_used(&shm, i); i++)
		for (unsigned r = 0; r < shm_up_rings(&shm); r++)
			empty = empty && ring_used(&shm_slot(&shm, i)->up[r]) == 0;
	shm_unmap(&shm);
	return empty;
}

/* All but the descriptors. */
static void segment_remove(struct segment *s)
{
	if (s->fd < 0)
		return;
	if (s->left) { /* what is in it, the new program reads */
		if (segment_empty(s->fd, s->nslots))
			(void)unlinkat(s->dir, s->name, 0);
		return;
	}
	if (segment_empty(s->fd, s->nslots))
		(void)unlinkat(s->dir, s->name, 0);
	else
		log_warn("messages of clients are not stored yet: the next start will send them",
			kv_str("file", s->name));
	if (s->linked)
		(void)unlinkat(s->dir, SEGMENT_LINK, 0);
}

/* The lock is that of the descriptor that both have: it is to end with the other one. */
void segment_leave(struct segment *s)
{
	int dir = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const uint32_t left = 1;

	s->left = true;
	if (pwrite(s->fd, &left, sizeof(left), offsetof(struct shm_header, left)) != sizeof(left))
		log_warn("cannot note that another program has taken over", kv_errno(errno));
	if (dir < 0) {
		log_warn("keeps the lock of runtime_dir until it ends", kv_errno(errno));
		return;
	}
	close(s->dir);
	s->dir = dir;
}

void segment_close(struct segment *s)
{
	segment_remove(s);
	if (s->fd >= 0)
		close(s->fd);
	for (size_t i = 0; i < s->nstale; i++)
		if (s->stale[i].fd >= 0)
			close(s->stale[i].fd);
	if (s->dir >= 0)
		close(s->dir);
	s->fd = s->dir = -1;
	s->nstale = 0;
}

/* ---- from one master to the next ---- */

/*
 * The old program may have another layout. Then it goes on only when its bridge has stored all, and
 * we read no more than where the stream stood. Of our own layout: nothing is added here.
 */
static int segment_add_foreign(struct segment *s, const char *name)
{
	struct segment_stale *st = &s->stale[0];
	struct shm_header h;
	struct shm_streams streams;
	int fd = openat(s->dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return -1;
	st->foreign = shm_read_header(fd, &h) < 0;
	if (!st->foreign || shm_read_streams(fd, &streams) < 0) {
		int saved = errno;

		close(fd);
		errno = saved;
		return st->foreign ? -1 : 0;
	}
	st->fd = fd;
	snprintf(st->name, sizeof(st->name), "%s", name);
	s->nstale = 1;
	log_info("the running program has another layout of shared memory: it stores all before "
		 "this one serves",
		kv_str("file", name));
	return 0;
}

int segment_inherit(struct segment *s, int dir, const char *name, char *err, size_t errlen)
{
	memset(s, 0, sizeof(*s));
	s->fd = -1;
	s->dir = dir;
	s->predecessor = 0;
	if (segment_add_foreign(s, name) < 0)
		return complain(err, errlen,
			"the shared-memory file of the running program cannot be read: %s",
			strerror(errno));
	if (!s->stale[0].foreign)
		segment_add_stale(s, name);
	if (s->nstale == 1)
		return 0;
	return complain(
		err, errlen, "the shared-memory file of the running program cannot be opened");
}

bool segment_stored(const struct segment *s)
{
	return segment_empty(s->fd, s->nslots);
}

void segment_forget_predecessor(struct segment *s)
{
	struct segment_stale *st = &s->stale[s->predecessor];

	close(st->fd);
	st->fd = -1;
	s->predecessor = -1;
}

/* Behind the others: where these are in the list is known to the bridge. */
void segment_find_failed(struct segment *s, pid_t master)
{
	size_t before = s->nstale;
	struct shm_header h;

	if (segment_scan(s) < 0)
		log_warn("cannot look for what the new program left", kv_errno(errno));
	for (size_t i = before; i < s->nstale;) {
		struct segment_stale *st = &s->stale[i];

		if (shm_read_header(st->fd, &h) < 0 || h.master_pid != (uint32_t)master ||
			!segment_empty(st->fd, h.sizes.max_workers)) {
			i++;
			continue;
		}
		(void)unlinkat(s->dir, st->name, 0);
		close(st->fd);
		*st = s->stale[--s->nstale];
	}
}

static bool is_locked(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

bool segment_locked(const struct segment *s)
{
	return is_locked(s->fd);
}

bool segment_predecessor_locked(const struct segment *s)
{
	return s->predecessor >= 0 && is_locked(s->stale[s->predecessor].fd);
}
