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

#include "certs.h"
#include "control.h"
#include "family.h"
#include "inherit.h"
#include "listen.h"
#include "master.h"
#include "notify.h"
#include "reload.h"
#include "segment.h"
#include "upgrade.h"

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
	struct upgrade upgrade; /* we are replaced */
	struct inherit inherit; /* we replace */
	bool foreground;
	bool upgrade_waits; /* asked for */
	bool left;          /* files and sockets are another master's now */
	int pidfile;
	uid_t uid; /* of the service */
	gid_t gid;
};

__attribute__((format(printf, 2, 3))) static int master_fail(struct master *m, const char *fmt, ...)
{
	char why[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	log_error("cannot start", kv_str("why", why));
	inherit_fail(&m->inherit, why);
	return -1;
}

/* ---- signals ---- */

static void master_stop(struct master *m, evutil_socket_t sig)
{
	const struct config *c = m->family.config;
	bool again = (family_stopping(&m->family) && !m->left) || m->upgrade.stop_asked;
	bool hurry = again || sig == SIGQUIT || inherit_under_way(&m->inherit);

	if (m->left) {
		log_info("asked to stop: what is left ends at once");
		family_stop(&m->family, 0, 0, true);
		return;
	}
	if (!inherit_under_way(&m->inherit))
		notify_stopping((hurry ? 0 : c->drain_delay + c->drain_timeout) + STOP_MS);
	log_info(again   ? "asked again to stop: at once"
		 : hurry ? "asked to stop at once"
			 : "asked to stop",
		kv_str("signal", sigabbrev_np(sig)));
	if (!upgrade_stop(&m->upgrade, hurry))
		family_stop(&m->family, c->drain_delay, c->drain_timeout, hurry);
}

/* Why the program is not replaced yet; NULL: nothing is against it. */
static const char *master_busy(const struct master *m)
{
	if (!m->family.was_ready || inherit_under_way(&m->inherit))
		return "it is starting";
	return m->reload.busy ? "a reload is under way" : upgrade_waits(&m->upgrade);
}

/* Asked for, and as soon as it can be. */
static void master_upgrade(struct master *m)
{
	const char *never = upgrade_never(&m->upgrade), *busy = never ? never : master_busy(m);

	if (never)
		log_warn("the program is not replaced", kv_str("why", never));
	else if (busy && !m->upgrade_waits)
		log_info("the program will be replaced when that is over", kv_str("why", busy));
	m->upgrade_waits = busy && !never;
	if (busy)
		return;
	upgrade_start(&m->upgrade);
	if (!m->left && upgrade_under_way(&m->upgrade))
		m->reload.blocked = "the program is being replaced";
}

static void master_on_signal(evutil_socket_t sig, short what, void *arg)
{
	struct master *m = arg;

	(void)what;
	switch (sig) {
	case SIGCHLD:
		family_reap(&m->family);
		break;
	case SIGTERM:
	case SIGINT:
	case SIGQUIT:
		master_stop(m, sig);
		break;
	case SIGUSR1:
		reload_log(&m->reload);
		break;
	case SIGHUP:
		if (!m->left && !inherit_under_way(&m->inherit))
			notify_reloading();
		(void)reload_start(&m->reload);
		break;
	case SIGUSR2:
		master_upgrade(m);
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
				m, "cannot watch signals: %s; free some memory", strerror(errno));
	}
	return m->base ? 0 : master_fail(m, "no event loop: %s", strerror(errno));
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
	upgrade_forget(&m->upgrade);
	inherit_free(&m->inherit);
	event_base_free(m->base);
	m->base = NULL;
}

static void master_ready(void *arg)
{
	struct master *m = arg;

	if (inherit_under_way(&m->inherit)) {
		inherit_ready(&m->inherit);
		return;
	}
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

	control_look(&m->control);
	reload_look(&m->reload);
	upgrade_look(&m->upgrade);
	if (m->upgrade_waits)
		master_upgrade(m);
	inherit_look(&m->inherit);
}

