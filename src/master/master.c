/*
 * master: see master.h. It stays root, and touches no shared memory while others use it: so it
 * survives what kills its children.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <event2/event.h>

#include <wsgate/daemon.h>
#include <wsgate/log.h>

#include "control.h"
#include "family.h"
#include "listen.h"
#include "master.h"
#include "notify.h"
#include "reload.h"
#include "segment.h"

#define ORPHANS_MS 3000   /* patience with those of a dead master, who still hold the port */
#define FILES_RESERVED 64 /* descriptors of a worker that are no connections */
#define STOP_MS 15000     /* a stop takes less than this beyond drain_timeout: see family.c */

static const int master_signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};
#define NSIGNALS (sizeof(master_signals) / sizeof(master_signals[0]))

struct master {
	const struct config *config; /* the first one; the family has the one in effect */
	struct event_base *base;
	struct event *signals[NSIGNALS];
	struct listen_set listeners;
	struct segment segment;
	struct family family;
	struct reload reload;
	struct control control;
	int pidfile;
	uid_t uid; /* of the service */
	gid_t gid;
};

static int master_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static int master_fail(const char *fmt, ...)
{
	char why[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	log_error("cannot start", kv_str("why", why));
	return -1;
}

/* ---- signals ---- */

static void master_on_signal(evutil_socket_t sig, short what, void *arg)
{
	struct master *m = arg;
	bool again = family_stopping(&m->family);

	(void)what;
	switch (sig) {
	case SIGCHLD:
		family_reap(&m->family);
		break;
	case SIGTERM:
	case SIGINT:
		notify_stopping(m->family.config->drain_timeout + STOP_MS);
		log_info(again ? "asked again to stop: at once" : "asked to stop",
			kv_str("signal", sig == SIGTERM ? "TERM" : "INT"));
		family_stop(&m->family, m->family.config->drain_timeout, again);
		break;
	case SIGQUIT:
		notify_stopping(STOP_MS);
		log_info("asked to stop at once", kv_str("signal", "QUIT"));
		family_stop(&m->family, 0, true);
		break;
	case SIGUSR1:
		reload_log(&m->reload);
		break;
	case SIGHUP:
		notify_reloading();
		(void)reload_start(&m->reload);
		break;
	case SIGUSR2:
		log_warn("replacing the running program is not there yet: nothing has changed");
		break;
	}
}

static void master_libevent_says(int severity, const char *msg)
{
	if (severity >= EVENT_LOG_ERR)
		log_some_errors(20, "libevent", kv_str("says", msg));
	else if (severity == EVENT_LOG_WARN)
		log_some_warnings(20, "libevent", kv_str("says", msg));
}

static int master_watch_signals(struct master *m)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	sigemptyset(&ignore.sa_mask);
	sigaction(SIGPIPE, &ignore, NULL);
	event_set_log_callback(master_libevent_says);
	m->base = event_base_new();
	for (size_t i = 0; m->base && i < NSIGNALS; i++) {
		m->signals[i] = evsignal_new(m->base, master_signals[i], master_on_signal, m);
		if (!m->signals[i] || event_add(m->signals[i], NULL) < 0)
			return master_fail(
				"cannot watch signals: %s; free some memory", strerror(errno));
	}
	return m->base ? 0 : master_fail("no event loop: %s", strerror(errno));
}

static void master_free_signals(struct master *m)
{
	for (size_t i = 0; i < NSIGNALS; i++) {
		if (m->signals[i])
			event_free(m->signals[i]);
		m->signals[i] = NULL;
	}
}

/* ---- the family's news ---- */

/* In a child. Without event_reinit() nothing may be freed: the epoll instance is the master's too.
 */
static void master_forget(void *arg)
{
	struct master *m = arg;

	if (event_reinit(m->base) < 0)
		return;
	master_free_signals(m);
	family_forget(&m->family);
	reload_forget(&m->reload);
	control_forget(&m->control);
	event_base_free(m->base);
	m->base = NULL;
}

