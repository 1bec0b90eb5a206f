/*
 * worker: one process that owns its connections alone. It never talks to the broker.
 *
 *   worker.c   start, stop, control channel, accepting
 *   sight.c    which sockets are watched, and for what
 *   conn.c     a connection's life: bytes in, its end   send.c  bytes out
 *   cork.c     answers to what one read brought, in one write
 *   upgrade.c  the HTTP request and what becomes of it
 *   auth.c     who a client is: tokens, and questions to a service
 *   session.c  RFC 6455 after the upgrade: messages, Pings, marks, the close handshake
 *   link.c     the rings   lane.c  those up, and who waits for room there
 *   pack.c     what goes out compressed, and comes so
 *   place.c    the routes: link.c and this one alone touch shared memory, but for counting
 *   peer.c     the client's address, and the limits on those who come
 *   meter.c    how fast a client may send    life.c  how long it may stay
 *   tls.c      TLS between a connection and its socket (sealed.c: without OpenSSL)
 *   sections.c the tls sections, for listeners
 *   follow.c   trace contexts, and the user who is followed in the log
 *   wheel.c    one timer for all deadlines    tally.c  counts what connections do
 *   admin.c    the admin listener   metrics.c  /metrics   live.c  /status.json and /live
 *   page.c     the page for people
 *   move.c     gives its connections to other workers (heir.c: one of them; parcel.h: the wire)
 *   arrive.c   gets those of others
 *   reconf.c   a new configuration, other listeners, another log: while all goes on
 */
#ifndef WSGATE_WORKER_H
#define WSGATE_WORKER_H

#include <event2/event.h>
#include <sys/epoll.h>

#include <wsgate/chan.h>
#include <wsgate/config.h>
#include <wsgate/crowd.h>
#include <wsgate/handshake.h>
#include <wsgate/heritage.h>
#include <wsgate/log.h>
#include <wsgate/message.h>
#include <wsgate/network.h>
#include <wsgate/proxy.h>
#include <wsgate/pulse.h>
#include <wsgate/record.h>
#include <wsgate/shm.h>
#include <wsgate/trace.h>
#include <wsgate/turns.h>

#include "cork.h"

struct ssl_st;
struct tlsctx;

#define NO_ROUTE UINT32_MAX
#define NO_SEG UINT16_MAX
#define NETWORKS_MAX 256
#define LIVE_MAX 32 /* a worker */
#define READ_SIZE (64 * 1024)
#define SEGS_MAX 512 /* frames put together before they are written */

enum conn_state {
	CONN_REQUEST,     /* the HTTP request is being read */
	CONN_AUTHORIZING, /* waits for a service to say who it is */
	CONN_OPENING,     /* waits for the bridge to know the route */
	CONN_OPEN,        /* messages flow */
	CONN_PARTING,  /* we want to close: waits for the Pong under way, then for earlier messages
			  to be stored */
	CONN_CLOSING,  /* our Close is out, the peer's is not here yet: still takes its messages */
	CONN_STORING,  /* the peer's Close is here: ours waits until its messages are stored */
	CONN_LINGER,   /* both are out: our side is shut, waits for the peer's end */
	CONN_REFUSED,  /* an HTTP answer is out: our side is shut, waits for the peer's end */
	CONN_LEAVING,  /* offered to another worker: nothing is read or written before it answers */
	CONN_ARRIVING, /* another worker's until the bridge knows it as ours */
};

struct wheel_node {
	struct wheel_node *prev, *next; /* NULL: not in the wheel */
	uint64_t at_ms;
};

#define WHEEL_SLOTS 1024
#define WHEEL_TICK_MS 20
struct wheel {
	struct wheel_node slot[WHEEL_SLOTS];
	uint64_t done_tick; /* all before and this were looked at */
	uint64_t armed_ms;  /* when the timer fires, 0: not set */
	size_t count;
	struct event *timer; /* owned */
	void (*expired)(void *arg, struct wheel_node *n);
	void *arg;
};

/* Bytes that the socket did not take:  buf ▸ [off ... len ... cap]; nothing is owned when it is
 * empty. */
struct outbuf {
	uint8_t *buf;
	uint32_t off, len, cap;
	uint32_t control; /* bytes of Pongs and echoes among them: beyond a bound reading stops */
};

/* Bytes read and not parsed, because the connection is paused. */
struct stash {
	uint32_t len;
	uint8_t bytes[];
};

