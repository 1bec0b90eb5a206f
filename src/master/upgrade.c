/* upgrade: see upgrade.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include <wsgate/daemon.h>
#include <wsgate/log.h>
#include <wsgate/rights.h>

#include "bequest.h"
#include "pairs.h"
#include "program.h"
#include "upgrade.h"
#include "will.h"

#define PREPARE_MS 30000 /* from exec until its workers are ready */
#define SHUT_MS 5000     /* until all workers stand still */
#define FLUSH_MS 1000    /* of the bridge */
#define MOVE_MS 30000
#define TAKE_MS 30000 /* until its bridge is ready */
#define TERM_MS 2000  /* between TERM and KILL */
#define ORPHANS_MS 10000
#define RETRY_MS 20

static void arm(struct upgrade *u)
{
	uint64_t now = family_clock(), wait;
	uint64_t at = u->again ? now + RETRY_MS : u->deadline_ms;
	struct timeval tv;

	if (!at) {
		(void)event_del(u->timer);
		return;
	}
	if (u->deadline_ms > now && u->deadline_ms < at)
		at = u->deadline_ms;
	wait = at > now ? at - now : RETRY_MS;
	tv = (struct timeval){(time_t)(wait / 1000), (suseconds_t)(wait % 1000 * 1000)};
	if (event_add(u->timer, &tv) < 0)
		log_error("no timer: the next event must do", kv_errno(ENOMEM));
}

static void enter(struct upgrade *u, enum upgrade_state state, uint64_t ms)
{
	u->state = state;
	u->deadline_ms = ms ? family_clock() + ms : 0;
	memset(u->told, 0, sizeof(u->told));
}

bool upgrade_under_way(const struct upgrade *u)
{
	return u->state != UPGRADE_NONE;
}

static void free_event(struct event **ev)
{
	if (*ev)
		event_free(*ev);
	*ev = NULL;
}

/* ---- its end ---- */

static void close_channel(struct upgrade *u)
{
	free_event(&u->read_ev);
	free_event(&u->write_ev);
	rights_drop(&u->fd);
	rights_drop(&u->ends[0]);
	rights_drop(&u->ends[1]);
}

/* It leads a process group of its own: its children are in it. */
static void kill_all(const struct upgrade *u)
{
	if (kill(-u->started, SIGKILL) < 0 && errno != ESRCH)
		log_error(
			"cannot kill the new program", kv_int("pid", u->started), kv_errno(errno));
}

/* Who waits stands still meanwhile: no time is left for it to end well. */
static void fail(struct upgrade *u, const char *why)
{
	if (u->state == UPGRADE_KILLS || u->state == UPGRADE_RESUMES)
		return;
	log_error(
		"the new program does not take over: the running one goes on", kv_str("why", why));
	/* The channel stays open until it is dead: its end would mean that we are. */
	free_event(&u->read_ev);
	free_event(&u->write_ev);
	/* It has nothing of ours yet. Of its segment of another layout we know nothing: it removes
	 * it. */
	if (u->pid && !u->failed &&
		(u->state == UPGRADE_PREPARES || (u->state == UPGRADE_FLUSHES && u->foreign)))
		(void)kill(u->pid, SIGTERM);
	else if (u->pid && u->state != UPGRADE_PREPARES)
		kill_all(u);
	enter(u, UPGRADE_KILLS, TERM_MS);
}

/* What it said before it ended may lie there unread. */
static const char *last_word(const struct upgrade *u, struct will *w)
{
	int r, extra;

	do {
		r = will_receive(u->fd, w, &extra);
		rights_drop(&extra);
	} while (r > 0 && w->type != WILL_FAILED);
	return r > 0 ? w->u.text.text : "it ended";
}

void upgrade_ended(struct upgrade *u, pid_t pid, int status)
{
	struct will w;

	if (pid != u->pid)
		return;
	u->pid = 0;
	program_last_words(u);
	if (WIFSIGNALED(status))
		log_warn("the new program was killed", kv_int("pid", pid),
			kv_int("signal", WTERMSIG(status)));
	else
		log_warn("the new program ended", kv_int("pid", pid),
			kv_int("status", WEXITSTATUS(status)));
	if (u->state == UPGRADE_LEFT)
		return;
	kill_all(u);
	fail(u, u->fd >= 0 ? last_word(u, &w) : "it ended");
	upgrade_look(u);
}

/* ---- back to where we were ---- */