static void master_other_ended(void *arg, pid_t pid, int status)
{
	struct master *m = arg;

	upgrade_ended(&m->upgrade, pid, status);
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
	family_wake(&m->family); /* somebody may wait for its end */
	if (m->family.was_ready && !m->left && !inherit_under_way(&m->inherit))
		notify_ready(getpid()); /* whatever the outcome: it serves */
}

static void master_ended(void *arg)
{
	event_base_loopbreak(((struct master *)arg)->base);
}

/* ---- from one program to the next ---- */

/* The old one: the new one has all of it. */
static void master_leave(void *arg, pid_t pid)
{
	struct master *m = arg;
	struct family *f = &m->family;

	m->left = true;
	segment_leave(&m->segment);
	notify_ready(pid); /* while it is we whom init listens to */
	control_leave(&m->control);
	listen_leave(&m->listeners);
	close(m->pidfile);
	m->pidfile = -1;
	f->hold_admin = f->restart = true;
	f->news.listeners++;
	family_stop(f, 0, f->config->drain_timeout, false);
}

static void master_stays(void *arg)
{
	((struct master *)arg)->reload.blocked = NULL;
}

/* The new one: all is ours now. */
static int master_serve(void *arg)
{
	struct master *m = arg;
	struct family *f = &m->family;
	int control = m->inherit.control;
	char err[1024] = "no memory";
	bool same = m->inherit.hello.gid == m->gid;

	if (segment_publish(&m->segment) < 0 || daemon_pidfile_write(m->pidfile) < 0) {
		snprintf(err, sizeof(err), "cannot write pidfile and link: %s", strerror(errno));
		family_fail(f, err);
		return -1;
	}
	if (same)
		m->inherit.control = -1;
	/* Whom they belong to comes with their birth: for another group they are new ones. */
	if (listen_begin(&m->listeners, same, err, sizeof(err)) < 0 ||
		(same ? control_adopt(&m->control, control, m->segment.dir)
		      : control_open(&m->control, m->segment.dir, m->gid, err, sizeof(err))) < 0) {
		family_fail(f, err);
		return -1;
	}
	f->hold_clients = f->hold_admin = false;
	f->news.listeners++;
	family_wake(f);
	m->reload.blocked = NULL;
	reload_log_file(&m->reload); /* if it was rotated meanwhile, the old program was told */
	log_info("serves: the old program is replaced", kv_int("pid", getpid()),
		kv_uint("workers", f->active));
	daemon_started(0);
	if (m->inherit.gone)
		notify_ready(getpid());
	return 0;
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
		return master_fail(m,
			"user: there is no user %s; make it (useradd --system %s), or "
			"set `user` to another one, "
			"or to \"\" to stay root",
			user, user);
	return master_fail(m, "user %s: %s", user, strerror(errno));
}

static int master_open_pidfile(struct master *m)
{
	const char *path = m->config->pidfile;
	pid_t other;

	m->pidfile = daemon_pidfile_open(path, &other);
	if (m->pidfile >= 0)
		return 0;
	if (errno != EWOULDBLOCK)
		return master_fail(m, "pidfile %s: %s; make its folder, or name another one", path,
			strerror(errno));
	return master_fail(m,
		"pidfile %s: wsgated runs already, pid %ld; stop that one, or give this "
		"one its own pidfile and "
		"runtime_dir",
		path, (long)other);
}

/* The same, from the program that we replace. */
static int master_inherit(struct master *m)
{
	const struct config *c = m->config;
	struct inherit *in = &m->inherit;
	unsigned nslots = config_workers(c), slots;
	char err[1024];
	int dir = in->dir;

	if (inherit_check(in, c, err, sizeof(err)) < 0)
		return master_fail(m, "%s", err);
	m->pidfile = in->pidfile;
	in->pidfile = in->dir = -1;
	slots = nslots > in->set.nslots ? nslots : in->set.nslots;
	if (segment_inherit(&m->segment, dir, in->hello.segment, err, sizeof(err)) < 0 ||
		segment_open(&m->segment, c, nslots, m->uid, m->gid, err, sizeof(err)) < 0 ||
		listen_prepare(&m->listeners, &in->set, c, slots, err, sizeof(err)) < 0)
		return master_fail(m, "%s", err);
	return 0;
}

