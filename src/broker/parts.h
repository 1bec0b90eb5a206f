/*
 * parts: what the files of this room share: the broker, its queues, and the calls from one file to
 * another. All of it belongs to the loop's thread.
 */
#ifndef WSGATE_BROKER_PARTS_H
#define WSGATE_BROKER_PARTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <wsgate/broker.h>
#include <wsgate/log.h>
#include <wsgate/table.h>
#include "settings.h"
#include "wire.h"

/* ---- request.c: what waits for a reply ---- */

enum request_kind {
	REQUEST_NONE,
	REQUEST_GET,
	REQUEST_DELETE,
	REQUEST_PUBLISH,
	REQUEST_ASIDE,
	REQUEST_INFO,
	REQUEST_ASK,
	REQUEST_PROBE,
	REQUEST_HEARD,
	REQUEST_MARCH,
	REQUEST_LOOK,
	REQUEST_KINDS
};

struct request {                   /* part of what waits */
	TAILQ_ENTRY(request) link; /* of its kind, oldest first */
	uint64_t due;
	uint32_t slot, generation; /* both make the token */
	uint8_t kind;              /* NONE: waits for nothing */
};
TAILQ_HEAD(request_list, request);

struct request_slot {
	struct request *r; /* NULL: free */
	uint32_t generation, next_free;
};

struct requests {
	struct request_list waiting[REQUEST_KINDS];
	struct request_slot *slots;
	uint32_t nslots, free;
};

void request_init(struct requests *rs);
void request_free(struct requests *rs);
/* The token, or 0: no memory. */
uint64_t request_start(struct broker *b, struct request *r, enum request_kind kind);
uint64_t request_start_for(
	struct broker *b, struct request *r, enum request_kind kind, uint64_t ms);
uint64_t request_token(const struct request *r);
void request_end(struct broker *b, struct request *r);
struct request *request_find(struct broker *b, uint64_t token);
/* Any one, taken out. NULL: none. */
struct request *request_take(struct broker *b, enum request_kind *kind);
/* A part of its answer came, and more is to come: it waits anew. */
void request_goes_on(struct broker *b, struct request *r);
void request_wait(struct broker *b, struct request *r, uint64_t ms);
/* The oldest of a kind whose time is over; it goes on until request_end(). NULL: none. */
struct request *request_due(struct broker *b);

/* ---- feed.c: reading ---- */

enum job_state {
	JOB_IDLE,
	JOB_URGENT,
	JOB_READY,
	JOB_WAITING, /* for a look, */
	JOB_LOOKED,  /* and for its answer */
	JOB_SOON,
	JOB_HELD,
	JOB_LATER,
	JOB_FAILED,
	JOB_LISTS,
	JOB_FLYING = JOB_LISTS
};

struct job { /* somebody who wants a direct get; on one list at most */
	TAILQ_ENTRY(job) link;
	uint32_t due; /* SOON, LATER: ms, low half */
	uint8_t state;
	uint8_t tries; /* answers in a row that may be stale */
	bool reread;   /* part of a reread, else of a queue */
};
TAILQ_HEAD(job_list, job);

struct reread {
	struct job job;
	struct reread *next;
	struct broker_queue *q;
	struct get *get; /* in flight */
	void *tag;
	uint64_t after;
};

struct get {
	struct request request;
	struct broker_queue *q; /* NULL: nobody waits any more */
	struct reread *reread;  /* NULL: the queue's own reading */
	uint64_t begun, from;   /* from: what of it is still to come */
	uint32_t parts;         /* messages that came */
	uint8_t batch;          /* asked for; 0: one, in the way of 2.9 */
	bool sweep;
	bool wasted; /* some were not wanted any more */
	bool holed;  /* a part did not come: those behind it are not for now */
};

/* Sequences that were given, in order: v[0, doomed) are confirmed and to be removed (SEQ_ALONE:
 * with an answer of its own), the rest waits for its confirmation, or (SEQ_ASIDE) for that of those
 * below. */
