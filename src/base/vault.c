/*
 * vault: see vault.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wsgate/vault.h>

#ifdef MFD_NOEXEC_SEAL
#define NOEXEC_SEAL MFD_NOEXEC_SEAL
#else
#define NOEXEC_SEAL 8u
#endif

/* In the file: this, the path, the bytes. */
struct piece {
	uint32_t path_len, len;
};

const struct secret *vault_find(const struct vault *s, const char *path)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->v[i].path, path) == 0)
			return &s->v[i];
	return NULL;
}

/* Takes path and data, also when it fails. */
static int keep(struct vault *s, char *path, uint8_t *data, size_t len)
{
	struct secret *v = path && data ? reallocarray(s->v, s->n + 1, sizeof(*v)) : NULL;

	if (v) {
		s->v = v;
		s->v[s->n++] = (struct secret){path, data, len};
		return 0;
	}
	if (data)
		explicit_bzero(data, len);
	free(path);
	free(data);
	errno = ENOMEM;
	return -1;
}

void vault_free(struct vault *s)
{
	for (size_t i = 0; i < s->n; i++) {
		explicit_bzero(s->v[i].data, s->v[i].len);
		free(s->v[i].data);
		free(s->v[i].path);
	}
	free(s->v);
	*s = (struct vault){0, NULL};
}

/* The number of bytes, less than len at the end of the file; -1 with errno. */
static ssize_t read_all(int fd, void *buf, size_t len)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = read(fd, (char *)buf + got, len - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

static int add_open(struct vault *s, const char *path, int fd)
{
	uint8_t *data;
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return -1;
	errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
	if (!S_ISREG(st.st_mode))
		return -1;
	data = malloc(SECRET_MAX + 1);
	n = data ? read_all(fd, data, SECRET_MAX + 1) : -1;
	if (n < 0 || n > SECRET_MAX) {
		int saved = n < 0 ? errno : EFBIG;

		if (data)
			explicit_bzero(data, SECRET_MAX + 1);
		free(data);
		errno = saved;
		return -1;
	}
	data[n] = '\0';
	return keep(s, strdup(path), data, (size_t)n);
}

int vault_add(struct vault *s, const char *path, char *err, size_t errlen)
{
	int fd, r;

	if (vault_find(s, path))
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	r = fd < 0 ? -1 : add_open(s, path, fd);
	if (r < 0)
		snprintf(err, errlen, "%s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return r;
}

static bool write_all(int fd, const void *buf, size_t len)
{
	size_t put = 0;

	while (put < len) {
		ssize_t n = write(fd, (const char *)buf + put, len - put);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		put += (size_t)n;
	}
	return true;
}

int vault_write(const struct vault *s)
{
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create("wsgate secrets", flags | NOEXEC_SEAL), saved;
	bool good;

	/* Kernels before 6.3 do not know it; later ones may demand it (vm.memfd_noexec). */
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("wsgate secrets", flags);
	good = fd >= 0;
	for (size_t i = 0; good && i < s->n; i++) {
		struct piece p = {(uint32_t)strlen(s->v[i].path), (uint32_t)s->v[i].len};

		good = write_all(fd, &p, sizeof(p)) && write_all(fd, s->v[i].path, p.path_len) &&
		       write_all(fd, s->v[i].data, p.len);
	}
	if (good && fcntl(fd, F_ADD_SEALS,
			    F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	saved = errno;
	if (fd >= 0)
		close(fd);
	errno = saved;
	return -1;
}

static int read_exactly(int fd, void *data, size_t len)
{
	ssize_t n = read_all(fd, data, len);

	if (n >= 0 && n != (ssize_t)len)
		errno = EBADMSG;
	return n == (ssize_t)len ? 0 : -1;
}

/* 1: one was read; 0: the end; -1: errno. */
static int read_piece(struct vault *s, int fd)
{
	struct piece p;
	ssize_t n = read_all(fd, &p, sizeof(p));
	uint8_t *data;
	char *path;

	if (n <= 0)
		return (int)n;
	errno = EBADMSG;
	if (n != sizeof(p) || p.path_len > 4096 || p.len > SECRET_MAX)
		return -1;
	path = calloc(1, p.path_len + 1);
	data = calloc(1, p.len + 1);
	if (!path || !data || read_exactly(fd, path, p.path_len) < 0 ||
		read_exactly(fd, data, p.len) < 0) {
		int saved = errno;

		free(path);
		free(data);
		errno = saved;
		return -1;
	}
	return keep(s, path, data, p.len) < 0 ? -1 : 1;
}

int vault_read(struct vault *s, int fd)
{
	char name[40];
	int own, r;

	*s = (struct vault){0, NULL};
	/* Opened again: the offset of the writer's descriptor is everybody's. */
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	own = open(name, O_RDONLY | O_CLOEXEC);
	if (own < 0)
		return -1;
	do
		r = read_piece(s, own);
	while (r > 0);
	if (r < 0) {
		int saved = errno;

		vault_free(s);
		errno = saved;
	}
	close(own);
	return r;
}
