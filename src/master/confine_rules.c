/*
 * confine_rules: see confine_rules.h. Both kinds of process live on descriptors that they were
 * given: neither opens a file for writing, makes one, or runs another program. The bridge alone has
 * threads and makes connections.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "confine_rules.h"

/* clang-format off */
#define IF(n, m, v) { (n), (m), (uint64_t)(v) }
#define IS(n, v) IF(n, UINT32_MAX, (uint32_t)(v))
#define OTHER_BIT(name, n, v, bit) WHEN(name, IF(n, bit, ~(unsigned)(v) & (bit)))

#define ANY(name) { name, CONFINE_BOTH, 0, {{0}} }
#define WHEN(name, ...) { name, CONFINE_BOTH, 0, { __VA_ARGS__ } }
#define BRIDGE(name) { name, CONFINE_BRIDGE, 0, {{0}} }
#define BRIDGE_WHEN(name, ...) { name, CONFINE_BRIDGE, 0, { __VA_ARGS__ } }
#define WORKER(name) { name, CONFINE_WORKER, 0, {{0}} }
#define FAILS(name, error) { name, CONFINE_BOTH, error, {{0}} }

/* A number up to 127 other than v: one of its bits is another one. */
#define NOT(name, n, v) \
	OTHER_BIT(name, n, v, 1u), OTHER_BIT(name, n, v, 2u), OTHER_BIT(name, n, v, 4u), \
	OTHER_BIT(name, n, v, 8u), OTHER_BIT(name, n, v, 16u), OTHER_BIT(name, n, v, 32u), \
	OTHER_BIT(name, n, v, 64u)
#define READ_ONLY(n) IF(n, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY)
#define SOCKET_TYPE 0xfu /* without SOCK_CLOEXEC and SOCK_NONBLOCK */

#define NAMESPACES \
	((unsigned)CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
	 CLONE_NEWPID | CLONE_NEWNET)
/* There the stack comes first. */
#if defined(__s390__) || defined(__CRIS__)
#define CLONE_FLAGS 1
#else
#define CLONE_FLAGS 0
#endif