static void settle(struct upgrade *u)
{
	const struct config *c = u->family->config;
	bool stop = u->stop_asked;

	u->stop_asked = false;
	enter(u, UPGRADE_NONE, 0);
	close_channel(u);
	program_words_end(u);
	u->over(u->arg);
	if (stop)
		family_stop(u->family, c->drain_delay, c->drain_timeout, false);
}

/* All of the new one are dead. Its bridge may have read our rings: its lock says until when. */
static void kills(struct upgrade *u, uint64_t now)
{
	struct family *f = u->family;

	if (u->pid) {
		if (now < u->deadline_ms)
			return;
		kill_all(u);
		u->deadline_ms = now + TERM_MS;
		return;
	}
	if (!u->frozen || family_stopping(f)) {
		segment_find_failed(u->segment, u->started);
		settle(u);
		return;
	}
	/* One that was not asked to end goes on. */
	if (f->bridge.pid ? f->bridge.dismissed
			  : segment_locked(u->segment) && now < u->deadline_ms + ORPHANS_MS) {
		u->again = true;
		return;
	}
	segment_find_failed(u->segment, u->started);
	if (segment_publish(u->segment) < 0 || daemon_pidfile_write(u->pidfile) < 0)
		log_error("cannot make pidfile and link ours again", kv_errno(errno));
	f->hold_bridge = f->hold_workers = false;
	if (!f->bridge.pid && !f->bridge.start_ms)
		f->bridge.start_ms = now;
	family_wake(f);
	enter(u, UPGRADE_RESUMES, 0);
}

/* ---- a word to all workers ---- */

/* False: somebody takes no more now. */
static bool tell_all(struct upgrade *u, enum proto_type type, const void *body, size_t size)
{
	bool all = true;

	for (unsigned i = 0; i < u->family->nslots; i++) {
		struct child *w = &u->family->workers[i];

		if (u->told[i] || !child_lives(w))
			continue;
		if (chan_send(w->chan, type, body, size, -1) < 0 && errno == EAGAIN) {
			all = false;
			continue;
		}
		u->told[i] = true;
		if (type == PROTO_RETIRE)
			news_retired(w);
		w->gave = w->shut = w->heirless = false;
	}
	return all;
}

static void resumes(struct upgrade *u)
{
	struct family *f = u->family;

	if (!tell_all(u, PROTO_RESUME, NULL, 0)) {
		u->again = true;
		return;
	}
	u->frozen = f->hold_clients = false;
	handover_retire_again(f);
	f->news.listeners++;
	family_wake(f);
	log_info("all serve as before");
	settle(u);
}

/* ---- forward ---- */

static bool all_shut(const struct upgrade *u)
{
	for (unsigned i = 0; i < u->family->nslots; i++)
		if (child_lives(&u->family->workers[i]) && !u->family->workers[i].shut)
			return false;
	return true;
}

static void flushes(struct upgrade *u, uint64_t now)
{
	struct proto_retire retire = {1, u->foreign};
	struct family *f = u->family;

	if (!u->frozen) {
		u->frozen = true;
		f->hold_bridge = f->hold_workers = f->hold_clients = true;
		f->news.listeners++;
	}
	u->again = !tell_all(u, PROTO_RETIRE, &retire, sizeof(retire));
	/* What came behind the bridge would be lost. */
	if (u->again || (u->foreign && !all_shut(u))) {
		if (u->deadline_ms && now >= u->deadline_ms)
			fail(u, "a worker does not answer");
		return;
	}
	u->deadline_ms = 0;
	if (f->bridge.pid) {
		if (!f->bridge.dismissed)
			family_dismiss(&f->bridge, FLUSH_MS, now);
		return;
	}
	if (u->foreign && !segment_stored(u->segment)) {
		fail(u, "it cannot read the messages of clients that are not stored yet: is the "
			"broker away?");
		return;
	}
	for (unsigned i = 0; i < f->nslots; i++) {
		u->generations[u->ngivers] = f->workers[i].generation;
		u->givers[u->ngivers] = i;
		u->ngivers += child_lives(&f->workers[i]);
	}
	u->npairs = !u->ngivers ? 0 : u->ngivers > u->workers ? u->ngivers : u->workers;
	log_info("connections go to the new program", kv_uint("workers", u->ngivers),
		kv_uint("new_workers", u->workers));
	enter(u, UPGRADE_GIVES, MOVE_MS);
}