#define SEQ_ASIDE (UINT64_C(1) << 63)
#define SEQ_ALONE (UINT64_C(1) << 62)
struct seqs {
	uint32_t n, doomed, cap;
	uint64_t v[];
};

/* Live copies that wait for the reading to catch up. */
struct hoard {
	struct wire_event *first, *last; /* owned */
	uint32_t n, bytes;
};

/* Another gateway that holds the same user. */
struct holder {
	uint64_t gate, mark;
	uint64_t created; /* of the stream that the mark is of */
	uint64_t heard;   /* by the listening clock */
};
struct holders {
	TAILQ_ENTRY(holders) link;
	struct broker_queue *q;
	uint64_t told_ms; /* when they last heard our mark */
	uint32_t n, cap;
	struct holder *v; /* owned */
};
TAILQ_HEAD(holders_list, holders);

static inline uint64_t seq_of(uint64_t v)
{
	return v & ~(SEQ_ASIDE | SEQ_ALONE);
}

/* So long after it was opened, a first word of others is late; later, others were lost. */
#define YOUNG_MS 10000
/* An answer "none" of a replica may be stale: so often it is asked again, the first of them soon.
 */
#define NONE_TRIES 24
#define NONE_SOON_TRIES 16

struct broker_queue {
	struct broker *b;
	void *owner;
	struct job job;
	TAILQ_ENTRY(broker_queue) removals; /* has something to remove */
	TAILQ_ENTRY(broker_queue) unclear;  /* others may hold it, too: nothing is removed */
	struct holders *others;             /* owned; NULL: none */
	uint64_t opened_ms;                 /* 0: for others, long ago */
	uint64_t began;                     /* behind: there */
	uint64_t mark;                      /* done with here up to here, */
	uint64_t confirmed;                 /* and everywhere up to here */
	uint64_t head;                      /* given up to here */
	uint64_t high;      /* seen up to here: above head, there is something to read */
	uint64_t sweep_pos; /* nothing is stored below, as far as this sweep went */
	uint64_t unknown;   /* up to here there may be messages that are not in seqs */
	struct seqs *seqs;
	struct hoard *hoard; /* owned; NULL: empty */
	struct reread *rereads;
	uint32_t index, tag;
	uint32_t barrier;          /* the beat whose echo says who holds it */
	uint32_t passed_ms;        /* when `confirmed` last moved; low half */
	uint16_t removing, asides; /* in flight */
	uint8_t run;    /* messages that its own gets found, one after another; up to 2 */
	uint8_t narrow; /* how often what its next get asks for was halved */
	bool want : 1;
	bool synced : 1;   /* a live copy that follows head is the next one */
	bool check : 1;    /* what is above head is to be looked at all the same, */
	bool again : 1;    /* also when the get under way finds nothing */
	bool sweep : 1;    /* what is left at or below the confirmed mark is to be looked for, */
	bool sweeping : 1; /* and that has begun */
	bool unsaid : 1; /* some were removed without an answer of their own, since it last began */
	bool closing : 1;
	bool subscribed : 1;
	bool deep : 1;     /* it has a backlog; counted */
	bool marching : 1; /* which is read together with others', */
	bool marched : 1;  /* and all of it below the march's place was given */
	bool on_recheck : 1, on_removals : 1, on_closed : 1, on_unclear : 1, on_shared : 1;
	bool fresh : 1;   /* opened, and nothing was given yet */
	bool behind : 1;  /* and it began where others were */
	bool blind : 1;   /* others did not know of it yet, since it was opened */
	bool newborn : 1; /* it was blind when it was opened */
	bool early : 1;   /* and there was no session then */
	bool unseen : 1;  /* its connection is not let in yet */
	bool greeted_again : 1;
	bool tell : 1; /* our mark is news for the others */
	char name[];   /* "service.user", encoded */
};
TAILQ_HEAD(queue_list, broker_queue);

enum broker_state { BROKER_DOWN, BROKER_CHECKED, BROKER_LIVE };

