/*
 * What the table promises: it finds what was put in, under any number of removals, and table_each()
 * sees every value once while it takes them out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <wsgate/table.h>

#define N 20000

struct item {
	char key[16];
	size_t len;
	unsigned seen;
	bool in;
};

static struct item items[N];

static void fill(void)
{
	for (int i = 0; i < N; i++) {
		items[i].len = (size_t)snprintf(items[i].key, sizeof(items[i].key), "user-%d", i);
		items[i].seen = 0;
		items[i].in = false;
	}
}

static void put(struct table *t, struct item *it)
{
	assert_int_equal(table_put(t, it->key, it->len, it), 0);
	it->in = true;
}

static void check_all(const struct table *t)
{
	size_t n = 0;

	for (int i = 0; i < N; i++) {
		assert_ptr_equal(
			table_get(t, items[i].key, items[i].len), items[i].in ? &items[i] : NULL);
		n += items[i].in;
	}
	assert_int_equal(table_count(t), n);
}

static void empty_table(void **state)
{
	struct table t;

	(void)state;
	table_init(&t);
	assert_null(table_get(&t, "x", 1));
	assert_null(table_del(&t, "x", 1));
	assert_int_equal(table_count(&t), 0);
	assert_int_equal(table_put(&t, "x", 1, NULL), -1);
	table_free(&t);
}

static void put_replaces(void **state)
{
	struct table t;
	int a, b, c;

	(void)state;
	table_init(&t);
	assert_int_equal(table_put(&t, "k", 1, &a), 0);
	assert_int_equal(table_put(&t, "k", 1, &b), 0);
	assert_int_equal(table_put(&t, "k\0", 2, &c), 0);
	assert_int_equal(table_count(&t), 2);
	assert_ptr_equal(table_get(&t, "k", 1), &b);
	assert_ptr_equal(table_get(&t, "k\0", 2), &c);
	assert_null(table_get(&t, "", 0));
	table_free(&t);
}

static void many_in_and_out(void **state)
{
	struct table t;

	(void)state;
	fill();
	srand(1);
	table_init(&t);
	for (int i = 0; i < N; i++)
		put(&t, &items[i]);
	check_all(&t);
	for (int round = 0; round < 10 * N; round++) {
		struct item *it = &items[rand() % N];

		if (it->in) {
			assert_ptr_equal(table_del(&t, it->key, it->len), it);
			it->in = false;
		} else {
			put(&t, it);
		}
	}
	check_all(&t);
	table_free(&t);
}

struct walk {
	struct table *t;
	int remove_one_in;
};

static bool visit(void *value, void *arg)
{
	struct item *it = value;
	struct walk *w = arg;

	it->seen++;
	if (w->remove_one_in && rand() % w->remove_one_in == 0) {
		assert_ptr_equal(table_del(w->t, it->key, it->len), it);
		it->in = false;
	}
	return true;
}

static bool first_only(void *value, void *arg)
{
	(void)value;
	++*(int *)arg;
	return false;
}

static void each_sees_all_once(void **state)
{
	struct table t;
	int rates[] = {0, 3, 2, 1}, calls = 0;

	(void)state;
	fill();
	srand(2);
	table_init(&t);
	for (size_t r = 0; r < sizeof(rates) / sizeof(rates[0]); r++) {
		struct walk w = {&t, rates[r]};

		for (int i = 0; i < N; i++)
			if (!items[i].in)
				put(&t, &items[i]);
		table_each(&t, visit, &w);
		for (int i = 0; i < N; i++)
			assert_int_equal(items[i].seen, r + 1);
		check_all(&t);
	}
	assert_int_equal(table_count(&t), 0);
	put(&t, &items[0]);
	put(&t, &items[1]);
	table_each(&t, first_only, &calls);
	assert_int_equal(calls, 1);
	table_free(&t);
}

static void hash_uses_every_byte(void **state)
{
	char key[40] = {0};
	uint64_t zero;

	(void)state;
	for (size_t len = 1; len <= sizeof(key); len++) {
		zero = table_hash(key, len);
		assert_true(zero != table_hash(key, len - 1));
		for (size_t i = 0; i < len; i++) {
			key[i] = 1;
			assert_true(zero != table_hash(key, len));
			key[i] = 0;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_table),
		cmocka_unit_test(put_replaces),
		cmocka_unit_test(many_in_and_out),
		cmocka_unit_test(each_sees_all_once),
		cmocka_unit_test(hash_uses_every_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
