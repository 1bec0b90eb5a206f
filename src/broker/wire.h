/*
 * wire: nats.c behind two queues. Commands go from the loop to the broker thread (carrier.h),
 * events come from nats.c's threads to the loop, with one wakeup a batch. Nothing here blocks.
 *
 * A session is one pair of TCP connections, never reconnected by nats.c: what was meant for one
 * session cannot reach the server in the next, where the stream may be another one.
 *
 * One wire a stream, WIRES_MAX in a process: nats.c may call back after everything was closed, so
 * its callbacks are given numbers, and find the wire (or find it gone) in one place.
 */
#ifndef WSGATE_WIRE_H
#define WSGATE_WIRE_H

#include <nats/nats.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wsgate/broker.h>

enum wire_kind {
	WIRE_UP,       /* connected and checked: text is the server; up */
	WIRE_DOWN,     /* the session is over */
	WIRE_REFUSED,  /* it will not work: text */
	WIRE_DENIED,   /* permission violation: text as the server sent it */
	WIRE_LIVE,     /* key: the subscription; m, last */
	WIRE_REPLY,    /* key: the token; m, last, status */
	WIRE_OVERFLOW, /* live copies were lost without a trace */
	WIRE_CHANGED,  /* the stream was made or deleted */
	WIRE_UPDATED,  /* its configuration was changed */
	WIRE_BEAT,     /* of another gateway: m, word */
	WIRE_ELECTED,  /* the stream has a new leader: some may have been lost */
	WIRE_NOBODY,   /* key: of which requests one at least found nobody to answer it */
};

/*
 * An event; the two kinds with a message are the message itself, so that one allocation carries
 * it from nats.c to the last user. Counted by the loop's thread alone.
 */
struct wire_event {
	struct broker_message m; /* first; data NULL: left out for the budget's sake */
	struct wire_event *next;
	natsMsg *msg; /* owned */
	union {
		struct {
			uint64_t key;
			uint64_t last; /* Nats-Last-Sequence; 0 also when there is none */
		};
		struct {
			uint64_t created, last_seq;
			uint64_t subjects; /* in the stream */
			size_t max_payload;
			uint32_t era; /* of the settings that it was made with */
			bool direct;  /* the loop's own thread calls nats.c */
			bool replicated, clustered;
			bool batches; /* the server answers one direct get with many messages */
		} up;
	};
	uint32_t refs;
	uint32_t pending; /* Nats-Num-Pending; more than fits: the largest number */
	uint8_t wire;     /* whose it is */
	uint16_t status;  /* of a reply without a message: 404, 503, …; 0: none */
	uint8_t kind;
	bool word;    /* not out of the stream: another gateway's */
	bool batched; /* Nats-Num-Pending was there: more comes, or (204) that was all */
	char text[];
};

/* Marks what gateways say to each other. A service cannot forge it on ws.recv: what is stored there
 * gets Nats-Sequence. */
#define WIRE_WORD_HEADER "Ws-Gateway"
/* What a request asks for, and where its reply goes. */
enum wire_replies { WIRE_OTHERS, WIRE_GETS, WIRE_PUBLISHES, WIRE_DELETES, WIRE_REPLIES };
#define WIRE_LETTERS "mgpr" /* the last token but one of a reply subject */

struct wire;
struct event_base;

/* The handler owns the event; pace: where live copies and removals are counted; stream: which of
 * the configuration's. NULL: no memory, a thread that did not start, or EBUSY (too many in this
 * process). */
struct wire *wire_start(struct event_base *base, struct pace *pace, const struct config *c,
	size_t stream, void (*fn)(void *arg, struct wire_event *e), void *arg);
/* No events any more, and the broker thread is asked to end; as with carrier_quit(). */
void wire_quit(struct wire *w);
bool wire_ended(struct wire *w, uint64_t until_ms);
/* Stops at once; joins the broker thread. */
void wire_stop(struct wire *w);

/* A wire's number, below WIRES_MAX: that of one that ended is used again as late as possible. The
 * keys of subscriptions leave room for it. */
#define WIRES_MAX 16
#define WIRE_KEY_BITS 60
/* Any thread. Takes the event; one for which nobody listens any more is freed. */
void wire_post(struct wire_event *e);
/* NULL: no memory. */
struct wire_event *wire_event_new(unsigned wire, enum wire_kind kind, const char *text);
void wire_event_free(struct wire_event *e);
/* Loop alone. */
static inline struct wire_event *wire_event_of(struct broker_message *m)
{
	return (struct wire_event *)m;
}

/*
 * Commands, good for the present session only; a session that ends drops them. No memory: false,
 * and nothing is sent: a request then runs into its timeout.
 */
bool wire_subscribe(struct wire *w, uint64_t key, const char *subject);
bool wire_unsubscribe(struct wire *w, uint64_t key);
/* A direct get: body is JSON. The reply comes with the token. apart: dearer, but it also comes when
 * a service wrote into it that nobody answers, which else is WIRE_NOBODY. */
bool wire_get(struct wire *w, uint64_t token, bool apart, const char *body);
/* Token 0: without a reply. */
bool wire_delete(struct wire *w, uint64_t token, const char *body);
bool wire_request(struct wire *w, uint64_t token, const char *subject, const char *body);
/* Publishes a message (its reply subject made by wire_inbox); takes it. */
bool wire_publish(struct wire *w, uint64_t token, natsMsg *msg);
#define WIRE_INBOX_MAX 80
/* replies: WIRE_PUBLISHES, or WIRE_OTHERS when it matters that nobody was there to answer. */
void wire_inbox(
	const struct wire *w, enum wire_replies replies, uint64_t token, char out[WIRE_INBOX_MAX]);
/* Commands so far go out now, not at the end of this turn of the loop. */
void wire_flush(struct wire *w);
/* Frees now what was done with; else it waits until there is more of it. Now and then. */
void wire_free_spent(void);
/* Ends the session: the stream is not the one that it began with. */
void wire_break(struct wire *w);
/* Other settings, which are taken over: see carrier.h. elsewhere: of other servers; no session with
 * those of old begins any more, and the end of one that is up will be told. */
struct settings;
void wire_reconfigure(struct wire *w, struct settings *s, bool elsewhere);
/* Of the last answered ping, microseconds. */
uint64_t wire_rtt(const struct wire *w);
/* What was published last has not left this process. */
bool wire_is_full(const struct wire *w);

#endif