/* Queues that were opened a moment ago, in that order. */
struct recheck {
	uint32_t index, tag;
	uint32_t due; /* ms, low half */
	bool sweep;   /* something was confirmed before it was opened */
};
struct rechecks {
	struct recheck *v; /* owned */
	size_t first, n, cap;
};

struct queue_slot {
	struct broker_queue *q;
	uint32_t next_free;
};

struct pub;
struct aside;
TAILQ_HEAD(pub_list, pub);
TAILQ_HEAD(aside_list, aside);

struct watch {
	struct request request;
	uint64_t next_ms, asked_ms, named_ms;
	uint64_t highest; /* that was given before it was asked */
	uint64_t bad_ms;  /* since when nothing good was answered, */
	uint32_t bad;     /* and how often it was asked in vain since then */
	uint64_t read_ms; /* all was read again, because some may have been missed */
	char leader[128]; /* of the stream; "": not known */
	bool names;       /* the request asked for subjects */
	bool again;       /* asked to look while a look was under way */
	bool missed;      /* there was no answer: copies may be lost as well */
};

/* Another gateway. One that has gone is remembered, so that hearsay does not bring it back. */
struct gate {
	uint64_t id, incarnation;
	uint64_t heard;        /* its last beat */
	uint64_t echoed;       /* our last beat that it has heard */
	uint64_t until;        /* by the listening clock: then it is taken for gone; */
	uint64_t last, since;  /* its last beat; and since when they came without a gap */
	uint64_t lease;        /* ms */
	uint32_t losses;       /* how often it was, */
	uint32_t losses_of_us; /* and we by it */
	uint64_t gone_ms;
	bool gone, knows_us;
};

struct gates {
	uint64_t self, incarnation;
	uint64_t beat;     /* the last one sent */
	uint64_t awake;    /* ms in which this process ran, */
	uint64_t listened; /* and those of them in which the stream answered */
	struct request probe;
	struct request heard; /* behind what was said until then: */
	uint64_t said_no, heard_no;
	uint64_t answered_ms;
	uint64_t ticked_ms, sent_ms, beat_ms, hold;
	uint64_t began_ms;                 /* the session */
	_Atomic uint64_t said_here, *said; /* see broker_said() */
	uint64_t far_ms, far_until;        /* the slowest answer to a hello, of late */
	struct gate *v;                    /* owned */
	uint32_t n, living;
	bool greet;  /* all queues, before the next beat */
	bool moving; /* a successor goes on: nothing is given up */
	struct queue_list unclear;
	struct holders_list shared;
};

/* See look.c. */
struct look {
	struct request request;
	struct table known; /* owned; by name */
	uint64_t at;        /* all that is stored up to here is known */
	uint64_t asked_ms, listed_ms;
	uint64_t pause;  /* until */
	int64_t credit;  /* gets */
	uint32_t steps;  /* messages found, since it last came to the end */
	uint32_t joined; /* who wait for the next one, about */
	bool listed;     /* `known` and `at` are good */
	bool listing;    /* the request is for the list */
	bool stale;      /* forgotten since it was asked */
	bool far;        /* the last get took long */
	bool answering, alone;
};

struct event;
struct broker {
	struct event_base *base;
	const struct broker_events *ev;
	void *arg;
	size_t stream; /* which of the configuration's */
	struct settings settings;
	struct wire *wire;
	struct event *timer, *deferred;
	enum broker_state state;
	bool ever, timer_fast;
	uint64_t now_ms;
	uint64_t highest;  /* sequence that was given */
	uint64_t created;  /* of the stream, in this session */
	bool batches;      /* a direct get may ask for many messages */
	bool replicated;   /* the stream */
	bool clustered;    /* its server, so that requests may overtake each other */
	uint32_t term;     /* another one after each election of a leader */
	uint64_t apart;    /* until then each get is to be told what became of it */
	uint64_t subjects; /* in the stream, when it was last looked */
	size_t max_payload;
	struct requests requests;
	/* queue.c */
	struct queue_slot *slots;
	uint32_t nslots, free_slot, nqueues, walk;
	uint64_t walked_ms;
	struct rechecks recheck;
	struct queue_list closed;
	/* feed.c */
	struct job_list jobs[JOB_LISTS];
	uint32_t flying, turn;
	size_t get_bytes;   /* of a recent large answer */
	size_t hoard_bytes; /* all queues */
	struct look look;
	/* march.c */
	struct march *march;  /* owned; NULL: none */
	uint32_t deep;        /* queues with a backlog */
	uint64_t stride;      /* from one message of such a queue to its next, of late: times 32 */
	bool gathering;       /* a march is to begin: nobody asks for anything meanwhile */
	uint64_t march_pause; /* until */
	/* removal.c */
	struct queue_list removals;
	uint32_t removing;
	uint64_t removal_pause; /* until */
	/* gates.c, holders.c */
	struct gates gates;
	/* npublish.c, aside.c */
	struct pub_list published; /* their results wait for the loop */
	struct pub_list publishing;
	struct aside_list asides;
	size_t aside_bytes;
	struct watch watch;
	struct broker_stats stats;
	char server[256]; /* of the last session; without credentials */
};

