/*
 * daemon: see daemon.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <wsgate/daemon.h>
#include <wsgate/log.h>

#define PIDFILE_RETRY_MS 10
#define PIDFILE_PATIENCE_MS 1000

static char *title;                   /* argv's memory; NULL: no titles */
static size_t title_size, title_args; /* with environ's; argv's alone */
/* The copies: setenv() replaces environ, unsetenv() takes strings out of it, and argv lies on a
 * stack, which forked processes and leak checkers may not look at. Never read, hence volatile. */
static char **volatile moved_environ, **volatile moved_strings, **volatile moved_arguments;
static int started_pipe = -1;
static char **arguments; /* main()'s */

void daemon_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* Copies of all strings of a vector, in place. False: no memory; what was copied stays so. */
static bool copy_strings(char **v)
{
	char *s;

	for (; *v; v++) {
		s = strdup(*v);
		if (!s)
			return false;
		*v = s;
	}
	return true;
}

/*
 * The kernel puts argv's and environ's strings one behind the other. Everything that points there
 * moves away first: environ, argv itself (options are kept for a reload) and glibc's own name.
 */
void daemon_title_init(int argc, char **argv)
{
	char *end, *first = argc > 0 ? argv[0] : NULL;
	char **env = NULL, **kept = NULL, **args = calloc((size_t)argc + 1, sizeof(*args));
	char *name, *short_name;
	size_t i, n = 0;

	if (!first) {
		free(args);
		return;
	}
	arguments = argv;
	end = first + strlen(first) + 1;
	for (i = 1; i < (size_t)argc && argv[i] == end; i++)
		end += strlen(end) + 1;
	title_args = (size_t)(end - first);
	name = strdup(program_invocation_name);
	short_name = strdup(program_invocation_short_name);
	while (environ && environ[n])
		n++;
	env = calloc(n + 1, sizeof(*env));
	kept = calloc(n + 1, sizeof(*kept));
	if (!name || !short_name || !env || !kept || !args)
		goto fail;
	for (i = 0; i < n; i++)
		env[i] = environ[i];
	if (!copy_strings(env) || !copy_strings(argv))
		goto fail; /* some strings are copies, some not: all are valid, and there are no
			      titles */
	program_invocation_name = name;
	program_invocation_short_name = short_name;
	for (i = 0; i < n && environ[i] == end; i++)
		end += strlen(end) + 1;
	environ = env;
	memcpy(kept, env, n * sizeof(*kept));
	moved_environ = env;
	moved_strings = kept;
	memcpy(args, argv, (size_t)argc * sizeof(*args));
	moved_arguments = args;
	title = first;
	title_size = (size_t)(end - first);
	return;
fail:
	free(args);
	free(kept);
	free(name);
	free(short_name);
	for (i = 0; env && i < n; i++)
		if (env[i] != environ[i])
			free(env[i]);
	free(env);
}

void daemon_title(const char *fmt, ...)
{
	char buf[256];
	va_list ap;
	size_t len;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	(void)prctl(PR_SET_NAME, buf); /* cuts to 15 bytes by itself */
	if (!title || title_size < 2)
		return;
	len = strnlen(buf, title_size - 1);
	memset(title, 0, title_size);
	memcpy(title, buf, len);
	/*
	 * /proc/PID/cmdline: when argv's last byte is not NUL, the kernel takes it for a title and
	 * stops at the first NUL (fs/proc/base.c, get_mm_cmdline); else it shows all the NULs
	 * behind it as well.
	 */
	if (len + 1 < title_args)
		title[title_args - 1] = '.';
}

char **daemon_arguments(void)
{
	return arguments;
}

static bool is_this(const char *path)
{
	struct stat there, mine;

	return stat(path, &there) == 0 && stat("/proc/self/exe", &mine) == 0 &&
	       there.st_dev == mine.st_dev && there.st_ino == mine.st_ino;
}

/* As the shell found it. False: not there. */
static bool find_in_path(const char *name, char out[PATH_MAX])
{
	const char *at = getenv("PATH");

	while (at && *at) {
		size_t n = strcspn(at, ":");

		if (n > 0 && snprintf(out, PATH_MAX, "%.*s/%s", (int)n, at, name) < PATH_MAX &&
			is_this(out))
			return true;
		at += n + (at[n] == ':');
	}
	return false;
}