static int master_open(struct master *m)
{
	const struct config *c = m->config;
	unsigned nslots = config_workers(c);
	char err[1024];

	listen_group(m->gid);
	if (nslots > HERITAGE_SLOT_MAX)
		return master_fail(
			m, "workers: %u are too many; at most %d", nslots, HERITAGE_SLOT_MAX);
	if (inherit_under_way(&m->inherit))
		return master_inherit(m);
	if (segment_dir(&m->segment, c, m->uid, m->gid, err, sizeof(err)) < 0)
		return master_fail(m, "%s", err);
	if (master_open_pidfile(m) < 0)
		return -1;
	if (segment_lock(&m->segment, c, err, sizeof(err)) < 0 ||
		segment_open(&m->segment, c, nslots, m->uid, m->gid, err, sizeof(err)) < 0 ||
		listen_open(&m->listeners, c, nslots, m->segment.nstale ? ORPHANS_MS : 0, err,
			sizeof(err)) < 0)
		return master_fail(m, "%s", err);
	if (segment_publish(&m->segment) < 0)
		return master_fail(m, "runtime_dir %s: cannot link to the shared-memory file: %s",
			c->runtime_dir, strerror(errno));
	return 0;
}

static void master_say(const struct master *m, unsigned long files)
{
	const struct config *c = m->config;
	unsigned nslots = config_workers(c);
	unsigned long reserved = FILES_RESERVED + m->listeners.n;
	uint64_t reach = nslots * (uint64_t)(files > reserved ? files - reserved : 0);

	log_info("wsgated starts", kv_str("version", WSGATE_VERSION), kv_uint("workers", nslots),
		kv_uint("max_connections", c->max_connections), kv_uint("open_files", files));
	listen_say(&m->listeners);
	if (reach < c->max_connections)
		log_warn("max_connections cannot be reached: raise the limit of open files, or "
			 "take more workers",
			kv_uint("max_connections", c->max_connections), kv_uint("reachable", reach),
			kv_uint("open_files", files), kv_uint("workers", nslots));
}

/* What the family is asked from outside. */
static int master_listen_to_operator(struct master *m, const struct config_source *source)
{
	char err[1024];

	m->reload.family = &m->family;
	m->reload.listeners = &m->listeners;
	m->reload.segment = &m->segment;
	m->reload.source = source;
	m->reload.background = !m->foreground;
	m->reload.done = master_reloaded;
	m->reload.arg = m;
	if (reload_init(&m->reload) < 0)
		return master_fail(m, "no timer: %s; free some memory", strerror(errno));
	m->control.base = m->base;
	m->control.family = &m->family;
	m->control.reload = &m->reload;
	m->control.uid = m->uid;
	m->upgrade.family = &m->family;
	m->upgrade.listeners = &m->listeners;
	m->upgrade.segment = &m->segment;
	m->upgrade.control = &m->control;
	m->upgrade.config = m->config;
	m->upgrade.pidfile = m->pidfile;
	m->upgrade.gid = m->gid;
	m->upgrade.serves = master_leave;
	m->upgrade.over = master_stays;
	m->upgrade.arg = m;
	if (upgrade_init(&m->upgrade) < 0)
		return master_fail(m, "no timer: %s; free some memory", strerror(errno));
	if (inherit_under_way(&m->inherit)) {
		m->reload.blocked = "the gateway is starting";
		m->family.hold_bridge = m->family.hold_clients = m->family.hold_admin = true;
		m->inherit.family = &m->family;
		m->inherit.serve = master_serve;
		m->inherit.arg = m;
		return inherit_watch(&m->inherit) < 0 ? master_fail(m, "no events") : 0;
	}
	if (control_open(&m->control, m->segment.dir, m->gid, err, sizeof(err)) < 0)
		return master_fail(m, "%s", err);
	return 0;
}

