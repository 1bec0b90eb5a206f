/*
 * devlog: see devlog.h. The form is that of RFC 3164 4.1, as syslog(3) writes it to a local daemon:
 * no host name, local time.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "devlog.h"

#define IDENT "wsgated"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int devlog_fd = -1;
static int devlog_type = SOCK_DGRAM;

static int devlog_open_type(int type)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int saved;

	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		saved = errno;
		close(fd);
		errno = saved;
		fd = -1;
	}
	devlog_type = type;
	return fd;
}

static void devlog_drop(void)
{
	if (devlog_fd >= 0)
		close(devlog_fd);
	devlog_fd = -1;
}

static bool devlog_connect(void)
{
	if (devlog_fd < 0)
		devlog_fd = devlog_open_type(SOCK_DGRAM);
	if (devlog_fd < 0 && errno == EPROTOTYPE) /* some daemons listen for streams */
		devlog_fd = devlog_open_type(SOCK_STREAM);
	return devlog_fd >= 0;
}

static size_t devlog_head(int severity, char *head, size_t size)
{
	static const char months[12][4] = {
		"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t now = time(NULL);
	struct tm tm;

	localtime_r(&now, &tm);
	return (size_t)snprintf(head, size,
		"<%d>%s %2d %02d:%02d:%02d %s[%d]: ", LOG_MAKEPRI(LOG_DAEMON, severity),
		months[(unsigned)tm.tm_mon % 12], tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		IDENT, (int)getpid());
}

static bool devlog_try(struct iovec *iov, size_t n)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n};
	size_t want = 0;
	ssize_t sent;

	/* In a stream a NUL ends each line. */
	msg.msg_iovlen -= devlog_type == SOCK_DGRAM;
	for (size_t i = 0; i < msg.msg_iovlen; i++)
		want += iov[i].iov_len;
	do
		sent = sendmsg(devlog_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	if (sent >= 0 && (size_t)sent != want) {
		devlog_drop(); /* half a line in a stream: the rest would look like one of its own
				*/
		errno = EAGAIN;
		return false;
	}
	return sent >= 0;
}

bool devlog_send(int severity, const char *line, size_t len)
{
	char head[128];
	struct iovec iov[3] = {{head, devlog_head(severity, head, sizeof(head))},
		{(void *)(uintptr_t)line, len}, {(void *)(uintptr_t) "", 1}};
	bool done = false;

	pthread_mutex_lock(&lock);
	if (devlog_connect())
		done = devlog_try(iov, 3);
	if (!done && devlog_fd >= 0 && errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM) {
		devlog_drop(); /* a daemon that was started again has another socket */
		if (devlog_connect())
			done = devlog_try(iov, 3);
		if (!done)
			devlog_drop();
	}
	pthread_mutex_unlock(&lock);
	return done;
}

void devlog_close(void)
{
	pthread_mutex_lock(&lock);
	devlog_drop();
	pthread_mutex_unlock(&lock);
}
