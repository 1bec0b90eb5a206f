/*
 * bridge: the one process that talks to the broker.
 *
 *   bridge.c    start, stop
 *   streams.c   the streams: the broker's state for each, and which incarnation it is
 *   slots.c     the workers' sections: changes, up rings, down rings, doorbells
 *   source.c    one up ring: reading it, its end, damage
 *   stale.c     segments of dead masters: what they had taken and not stored
 *   stayed.c    connections that stayed with a program that was replaced
 *   orders.c    what the master says: a configuration, a log, workers, whom to close
 *   dispatch.c  service → client: users and their connections
 *   quota.c     how many connections a user may have
 *   buffer.c    what a user's connections have not taken yet
 *   ended.c     what was confirmed on connections that have ended
 *   bconn.c     giving messages to one connection
 *   told.c      connections that wait until other gateways can know of them
 *   past.c      samples of the last quarter of an hour; what replaced programs had counted
 *   fence.c     connections that may lack messages
 *   track.c     the user who is followed in the log
 *   window.c    what a connection was given and did not confirm yet
 *   query.c     questions of workers to services, and their answers
 *   publish.c   client → service: records, one unacknowledged message a user, release as a prefix
 *   sender.c    who sent a message, and what he is told of it
 *
 * What it keeps in its own memory can be rebuilt by reading the sections again: it may be killed at
 * any instruction.
 */
#ifndef WSGATE_BRIDGE_H
#define WSGATE_BRIDGE_H

#include <event2/event.h>
#include <sys/queue.h>
#include <time.h>

#include <wsgate/broker.h>
#include <wsgate/chan.h>
#include <wsgate/config.h>
#include <wsgate/heritage.h>
#include <wsgate/pulse.h>
#include <wsgate/record.h>
#include <wsgate/shm.h>
#include <wsgate/table.h>
#include <wsgate/turns.h>

struct bridge;
struct bstream;
struct buser;

/* A message that is given and not confirmed. */
struct given {
	uint64_t seq;
	uint64_t stamp_ns; /* when the broker stored it; 0: before the connection was there */
	size_t len;
};

/* What a connection was given and did not confirm: a ring. */
struct window {
	uint32_t first, n, cap;
	size_t bytes;
	struct given v[];
};

/* A buffered message of a user. */
struct bnode {
	struct bnode *next;
	struct broker_message *m; /* a reference */
};

/* A connection, as the bridge knows it. Owned by its slot's array; freed in dispatch_end(). */
struct bconn {
	struct buser *user;
	struct bconn *next, *prev;       /* of the same user */
	TAILQ_ENTRY(bconn) blocked_link; /* of the same slot: waits for room in the down ring */
	struct bnode *cursor;            /* next buffered message to give; NULL: none */
	struct window *out;              /* owned; NULL while it is empty */
	uint64_t generation;
	uint64_t pos; /* given up to here */
	uint64_t confirmed;
	uint32_t need; /* of the message that found the window too small */
	uint32_t index;
	uint32_t opened_s; /* since 1970 */
	uint16_t slot;
	uint8_t service;    /* row of its worker's services */
	bool synced : 1;    /* gets what is in the buffer; else it is behind and reads from its own
			       mark */
	bool rereading : 1; /* a read from its mark is under way */
	bool retry : 1;     /* that read failed: again with the next tick */
	bool blocked : 1;
	bool poisoned : 1; /* a message of it was refused: what came after is not stored */
	bool going : 1;    /* superseded, or moved: it does not count any more */
	bool behind : 1;   /* as shared memory has it: see bconn_note() */
	bool waits : 1;    /* it is not let in yet: see told.c */
};

/*
 * A user with at least one connection here, or with removals under way.
 *
 *   removed ▸ mark ▸ (given, not confirmed) ▸ floor ▸ [first … last] ▸ head ▸ (in the stream)
 */
