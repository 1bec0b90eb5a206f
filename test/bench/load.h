/*
 * load: WebSocket clients by the thousand, for measuring. Shared by the files load*.c alone.
 *
 *	load.c		processes, what is printed
 *	load_setup.c	options
 *	load_child.c	one process: its epoll loop, opening, ending
 *	load_open.c	one connection until it is open
 *	load_conn.c	one connection: reading, writing, what its mode wants
 *	load_tls.c	between a connection and its socket
 *	load_frame.c	frames as a client sees them
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum load_mode { LOAD_IDLE, LOAD_RECV, LOAD_SEND, LOAD_ECHO };

/* Made by load_setup before the first fork, not changed afterwards. */
struct load_setup {
	enum load_mode mode;
	struct sockaddr_in target;
	const char *host; /* borrowed: as it was given, for the Host header */
	const char *service;
	SSL_CTX *tls;     /* NULL: without */
	const char *path; /* borrowed; NULL: each connection has its user's */
	uint32_t first_user;
	uint32_t source;     /* first source address, host order */
	unsigned per_source; /* connections from one source address */
	unsigned count;      /* of connections */
	unsigned seconds;    /* limit for all of it */
	unsigned interval;   /* seconds between two lines of progress; 0: none */
	unsigned opening;    /* handshakes at a time, in one process */
	unsigned window;     /* send: messages between a Ping and its Pong; 0: no Pings */
	bool keep;           /* send: no Close before the end of input */
	uint32_t messages;   /* per connection */
	size_t size;         /* of a message */
	char key[25], accept[29];
};

#define LOAD_LATE 100000 /* the last one: and more */

/* Written by one child, read by the parent after the child's report. Times: monotonic ns. */
struct load_tally {
	uint64_t opened, failed, lost; /* lost: ended without having been asked to */
	uint64_t sent, received, gaps, repeats, bad;
	uint64_t pings;          /* answered */
	uint64_t clean, unclean; /* how connections ended that had been open */
	uint64_t opened_from, opened_to;
	uint64_t first, last;     /* recv: message; send: last clean Close */
	int error;                /* errno of the last one that failed */
	int status;               /* HTTP status of the last one that was refused */
	int close_code;           /* of the last Close that was not 1000 */
	uint32_t late[LOAD_LATE]; /* messages that came so many microseconds after they were sent */
};

/* One byte in the report pipe: */
#define LOAD_READY 'r' /* every connection is open or has failed */
#define LOAD_DONE 'd'  /* all was received, or sent and closed */

uint64_t load_now(void);

/* ---- load_setup ---- */

void load_options(struct load_setup *s, int argc, char **argv);
void load_usage(const char *why) __attribute__((noreturn));

/* ---- load_child ---- */

/* What a child is given. The far ends of start and stop are closed to give the signal. */
struct load_share {
	const struct load_setup *setup;
	struct load_tally *tally;
	unsigned first, step, count; /* users: they come in their order, whoever brings them */
	int start, stop, report;
};

/* Returns when it was stopped, or has nothing more to do. */
void load_child(const struct load_share *share);

/* ---- load_frame ---- */

#define LOAD_NUMBER 20 /* a message begins with its number, so many characters, */
#define LOAD_STAMP 40  /* and then perhaps the time when it was sent, up to here: monotonic ns */

enum load_opcode { LOAD_TEXT = 1, LOAD_BINARY = 2, LOAD_CLOSE = 8, LOAD_PING = 9, LOAD_PONG = 10 };

/* All zero: at the start. */
struct load_parser {
	uint64_t left;  /* of this frame's payload */
	uint64_t total; /* of this message so far */
	uint8_t head[10];
	uint8_t have;   /* bytes of head */
	bool body;      /* the head is complete */
	bool middle;    /* of a message in fragments */
	uint8_t opcode; /* of the message */
	uint8_t kept, numbered;
	uint8_t keep[125]; /* a control frame's payload */
	char number[LOAD_STAMP];
};