/* sight.c: the sockets that are watched. */
#define SIGHT_EVENTS 256
struct sight {
	struct epoll_event events[SIGHT_EVENTS]; /* of this turn; from at on still to come */
	int at, n;
	int epoll;
	struct event *ready, *soon;          /* owned */
	struct conn *soon_first, *soon_last; /* to be read although no event tells */
};

/* lane.c: a way up, and who waits for room there. */
struct lane {
	struct ring up;
	uint64_t reclaimed; /* our own records up to here were looked at after their release */
	struct conn *wait_first, *wait_last;
};

struct conn { /* owned by the worker's list; made and freed in conn.c */
	struct worker *w;
	struct conn *prev, *next;
	struct conn *wait_prev,
		*wait_next; /* of its lane: for room in the up ring; AUTHORIZING: in w->asking */
	struct wheel_node timer;
	struct conn *soon_next; /* in w->sight */
	struct handshake *hs;   /* owned; NULL after the upgrade */
	struct ws_reader reader;
	struct stash *stash; /* owned; NULL: none */
	struct outbuf out;
	uint64_t id;         /* of the connection, wherever it moves */
	uint64_t generation; /* of the route */
	union {
		uint64_t begun_us;  /* before it is open: when the first byte of its request
				       came; 0: not here */
		uint64_t ping_mark; /* what the Pong under way will confirm */
	};
	uint8_t ping_id[8]; /* random: a Pong that was not asked for confirms nothing */
	uint64_t ping_ms, heard_ms, state_ms;
	uint64_t expires_ms;         /* of what proved who it is; 0: never */
	uint64_t flush_stamp;        /* of the UP_FLUSH or the UP_ASK that is not answered; with
					`pending`, before a flush: when that was read */
	char *close_reason;          /* owned; NULL: none */
	struct proxy_parser *proxy;  /* owned; a PROXY header is to come, or is coming */
	struct meter *meter;         /* owned; NULL: never limited */
	struct trace_context *trace; /* owned; NULL: its messages have none */
	struct pack_own *own; /* owned, by pack.c; NULL: no window lives on behind a message */
	struct ssl_st *ssl;   /* owned; NULL: without TLS, or open, and OpenSSL is not needed */
	struct seal *seal;    /* owned: TLS 1.3 behind the handshake; NULL: the kernel's or
				 OpenSSL's affair, or none */
	uint8_t *pending;     /* owned: a message that waits for room in the up ring; NULL: none */
	uint32_t pending_len;
	uint32_t unsent_last; /* unsent bytes at the last look at a slow Pong */
	uint32_t up_bytes;    /* of its records in the up ring, not released: lane_charge() */
	uint32_t route;
	uint32_t born_s, data_s; /* CLOCK_MONOTONIC: opened; the last message either way */
	union {
		uint32_t asked;      /* AUTHORIZING: the bridge that knows the question, by its pid;
					0: none */
		uint32_t ping_count; /* messages that the Pong under way will confirm, counted from
					the first */
	};
	int fd;
	struct route_peer peer;
	uint16_t close_code;
	uint16_t first_seg, last_seg;     /* in w->segs, during a batch */
	uint8_t state : 4, came_from : 4; /* enum conn_state; LEAVING: the state before */
	uint8_t stream; /* of its service, in the configuration's order; of one with a route */
	bool admin : 1, echo : 1, reading : 1, writing : 1, watched_in : 1, soon : 1, ping_out : 1,
		waiting : 1, share_full : 1, flushing : 1, flushed : 1, peer_closed : 1,
		close_sent : 1, write_shut : 1, counted : 1;
	bool packs : 1,         /* permessage-deflate was agreed on, */
		read_waits : 1, /* TLS: what is to be read waits for a write, and the other
				   way round */
		write_waits : 1, read_more : 1; /* TLS has more, of which no event tells */
	uint8_t pack_bits : 3, coming : 4; /* with a window for what we send of 8 + so many bits */
	bool fed : 1,                      /* something was read, a PROXY header perhaps */
		frozen : 1,                /* not read: it is to move */
		came_back : 1,             /* it was offered, and nobody took it */
		stays : 1,                 /* twice: it cannot */
		missed : 1,                /* LEAVING: a message for it was left out */
		kicked : 1,                /* LEAVING: it is to be closed, with close_code */
		kick_told : 1;             /* its heir knows */
	bool pending_text : 1;             /* of the message that waits */
	bool unstored : 1, refused : 1;    /* perhaps: what it sent elsewhere; yes: so no more is */
	bool by_client : 1;                /* its end began on the other side */
	bool crowded : 1,                  /* its address is counted */
		held : 1;                  /* not read: over its rate */
	bool local : 1,                    /* admin: came by a Unix socket */
		ktls : 1,                  /* TLS is the kernel's affair, but for what is no data */
		ktls_wanted : 1,           /* after the handshake it is to be */
		seal_wanted : 1;   /* then it is to go on without OpenSSL, in the one way or the
				      other */
	bool looked : 1, came : 1; /* its time was over, and something lay there unread, or came */
};
_Static_assert(sizeof(struct conn) <= 384, "the allocator's next size is 448");