struct buser {
	struct bstream *s; /* of its service, for as long as it is here */
	struct broker_queue
		*q; /* NULL only while a new bridge reads the sections, or without memory */
	struct bconn *conns;
	struct bnode *first, *last;
	uint64_t mark;  /* confirmed by all connections */
	uint64_t floor; /* nothing above it and at most head is missing in the buffer */
	uint64_t head;  /* last message that came from the broker */
	struct buser *dirty_next;
	struct ended *ended; /* owned: routes that keep the mark until it is done */
	uint32_t bytes;      /* buffered */
	bool wanted, closing, dirty;
	bool served;  /* a connection of it was a predecessor's, which told others of it */
	bool untold;  /* one came while that had no session */
	uint8_t rank; /* enum ended_rank: of what `mark` was taken from by a scan; 0: nothing */
	uint8_t service_len, user_len;
	char names[]; /* the key: the service's length, service, user */
};

/* A notice that found no room in the down ring. */
struct notice {
	struct notice *next;
	uint16_t type;
	struct down_notice n;
	char reason[128];
};

struct pub;
struct pub_user;
struct query;

/* An up ring that is read: a worker's, a dead worker's, or one of a stale segment. */
struct up_source {
	struct bridge *b;
	struct ring ring;
	struct pub *first, *last; /* records read and not released, in order */
	uint64_t retry_below;     /* records below were seen by a predecessor: a duplicate is no
				     surprise */
	bool broken; /* the writer's word is damaged: read again when there is a new writer */
	int stale;   /* index of the stale segment, -1: a live one */
	uint16_t slot;
	uint8_t which;
	const uint8_t *segment_id; /* 16 bytes, borrowed from the segment */
};

/* A record that lies in an up ring, not taken yet. Its words are shared memory. */
struct up_next {
	struct up_source *src;
	uint64_t pos, end; /* where it begins, and the next one does */
	struct up_view v;
	uint16_t type;
};

struct slot {
	struct bridge *b;
	unsigned n;
	bool used;
	uint64_t generation; /* of the living worker; 0: none */
	struct shm_slot *words;
	struct route_section routes;
	struct changes changes;
	struct ring down;
	struct up_source up[SHM_UP_MAX];
	unsigned nup;
	uint64_t drained_generation[SHM_UP_RINGS]; /* say PROTO_DRAINED for it when its rings are
						      empty; 0: no */
	struct chan *bell;                         /* NULL: it is broken, */
	uint64_t silent_ms;                        /* since then */
	uint32_t rung;
	_Atomic uint32_t *behind;                  /* a bit for each route */
	struct bconn **conns;                      /* owned, by route index */
	TAILQ_HEAD(blocked_list, bconn) who_waits; /* for room in the down ring */
	unsigned nconns;
	unsigned held; /* routes that have ended and keep a mark: ended.c */
	TAILQ_HEAD(ended_list, ended) ended;
	struct notice *notice_first, *notice_last;
};

/* Its worker's death was seen to by a bridge. */
static inline bool slot_buried(struct shm_slot *words, uint64_t generation)
{
	return generation >> 32 <= stat_get(words->buried);
}

/* A stream and what is under way to it. One that is away, or made anew, holds up no other. */
struct bstream {
	struct bridge *b;
	struct broker *broker;
	struct shm_stream_words *words;
	struct broker_stats counted; /* of the broker's counts: what shared memory has */
	uint32_t epoch;              /* of the stream as it is now; 0: not known */
	bool connected;
	uint64_t lost_s;    /* since 1970: a predecessor had no session; 0: it had one */
	bool late;          /* came by a reload: where it is refused, others go on */
	size_t max_payload; /* 0: not known yet */
	size_t retries;     /* since the last tick */
	struct told *told;  /* owned: who waits, in the order of their numbers */
	size_t ntold, told_room;
	/* publish.c */
	struct pub_user *ready_first, *ready_last; /* have something to publish */
	struct pub_user *later;                    /* wait for the next tick or for the broker */
	size_t publishing, publishing_bytes;
	size_t flushes; /* of those who wait: they need no broker */
};

