/*
 * test_daemon: each case in a child where it changes the process for good.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include <wsgate/daemon.h>

static char dir[] = "/tmp/test_daemon.XXXXXX";
static char pidfile[64];
static char **args;

/* Runs fn in a child. Its exit status, or -1 when it was killed. */
static int in_child(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn());
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static size_t read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n;

	assert_true(fd >= 0);
	n = read(fd, buf, size - 1);
	close(fd);
	assert_true(n >= 0);
	buf[n] = '\0';
	return (size_t)n;
}

static void test_title(void **state)
{
	char buf[8192];
	size_t n;

	(void)state;
	daemon_title("wsgated: %s %d", "worker", 12);
	n = read_file("/proc/self/cmdline", buf, sizeof(buf));
	assert_string_equal(buf, "wsgated: worker 12");
	assert_true(n <= strlen("wsgated: worker 12") + 1); /* nothing of the old one behind it */
	read_file("/proc/self/comm", buf, sizeof(buf));
	assert_string_equal(buf, "wsgated: worker\n");
	daemon_title("w");
	n = read_file("/proc/self/cmdline", buf, sizeof(buf));
	assert_string_equal(buf, "w");
	assert_true(n <= 2);
	/* What pointed there is still what it was. */
	assert_non_null(strstr(args[0], "test_daemon"));
	assert_non_null(strstr(program_invocation_name, "test_daemon"));
	assert_string_equal(program_invocation_short_name, "test_daemon");
	assert_non_null(getenv("PATH"));
	assert_int_equal(setenv("TEST_DAEMON", "1", 1), 0);
	assert_int_equal(unsetenv("TEST_DAEMON"), 0);
}

static int lock_again(void)
{
	pid_t other = 0;
	int fd = daemon_pidfile_open(pidfile, &other);

	return fd < 0 && errno == EWOULDBLOCK && other == getppid() ? 0 : 1;
}

static int lock_free(void)
{
	pid_t other = 0;

	return daemon_pidfile_open(pidfile, &other) >= 0 && other == 0 ? 0 : 1;
}

static void test_pidfile(void **state)
{
	char buf[64], want[64];
	pid_t other;
	int copy, fd = open(pidfile, O_WRONLY | O_CREAT, 0644);

	(void)state;
	assert_true(fd >= 0);
	assert_true(write(fd, "a stale and much longer pid\n", 28) == 28);
	close(fd);
	fd = daemon_pidfile_open(pidfile, &other);
	assert_true(fd >= 0);
	assert_int_equal(daemon_pidfile_write(fd), 0);
	snprintf(want, sizeof(want), "%d\n", (int)getpid());
	read_file(pidfile, buf, sizeof(buf));
	assert_string_equal(buf, want);
	/* Another descriptor of the same file, which read_file() closed, does not give the lock up.
	 */
	assert_int_equal(in_child(lock_again), 0);
	/* It goes with a copy, wherever that came from. */
	copy = dup(fd);
	close(fd);
	assert_int_equal(in_child(lock_again), 0);
	close(copy);
	assert_int_equal(in_child(lock_free), 0);
}

/* Its child has the descriptor for a while longer. */
static int dies_with_the_lock(void)
{
	pid_t other;
	int fd = daemon_pidfile_open(pidfile, &other);

	if (fd < 0 || daemon_pidfile_write(fd) < 0)
		return 1;
	if (fork() == 0) {
		usleep(100000);
		_exit(0);
	}
	return 0;
}

static void test_pidfile_of_the_dead(void **state)
{
	pid_t other;
	int fd;

	(void)state;
	assert_int_equal(in_child(dies_with_the_lock), 0);
	fd = daemon_pidfile_open(pidfile, &other);
	assert_true(fd >= 0);
	assert_int_equal(other, 0);
	close(fd);
}

static void test_pidfile_faults(void **state)
{
	char path[128];
	pid_t other;

	(void)state;
	assert_int_equal(daemon_pidfile_open("/nonexistent/x.pid", &other), -1);
	assert_int_equal(errno, ENOENT);
	snprintf(path, sizeof(path), "%s/link", dir);
	assert_int_equal(symlink("/tmp/elsewhere", path), 0);
	assert_int_equal(daemon_pidfile_open(path, &other),
		-1); /* root must not write where somebody points */
	assert_int_equal(errno, ELOOP);
	unlink(path);
	assert_int_equal(daemon_pidfile_write(-1), -1);
	assert_int_equal(errno, EBADF);
}

static int detach_well(void)
{
	if (daemon_detach() < 0)
		return 99;
	if (getsid(0) != getpid())
		abort();
	daemon_started(0);
	return 55; /* of the daemon; nobody sees it */
}

static int detach_badly(void)
{
	if (daemon_detach() < 0)
		return 99;
	daemon_started(1);
	return 0;
}

static int detach_and_die(void)
{
	if (daemon_detach() < 0)
		return 99;
	return 0; /* before daemon_started() */
}

static int detach_slowly(void)
{
	if (daemon_detach() < 0)
		return 99;
	usleep(50000); /* the starter is to wait for the file */
	close(open(pidfile, O_WRONLY | O_CREAT, 0644));
	daemon_started(0);
	return 0;
}

static int started_without_detach(void)
{
	daemon_started(2);
	return 7;
}