static inline bool broker_apart(const struct broker *b)
{
	return b->now_ms < b->apart;
}

/* due: the low half of a time in ms, not more than 24 days off. */
static inline bool is_due(const struct broker *b, uint32_t due)
{
	return (int32_t)((uint32_t)b->now_ms - due) >= 0;
}

/* ---- broker_nats.c ---- */
/* Something waits to be told to the caller: on the loop, soon. */
void broker_defer(struct broker *b);
/* Something waits for a time that is milliseconds away. */
void broker_hurry(struct broker *b);
/* The stream has a new leader, which may lack some. */
void broker_new_leader(struct broker *b);
/* An answer of the API: its document, a new reference. NULL, in which nothing is found: it is none,
 * or no memory. */
static inline json_t *broker_doc(const struct wire_event *e)
{
	return json_loadb((const char *)e->m.data, e->m.len, 0, NULL);
}

/* ---- queue.c ---- */
struct broker_queue *queue_of(const struct broker *b, uint64_t key); /* of a subscription */
/* For log lines: service and user. Of the loop's thread; valid until the next call. */
const struct log_field *queue_who(const struct broker_queue *q);
void queue_unsubscribe(struct broker_queue *q);
/* After broker_resume(): subscribes all, reads all. */
void queue_resume_all(struct broker *b, bool marks_valid);
void queue_session_lost(struct broker *b);
/* Looks at every queue again: something may have been missed. */
void queue_rescan_all(struct broker *b);
void queue_new_leader(struct broker *b);
/* fn opens and closes none. */
void queue_each_recheck(struct broker *b, void (*fn)(struct broker_queue *q));
void queue_tick(struct broker *b);
/* Closed and nothing under way any more: tells so. */
void queue_settle(struct broker_queue *q);
void queue_settle_all(struct broker *b);
void queue_run_closed(struct broker *b);
void queue_free_all(struct broker *b);

/* ---- feed.c ---- */
void feed_init(struct broker *b);
void feed_kick(struct broker_queue *q);
/* Looks whether there is more; rescan: and for what was confirmed, and is there all the same. */
void feed_look(struct broker_queue *q);
void feed_rescan(struct broker_queue *q);
void feed_stop(struct broker_queue *q);
void feed_live(struct broker_queue *q, struct wire_event *e); /* takes e */
void feed_reply(
	struct broker *b, struct get *g, struct wire_event *e); /* takes e; NULL: no answer */
/* One message of several that answer a get. */
void feed_part(struct broker *b, struct get *g, struct wire_event *e); /* takes e */
void feed_drop_hoard(struct broker_queue *q);
void feed_tick(struct broker *b);
void feed_pump(struct broker *b);
/* Wants to read: there is something, or nobody knows whether there is. */
bool feed_reading(const struct broker_queue *q);
/* Of a reading that somebody else does: the next message (takes e; false: it is not wanted), and
 * that there is no more. */
bool feed_found(struct broker_queue *q, struct wire_event *e);
void feed_none(struct broker_queue *q);