struct stale {
	struct shm shm;
	struct up_source *sources; /* owned */
	struct slot *slots;        /* owned; of a program that was replaced: to tell its workers */
	size_t nsources;
	bool mapped, done;
	bool read;                     /* all that lay there at first */
	size_t stayed;                 /* connections of it that something is kept for */
	bool lives[HERITAGE_SLOT_MAX]; /* its workers, when that was last looked at */
};

#define POISONED_MAX 64
struct bridge {
	const struct heritage *h;
	const struct config *c; /* as of now: nobody keeps a value of it */
	struct config *own;     /* owned: what c points to, NULL: it came with the heritage */
	struct event_base *base;
	struct chan *master;
	struct bstream streams[SHM_STREAMS];
	unsigned nstreams;
	uint64_t gateways_lost; /* what shared memory has of it: of the stream with the most */
	struct shm shm;
	struct slot slots[HERITAGE_SLOT_MAX];
	unsigned nslots; /* those above are not used yet */
	struct stale stales[HERITAGE_STALE_MAX];
	struct event *again, *tick, *beat, *flush_end;
	struct pulse *pulse; /* owned */
	struct pace pace;
	size_t max_message;
	bool stopping, more;
	bool hurry;    /* stopping, and nobody waits for what is not stored yet */
	bool together; /* several end at once: what the last one confirmed is not what all have */
	bool moving; /* stopping, and the connections live on in a program that replaces this one */
	bool starved;    /* no memory for a record or a window: again with the next tick */
	bool stale_read; /* all older segments are read: live rings may be */
	int status;
	uint64_t now_ms, ready_by_ms; /* 0: it was said */
	/* past.c */
	uint64_t sample_due_ms; /* since 1970 */
	bool sampled;
	struct hist_view sampled_hists[STATS_HISTS];
	struct shm before; /* of the program that was replaced, while it is looked at */

	/* dispatch.c */
	struct table users;
	size_t buffered;
	struct buser *dirty; /* to be settled */
	bool scanning;       /* a new bridge reads the sections */
	struct table stayed; /* stayed.c: users */
	/* publish.c */
	struct table pub_users;
	struct query *queries, *unheard; /* query.c: under way; and answered, without room for it */
	size_t nqueries;
	uint16_t asked[UINT8_MAX + 1]; /* of them, by the service; see query.c */
	struct pub *pub_free;
	size_t npub_free;
	char poisoned[POISONED_MAX][ROUTE_ID_TEXT]; /* the last ones, in a circle */
	size_t npoisoned;
};

/* Rings of ours, and of all older segments. */
#define SOURCES_MAX ((1 + HERITAGE_STALE_MAX) * (size_t)HERITAGE_SLOT_MAX * SHM_UP_MAX)

#define KEY_MAX (1 + 2 * TOKEN_MAX)
/* service length, service, user: no two users have the same one. Returns its length. */
size_t bridge_key(const struct identity *id, char out[KEY_MAX]);
uint64_t bridge_clock(void);
void bridge_check_flushed(struct bridge *b);
/* Says so to the master: the first of a gateway when it has met the broker, or not for a second. So
 * whoever starts it hears what the broker refuses. */
void bridge_ready(struct bridge *b);
/* It cannot go on: the master is told why. */
void bridge_fatal(struct bridge *b, const char *text);

/* streams.c */
/* Where they stood for a predecessor. */
void streams_adopt(struct bridge *b);
/* The same of another segment, for those of which nothing is known; served: by a program that this
 * one replaces. */
