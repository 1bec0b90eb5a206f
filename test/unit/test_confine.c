/*
 * test_confine: each case in a child that is confined like a worker or the bridge.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include <netdb.h>

#include <wsgate/daemon.h>

#include "../../src/master/confine.h"

static char said[512]; /* by the child, on standard error */

struct forbidden {
	const char *name; /* of the call */
	void (*fn)(void);
};

/* The status of waitpid(). */
static int run(enum confine_who who, enum filter_mode mode, void (*fn)(void))
{
	int status, fds[2];
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDERR_FILENO);
		if (daemon_cores(false) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
			confine_install(who, mode) < 0)
			_exit(99);
		fn();
		_exit(0);
	}
	assert_true(pid > 0);
	close(fds[1]);
	n = read(fds[0], said, sizeof(said) - 1);
	said[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* ---- what neither may do ---- */

static void do_execve(void)
{
	char *argv[] = {(char *)(uintptr_t) "true", NULL};

	execve("/bin/true", argv, NULL);
}

static void do_ptrace(void)
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static void do_open_to_write(void)
{
	(void)open("/dev/null", O_WRONLY);
}

static void do_open_to_make(void)
{
	(void)open("/tmp", O_TMPFILE | O_RDWR, 0600);
}

static void do_create(void)
{
	(void)open("/dev/null", O_RDONLY | O_CREAT, 0600);
}

static void do_raw_socket(void)
{
	(void)socket(AF_INET, SOCK_RAW, 1);
}

static void do_packet_socket(void)
{
	(void)socket(AF_PACKET, SOCK_RAW, 0);
}

static void do_fork(void)
{
	if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0)
		_exit(0);
}

static void do_namespace(void)
{
	(void)syscall(SYS_unshare, 0x10000000);
}

static void do_mount(void)
{
	(void)mount("none", "/tmp", "tmpfs", 0, NULL);
}

static void do_setuid(void)
{
	(void)!setuid(0);
}

static void do_unlink(void)
{
	unlink("/nonexistent");
}

static void do_chmod(void)
{
	chmod("/nonexistent", 0600);
}

static void do_kill_all(void)
{
	kill(-1, 0);
}

static void do_kill_term(void)
{
	kill(getpid(), SIGWINCH);
}

static void do_rlimit(void)
{
	struct rlimit r = {10, 10};

	(void)!setrlimit(RLIMIT_NOFILE, &r);
}

static void do_make_code(void)
{
	(void)mprotect(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
		4096, PROT_READ | PROT_EXEC);
}

static void do_handle_sigsys(void)
{
	signal(SIGSYS, SIG_IGN);
}

/* The kernel looks at the low half. */
static void do_handle_sigsys_slyly(void)
{
	(void)syscall(SYS_rt_sigaction, (UINT64_C(1) << 32) | SIGSYS, NULL, NULL, 8L);
}

static void do_read_others(void)
{
	(void)syscall(SYS_process_vm_readv, getppid(), NULL, 0L, NULL, 0L, 0L);
}

static void do_dumpable(void)
{
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static void do_seccomp(void)
{
	(void)syscall(SYS_seccomp, 1, 0, NULL);
}

static void do_ioctl(void)
{
	(void)syscall(SYS_ioctl, 0, 0x5412 /* TIOCSTI */, "x");
}

static const struct forbidden for_both[] = {
	{"execve", do_execve},
	{"ptrace", do_ptrace},
	{"openat", do_open_to_write},
	{"openat", do_open_to_make},
	{"openat", do_create},
	{"socket", do_raw_socket},
	{"socket", do_packet_socket},
	{"clone", do_fork},
	{"unshare", do_namespace},
	{"mount", do_mount},
	{"setuid", do_setuid},
	{"unlink", do_unlink},
	{"chmod", do_chmod},
	{"kill", do_kill_all},
	{"kill", do_kill_term},
	{"prlimit64", do_rlimit},
	{"mprotect", do_make_code},
	{"rt_sigaction", do_handle_sigsys},
	{"rt_sigaction", do_handle_sigsys_slyly},
	{"process_vm_readv", do_read_others},
	{"prctl", do_dumpable},
	{"seccomp", do_seccomp},
	{"ioctl", do_ioctl},
};

static void check(enum confine_who who, const struct forbidden *f)
{
	int status = run(who, FILTER_ON, f->fn);
	char want[64];

	snprintf(want, sizeof(want), "forbidden system call: %s", f->name);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS || !strstr(said, want))
		fail_msg("%s (%u): status %x, said %s", f->name, (unsigned)who, (unsigned)status,
			said);
	assert_false(WCOREDUMP(status));
}

