#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <wsgate/vault.h>

static char dir[] = "/tmp/test_vault.XXXXXX", path[2][64];

static void put(const char *name, const void *data, size_t len)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0 && write(fd, data, len) == (ssize_t)len);
	close(fd);
}

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	for (int i = 0; i < 2; i++)
		snprintf(path[i], sizeof(path[i]), "%s/%d", dir, i);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path[0]);
	unlink(path[1]);
	return rmdir(dir);
}

static void test_there_and_back(void **state)
{
	struct vault a = {0, NULL}, b;
	char err[100], one = 'x';
	int fd;

	(void)state;
	put(path[0], "one\0two", 7);
	put(path[1], "", 0);
	assert_int_equal(vault_add(&a, path[0], err, sizeof(err)), 0);
	put(path[0], "another", 7);
	assert_int_equal(vault_add(&a, path[0], err, sizeof(err)), 0);
	assert_int_equal(vault_add(&a, path[1], err, sizeof(err)), 0);
	assert_int_equal(a.n, 2);
	fd = vault_write(&a);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, &one, 1), -1); /* sealed */
	for (int i = 0; i < 2; i++) {             /* each reader from the start */
		assert_int_equal(vault_read(&b, fd), 0);
		assert_int_equal(b.n, 2);
		assert_int_equal(vault_find(&b, path[0])->len, 7);
		assert_memory_equal(vault_find(&b, path[0])->data, "one\0two", 8);
		assert_int_equal(vault_find(&b, path[1])->len, 0);
		assert_null(vault_find(&b, "/elsewhere"));
		vault_free(&b);
	}
	close(fd);
	vault_free(&a);
	assert_int_equal(a.n, 0);
	fd = vault_write(&a);
	assert_int_equal(vault_read(&b, fd), 0);
	assert_int_equal(b.n, 0);
	close(fd);
}

static void test_refused(void **state)
{
	struct vault s = {0, NULL};
	char err[100], *big = calloc(1, SECRET_MAX + 1);

	(void)state;
	put(path[0], big, SECRET_MAX + 1);
	assert_int_equal(vault_add(&s, path[0], err, sizeof(err)), -1);
	assert_string_equal(err, strerror(EFBIG));
	put(path[0], big, SECRET_MAX);
	assert_int_equal(vault_add(&s, path[0], err, sizeof(err)), 0);
	assert_int_equal(vault_add(&s, "/nonexistent/x", err, sizeof(err)), -1);
	assert_string_equal(err, strerror(ENOENT));
	assert_int_equal(vault_add(&s, dir, err, sizeof(err)), -1);
	assert_string_equal(err, strerror(EISDIR));
	assert_int_equal(vault_add(&s, "/dev/null", err, sizeof(err)), -1);
	assert_int_equal(s.n, 1);
	vault_free(&s);
	free(big);
}

static void test_nonsense(void **state)
{
	static const uint8_t text[] = {3, 0, 0, 0, 2, 0, 0, 0, 'a', 'b', 'c', 'd', 'e'};
	struct vault s;
	int fd;

	(void)state;
	for (size_t len = 1; len < sizeof(text); len++) {
		put(path[0], text, len);
		fd = open(path[0], O_RDONLY);
		assert_int_equal(vault_read(&s, fd), -1);
		assert_int_equal(s.n, 0);
		close(fd);
	}
	put(path[0], text, sizeof(text));
	fd = open(path[0], O_RDONLY);
	assert_int_equal(vault_read(&s, fd), 0);
	assert_int_equal(vault_find(&s, "abc")->len, 2);
	vault_free(&s);
	close(fd);
	put(path[0], "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
	fd = open(path[0], O_RDONLY);
	assert_int_equal(vault_read(&s, fd), -1);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_nonsense),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