static void master_ready(void *arg)
{
	struct master *m = arg;

	if (daemon_pidfile_write(m->pidfile) < 0) {
		char why[PROTO_TEXT_MAX];

		snprintf(why, sizeof(why), "pidfile %s: %s; make room or name another one",
			m->config->pidfile, strerror(errno));
		family_fail(&m->family, why);
		return;
	}
	log_info("ready", kv_int("pid", getpid()), kv_uint("workers", m->family.active));
	daemon_started(0);
	notify_ready(getpid());
}

static void master_looked(void *arg)
{
	struct master *m = arg;

	reload_look(&m->reload);
}

static void master_closed(void *arg, const struct proto_closed *c)
{
	struct master *m = arg;

	control_closed(&m->control, c);
}

static void master_reloaded(void *arg, uint64_t number)
{
	struct master *m = arg;

	control_reloaded(&m->control, number);
	if (m->family.was_ready)
		notify_ready(getpid()); /* whatever the outcome: it serves */
}

static void master_ended(void *arg)
{
	struct master *m = arg;

	event_base_loopbreak(m->base);
}

/* ---- start ---- */

static int master_find_user(struct master *m)
{
	const char *user = m->config->user;

	m->uid = getuid();
	m->gid = getgid();
	if (geteuid() != 0)
		return 0;
	if (daemon_user(user, &m->uid, &m->gid) == 0) {
		if (m->uid == 0)
			log_warn("workers and bridge stay root: set `user` to one of their own");
		return 0;
	}
	if (errno == ENOENT)
		return master_fail("user: there is no user %s; make it (useradd --system %s), or "
				   "set `user` to another one, "
				   "or to \"\" to stay root",
			user, user);
	return master_fail("user %s: %s", user, strerror(errno));
}

static int master_open_pidfile(struct master *m)
{
	const char *path = m->config->pidfile;
	pid_t other;

	m->pidfile = daemon_pidfile_open(path, &other);
	if (m->pidfile >= 0)
		return 0;
	if (errno != EWOULDBLOCK)
		return master_fail("pidfile %s: %s; make its folder, or name another one", path,
			strerror(errno));
	return master_fail("pidfile %s: wsgated runs already, pid %ld; stop that one, or give this "
			   "one its own pidfile and "
			   "runtime_dir",
		path, (long)other);
}

static int master_open(struct master *m)
{
	const struct config *c = m->config;
	unsigned nslots = config_workers(c);
	char err[1024];

	if (nslots > HERITAGE_SLOT_MAX)
		return master_fail(
			"workers: %u are too many; at most %d", nslots, HERITAGE_SLOT_MAX);
	if (segment_dir(&m->segment, c, m->uid, m->gid, err, sizeof(err)) < 0)
		return master_fail("%s", err);
	if (master_open_pidfile(m) < 0)
		return -1;
	if (segment_lock(&m->segment, c, err, sizeof(err)) < 0 ||
		segment_open(&m->segment, c, nslots, m->uid, m->gid, err, sizeof(err)) < 0 ||
		listen_open(&m->listeners, c, nslots, m->segment.nstale ? ORPHANS_MS : 0, err,
			sizeof(err)) < 0)
		return master_fail("%s", err);
	return 0;
}

static void master_say(const struct master *m, unsigned long files)
{
	const struct config *c = m->config;
	unsigned nslots = m->listeners.nslots;
	unsigned long reserved = FILES_RESERVED + m->listeners.n;
	uint64_t reach = nslots * (uint64_t)(files > reserved ? files - reserved : 0);

	log_info("wsgated starts", kv_str("version", WSGATE_VERSION), kv_uint("workers", nslots),
		kv_uint("max_connections", c->max_connections), kv_uint("open_files", files));
	for (size_t i = 0; i < m->listeners.n; i++)
		log_info("listens for clients", kv_str("addr", m->listeners.rows[i].name));
	if (m->listeners.admin >= 0)
		log_info("listens for the operator", kv_str("addr", m->listeners.admin_row.name));
	if (reach < c->max_connections)
		log_warn("max_connections cannot be reached: raise the limit of open files, or "
			 "take more workers",
			kv_uint("max_connections", c->max_connections), kv_uint("reachable", reach),
			kv_uint("open_files", files), kv_uint("workers", nslots));
}

