/*
 * carrier: the broker thread. Every call of nats.c that can block is made on it: connect, publish,
 * subscribe, close. It owns the connections, makes new ones again and again, and executes the
 * commands of the loop in order.
 */
#ifndef WSGATE_CARRIER_H
#define WSGATE_CARRIER_H

#include <nats/nats.h>
#include <stdint.h>
#include <wsgate/config.h>

enum command_kind { CMD_SUBSCRIBE, CMD_UNSUBSCRIBE, CMD_GET, CMD_DELETE, CMD_REQUEST, CMD_PUBLISH };

struct command {
	struct command *next;
	natsMsg *msg;     /* PUBLISH: owned */
	uint64_t session; /* it is dropped in any other one */
	uint64_t key;     /* of the subscription, or token of the reply */
	uint8_t kind;
	uint16_t body; /* offset into text */
	char text[];   /* subject, NUL, body, NUL */
};

struct carrier;
/* inbox: the prefix of this process' reply subjects. NULL with errno. */
struct carrier *carrier_start(const struct config *c, const char *inbox);
/* Ends the thread and frees. What was not executed is dropped. */
void carrier_stop(struct carrier *k);
/* Takes a list of commands. */
void carrier_send(struct carrier *k, struct command *first, struct command *last);
/* Ends the session, if one is there; a new one checks everything again. */
void carrier_break(struct carrier *k);
/*
 * Other settings, which are taken over. Other servers end the session; what concerns the stream is
 * brought to it within the session. The names of stream and subjects are for a process' life.
 */
struct settings;
void carrier_reconfigure(struct carrier *k, struct settings *s);
uint64_t carrier_rtt(const struct carrier *k);
void command_free(struct command *cmd);

#endif
