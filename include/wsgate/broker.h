/*
 * broker: the seam to whatever keeps the users' queues. It speaks of queues, not of NATS.
 *
 * A queue holds one user's messages in order; each has a sequence above the one before. The bridge
 * opens the queue of each connected user, gets its messages in order and without gaps, confirms up
 * to a sequence (which removes for good), and may read again from an earlier one. How live copies,
 * gaps, rescans and removals work is the implementation's affair (src/broker). Room: broker.
 *
 * A broker is what is kept in one stream: its queues are those of that stream's services alone, and
 * it knows nothing of others in the same process.
 *
 * One event loop, one thread: every function is called on the loop, every event is delivered on it.
 * Nothing here blocks. Events may be delivered from within no function but the loop itself, so a
 * caller never sees itself called back.
 */
#ifndef WSGATE_BROKER_H
#define WSGATE_BROKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wsgate/config.h>
#include <wsgate/pace.h>
#include <wsgate/subject.h>

struct event_base;
struct broker;
struct broker_queue;

enum broker_text { BROKER_TEXT_UNMARKED, BROKER_TEXT_TEXT, BROKER_TEXT_BINARY };

/* Bytes that a message takes beside its own, in nats.c and here. */
#define BROKER_MESSAGE_COST 512

/* A message out of a queue. Counted references; the payload lives as long as one is held. */
struct broker_message {
	uint64_t seq;
	enum broker_text text; /* what the header Ws-Type said */
	bool plain;            /* the header Ws-Compress said no */
	const uint8_t *data;
	size_t len;
	const char *trace; /* its header traceparent, not terminated; NULL: none */
	size_t trace_len;
	uint64_t stamp_ns; /* when the broker stored it, by its clock; else when it came here; since
			      1970 */
};
struct broker_message *broker_message_ref(struct broker_message *m);
void broker_message_unref(struct broker_message *m);

enum broker_result {
	BROKER_STORED,    /* final: it is in the stream */
	BROKER_DUPLICATE, /* final: it was there already */
	BROKER_TOO_LARGE, /* final: refused, 1009 */
	BROKER_FORBIDDEN, /* final: refused (no permission, malformed), 1008 */
	BROKER_FULL,      /* stream full: the caller tries again, for a stated time */
	BROKER_USER_FULL, /* the same, of this user's messages alone */
	BROKER_AGAIN,     /* no answer, 503, not connected: the caller tries again, same id */
};

/* A client's message on its way. Owned by the caller; all fields stay as they are until the result.
 */
struct broker_publish {
	struct identity id; /* raw tokens, borrowed */
	bool text;
	const char *conn;   /* header Ws-Conn */
	const char *msg_id; /* header Nats-Msg-Id */
	const char *trace;  /* header traceparent; NULL: none */
	const uint8_t *data;
	size_t len;
	void *arg;
	/* the implementation's own, not to be touched between call and result */
	void *impl;
	bool repeated; /* it was published more than once, as no answer came in time */
};

/* What became of a question to a service. */
enum broker_answer {
	BROKER_ANSWERED,
	BROKER_NOBODY,      /* nobody listens for questions about that service */
	BROKER_NOT_ALLOWED, /* the broker does not let us ask */
	BROKER_NOT_NOW,     /* the broker is away: the caller asks again */
};

struct broker_events {
	/*
	 * Connected, and the stream checked. `created` names the incarnation of the stream (its
	 * creation time, ns since 1970); `last` is its last sequence. Marks are only good within
	 * one incarnation: the caller answers with broker_resume().
	 */
	void (*connected)(void *arg, uint64_t created, uint64_t last, size_t max_payload);
	void (*lost)(void *arg);
	/* It will never work with this configuration: one line that says what and how to mend it.
	 */
	void (*refused)(void *arg, const char *text);

