#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <signal.h>

#include <cmocka.h>

#include <wsgate/record.h>
#include <wsgate/route.h>

#define N 32u

static struct route_section section;
static struct changes changes;
static struct changes_words *words;
static const struct route_peer peer = {{1, 2, 3}, 4711};

static int setup(void **state)
{
	void *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -1;
	*state = p;
	section = (struct route_section){
		p, (char *)p + 65536, (uint64_t *)(void *)((char *)p + 262144), N};
	words = (struct changes_words *)(void *)((char *)p + 131072);
	changes = (struct changes){words, (_Atomic uint32_t *)(void *)((char *)p + 196608),
		changes_size_for(N), calloc(N, sizeof(uint64_t))};
	return changes.pushed ? 0 : -1;
}

static int teardown(void **state)
{
	free(changes.pushed);
	return munmap(*state, 1 << 20);
}

static struct identity identity_of(const char *service, const char *user)
{
	return (struct identity){service, user, strlen(service), strlen(user)};
}

static void test_names(void **state)
{
	char s[TOKEN_MAX + 1], u[TOKEN_MAX + 1];
	struct route_view v;

	(void)state;
	assert_false(route_read(&section, 3, &v));
	for (size_t a = 1; a <= TOKEN_MAX; a += 9) {
		for (size_t b = 1; b <= TOKEN_MAX; b += 7) {
			struct identity id;

			memset(s, 'a' + (int)(a % 26), a);
			memset(u, 'A' + (int)(b % 26), b);
			s[a] = u[b] = '\0';
			id = identity_of(s, u);
			route_write(&section, 3, a << 32 | b, &id,
				&(struct route_birth){
					.id = 77, .peer = peer, .figures.opened_s = 1234});
			assert_true(route_read(&section, 3, &v));
			assert_int_equal(v.generation, a << 32 | b);
			assert_int_equal(v.state, ROUTE_OPENING);
			assert_int_equal(v.service_len, a);
			assert_int_equal(v.user_len, b);
			assert_memory_equal(v.service, s, a);
			assert_memory_equal(v.user, u, b);
			assert_int_equal(v.port, 4711);
			assert_int_equal(v.figures.opened_s, 1234);
			assert_int_equal(v.id, 77);
		}
	}
	route_clear(&section, 3);
	assert_false(route_read(&section, 3, &v));
	assert_false(route_read(&section, N, &v));
}

static void test_marks(void **state)
{
	struct identity id = identity_of("s", "u");
	struct route_view v;

	(void)state;
	route_write(&section, 0, 9, &id, &(struct route_birth){.peer = peer});
	route_set_epoch(&section, 0, 1);
	route_set_given(&section, 0, 70);
	route_set_confirmed(&section, 0, 60);
	assert_true(route_read_marks(&section, 0, 9, &v));
	assert_int_equal(v.given, 70);
	assert_int_equal(v.confirmed, 60);
	assert_false(route_read_marks(&section, 0, 8, &v)); /* another generation */
	route_set_epoch(&section, 0, 2);
	assert_true(route_read_marks(&section, 0, 9, &v));
	assert_int_equal(v.epoch, 2);
	assert_int_equal(v.given, 0); /* marks of another stream count as nothing */
	assert_int_equal(v.confirmed, 0);
}

/* They go with a connection to another place, and a new connection begins with none. */
static void test_figures(void **state)
{
	struct identity id = identity_of("chat", "alice");
	struct route_figures f = {1, 2, 3, 4, 5, 6};
	struct route_view v;

	(void)state;
	route_write(&section, 4, 77, &id,
		&(struct route_birth){.peer = peer,
			.figures = f,
			.moved = true,
			.epoch = 3,
			.given = 9,
			.confirmed = 8});
	assert_true(route_read(&section, 4, &v));
	assert_memory_equal(&v.figures, &f, sizeof(f));
	assert_int_equal(v.state, ROUTE_MOVED);
	assert_int_equal(v.epoch, 3);
	assert_int_equal(v.given, 9);
	assert_int_equal(v.confirmed, 8);
	route_write(
		&section, 4, 78, &id, &(struct route_birth){.peer = peer, .figures.opened_s = 9});
	assert_true(route_read(&section, 4, &v));
	assert_int_equal(v.state, ROUTE_OPENING);
	assert_int_equal(v.given + v.confirmed + v.epoch, 0);
	assert_int_equal(v.figures.opened_s, 9);
	assert_int_equal(v.figures.bytes_in + v.figures.bytes_out + v.figures.messages_in +
				 v.figures.messages_out + v.figures.messages_confirmed,
		0);
}

/* A reader beside a writer never sees half of an identity, nor a mark of one epoch with the other's
 * number. */