/* A frame of a batch: header and a payload that still lies in the down ring. */
struct seg {
	struct conn *conn;
	const uint8_t *data;
	size_t len;
	uint64_t stamp_ns; /* when the broker stored it; 0: before the connection was there */
	uint16_t next;
	uint8_t head_len;
	uint8_t head[WS_HEADER_MAX];
};

/* See pack.c. Nothing is made before it is needed. */
#define PACK_SIZES 8
#define PACK_KNOWN 512
struct pack {
	struct deflate_out *out[PACK_SIZES]; /* owned: by their window's bits, from 8 on */
	struct deflate_in *in;               /* owned */
	struct deflate_room in_room, out_room;
	struct packed *shared, *alone; /* owned: of this batch and of those before it; alone: of
					  this batch, and of one connection each */
	size_t shared_bytes, alone_bytes;
	uint32_t shared_count;
	struct pack_known {   /* what has become of a message of late */
		uint64_t seq; /* 0: nothing */
		uint32_t epoch;
		uint32_t bits;
		const struct packed *made; /* NULL: it goes as it is */
	} known[PACK_KNOWN];
};

struct listener { /* owned by the worker's list */
	struct worker *w;
	struct listener *next;
	struct event *ev; /* owned */
	int fd;
	uint32_t id; /* the master's name for it */
	bool admin;
	bool local; /* a Unix socket */
	char *tls;  /* owned: the title of its tls section; NULL: without TLS */
};

struct worker {
	const struct heritage *h;
	const struct config *c; /* as of now: a value of it is not kept, or renewed in reconf.c */
	struct config *own;     /* owned: what c points to, NULL: it came with the heritage */
	struct event_base *base;
	struct chan *master, *bell;
	struct move *move;        /* owned; NULL: nothing is given away */
	struct arrival *arrivals; /* owned */
	struct event *beat;
	struct pulse *pulse; /* owned */
	struct pace pace;
	struct proto_deeds deeds;           /* of the master, as it said last */
	struct listener *listeners;         /* this slot's, and those that are lent to it */
	char reconf_fault[PROTO_FAULT_MAX]; /* what of a reload failed here; "" : nothing */
	struct tlsctx **sections; /* owned and held: as many as c->tls, in its order; NULL: none */
	struct tickets tickets;
	uint8_t *tls_buf;           /* owned: frames that become one record of TLS, with room for
				       the rest of it */
	int tls_file;               /* owned: for the PROTO_CONFIG that follows; -1: none */
	struct event *accept_pause; /* owned: after ENFILE, ENOMEM */
	struct event *drain_timer;  /* owned; NULL: never needed */
	struct sight sight;
	struct cork cork;
	struct wheel wheel, holds;             /* holds: clients that are over their rate */
	struct network networks[NETWORKS_MAX]; /* proxy.networks */
	size_t nnetworks;
	uint64_t handshakes_us; /* the rate of handshakes is used up to here */
	struct conn *conns;     /* all of them */
	struct conn *asking_first, *asking_last;
	struct auth *auth;           /* owned */
	struct conn *live[LIVE_MAX]; /* connections on /live */
	size_t nlive;
	uint64_t live_sample; /* number of the last one that they were sent */
	int secrets;          /* owned: those of the next PROTO_CONFIG; -1: none */
	size_t nconns;
	uint64_t now_ms;   /* monotonic, as of this wakeup */
	uint8_t *read_buf; /* READ_SIZE, shared by all connections */

