/*
 * family: the policy: who is started, when a dead child comes back, what the bridge must know of
 * the workers, and in which order all of them end. Room: master.
 *
 * Callbacks only note what happened; one function, run by the timer, does all that is due.
 */
#ifndef WSGATE_MASTER_FAMILY_H
#define WSGATE_MASTER_FAMILY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <wsgate/config.h>
#include <wsgate/heritage.h>
#include <wsgate/proto.h>
#include <wsgate/tickets.h>

#include "child.h"
#include "listen.h"
#include "news.h"
#include "segment.h"

struct event;
struct vault;
struct event_base;

enum family_state { FAMILY_RUNS, FAMILY_STOPS_WORKERS, FAMILY_STOPS_BRIDGE, FAMILY_ENDED };

struct family {
	const struct config *config; /* all of these are borrowed */
	const char *file;            /* where it is from, for workers to name */
	struct event_base *base;
	struct listen_set *listeners;
	struct segment *segment;
	struct vault *keys; /* for workers */
	struct news news;
	struct trace_order
		trace; /* whose messages are followed; who changes it adds to news.trace */
	struct proto_drain drain; /* the same with news.drain */
	struct proto_deeds deeds; /* workers know them; who changes them adds to news.deeds */
	int tls;                  /* owned: what its tls sections name (bundle.h); -1: none */
	struct tickets tickets;
	uint64_t tickets_ms; /* when they were last rotated; 0: never */
	/* Called in a new child: gives up what only the master may hold, all events of base among
	 * it. */
	void (*forget)(void *arg);
	void (*ready)(void *arg);  /* once: all serve */
	void (*ended)(void *arg);  /* once: no child is left */
	void (*looked)(void *arg); /* something has happened, and all that is due was done */
	void (*closed)(void *arg, const struct proto_closed *c); /* the bridge says so */
	void *arg;
	void (*other_ended)(void *arg, pid_t pid, int status); /* no child of the family */
	bool background;                                       /* children give up standard error */
	/* While a program is replaced; who changes the last two adds to news.listeners. */
	bool hold_bridge, hold_workers; /* none is started */
	bool hold_clients, hold_admin;  /* workers have no such listeners */
	bool restart;                   /* a stop: clients are to come back at once */

	unsigned nslots; /* that were ever used */
	unsigned active; /* that are to have a worker: 0 … active-1 */
	struct child bridge;
	struct child workers[HERITAGE_SLOT_MAX];
	int bells[HERITAGE_SLOT_MAX][2]; /* owned; 0: the worker's end, 1: the bridge's */
	int lent_to[HERITAGE_SLOT_MAX];  /* the slot whose worker has this one's listeners; -1: its
					    own */
	size_t stale_index[HERITAGE_STALE_MAX]; /* heritage.stale of the bridge that runs →
						   segment's */
	size_t nstale;
	struct event *timer; /* owned */
	uint64_t timer_ms;   /* when it is due; 0: never */
	enum family_state state;
	bool was_ready, hurry, killed;
	bool woken;           /* something happened: look again */
	bool retry;           /* something could not be sent: again soon */
	bool stuck;           /* a child survived SIGKILL: the segment may be in use */
	int status;           /* exit status of the whole */
	uint64_t deadline_ms; /* of this state of the stop: SIGKILL */
	uint64_t drain_end_ms;
	uint64_t refuse_ms; /* a stop: when clients are refused at listeners without a worker; 0:
			       not, or not any more */
	bool refuses;       /* they are: next at all of them */
	char why[PROTO_TEXT_MAX]; /* status other than 0: one line */
};

/* Makes the bells and starts all. The caller has set everything above nslots. 0; or -1 with errno.
 */
int family_start(struct family *f, unsigned nslots) __attribute__((warn_unused_result));
/* More slots, which the segment has already; handover_resize() puts them to use. 0; or -1 with
 * errno, and nothing has changed. */
int family_grow(struct family *f, unsigned nslots) __attribute__((warn_unused_result));
/* One child is to end, and the others go on; a worker's clients come back at once. */
void family_dismiss(struct child *c, uint64_t drain_ms, uint64_t now);
uint64_t family_clock(void);
/* Does all that is due, soon. */
void family_wake(struct family *f);
/*
 * After delay_ms, in which all goes on but /readyz says no: workers first, then the bridge, which
 * has at least two seconds to store what is in the rings. hurry: nobody gets more than a moment,
 * and what is in the rings stays in the segment; also after a first call.
 */
void family_stop(struct family *f, uint64_t delay_ms, uint64_t drain_ms, bool hurry);
/* The same in a hurry, and `why` is the reason for exit status 2. */
void family_fail(struct family *f, const char *why);
/* After SIGCHLD. */
void family_reap(struct family *f);
bool family_stopping(const struct family *f);
/* Since then the master itself may have stood still: if so, the children's silence means nothing.
 */
void family_stood(struct family *f, uint64_t since_ms, uint64_t now);
/* In a new child, after event_reinit(): frees what hangs on the master's base. */
void family_forget(struct family *f);
/* Closes and frees what the family owns; kills nobody. */
void family_free(struct family *f);
/* What a child of the family gets; for child.c. */
void family_heritage(struct family *f, const struct child *c, struct heritage *h);

#endif
