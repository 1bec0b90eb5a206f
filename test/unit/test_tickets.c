#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <cmocka.h>

#include <wsgate/tickets.h>

static unsigned made;
static int fails_after = -1;

/* Each key is of one byte alone, so that it can be told from the others. */
ssize_t __wrap_getrandom(void *buf, size_t n, unsigned flags);
ssize_t __wrap_getrandom(void *buf, size_t n, unsigned flags)
{
	(void)flags;
	if (fails_after >= 0 && fails_after-- == 0) {
		errno = ENOSYS;
		return -1;
	}
	memset(buf, (int)++made, n);
	return (ssize_t)n;
}

static int setup(void **state)
{
	(void)state;
	made = 0;
	fails_after = -1;
	return 0;
}

static void name_of(unsigned key, uint8_t name[TICKETS_NAME])
{
	memset(name, (int)key, TICKETS_NAME);
}

static void test_rotation(void **state)
{
	struct tickets t = {.n = 0};
	uint8_t name[TICKETS_NAME];

	(void)state;
	assert_null(tickets_current(&t));
	assert_int_equal(tickets_rotate(&t), 0); /* keys 1 (next) and 2 (in use) */
	assert_int_equal(t.n, 2);
	assert_int_equal(tickets_current(&t)->aes[0], 2);
	for (unsigned turn = 3; turn < 12; turn++) {
		uint8_t next = t.keys[0].aes[0];

		assert_int_equal(tickets_rotate(&t), 0);
		/* What was known before as the next one is in use now. */
		assert_int_equal(tickets_current(&t)->aes[0], next);
		assert_int_equal(t.keys[0].aes[0], turn);
		for (unsigned i = 1; i <= turn + 1; i++) {
			bool known = false;

			for (uint32_t k = 0; k < t.n; k++)
				known = known || t.keys[k].aes[0] == i;
			name_of(i, name);
			assert_int_equal(tickets_find(&t, name) != NULL, known);
		}
	}
	/* A ticket lives while its key makes one turn more, and another one. */
	assert_int_equal(t.n, TICKETS_KEYS);
	name_of(8, name);
	assert_ptr_equal(tickets_find(&t, name), &t.keys[3]);
	name_of(7, name);
	assert_null(tickets_find(&t, name));
}

static void test_no_random(void **state)
{
	struct tickets t = {.n = 0}, before;

	(void)state;
	fails_after = 1;
	assert_int_equal(tickets_rotate(&t), -1);
	assert_int_equal(errno, ENOSYS);
	assert_int_equal(t.n, 0);
	fails_after = -1;
	assert_int_equal(tickets_rotate(&t), 0);
	before = t;
	fails_after = 0;
	assert_int_equal(tickets_rotate(&t), -1);
	assert_memory_equal(&t, &before, sizeof(t));
}

static void test_wipe(void **state)
{
	struct tickets t = {.n = 0}, zero = {.n = 0};

	(void)state;
	memset(&zero, 0, sizeof(zero));
	assert_int_equal(tickets_rotate(&t), 0);
	tickets_wipe(&t);
	assert_memory_equal(&t, &zero, sizeof(t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_rotation, setup),
		cmocka_unit_test_setup(test_no_random, setup),
		cmocka_unit_test_setup(test_wipe, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
