#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <wsgate/shm.h>

static const struct shm_sizes sizes = {4, 100, 2, 0, 65536, 131072};
static char dir[] = "/tmp/wsgate-shm-XXXXXX", path[64];

static size_t page_size; /* 0: the kernel's own */
long __real_sysconf(int name);
long __wrap_sysconf(int name);
void *__real_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t at);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t at);

long __wrap_sysconf(int name)
{
	return name == _SC_PAGESIZE && page_size ? (long)page_size : __real_sysconf(name);
}

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t at)
{
	if (page_size && (size_t)at % page_size) {
		errno = EINVAL;
		return MAP_FAILED;
	}
	return __real_mmap(addr, len, prot, flags, fd, at);
}

static int setup(void **state)
{
	(void)state;
	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/segment", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static int create(void)
{
	int fd = shm_create(path, &sizes, "1.2.3", getuid(), getgid());

	assert_true(fd >= 0);
	return fd;
}

static void test_create(void **state)
{
	int fd = create();
	struct shm_header h;
	struct shm shm;
	struct stat st;

	(void)state;
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal((uint64_t)st.st_size, shm_file_size(&sizes));
	assert_int_equal(shm_read_header(fd, &h), 0);
	assert_string_equal(h.version, "1.2.3");
	assert_int_equal(h.sizes.routes, 100);
	assert_int_equal(shm_create(path, &sizes, "x", getuid(), getgid()), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(shm_map(&shm, fd, false), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_false(shm_slot_used(&shm, i));
	shm_unmap(&shm);
	close(fd);
}

/* Slots do not overlap: what fills one leaves its neighbours as they were. */
static void test_slots_apart(void **state)
{
	int fd = create();
	struct shm shm;

	(void)state;
	for (unsigned i = 0; i < sizes.max_workers; i++)
		assert_int_equal(shm_prepare_slot(fd, i), 0);
	assert_int_equal(shm_prepare_slot(fd, sizes.max_workers), -1);
	assert_int_equal(shm_map(&shm, fd, true), 0);
	for (unsigned i = 0; i < sizes.max_workers; i++) {
		struct route_section r = shm_routes(&shm, i);
		struct changes c;
		struct crowd crowd;

		assert_true(shm_slot_used(&shm, i));
		shm_changes(&shm, i, &c);
		assert_true(c.size >= 2 * sizes.routes);
		memset(r.routes, (int)i + 1, r.n * sizeof(struct route));
		memset(r.longs, (int)i + 1, (size_t)r.n * ROUTE_LONG);
		memset((void *)(uintptr_t)c.list, (int)i + 1, c.size * sizeof(uint32_t));
		shm_crowd(&shm, i, &crowd);
		memset((void *)(uintptr_t)crowd.entries, (int)i + 1,
			crowd.size * sizeof(struct crowd_entry));
		memset(shm_up_data(&shm, i, 0), (int)i + 1, sizes.up_size);
		memset(shm_up_data(&shm, i, 1), (int)i + 1, sizes.up_size);
		memset(shm_down_data(&shm, i), (int)i + 1, sizes.down_size);
	}
	for (unsigned i = 0; i < sizes.max_workers; i++) {
		const uint8_t *first = (const uint8_t *)shm_routes(&shm, i).routes;
		const uint8_t *last = (const uint8_t *)shm_down_data(&shm, i) + sizes.down_size - 1;

		assert_int_equal(*first, i + 1);
		assert_int_equal(((uint8_t *)shm_up_data(&shm, i, 0))[-1], i + 1);
		assert_int_equal(*last, i + 1);
		assert_int_equal(((uint8_t *)shm_up_data(&shm, i, 0))[sizes.up_size - 1], i + 1);
		assert_int_equal(((uint8_t *)shm_up_data(&shm, i, 1))[0], i + 1);
		assert_int_equal(atomic_load(&shm_slot(&shm, i)->down.head), RING_START);
		assert_true(last < (uint8_t *)shm.base + shm.size);
	}
	assert_memory_equal(shm.header->magic, SHM_MAGIC, 8);
	shm_unmap(&shm);
	close(fd);
}

/* Pages of 64 KiB, as kernels for arm64 have them. */
static void test_large_pages(void **state)
{
	page_size = 65536;
	test_slots_apart(state);
	page_size = 0;
}

/* What is not a segment of this layout is refused, whatever it is. */
static void test_refused(void **state)
{
	static const size_t offsets[] = {offsetof(struct shm_header, magic),
		offsetof(struct shm_header, layout), offsetof(struct shm_header, header_size),
		offsetof(struct shm_header, size), offsetof(struct shm_header, sizes.max_workers),
		offsetof(struct shm_header, sizes.routes),
		offsetof(struct shm_header, sizes.up_size),
		offsetof(struct shm_header, sizes.down_size)};
	int fd = create();
	struct shm shm;

	(void)state;
	for (size_t i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
		uint8_t byte, other;

		assert_int_equal(pread(fd, &byte, 1, (off_t)offsets[i]), 1);
		other = byte ^ 0x55;
		assert_int_equal(pwrite(fd, &other, 1, (off_t)offsets[i]), 1);
		assert_int_equal(shm_map(&shm, fd, true), -1);
		assert_int_equal(errno, EPROTO);
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)offsets[i]), 1);
	}
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(shm_map(&shm, fd, true), -1);
	assert_int_equal(errno, EPROTO);
	assert_int_equal(ftruncate(fd, 3), 0);
	assert_int_equal(shm_map(&shm, fd, true), -1);
	assert_int_equal(errno, EPROTO);
	close(fd);
}