/* A look for many is over; none: there is nothing of this one's. */
void feed_looked(struct broker_queue *q, bool none);

/* ---- look.c: one get for many ---- */
/* Whether those who come now are to be looked for together. */
bool look_pays(const struct broker *b);
/* It has something, or had it a moment ago: it reads for itself. */
bool look_knows(const struct broker *b, const char *name);
void look_join(struct broker_queue *q);
void look_tick(struct broker *b);
void look_reply(struct broker *b, struct wire_event *e); /* takes e; NULL: no answer */
/* One alone found nothing. */
void look_missed(struct broker *b);
/* A session, with so many subjects in the stream. */
void look_begin(struct broker *b, uint64_t subjects);
/* What is known may not be right any more. */
void look_forget(struct broker *b);

/* ---- march.c ---- */
struct march;
/* Its own get from there found so many messages, and it reads on: perhaps with others. */
void march_consider(struct broker_queue *q, uint64_t from, uint32_t found);
/* It reads nothing any more, or by itself. */
void march_leave(struct broker_queue *q);
/* It has no backlog any more. */
void march_read_up(struct broker_queue *q);
void march_reply(
	struct broker *b, struct request *r, struct wire_event *e); /* takes e; NULL: no answer */
/* One message of several that answer it. False: it asked for one. */
bool march_part(struct broker *b, struct request *r, struct wire_event *e); /* takes e, if true */
/* Perhaps all who are to march are there. */
void march_gathered(struct broker *b);
void march_free(struct broker *b);

/* ---- job.c ---- */
void job_move(struct broker *b, struct job *j, enum job_state to);
struct broker_queue *job_queue(struct job *j);
/* ---- reread.c ---- */
void reread_reply(struct broker_queue *q, struct reread *r, struct wire_event *e, uint64_t from);
void reread_session_lost(struct broker_queue *q);
void reread_drop_all(struct broker_queue *q);
void reread_run_failed(struct broker *b);

/* ---- removal.c ---- */
struct removal;
/* Remembers what was given. */
void removal_remember(struct broker_queue *q, uint64_t seq);
void removal_confirm(struct broker_queue *q, uint64_t seq);
/* The same, but another gateway removes it. */
void removal_pass(struct broker_queue *q, uint64_t seq);
/* Copied elsewhere: to go as soon as nothing below waits for its confirmation. */
void removal_aside(struct broker_queue *q, uint64_t seq);
/* One that is to go. */
void removal_look_again(struct broker_queue *q);
void removal_doom(struct broker_queue *q, uint64_t seq);
/* A sweep is over: what it found goes now. */
void removal_swept(struct broker_queue *q);
/* Whether a sweep may go on; else removal calls feed_kick() when there is. */
bool removal_room(const struct broker_queue *q);
/* Takes one out of those that wait for their confirmation. */
/* Set aside, and not removed yet. */
bool removal_has_aside(const struct broker_queue *q, uint64_t seq);
void removal_take(struct broker_queue *q, uint64_t seq);
void removal_forget(struct broker_queue *q, bool confirmed_too);
/* What is remembered here is of a leader that is not it any more. */
void removal_new_leader(struct broker_queue *q);
bool removal_idle(const struct broker_queue *q);
void removal_reply(
	struct broker *b, struct removal *r, struct wire_event *e); /* takes e; NULL: no answer */
void removal_pump(struct broker *b);
/* Nobody is there to remove anything: a while later. */
void removal_pause(struct broker *b);

/* ---- gates.c: who else is there ---- */
bool gates_init(struct broker *b, uint64_t self);
void gates_free(struct broker *b);
void gates_begin(struct broker *b); /* a session */
void gates_tick(struct broker *b);
void gates_hear(struct broker *b, struct wire_event *e);   /* a beat; takes e */
void gates_probed(struct broker *b, struct wire_event *e); /* takes e; NULL: no answer */
/* Whose word that is; NULL: it is ours, or there are too many. */
struct gate *gates_meet(struct broker *b, uint64_t id);
/* By the listening clock: since when what it says comes here; now, when it is silent. */
uint64_t gates_hears_since(const struct broker *b, uint64_t id);
/* Since the session began there was, or may have been, another one. */
bool gates_were_others(const struct broker *b);
/* Who was said up to that beat of ours is known to all. */
uint64_t gates_cleared(const struct broker *b);
/* Somebody waits for the next beat. */
void gates_hurry(struct broker *b);
/* There are other gateways. Those whom a predecessor knew count until it is clear whether they are.
 */
