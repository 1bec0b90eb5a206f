/*
 * heritage: all that a child receives over fork, on one page. Every other descriptor is closed.
 * Room: ipc.
 */
#ifndef WSGATE_HERITAGE_H
#define WSGATE_HERITAGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <wsgate/config.h>
#include <wsgate/proto.h>
#include <wsgate/tickets.h>
#include <wsgate/vault.h>

#define HERITAGE_LISTEN_MAX 32
#define HERITAGE_ADMINS 2 /* by TCP, and a Unix socket */
#define HERITAGE_STALE_MAX 16
#define HERITAGE_SLOT_MAX 256 /* a slot fits into a byte of a connection's id */

struct heritage {
	const struct config *config; /* as of the birth; valid as long as the process */
	pid_t master;                /* getppid() other than this: the master is gone */
	int control;                 /* chan end to the master */
	bool late;   /* the gateway has served before: others do, and what fails may pass */
	int segment; /* descriptor of the shared-memory file (own open file description) */
	struct trace_order trace; /* whose messages are followed */
	unsigned nslots;          /* slots in use: 0 … nslots-1 */

	/* a worker */
	const struct vault *secrets; /* as config */
	const char *file;            /* of the configuration; as config */
	unsigned slot;
	uint64_t generation; /* of this slot's worker, 1, 2, …; one more at each start */
	size_t nlisten;
	int listen[HERITAGE_LISTEN_MAX]; /* this slot's SO_REUSEPORT sockets, non-blocking */
	uint32_t listen_id[HERITAGE_LISTEN_MAX];     /* their names in PROTO_UNLISTEN */
	const char *listen_tls[HERITAGE_LISTEN_MAX]; /* the titles of their tls sections; NULL:
							without TLS */
	int tls; /* the bundle for config (bundle.h); -1: none */
	struct tickets tickets;
	int admin[HERITAGE_ADMINS]; /* shared admin listeners, or -1 */
	uint32_t admin_id[HERITAGE_ADMINS];
	struct proto_deeds deeds;
	struct proto_drain drain;
	int bell; /* chan end to the bridge */

	/* the bridge */
	int bells[HERITAGE_SLOT_MAX];            /* chan ends to the workers, by slot; -1: none */
	uint64_t generations[HERITAGE_SLOT_MAX]; /* of the worker now in each slot; 0: none */
	size_t nstale;
	int stale[HERITAGE_STALE_MAX]; /* segments of dead masters: up records to publish */
	int predecessor; /* index into stale: connections came from there, its marks and stream are
			    ours; -1: none */
};

/* Entry points: they run until the end of the process and return its exit status. */
int worker_main(const struct heritage *h);
int bridge_main(const struct heritage *h);

/* Exit statuses of children, for the master. */
#define CHILD_EXIT_OK 0
#define CHILD_EXIT_FATAL 2 /* PROTO_FATAL was sent: a restart would not help */

#endif