const struct confine_rule confine_rules[] = {
	/* descriptors */
	ANY("read"), ANY("readv"), ANY("pread64"), ANY("write"), ANY("writev"), ANY("close"),
	ANY("lseek"), ANY("_llseek"), ANY("fcntl"), ANY("fcntl64"), ANY("dup"), ANY("dup2"),
	ANY("dup3"), ANY("pipe"), ANY("pipe2"),
	ANY("poll"), ANY("ppoll"), ANY("ppoll_time64"), ANY("select"), ANY("_newselect"),
	ANY("pselect6"), ANY("pselect6_time64"),
	ANY("epoll_create"), ANY("epoll_create1"), ANY("epoll_ctl"), ANY("epoll_ctl_old"),
	ANY("epoll_wait"), ANY("epoll_pwait"), ANY("epoll_pwait2"), ANY("eventfd"), ANY("eventfd2"),
	ANY("timerfd_create"), ANY("timerfd_settime"), ANY("timerfd_settime64"),
	ANY("timerfd_gettime"), ANY("timerfd_gettime64"),
	WHEN("ioctl", IS(1, FIONREAD)), WHEN("ioctl", IS(1, FIONBIO)),
	WHEN("ioctl", IS(1, SIOCOUTQ)), WHEN("ioctl", IS(1, TCGETS)),
	BRIDGE_WHEN("ioctl", IS(1, SIOCGIFINDEX)),

	/* files, to read */
	WHEN("openat", READ_ONLY(2)), WHEN("open", READ_ONLY(1)),
	ANY("fstat"), ANY("fstat64"), ANY("fstatat64"), ANY("newfstatat"), ANY("stat"),
	ANY("stat64"), ANY("lstat"), ANY("lstat64"), ANY("statx"), ANY("statfs"), ANY("statfs64"),
	ANY("fstatfs"), ANY("fstatfs64"), ANY("access"), ANY("faccessat"), ANY("readlink"),
	ANY("readlinkat"), ANY("getdents"), ANY("getdents64"), ANY("getcwd"),

	/* sockets */
	ANY("recv"), ANY("recvfrom"), ANY("recvmsg"), ANY("send"), ANY("sendto"), ANY("sendmsg"),
	ANY("shutdown"), ANY("getsockopt"), ANY("setsockopt"), ANY("getsockname"),
	ANY("getpeername"), ANY("connect"),
	WHEN("socket", IS(0, AF_UNIX)), /* syslog */
	WHEN("socketpair", IS(0, AF_UNIX)),
	WORKER("accept"), WORKER("accept4"),
	BRIDGE_WHEN("socket", IS(0, AF_INET), IF(1, SOCKET_TYPE, SOCK_STREAM)),
	BRIDGE_WHEN("socket", IS(0, AF_INET), IF(1, SOCKET_TYPE, SOCK_DGRAM)),
	BRIDGE_WHEN("socket", IS(0, AF_INET6), IF(1, SOCKET_TYPE, SOCK_STREAM)),
	BRIDGE_WHEN("socket", IS(0, AF_INET6), IF(1, SOCKET_TYPE, SOCK_DGRAM)),
	BRIDGE_WHEN("socket", IS(0, AF_NETLINK), IS(2, NETLINK_ROUTE)), /* getaddrinfo(3) */
	BRIDGE("bind"), BRIDGE("sendmmsg"), BRIDGE("recvmmsg"), BRIDGE("recvmmsg_time64"),

	/* memory. Nothing becomes code that was not code in a file. */
	WHEN("mmap", IF(2, PROT_EXEC, 0)), WHEN("mmap2", IF(2, PROT_EXEC, 0)),
	BRIDGE_WHEN("mmap", IF(2, PROT_EXEC | PROT_WRITE, PROT_EXEC), IF(3, MAP_ANONYMOUS, 0)),
	BRIDGE_WHEN("mmap2", IF(2, PROT_EXEC | PROT_WRITE, PROT_EXEC), IF(3, MAP_ANONYMOUS, 0)),
	/* A library that libc or OpenSSL wants is not there. The bridge has those of nss. */
	{ "mmap", CONFINE_WORKER, EACCES, { IF(2, PROT_EXEC, PROT_EXEC) } },
	{ "mmap2", CONFINE_WORKER, EACCES, { IF(2, PROT_EXEC, PROT_EXEC) } },
	WHEN("mprotect", IF(2, PROT_EXEC, 0)),
	ANY("munmap"), ANY("mremap"), ANY("madvise"), ANY("brk"), ANY("membarrier"),

	/* threads and time */
	BRIDGE_WHEN("clone", IF(CLONE_FLAGS, NAMESPACES | CLONE_THREAD, CLONE_THREAD)),
	FAILS("clone3", ENOSYS), /* its flags cannot be seen; libc takes the other one then */
	ANY("futex"), ANY("futex_time64"), ANY("set_robust_list"), ANY("get_robust_list"),
	ANY("rseq"), ANY("sched_yield"), ANY("sched_getaffinity"), ANY("getcpu"),
	ANY("clock_gettime"), ANY("clock_gettime64"), ANY("clock_getres"),
	ANY("clock_getres_time64"), ANY("gettimeofday"), ANY("time"), ANY("nanosleep"),
	ANY("clock_nanosleep"), ANY("clock_nanosleep_time64"),

	/* signals. A handler for SIGSYS is ours alone. */
	NOT("rt_sigaction", 0, SIGSYS), NOT("sigaction", 0, SIGSYS),
	ANY("rt_sigprocmask"), ANY("sigprocmask"), ANY("rt_sigreturn"), ANY("sigreturn"),
	ANY("sigaltstack"), ANY("restart_syscall"),
	/* All ask whether another process lives; the bridge ends a worker that spoils its ring. No
	 * groups. */
	WHEN("kill", IS(1, 0), IF(0, UINT64_C(0x80000000), 0)),
	BRIDGE_WHEN("kill", IS(1, SIGKILL), IF(0, UINT64_C(0x80000000), 0)),

	/* oneself */
	ANY("getpid"), ANY("getppid"), ANY("gettid"), ANY("getpgid"), ANY("getpgrp"),
	ANY("getuid"), ANY("getuid32"), ANY("geteuid"), ANY("geteuid32"), ANY("getgid"),
	ANY("getgid32"), ANY("getegid"), ANY("getegid32"), ANY("uname"), ANY("sysinfo"),
	ANY("getrandom"), ANY("getrlimit"), ANY("ugetrlimit"), ANY("getrusage"),
	WHEN("prlimit64", IF(2, UINT64_MAX, 0)), /* to read */
	WHEN("prctl", IS(0, PR_SET_NAME)), WHEN("prctl", IS(0, PR_GET_NAME)),
	FAILS("faccessat2", ENOSYS), FAILS("openat2", ENOSYS),
	ANY("exit"), ANY("exit_group"),
};
const size_t confine_rule_count = sizeof(confine_rules) / sizeof(confine_rules[0]);
/* clang-format on */
