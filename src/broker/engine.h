/*
 * engine: nats.c's sockets on the thread of the event loop, so that a message and the answer to a
 * request cost no threads to be woken. Without TLS alone: there nats.c waits for a socket that is
 * full.
 *
 * A plug is the place of one connection. nats.c's own threads, and the broker thread, call into it
 * from wherever they are; it keeps no lock while nats.c is called.
 */
#ifndef WSGATE_ENGINE_H
#define WSGATE_ENGINE_H

#include <event2/event.h>
#include <nats/nats.h>
#include <stdbool.h>

#define ENGINE_PLUGS 2

struct engine;

/*
 * received: called on the loop when something was read. True: what is there still is read in the
 * same turn. NULL: with errno.
 */
struct engine *engine_new(struct event_base *base, bool (*received)(void *arg), void *arg);
/* Every connection was closed before. */
void engine_free(struct engine *e);
/* Broker thread: a connection that is made with these options is driven here. */
natsStatus engine_use(struct engine *e, unsigned plug, natsOptions *o);
/* Broker thread: the loop does not, and will not, call nats.c for this connection: it may be
 * destroyed. What was buffered is written, as far as the socket takes it. */
void engine_release(struct engine *e, unsigned plug);
/* Loop: writes what was buffered since. */
void engine_flush(struct engine *e);
/* Any thread: more is buffered than the socket takes. */
bool engine_is_full(struct engine *e, unsigned plug);
/* Loop: writes what was buffered, waits up to 200 ms for the server to have read it, and ends all
 * connections, so that nobody waits any more for an answer on one of them. No
 * connection is made any more; what is unread is lost. */
void engine_close(struct engine *e);

#endif
