/*
 * test_log: lines as they arrive in a file.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include <wsgate/log.h>

static char dir[] = "/tmp/test_log.XXXXXX";
static char path[64], old[64];
static char text[1 << 20];
static uint64_t now_ms = 1;

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	if (id != CLOCK_MONOTONIC)
		return __real_clock_gettime(id, ts);
	*ts = (struct timespec){(time_t)(now_ms / 1000), (long)(now_ms % 1000) * 1000000};
	return 0;
}

/* All of a file; the caller reads `text`. */
static const char *slurp(const char *name)
{
	FILE *f = fopen(name, "r");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

static int fresh(void **state)
{
	(void)state;
	unlink(path);
	unlink(old);
	log_set_process("worker 0");
	return log_open(path, LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
}

static int done(void **state)
{
	(void)state;
	return log_open("stderr", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
}

/* "2026-11-25T11:20:30.123Z ": digits where there are digits. The rest of the line. */
static const char *after_time(const char *line)
{
	static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ ";
	size_t i;

	for (i = 0; form[i] != '\0'; i++) {
		if (form[i] == 'd')
			assert_true(isdigit((unsigned char)line[i]));
		else
			assert_int_equal(line[i], form[i]);
	}
	return line + i;
}

static void test_text(void **state)
{
	(void)state;
	log_info("message", kv_str("key", "value"), kv_str("key2", "va\nlue"), kv_int("n", -5),
		kv_uint("u", UINT64_MAX));
	assert_string_equal(after_time(slurp(path)),
		"info worker 0: message key=value key2=\"va\\x0alue\" "
		"n=-5 u=18446744073709551615\n");
}

static void test_text_escapes(void **state)
{
	(void)state;
	log_warn("a\nb", kv_str("q", "a\"b\\c"), kv_str("empty", ""), kv_str("null", NULL),
		kv_mem("m", "a\0b", 3), kv_str("eq", "a=b"), kv_str("e", "\303\251\033[31m\177"),
		kv_mem("none", NULL, 7));
	assert_string_equal(after_time(slurp(path)),
		"warn worker 0: a\\x0ab q=\"a\\\"b\\\\c\" empty=\"\" null=\"\" m=\"a\\x00b\" "
		"eq=\"a=b\" "
		"e=\"\\xc3\\xa9\\x1b[31m\\x7f\" none=\"\"\n");
}

static void test_errno_stays(void **state)
{
	(void)state;
	errno = ENOENT;
	log_error("gone", kv_errno(errno));
	assert_int_equal(errno, ENOENT);
	assert_string_equal(after_time(slurp(path)),
		"error worker 0: gone error=\"No such file or directory\"\n");
}

static void test_levels(void **state)
{
	int calls = 0;

	(void)state;
	assert_true(log_wants(LOG_LEVEL_INFO));
	assert_false(log_wants(LOG_LEVEL_DEBUG));
	log_debug("no", kv_int("n", calls++));
	assert_int_equal(calls, 0); /* fields are not even made */
	assert_int_equal(log_open(path, LOG_LEVEL_TRACE, LOG_FORMAT_TEXT), 0);
	log_trace("yes");
	assert_string_equal(after_time(slurp(path)), "trace worker 0: yes\n");
}

/* A small reader of JSON, of what may stand in a line: false when it is none. */
static bool json_string(const char **p)
{
	const char *s = *p;

	if (*s++ != '"')
		return false;
	for (; *s != '"'; s++) {
		if ((unsigned char)*s < ' ')
			return false;
		if (*s == '\\') {
			s++;
			if (*s == 'u') {
				int i;

				for (i = 1; i <= 4; i++)
					if (!isxdigit((unsigned char)s[i]))
						return false;
				s += 4;
			} else if (*s == '\0' || !strchr("\"\\", *s)) {
				return false;
			}
		}
	}
	*p = s + 1;
	return true;
}

static bool json_line(const char *s)
{
	if (*s++ != '{')
		return false;
	for (;;) {
		if (!json_string(&s) || *s++ != ':')
			return false;
		if (*s == '"') {
			if (!json_string(&s))
				return false;
		} else if (strncmp(s, "true", 4) == 0) {
			s += 4;
		} else {
			s += *s == '-';
			if (!isdigit((unsigned char)*s))
				return false;
			s += strspn(s, "0123456789");
		}
		if (*s == '}')
			return strcmp(s, "}\n") == 0;
		if (*s++ != ',')
			return false;
	}
}

static void test_json(void **state)
{
	const char *s;

	(void)state;
	assert_int_equal(log_open(path, LOG_LEVEL_INFO, LOG_FORMAT_JSON), 0);
	log_info("hello", kv_str("s", "a\nb\"\\\303\251\177\302\205\360\237\230\200"),
		kv_str("turned", "a\342\200\250b\342\200\256c\342\201\246d"),
		kv_mem("bad", "\377\300\200\355\240\200x\303", 8), kv_int("n", INT64_MIN));
	s = slurp(path);
	assert_true(json_line(s));
	assert_non_null(strstr(
		s, "\",\"level\":\"info\",\"process\":\"worker 0\",\"message\":\"hello\",\"s\":"));
	assert_non_null(strstr(s, "\"a\\u000ab\\\"\\\\\303\251\\u007f\\u0085\360\237\230\200\""));
	assert_non_null(strstr(s, "\"turned\":\"a\\u2028b\\u202ec\\u2066d\""));
	assert_non_null(
		strstr(s, "\"bad\":\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffdx\\ufffd\""));
	assert_non_null(strstr(s, "\"n\":-9223372036854775808}"));
}

/* Every byte, and every length around the end of a line: always a whole object. */
static void test_json_always_valid(void **state)
{
	static char value[8192];
	size_t n;
	unsigned b;

	(void)state;
	for (b = 0; b < 256; b += 17) {
		memset(value, (int)b, sizeof(value));
		for (n = b ? 600 : 500; n < 4200; n += n < 4000 ? 97 : 1) {
			fresh(NULL);
			assert_int_equal(log_open(path, LOG_LEVEL_INFO, LOG_FORMAT_JSON), 0);
			log_info("x", kv_mem("a", value, n), kv_str("after", "12345"),
				kv_int("last", 1234567));
			slurp(path);
			assert_true(strlen(text) <= 4096);
			if (!json_line(text))
				print_error("byte %u, %zu: %s\n", b, n, text);
			assert_true(json_line(text));
		}
	}
}

static void test_text_is_cut(void **state)
{
	static char value[8192];
	size_t n;

	(void)state;
	memset(value, 'v', sizeof(value) - 1);
	for (n = 3900; n < 4200; n++) {
		fresh(NULL);
		log_info("x", kv_mem("a", value, n), kv_str("b", "\n"), kv_int("c", 1));
		slurp(path);
		assert_true(strlen(text) <= 4096);
		assert_int_equal(text[strlen(text) - 1], '\n');
		assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
		if (!strstr(text, " c=1\n"))
			assert_non_null(strstr(text, " ...\n"));
	}
}

static void test_reopen(void **state)
{
	(void)state;
	log_info("one");
	assert_int_equal(rename(path, old), 0);
	log_info("two");
	assert_int_equal(log_reopen(), 0);
	log_info("three");
	assert_non_null(strstr(slurp(old), "two\n"));
	assert_null(strstr(text, "three"));
	assert_string_equal(after_time(slurp(path)), "info worker 0: three\n");
}

static void test_faults_keep_the_old(void **state)
{
	(void)state;
	assert_int_equal(log_open("/nonexistent/x.log", LOG_LEVEL_TRACE, LOG_FORMAT_JSON), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(log_open("/", LOG_LEVEL_TRACE, LOG_FORMAT_JSON), -1);
	assert_int_equal(errno, EISDIR);
	assert_false(log_wants(LOG_LEVEL_DEBUG));
	log_info("still here");
	assert_string_equal(after_time(slurp(path)), "info worker 0: still here\n");
	/* The directory is gone when the file is to be opened again. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(log_reopen(), -1);
	log_info("into the file without a name");
	assert_int_equal(rmdir(path), 0);
}

/* Nothing waits for its reader, neither at the start nor later. */
static void test_fifo(void **state)
{
	char buf[256];
	ssize_t n;
	int fd;

	(void)state;
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(log_check(path), 0);
	assert_int_equal(log_try(path), 0);
	assert_int_equal(log_reopen(), 0);
	log_info("kept");
	fd = open(path, O_RDONLY | O_NONBLOCK);
	assert_true(fd >= 0);
	n = read(fd, buf, sizeof(buf) - 1);
	assert_true(n > 0);
	buf[n] = '\0';
	assert_string_equal(after_time(buf), "info worker 0: kept\n");
	close(fd);
	for (int i = 0; i < 2000; i++)
		log_info("too much for a pipe");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(log_reopen(), 0);
	log_info("room again");
	assert_non_null(strstr(slurp(path), "log lines lost lines="));
}

static void test_adopt(void **state)
{
	int fd = open(old, O_WRONLY | O_CREAT | O_APPEND, 0600);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(log_adopt(fd), 0);
	close(fd);
	log_info("adopted");
	assert_string_equal(after_time(slurp(old)), "info worker 0: adopted\n");
	assert_true(log_fd() > 2);
	assert_int_equal(log_open("stderr", LOG_LEVEL_INFO, LOG_FORMAT_TEXT), 0);
	assert_int_equal(log_fd(), 2);
	fd = open(old, O_WRONLY | O_APPEND);
	assert_true(fd >= 0);
	assert_int_equal(log_adopt(fd), 0); /* from a target that is no file, too */
	close(fd);
	log_set(LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
	log_info("not any more");
	log_warn("again");
	assert_true(strstr(slurp(old), "not any more") == NULL);
	assert_true(strstr(slurp(old), "warn worker 0: again\n") != NULL);
	log_set(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	assert_int_equal(log_adopt(-1), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(log_open("syslog", LOG_LEVEL_INFO, LOG_FORMAT_TEXT), 0);
	log_info("test_log: a line to syslog");
	assert_int_equal(log_fd(), -1);
	assert_int_equal(log_reopen(), 0);
}

static void test_echo(void **state)
{
	int saved = dup(2), fd = open(old, O_WRONLY | O_CREAT | O_APPEND, 0600);

	(void)state;
	assert_true(saved >= 0 && fd >= 0);
	dup2(fd, 2);
	log_echo(1);
	log_error("twice");
	log_warn("once");
	log_echo(0);
	log_error("once more");
	dup2(saved, 2);
	close(saved);
	close(fd);
	assert_string_equal(after_time(slurp(old)), "error worker 0: twice\n");
}

/* A pipe that is full, then read: the lost lines are counted. */
static void test_lost(void **state)
{
	int saved = dup(2), fds[2], i;
	char rest[4096];
	ssize_t n;

	(void)state;
	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	dup2(fds[1], 2);
	assert_int_equal(log_open("stderr", LOG_LEVEL_INFO, LOG_FORMAT_TEXT), 0);
	while (write(fds[1], rest, 1) == 1)
		;
	for (i = 0; i < 5; i++)
		log_info("no room");
	while (read(fds[0], rest, sizeof(rest)) > 0)
		;
	log_info("room");
	n = read(fds[0], rest, sizeof(rest) - 1);
	dup2(saved, 2);
	close(saved);
	close(fds[0]);
	close(fds[1]);
	assert_true(n > 0);
	rest[n] = '\0';
	assert_non_null(strstr(rest, "warn worker 0: log lines lost lines=5\n"));
	assert_non_null(strstr(rest, "info worker 0: room\n"));
}

/* The same with a pipe that would block: nobody waits for its reader. */
static void test_nobody_reads(void **state)
{
	int saved = dup(2), fds[2], i;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	dup2(fds[1], 2);
	assert_int_equal(log_open("stderr", LOG_LEVEL_INFO, LOG_FORMAT_TEXT), 0);
	alarm(20);
	for (i = 0; i < 5000; i++) /* some 200 kB, into 64 */
		log_info("nobody reads this", kv_int("n", i));
	alarm(0);
	assert_int_equal(log_open(path, LOG_LEVEL_INFO, LOG_FORMAT_TEXT), 0);
	log_info("elsewhere");
	assert_non_null(strstr(slurp(path), "warn worker 0: log lines lost lines="));
	dup2(saved, 2);
	close(saved);
	close(fds[0]);
	close(fds[1]);
}

static void test_no_space(void **state)
{
	(void)state;
	assert_int_equal(log_open("/dev/full", LOG_LEVEL_INFO, LOG_FORMAT_TEXT), 0);
	log_info("no space");
	log_catch_up();
	log_info("no space");
	assert_int_equal(log_open(path, LOG_LEVEL_INFO, LOG_FORMAT_TEXT), 0);
	log_info("space");
	assert_non_null(strstr(slurp(path), "warn worker 0: log lines lost lines=2\n"));
	assert_non_null(strstr(text, "info worker 0: space\n"));
}

/* Nothing more happens: that lines are missing is said all the same, once. */
static void test_lost_and_silent(void **state)
{
	(void)state;
	assert_int_equal(log_open("/dev/full", LOG_LEVEL_INFO, LOG_FORMAT_TEXT), 0);
	log_info("no space");
	assert_int_equal(log_open(path, LOG_LEVEL_INFO, LOG_FORMAT_TEXT), 0);
	log_catch_up();
	log_catch_up();
	assert_string_equal(after_time(slurp(path)), "warn worker 0: log lines lost lines=1\n");
}

static void *many(void *arg)
{
	int i;

	for (i = 0; i < 500; i++)
		log_info("thread", kv_str("who", arg),
			kv_str("filler", "0123456789012345678901234567890123456789"));
	return NULL;
}

static void test_threads(void **state)
{
	static char names[4][2] = {"a", "b", "c", "d"};
	pthread_t t[4];
	size_t i, lines = 0, n;
	const char *p;

	(void)state;
	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, many, names[i]), 0);
	for (i = 0; i < 20; i++)
		assert_int_equal(log_reopen(), 0); /* meanwhile */
	for (i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	for (p = slurp(path); *p != '\0'; p = strchr(p, '\n') + 1, lines++) {
		const char *rest = after_time(p);

		n = strcspn(rest, "\n");
		assert_int_equal(n, strlen("info worker 0: thread who=a "
					   "filler=0123456789012345678901234567890123456789"));
	}
	assert_int_equal(lines, 2000);
}

static void test_limit(void **state)
{
	int i;

	(void)state;
	now_ms = 1000000;
	for (i = 0; i < 10; i++) {
		log_some_infos(3, "flood", kv_int("n", i));
		log_some_infos(3, "another kind", kv_int("n", i));
		log_catch_up(); /* not yet */
	}
	slurp(path);
	assert_non_null(strstr(text, "info worker 0: flood n=2\n"));
	assert_null(strstr(text, "flood n=3\n"));
	assert_non_null(strstr(text, "another kind n=2\n"));
	assert_null(strstr(text, "left out"));
	/* Nobody says it when no other line of that kind comes, but the beat. */
	fresh(NULL);
	now_ms += 10000;
	log_catch_up();
	slurp(path);
	assert_non_null(strstr(text, "warn worker 0: lines were left out like=flood lines=7\n"));
	assert_non_null(strstr(text, "like=\"another kind\" lines=7\n"));
	fresh(NULL);
	log_catch_up();
	assert_string_equal(slurp(path), "");
	/* The next line says it, too. */
	for (i = 0; i < 5; i++)
		log_some_infos(3, "flood", kv_int("n", i));
	now_ms += 10000;
	fresh(NULL);
	log_some_infos(3, "flood", kv_int("n", 5));
	slurp(path);
	assert_non_null(strstr(text, "warn worker 0: lines were left out like=flood lines=2\n"));
	assert_non_null(strstr(text, "info worker 0: flood n=5\n"));
}

static void test_again(void **state)
{
	(void)state;
	log_some_warnings(1, "away");
	log_some_warnings(1, "away");
	log_again("away");
	log_some_warnings(1, "away");
	log_some_errors(1, "away"); /* one limit for all of that name */
	slurp(path);
	assert_string_equal(strstr(after_time(text), "\n") + 26, "warn worker 0: away\n");
}

/* More kinds than there is room for share the last place. */
static void test_many_kinds(void **state)
{
	static char names[100][8];

	(void)state;
	for (int i = 0; i < 100; i++) {
		snprintf(names[i], sizeof(names[i]), "k%d", i);
		log_allow(names[i], 1);
	}
	assert_false(log_allow("k99", 1));
	assert_false(log_allow("k0", 1));
}

static void test_more(void **state)
{
	const struct log_field who[] = {kv_str("conn", "c1"), kv_mem("user", "a\nb", 3), kv_end};

	(void)state;
	log_info("x", kv_int("a", 1), kv_more(who), kv_more(NULL), kv_int("b", 2));
	assert_string_equal(
		after_time(slurp(path)), "info worker 0: x a=1 conn=c1 user=\"a\\x0ab\" b=2\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_text, fresh, done),
		cmocka_unit_test_setup_teardown(test_text_escapes, fresh, done),
		cmocka_unit_test_setup_teardown(test_errno_stays, fresh, done),
		cmocka_unit_test_setup_teardown(test_levels, fresh, done),
		cmocka_unit_test_setup_teardown(test_json, fresh, done),
		cmocka_unit_test_setup_teardown(test_json_always_valid, fresh, done),
		cmocka_unit_test_setup_teardown(test_text_is_cut, fresh, done),
		cmocka_unit_test_setup_teardown(test_reopen, fresh, done),
		cmocka_unit_test_setup_teardown(test_fifo, fresh, done),
		cmocka_unit_test_setup_teardown(test_faults_keep_the_old, fresh, done),
		cmocka_unit_test_setup_teardown(test_adopt, fresh, done),
		cmocka_unit_test_setup_teardown(test_echo, fresh, done),
		cmocka_unit_test_setup_teardown(test_lost, fresh, done),
		cmocka_unit_test_setup_teardown(test_lost_and_silent, fresh, done),
		cmocka_unit_test_setup_teardown(test_threads, fresh, done),
		cmocka_unit_test_setup_teardown(test_limit, fresh, done),
		cmocka_unit_test_setup_teardown(test_again, fresh, done),
		cmocka_unit_test_setup_teardown(test_many_kinds, fresh, done),
		cmocka_unit_test_setup_teardown(test_more, fresh, done),
		cmocka_unit_test_setup_teardown(test_nobody_reads, fresh, done),
		cmocka_unit_test_setup_teardown(test_no_space, fresh, done),
	};
	int r;

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/log", dir);
	snprintf(old, sizeof(old), "%s/old", dir);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	unlink(old);
	rmdir(dir);
	return r;
}
