/*
 * program: see program.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include <wsgate/daemon.h>
#include <wsgate/log.h>
#include <wsgate/rights.h>

#include "program.h"
#include "upgrade.h"
#include "will.h"

/* ---- its start ---- */

static void reset_signals(void)
{
	struct sigaction sa = {.sa_handler = SIG_DFL};

	sigemptyset(&sa.sa_mask);
	for (int i = 1; i < NSIG; i++)
		sigaction(i, &sa, NULL); /* KILL, STOP and those of libc: cannot, need not */
	sigprocmask(SIG_SETMASK, &sa.sa_mask, NULL);
}

/* In the new process. Returns only when it cannot be. */
static void become(int will, int error)
{
	char number[16];
	int keep = fcntl(will, F_DUPFD, STDERR_FILENO + 1); /* not close-on-exec, as that is */

	snprintf(number, sizeof(number), "%d", keep);
	(void)setpgid(0, 0);
	reset_signals();
	if (error >= 0)
		(void)dup2(error, STDERR_FILENO);
	if (keep >= 0 && setenv(WILL_ENV, number, 1) == 0)
		execv(daemon_program(), daemon_arguments());
	dprintf(STDERR_FILENO, "wsgated: %s cannot be executed: %s\n", daemon_program(),
		strerror(errno));
}

pid_t program_start(int will, int error)
{
	sigset_t all, before;
	pid_t pid;
	int saved;

	fflush(NULL);
	/* As in child.c: no signal may reach the handlers of the parent in the child. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	pid = fork();
	if (pid == 0) {
		become(will, error);
		_exit(127);
	}
	saved = errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid > 0)
		(void)setpgid(pid, pid); /* whoever is first */
	errno = saved;
	return pid;
}

/* ---- its words ---- */

static void say_line(struct upgrade *u)
{
	if (u->line_len)
		log_warn("the new program says", kv_mem("line", u->line, u->line_len));
	u->line_len = 0;
}

/* Bounded: one wakeup, one piece. False: no more comes. */
static bool hear(struct upgrade *u)
{
	char buf[512];
	ssize_t n = read(u->says, buf, sizeof(buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	for (ssize_t i = 0; i < n; i++) {
		if (buf[i] == '\n' || u->line_len == sizeof(u->line))
			say_line(u);
		if (buf[i] != '\n')
			u->line[u->line_len++] = buf[i];
	}
	return n > 0;
}

void program_words_end(struct upgrade *u)
{
	say_line(u);
	if (u->says_ev)
		event_free(u->says_ev);
	u->says_ev = NULL;
	rights_drop(&u->says);
}

void program_last_words(struct upgrade *u)
{
	for (errno = 0; u->says >= 0 && hear(u) && errno != EAGAIN;)
		errno = 0;
}

void program_on_words(int fd, short what, void *arg)
{
	struct upgrade *u = arg;

	(void)fd;
	(void)what;
	if (!hear(u))
		program_words_end(u);
}
