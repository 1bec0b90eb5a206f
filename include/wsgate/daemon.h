/*
 * daemon: what a Unix daemon needs of the system: pidfile, privileges, detaching, process titles.
 * Room: base. Every function that can fail returns -1 with errno, unless it says otherwise.
 */
#ifndef WSGATE_DAEMON_H
#define WSGATE_DAEMON_H

#include <stdbool.h>
#include <sys/types.h>

/* Opens /dev/null in place of standard descriptors that are closed, lest a socket or a file get
 * their number. */
void daemon_standard_fds(void);

/* Must be called first in main(): keeps argv's and environ's memory for titles. */
void daemon_title_init(
	int argc, char **argv); /* argv's strings are replaced by copies, which stay for good */
/* Those copies; NULL before. */
char **daemon_arguments(void);
/*
 * The path of this program, by which a later one is found: absolute, as of the first call, which
 * belongs to the start.
 * "": not known.
 */
const char *daemon_program(void);
/* "wsgated: master" in ps; also prctl(PR_SET_NAME), cut to 15 bytes. */
void daemon_title(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Opens and locks (fcntl write lock of the open file description) the pidfile. Returns the
 * descriptor: the lock lasts until it and all copies of it are closed, those of children and those
 * that were sent to others among them. Or -1: errno EWOULDBLOCK means that another instance runs,
 * *other is the pid that it wrote (0: none yet).
 */
int daemon_pidfile_open(const char *path, pid_t *other);
/* Writes the caller's pid. 0 or -1. */
int daemon_pidfile_write(int fd);

/* Whether a process of that number is there, whoever's; never for 0 and 1. Asked of kill(2): in a
 * /proc with hidepid, which the systemd unit has, others are not to be seen. */
bool daemon_lives(pid_t pid);

/*
 * fork, setsid, standard descriptors to /dev/null (standard error only once daemon_started(0) is
 * called: why a start failed belongs on the operator's screen); the parent waits until the child
 * calls daemon_started(status) and exits with that status, or with 2 when the child dies before.
 */
int daemon_detach(void);
void daemon_started(int status);
/* Instead of daemon_detach(), in a program that replaces another one in the background: standard
 * error stays until then. */
int daemon_inherited(void);

/* Resolves a user; "" gives the caller's own ids. 0, or -1 (errno ENOENT: no such user). */
int daemon_user(const char *name, uid_t *uid, gid_t *gid);
/*
 * Becomes that user, when root ("": stays it), and gives up for good all groups but its own, all
 * capabilities, and ever to gain any (no_new_privs). When not root the user does not matter, and
 * groups stay that it may not leave. 0 or -1.
 */
int daemon_drop(const char *user);
/* Whether a crash leaves a core, and whether others of this user may look inside. 0 or -1.
 * daemon_drop() forgets it. */
int daemon_cores(bool wanted);

/* Raises the soft limit of open files as far as it may. Returns the limit in force. */
unsigned long daemon_raise_nofile(void);

#endif