	/* The next message of a queue whose reading is wanted. The callee takes a reference if it
	 * keeps it. */
	void (*message)(void *owner, struct broker_message *m);
	/* One up to the queue's mark that is in the stream all the same, as after a server that was
	 * killed. False: it is removed. True: no client could get it, and it was set aside. */
	bool (*left)(void *owner, struct broker_message *m);
	/* The answer to broker_queue_reread(): NULL when there is none up to the queue's head, or
	 * at a failure (`failed`). */
	void (*reread)(void *owner, void *tag, struct broker_message *m, bool failed);
	void (*published)(void *arg, struct broker_publish *p, enum broker_result r);
	/* The answer to broker_ask(): data is borrowed, and there only when it was answered. */
	void (*answered)(void *arg, void *tag, enum broker_answer a, const char *data, size_t len);
	/* Other gateways have taken this one for gone, and removed what its connections may not
	 * have got: they are to end. */
	void (*fenced)(void *arg);
	/* The same for the connections of one queue, which came while this gateway was cut off. */
	void (*lacks)(void *owner);
	/* Nothing of a closed queue is under way any more: its mark may be forgotten. */
	void (*closed)(void *owner);
	/* The server has read what was said up to that number, or is not waited for any longer. */
	void (*heard)(void *arg, uint64_t no);
};

/* NULL: no memory, with errno. Connects in the background, again and again. `arg` goes with
 * connected, lost, refused, published, answered, fenced, heard. `pace` is that of the loop.
 * `stream` says which of the configuration's, and stays. `gateway` names this one among those that
 * share the stream, and is its successors', too; 0: any. */
struct broker *broker_new(struct event_base *base, struct pace *pace, const struct config *c,
	size_t stream, const struct broker_events *ev, void *arg, uint64_t gateway);
/* From now on queues are closed because a successor of the same name goes on with them. */
void broker_moving(struct broker *b);
/* Where it is kept for successors when others were last told that this one lives: CLOCK_MONOTONIC,
 * 0: there are none. When that is so long ago that they removed what was kept for it, `fenced`
 * comes with the first session. */
void broker_said(struct broker *b, _Atomic uint64_t *said_ms);
/* A last word to the other gateways, before broker_free(). */
void broker_farewell(struct broker *b);
/* Before broker_free(), for several of them: that need not wait for one after the other. */
void broker_quit(struct broker *b);
/* Behind that: waits until CLOCK_MONOTONIC says so much. False: it waits for a server still, which
 * may take its time, and so would broker_free(). */
bool broker_ended(struct broker *b, uint64_t until_ms);
/* Stops; up to 200 ms until the server has read what was said. What was under way gets no event any
 * more. */
void broker_free(struct broker *b);

/*
 * Another configuration: other servers end the session (`lost`), and the next one is made with
 * them; what concerns the stream alone is brought to it in the background. Queues stay, and
 * publishes under way get their result (BROKER_AGAIN when the session ends). 0; or -1 with errno:
 * nothing has changed.
 */
int broker_reconfigure(struct broker *b, const struct config *c)
	__attribute__((warn_unused_result));

/*
 * After `connected`: valid says whether the queues' marks are still good. False: all heads and
 * confirmed marks go to 0 and pending removals are dropped. Only now reading and removal go on.
 */
void broker_resume(struct broker *b, bool marks_valid);
bool broker_connected(const struct broker *b); /* connected and resumed */
/* Other gateways are there, and can be told something. */
bool broker_has_others(const struct broker *b);
/*
 * What was said for other gateways (a queue was opened) is on its way with all else of this turn of
 * the loop. Before the server has read it, which `heard` says with this number or a higher one,
 * they may have removed what was published meanwhile. At most a second. 0: nobody is waited for.
 */
uint64_t broker_tell_gateways(struct broker *b);

/*
 * Opens the queue of a user that is not open. Messages up to `confirmed` are done with (deleted if
 * they are still there); reading begins above `head` (>= confirmed; messages between are given
 * already and wait for their confirmation). served: a predecessor of this process has had it open,
 * and did not close it. NULL: no memory. `owner` comes back with the events of the queue.
 */