/* Sizes that do not work are refused before a file is made. */
static void test_bad_sizes(void **state)
{
	struct shm_sizes bad[] = {{0, 100, 1, 0, 65536, 65536}, {1, 0, 1, 0, 65536, 65536},
		{1, 1, 1, 0, 65535, 65536}, {1, 1, 1, 0, 65536, 12}, {1, 1, 0, 0, 65536, 65536},
		{1, 1, SHM_LANES_MAX + 1, 0, 65536, 65536}};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(shm_create(path, &bad[i], "x", getuid(), getgid()), -1);
		assert_int_equal(errno, EINVAL);
		assert_int_equal(access(path, F_OK), -1);
	}
}

static int make(const struct shm_sizes *s)
{
	int fd;

	assert_true(shm_create(path, s, "x", getuid(), getgid()) >= 0);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* Each lane has rings of its own. */
static void test_lanes(void **state)
{
	struct shm shm;
	int fd = make(&sizes);

	(void)state;
	assert_int_equal(shm_prepare_slot(fd, 0), 0);
	assert_int_equal(shm_map(&shm, fd, true), 0);
	assert_int_equal(shm_up_rings(&shm), 4);
	for (unsigned r = 0; r < 4; r++)
		memset(shm_up_data(&shm, 0, r), (int)r + 1, sizes.up_size);
	memset(shm_down_data(&shm, 0), 9, sizes.down_size);
	for (unsigned r = 0; r < 4; r++) {
		const uint8_t *data = shm_up_data(&shm, 0, r);

		assert_int_equal(data[0], r + 1);
		assert_int_equal(data[sizes.up_size - 1], r + 1);
	}
	assert_int_equal(shm_lane_ring(0, 6), 0);
	assert_int_equal(shm_lane_ring(1, 7), 3);
	shm_unmap(&shm);
	close(fd);
}

/* Where the streams stood, read by another program; that of one stream knew no names. */
static void test_read_streams(void **state)
{
	struct shm_streams was;
	struct shm shm;
	uint32_t old = 8;
	int fd = make(&sizes);

	(void)state;
	assert_int_equal(shm_map(&shm, fd, true), 0);
	atomic_store(&shm.bridge->epoch, 7);
	atomic_store(&shm.bridge->created, 11);
	atomic_store(&shm.bridge->last_seq, 12);
	atomic_store(&shm.bridge->max_message, 13);
	atomic_store(&shm.bridge->gateway, 14);
	assert_int_equal(shm_read_streams(fd, &was), 0);
	assert_int_equal(was.n, 0);
	strcpy(shm.bridge->streams[0].name, "one");
	strcpy(shm.bridge->streams[1].name, "two");
	atomic_store(&shm.bridge->streams[1].epoch, 7);
	atomic_store(&shm.bridge->streams[1].created, 21);
	atomic_store(&shm.bridge->streams[1].last_seq, 22);
	assert_int_equal(shm_read_streams(fd, &was), 0);
	assert_int_equal(was.n, 2);
	assert_int_equal(was.epoch, 7);
	assert_int_equal(was.max_message, 13);
	assert_int_equal(was.gateway, 14);
	assert_string_equal(was.v[0].name, "one");
	assert_int_equal(was.v[0].created, 0);
	assert_string_equal(was.v[1].name, "two");
	assert_int_equal(was.v[1].epoch, 7);
	assert_int_equal(was.v[1].created, 21);
	assert_int_equal(was.v[1].last_seq, 22);
	shm_unmap(&shm);
	assert_int_equal(pwrite(fd, &old, sizeof(old), offsetof(struct shm_header, layout)), 4);
	assert_int_equal(shm_read_streams(fd, &was), 0);
	assert_int_equal(was.n, 1);
	assert_string_equal(was.v[0].name, "");
	assert_int_equal(was.v[0].epoch, 7);
	assert_int_equal(was.v[0].created, 11);
	assert_int_equal(was.v[0].last_seq, 12);
	assert_int_equal(was.gateway, 14);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_create, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slots_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lanes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_streams, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