static void test_detach(void **state)
{
	(void)state;
	assert_int_equal(in_child(detach_well), 0);
	assert_int_equal(in_child(detach_badly), 1);
	assert_int_equal(in_child(detach_and_die), 2);
	assert_int_equal(in_child(started_without_detach), 7);
	unlink(pidfile);
	assert_int_equal(in_child(detach_slowly), 0);
	assert_int_equal(access(pidfile, F_OK), 0);
}

static void test_user(void **state)
{
	uid_t uid = 1;
	gid_t gid = 1;

	(void)state;
	assert_int_equal(daemon_user("", &uid, &gid), 0);
	assert_int_equal(uid, getuid());
	assert_int_equal(gid, getgid());
	assert_int_equal(daemon_user("root", &uid, &gid), 0);
	assert_int_equal(uid, 0);
	errno = 0;
	assert_int_equal(daemon_user("no-such-user", &uid, &gid), -1);
	assert_int_equal(errno, ENOENT);
}

/* All of /proc/self/status that says what one may. */
static bool powerless(void)
{
	static const char *const lines[] = {"CapInh:\t0000000000000000\n",
		"CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n",
		"CapBnd:\t0000000000000000\n", "CapAmb:\t0000000000000000\n", "NoNewPrivs:\t1\n",
		"Groups:\t \n"};
	char buf[8192];

	read_file("/proc/self/status", buf, sizeof(buf));
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (!strstr(buf, lines[i])) {
			fprintf(stderr, "%s not in %s\n", lines[i], buf);
			return false;
		}
	}
	return prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0) == 0;
}

#ifndef __SANITIZE_THREAD__ /* its own thread has not what capset() gives ours: glibc aborts */
/* As ambient ones survive the change of user: with AmbientCapabilities= of systemd it starts so. */
static int drop_what_was_left(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3] = {{0}};
	const uint32_t some = 1u << CAP_NET_BIND_SERVICE | 1u << CAP_SETPCAP | 1u << CAP_SETGID;

	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setresuid(65534, 65534, 65534) < 0)
		return 1;
	d[0] = (struct __user_cap_data_struct){some, some, some};
	if (syscall(SYS_capset, &h, d) < 0 ||
		prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0) < 0)
		return 2;
	return daemon_drop("no-such-user") == 0 && powerless() && geteuid() == 65534 ? 0 : 3;
}
#endif

static int cores_not(void)
{
	struct rlimit before, r;

	getrlimit(RLIMIT_CORE, &before);
	if (daemon_cores(false) < 0 || getrlimit(RLIMIT_CORE, &r) < 0)
		return 1;
	if (r.rlim_cur != 0 || r.rlim_max != before.rlim_max || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0))
		return 2;
	if (daemon_cores(true) < 0 || getrlimit(RLIMIT_CORE, &r) < 0)
		return 3;
	return r.rlim_cur == before.rlim_max && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1 ? 0 : 4;
}

static void test_cores(void **state)
{
	(void)state;
	assert_int_equal(in_child(cores_not), 0);
}

static int drop(void)
{
	uid_t r, e, s, want;
	gid_t gid;

	if (daemon_user("nobody", &want, &gid) < 0 || daemon_drop("nobody") < 0)
		return 1;
	if (getresuid(&r, &e, &s) < 0 || r != want || e != want || s != want || getegid() != gid)
		return 2;
	if (setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0 || getgroups(0, NULL) != 0)
		return 3;
	if (!powerless())
		return 6;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 4;
	/* Now without root: nothing to do. */
	return daemon_drop("no-such-user") == 0 ? 0 : 5;
}

static int drop_to_nobody_known(void)
{
	return daemon_drop("no-such-user") == -1 && errno == ENOENT && geteuid() == 0 ? 0 : 1;
}

static int drop_not(void)
{
	return daemon_drop("") == 0 && geteuid() == 0 && powerless() ? 0 : 1;
}

static void test_drop(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(in_child(drop), 0);
	assert_int_equal(in_child(drop_to_nobody_known), 0);
	assert_int_equal(in_child(drop_not), 0);
#ifndef __SANITIZE_THREAD__
	assert_int_equal(in_child(drop_what_was_left), 0);
#endif
}

static int nofile(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		return 1;
	r.rlim_cur = 64;
	if (setrlimit(RLIMIT_NOFILE, &r) < 0)
		return 2;
	return daemon_raise_nofile() == r.rlim_max ? 0 : 3;
}

static int standard_fds(void)
{
	close(0);
	close(2);
	daemon_standard_fds();
	return fcntl(0, F_GETFD) >= 0 && fcntl(2, F_GETFD) >= 0 && open("/dev/null", O_RDONLY) > 2
		       ? 0
		       : 1;
}

static void test_descriptors(void **state)
{
	(void)state;
	assert_int_equal(in_child(nofile), 0);
	assert_int_equal(in_child(standard_fds), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_title),
		cmocka_unit_test(test_pidfile),
		cmocka_unit_test(test_pidfile_of_the_dead),
		cmocka_unit_test(test_pidfile_faults),
		cmocka_unit_test(test_detach),
		cmocka_unit_test(test_user),
		cmocka_unit_test(test_drop),
		cmocka_unit_test(test_cores),
		cmocka_unit_test(test_descriptors),
	};
	int r;

	daemon_title_init(argc, argv);
	args = argv;
	if (!mkdtemp(dir))
		return 1;
	snprintf(pidfile, sizeof(pidfile), "%s/pid", dir);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(pidfile);
	rmdir(dir);
	return r;
}