/* What the family is asked from outside. */
static int master_listen_to_operator(
	struct master *m, const struct config_source *source, bool foreground)
{
	char err[1024];

	m->reload.family = &m->family;
	m->reload.listeners = &m->listeners;
	m->reload.segment = &m->segment;
	m->reload.source = source;
	m->reload.background = !foreground;
	m->reload.done = master_reloaded;
	m->reload.arg = m;
	if (reload_init(&m->reload) < 0)
		return master_fail("no timer: %s; free some memory", strerror(errno));
	m->control.base = m->base;
	m->control.family = &m->family;
	m->control.reload = &m->reload;
	m->control.uid = m->uid;
	if (control_open(&m->control, m->segment.dir, m->gid, err, sizeof(err)) < 0)
		return master_fail("%s", err);
	return 0;
}

static int master_start(struct master *m, const struct config_source *source, bool foreground)
{
	unsigned long files;

	if (master_find_user(m) < 0)
		return -1;
	if (!foreground && daemon_detach() < 0)
		return master_fail("cannot go to the background: %s; try -f", strerror(errno));
	files = daemon_raise_nofile();
	if (master_open(m) < 0 || master_watch_signals(m) < 0)
		return -1;
	master_say(m, files);
	m->family = (struct family){.config = m->config,
		.base = m->base,
		.listeners = &m->listeners,
		.segment = &m->segment,
		.forget = master_forget,
		.ready = master_ready,
		.ended = master_ended,
		.looked = master_looked,
		.closed = master_closed,
		.arg = m,
		.background = !foreground};
	if (master_listen_to_operator(m, source, foreground) < 0)
		return -1;
	if (family_start(&m->family, m->listeners.nslots) < 0)
		return master_fail(
			"no channels: %s; raise the limit of open files", strerror(errno));
	return 0;
}

/* ---- the end ---- */

static void master_free(struct master *m)
{
	control_close(&m->control);
	reload_free(&m->reload);
	family_free(&m->family);
	master_free_signals(m);
	if (m->base)
		event_base_free(m->base);
	listen_close(&m->listeners);
	if (m->family.stuck)
		log_error("a process could not be ended: the segment stays",
			kv_str("file", m->segment.name));
	else
		segment_close(&m->segment);
	if (m->pidfile < 0)
		return;
	(void)unlink(m->config->pidfile);
	close(m->pidfile);
}

int master_run(const struct config *c, const struct config_source *source, bool foreground)
{
	static struct master m; /* too large for the stack */
	int status = 2;

	memset(&m, 0, sizeof(m));
	m.config = c;
	m.pidfile = m.segment.dir = m.segment.fd = m.listeners.admin = -1;
	m.control.fd = m.control.dir = -1;
	for (size_t i = 0; i < CONTROL_CALLERS; i++)
		m.control.callers[i].fd = -1;
	news_init(&m.family.news);
	log_set_process("master");
	daemon_title("wsgated: master");
	if (master_start(&m, source, foreground) == 0) {
		if (event_base_dispatch(m.base) == 0 && m.family.state == FAMILY_ENDED) {
			status = m.family.status;
		} else {
			/* The children see the end of their channels, store what they have, and
			 * end. */
			log_error("the event loop failed: all processes end", kv_errno(errno));
			m.family.stuck = true;
		}
	}
	master_free(&m);
	if (status == 0)
		log_info("ended");
	daemon_started(status);
	return status;
}
