/*
 * yard: the yardstick, a bare nats.c program. Shared by the files yard*.c alone.
 *
 *	yard.c		options, modes
 *	yard_link.c	connection, stream, waiting, clock
 *	yard_pub.c	publishing with acknowledgements in flight
 *	yard_live.c	receiving: live copies that are then removed; what clients sent
 *	yard_wait.c	receiving: live copies and how late they are; what waits for absent users
 */
#ifndef BENCH_YARD_H
#define BENCH_YARD_H

#include <nats/nats.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct yard {
	const char *url, *service, *stream, *prefix;
	unsigned users, messages; /* messages: per user */
	unsigned window;          /* requests in flight */
	size_t size;
	unsigned seconds;  /* limit for all of it */
	bool await_empty;  /* pub: wait until the stream is empty */
	bool newest_first; /* live: remove in that order, as far as there is a choice */
	bool one_per_user; /* in flight: pub sets it for messages of clients */
	bool headers;      /* send: with those that a gateway gives a message */
	natsConnection *nc;
	jsCtx *js;
	double deadline;
	unsigned rate;  /* pub: messages a second; 0: as fast as it goes */
	unsigned drawn; /* pub: messages in all, to users drawn at random; 0: to each so many */
};

#define YARD_NUMBER 20 /* a message begins with its number, so many characters, */
#define YARD_STAMP                                                                                 \
	40 /* and the time when it was sent, up to here (if it has room): monotonic ns             \
	    */

/* ---- yard_link ---- */

double yard_now(void);
void yard_fatal(const char *what, natsStatus s) __attribute__((noreturn));
void yard_connect(struct yard *y);
void yard_disconnect(struct yard *y);
/* Messages in the stream; -1 and a line on standard error: no answer. */
int64_t yard_waiting(struct yard *y);
int yard_purge(struct yard *y);
/* Until it holds so many, or is emptied when that is 0. 0: it does, and did at *at. */
int yard_await_count(struct yard *y, uint64_t count, double *at);
/* Waits for the end of standard input, or the deadline. */
void yard_await_input(struct yard *y);
/* A line of it; false: the end, or the deadline. */
bool yard_await_line(struct yard *y);
void yard_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* How a callback tells the main thread that it has had all. */
struct yard_ending {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool come;
};

void yard_ending_init(struct yard_ending *e);
void yard_ending_tell(struct yard_ending *e);
/* Returns at the deadline, too. */
void yard_ending_await(struct yard_ending *e, const struct yard *y);
/* Callbacks on the library's one thread. */
natsSubscription *yard_subscribe(struct yard *y, const char *subject, natsMsgHandler on, void *arg);
void yard_unsubscribe(natsSubscription **subs, unsigned n);
/* The server knows all subscriptions: "ready". */
void yard_flushed(struct yard *y);

/* ---- modes: what main returns ---- */

/* kind: "recv", what a service sends; "send", what a gateway publishes for its clients. */
int yard_pub(struct yard *y, const char *kind);
int yard_live(struct yard *y);
int yard_drain(struct yard *y);
int yard_listen(struct yard *y);
int yard_fetch(struct yard *y);

#endif