void streams_inherit(struct bridge *b, const struct shm_streams *was, bool served);
/* NULL: the configuration has none for that service. */
struct bstream *streams_of(struct bridge *b, const struct identity *id);
/* False: no stream has its service, or another one than before; it was told so. */
bool streams_serve(struct slot *s, uint32_t index, const struct route_view *v);
int streams_start(struct bridge *b);
/* Another configuration for those that are at work. 0; or -1 with errno: some have it, and are
 * given it again with the next one. */
int streams_reconfigure(struct bridge *b, const struct config *c);
/* Those that b->c has and the bridge does not yet. */
void streams_more(struct bridge *b);
void streams_moving(struct bridge *b);
/* Nothing more is to come from them. False: so long was not enough for one that waits for its
 * server; streams_stop() would wait for it. */
bool streams_quit(struct bridge *b, uint64_t ms);
void streams_stop(struct bridge *b); /* behind that */
void streams_stats(struct bridge *b);

/* slots.c */
int slots_start(struct bridge *b);
void slots_stop(struct bridge *b);
void slots_wakeup(struct bridge *b);
/* Whether the worker that wrote a route of that generation is. */
bool slots_dead(const struct slot *s, uint64_t generation);
void slots_worker_up(struct bridge *b, unsigned slot, uint64_t generation);
void slots_worker_down(struct bridge *b, unsigned slot, uint64_t generation, bool last);
/* All of ours that are in use; list has room for SHM_UP_MAX of each slot. Returns how many. */
size_t slots_up_sources(struct bridge *b, struct up_source **list);
/* All that lies in them; nothing while older segments are not read. */
void slots_read(struct bridge *b);
bool slots_empty(const struct bridge *b); /* every up ring is released */
/* One record for connections of one slot. False: no room now. */
bool slots_put_message(struct slot *s, const struct broker_message *m, uint32_t epoch, uint8_t text,
	const struct down_ref *refs, uint32_t nrefs);
/* Never fails but for memory: waits its turn when the ring is full. */
void slots_notify(struct slot *s, enum down_type type, const struct down_ref *ref, uint64_t seq,
	uint16_t code, const char *reason);
/* Into the ring now, or not at all: for what must not be lost with this process. */
bool slots_try_notify(struct slot *s, enum down_type type, const struct down_ref *ref, uint64_t seq,
	uint16_t code, const char *reason);
/* The answer to a question. False: no room now. */
bool slots_put_answer(struct slot *s, uint64_t generation, uint64_t stamp, enum down_answer a,
	const char *data, size_t len);
void slots_block(struct slot *s, struct bconn *c);
void slots_unblock(struct slot *s, struct bconn *c);
void slots_released(struct up_source *src); /* the worker gets room */
void slots_tick(struct bridge *b);
/* Says so to the master once a dead worker's rings are empty. */
void slots_check_drained(struct slot *s, unsigned ring);
/* The workers are gone: so are all connections. */
void slots_end_all(struct bridge *b);
/* A slot that is used from here on. Takes bell, also when it fails. 0 or -1 with errno. */
int slots_attach(struct bridge *b, unsigned n, int bell, uint64_t generation);

/*
 * source.c: up rings are read, in the order in which workers wrote: a user may have changed workers
 * in between. What was written after until (CLOCK_MONOTONIC, ns) stays for the next time; so does
 * everything that follows a record for which there is no memory (b->starved).
 */
void sources_read(struct bridge *b, struct up_source **list, size_t n, uint64_t until);
bool source_unread(const struct up_source *src); /* more than what was read lies there */
bool source_empty(const struct up_source *src);

/* orders.c */
void orders_on_config(void *arg, const void *body, int fd);
void orders_on_slot(void *arg, const void *body, int fd);
void orders_on_sync(void *arg, const void *body, int fd);
void orders_on_close(void *arg, const void *body, int fd);

/* stale.c: sets b->stale_read when all older segments are read */
void stale_read_all(struct bridge *b);
/* Of those that were read: the last workers of a program that was replaced may write there still.
 * list has room for SHM_UP_MAX of each slot of each. Returns how many. */
