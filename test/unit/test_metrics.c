/* /metrics, made of a segment that the test has filled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <wsgate/tlsctx.h>

#include "../../src/worker/worker.h"

static struct worker w;
static struct config config;
static char path[] = "/tmp/wsgate-metrics-XXXXXX";
static char *text;

const char *admin_not_ready(const struct worker *worker)
{
	(void)worker;
	return "not ready: said by the test";
}

int64_t tlsctx_expires_s(const struct tlsctx *t)
{
	(void)t;
	return 0;
}

static void row(unsigned slot, const char *name)
{
	static uint32_t held[2][STATS_SERVICES + 1];
	struct stats_service *rows = shm_slot(&w.shm, slot)->services;
	unsigned i = name ? stats_service_hold(rows, held[slot], name, strlen(name)) : STATS_OTHER;

	stat_add(rows[i].n.messages_in, 10 + slot);
}

static int setup(void **state)
{
	struct shm_sizes sizes = {3, 16, 1, 0, 65536, 65536};
	int fd;

	(void)state;
	config.max_connections = 77;
	w.c = &config;
	assert_true((fd = mkstemp(path)) >= 0);
	close(fd);
	unlink(path);
	fd = shm_create(path, &sizes, "1.2\"3", getuid(), getgid());
	assert_true(fd >= 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(shm_prepare_slot(fd, i), 0);
	assert_int_equal(shm_map(&w.shm, fd, true), 0);
	close(fd);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	shm_unmap(&w.shm);
	unlink(path);
	free(text);
	return 0;
}

static void make(void)
{
	size_t len;

	free(text);
	text = metrics_text(&w, &len);
	assert_non_null(text);
	assert_int_equal(strlen(text), len);
}

/* A whole line. */
static bool says(const char *line)
{
	char want[256];

	snprintf(want, sizeof(want), "\n%s\n", line);
	return strstr(text, want) != NULL;
}

#define assert_says(line)                                                                          \
	do {                                                                                       \
		if (!says(line))                                                                   \
			fail_msg("no line \"%s\" in:\n%s", line, text);                            \
	} while (0)

static void test_sums_and_labels(void **state)
{
	struct shm_bridge *b = w.shm.bridge;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct shm_slot *s = shm_slot(&w.shm, i);

		stat_set(s->generation, 3 + i);
		atomic_store(&s->pid, (uint32_t)getpid());
		stat_set(s->stats.messages_in, 100 + i);
		stat_set(s->stats.connections, 5 + i);
		stat_set(s->stats.refused[stats_status_index(403)], 1 + i);
		stat_set(s->stats.closed[STATS_BY_GATEWAY][stats_code_index(4002)], 2);
		stat_set(s->process.lag_us, 1234);
		hist_add(&s->stats.delivery, 100 + i, 2);
		row(i, "chat");
		row(i, "other");
		row(i, "a\"b\\c");
		row(i, NULL);
	}
	stat_set(b->before.stats.messages_in, 1000);
	hist_add(&b->before.stats.delivery, UINT32_MAX, 1);
	stat_set(b->stats.rtt_us, 2500001);
	make();
	assert_says("wsgate_ready 0");
	assert_non_null(strstr(text, "wsgate_build_info{version=\"1.2\\\"3\",libevent=\""));
	assert_says("wsgate_received_messages_total 1201");
	assert_says("wsgate_connections{worker=\"0\"} 5");
	assert_says("wsgate_connections{worker=\"1\"} 6");
	assert_says("wsgate_worker_starts_total{worker=\"1\"} 4");
	assert_says("wsgate_handshakes_refused_total{status=\"403\"} 3");
	assert_says("wsgate_connections_closed_total{by=\"gateway\",code=\"4002\"} 4");
	assert_says("wsgate_service_received_messages_total{service=\"chat\"} 21");
	assert_says("wsgate_service_received_messages_total{service=\"other\"} 21");
	assert_says("wsgate_service_received_messages_total{service=\"*other\"} 21");
	assert_says("wsgate_service_received_messages_total{service=\"a\\\"b\\\\c\"} 21");
	assert_says("wsgate_process_event_loop_lag_seconds{process=\"worker 0\"} 0.001234");
	assert_says("wsgate_broker_round_trip_seconds 2.500001");
	assert_says("wsgate_delivery_latency_seconds_bucket{le=\"0.0001\"} 2");
	assert_says("wsgate_delivery_latency_seconds_bucket{le=\"0.00025\"} 4");
	assert_says("wsgate_delivery_latency_seconds_bucket{le=\"30\"} 4");
	assert_says("wsgate_delivery_latency_seconds_bucket{le=\"+Inf\"} 5");
	assert_says("wsgate_delivery_latency_seconds_count 5");
	assert_says("wsgate_delivery_latency_seconds_sum 4294.967697");
	assert_says("wsgate_connections_limit 77");
	assert_says("wsgate_last_reload_successful 1");
}

static void test_reloads(void **state)
{
	(void)state;
	w.deeds.reloads_good = 3;
	w.deeds.reloads_failed = 1;
	w.deeds.outcome = PROTO_RELOAD_FAILED;
	w.deeds.reload_ms = 1795864599455;
	make();
	assert_says("wsgate_reloads_total{outcome=\"good\"} 3");
	assert_says("wsgate_reloads_total{outcome=\"failed\"} 1");
	assert_says("wsgate_last_reload_successful 0");
	assert_says("wsgate_last_reload_timestamp_seconds 1795864599.4549999");
}

/* What a dead worker had open is gone; what it had counted is not. */
static void test_dead(void **state)
{
	struct shm_slot *s = shm_slot(&w.shm, 1);

	(void)state;
	stat_set(s->buried, stat_get(s->generation));
	make();
	assert_says("wsgate_received_messages_total 1201");
	assert_says("wsgate_worker_up{worker=\"1\"} 0");
	assert_null(strstr(text, "\nwsgate_connections{worker=\"1\"}"));
	atomic_store(&s->pid, 0); /* it was asked to end */
	make();
	assert_says("wsgate_received_messages_total 1201");
	assert_null(strstr(text, "\nwsgate_worker_up{worker=\"1\"}"));
}

/* Every family once, with help and type, its lines together; no name twice with the same labels. */
static void test_form(void **state)
{
	char *copy, *line, *save = NULL, family[128] = "";
	unsigned families = 0;

	(void)state;
	make();
	copy = strdup(text);
	assert_non_null(copy);
	for (line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char want[160];

		if (strncmp(line, "# HELP ", 7) == 0) {
			snprintf(family, sizeof(family), "%.*s", (int)strcspn(line + 7, " "),
				line + 7);
			snprintf(want, sizeof(want), "# HELP %s ", family);
			assert_null(strstr(strstr(text, want) + 1, want));
			assert_true(strlen(line) > strlen(want));
			families++;
		} else if (strncmp(line, "# TYPE ", 7) != 0) {
			assert_memory_equal(line, family, strlen(family));
			snprintf(want, sizeof(want), "\n%.*s ", (int)(strrchr(line, ' ') - line),
				line);
			assert_null(strstr(strstr(text, want) + 1, want));
		}
	}
	assert_true(families > STATS_WORKER_N + STATS_BRIDGE_N + STATS_SERVICE_N + STATS_PROCESS_N +
				       STATS_HISTS);
	free(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sums_and_labels),
		cmocka_unit_test(test_reloads),
		cmocka_unit_test(test_dead),
		cmocka_unit_test(test_form),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
