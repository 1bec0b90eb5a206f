/*
 * carrier_parts: what the broker thread's files share.
 */
#ifndef WSGATE_CARRIER_PARTS_H
#define WSGATE_CARRIER_PARTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <wsgate/log.h>
#include "carrier.h"
#include "engine.h"
#include "settings.h"
#include "wire.h"

enum { MAIN, REMOVAL, NCONN };
_Static_assert(NCONN == ENGINE_PLUGS, "each connection has its plug");

static inline int reply_connection(enum wire_replies r)
{
	return r == WIRE_DELETES ? REMOVAL : MAIN;
}

struct sub {
	natsSubscription *sub; /* owned */
	uint32_t tag;          /* low half of its key; the high half is the place */
};

struct carrier {
	pthread_t thread;
	unsigned wire;
	struct carrier *next; /* at the desk */
	struct settings settings;
	uint32_t era; /* of them */
	char inbox[40], get_subject[300], delete_subject[300];
	pthread_mutex_t mu;
	pthread_cond_t cond;
	/* Under mu. */
	struct command *first, *last;
	bool quit, ended, lost;
	bool given_back; /* the loop does nothing more with this session */
	bool fresh;      /* next_settings are to be taken */
	struct settings next_settings;
	uint32_t next_era;
	uint64_t attempt; /* the pair of connections whose end counts */
	struct engine *engine;
	/* Broker thread's own, and the loop's while a direct session is up. */
	natsConnection *nc[NCONN];
	natsSubscription *replies[WIRE_REPLIES], *advisories, *beats;
	bool direct;
	bool by_leader; /* gets are answered by the stream's leader */
	struct sub *subs;
	size_t nsubs;
	struct wire_event *down; /* made with the session, so that its end can always be told */
	uint64_t session, known_stream;
	unsigned flush_pause, flush_late, seed;
	_Atomic uint64_t rtt_us;
};

/* carrier.c: a number for the next pair of connections, and the callback (closure: that number) for
 * when one of them is closed. */
uint64_t carrier_new_attempt(struct carrier *k);
void carrier_on_closed(natsConnection *nc, void *closure);

/* hookup.c. False: not yet; *wait says how many milliseconds until the next try. */
bool hookup_open(struct carrier *k, unsigned *wait);
void hookup_close(struct carrier *k);
void hookup_news(void);
/* The stream of this session, with settings that have changed. */
void hookup_check_again(struct carrier *k);
/* For subscriptions: whose they are, and the key of one (0: of none). */
static inline void *hookup_closure(const struct carrier *k, uint64_t key)
{
	return (void *)(uintptr_t)((uint64_t)k->wire << WIRE_KEY_BITS | key);
}
/* Where subscriptions bring their messages. */
void hookup_on_live(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure);

/* Replies that were received, in direct sessions. */
struct wire_event *hookup_message(unsigned wire, enum wire_kind kind, natsMsg *msg, uint64_t key);
uint64_t hookup_token(const natsMsg *msg);
/* Measures the way to the server and back. */
void errand_measure(struct carrier *k);

/* errand.c: one command. */
natsStatus errand_run_one(struct carrier *k, const struct command *cmd, bool *urgent);
/* Executes and frees a list of commands. False: the session is broken. */
bool errand_run(struct carrier *k, struct command *list);
void errand_drop(struct command *list);

#endif