size_t stale_up_sources(struct bridge *b, struct up_source **list);
/* To tell the worker that writes there; NULL: it does not hear any more. */
struct slot *stale_slot(struct bridge *b, const struct up_source *src);
void stale_free_all(struct bridge *b);
/* Sets lives. */
void stale_look(struct stale *st);

/* stayed.c: connections that stayed with programs that were replaced. */
/* False: no memory. */
bool stayed_add(struct bridge *b, unsigned which, unsigned slot, uint32_t index,
	const struct route_view *v);
/* How much of what is confirmed up to mark by the user's other connections may be removed. */
uint64_t stayed_limit(const struct buser *u, uint64_t mark);
/* Its queue is kept for one of them; and that one is still there. */
bool stayed_has(const struct buser *u);
bool stayed_open(const struct buser *u);
/* Its stream is another one. */
void stayed_anew(struct buser *u);
/* Nobody is kept any more. */
void stayed_end_all(struct bridge *b);
void stayed_tick(struct bridge *b);
void stayed_free(struct bridge *b);

/* told.c */
/* Lets it in when other gateways can know of its user; now, where there are none. */
void told_wait(struct bconn *c);
void told_now(struct bconn *c); /* it is told to close next, which goes behind it */
void told_ask(struct bridge *b);
void told_heard(void *arg, uint64_t no);
void told_all(struct bridge *b);
void told_free(struct bstream *s);

/* dispatch.c */
void dispatch_start(struct bridge *b);
void dispatch_stop(struct bridge *b);
/* A route that is new (ROUTE_OPENING), or one that a predecessor served. NULL: no memory. */
struct bconn *dispatch_open(
	struct bridge *b, struct slot *s, uint32_t index, const struct route_view *v);
/* NULL: there is none, or no memory to make one. */
struct buser *dispatch_user(struct bridge *b, const struct identity *id, bool make);
struct identity dispatch_identity(const struct buser *u);         /* its names are the user's */
const struct log_field *dispatch_who(const struct identity *who); /* valid until the next call */
/* After the scan of a new bridge, or with a session: opens the queues of a stream. */
void dispatch_opened_all(struct bstream *s);
void dispatch_marks(struct bconn *c, const struct route_view *v);
void dispatch_end(struct bridge *b, struct bconn *c);
void dispatch_pump(struct bconn *c);
/* Ends the connections of a user: how many were told. */
uint64_t dispatch_kick_user(struct buser *u, uint16_t code, const char *reason);
uint64_t dispatch_kick(
	struct bridge *b, const struct identity *id, uint16_t code, const char *reason);
void dispatch_tick(struct bridge *b);
/* What the last round of changes means for their users: once, however many connections a user has.
 */
void dispatch_settle(struct bridge *b);
/* Perhaps more of it may be removed now. */
void dispatch_dirty(struct buser *u);
/* Closes its queue, or frees it, when nobody is there any more for whom it is held. */
void dispatch_let_go(struct buser *u);
void dispatch_message(void *owner, struct broker_message *m);
bool dispatch_left(void *owner, struct broker_message *m);
void dispatch_reread(void *owner, void *tag, struct broker_message *m, bool failed);
void dispatch_closed(void *owner);
bool dispatch_idle(const struct bridge *b); /* no removals under way */

/* fence.c: connections end, and are asked to come back */
void fence_user(void *owner);    /* those of a struct buser */
void fence_stream(void *stream); /* those of a struct bstream */

/* quota.c: false: it was told that there are too many */
bool quota_admits(struct slot *s, uint32_t index, const struct route_view *v);
void quota_moved(struct bconn *c, uint64_t id);