	/* link.c */
	struct shm shm;
	struct shm_slot *slot;
	struct route_section routes;
	struct changes changes;
	struct crowd crowd;
	struct lane lanes[SHM_LANES_MAX];
	struct ring down;
	size_t waiting; /* connections, in all lanes */
	uint32_t bell_rung;
	uint64_t route_count;   /* of generations given */
	struct conn **by_route; /* owned; NULL: free or ending */
	uint32_t *free_routes;  /* owned: a stack */
	uint32_t nfree;
	uint32_t services_held[STATS_SERVICES + 1]; /* routes, by row of services */
	bool dead_places;    /* those of dead workers are not among them yet */
	struct event *again; /* owned: more records than one batch takes */
	struct seg *segs;    /* owned, SEGS_MAX */
	uint16_t nsegs;
	struct pack pack;
	uint8_t nonce[4096]; /* random bytes for Pings */
	size_t nonce_left;
	/* drain.c */
	struct proto_stop stop;   /* stopping: as it was asked for */
	struct proto_drain drain; /* of the gateway, which goes on */
	bool leaving;             /* not ready, and all as ever, for drain_delay */
	bool draining;            /* connections are closed, new ones refused */
	bool stopping, ends;      /* ends: draining, and then the worker is no more */
	bool restarts;            /* ends: clients are to come back at once */
	bool over, emptied, late; /* over: all were told, and the rest was cut off */
	bool drain_even, shut;    /* shut: nothing more goes up: see PROTO_RETIRE */
	uint64_t drain_until_ms, drain_next_ms;
	uint64_t drain_told_ms; /* all are to be told by then */
};

/* worker.c */
uint64_t worker_clock(void);
void worker_listen(struct worker *w);
bool worker_has_room(const struct worker *w, int fd, bool dear); /* no client of its own */
void worker_say_full(const struct worker *w);
/* Takes fd, also when it fails. */
int worker_add_listener(struct worker *w, int fd, uint32_t id, bool admin, const char *tls);
/* Frees it. Who waits is let in, then connects are refused; keep: others go on with the socket. */
void worker_drop_listener(struct worker *w, struct listener *l, bool keep);
/* Those for clients, but others have the sockets too: who waits there is theirs. */
void worker_leave_listeners(struct worker *w);
int worker_random(struct worker *w, uint8_t out[8]); /* 0, or -1 with errno */
size_t worker_family_connections(const struct worker *w);

/* drain.c */
void drain_on_stop(void *arg, const void *body, int fd);
void drain_on_order(void *arg, const void *body, int fd);
void drain_set(struct worker *w, const struct proto_drain *d); /* the gateway is, or is not */
void drain_beat(struct worker *w);                             /* each second */
void drain_check(struct worker *w); /* a connection has ended while draining */

/* sight.c: false: it cannot be watched. reading and writing say what a connection is watched for;
 * one that stopped reading may still be in the epoll instance (watched_in). */
int sight_start(struct worker *w);
void sight_stop(struct worker *w);
bool sight_read(struct conn *c, bool on) __attribute__((warn_unused_result));
bool sight_write(struct conn *c, bool on) __attribute__((warn_unused_result));
void sight_soon(struct conn *c); /* reads it in this turn of the loop, if it is read then */
void sight_drop(struct conn *c); /* its socket is closed next */

/* conn.c */
void conn_readable(struct conn *c); /* c may be gone after these two */
void conn_writable(struct conn *c);
/* Takes fd, also when it fails: NULL, logged. l NULL: it came to another worker, for clients. */
struct conn *conn_accept(
	struct worker *w, int fd, const struct listener *l, const struct route_peer *peer);
/* One without a request, and with all events at rest: it came from another worker. As
 * conn_accept(). */
struct conn *conn_adopt(struct worker *w, int fd, const struct route_peer *peer);
void conn_free(struct conn *c);
/* For log lines: conn, service and user where known, and addr. Valid until the next call. */
const struct log_field *conn_who(const struct conn *c);
/* Sends or keeps. False: no memory or a dead socket; c is gone then. */
/* Bytes to be parsed before what is read next. False: no memory. */
bool conn_stash(struct conn *c, const uint8_t *data, size_t len)
	__attribute__((warn_unused_result));