static void test_forbidden(void **state)
{
	(void)state;
	if (confine_missing())
		skip();
	for (size_t i = 0; i < sizeof(for_both) / sizeof(for_both[0]); i++) {
		check(CONFINE_WORKER, &for_both[i]);
		check(CONFINE_BRIDGE, &for_both[i]);
	}
}

/* ---- what the bridge alone may do ---- */

static void *nothing(void *arg)
{
	return arg;
}

static void do_thread(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, nothing, NULL) != 0 || pthread_join(t, NULL) != 0)
		_exit(1);
}

static void do_tcp_socket(void)
{
	if (socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) < 0)
		_exit(1);
}

static void do_lives(void)
{
	if (kill(getpid(), 0) < 0)
		_exit(1);
}

static void do_kill(void)
{
	if (kill(INT_MAX, SIGKILL) == 0 || errno != ESRCH)
		_exit(1);
}

static const struct forbidden for_worker[] = {
	{"socket", do_tcp_socket},
	{"kill", do_kill},
};

static void do_resolve(void)
{
	struct addrinfo *a = NULL;

	if (getaddrinfo("localhost", "80", NULL, &a) == 0)
		freeaddrinfo(a);
	(void)getaddrinfo("host.invalid", "80", NULL, &a);
}

static void do_accept(void)
{
	(void)accept(0, NULL, NULL);
}

static void test_bridge(void **state)
{
	const struct forbidden for_bridge = {"accept", do_accept};

	(void)state;
	if (confine_missing())
		skip();
	/* No word of it: libc blocks all signals around that call. */
	assert_int_equal(WTERMSIG(run(CONFINE_WORKER, FILTER_ON, do_thread)), SIGSYS);
	assert_int_equal(run(CONFINE_BRIDGE, FILTER_ON, do_thread), 0);
	for (size_t i = 0; i < sizeof(for_worker) / sizeof(for_worker[0]); i++) {
		check(CONFINE_WORKER, &for_worker[i]);
		assert_int_equal(run(CONFINE_BRIDGE, FILTER_ON, for_worker[i].fn), 0);
	}
	assert_int_equal(run(CONFINE_BRIDGE, FILTER_ON, do_resolve), 0);
	assert_int_equal(run(CONFINE_WORKER, FILTER_ON, do_accept), 0);
	assert_int_equal(run(CONFINE_WORKER, FILTER_ON, do_lives), 0);
	assert_int_equal(run(CONFINE_BRIDGE, FILTER_ON, do_lives), 0);
	check(CONFINE_BRIDGE, &for_bridge);
}

/* ---- what both may do ---- */

static void do_usual(void)
{
	char text[64];
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC), ep = epoll_create1(EPOLL_CLOEXEC);
	void *p = malloc(1 << 20);

	if (fd < 0 || read(fd, text, sizeof(text)) <= 0 || ep < 0 || !p || getppid() < 1)
		_exit(1);
	free(p);
	signal(SIGPIPE, SIG_IGN);
	snprintf(text, sizeof(text), "/proc/self/fd/%d", fd);
	if (open(text, O_RDONLY) < 0 || socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) < 0)
		_exit(2);
	/* No library that is not there yet: not found, and not the end. */
	if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) != MAP_FAILED)
		_exit(3);
}

static void do_abort(void)
{
	abort();
}

static void test_allowed(void **state)
{
	int status;

	(void)state;
	if (confine_missing())
		skip();
	assert_int_equal(run(CONFINE_WORKER, FILTER_ON, do_usual), 0);
	assert_string_equal(said, "");
	assert_int_equal(run(CONFINE_BRIDGE, FILTER_ON, do_usual), 0);
	status = run(CONFINE_WORKER, FILTER_ON, do_abort);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void do_chmod_well(void)
{
	if (chmod("/nonexistent", 0600) == 0 || errno != ENOENT)
		_exit(1);
}

/* Neither ends the process. */
static void test_modes(void **state)
{
	(void)state;
	assert_int_equal(run(CONFINE_WORKER, FILTER_OFF, do_chmod_well), 0);
	assert_int_equal(run(CONFINE_WORKER, FILTER_LOG, do_chmod_well), 0);
	assert_string_equal(said, "");
}

static void do_nothing(void)
{
}

/* It would be no filter if a program that is executed could be more than we are. */
static void test_needs_no_new_privs(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (confine_missing())
		skip();
	assert_int_equal(run(CONFINE_WORKER, FILTER_ON, do_nothing), 0);
	pid = fork();
	if (pid == 0)
		_exit(confine_install(CONFINE_WORKER, FILTER_ON) < 0 && errno == EPERM ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forbidden),
		cmocka_unit_test(test_bridge),
		cmocka_unit_test(test_allowed),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_needs_no_new_privs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