/*
 * The name by which it was started comes first: it may be a link that leads to a new program by
 * then. /proc/self/exe ends with " (deleted)" once another file has the name.
 */
const char *daemon_program(void)
{
	static char path[PATH_MAX];
	const char *name = arguments ? arguments[0] : "";
	char cwd[PATH_MAX];
	ssize_t n;

	if (path[0] != '\0')
		return path;
	if (name[0] == '/')
		snprintf(path, sizeof(path), "%s", name);
	else if (!strchr(name, '/'))
		(void)find_in_path(name, path);
	else if (getcwd(cwd, sizeof(cwd)) &&
		 snprintf(path, sizeof(path), "%s/%s", cwd, name) >= (int)sizeof(path))
		path[0] = '\0';
	if (path[0] == '/' && is_this(path))
		return path;
	n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	return path;
}

/*
 * The lock belongs to the open file description, not to the process: it passes with the descriptor
 * to a program that replaces this one. So nobody knows whose it is (F_OFD_GETLK says -1): the file
 * tells.
 */
static int pidfile_lock(int fd, pid_t *other)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char text[32];
	ssize_t n;

	if (fcntl(fd, F_OFD_SETLK, &fl) == 0)
		return 0;
	if (errno != EACCES && errno != EAGAIN)
		return -1;
	n = pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	*other = (pid_t)strtol(text, NULL, 10);
	errno = EWOULDBLOCK;
	return -1;
}

/*
 * A master that was killed may have forked a child a moment before, which has the descriptor until
 * it closes it or ends: a start at once does not fail of that.
 */
static int pidfile_lock_soon(int fd, pid_t *other)
{
	const struct timespec pause = {0, PIDFILE_RETRY_MS * 1000000L};

	for (unsigned waited = 0; pidfile_lock(fd, other) < 0; waited += PIDFILE_RETRY_MS) {
		if (errno != EWOULDBLOCK || waited >= PIDFILE_PATIENCE_MS)
			return -1;
		nanosleep(&pause, NULL);
	}
	*other = 0;
	return 0;
}

int daemon_pidfile_open(const char *path, pid_t *other)
{
	struct stat mine, there;
	int fd, saved;

	*other = 0;
	for (;;) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0644);
		if (fd < 0)
			return -1;
		if (pidfile_lock_soon(fd, other) < 0 || fstat(fd, &mine) < 0)
			break;
		/* A predecessor may have removed it between open and lock: then this one locks
		 * nothing. */
		if (stat(path, &there) == 0 && there.st_ino == mine.st_ino &&
			there.st_dev == mine.st_dev)
			return fd;
		close(fd);
	}
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

bool daemon_lives(pid_t pid)
{
	return pid > 1 && (kill(pid, 0) == 0 || errno != ESRCH);
}

/* Written before it is cut: a reader never finds it empty. */
int daemon_pidfile_write(int fd)
{
	char buf[32];
	int n = snprintf(buf, sizeof(buf), "%ld\n", (long)getpid());
	ssize_t r = pwrite(fd, buf, (size_t)n, 0);

	if (r < 0)
		return -1;
	if (r != n) {
		errno = ENOSPC;
		return -1;
	}
	return ftruncate(fd, n);
}

/* The starter: waits for the word of the child, which EOF replaces when it dies without one. */
static void wait_started(int fd, pid_t child)
{
	int status = 2;
	ssize_t n;

	do
		n = read(fd, &status, sizeof(status));
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(status))
		status = 2;
	if (status != 0)
		(void)waitpid(child, NULL, 0);
	_exit(status);
}

static int null_onto(int first, int last)
{
	int fd, null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return -1;
	for (fd = first; fd <= last; fd++) {
		if (dup2(null, fd) < 0) {
			close(null);
			return -1;
		}
	}
	if (null > STDERR_FILENO)
		close(null);
	return 0;
}

/* Standard error stays until daemon_started(): why a start failed belongs on the operator's screen.
 */