/* Unsent bytes that came with it. */
bool conn_send_later(struct conn *c, const uint8_t *data, size_t len);
/* Writes what waits. False: c is gone. */
bool conn_write_again(struct conn *c) __attribute__((warn_unused_result));
bool conn_want_write(struct conn *c); /* false: it cannot be watched */
bool conn_send(struct conn *c, const void *data, size_t len) __attribute__((warn_unused_result));
struct iovec;
bool conn_sendv(struct conn *c, struct iovec *iov, int n) __attribute__((warn_unused_result));
ssize_t conn_sendmsg(struct conn *c, struct iovec *iov, int n); /* one write, as the call has it */
/* Bytes as they go over the wire, behind what waits; they are kept where the socket does not take
 * them. False: it does not go on. */
bool conn_sendraw(struct conn *c, const uint8_t *data, size_t len);
/* Stops or goes on with reading; going on parses what is stashed first. */
void conn_read_off(struct conn *c);
bool conn_resume(struct conn *c) __attribute__((warn_unused_result));
void conn_shut(struct conn *c, enum conn_state state);
bool conn_gone(struct conn *c, const char *why);    /* false */
bool conn_starved(struct conn *c, const char *why); /* false; it is not the client's doing */
/* It is offered to another worker; then it is that one's, or ours again. c may be gone after the
 * last two. */
void conn_leave(struct conn *c);
void conn_moved(struct conn *c);
void conn_stay(struct conn *c);
uint32_t conn_unsent(const struct conn *c);
/* When the peer acknowledged something last, of what it was sent since then. Where nobody knows:
 * now, or 0 when nothing is left to be. */
uint64_t conn_taken_ms(const struct conn *c, uint64_t since_ms);
/* Something lies in its socket, and is to be read. */
bool conn_unread(const struct conn *c);
/* Fewer unsent bytes than at the last look: a slow link is not a dead one. */
bool conn_progress(struct conn *c);
void conn_set_state(struct conn *c, enum conn_state state);
void conn_expired(void *arg, struct wheel_node *n);
void conn_deadline(struct conn *c, uint64_t at_ms);

/* upgrade.c: false: c is gone */
unsigned upgrade_retry_after(const struct worker *w);
/* By the bridge: too many of this user; or (404) it knows of no stream for the service. */
void upgrade_refused(struct conn *c, unsigned status);
bool upgrade_feed(struct conn *c, const uint8_t *buf, size_t len, size_t *used);
bool upgrade_answer(struct conn *c, const struct http_answer *a, unsigned retry_after);
void upgrade_opened(struct conn *c);
bool upgrade_timeout(struct conn *c);
/* more: what else the log should say, or NULL. */
bool upgrade_refuse(struct conn *c, const struct http_answer *a, unsigned retry_after,
	const struct log_field *more);
bool upgrade_unavailable(struct conn *c, const char *text, const struct log_field *more);
/* The gateway takes nobody (any more), or another program is about to. */
bool upgrade_drained(struct conn *c, const struct log_field *named);
/* Who the request says it is, as far as it does. */
struct http_answer upgrade_named(const struct conn *c, struct handshake_identity *who);
/* Nobody can come to that service now, and so he was told. *alive: c is not gone. */
bool upgrade_bars(struct conn *c, const struct handshake_identity *who,
	const struct log_field *named, bool *alive);
/* It is he: on to the bridge. */
bool upgrade_route(
	struct conn *c, const struct handshake_identity *who, const struct log_field *named);
#define UPGRADE_ANSWER_MAX 512
/* The 101 of a request that was checked. Its length; 0: none. */
size_t upgrade_answer_text(const struct conn *c, char out[UPGRADE_ANSWER_MAX]);

/* auth.c */
struct vault;
struct auth;
/* For a configuration, which is borrowed. NULL: err says why. */
struct auth *auth_new(const struct config *c, const struct vault *keys, char *err, size_t errlen);
void auth_free(struct auth *a);
/* By the section of its service (NULL: there is none for it). False: c is gone. */
bool auth_begin(
	struct conn *c, const struct config_auth *rule, const struct handshake_identity *who);
void auth_answered(struct worker *w, const struct down_view *v);
void auth_forget(struct conn *c);
void auth_beat(struct worker *w);    /* asks again where it is needed */
void auth_renew(struct worker *w);   /* the rules are others, or who a request says it is */
void auth_give_up(struct worker *w); /* nobody will answer any more */
/* The message is a fresh token, and none for the service. *alive: c is not gone. */
bool auth_refreshes(struct conn *c, const uint8_t *data, size_t len, bool *alive);

