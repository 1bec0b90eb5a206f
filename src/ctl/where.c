#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

/* The lock is of an open file description and says no pid (daemon.h): the text does. */
pid_t where_master(const struct config *c)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = open(c->pidfile, O_RDONLY | O_CLOEXEC), r;
	char text[32];
	ssize_t n;

	if (fd < 0)
		return 0;
	n = pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	r = fcntl(fd, F_GETLK, &lock);
	close(fd);
	return r == 0 && lock.l_type != F_UNLCK ? (pid_t)strtol(text, NULL, 10) : 0;
}

/* The folder of the segment that the master holds open. False: we may not look, or there is none.
 */
static bool where_runs(pid_t master, char *dir, size_t size)
{
	char name[300], *slash;
	bool found = false;
	struct dirent *e;
	ssize_t n;
	DIR *d;

	snprintf(name, sizeof(name), "/proc/%" PRIdMAX "/fd", (intmax_t)master);
	d = opendir(name);
	while (d && !found && (e = readdir(d))) {
		n = readlinkat(dirfd(d), e->d_name, dir, size - 1);
		if (n <= 0)
			continue;
		dir[n] = '\0';
		slash = strrchr(dir, '/');
		found = slash && slash > dir && strncmp(slash, "/segment.", 9) == 0;
		if (found)
			*slash = '\0';
	}
	if (d)
		closedir(d);
	return found;
}

void where_not_found(
	const struct config *c, const char *name, int error, const char *why, const char *hint)
{
	char dir[4096], real[PATH_MAX];
	pid_t master = where_master(c);
	bool known = master && where_runs(master, dir, sizeof(dir));

	if (known && realpath(c->runtime_dir, real) && strcmp(real, dir) == 0)
		master = 0; /* there it is, but it does not answer */
	if (!known && error != ENOENT && error != ECONNREFUSED)
		master = 0; /* there something is, and whose we may not see */
	fprintf(stderr, "wsgatectl: %s/%s: %s; ", c->runtime_dir, name, why);
	if (!master)
		fprintf(stderr, "is wsgated running, and is runtime_dir the same?%s\n", hint);
	else
		fprintf(stderr,
			"wsgated runs (pid %" PRIdMAX
			") with another runtime_dir: until its restart use -o runtime_dir=%s\n",
			(intmax_t)master, known ? dir : "DIRECTORY, with the old one");
}
