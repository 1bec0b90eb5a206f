/*
 * control: see control.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include <wsgate/log.h>

#include "control.h"
#include "local.h"

#define DRAIN_MIN_MS 1000
#define CALLER_SECONDS 30 /* for the request, or for an answer that does not come */
#define SYNC_SECONDS 5    /* then who has not heard yet is named */

/* ---- callers ---- */

static void caller_free(struct caller *k)
{
	if (k->ev)
		event_free(k->ev);
	if (k->fd >= 0)
		close(k->fd);
	k->ev = NULL;
	k->fd = -1;
	k->reload = k->close = k->sync = k->drain = 0;
}

static void caller_answer(struct caller *k, struct control_answer *a)
{
	a->version = CONTROL_VERSION;
	/* Who does not read one answer, or went away, is not waited for. */
	if (send(k->fd, a, sizeof(*a), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug("no answer to a caller", kv_errno(errno));
	caller_free(k);
}

static void caller_fail(struct caller *k, const char *text)
{
	struct control_answer a = {.result = CONTROL_FAILED};

	snprintf(a.text, sizeof(a.text), "%s", text);
	caller_answer(k, &a);
}

/* Of the last reload. */
static void outcome(const struct control *c, struct control_answer *a)
{
	const struct reload *r = c->reload;

	memset(a, 0, sizeof(*a));
	a->at_ms = r->ended_ms;
	a->drain = c->family->drain;
	a->result = !r->ended_ms ? CONTROL_NEVER : r->failed ? CONTROL_FAILED : CONTROL_OK;
	snprintf(a->text, sizeof(a->text), "%s", r->text);
}

/* It is done; some may not have heard. */
static void caller_synced(struct caller *k)
{
	const struct family *f = k->control->family;
	struct control_answer a = {.result = CONTROL_OK, .drain = f->drain};
	char late[512];

	if (k->reload) {
		caller_answer(k, &k->outcome);
		return;
	}
	if (k->drain && (k->drain == CONTROL_DRAIN) != (f->drain.begin_ms != 0)) {
		caller_fail(k, "the opposite was asked for meanwhile");
		return;
	}
	if (news_unsynced(f, k->sync, k->bridge, late, sizeof(late)) > 0)
		snprintf(a.text, sizeof(a.text),
			"no answer yet: %s; what does not read hears of it when it does", late);
	caller_answer(k, &a);
}

/* The answer comes when nobody can act any more as if it had not been said. */
static void caller_sync(struct caller *k, bool bridge)
{
	const struct timeval tv = {SYNC_SECONDS, 0};

	k->bridge = bridge;
	k->sync = news_sync(k->control->family);
	if (event_add(k->ev, &tv) < 0)
		caller_fail(k, "no memory");
}

/* Its reload has ended. Figures tell of it, too: who asks for them after the answer is to see it.
 */
static void caller_reloaded(struct caller *k)
{
	outcome(k->control, &k->outcome);
	caller_sync(k, false);
}

static bool code_allowed(uint16_t code)
{
	return code == 1000 || code == 1008 || code == 1012 || code == 1013 ||
	       (code >= 3000 && code <= 4999);
}

static void caller_close(struct caller *k, const struct control_request *q)
{
	struct control *c = k->control;
	struct child *bridge = &c->family->bridge;
	struct proto_close p = {.id = ++c->last_close,
		.code = q->code,
		.service_len = q->service_len,
		.user_len = q->user_len};

	if (!code_allowed(q->code) || q->service_len < 1 || q->service_len > PROTO_NAME_MAX ||
		q->user_len < 1 || q->user_len > PROTO_NAME_MAX ||
		!memchr(q->reason, '\0', sizeof(q->reason))) {
		caller_fail(k, "a request that makes no sense");
		return;
	}
	memcpy(p.service, q->service, sizeof(p.service));
	memcpy(p.user, q->user, sizeof(p.user));
	memcpy(p.reason, q->reason, sizeof(p.reason));
	if (!bridge->chan || !bridge->ready ||
		chan_send(bridge->chan, PROTO_CLOSE, &p, sizeof(p), -1) < 0) {
		caller_fail(k, "the bridge does not answer: try again in a moment");
		return;
	}
	k->close = p.id;
}

static void caller_trace(struct caller *k, const struct control_request *q)
{
	struct trace_order order = {.service_len = q->service_len, .user_len = q->user_len};

	if (k->control->reload->blocked) { /* the program to come would not know of it */
		caller_fail(k, k->control->reload->blocked);
		return;
	}
	if (q->service_len < 1 || q->service_len > PROTO_NAME_MAX || q->user_len < 1 ||
		q->user_len > PROTO_NAME_MAX) {
		caller_fail(k, "a request that makes no sense");
		return;
	}
	memcpy(order.service, q->service, sizeof(order.service));
	memcpy(order.user, q->user, sizeof(order.user));
	log_info("follows the messages of a user", kv_mem("service", q->service, q->service_len),
		kv_mem("user", q->user, q->user_len), kv_uint("seconds", q->code));
	news_trace(k->control->family, &order, q->code);
	caller_sync(k, true);
}

/* What is asked of those who take connections comes to nothing while they change. */
static const char *drain_never(const struct control *c)
{
	return family_stopping(c->family) ? "the gateway is stopping" : c->reload->blocked;
}

static void caller_drain(struct caller *k, const struct control_request *q)
{
	struct family *f = k->control->family;
	bool drain = q->command == CONTROL_DRAIN, drained = f->drain.begin_ms != 0;
	uint64_t time = q->code ? q->code * UINT64_C(1000) : f->config->drain_timeout;
	const char *never = drain_never(k->control);
	uint64_t now = family_clock();

	if (never) {
		caller_fail(k, never);
		return;
	}
	if (time < DRAIN_MIN_MS)
		time = DRAIN_MIN_MS; /* everybody is to get a Close */
	if (drain || drained)
		news_drain(f, f->config->drain_delay, drain ? time : 0, q->code != 0);
	k->drain = q->command;
	if (drain)
		log_info("asked to drain: not ready until it is taken back",
			kv_uint("delay_ms", f->drain.close_ms > now ? f->drain.close_ms - now : 0),
			kv_uint("ms", time));
	else if (drained)
		log_info("asked to take connections again");
	caller_sync(k, false);
}

static void caller_serve(struct caller *k, const struct control_request *q)
{
	struct control_answer a;

	switch (q->command) {
	case CONTROL_STATUS:
		outcome(k->control, &a);
		caller_answer(k, &a);
		return;
	case CONTROL_RELOAD:
		/* It may end before this returns. */
		k->reload = UINT64_MAX;
		k->reload = reload_start(k->control->reload);
		if (!k->control->reload->busy && k->reload <= k->control->reload->number)
			caller_reloaded(k);
		return;
	case CONTROL_CLOSE:
		caller_close(k, q);
		return;
	case CONTROL_TRACE:
		caller_trace(k, q);
		return;
	case CONTROL_DRAIN:
	case CONTROL_UNDRAIN:
		caller_drain(k, q);
		return;
	}
	caller_fail(k, "the daemon does not know this command: it is of another version");
}

static void caller_readable(evutil_socket_t fd, short what, void *arg)
{
	struct caller *k = arg;
	struct control_request q;
	ssize_t n;

	if (what & EV_TIMEOUT) {
		if (k->sync)
			caller_synced(k);
		else
			caller_fail(k, "no answer in time");
		return;
	}
	n = recv(fd, &q, sizeof(q), MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* Gone; or it says more than once what it wants. */
	if (n <= 0 || k->reload || k->close || k->sync)
		caller_free(k);
	else if (n != sizeof(q) || q.version != CONTROL_VERSION)
		caller_fail(k, "daemon and tool are of different versions");
	else
		caller_serve(k, &q);
}

static bool caller_allowed(const struct control *c, int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	if (cred.uid == 0 || cred.uid == c->uid || cred.uid == geteuid())
		return true;
	log_some_warnings(5, "refused somebody at the control socket", kv_uint("uid", cred.uid),
		kv_int("pid", cred.pid));
	return false;
}

static void control_again(evutil_socket_t fd, short what, void *arg)
{
	struct control *c = arg;

	(void)fd;
	(void)what;
	if (event_add(c->ev, NULL) < 0)
		log_error("no memory: nobody can speak to the master any more");
}

/* Who cannot be taken in stays there, and the listener would spin. */
static void control_rest(struct control *c, int why)
{
	const struct timeval pause = {0, 100000};

	if (why == EAGAIN || why == EINTR || why == ECONNABORTED)
		return;
	log_some_warnings(
		1, "cannot take a caller of the control socket in: tried again", kv_errno(why));
	if (event_add(c->pause, &pause) == 0)
		(void)event_del(c->ev);
}

static void control_acceptable(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval tv = {CALLER_SECONDS, 0};
	struct control *c = arg;
	struct caller *k = c->callers;
	int in = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (in < 0) {
		control_rest(c, errno);
		return;
	}
	while (k < c->callers + CONTROL_CALLERS && k->fd >= 0)
		k++;
	if (k == c->callers + CONTROL_CALLERS || !caller_allowed(c, in)) {
		close(in);
		return;
	}
	k->control = c;
	k->fd = in;
	k->ev = event_new(c->base, in, EV_READ | EV_PERSIST, caller_readable, k);
	if (!k->ev || event_add(k->ev, &tv) < 0)
		caller_free(k);
}

void control_reloaded(struct control *c, uint64_t number)
{
	for (size_t i = 0; i < CONTROL_CALLERS; i++)
		if (c->callers[i].fd >= 0 && c->callers[i].reload &&
			c->callers[i].reload <= number && !c->callers[i].sync)
			caller_reloaded(&c->callers[i]);
}

void control_look(struct control *c)
{
	for (size_t i = 0; i < CONTROL_CALLERS; i++) {
		struct caller *k = &c->callers[i];

		if (k->fd >= 0 && k->sync &&
			news_unsynced(c->family, k->sync, k->bridge, NULL, 0) == 0)
			caller_synced(k);
	}
}

void control_closed(struct control *c, const struct proto_closed *p)
{
	struct control_answer a = {.connections = p->connections};

	for (size_t i = 0; i < CONTROL_CALLERS; i++)
		if (c->callers[i].fd >= 0 && c->callers[i].close == p->id)
			caller_answer(&c->callers[i], &a);
}

/* ---- the socket ---- */

/* The folder belongs to the service user. */
static int control_bind(int fd, int dir, gid_t gid)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	/* By descriptor: a path may be longer than an address. */
	snprintf(un.sun_path, sizeof(un.sun_path), "/proc/self/fd/%d/%s", dir, CONTROL_NAME);
	if (unlinkat(dir, CONTROL_NAME, 0) < 0 && errno != ENOENT)
		return -1;
	return local_bind(fd, &un, gid);
}

static int control_watch(struct control *c)
{
	c->ev = event_new(c->base, c->fd, EV_READ | EV_PERSIST, control_acceptable, c);
	c->pause = event_new(c->base, -1, 0, control_again, c);
	if (c->ev && c->pause && event_add(c->ev, NULL) == 0)
		return 0;
	errno = ENOMEM;
	return -1;
}

int control_adopt(struct control *c, int fd, int dir)
{
	c->fd = fd;
	c->dir = dir;
	return control_watch(c);
}

int control_open(struct control *c, int dir, gid_t gid, char *err, size_t errlen)
{
	c->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0 || control_bind(c->fd, dir, gid) < 0 || listen(c->fd, CONTROL_CALLERS) < 0)
		goto fail;
	c->dir = dir;
	if (control_watch(c) == 0)
		return 0;
fail:
	snprintf(err, errlen,
		"runtime_dir: cannot make the control socket: %s; name a folder on a file system "
		"that takes sockets",
		strerror(errno));
	return -1;
}

void control_forget(struct control *c)
{
	for (size_t i = 0; i < CONTROL_CALLERS; i++)
		caller_free(&c->callers[i]);
	if (c->ev)
		event_free(c->ev);
	if (c->pause)
		event_free(c->pause);
	c->ev = c->pause = NULL;
}

void control_leave(struct control *c)
{
	for (size_t i = 0; i < CONTROL_CALLERS; i++)
		if (c->callers[i].fd >= 0)
			caller_fail(&c->callers[i],
				"the program has been replaced meanwhile: ask again");
	c->dir = -1;
	control_close(c);
}

void control_close(struct control *c)
{
	control_forget(c);
	if (c->fd >= 0)
		close(c->fd);
	if (c->dir >= 0)
		(void)unlinkat(c->dir, CONTROL_NAME, 0);
	c->fd = c->dir = -1;
}