int daemon_detach(void)
{
	int fds[2], saved;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	pid = fork();
	if (pid < 0) {
		saved = errno;
		close(fds[0]);
		close(fds[1]);
		errno = saved;
		return -1;
	}
	if (pid > 0) {
		close(fds[1]);
		wait_started(fds[0], pid);
	}
	close(fds[0]);
	started_pipe = fds[1];
	if (setsid() < 0)
		return -1;
	return null_onto(STDIN_FILENO, STDOUT_FILENO);
}

int daemon_inherited(void)
{
	started_pipe = open("/dev/null", O_WRONLY | O_CLOEXEC); /* nobody waits for the word */
	return started_pipe < 0 ? -1 : 0;
}

void daemon_started(int status)
{
	ssize_t n;

	log_echo(0);
	if (started_pipe < 0)
		return;
	if (status == 0)
		(void)null_onto(STDERR_FILENO, STDERR_FILENO);
	do
		n = write(started_pipe, &status, sizeof(status));
	while (n < 0 && errno == EINTR);
	close(started_pipe);
	started_pipe = -1;
}

int daemon_user(const char *name, uid_t *uid, gid_t *gid)
{
	struct passwd pw, *found = NULL;
	size_t size = 1024;
	char *buf = NULL, *bigger;
	int r;

	if (name[0] == '\0') {
		*uid = getuid();
		*gid = getgid();
		return 0;
	}
	do {
		size *= 2;
		bigger = realloc(buf, size);
		if (!bigger) {
			free(buf);
			errno = ENOMEM;
			return -1;
		}
		buf = bigger;
		r = getpwnam_r(name, &pw, buf, size, &found);
	} while (r == ERANGE && size < (1U << 20));
	if (r == 0 && found) {
		*uid = pw.pw_uid;
		*gid = pw.pw_gid;
	}
	free(buf);
	if (r == 0 && found)
		return 0;
	/* What getpwnam(3) lists for "not found" differs from one system to the next. */
	errno = r == 0 || r == ESRCH || r == EBADF || r == EPERM ? ENOENT : r;
	return -1;
}

/* EPERM: without CAP_SETPCAP the set stays; with no_new_privs nothing can come of it. */
static int drop_bounding(void)
{
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EPERM)
			return -1;
	return 0;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3] = {{0}};

	/* EINVAL: a kernel before 4.3 has no ambient ones. */
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return -1;
	return (int)syscall(SYS_capset, &h, d);
}

/* The file of its user's groups is not looked at: whatever a child needs, it was given open. */
static int drop_ids(uid_t uid, gid_t gid)
{
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -1;
	if (uid != 0 && (setresuid((uid_t)-1, 0, (uid_t)-1) == 0 ||
				(gid != 0 && setresgid((gid_t)-1, 0, (gid_t)-1) == 0))) {
		errno = EPERM;
		return -1;
	}
	return 0;
}

/*
 * What could raise it again goes first, while that is still allowed. Started by somebody else than
 * root it may have capabilities all the same, as from AmbientCapabilities= of systemd.
 */
int daemon_drop(const char *user)
{
	uid_t uid = getuid();
	gid_t gid = getgid();
	bool root = geteuid() == 0;

	if (root && daemon_user(user, &uid, &gid) < 0)
		return -1;
	if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0 || drop_bounding() < 0)
		return -1;
	if (root && drop_ids(uid, gid) < 0)
		return -1;
	if (!root && setgroups(0, NULL) < 0 && errno != EPERM)
		return -1;
	if (drop_capabilities() < 0)
		return -1;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int daemon_cores(bool wanted)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_CORE, &r) < 0)
		return -1;
	/* The hard limit stays: a later program may be asked for cores. */
	r.rlim_cur = wanted ? r.rlim_max : 0;
	/* A pattern that begins with a pipe gets cores whatever the limit is. */
	if (setrlimit(RLIMIT_CORE, &r) < 0 || prctl(PR_SET_DUMPABLE, wanted, 0, 0, 0) < 0)
		return -1;
	return 0;
}

unsigned long daemon_raise_nofile(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		return 0;
	if (r.rlim_cur < r.rlim_max) {
		rlim_t before = r.rlim_cur;

		r.rlim_cur = r.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &r) < 0)
			r.rlim_cur = before;
	}
	return (unsigned long)r.rlim_cur;
}