/* A control frame, or a message that is complete. */
struct load_event {
	enum load_opcode opcode;
	uint64_t length;
	const uint8_t *payload; /* control frames: all of it; into the parser */
};

/* 1: an event; 0: all is eaten; -1: no server may send that. Moves *data and *len. */
int load_parse(struct load_parser *p, const uint8_t **data, size_t *len, struct load_event *ev);

#define LOAD_HEAD 14 /* the longest head of a frame */
/* Writes a masked frame; returns its length, at most LOAD_HEAD more than len. */
size_t load_frame(uint8_t *to, enum load_opcode op, const void *payload, size_t len);
/* The message `number` of a connection, size bytes. */
void load_message(char *to, size_t size, uint64_t number);

/* ---- load_conn ---- */

enum load_state {
	LOAD_NEW,
	LOAD_CONNECTING,
	LOAD_SECURING,
	LOAD_HANDSHAKE,
	LOAD_OPEN,
	LOAD_CLOSING, /* our Close is sent, nothing may follow it */
	LOAD_GONE,
};

struct load_loop;

struct load_conn {
	struct load_loop *loop;
	int fd;
	enum load_state state;
	SSL *ssl; /* owned; NULL: without */
	uint32_t user;
	uint32_t next;       /* recv: number expected; send: number to be sent */
	uint32_t unanswered; /* send: messages since the last Ping; echo: not back yet */
	bool pinged;         /* send: that Ping has no Pong yet */
	bool finished;       /* recv, echo: had its last message */
	bool out_wanted;
	uint8_t *out; /* owned: what the socket did not take, from out_at on */
	size_t out_at, out_len;
	char *answer; /* owned: the start of the answer to the handshake */
	size_t answered;
	uint64_t since; /* of the handshake */
	struct load_parser in;
};

struct load_loop {
	const struct load_setup *setup;
	struct load_tally *tally;
	int epoll;
	bool started, stopping;
	unsigned opening;  /* now */
	unsigned alive;    /* now open or closing */
	unsigned finished; /* recv: connections that had their last message */
	uint8_t *batch;    /* owned: send's frames before they are written */
	size_t batch_size;
};

void load_conn_event(struct load_conn *c, uint32_t events);
/* send: fills what the window and the socket take. */
void load_conn_fill(struct load_conn *c);
void load_conn_close(struct load_conn *c);
/* Gives it up, whatever its state. */
void load_conn_drop(struct load_conn *c, int error);
/* -1: the connection is gone. */
int load_conn_put(struct load_conn *c, const uint8_t *data, size_t len);
void load_conn_take(struct load_conn *c, const uint8_t *data, size_t len, uint64_t now);
void load_conn_want(struct load_conn *c, bool out);

/* ---- load_open ---- */

static inline bool load_opening(const struct load_conn *c)
{
	return c->state > LOAD_NEW && c->state < LOAD_OPEN;
}

void load_open(struct load_conn *c);
/* Its socket is connected, or could not be. */
void load_open_connected(struct load_conn *c);
/* Its TLS stands, or it has none. */
void load_open_request(struct load_conn *c);
/* Bytes of the answer to the handshake. */
void load_open_answer(struct load_conn *c, const uint8_t *data, size_t len, uint64_t now);

/* ---- load_tls ---- */

/* For all connections. No certificate is checked, no session is resumed. */
SSL_CTX *load_tls_new(void);
/* Begins; goes on when the socket can. */
void load_tls_begin(struct load_conn *c);
void load_tls_go_on(struct load_conn *c);
/* Like send() and recv(), with TLS or without. */
ssize_t load_tls_send(struct load_conn *c, const void *data, size_t len);
ssize_t load_tls_recv(struct load_conn *c, void *to, size_t len);
/* There is more to be read of which no event tells. */
bool load_tls_more(const struct load_conn *c);

#endif
