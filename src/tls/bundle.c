/*
 * bundle: see bundle.h.
 *
 * Keys are nowhere but in the file: what they pass through is wiped. A file: its head, its path,
 * its bytes; then the next one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <wsgate/bundle.h>

#define BUNDLE_FILE_MAX (4u << 20)

#ifdef MFD_NOEXEC_SEAL
#define NOEXEC_SEAL MFD_NOEXEC_SEAL
#else
#define NOEXEC_SEAL 8u
#endif

struct bundle_head {
	uint32_t path_len, len;
};

struct making {
	int fd;
	char *err;
	size_t errlen;
};

static int bundle_fault(const struct making *m, const char *path, const char *what)
{
	snprintf(m->err, m->errlen, "%s: %s", path, what);
	return -1;
}

static int bundle_write(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* The number of bytes; -1 with errno. */
static long bundle_copy(int from, int to)
{
	char buf[4096];
	long all = 0;
	ssize_t n;

	while ((n = read(from, buf, sizeof(buf))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || bundle_write(to, buf, (size_t)n) < 0)
			break;
		all += n;
		if (all > BUNDLE_FILE_MAX) {
			errno = EFBIG;
			n = -1;
			break;
		}
	}
	explicit_bzero(buf, sizeof(buf));
	return n ? -1 : all;
}

static bool bundle_has(const struct making *m, const char *path)
{
	struct bundle b;
	size_t len;
	bool found;

	if (bundle_open(&b, m->fd) < 0)
		return false;
	found = bundle_find(&b, path, &len) != NULL;
	bundle_close(&b);
	return found;
}

static int bundle_add(const struct making *m, const char *path)
{
	struct bundle_head head = {(uint32_t)strlen(path), 0};
	off_t at = lseek(m->fd, 0, SEEK_END);
	struct stat st;
	long n = -1;
	int fd;

	if (bundle_has(m, path))
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode))
		errno = EINVAL;
	else if (fd >= 0 && at >= 0 && bundle_write(m->fd, &head, sizeof(head)) == 0 &&
		 bundle_write(m->fd, path, head.path_len) == 0)
		n = bundle_copy(fd, m->fd);
	if (fd >= 0)
		close(fd);
	head.len = (uint32_t)n;
	if (n >= 0 && pwrite(m->fd, &head, sizeof(head), at) == (ssize_t)sizeof(head))
		return 0;
	return bundle_fault(m, path, strerror(errno));
}

static int bundle_add_list(const struct making *m, const struct strlist *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (bundle_add(m, l->v[i]) < 0)
			return -1;
	return 0;
}

static int bundle_add_section(const struct making *m, const struct config_tls *t)
{
	if (bundle_add_list(m, &t->certificate) < 0 || bundle_add_list(m, &t->key) < 0 ||
		bundle_add_list(m, &t->ocsp) < 0)
		return -1;
	return t->client_ca[0] == '\0' ? 0 : bundle_add(m, t->client_ca);
}

static int bundle_file(void)
{
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create("wsgate certificates", flags | NOEXEC_SEAL);

	/* Kernels before 6.3 do not know it; later ones may demand it (vm.memfd_noexec). */
	return fd < 0 && errno == EINVAL ? memfd_create("wsgate certificates", flags) : fd;
}

int bundle_make(const struct config *c, char *err, size_t errlen)
{
	struct making m = {bundle_file(), err, errlen};

	if (m.fd < 0) {
		snprintf(err, errlen, "no file for certificates: %s", strerror(errno));
		return -1;
	}
	for (size_t i = 0; i < c->ntls; i++)
		if (bundle_add_section(&m, &c->tls[i]) < 0)
			goto fail;
	if (fcntl(m.fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return m.fd;
	snprintf(err, errlen, "cannot seal the file of certificates: %s", strerror(errno));
fail:
	close(m.fd);
	return -1;
}

int bundle_open(struct bundle *b, int fd)
{
	struct stat st;
	void *p;

	*b = (struct bundle){NULL, 0};
	if (fstat(fd, &st) < 0)
		return -1;
	if (st.st_size == 0)
		return 0;
	/* Not MAP_SHARED: kernels before 6.7 refuse it for a file that is sealed against writing.
	 */
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return -1;
	*b = (struct bundle){p, (size_t)st.st_size};
	return 0;
}

void bundle_close(struct bundle *b)
{
	if (b->data)
		munmap((void *)(uintptr_t)b->data, b->len);
	*b = (struct bundle){NULL, 0};
}

const uint8_t *bundle_find(const struct bundle *b, const char *path, size_t *len)
{
	size_t at = 0, path_len = strlen(path);
	struct bundle_head head;

	while (b->len - at >= sizeof(head)) {
		const uint8_t *p = b->data + at + sizeof(head);
		size_t room = b->len - at - sizeof(head);

		memcpy(&head, b->data + at, sizeof(head));
		if (head.path_len > room || head.len > room - head.path_len)
			return NULL;
		if (head.path_len == path_len && memcmp(p, path, path_len) == 0) {
			*len = head.len;
			return p + path_len;
		}
		at += sizeof(head) + head.path_len + head.len;
	}
	return NULL;
}