static void gives_all(struct upgrade *u, uint64_t now)
{
	struct will moved = {.version = WILL_VERSION, .type = WILL_MOVED};
	uint64_t gone = 0, left = 0;
	int r = pairs_give(u);

	if (r < 0) {
		fail(u, "it does not listen");
		return;
	}
	if (u->pair == 0 && u->npairs > 0 && now >= u->deadline_ms) { /* nobody has moved */
		fail(u, "no descriptors for its workers");
		return;
	}
	u->again = r == 0;
	for (unsigned i = 0; i < u->ngivers; i++) {
		const struct child *w = &u->family->workers[u->givers[i]];

		if (pairs_gives(u, i) && (u->pair < u->npairs || !w->gave) && now < u->deadline_ms)
			return;
		if (pairs_gives(u, i) && w->gave) {
			gone += w->moved.moved;
			left += w->moved.left;
		} else if (pairs_gives(u, i)) {
			log_warn("a worker does not give its connections in time: the rest of them "
				 "is closed",
				kv_str("child", w->name));
		}
	}
	if (will_send(u->fd, &moved, -1) < 0) {
		if (errno != EAGAIN || now > u->deadline_ms + TERM_MS)
			fail(u, "it does not listen");
		u->again = true;
		return;
	}
	log_info("connections are with the new program", kv_uint("moved", gone),
		kv_uint("left", left));
	enter(u, UPGRADE_TAKES, TAKE_MS);
}

static void on_serving(struct upgrade *u, pid_t pid)
{
	log_info("the new program serves: this one ends", kv_int("pid", pid));
	enter(u, UPGRADE_LEFT, 0);
	close_channel(u);
	if (u->stop_asked && kill(pid, SIGTERM) < 0)
		log_error("cannot hand the stop on", kv_int("pid", pid), kv_errno(errno));
	u->serves(u->arg, pid);
}

static void hear(struct upgrade *u)
{
	struct will w;
	int extra, r = will_receive(u->fd, &w, &extra);

	rights_drop(&extra);
	if (r < 0 && errno == EAGAIN)
		return;
	if (r > 0)
		log_debug("the new program says", kv_str("type", will_name(w.type)));
	if (r > 0 && w.type == WILL_PREPARED && u->state == UPGRADE_PREPARES &&
		u->given == SIZE_MAX && w.u.number.value > 0 &&
		w.u.number.value <= HERITAGE_SLOT_MAX) {
		u->workers = w.u.number.value;
		u->foreign = w.u.number.foreign;
		log_info("the new program is ready to take over", kv_int("pid", u->pid),
			kv_uint("workers", u->workers));
		enter(u, UPGRADE_FLUSHES, SHUT_MS);
	} else if (r > 0 && w.type == WILL_SERVING && u->state == UPGRADE_TAKES) {
		on_serving(u, (pid_t)w.u.number.value);
	} else if (r > 0 && w.type == WILL_FAILED) {
		u->failed = true;
		fail(u, w.u.text.text);
	} else {
		fail(u, r > 0 ? "it says what makes no sense" : "it went away");
	}
}

static void step(struct upgrade *u, uint64_t now)
{
	u->again = false;
	if (family_stopping(u->family) && u->state < UPGRADE_KILLS && u->state != UPGRADE_NONE)
		fail(u, "the gateway is stopping");
	switch (u->state) {
	case UPGRADE_PREPARES:
		if (now >= u->deadline_ms)
			fail(u, "it was not ready in time");
		break;
	case UPGRADE_FLUSHES:
		flushes(u, now);
		break;
	case UPGRADE_GIVES:
		gives_all(u, now);
		break;
	case UPGRADE_TAKES:
		/* It may have said so a moment ago. */
		if (now >= u->deadline_ms)
			hear(u);
		if (now >= u->deadline_ms && u->state == UPGRADE_TAKES)
			fail(u, "it did not serve in time");
		break;
	case UPGRADE_KILLS:
		kills(u, now);
		break;
	case UPGRADE_RESUMES:
		resumes(u);
		break;
	case UPGRADE_NONE:
	case UPGRADE_LEFT:
		break;
	}
}

void upgrade_look(struct upgrade *u)
{
	enum upgrade_state before;

	do {
		before = u->state;
		step(u, family_clock());
	} while (u->state != before);
	arm(u);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	upgrade_look(arg);
}

