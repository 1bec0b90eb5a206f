/*
 * test_notify: what the init system hears, over a socket of the test's own.
 */
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
#include "../../src/master/notify.h"

static char dir[] = "/tmp/test_notify.XXXXXX";
static char path[64], logfile[64];

/* name as in the variable: a path or "@name". */
static int listen_at(const char *name)
{
	struct timeval patience = {.tv_sec = 5};
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	assert_true(fd >= 0);
	strcpy(a.sun_path, name);
	if (name[0] == '@')
		a.sun_path[0] = '\0';
	assert_int_equal(
		bind(fd, (struct sockaddr *)&a,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
		0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static void expect(int fd, const char *text)
{
	char buf[256];
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);

	assert_true(n >= 0);
	buf[n] = '\0';
	assert_string_equal(buf, text);
}

static size_t logged(void)
{
	char buf[4096];
	FILE *f = fopen(logfile, "r");
	size_t n;

	assert_non_null(f);
	n = fread(buf, 1, sizeof(buf) - 1, f);
	fclose(f);
	buf[n] = '\0';
	assert_true(n == 0 || strstr(buf, "cannot tell the init system"));
	return n;
}

static void test_words(void **state)
{
	unsigned long long before, after;
	char buf[256];
	int fd = listen_at(path);
	ssize_t n;

	(void)state;
	notify_ready(4711);
	expect(fd, "READY=1\nMAINPID=4711\n");
	notify_stopping(45000);
	expect(fd, "STOPPING=1\nEXTEND_TIMEOUT_USEC=45000000\n");
	notify_reloading();
	n = recv(fd, buf, sizeof(buf) - 1, 0);
	assert_true(n > 0);
	buf[n] = '\0';
	assert_int_equal(sscanf(buf, "RELOADING=1\nMONOTONIC_USEC=%llu\n", &before), 1);
	notify_reloading();
	n = recv(fd, buf, sizeof(buf) - 1, 0);
	assert_true(n > 0);
	buf[n] = '\0';
	assert_int_equal(sscanf(buf, "RELOADING=1\nMONOTONIC_USEC=%llu\n", &after), 1);
	assert_true(after >= before && after - before < 5000000);
	close(fd);
	unlink(path);
}

static void test_abstract(void **state)
{
	char name[64];
	int fd;

	(void)state;
	snprintf(name, sizeof(name), "@wsgate-test-notify-%ld", (long)getpid());
	fd = listen_at(name);
	notify_ready(1);
	expect(fd, "READY=1\nMAINPID=1\n");
	close(fd);
}

static void test_nobody_asks(void **state)
{
	(void)state;
	unsetenv("NOTIFY_SOCKET");
	notify_ready(1);
	setenv("NOTIFY_SOCKET", "", 1);
	notify_ready(1);
	assert_int_equal(logged(), 0);
}

/* Each is logged, and nothing more comes of it. */
static void test_bad_sockets(void **state)
{
	char longest[200];
	size_t before = 0, now;

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	for (int i = 0; i < 4; i++) {
		const char *bad[] = {"relative", "/", "/nowhere/at/all", longest};

		setenv("NOTIFY_SOCKET", bad[i], 1);
		notify_ready(1);
		now = logged();
		assert_true(now > before);
		before = now;
	}
}

/* Its queue is full: the call comes back. */
static void test_init_that_does_not_read(void **state)
{
	int fd = listen_at(path);
	size_t before = logged();

	(void)state;
	for (int i = 0; i < 5000 && logged() == before; i++)
		notify_ready(1);
	assert_true(logged() > before);
	close(fd);
	unlink(path);
}

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/notify", dir);
	snprintf(logfile, sizeof(logfile), "%s/log", dir);
	return log_open(logfile, LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
}

static int teardown(void **state)
{
	(void)state;
	unlink(logfile);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_abstract),
		cmocka_unit_test(test_nobody_asks),
		cmocka_unit_test(test_bad_sockets),
		cmocka_unit_test(test_init_that_does_not_read),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
