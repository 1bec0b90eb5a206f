#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <wsgate/ring.h>

#define SIZE 4096u

struct shared {
	struct ring_words words;
	struct bell bell;
	_Alignas(64) uint8_t data[SIZE];
};

static struct shared *shared_new(void)
{
	struct shared *s =
		mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(s, MAP_FAILED);
	ring_init(&s->words);
	return s;
}

static int setup(void **state)
{
	*state = shared_new();
	return 0;
}

static int teardown(void **state)
{
	return munmap(*state, sizeof(struct shared));
}

static void put(struct ring *w, uint16_t type, const void *data, size_t len)
{
	void *p = ring_reserve(w, type, len);

	assert_non_null(p);
	memcpy(p, data, len);
	ring_commit(w);
}

static void test_order(void **state)
{
	struct shared *s = *state;
	struct ring w, r;
	const void *p;
	uint16_t type;
	size_t size;
	uint64_t pos;

	ring_attach_writer(&w, &s->words, s->data, SIZE);
	ring_attach_reader(&r, &s->words, s->data, SIZE);
	assert_int_equal(ring_next(&r, &type, &p, &size, &pos), RING_EMPTY);
	put(&w, 1, "one", 3);
	put(&w, 2, "", 0);
	put(&w, 3, "three", 5);
	assert_int_equal(ring_next(&r, &type, &p, &size, &pos), RING_RECORD);
	assert_int_equal(pos, RING_START);
	assert_int_equal(type, 1);
	assert_int_equal(size, 3);
	assert_memory_equal(p, "one", 3);
	assert_int_equal(ring_next(&r, &type, &p, &size, &pos), RING_RECORD);
	assert_int_equal(type, 2);
	assert_int_equal(size, 0);
	assert_int_equal(ring_next(&r, &type, &p, &size, &pos), RING_RECORD);
	assert_int_equal(type, 3);
	assert_memory_equal(p, "three", 5);
	assert_int_equal(ring_next(&r, &type, &p, &size, &pos), RING_EMPTY);
}

/* Nothing reserved is seen before the commit, and an abort leaves no trace. */
static void test_invisible(void **state)
{
	struct shared *s = *state;
	struct ring w, r;
	const void *p;
	uint16_t type;
	size_t size;
	uint64_t pos;

	ring_attach_writer(&w, &s->words, s->data, SIZE);
	ring_attach_reader(&r, &s->words, s->data, SIZE);
	assert_non_null(ring_reserve(&w, 1, 10));
	assert_int_equal(ring_next(&r, &type, &p, &size, &pos), RING_EMPTY);
	ring_attach_writer(&w, &s->words, s->data, SIZE); /* its writer died: nobody saw it */
	put(&w, 7, "x", 1);
	assert_int_equal(ring_next(&r, &type, &p, &size, &pos), RING_RECORD);
	assert_int_equal(type, 7);
}

static void test_full(void **state)
{
	struct shared *s = *state;
	struct ring w, r;
	const void *p;
	uint16_t type;
	size_t size, n = 0;
	uint64_t pos;

	ring_attach_writer(&w, &s->words, s->data, SIZE);
	ring_attach_reader(&r, &s->words, s->data, SIZE);
	while (ring_reserve(&w, 1, 56)) {
		ring_commit(&w);
		n++;
	}
	assert_int_equal(n, SIZE / 64);
	assert_int_equal(ring_used(&s->words), SIZE);
	assert_int_equal(ring_next(&r, &type, &p, &size, &pos), RING_RECORD);
	assert_null(ring_reserve(&w, 1, 56)); /* read is not released */
	ring_release(&r, r.pos);
	assert_null(ring_reserve(&w, 1, 56)); /* the writer has not looked */
	ring_refresh(&w);
	assert_non_null(ring_reserve(&w, 1, 56));
	assert_null(ring_reserve(&w, 1, 0));
	assert_null(ring_reserve(&w, 1, SIZE));
}

/* All sizes, many turns of the ring: what comes out is what went in, and records lie in one piece.
 */
static void test_wrap(void **state)
{
	struct shared *s = *state;
	uint8_t buf[1024];
	struct ring w, r;
	unsigned in = 0, out = 0;

	ring_attach_writer(&w, &s->words, s->data, SIZE);
	ring_attach_reader(&r, &s->words, s->data, SIZE);
	while (out < 20000) {
		size_t len = (in * 37) % sizeof(buf);
		const void *p;
		uint16_t type;
		uint64_t pos;
		size_t size;
		void *q;

		ring_refresh(&w);
		q = ring_reserve(&w, (uint16_t)(in & 0xff), len);
		if (q) {
			memset(q, (int)(in & 0xff), len);
			ring_commit(&w);
			in++;
			continue;
		}
		assert_int_equal(ring_next(&r, &type, &p, &size, &pos), RING_RECORD);
		assert_int_equal(type, out & 0xff);
		assert_int_equal(size, (out * 37) % sizeof(buf));
		memset(buf, (int)(out & 0xff), size);
		assert_memory_equal(p, buf, size);
		assert_true((const uint8_t *)p >= s->data &&
			    (const uint8_t *)p + size <= s->data + SIZE);
		ring_release(&r, r.pos);
		out++;
	}
	assert_true(w.pos > UINT32_MAX); /* positions went over 32 bits */
}

