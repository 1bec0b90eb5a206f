/*
 * test_live: what /live sends, second by second.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include <jansson.h>

#include "../../src/worker/worker.h"

static size_t samples;

/* How many of them are in the text? */
bool __wrap_session_reply(struct conn *c, uint8_t opcode, const uint8_t *data, size_t len);
bool __wrap_session_reply(struct conn *c, uint8_t opcode, const uint8_t *data, size_t len)
{
	json_t *o = json_loadb((const char *)data, len, 0, NULL);

	(void)c;
	(void)opcode;
	assert_non_null(o);
	samples = json_array_size(json_object_get(json_object_get(o, "history"), "at_ms"));
	json_decref(o);
	return true;
}

static size_t beat(struct worker *w)
{
	samples = SIZE_MAX;
	live_beat(w);
	return samples;
}

static void sample(struct worker *w, uint64_t at_ms)
{
	static const struct hist_view before[STATS_HISTS];
	static struct history_view now;

	now.at_ms = at_ms;
	history_write(&w->shm.bridge->history, &now, before);
}

static void begin(struct worker *w)
{
	static const struct shm_sizes sizes = {1, 16, 1, 0, 65536, 65536};
	static struct heritage h;
	static struct config c;
	char dir[] = "/tmp/wsgate-live-XXXXXX", path[64];
	int fd;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/segment", dir);
	fd = shm_create(path, &sizes, "1", getuid(), getgid());
	assert_true(fd >= 0);
	unlink(path);
	rmdir(dir);
	assert_int_equal(shm_map(&w->shm, fd, true), 0);
	close(fd);
	w->h = &h;
	w->c = &c;
}

static void each_once_though_the_clock_is_set_back(void **state)
{
	static struct worker w;
	static struct conn c = {.w = &w, .state = CONN_OPEN};

	(void)state;
	begin(&w);
	w.live[w.nlive++] = &c;
	sample(&w, 10000000);
	sample(&w, 10005000);
	assert_int_equal(beat(&w), 2);
	assert_int_equal(beat(&w), 0);
	sample(&w, 5000000);
	assert_int_equal(beat(&w), 1);
	assert_int_equal(beat(&w), 0);
	shm_unmap(&w.shm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_once_though_the_clock_is_set_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
