/*
 * test_syslog: lines as they arrive at a syslog daemon, and what happens when there is none.
 */
#include <errno.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>
#include <wsgate/log.h>

static char dir[] = "/tmp/test_syslog.XXXXXX";
static struct sockaddr_un at = {.sun_family = AF_UNIX};
static int connects;

int __real_connect(int fd, const struct sockaddr *a, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *a, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *a, socklen_t len)
{
	(void)a;
	assert_int_equal(len, sizeof(at));
	assert_string_equal(((const struct sockaddr_un *)(const void *)a)->sun_path, "/dev/log");
	connects++;
	return __real_connect(fd, (struct sockaddr *)&at, sizeof(at));
}

static int daemon_starts(int type)
{
	struct timeval patience = {.tv_sec = 5};
	int fd = socket(AF_UNIX, type, 0);

	assert_true(fd >= 0);
	unlink(at.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void daemon_ends(int fd)
{
	close(fd);
	unlink(at.sun_path);
}

static int opened(void **state)
{
	(void)state;
	log_set_process("worker 0");
	return log_open("syslog", LOG_LEVEL_TRACE, LOG_FORMAT_TEXT);
}

static int closed(void **state)
{
	(void)state;
	if (log_open("/dev/null", LOG_LEVEL_INFO, LOG_FORMAT_TEXT) < 0)
		return -1;
	log_info("what was lost is said here");
	return log_open("stderr", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
}

/* "<27>Nov 25 03:00:00 wsgated[123]: ", then that text, and no newline. */
static void expect_line(const char *got, int priority, const char *text)
{
	char head[128];
	regmatch_t m;
	regex_t re;

	snprintf(head, sizeof(head),
		"^<%d>[A-Z][a-z][a-z] [ 123][0-9] [0-9:]{8} wsgated\\[%d\\]: ", priority,
		(int)getpid());
	assert_int_equal(regcomp(&re, head, REG_EXTENDED), 0);
	if (regexec(&re, got, 1, &m, 0) != 0)
		fail_msg("no such head (%s): %s", head, got);
	assert_string_equal(got + m.rm_eo, text);
	regfree(&re);
}

static void expect(int fd, int priority, const char *text)
{
	char buf[8192];
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);

	assert_true(n > 0);
	buf[n] = '\0';
	expect_line(buf, priority, text);
}

/* daemon is facility 3: 24 and the severity. */
static void test_priorities(void **state)
{
	int fd = daemon_starts(SOCK_DGRAM);

	(void)state;
	log_error("one", kv_str("user", "a\nb <0>\""));
	expect(fd, 24 + 3, "worker 0: one user=\"a\\x0ab <0>\\\"\"");
	log_warn("two");
	expect(fd, 24 + 4, "worker 0: two");
	log_info("three");
	expect(fd, 24 + 6, "worker 0: three");
	log_debug("four");
	expect(fd, 24 + 7, "worker 0: four");
	log_trace("five %s %n");
	expect(fd, 24 + 7, "worker 0: five %s %n");
	daemon_ends(fd);
}

static void test_json(void **state)
{
	int fd = daemon_starts(SOCK_DGRAM);
	char buf[1024];
	ssize_t n;

	(void)state;
	log_set(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	log_info("one", kv_str("k", "v"));
	n = recv(fd, buf, sizeof(buf) - 1, 0);
	assert_true(n > 0);
	buf[n] = '\0';
	assert_non_null(strstr(buf, "]: {\"time\":\""));
	assert_string_equal(strstr(buf, "\"level\""),
		"\"level\":\"info\",\"process\":\"worker 0\",\"message\":\"one\",\"k\":\"v\"}");
	daemon_ends(fd);
}

/* No daemon, then one, then another one on the same path: each line goes where it can. */
static void test_comes_and_goes(void **state)
{
	int fd;

	(void)state;
	log_info("nobody hears this");
	log_info("nor this");
	fd = daemon_starts(SOCK_DGRAM);
	log_info("first");
	expect(fd, 24 + 4, "worker 0: log lines lost lines=2");
	expect(fd, 24 + 6, "worker 0: first");
	daemon_ends(fd);
	log_info("lost");
	fd = daemon_starts(SOCK_DGRAM);
	connects = 0;
	log_info("second");
	expect(fd, 24 + 4, "worker 0: log lines lost lines=1");
	expect(fd, 24 + 6, "worker 0: second");
	assert_int_equal(connects, 1);
	daemon_ends(fd);
	fd = daemon_starts(SOCK_DGRAM); /* unnoticed in between */
	log_info("third");
	expect(fd, 24 + 6, "worker 0: third");
	daemon_ends(fd);
}

/* A daemon that stands still: its queue fills, and we go on. */
static void test_stands_still(void **state)
{
	int fd = daemon_starts(SOCK_DGRAM), i;
	char buf[8192];

	(void)state;
	alarm(20);
	for (i = 0; i < 5000; i++)
		log_info("a line", kv_int("n", i));
	alarm(0);
	expect(fd, 24 + 6, "worker 0: a line n=0");
	while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
	log_info("it goes on");
	assert_true(recv(fd, buf, sizeof(buf), 0) > 0);
	assert_non_null(strstr(buf, "log lines lost lines="));
	expect(fd, 24 + 6, "worker 0: it goes on");
	daemon_ends(fd);
}

static void test_stream(void **state)
{
	int fd = daemon_starts(SOCK_STREAM), peer, i;
	char buf[8192];
	ssize_t n;

	(void)state;
	log_info("one");
	log_info("two");
	peer = accept(fd, NULL, NULL);
	assert_true(peer >= 0);
	n = recv(peer, buf, sizeof(buf) - 1, 0);
	assert_true(n > 0);
	assert_int_equal(buf[n - 1], '\0'); /* each ends with one */
	expect_line(buf, 24 + 6, "worker 0: one");
	expect_line(buf + strlen(buf) + 1, 24 + 6, "worker 0: two");
	alarm(20);
	for (i = 0; i < 20000; i++)
		log_info("nobody reads", kv_int("n", i));
	alarm(0);
	close(peer);
	daemon_ends(fd);
}

/* A child must not hold the descriptor of its father: its number is closed and given to others. */
static void test_fork(void **state)
{
	int fd = daemon_starts(SOCK_DGRAM);

	(void)state;
	log_info("one");
	expect(fd, 24 + 6, "worker 0: one");
	assert_int_equal(log_fd(), -1);
	connects = 0;
	log_info("two");
	assert_int_equal(connects, 1);
	expect(fd, 24 + 6, "worker 0: two");
	daemon_ends(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_priorities, opened, closed),
		cmocka_unit_test_setup_teardown(test_json, opened, closed),
		cmocka_unit_test_setup_teardown(test_comes_and_goes, opened, closed),
		cmocka_unit_test_setup_teardown(test_stands_still, opened, closed),
		cmocka_unit_test_setup_teardown(test_stream, opened, closed),
		cmocka_unit_test_setup_teardown(test_fork, opened, closed),
	};
	int r;

	if (!mkdtemp(dir))
		return 1;
	snprintf(at.sun_path, sizeof(at.sun_path), "%s/log", dir);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return r;
}