static void test_no_torn_view(void **state)
{
	pid_t pid = fork();
	unsigned seen = 0;

	(void)state;
	assert_true(pid >= 0);
	if (!pid) {
		for (uint64_t g = 1;; g++) {
			char name[TOKEN_MAX + 1];
			size_t len = 1 + g % TOKEN_MAX;
			struct identity id;

			memset(name, 'a' + (int)(g % 26), len);
			name[len] = '\0';
			id = identity_of(name, name);
			route_write(&section, 1, g, &id,
				&(struct route_birth){
					.peer = peer, .figures.opened_s = (uint32_t)g});
			for (uint32_t e = 1; e < 4; e++) {
				route_set_epoch(&section, 1, e);
				route_set_given(&section, 1, 1000 * e);
				route_set_confirmed(&section, 1, 1000 * e);
			}
		}
	}
	while (seen < 20000) {
		struct route_view v;

		if (!route_read(&section, 1, &v))
			continue;
		seen++;
		assert_int_equal(v.service_len, 1 + v.generation % TOKEN_MAX);
		assert_int_equal(v.user_len, v.service_len);
		assert_int_equal(v.figures.opened_s, v.generation);
		for (size_t i = 0; i < v.service_len; i++)
			assert_int_equal(v.service[i], 'a' + (int)(v.generation % 26));
		assert_true(v.confirmed == 0 || v.confirmed == 1000 * v.epoch);
		assert_true(v.given == 0 || v.given == 1000 * v.epoch);
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_changes_once(void **state)
{
	uint32_t out[N];

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_true(changes_push(&changes, 5));
	assert_true(changes_push(&changes, 6));
	assert_int_equal(changes_take(&changes, out, N), 2);
	assert_int_equal(out[0], 5);
	assert_int_equal(out[1], 6);
	assert_int_equal(changes_take(&changes, out, N), 0);
	assert_true(changes_push(&changes, 5)); /* taken: it goes on again */
	assert_int_equal(changes_take(&changes, out, N), 1);
}

/* A dead worker's entries and all of its successor's have room. */
static void test_changes_never_full(void **state)
{
	uint32_t out[3 * N];

	(void)state;
	for (int generation = 0; generation < 2; generation++) {
		for (uint32_t i = 0; i < N; i++)
			assert_true(changes_push(&changes, i));
		memset(changes.pushed, 0, N * sizeof(uint64_t));
	}
	assert_int_equal(changes_take(&changes, out, 3 * N), 2 * N);
}

/* Each change made in another process is seen: the last one, always. */
static void test_changes_none_missed(void **state)
{
	struct identity id = identity_of("s", "u");
	struct route_view v = {0};
	uint32_t out[N];
	pid_t pid;

	(void)state;
	route_write(&section, 2, 1, &id, &(struct route_birth){.peer = peer});
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		for (uint64_t i = 1; i <= 200000; i++) {
			route_set_confirmed(&section, 2, i);
			if (!changes_push(&changes, 2))
				_exit(1);
		}
		_exit(0);
	}
	while (v.confirmed < 200000)
		for (size_t n = changes_take(&changes, out, N); n; n--)
			assert_true(route_read_marks(&section, out[n - 1], 1, &v));
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_records(void **state)
{
	struct {
		struct up_record r;
		char rest[48];
	} up = {{1, 9, 7, 2, 3, 1, 1, 4, 0, 0}, "suserabc"};
	struct up_view v;
	struct {
		struct down_message m;
		struct down_ref refs[2];
		char data[8];
	} down = {{9, 8, 1, 5, 2, 0, 1, {0}}, {{1, 2, 0}, {3, 4, 0}}, "hello"};
	struct down_view d;
	size_t size = sizeof(up.r) + 8;

	(void)state;
	assert_true(up_parse(&up, size, &v));
	assert_memory_equal(v.id.user, "user", 4);
	assert_memory_equal(v.data, "abc", 3);
	assert_false(up_parse(&up, size - 1, &v));
	assert_false(up_parse(&up, size + 1, &v));
	assert_false(up_parse(&up, 3, &v));
	assert_null(v.trace);
	up.r.trace_len = 1;
	assert_false(up_parse(&up, size + 1, &v)); /* no such context */
	up.r.trace_len = sizeof(struct trace_context);
	assert_false(up_parse(&up, size, &v));
	assert_true(up_parse(&up, size + up.r.trace_len, &v));
	assert_ptr_equal(v.trace, up.rest + 5);
	assert_ptr_equal(v.data, up.rest + 5 + sizeof(struct trace_context));
	up.r.trace_len = 0;
	up.r.user_len = 0;
	assert_false(up_parse(&up, size - 4, &v));
	up.r.user_len = 4;
	up.r.text = 2;
	assert_false(up_parse(&up, size, &v));

	size = sizeof(down.m) + sizeof(down.refs) + 5;
	assert_true(down_parse(DOWN_MESSAGE, &down, size, &d));
	assert_int_equal(d.refs[1].generation, 3);
	assert_memory_equal(d.data, "hello", 5);
	assert_false(down_parse(DOWN_MESSAGE, &down, size - 1, &d));
	assert_false(down_parse(99, &down, size, &d));
	down.m.nrefs = 0x10000001;
	assert_false(down_parse(DOWN_MESSAGE, &down, size, &d));
	down.m.nrefs = 0;
	assert_false(down_parse(DOWN_MESSAGE, &down, size - sizeof(down.refs), &d));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_figures, setup, teardown),
		cmocka_unit_test_setup_teardown(test_marks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_torn_view, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changes_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changes_never_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changes_none_missed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_records, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
