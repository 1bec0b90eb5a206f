/*
 * A real bridge, whose master is the test: what it does when the others go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <wsgate/chan.h>
#include <wsgate/clock.h>
#include <wsgate/config.h>
#include <wsgate/heritage.h>
#include <wsgate/log.h>
#include <wsgate/shm.h>

#define PATIENCE_MS 20000

static char dir[64], log_path[96];
static struct shm shm;
static int control, worker; /* our ends */
static pid_t bridge;

static struct heritage heritage(struct config *c, int segment, int mine, int bell)
{
	struct heritage h = {.config = c,
		.master = getppid(),
		.control = mine,
		.segment = segment,
		.nslots = 1,
		.predecessor = -1,
		.bells = {bell},
		.generations = {1}};

	return h;
}

/* It finds no broker. */
static struct config *configuration(void)
{
	static const char *const sets[] = {"broker.url=nats://127.0.0.1:1", "workers=1"};
	struct config_source source = {"/nowhere", false, sets, 2, 0, false};
	char err[1024];
	struct config *c = config_load(&source, err, sizeof(err));

	if (!c)
		fail_msg("%s", err);
	return c;
}

static int setup(void **state)
{
	struct shm_sizes sizes = {1, 16, 1, 0, 65536, 65536};
	struct config *c = configuration();
	int segment, up[2], bell[2];
	char path[96];

	(void)state;
	strcpy(dir, "/tmp/wsgate-orphan-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/segment", dir);
	snprintf(log_path, sizeof(log_path), "%s/log", dir);
	segment = shm_create(path, &sizes, "1", getuid(), getgid());
	assert_true(segment >= 0);
	assert_int_equal(shm_prepare_slot(segment, 0), 0);
	assert_int_equal(shm_map(&shm, segment, false), 0);
	assert_int_equal(chan_pair(up), 0);
	assert_int_equal(chan_pair(bell), 0);
	bridge = fork();
	assert_true(bridge >= 0);
	if (bridge == 0) {
		struct heritage h = heritage(c, segment, up[1], bell[1]);

		close(up[0]);
		close(bell[0]);
		if (log_open(log_path, LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT) < 0)
			_exit(98);
		_exit(bridge_main(&h));
	}
	close(up[1]);
	close(bell[1]);
	close(segment);
	config_free(c);
	control = up[0];
	worker = bell[0];
	return 0;
}

static int teardown(void **state)
{
	char cmd[128];

	(void)state;
	if (bridge > 0) {
		kill(bridge, SIGKILL);
		waitpid(bridge, NULL, 0);
	}
	close(control);
	close(worker);
	control = worker = -1;
	shm_unmap(&shm);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

/* Its exit status, or 128 + signal. */
static int ended(void)
{
	int status;

	assert_int_equal(waitpid(bridge, &status, 0), bridge);
	bridge = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* A tick begins after this call, and is over. */
static void ticks(void)
{
	uint64_t end = clock_ms(CLOCK_MONOTONIC) + PATIENCE_MS;

	for (int i = 0; i < 2; i++) {
		uint64_t was = stat_get(shm.bridge->beat_ms);

		while (stat_get(shm.bridge->beat_ms) == was) {
			assert_int_equal(waitpid(bridge, NULL, WNOHANG), 0);
			assert_true(clock_ms(CLOCK_MONOTONIC) < end);
			usleep(1000);
		}
	}
}

static bool logged(const char *text)
{
	char log[65536] = "";
	FILE *f = fopen(log_path, "r");

	assert_non_null(f);
	log[fread(log, 1, sizeof(log) - 1, f)] = '\0';
	fclose(f);
	return strstr(log, text);
}

/* A master that is killed closes what it has one by one: the doorbell's end before the channel's,
 * and ticks come in between. What the rings hold is stored all the same. */
static void master_dies_slowly(void **state)
{
	(void)state;
	ticks();
	close(worker);
	worker = -1;
	ticks();
	close(control);
	control = -1;
	assert_int_equal(ended(), CHILD_EXIT_OK);
	assert_true(logged("the bridge stores what it has and ends"));
}

static void doorbell_breaks(void **state)
{
	(void)state;
	ticks();
	close(worker);
	worker = -1;
	assert_int_equal(ended(), 1);
	assert_true(logged("the bridge begins anew"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(master_dies_slowly, setup, teardown),
		cmocka_unit_test_setup_teardown(doorbell_breaks, setup, teardown),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