bool gates_others(const struct broker *b);
void gates_heard(struct broker *b, struct wire_event *e); /* takes e; NULL: no answer */
/* For good: nothing is held here any more. */
void gates_farewell(struct broker *b);
/* Publishes text on a subject as this gateway's word. */
bool gates_say(struct broker *b, const char *subject, const char *text);

/* ---- holders.c: who else holds a user ---- */
void holders_start(struct broker_queue *q);
void holders_hear(struct broker_queue *q, struct wire_event *e); /* takes e */
void holders_confirm(struct broker_queue *q, uint64_t seq);
uint64_t holders_begin(struct broker_queue *q);
void holders_close(struct broker_queue *q);
void holders_free(struct broker_queue *q);
/* Closed, and what was confirmed here cannot be removed yet. */
bool holders_wait(const struct broker_queue *q);
/* Whether removals are this gateway's. */
bool holders_ours(const struct broker_queue *q);
void holders_greet(struct broker_queue *q);
void holders_drop_gate(struct broker *b, uint64_t id);
void holders_tick(struct broker *b);
void holders_count(struct broker *b); /* for the figures: not often, it looks at all */

/* ---- broker_nats.c ---- */
/* What the server would not let us publish to; cut off when it is long (not whole). */
struct denied {
	char subject[256];
	bool whole;
};
bool denied_is(const struct denied *d, const char *subject);

/* ---- npublish.c ---- */
/* Takes e; NULL: no answer. */
void npublish_reply(struct broker *b, struct pub *p, struct wire_event *e);
/* No answer came in time: it is published again, and either answer will do. False: it cannot be. */
bool npublish_again(struct broker *b, struct pub *p);
void npublish_denied(struct broker *b, const struct denied *d);
void npublish_run_results(struct broker *b);
void npublish_free_all(struct broker *b);
/* What of e->status is a verdict; 0: nothing. */
unsigned npublish_status(const struct wire_event *e);
/* "stored" or what else an acknowledgement of a publish says. False: it is none (a service answered
 * on the reply subject). `why` lives as long as doc. */
bool npublish_result(const json_t *doc, unsigned status, const char *stream, enum broker_result *r,
	const char **why);
/* Bytes of a header line, with its end; and of the first and last lines. */
size_t npublish_header_size(const char *key, const char *value);
#define HEADERS_FRAME (sizeof("NATS/1.0\r\n\r\n") - 1)

/* ---- aside.c ---- */
void aside_reply(
	struct broker *b, struct aside *a, struct wire_event *e); /* takes e; NULL: no answer */
void aside_denied(struct broker *b, const struct denied *d);
void aside_tick(struct broker *b);
void aside_drop_all(struct broker *b);

/* ---- ask.c ---- */
struct ask;
void ask_reply(
	struct broker *b, struct ask *a, struct wire_event *e); /* takes e; NULL: no answer */
void ask_denied(struct broker *b, const struct denied *d);

/* ---- watch.c ---- */
/* A session begins. */
void watch_begin(struct broker *b);
void watch_tick(struct broker *b);
/* Asks what the stream is like; names: also for its subjects, "send" or "recv", that have messages.
 */
void watch_info(struct broker *b, uint64_t token, const char *names);
/* A reply that is the stream's own, or may be: does it live? */
void watch_heard(struct broker *b, const struct wire_event *e);
/* Is it still the same stream? */
void watch_now(struct broker *b);
/* Something speaks against it: nats-server 2.9.10 may not say that a stream was deleted. */
void watch_soon(struct broker *b);
void watch_reply(struct broker *b, struct wire_event *e); /* takes e; NULL: no answer */

#endif