/* ---- the channel ---- */

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	hear(arg);
	upgrade_look(arg);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct upgrade *u = arg;
	struct will w;
	int with;

	(void)what;
	while (u->given != SIZE_MAX) {
		with = bequest(u, u->given, &w);
		if (will_send(fd, &w, with) < 0) {
			if (errno == EAGAIN)
				return;
			fail(u, strerror(errno));
			upgrade_look(u);
			return;
		}
		u->given = w.type == WILL_COMPLETE ? SIZE_MAX : u->given + 1;
	}
	log_debug("the new program has all that it needs", kv_int("pid", u->pid));
	free_event(&u->write_ev);
}

/* ---- start ---- */

/* Events for what was opened. */
static int watch(struct upgrade *u)
{
	struct event_base *base = u->family->base;

	u->read_ev = event_new(base, u->fd, EV_READ | EV_PERSIST, on_readable, u);
	u->write_ev = event_new(base, u->fd, EV_WRITE | EV_PERSIST, on_writable, u);
	if (u->says >= 0)
		u->says_ev = event_new(base, u->says, EV_READ | EV_PERSIST, program_on_words, u);
	if (u->read_ev && u->write_ev && (u->says < 0 || u->says_ev) &&
		event_add(u->read_ev, NULL) == 0 && event_add(u->write_ev, NULL) == 0 &&
		(u->says < 0 || event_add(u->says_ev, NULL) == 0))
		return 0;
	errno = ENOMEM;
	return -1;
}

static int begin(struct upgrade *u)
{
	int ends[2] = {-1, -1}, words[2] = {-1, -1}, saved;

	if (chan_pair(ends) < 0)
		return -1;
	u->fd = ends[0];
	if (u->family->background && pipe2(words, O_CLOEXEC) < 0)
		goto fail;
	u->says = words[0];
	if (words[0] >= 0)
		(void)fcntl(words[0], F_SETFL, O_NONBLOCK);
	if (watch(u) < 0)
		goto fail;
	u->pid = program_start(ends[1], words[1]);
	if (u->pid < 0)
		goto fail;
	u->started = u->pid;
	rights_drop(&ends[1]);
	rights_drop(&words[1]);
	return 0;
fail:
	saved = errno;
	u->pid = 0;
	rights_drop(&ends[1]);
	rights_drop(&words[1]);
	close_channel(u);
	program_words_end(u);
	errno = saved;
	return -1;
}

const char *upgrade_never(const struct upgrade *u)
{
	if (family_stopping(u->family))
		return "it is stopping";
	if (upgrade_under_way(u))
		return "it is being replaced already";
	return daemon_arguments() && daemon_program()[0] ? NULL : "its path is not known";
}

const char *upgrade_waits(const struct upgrade *u)
{
	for (unsigned i = 0; i < u->family->nslots; i++)
		if (handover_moves(&u->family->workers[i].handover))
			return "a worker hands its connections over";
	return u->segment->predecessor < 0
		       ? NULL
		       : "messages from before the last replacement are not stored yet";
}

void upgrade_start(struct upgrade *u)
{
	log_info("asked to replace the program", kv_str("file", daemon_program()));
	u->given = 0;
	u->ngivers = u->npairs = u->pair = u->more = 0;
	u->stop_asked = u->failed = false;
	if (begin(u) < 0) {
		log_error("cannot start the new program", kv_errno(errno));
		u->over(u->arg);
		return;
	}
	enter(u, UPGRADE_PREPARES, PREPARE_MS);
	upgrade_look(u);
}

bool upgrade_stop(struct upgrade *u, bool again)
{
	if (!u->frozen || u->state == UPGRADE_LEFT)
		return false;
	if (again || u->stop_asked) {
		u->stop_asked = false;
		return false; /* the family stops, and upgrade_look() kills the new one */
	}
	log_info("the stop follows when it is clear which program serves");
	u->stop_asked = true;
	return true;
}

int upgrade_init(struct upgrade *u)
{
	u->fd = u->says = u->ends[0] = u->ends[1] = -1;
	u->timer = event_new(u->family->base, -1, 0, on_timer, u);
	if (u->timer)
		return 0;
	errno = ENOMEM;
	return -1;
}

void upgrade_forget(struct upgrade *u)
{
	if (!u->timer)
		return; /* never set up */
	free_event(&u->timer);
	close_channel(u);
	free_event(&u->says_ev);
	rights_drop(&u->says);
}

void upgrade_free(struct upgrade *u)
{
	/* Only when the event loop failed, or in a hurry: it must not go on beside orphans. */
	if (u->pid && u->state != UPGRADE_LEFT && u->state != UPGRADE_NONE)
		kill_all(u);
	upgrade_forget(u);
}
