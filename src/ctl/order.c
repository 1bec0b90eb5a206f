#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <wsgate/clock.h>
#include <wsgate/control.h>

#include "ctl.h"
#include "format.h"
#include "json.h"

#define RELOAD_SECONDS 60
#define CLOSE_SECONDS 35
#define HEARD_SECONDS 10 /* more than the daemon waits for its processes */
#define STATUS_SECONDS 1

/* Connected, or -1 with errno. */
static int order_connect(const struct config *c, int seconds)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct timeval tv = {.tv_sec = seconds};
	int saved, fd, dir = open(c->runtime_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return -1;
	/* By descriptor: a path may be longer than an address. */
	snprintf(un.sun_path, sizeof(un.sun_path), "/proc/self/fd/%d/%s", dir, CONTROL_NAME);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) < 0 ||
		connect(fd, (const struct sockaddr *)&un, sizeof(un)) < 0) {
		saved = errno;
		if (fd >= 0)
			close(fd);
		close(dir);
		errno = saved;
		return -1;
	}
	close(dir);
	return fd;
}

/* 0, or -1 with errno. */
static int order_ask(
	const struct config *c, struct control_request *q, struct control_answer *a, int seconds)
{
	int saved, fd = order_connect(c, seconds);
	ssize_t n;

	if (fd < 0)
		return -1;
	q->version = CONTROL_VERSION;
	n = send(fd, q, sizeof(*q), MSG_NOSIGNAL);
	if (n >= 0)
		n = recv(fd, a, sizeof(*a), MSG_TRUNC);
	saved = n < 0 ? errno : n == 0 ? ECONNRESET : EPROTO;
	close(fd);
	if (n == sizeof(*a) && a->version == CONTROL_VERSION) {
		a->text[sizeof(a->text) - 1] = '\0';
		return 0;
	}
	errno = saved;
	return -1;
}

static int order_failed(const struct config *c)
{
	int error = errno;
	const char *why = error == EAGAIN ? "no answer in time" : strerror(error);

	where_not_found(c, CONTROL_NAME, error, why,
		error == EACCES || error == ECONNRESET || error == EPIPE
			? " Root and the service's account may speak to it."
			: "");
	return CTL_FAILED;
}

int order_reload(const struct config *c)
{
	struct control_request q = {.command = CONTROL_RELOAD};
	struct control_answer a;

	if (order_ask(c, &q, &a, RELOAD_SECONDS) < 0)
		return order_failed(c);
	if (a.result != CONTROL_OK) {
		fprintf(stderr, "wsgatectl: not reloaded: %s\n", a.text);
		return CTL_FAILED;
	}
	printf("reloaded: %s\n", a.text);
	return CTL_OK;
}

static void order_about(struct control_request *q, const struct identity *id)
{
	q->service_len = (uint8_t)id->service_len;
	q->user_len = (uint8_t)id->user_len;
	memcpy(q->service, id->service, id->service_len);
	memcpy(q->user, id->user, id->user_len);
}

int order_close(
	const struct config *c, const struct identity *id, uint16_t code, const char *reason)
{
	struct control_request q = {.command = CONTROL_CLOSE, .code = code};
	struct control_answer a;

	order_about(&q, id);
	snprintf(q.reason, sizeof(q.reason), "%s", reason);
	if (order_ask(c, &q, &a, CLOSE_SECONDS) < 0)
		return order_failed(c);
	if (a.result != CONTROL_OK) {
		fprintf(stderr, "wsgatectl: not closed: %s\n", a.text);
		return CTL_FAILED;
	}
	printf("%" PRIu64 " connections are closed with %u\n", a.connections, code);
	return CTL_OK;
}

/* It holds, but one of its processes does not know it yet. */
static void order_unheard(const struct control_answer *a)
{
	if (a->text[0])
		fprintf(stderr, "wsgatectl: %s\n", a->text);
}

int order_trace(const struct config *c, const struct identity *id, uint16_t seconds)
{
	struct control_request q = {.command = CONTROL_TRACE, .code = seconds};
	struct control_answer a;

	order_about(&q, id);
	if (order_ask(c, &q, &a, HEARD_SECONDS) < 0)
		return order_failed(c);
	if (a.result != CONTROL_OK) {
		fprintf(stderr, "wsgatectl: not followed: %s\n", a.text);
		return CTL_FAILED;
	}
	order_unheard(&a);
	if (seconds)
		printf("the log follows this user's messages for %u seconds\n", seconds);
	else
		printf("the log follows nobody's messages any more\n");
	return CTL_OK;
}

