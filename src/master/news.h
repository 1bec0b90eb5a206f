/*
 * news: what the running children must know of a reload: the configuration, the log, the listeners.
 * Room: master.
 *
 * Nothing is queued: what a child was told is in its row, and it is told what it lacks, as soon as
 * it takes it. A child that is born later has all of it from its birth.
 */
#ifndef WSGATE_MASTER_NEWS_H
#define WSGATE_MASTER_NEWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wsgate/config.h>
#include <wsgate/proto.h>
#include <wsgate/trace.h>

struct family;
struct child;

struct news {
	uint64_t serial; /* of the configuration, 1, 2, …; 0: the first one */
	int text;        /* owned: a file with the configuration; -1: everybody has it */
	int secret;      /* owned: the same with the secrets, for the bridge */
	int keys;        /* owned, of the same time: key files, for workers; -1: none */
	uint64_t log;    /* how often the log was opened anew */
	enum proto_log_target log_target;
	uint64_t tickets;   /* how often there was a new key of TLS tickets */
	uint64_t trace;     /* how often family.trace has changed */
	uint64_t drain;     /* how often family.drain has changed */
	uint64_t deeds;     /* how often family.deeds have changed */
	uint64_t listeners; /* how often it has changed who has which */
	uint64_t sync;      /* how often somebody waited until all had heard */
};

void news_init(struct news *n);
void news_free(struct news *n);
/* The text of a configuration, in a file without a name. Its descriptor, or -1 with errno. */
int news_write(const struct config *c, enum config_reader reader);
/* Everybody is to get it, and workers the keys. Takes the descriptors; keys -1: there are none. */
void news_config(struct family *f, int text, int secret, int keys);
/* The log of the master, as it is now, is to be everybody's. */
void news_log(struct family *f, enum proto_log_target target);
/* Whose messages are followed in the log, for so long; seconds 0: nobody's. */
void news_trace(struct family *f, const struct trace_order *who, unsigned seconds);
/*
 * The gateway is to be empty: not ready from now on; after delay_ms connections are closed, over
 * time_ms. even: over all of it, however few they are. time_ms 0: it takes connections again.
 */
void news_drain(struct family *f, uint64_t delay_ms, uint64_t time_ms, bool even);
/* A reload has ended: workers say so to whoever asks. */
void news_reloaded(struct family *f, bool failed, uint64_t at_ms, const char *text);
/* The callee of log_tap() in the master: f is the family. */
void news_tap(void *f, bool error, const char *text, size_t len);

void news_born(const struct family *f, struct child *c);
/* Sends what the child lacks. False: it takes no more now. */
bool news_tell(struct family *f, struct child *c) __attribute__((warn_unused_result));
/* Whether those who are to have them have this slot's listeners, so far as they run. */
bool news_lent(const struct family *f, unsigned slot);
/* It was told to retire, and has closed its clients' listeners by itself. */
void news_retired(struct child *c);
void news_applied(struct child *c, const struct proto_applied *a);
/* Whether the child has answered for the configuration as it is now, or needs not. */
bool news_done(const struct family *f, const struct child *c);
/* Asks everybody to say when all that they are told by now is done. The number of this question. */
uint64_t news_sync(struct family *f);
/* Which workers run and have not said so and, if asked for, the bridge: how many. Their names, with
 * commas between, if there are any; size 0: nobody wants them. */
size_t news_unsynced(const struct family *f, uint64_t sync, bool bridge, char *names, size_t size);
/* Gives the text back when nobody needs it any more. */
void news_tidy(struct family *f);

#endif
