#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

int view_open(struct shm *shm, const struct config *c)
{
	char path[4096];
	int fd, r;

	snprintf(path, sizeof(path), "%s/segment", c->runtime_dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		where_not_found(c, "segment", errno, strerror(errno),
			errno == EACCES ? " Root and the service's account may read it." : "");
		return -1;
	}
	r = shm_map(shm, fd, false);
	if (r < 0)
		fprintf(stderr, "wsgatectl: %s: %s\n", path,
			errno == EPROTO ? "made by another version of wsgated" : strerror(errno));
	close(fd);
	return r;
}

bool view_master_runs(const struct config *c, const struct shm *shm)
{
	pid_t master = where_master(c);
	const char *why;

	/* The pidfile of the configuration may be another one: see -p of wsgated(8). */
	return (master && (uint32_t)master == shm->header->master_pid) || order_answers(c, &why);
}

int view_take(struct snapshot *s, const struct config *c)
{
	struct shm shm;

	if (view_open(&shm, c) < 0)
		return -1;
	if (snapshot_take(s, &shm) < 0) {
		fprintf(stderr, "wsgatectl: out of memory\n");
		shm_unmap(&shm);
		return -1;
	}
	s->runs = view_master_runs(c, &shm);
	return 0;
}

void view_drop(struct snapshot *s)
{
	snapshot_free(s);
	shm_unmap(&s->shm);
}