static void test_largest_always_fits(void **state)
{
	struct shared *s = *state;
	struct ring w, r;
	const void *p;
	uint16_t type;
	size_t size;
	uint64_t pos;

	ring_attach_writer(&w, &s->words, s->data, SIZE);
	ring_attach_reader(&r, &s->words, s->data, SIZE);
	for (size_t i = 0; i < 600; i++) {
		ring_refresh(&w);
		assert_non_null(
			ring_reserve(&w, 1, i % 2 ? ring_max_record(SIZE) : (i * 8) % 2000));
		ring_commit(&w);
		assert_int_equal(ring_next(&r, &type, &p, &size, &pos), RING_RECORD);
		ring_release(&r, r.pos);
	}
}

/* A writer killed at a random instant leaves whole records and nothing else. */
static void test_killed_writer(void **state)
{
	(void)state;
	for (int round = 0; round < 60; round++) {
		struct shared *s = shared_new();
		struct ring w, r;
		const void *p;
		uint16_t type;
		size_t size;
		uint64_t pos, expect = 0;
		enum ring_read got;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (!pid) {
			ring_attach_writer(&w, &s->words, s->data, SIZE);
			for (uint64_t n = 0;; n++) {
				uint64_t *q;

				do
					ring_refresh(&w);
				while (!(q = ring_reserve(&w, 5, 8 + n % 64)));
				memset(q, (int)(n & 0xff), 8 + n % 64);
				memcpy(q, &n, sizeof(n));
				ring_commit(&w);
			}
		}
		ring_attach_reader(&r, &s->words, s->data, SIZE);
		for (;;) {
			uint64_t n;

			got = ring_next(&r, &type, &p, &size, &pos);
			assert_int_not_equal(got, RING_CORRUPT);
			if (got == RING_EMPTY) {
				if (pid < 0)
					break;
				continue;
			}
			memcpy(&n, p, sizeof(n));
			assert_int_equal(n, expect);
			assert_int_equal(size, 8 + n % 64);
			expect++;
			ring_release(&r, r.pos);
			if (pid > 0 && expect > (uint64_t)round * 97) {
				assert_int_equal(kill(pid, SIGKILL), 0);
				assert_int_equal(waitpid(pid, NULL, 0), pid);
				pid = -1;
			}
		}
		/* The successor goes on where the dead one was last visible. */
		ring_attach_writer(&w, &s->words, s->data, SIZE);
		put(&w, 9, "next", 4);
		assert_int_equal(ring_next(&r, &type, &p, &size, &pos), RING_RECORD);
		assert_int_equal(type, 9);
		munmap(s, sizeof(*s));
	}
}

/* A reader's successor reads again what was not released. */
static void test_killed_reader(void **state)
{
	struct shared *s = *state;
	struct ring w, r;
	const void *p;
	uint16_t type;
	size_t size;
	uint64_t pos;

	ring_attach_writer(&w, &s->words, s->data, SIZE);
	ring_attach_reader(&r, &s->words, s->data, SIZE);
	put(&w, 1, "a", 1);
	put(&w, 2, "b", 1);
	assert_int_equal(ring_next(&r, &type, &p, &size, &pos), RING_RECORD);
	ring_release(&r, r.pos);
	assert_int_equal(ring_next(&r, &type, &p, &size, &pos), RING_RECORD);
	ring_attach_reader(&r, &s->words, s->data, SIZE);
	assert_int_equal(ring_next(&r, &type, &p, &size, &pos), RING_RECORD);
	assert_int_equal(type, 2);
}

/* Every changed byte of a record's header is refused; a head beyond the ring as well. */
static void test_damage(void **state)
{
	struct shared *s = *state;
	struct ring w, r;
	const void *p;
	uint16_t type;
	size_t size;
	uint64_t pos;

	ring_attach_writer(&w, &s->words, s->data, SIZE);
	put(&w, 1, "0123456789", 10);
	for (size_t at = 0; at < sizeof(struct ring_record); at++) {
		uint8_t *byte = s->data + (RING_START & (SIZE - 1)) + at;

		ring_attach_reader(&r, &s->words, s->data, SIZE);
		*byte ^= 0x40;
		assert_int_equal(ring_next(&r, &type, &p, &size, &pos), RING_CORRUPT);
		*byte ^= 0x40;
	}
	ring_attach_reader(&r, &s->words, s->data, SIZE);
	assert_int_equal(ring_next(&r, &type, &p, &size, &pos), RING_RECORD);
	atomic_store(&s->words.head, RING_START + 2 * SIZE);
	assert_int_equal(ring_next(&r, &type, &p, &size, &pos), RING_CORRUPT);
}

static void test_bell(void **state)
{
	struct shared *s = *state;
	uint32_t last = 0;

	assert_false(bell_must_ring(&s->bell, &last)); /* awake at first */
	bell_sleep(&s->bell);
	assert_true(bell_must_ring(&s->bell, &last));
	assert_false(bell_must_ring(&s->bell, &last)); /* once a sleep */
	bell_sleep(&s->bell);
	assert_false(bell_must_ring(&s->bell, &last));
	bell_awake(&s->bell);
	assert_false(bell_must_ring(&s->bell, &last));
	bell_sleep(&s->bell);
	assert_true(bell_must_ring(&s->bell, &last));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_invisible, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_largest_always_fits, setup, teardown),
		cmocka_unit_test(test_killed_writer),
		cmocka_unit_test_setup_teardown(test_killed_reader, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bell, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