/* session.c: false: c is gone */
bool session_reply(struct conn *c, uint8_t opcode, const uint8_t *data, size_t len);
bool session_feed(struct conn *c, uint8_t *buf, size_t len, size_t *used);
bool session_take_pending(struct conn *c);
bool session_close(struct conn *c, uint16_t code, const char *reason);
bool session_refused(struct conn *c, uint16_t code, const char *reason);
/* Nothing of it can be read any more: it is closed, and its Close is not waited for. */
bool session_unheard(struct conn *c, uint16_t code, const char *reason);
bool session_too_big(struct conn *c); /* what waits, or came now, can never be kept */
bool session_may_last(const struct conn *c, uint64_t since_ms); /* what goes on so slowly */
bool session_step(struct conn *c);
bool session_timeout(struct conn *c);
uint64_t session_deadline(const struct conn *c);
void session_given(struct conn *c); /* confirms what it may without a Pong */
bool session_prove(struct conn *c); /* what is not confirmed, as delivery.confirm says */
size_t session_ping_frame(struct conn *c, uint8_t out[WS_HEADER_MAX + 16]);

/* link.c */
int link_start(struct worker *w);
void link_stop(struct worker *w);
void link_wakeup(struct worker *w);
void link_changed(struct worker *w, uint32_t index); /* tells the bridge to read that route */
/* A stream, or (LINK_ANY) one of them at least. */
#define LINK_ANY UINT8_MAX
bool link_connected(const struct worker *w, unsigned stream); /* the bridge to the broker, now */
bool link_all_connected(const struct worker *w);
/* Can it ever be put? One of before a new program was measured by another limit. */
bool link_fits(const struct conn *c, size_t len);
enum link_put { LINK_PUT, LINK_FULL };
uint32_t link_waited_us(const struct conn *c); /* c->pending, since it was read */
enum link_put link_put_message(struct conn *c, bool text, const uint8_t *data, size_t len);
enum link_put link_put_flush(struct conn *c);
enum link_put link_put_question(
	struct conn *c, const char *service, size_t service_len, const char *text);
uint32_t link_bridge(const struct worker *w); /* the pid of the bridge that runs, or ran last */
size_t link_max_message(const struct worker *w);
enum link_broker { LINK_BROKER_READY, LINK_BROKER_STARTING, LINK_BROKER_AWAY };
enum link_broker link_broker(const struct worker *w, unsigned stream);

/* lane.c */
void lane_attach(struct worker *w);
struct lane *lane_of(struct worker *w, unsigned stream);
uint64_t lane_size(const struct worker *w);                /* bytes of its ring */
uint64_t lane_share(const struct worker *w);               /* what one connection may have of it */
uint32_t lane_charge(const struct worker *w, size_t size); /* what a record takes of that */
/* What the bridge gave back may be written again; its connections have that much of their share. */
void lane_reclaim(struct worker *w, struct lane *l);
void lane_reclaim_all(struct worker *w);
/* For room: it is not read meanwhile. */
void lane_wait(struct conn *c);
void lane_unwait(struct conn *c);
void lane_serve_all(struct worker *w);  /* who waits, where there is room */
bool lane_more(const struct worker *w); /* there is by now */

/* place.c: the route of a connection */
bool place_open(struct conn *c, const struct identity *id);
struct conn *place_find(struct worker *w, const struct down_ref *ref); /* NULL: it is gone */
void place_end(struct conn *c);
void place_leave(struct conn *c); /* as it is */
void place_ended(
	struct worker *w, const struct down_ref *ref); /* the bridge knows it: the place is free */
struct parcel_head;
/* What another worker must know of the route; who is borrowed from it. */
void place_describe(const struct conn *c, struct parcel_head *h, struct identity *who);
/* A connection of another worker: a route with its marks. False: no place. */
bool place_adopt(struct conn *c, const struct identity *who, const struct parcel_head *h);
/* By a new route: the bridge gives again what lies above its marks. False: no place. */
bool place_reopen(struct conn *c);
struct identity place_identity(const struct conn *c); /* of a connection that has a route */
void place_confirm(struct conn *c, uint64_t seq);
uint64_t place_given(const struct conn *c);
uint64_t place_confirmed(const struct conn *c);

