/*
 * local: see local.h. The folder may belong to somebody else: nothing is done to the name once the
 * socket is there. Mode and group come with its birth.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "local.h"

/* Its folder, and the name in it. */
static int local_dir(const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	char dir[512];

	*name = slash + 1;
	if (snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path) + 1, path) >= (int)sizeof(dir)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* By descriptor: a path may be longer than an address. */
static int local_address(int dir, const char *name, struct sockaddr_un *un)
{
	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	if (snprintf(un->sun_path, sizeof(un->sun_path), "/proc/self/fd/%d/%s", dir, name) <
		(int)sizeof(un->sun_path))
		return 0;
	errno = ENAMETOOLONG;
	return -1;
}

/* 0: the name is free now. */
static int local_clear(int fd, int dir, const char *name, const struct sockaddr_un *un)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -1;
	if (!S_ISSOCK(st.st_mode)) {
		errno = EEXIST;
		return -1;
	}
	/* EAGAIN: it listens, and its queue is full. */
	if (connect(fd, (const struct sockaddr *)un, sizeof(*un)) == 0 || errno == EAGAIN) {
		errno = EADDRINUSE;
		return -1;
	}
	if (errno != ECONNREFUSED)
		return -1;
	return unlinkat(dir, name, 0) < 0 && errno != ENOENT ? -1 : 0;
}

int local_bind(int fd, const struct sockaddr_un *un, gid_t gid)
{
	bool root = geteuid() == 0 && gid != (gid_t)-1;
	gid_t own = getegid();
	mode_t mask;
	int r, saved;

	if (root && setegid(gid) < 0)
		return -1;
	mask = umask(0117);
	r = bind(fd, (const struct sockaddr *)un, sizeof(*un));
	saved = errno;
	umask(mask);
	if (root && setegid(own) < 0)
		return -1;
	errno = saved;
	return r;
}

static int local_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

int local_open(const char *path, gid_t gid)
{
	struct sockaddr_un un;
	const char *name;
	int dir = local_dir(path, &name), fd = -1, probe = -1, saved;

	if (dir < 0)
		return -1;
	probe = local_socket();
	if (probe < 0 || local_address(dir, name, &un) < 0 ||
		local_clear(probe, dir, name, &un) < 0)
		goto done;
	fd = local_socket();
	if (fd >= 0 && local_bind(fd, &un, gid) < 0) {
		saved = errno;
		close(fd);
		errno = saved;
		fd = -1;
	}
done:
	saved = errno;
	if (probe >= 0)
		close(probe);
	close(dir);
	errno = saved;
	return fd;
}

void local_unlink(const char *path)
{
	const char *name;
	int dir = local_dir(path, &name);
	struct stat st;

	if (dir < 0)
		return;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode))
		(void)unlinkat(dir, name, 0);
	close(dir);
}
