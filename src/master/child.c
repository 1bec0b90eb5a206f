/*
 * child: see child.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <wsgate/daemon.h>
#include <wsgate/log.h>
#include <wsgate/memory.h>

#include "child.h"
#include "family.h"
#include "said.h"

const struct child_row child_table[CHILD_KINDS] = {
	[CHILD_BRIDGE] = {"bridge", bridge_main, NULL, CONFINE_BRIDGE},
	[CHILD_WORKER] = {"worker", worker_main, config_workers, CONFINE_WORKER},
};

void child_init(struct child *c, struct family *f, enum child_kind kind, unsigned slot)
{
	memset(c, 0, sizeof(*c));
	c->family = f;
	c->row = &child_table[kind];
	c->slot = slot;
	c->told = 1; /* generation 0 is down */
	c->handover.pair[0] = c->handover.pair[1] = -1;
	if (c->row->count)
		snprintf(c->name, sizeof(c->name), "%s %u", c->row->name, slot);
	else
		snprintf(c->name, sizeof(c->name), "%s", c->row->name);
}

void child_free(struct child *c)
{
	chan_free(c->chan);
	c->chan = NULL;
	said_free(c->said);
	c->said = NULL;
	handover_end(&c->handover);
	free(c->listens);
	c->listens = NULL;
	c->nlistens = c->listens_room = 0;
}

/* ---- in the child ---- */

static void child_signals(void)
{
	static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE};
	struct sigaction sa = {.sa_handler = SIG_DFL};

	sigemptyset(&sa.sa_mask);
	sigaction(SIGCHLD, &sa, NULL);
	sa.sa_handler = SIG_IGN;
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		sigaction(ignored[i], &sa, NULL);
	/* What came for the master while they were blocked ends here. */
	sigprocmask(SIG_SETMASK, &sa.sa_mask, NULL);
}

static int compare_fds(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

/* Kernels before 5.9 have no close_range(). */
static void close_listed(unsigned first, unsigned last)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	while (d && (e = readdir(d))) {
		unsigned long n = strtoul(e->d_name, NULL, 10);

		if (e->d_name[0] != '.' && n >= first && n <= last && n != (unsigned long)dirfd(d))
			close((int)n);
	}
	if (d)
		closedir(d);
}

static void close_between(int first, int last)
{
	if (first <= last && close_range((unsigned)first, (unsigned)last, 0) < 0)
		close_listed((unsigned)first, (unsigned)last);
}

static void child_close_others(const struct heritage *h)
{
	static int keep[HERITAGE_LISTEN_MAX + HERITAGE_SLOT_MAX + HERITAGE_STALE_MAX + 10];
	size_t n = 0;
	int next = 0;

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		keep[n++] = fd;
	keep[n++] = log_fd();
	keep[n++] = h->control;
	keep[n++] = h->segment;
	for (int i = 0; i < HERITAGE_ADMINS; i++)
		keep[n++] = h->admin[i];
	keep[n++] = h->bell;
	keep[n++] = h->tls;
	for (size_t i = 0; i < h->nlisten; i++)
		keep[n++] = h->listen[i];
	for (unsigned i = 0; i < h->nslots; i++)
		keep[n++] = h->bells[i];
	for (size_t i = 0; i < h->nstale; i++)
		keep[n++] = h->stale[i];
	qsort(keep, n, sizeof(keep[0]), compare_fds);
	for (size_t i = 0; i < n; i++) {
		if (keep[i] < next)
			continue; /* -1, or twice */
		close_between(next, keep[i] - 1);
		next = keep[i] + 1;
	}
	close_between(next, INT_MAX);
}

/*
 * What libc or a sanitizer says on standard error goes to the master, for the log; our own lines go
 * on to where that was. In the background the master keeps standard error until the start is over.
 * A child must not: whoever started us may wait for the end of a pipe there. Its reasons reach the
 * screen through PROTO_FATAL.
 */
static void child_leave_stderr(bool background, int said)
{
	log_echo(0);
	if (said < 0 && background)
		said = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (said < 0 || (log_fd() == STDERR_FILENO && log_adopt(STDERR_FILENO) < 0))
		return;
	(void)dup2(said, STDERR_FILENO);
	close(said);
}

/* At the start it is the configuration's fault. Later it may pass (a directory of users that is
 * away), and the others serve meanwhile: as with any death, it is tried again. */
static int child_fatal(const struct heritage *h, const char *what, const char *arg)
{
	struct proto_text text = {""};

	snprintf(text.text, sizeof(text.text), "%s%s: %s", what, arg, strerror(errno));
	if (h->late) {
		log_error(text.text);
		return 1;
	}
	if (chan_send_fd(h->control, PROTO_FATAL, &text, sizeof(text), -1) < 0)
		log_error(text.text);
	return CHILD_EXIT_FATAL;
}

/* An open file description of its own, so that locks are its own too. */
static int child_open_segment(int fd)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDWR | O_CLOEXEC);
}

/* The configuration takes its variables from it; here nobody needs more than libraries do. */
static void child_forget_environment(void)
{
	static const char *const kept[] = {
		"TZ=", "LANG=", "LC_", "OPENSSL_", "MALLOC_", "ASAN_", "LSAN_", "TSAN_", "UBSAN_"};

	for (char **e = environ; e && *e; e++) {
		char *value = strchr(*e, '=');
		bool keep = false;

		for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
			keep |= strncmp(*e, kept[i], strlen(kept[i])) == 0;
		if (value && !keep)
			explicit_bzero(value + 1, strlen(value + 1));
	}
}

