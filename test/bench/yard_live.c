/*
 * yard_live: see yard.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "yard.h"

#define SUBJECT_MAX 256

/*
 * Callbacks have all but `ending` to themselves, as they run on one thread. The sequences to be
 * removed: from at to end in seqs, taken at either side.
 */
struct live {
	struct yard *y;
	uint64_t *seqs, at, end, total;
	uint64_t received, removed, refused;
	unsigned flying;
	char request[SUBJECT_MAX], reply[SUBJECT_MAX];
	double first, last, last_removed;
	struct yard_ending ending;
};

static void remove_some(struct live *l)
{
	while (l->at < l->end && l->flying < l->y->window) {
		uint64_t seq = l->seqs[l->y->newest_first ? --l->end : l->at++];
		char text[64];
		natsStatus s;
		int n;

		n = snprintf(text, sizeof(text), "{\"seq\":%" PRIu64 ",\"no_erase\":true}", seq);
		s = natsConnection_PublishRequest(l->y->nc, l->request, l->reply, text, n);
		if (s != NATS_OK)
			yard_fatal("removal", s);
		l->flying++;
	}
}

static void on_copy(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *arg)
{
	struct live *l = arg;
	const char *seq = NULL;

	(void)nc;
	(void)sub;
	l->last = yard_now();
	if (!l->received++)
		l->first = l->last;
	if (natsMsgHeader_Get(msg, "Nats-Sequence", &seq) == NATS_OK && l->received <= l->total)
		l->seqs[l->end++] = strtoull(seq, NULL, 10);
	natsMsg_Destroy(msg);
	remove_some(l);
}

static void on_removed(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *arg)
{
	struct live *l = arg;

	(void)nc;
	(void)sub;
	l->flying--;
	if (natsMsg_GetDataLength(msg) > 0 && strstr(natsMsg_GetData(msg), "\"success\":true"))
		l->removed++;
	else if (!l->refused++)
		fprintf(stderr, "yard: not removed: %.*s\n", natsMsg_GetDataLength(msg),
			natsMsg_GetData(msg));
	natsMsg_Destroy(msg);
	remove_some(l);
	if (l->removed + l->refused == l->total) {
		l->last_removed = yard_now();
		yard_ending_tell(&l->ending);
	}
}

int yard_live(struct yard *y)
{
	struct live l = {.y = y, .total = (uint64_t)y->users * y->messages};
	natsSubscription **subs = calloc(y->users + 1, sizeof(*subs));
	natsInbox *inbox = NULL;
	char subject[SUBJECT_MAX];
	unsigned u;

	yard_ending_init(&l.ending);
	l.seqs = calloc(l.total, sizeof(*l.seqs));
	if (!subs || !l.seqs || natsInbox_Create(&inbox) != NATS_OK)
		yard_fatal("memory", NATS_NO_MEMORY);
	snprintf(l.request, sizeof(l.request), "$JS.API.STREAM.MSG.DELETE.%s", y->stream);
	snprintf(l.reply, sizeof(l.reply), "%s", inbox);
	natsInbox_Destroy(inbox);
	subs[y->users] = yard_subscribe(y, l.reply, on_removed, &l);
	for (u = 0; u < y->users; u++) {
		snprintf(subject, sizeof(subject), "%slive.%s.%u", y->prefix, y->service, u);
		subs[u] = yard_subscribe(y, subject, on_copy, &l);
	}
	yard_flushed(y);
	yard_ending_await(&l.ending, y);
	yard_say("{\"event\": \"done\", \"received\": %" PRIu64 ", \"removed\": %" PRIu64
		 ", \"refused\": %" PRIu64 ", \"first\": %.6f, \"last\": %.6f, "
		 "\"last_removed\": %.6f}\n",
		l.received, l.removed, l.refused, l.first, l.last, l.last_removed);
	yard_await_input(y);
	yard_unsubscribe(subs, y->users + 1);
	natsConnection_Close(y->nc);
	free(l.seqs);
	return l.removed == l.total ? 0 : 1;
}

/* ---- what clients sent ---- */

struct drain {
	uint64_t received, total;
	double first, last;
	struct yard_ending ending;
};

static void on_sent(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *arg)
{
	struct drain *d = arg;

	(void)nc;
	(void)sub;
	d->last = yard_now();
	if (!d->received++)
		d->first = d->last;
	natsMsg_Destroy(msg);
	if (d->received == d->total)
		yard_ending_tell(&d->ending);
}

static void drain_say(const struct drain *d, const char *event, double stored)
{
	yard_say("{\"event\": \"%s\", \"received\": %" PRIu64
		 ", \"first\": %.6f, \"last\": %.6f, \"stored\": %.6f}\n",
		event, d->received, d->first, d->last, stored);
}

int yard_drain(struct yard *y)
{
	struct drain d = {.total = (uint64_t)y->users * y->messages};
	natsSubscription *sub;
	char subject[SUBJECT_MAX];
	double stored = 0;
	int rc;

	yard_ending_init(&d.ending);
	snprintf(subject, sizeof(subject), "%s.send.%s.>", y->prefix, y->service);
	sub = yard_subscribe(y, subject, on_sent, &d);
	yard_flushed(y);
	yard_ending_await(&d.ending, y);
	rc = yard_await_count(y, d.total, &stored);
	drain_say(&d, "done", stored);
	yard_await_input(y);
	natsConnection_Close(y->nc); /* no callback after this */
	natsSubscription_Destroy(sub);
	drain_say(&d, "end", stored);
	return rc ? 1 : 0;
}