/* peer.c */
void peer_configure(struct worker *w);
void peer_accepted(struct conn *c); /* c may be gone */
/* Another worker's, which was let in there. False: no memory. */
bool peer_adopted(struct conn *c) __attribute__((warn_unused_result));
void peer_readable(struct conn *c); /* while c->proxy is there; c may be gone */
/* Before anything of a request is looked at; status 0: no objection. */
struct http_answer peer_request(struct conn *c);
void peer_leave(struct conn *c);

/* meter.c: one was read; may stop the reading, nothing else */
void meter_message(struct conn *c);
void meter_bytes(struct conn *c, size_t n);
bool meter_hides_pong(const struct conn *c);
bool meter_spent(struct conn *c, size_t n); /* n bytes more, and it is to send no more */
void meter_release(struct conn *c);
void meter_renew(struct conn *c); /* c may be gone */
void meter_free(struct conn *c);
void meter_expired(void *arg, struct wheel_node *n);

/* life.c */
void life_begin(struct conn *c);
void life_goes_on(struct conn *c, uint32_t opened_s, uint32_t data_s); /* in another worker */
uint64_t life_due(const struct conn *c);                               /* UINT64_MAX: never */
/* NULL: not yet; else why it is to be closed. */
const char *life_over(struct conn *c, uint16_t *code);

/* wheel.c */
int wheel_start(struct wheel *wh, struct event_base *base, uint64_t now_ms,
	void (*expired)(void *, struct wheel_node *), void *arg);
void wheel_stop(struct wheel *wh);
void wheel_set(struct wheel *wh, struct wheel_node *n, uint64_t at_ms, uint64_t now_ms);
void wheel_del(struct wheel *wh, struct wheel_node *n);

/* sections.c */
/* Those of a configuration; fd: its bundle, or -1. false: nothing has changed, and why. */
bool sections_load(struct worker *w, const struct config *c, int fd, struct tlsctx ***out,
	char *err, size_t errlen);
void sections_use(
	struct worker *w, struct tlsctx **sections, size_t nold); /* with w->c as it is now */
/* NULL: there is none of that title (yet): nobody is accepted there. */
struct tlsctx *sections_find(const struct worker *w, const char *title);
int sections_start(struct worker *w);
void sections_stop(struct worker *w);
void sections_on_tls(void *arg, const void *body, int fd);
void sections_on_tickets(void *arg, const void *body, int fd);

/* reconf.c: what the master says during a reload */
void reconf_on_secrets(void *arg, const void *body, int fd);
void reconf_on_config(void *arg, const void *body, int fd);
void reconf_on_listen(void *arg, const void *body, int fd);
void reconf_on_unlisten(void *arg, const void *body, int fd);

/* move.c */
void move_on_retire(void *arg, const void *body, int fd);
void move_on_heir(void *arg, const void *body, int fd);
void move_on_resume(void *arg, const void *body, int fd);
bool move_gives(const struct worker *w); /* between PROTO_RETIRE and PROTO_RESUME or PROTO_STOP */
void move_stop(struct worker *w);        /* gives no more */
void move_free(struct worker *w);
bool move_retires(const struct worker *w); /* all has gone that can: what is left stays here */
void move_show(const struct worker *w);    /* in the segment, for one that does not drain */
void move_ended(struct worker *w);         /* a connection has ended */
void move_forget(const struct conn *c);
void move_kick(struct conn *c, uint16_t code, const char *reason);

/* arrive.c */
void arrive_on_channel(void *arg, const void *body, int fd);
bool arrive_opened(struct conn *c); /* the bridge knows it; false: c is gone */
void arrive_forget(const struct conn *c);
void arrive_free(struct worker *w);

/* admin.c: false: c is gone */
bool admin_request(struct conn *c);
#define ADMIN_SILENCE_MS 5000                        /* of the bridge, until it is said */
const char *admin_not_ready(const struct worker *w); /* NULL: it is ready */

/* metrics.c: of the whole family, in Prometheus' text format. The caller's; NULL: no memory. */
char *metrics_text(const struct worker *w, size_t *len);

/* live.c */
/* /status.json. The caller's; NULL: no memory. */
char *live_status(const struct worker *w, size_t *len);
/* The upgrade on /live. False: c is gone. */
bool live_open(struct conn *c);
void live_forget(const struct conn *c);
void live_beat(struct worker *w); /* each second */

#endif