/* In the background, or where the program was that we replace. */
static int master_settle(struct master *m, int will)
{
	char err[1024];

	if (will < 0) {
		if (!m->foreground && daemon_detach() < 0)
			return master_fail(
				m, "cannot go to the background: %s; try -f", strerror(errno));
		return 0;
	}
	if (!m->foreground && daemon_inherited() < 0)
		return master_fail(m, "/dev/null: %s", strerror(errno));
	if (inherit_receive(&m->inherit, will, err, sizeof(err)) < 0)
		return master_fail(m, "%s", err);
	return 0;
}

static int master_start(struct master *m, const struct config_source *source, int will)
{
	unsigned long files;
	char err[1024];
	int tls;

	if (master_find_user(m) < 0 || master_settle(m, will) < 0)
		return -1;
	files = daemon_raise_nofile();
	if (master_open(m) < 0 || master_watch_signals(m) < 0)
		return -1;
	master_say(m, files);
	if (certs_read(m->config, &tls, true, err, sizeof(err)) < 0)
		return master_fail(m, "%s", err);
	m->family = (struct family){.config = m->config,
		.base = m->base,
		.listeners = &m->listeners,
		.segment = &m->segment,
		.forget = master_forget,
		.ready = master_ready,
		.ended = master_ended,
		.looked = master_looked,
		.closed = master_closed,
		.other_ended = master_other_ended,
		.arg = m,
		.tls = tls,
		.drain = m->inherit.drain,
		.background = !m->foreground};
	if (master_listen_to_operator(m, source) < 0)
		return -1;
	if (family_start(&m->family, config_workers(m->config)) < 0)
		return master_fail(
			m, "no channels: %s; raise the limit of open files", strerror(errno));
	return 0;
}

/* ---- the end ---- */

static void master_free(struct master *m, int status)
{
	bool files = !m->left && !inherit_under_way(&m->inherit); /* they are ours */

	upgrade_free(&m->upgrade);
	if (files)
		control_close(&m->control);
	else
		control_leave(&m->control);
	reload_free(&m->reload);
	family_free(&m->family);
	master_free_signals(m);
	/* One more that comes now must not be how we end. */
	for (size_t i = 0; i < NSIGNALS; i++)
		(void)signal(master_signals[i], SIG_IGN);
	inherit_free(&m->inherit);
	if (m->base)
		event_base_free(m->base);
	listen_close(&m->listeners);
	if (m->family.stuck)
		log_error("a process could not be ended: the segment stays",
			kv_str("file", m->segment.name));
	else
		segment_close(&m->segment);
	if (status == 0)
		log_info("ended");
	if (m->pidfile < 0)
		return;
	if (files)
		(void)unlink(m->config->pidfile); /* last: who waits for its end looks for it */
	close(m->pidfile);
}

static void master_init(struct master *m, const struct config *c, bool foreground)
{
	memset(m, 0, sizeof(*m));
	m->config = c;
	m->foreground = foreground;
	m->pidfile = m->segment.dir = m->segment.fd = -1;
	listen_init(&m->listeners);
	m->segment.predecessor = m->reload.tls = m->family.tls = -1;
	m->control.fd = m->control.dir = -1;
	for (size_t i = 0; i < CONTROL_CALLERS; i++)
		m->control.callers[i].fd = -1;
	news_init(&m->family.news);
	inherit_init(&m->inherit);
}

int master_run(
	const struct config *c, const struct config_source *source, bool foreground, int will)
{
	static struct master m; /* too large for the stack */
	int status = 2;

	(void)daemon_program(); /* as of now: the next one is to come from there */
	master_init(&m, c, foreground);
	daemon_title("wsgated: master");
	if (master_start(&m, source, will) == 0) {
		if (event_base_dispatch(m.base) == 0 && m.family.state == FAMILY_ENDED) {
			status = m.family.status;
		} else {
			/* The children see the end of their channels, store what they have, and
			 * end. */
			log_error("the event loop failed: all processes end", kv_errno(errno));
			m.family.stuck = true;
		}
		if (status != 0 && inherit_under_way(&m.inherit))
			inherit_fail(&m.inherit, m.family.why);
	}
	master_free(&m, status);
	daemon_started(status);
	return status;
}