/* buffer.c: what came live and was not taken by all connections */
bool buffer_add(struct buser *u, struct broker_message *m); /* false: no memory */
void buffer_drop_first(struct buser *u);
void buffer_drop(struct buser *u);
void buffer_trim(struct buser *u); /* what all have taken goes */
/* Too much: who lags reads again from the stream; the broker is told whether to send more. */
void buffer_budget(struct buser *u);
/* ended.c: routes whose connection has ended */
void ended_now(struct slot *s, uint32_t index, const struct route_view *v);
/* In the scan of a new bridge: its worker waits to be told. False: no memory. */
bool ended_found(struct slot *s, uint32_t index, const struct route_view *v);
/* Whose routes those are. Who came later began where the ones before him had left off, so that his
 * say counts alone. */
enum ended_rank { ENDED_STALE_BURIED = 1, ENDED_STALE, ENDED_BURIED, ENDED_HERE };
/* The same for a dead worker's; out: the user, NULL: none. */
bool ended_mark(
	struct bridge *b, const struct route_view *v, enum ended_rank rank, struct buser **out);
/* Their places may be used again. */
void ended_release(struct buser *u);
/* There are new connections, which need the places more. */
void ended_make_room(struct slot *s);
void ended_drop(struct buser *u); /* at the end of the process: a successor finds them again */

/* window.c: what a connection has and did not confirm */
bool window_open(const struct bconn *c, size_t len);
bool window_reserve(struct bconn *c); /* room to note one more; false: no memory */
void window_given(struct bconn *c, const struct broker_message *m);
void window_forget(struct bconn *c, uint64_t upto);
void window_drop(struct bconn *c); /* all of it, and nobody has confirmed it */

/* track.c */
#define track(call)                                                                                \
	do {                                                                                       \
		if (__builtin_expect(trace_on, 0))                                                 \
			call;                                                                      \
	} while (0)
void track_up(const char *state, const struct broker_publish *p, uint64_t stamp_ns);
void track_message(const struct buser *u, const struct broker_message *m);
void track_given(const struct bconn *c, const struct broker_message *m);
void track_confirmed(const struct buser *u, uint64_t seq);

/* past.c */
void past_adopt(struct bridge *b); /* before anything is counted */
void past_tick(struct bridge *b);
void past_stop(struct bridge *b);

/* bconn.c: giving messages to one connection */
uint8_t bconn_text(const struct bridge *b, const struct broker_message *m); /* enum down_text */
/* False: it waits for room in the ring (or for memory). */
bool bconn_give(struct bconn *c, const struct broker_message *m);
/* Lets it read from the buffer when nothing that it lacks lies before that. */
void bconn_sync(struct bconn *c);
void bconn_fall_behind(struct bconn *c);
/* It has everything up to there, from somebody else. */
void bconn_skip(struct bconn *c, uint64_t upto);
/* Gives what there is and the window allows; reads again from its mark if it is behind. */
void bconn_run(struct bconn *c);
bool bconn_caught_up(const struct bconn *c);
/* Tells the operator whether it is behind: messages for it stay in the stream. */
void bconn_note(struct bconn *c, bool behind);

/* query.c */
/* A question out of a ring: it is copied, and the record may go. */
void query_take(const struct up_source *src, const struct up_view *v);
void query_answered(void *stream, void *tag, enum broker_answer a, const char *data, size_t len);
void query_tick(struct bridge *b);
void query_stop(struct bridge *b); /* after streams_stop() */

/* publish.c */
void publish_start(struct bridge *b);
void publish_stop(struct bridge *b);
/* What is next in a ring; it stays there. out is set with RING_RECORD alone. */
enum ring_read publish_peek(struct up_source *src, struct up_next *out);
/* Takes it. False: no memory for it, it stays where it is. */
bool publish_next_record(const struct up_next *n);
/* Forgets what was read and not released (at the end of the process). */
void publish_drop(struct up_source *src);
void publish_run(struct bridge *b);
void publish_again_all(struct bstream *s); /* who has to wait for it tries again */
void publish_result(void *stream, struct broker_publish *p, enum broker_result r);
void publish_tick(struct bridge *b);

#endif