static void print_reload(const struct control_answer *a)
{
	struct tm tm;
	time_t at = (time_t)(a->at_ms / 1000);
	char when[40];

	if (a->result == CONTROL_NEVER) {
		printf("reload   none since the start\n");
		return;
	}
	gmtime_r(&at, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	printf("reload   %s %s: %s\n", when, a->result == CONTROL_OK ? "good" : "failed", a->text);
}

static void print_drain(const struct control_answer *a, const struct snapshot *s)
{
	const struct proto_drain *d = &a->drain;
	char age[FORMAT_AGE_MAX];

	if (!d->begin_ms)
		return;
	printf("drain    %s: not ready for %s", snapshot_drain(s, d),
		format_age(age, s->at_ms > d->begin_ms ? (s->at_ms - d->begin_ms) / 1000 : 0));
	if (s->total.connections && d->end_ms > s->at_ms)
		printf(", empty in %" PRIu64 " s at the latest",
			(d->end_ms - s->at_ms + 999) / 1000);
	printf("; wsgatectl undrain takes it back\n");
}

void order_status(const struct config *c, const struct snapshot *s)
{
	struct control_request q = {.command = CONTROL_STATUS};
	struct control_answer a;

	if (order_ask(c, &q, &a, STATUS_SECONDS) < 0) {
		printf("reload   unknown: the master does not answer (%s)\n", strerror(errno));
		return;
	}
	print_reload(&a);
	print_drain(&a, s);
}

json_t *order_status_json(const struct config *c, struct proto_drain *drain, bool *known)
{
	struct control_request q = {.command = CONTROL_STATUS};
	struct control_answer a;
	json_t *o = json_object();

	*known = order_ask(c, &q, &a, STATUS_SECONDS) == 0;
	if (!*known) {
		figures_text(o, "outcome", "unknown");
		figures_text(o, "text", strerror(errno));
		return o;
	}
	*drain = a.drain;
	figures_text(o, "outcome",
		a.result == CONTROL_NEVER ? "none"
		: a.result == CONTROL_OK  ? "good"
					  : "failed");
	figures_text(o, "text", a.result == CONTROL_NEVER ? "" : a.text);
	figures_number(o, "at_ms", a.at_ms);
	return o;
}

/* ---- drain ---- */

static int order_drain_ask(
	const struct config *c, struct control_request *q, struct control_answer *a)
{
	if (order_ask(c, q, a, HEARD_SECONDS) < 0)
		return order_failed(c);
	if (a->result == CONTROL_OK) {
		order_unheard(a);
		return CTL_OK;
	}
	fprintf(stderr, "wsgatectl: %s: %s\n",
		q->command == CONTROL_DRAIN ? "not drained" : "still drained", a->text);
	return CTL_FAILED;
}

/* 0: answered. 1: there is no daemon any more. -1: no answer this time. */
static int order_drain_goes_on(const struct config *c, struct control_answer *a)
{
	struct control_request q = {.command = CONTROL_STATUS};

	if (order_ask(c, &q, a, STATUS_SECONDS) == 0)
		return 0;
	return errno == ENOENT || errno == ECONNREFUSED ? 1 : -1;
}

/* Until no connection is left. The end of the daemon is one, too; an undrain is none. Whether it
 * runs says its socket: the pidfile of the configuration may be another one. */
static int order_drain_wait(const struct config *c)
{
	const struct timespec pause = {0, 100000000};
	struct control_answer a;
	struct snapshot s;
	uint64_t left = 1;
	int r;

	while (left && (r = order_drain_goes_on(c, &a)) <= 0) {
		if (r == 0 && !a.drain.begin_ms) {
			fprintf(stderr, "wsgatectl: the drain was taken back\n");
			return CTL_FAILED;
		}
		if (view_take(&s, c) < 0) {
			if (order_drain_goes_on(c, &a) == 1)
				break;
			return CTL_FAILED;
		}
		/* Until the closes begin they are let in. */
		left = s.total.connections + (r == 0 && s.at_ms < a.drain.close_ms);
		view_drop(&s);
		if (left)
			nanosleep(&pause, NULL);
	}
	printf("no connection is left\n");
	return CTL_OK;
}

int order_drain(const struct config *c, uint16_t seconds, bool wait)
{
	struct control_request q = {.command = CONTROL_DRAIN, .code = seconds};
	struct control_answer a;
	int r = order_drain_ask(c, &q, &a);
	uint64_t now;

	if (r != CTL_OK)
		return r;
	now = clock_ms(CLOCK_MONOTONIC); /* it may drain since long ago */
	printf("not ready; connections are closed over %" PRIu64 " s, from %" PRIu64
	       " s after that on\n",
		(a.drain.end_ms - a.drain.close_ms) / 1000,
		a.drain.close_ms > now ? (a.drain.close_ms - now + 999) / 1000 : 0);
	return fflush(stdout) != 0 ? CTL_FAILED : wait ? order_drain_wait(c) : CTL_OK;
}

int order_undrain(const struct config *c)
{
	struct control_request q = {.command = CONTROL_UNDRAIN};
	struct control_answer a;
	int r = order_drain_ask(c, &q, &a);

	if (r == CTL_OK)
		printf("takes connections\n");
	return r;
}

bool order_answers(const struct config *c, const char **why)
{
	struct control_request q = {.command = CONTROL_STATUS};
	struct control_answer a;

	*why = "";
	if (order_ask(c, &q, &a, STATUS_SECONDS) == 0)
		return true;
	*why = errno == EAGAIN ? "no answer in time" : strerror(errno);
	return false;
}