/* file may be all of an argument, or what stands behind -c in it. */
static bool child_is_file(const char *arg, const char *file)
{
	size_t n = strlen(arg), len = file ? strlen(file) : 0;

	return file && n >= len && arg + n - len == file;
}

/* The program's name and the file's are needed yet, with whatever is in them. */
static void child_forget_arguments(const char *file)
{
	char **arg = daemon_arguments();

	while (arg && *arg && *++arg)
		if (strstr(*arg, "broker.") && !child_is_file(*arg, file))
			explicit_bzero(*arg, strlen(*arg));
}

/* The fork has copied them. */
static void child_forget_secrets(const struct child *c, const struct heritage *h)
{
	if (c->row->calls == CONFINE_BRIDGE)
		return;
	config_forget_secrets((struct config *)(uintptr_t)h->config, CONFIG_WORKER);
	child_forget_environment();
	child_forget_arguments(h->file);
	memory_forget();
}

static int child_run(struct child *c, struct heritage *h, int said)
{
	const struct config *config = h->config;
	int (*entry)(const struct heritage *) = c->row->entry;

	log_tap(NULL, NULL);
	c->family->forget(c->family->arg);
	if (!h->secrets && c->family->keys)
		vault_free(c->family->keys); /* our copy: we need none of it */
	child_signals();
	child_leave_stderr(c->family->background, said);
	log_set_process(c->name);
	child_forget_secrets(c, h);
	daemon_title("wsgated: %s", c->name);
	h->segment = child_open_segment(h->segment);
	if (h->segment < 0)
		return child_fatal(h, "cannot open the segment again", "");
	child_close_others(h);
	if (daemon_drop(config->user) < 0)
		return child_fatal(h, "cannot become user ", config->user);
	if (daemon_cores(config->core_dumps == SWITCH_ON) < 0)
		return child_fatal(h, "cannot set whether there are core dumps", "");
	if (confine_install(c->row->calls, config->seccomp) < 0)
		return child_fatal(h, "cannot install the filter of system calls", "");
	return entry(h);
}

/* ---- in the master ---- */

/* The writing end for the child; -1: nobody listens. */
static int child_listen(struct child *c)
{
	int fds[2];

	said_free(c->said);
	c->said = NULL;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	c->said = said_new(c->family->base, c->name, fds[0]);
	if (c->said)
		return fds[1];
	close(fds[0]);
	close(fds[1]);
	return -1;
}

static pid_t child_fork(struct child *c, int fds[2])
{
	static struct heritage h; /* the child's for its whole life */
	int said = child_listen(c), saved;
	sigset_t all, before;
	pid_t pid;

	family_heritage(c->family, c, &h);
	h.master = getpid();
	h.control = fds[1];
	h.generation = c->generation + 1;
	fflush(NULL);
	/*
	 * Until the child has forgotten the master's handlers, a signal to it would be written into
	 * the socket pair of libevent, which is the master's as well.
	 */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	pid = fork();
	if (pid == 0)
		exit(child_run(c, &h, said));
	saved = errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(fds[1]);
	if (said >= 0)
		close(said);
	tickets_wipe(&h.tickets);
	errno = saved;
	return pid;
}

int child_spawn(struct child *c, const struct chan_handler *handlers, void (*gone)(void *arg))
{
	int fds[2];

	if (chan_pair(fds) < 0)
		goto fail;
	c->chan = chan_new(c->family->base, fds[0], c->name, handlers, gone, c);
	if (!c->chan) {
		close(fds[0]);
		close(fds[1]);
		errno = ENOMEM;
		goto fail;
	}
	c->pid = child_fork(c, fds);
	if (c->pid < 0) {
		int saved = errno;

		c->pid = 0;
		chan_free(c->chan);
		c->chan = NULL;
		errno = saved;
		goto fail;
	}
	c->generation++;
	c->ready = c->exited = c->waits = c->killed = c->stop_wanted = false;
	c->dismissed = c->restart = c->gave = c->shut = c->heirless = false;
	c->kill_ms = c->start_ms = 0;
	log_debug("started", kv_str("child", c->name), kv_int("pid", c->pid),
		kv_uint("generation", c->generation));
	return 0;
fail:
	log_error("cannot start a process", kv_str("child", c->name), kv_errno(errno));
	return -1;
}

void child_last_words(const struct child *c, bool expected)
{
	bool clean = WIFEXITED(c->status) && WEXITSTATUS(c->status) == CHILD_EXIT_OK;
	const char *core = WIFSIGNALED(c->status) && WCOREDUMP(c->status) ? "yes" : "no";

	if (c->said)
		said_flush(c->said);
	if (clean && expected)
		log_info("ended", kv_str("child", c->name), kv_int("pid", c->pid));
	else if (WIFSIGNALED(c->status))
		log_error("killed by a signal", kv_str("child", c->name), kv_int("pid", c->pid),
			kv_uint("slot", c->slot), kv_uint("generation", c->generation),
			kv_int("signal", WTERMSIG(c->status)),
			kv_str("name", sigabbrev_np(WTERMSIG(c->status))), kv_str("core", core));
	else
		log_error("ended by itself", kv_str("child", c->name), kv_int("pid", c->pid),
			kv_uint("slot", c->slot), kv_uint("generation", c->generation),
			kv_int("status", WEXITSTATUS(c->status)));
}