struct broker_queue *broker_queue_open(struct broker *b, const struct identity *id,
	uint64_t confirmed, uint64_t head, bool served, void *owner);
/* Behind that, if it was open before while there was no session: others know nothing of it. */
void broker_queue_untold(struct broker_queue *q);
/* Whether messages are wanted now. After `message` the callee may say no; what comes then stays in
 * the broker. */
void broker_queue_want(struct broker_queue *q, bool want);
/* False: its only connection is not let in yet, so that nobody lacks what others remove until then.
 */
void broker_queue_let_in(struct broker_queue *q, bool yes);
/* One message: the first above `after`. One at a time for each tag; several tags may be under way.
 */
void broker_queue_reread(struct broker_queue *q, uint64_t after, void *tag);
/* Forgets a reread under way: no event will come for this tag. */
void broker_queue_forget(struct broker_queue *q, void *tag);
/* A further connection comes, and all here have confirmed up to `confirmed`: up to where all have,
 * at other gateways, too, as far as is known. Nothing above it is done with here any more. */
uint64_t broker_queue_begin(struct broker_queue *q, uint64_t confirmed);
/* Everything up to seq is done with here, whether it was read here or not. Removed in the
 * background, also after a reconnect, when no other gateway needs it. */
void broker_queue_confirm(struct broker_queue *q, uint64_t seq);
/* No client can ever get this one: it goes to wsdead.S.U with a header Ws-Reason, then out of the
 * queue. Counted, logged. Where too many are under way it stays in the stream, where a sweep finds
 * it when the mark has passed it. */
void broker_queue_set_aside(struct broker_queue *q, struct broker_message *m, const char *reason);
/* No more messages. `closed` comes when the removals are done; until then the same user is opened
 * again by broker_queue_reopen. */
void broker_queue_close(struct broker_queue *q);
/* Takes back a close before `closed` came. Reading goes on above `head`. */
void broker_queue_reopen(struct broker_queue *q, uint64_t head);

/* `published` always comes, unless broker_free() does first. */
void broker_publish(struct broker *b, struct broker_publish *p);
/* More was published than the broker's connection takes: who tries again waits. */
bool broker_is_full(const struct broker *b);

/*
 * Asks whoever answers for a service (raw) whether a client may come in. text lives as long as the
 * call. `answered` comes, with BROKER_NOT_NOW at the latest after that time, unless
 * broker_free() does first. False: not now (or no memory), and nothing will come.
 */
bool broker_ask(struct broker *b, const char *service, size_t len, const char *text,
	uint64_t timeout_ms, void *tag) __attribute__((warn_unused_result));

/* For the statistics: since the start. */
struct broker_stats {
	uint64_t gets, live, gaps, rescans, removals, removals_pending, set_aside, reconnects,
		duplicates_dropped, republished;
	/* Of other gateways, as in stats.h. */
	uint64_t gateways, gateways_lost, fenced, cut_off_users, shared_users, held_users,
		unclear_users;
	uint64_t rtt_us; /* of the last ping; 0: unknown */
};
void broker_stats(const struct broker *b, struct broker_stats *out);
/* The server of the last connection: its URL without credentials; "" before the first one. */
void broker_server(const struct broker *b, char *out, size_t len);

/* For wsgatectl: blocking calls, no loop. */
struct broker_tail_message {
	struct identity id;
	const char *conn;
	bool text;
	const uint8_t *data;
	size_t len;
};
/* Publishes to a user's queue and waits for it to be stored. 0, or -1 and a line in err. */
int broker_send(const struct config *c, const struct identity *id, enum broker_text text,
	const void *data, size_t len, uint64_t *seq, char *err, size_t errlen);
/* Calls fn for each message that clients of the service send, until fn returns nonzero or *stop is
 * set. 0 or -1 and err. `ready` is called when it listens. */
int broker_tail(const struct config *c, const char *service, size_t service_len,
	void (*ready)(void *arg), int (*fn)(const struct broker_tail_message *m, void *arg),
	void *arg, const volatile int *stop, char *err, size_t errlen);

#endif
