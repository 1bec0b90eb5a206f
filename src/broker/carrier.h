/*
 * carrier: the broker thread. Every call of nats.c that can block is made on it: connect, close. It
 * owns the connections, makes new ones again and again. The commands of the loop are executed by
 * the loop itself while the engine drives the connections, for nothing blocks then; else (TLS) by
 * the broker thread, in order.
 */
#ifndef WSGATE_CARRIER_H
#define WSGATE_CARRIER_H

#include <nats/nats.h>
#include <stdbool.h>
#include <stdint.h>
#include <wsgate/config.h>

struct engine;
struct wire_event;

enum command_kind {
	CMD_SUBSCRIBE,
	CMD_UNSUBSCRIBE,
	CMD_GET,
	CMD_GET_APART,
	CMD_DELETE,
	CMD_REQUEST,
	CMD_PUBLISH
};

struct command {
	struct command *next;
	natsMsg *msg;     /* PUBLISH: owned */
	uint64_t session; /* it is dropped in any other one */
	uint64_t key;     /* of the subscription, or token of the reply */
	const char *subject, *body;
	uint8_t kind;
};

struct carrier;
/* stream: which of the configuration's; wire: whose events are posted; inbox: the prefix of its
 * reply subjects; the engine stays the caller's. NULL with errno. */
struct carrier *carrier_start(const struct config *c, size_t stream, unsigned wire,
	const char *inbox, struct engine *engine);
/* Asks the thread to end, and carrier_ended() waits until CLOCK_MONOTONIC says so much: one that
 * connects cannot be interrupted. */
void carrier_quit(struct carrier *k);
bool carrier_ended(struct carrier *k, uint64_t until_ms);
/* Ends the thread and frees. What was not executed is dropped. */
void carrier_stop(struct carrier *k);
/* Takes a list of commands. */
void carrier_send(struct carrier *k, struct command *first, struct command *last);
/*
 * A session that is direct is the loop's from WIRE_UP until it gives it back, which it does when it
 * gets WIRE_DOWN. carrier_do() executes a command now, which stays the caller's but for its msg;
 * nothing is written before engine_flush(). carrier_receive() calls fn, which takes it, with each
 * reply that came.
 */
void carrier_do(struct carrier *k, const struct command *cmd);
void carrier_receive(struct carrier *k, void (*fn)(void *arg, struct wire_event *e), void *arg);
void carrier_give_back(struct carrier *k);
/* Ends the session, if one is there; a new one checks everything again. */
void carrier_break(struct carrier *k);
/*
 * Other settings, which are taken over. Those of another era (of other servers; the first is 0) end
 * the session; what concerns the stream is brought to it within the session. The names of stream
 * and subjects are for a process' life.
 */
struct settings;
void carrier_reconfigure(struct carrier *k, struct settings *s, uint32_t era);
uint64_t carrier_rtt(const struct carrier *k);
/* Loop: what was published is not even with the kernel. */
bool carrier_is_full(struct carrier *k);
/* A copy that has its texts with it, and the message; NULL: no memory. */
struct command *command_keep(const struct command *cmd);
void command_free(struct command *cmd);

#endif
