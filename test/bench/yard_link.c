/*
 * yard_link: see yard.h.
 */
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "yard.h"

#define LOOK_MS 10 /* between two looks at the stream */

double yard_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

void yard_fatal(const char *what, natsStatus s)
{
	const char *more = nats_GetLastError(NULL);

	fprintf(stderr, "yard: %s: %s%s%s\n", what, natsStatus_GetText(s), more ? ": " : "",
		more ? more : "");
	exit(2);
}

void yard_say(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	fflush(stdout);
}

/* All callbacks run on one thread: without that, nats.c makes one for each subscription. */
void yard_connect(struct yard *y)
{
	natsOptions *opts = NULL;
	natsStatus s = natsOptions_Create(&opts);

	if (s == NATS_OK)
		s = natsOptions_SetURL(opts, y->url);
	if (s == NATS_OK)
		s = natsOptions_UseGlobalMessageDelivery(opts, true);
	if (s == NATS_OK)
		s = natsOptions_SetAllowReconnect(opts, false);
	if (s == NATS_OK)
		s = natsConnection_Connect(&y->nc, opts);
	if (s == NATS_OK)
		s = natsConnection_JetStream(&y->js, y->nc, NULL);
	if (s != NATS_OK)
		yard_fatal(y->url, s);
	natsOptions_Destroy(opts);
}

void yard_disconnect(struct yard *y)
{
	jsCtx_Destroy(y->js);
	natsConnection_Destroy(y->nc);
	nats_Close();
}

int64_t yard_waiting(struct yard *y)
{
	jsStreamInfo *si = NULL;
	natsStatus s = js_GetStreamInfo(&si, y->js, y->stream, NULL, NULL);
	int64_t n = -1;

	if (s == NATS_OK)
		n = (int64_t)si->State.Msgs;
	else
		fprintf(stderr, "yard: stream %s: %s\n", y->stream, natsStatus_GetText(s));
	jsStreamInfo_Destroy(si);
	return n;
}

int yard_purge(struct yard *y)
{
	natsStatus s = js_PurgeStream(y->js, y->stream, NULL, NULL);

	if (s == NATS_OK)
		return 0;
	fprintf(stderr, "yard: purge of %s: %s\n", y->stream, natsStatus_GetText(s));
	return -1;
}

/* Nothing tells how many messages a stream has: one has to look. */
int yard_await_count(struct yard *y, uint64_t count, double *at)
{
	int64_t n;

	while ((n = yard_waiting(y)) >= 0 && (count ? (uint64_t)n < count : n > 0) &&
		yard_now() < y->deadline)
		nats_Sleep(LOOK_MS);
	*at = yard_now();
	if (n >= 0 && (uint64_t)n == count)
		return 0;
	fprintf(stderr, "yard: %lld messages are in the stream, not %llu\n", (long long)n,
		(unsigned long long)count);
	return -1;
}

/* What was read: 0 at the end of standard input and at the deadline. */
static size_t some_input(struct yard *y)
{
	struct pollfd fd = {STDIN_FILENO, POLLIN, 0};
	double left = y->deadline - yard_now();
	char text[256];
	ssize_t n = 0;

	if (left > 0 && poll(&fd, 1, (int)(left * 1000) + 1) > 0)
		n = read(STDIN_FILENO, text, sizeof(text));
	return n > 0 ? (size_t)n : 0;
}

void yard_await_input(struct yard *y)
{
	while (some_input(y))
		;
}

bool yard_await_line(struct yard *y)
{
	return some_input(y) > 0;
}

/* ---- callbacks ---- */

void yard_ending_init(struct yard_ending *e)
{
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->changed, NULL);
	e->come = false;
}

void yard_ending_tell(struct yard_ending *e)
{
	pthread_mutex_lock(&e->lock);
	e->come = true;
	pthread_cond_signal(&e->changed);
	pthread_mutex_unlock(&e->lock);
}

/* Returns at the deadline, too. */
void yard_ending_await(struct yard_ending *e, const struct yard *y)
{
	struct timespec until;
	double left = y->deadline - yard_now();

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += left > 0 ? (time_t)left + 1 : 0;
	pthread_mutex_lock(&e->lock);
	while (!e->come && !pthread_cond_timedwait(&e->changed, &e->lock, &until))
		;
	pthread_mutex_unlock(&e->lock);
}

natsSubscription *yard_subscribe(struct yard *y, const char *subject, natsMsgHandler on, void *arg)
{
	natsSubscription *sub = NULL;
	natsStatus s = natsConnection_Subscribe(&sub, y->nc, subject, on, arg);

	if (s == NATS_OK)
		s = natsSubscription_SetPendingLimits(sub, -1, -1);
	if (s != NATS_OK)
		yard_fatal(subject, s);
	return sub;
}

void yard_unsubscribe(natsSubscription **subs, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		natsSubscription_Destroy(subs[i]);
	free(subs);
}

void yard_flushed(struct yard *y)
{
	natsStatus s = natsConnection_Flush(y->nc);

	if (s != NATS_OK)
		yard_fatal("flush", s);
	yard_say("{\"event\": \"ready\"}\n");
}
