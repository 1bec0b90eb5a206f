/*
 * yard_wait: see yard.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "yard.h"

#define SUBJECT_MAX 256
#define LATE 100000 /* microseconds; the last one: and more */

/* ---- how late live copies come ---- */

struct listen {
	uint64_t received, total;
	uint32_t late[LATE];
	double first, last;
	struct yard_ending ending;
};

static void on_copy(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *arg)
{
	struct listen *l = arg;
	double now = yard_now(), us = 0;

	(void)nc;
	(void)sub;
	if (natsMsg_GetDataLength(msg) >= YARD_STAMP)
		us = (now - strtod(natsMsg_GetData(msg) + YARD_NUMBER, NULL) / 1e9) * 1e6;
	l->late[us < 0 ? 0 : us < LATE - 1 ? (unsigned)us : LATE - 1]++;
	natsMsg_Destroy(msg);
	l->last = now;
	if (!l->received++)
		l->first = now;
	if (l->received == l->total)
		yard_ending_tell(&l->ending);
}

static unsigned late(const struct listen *l, unsigned percent)
{
	uint64_t seen = 0;
	unsigned k;

	for (k = 0; k + 1 < LATE; k++) {
		seen += l->late[k];
		if (seen * 100 >= l->received * percent)
			break;
	}
	return k;
}

int yard_listen(struct yard *y)
{
	static struct listen l;
	natsSubscription **subs = calloc(y->users, sizeof(*subs));
	char subject[SUBJECT_MAX];

	if (!subs)
		yard_fatal("memory", NATS_NO_MEMORY);
	yard_ending_init(&l.ending);
	l.total = (uint64_t)y->users * y->messages;
	for (unsigned u = 0; u < y->users; u++) {
		snprintf(subject, sizeof(subject), "%slive.%s.%u", y->prefix, y->service, u);
		subs[u] = yard_subscribe(y, subject, on_copy, &l);
	}
	yard_flushed(y);
	yard_ending_await(&l.ending, y);
	yard_say("{\"event\": \"done\", \"received\": %" PRIu64
		 ", \"first\": %.6f, \"last\": %.6f, \"late\": [%u, %u, %u, %u]}\n",
		l.received, l.first, l.last, late(&l, 50), late(&l, 90), late(&l, 99),
		late(&l, 100));
	yard_await_input(y);
	yard_unsubscribe(subs, y->users);
	natsConnection_Close(y->nc);
	return l.received == l.total ? 0 : 1;
}

/* ---- what waits for absent users ---- */

/* Callbacks have all but `ending` to themselves. */
struct fetch {
	struct yard *y;
	uint32_t next_user;
	uint64_t received, removed, flying, doomed;
	char gets[SUBJECT_MAX], deletes[SUBJECT_MAX], inbox[SUBJECT_MAX], gone[SUBJECT_MAX];
	double first, last;
	struct yard_ending ending;
};

static void ask_next(struct fetch *f, uint32_t user, uint64_t from)
{
	char body[SUBJECT_MAX], reply[SUBJECT_MAX + 16];
	natsStatus s;
	int n;

	n = snprintf(body, sizeof(body), "{\"seq\":%" PRIu64 ",\"next_by_subj\":\"%s.recv.%s.%u\"}",
		from, f->y->prefix, f->y->service, user);
	snprintf(reply, sizeof(reply), "%s.%u", f->inbox, user);
	s = natsConnection_PublishRequest(f->y->nc, f->gets, reply, body, n);
	if (s != NATS_OK)
		yard_fatal("get", s);
}

static void remove_one(struct fetch *f, uint64_t seq)
{
	char body[64];
	natsStatus s;
	int n = snprintf(body, sizeof(body), "{\"seq\":%" PRIu64 ",\"no_erase\":true}", seq);

	s = natsConnection_PublishRequest(f->y->nc, f->deletes, f->gone, body, n);
	if (s != NATS_OK)
		yard_fatal("removal", s);
	f->doomed++;
}

static void look_at_end(struct fetch *f)
{
	if (!f->flying && f->next_user == f->y->users && f->removed == f->doomed)
		yard_ending_tell(&f->ending);
}

static void on_got(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *arg)
{
	struct fetch *f = arg;
	uint32_t user = (uint32_t)strtoul(strrchr(natsMsg_GetSubject(msg), '.') + 1, NULL, 10);
	const char *text = NULL;

	(void)nc;
	(void)sub;
	if (natsMsgHeader_Get(msg, "Nats-Sequence", &text) == NATS_OK) {
		uint64_t seq = strtoull(text, NULL, 10);

		f->last = yard_now();
		f->received++;
		remove_one(f, seq);
		ask_next(f, user, seq + 1);
	} else if (f->next_user < f->y->users) {
		ask_next(f, f->next_user++, 1);
	} else {
		f->flying--;
	}
	natsMsg_Destroy(msg);
	look_at_end(f);
}

static void on_gone(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *arg)
{
	struct fetch *f = arg;

	(void)nc;
	(void)sub;
	natsMsg_Destroy(msg);
	f->removed++;
	look_at_end(f);
}

int yard_fetch(struct yard *y)
{
	struct fetch f = {.y = y};
	natsInbox *inbox = NULL;
	natsSubscription *subs[2];
	char subject[SUBJECT_MAX + 2];
	uint32_t first;

	if (natsInbox_Create(&inbox) != NATS_OK)
		yard_fatal("memory", NATS_NO_MEMORY);
	yard_ending_init(&f.ending);
	snprintf(f.gets, sizeof(f.gets), "$JS.API.DIRECT.GET.%s", y->stream);
	snprintf(f.deletes, sizeof(f.deletes), "$JS.API.STREAM.MSG.DELETE.%s", y->stream);
	snprintf(f.inbox, sizeof(f.inbox), "%s.g", inbox);
	snprintf(f.gone, sizeof(f.gone), "%s.r", inbox);
	natsInbox_Destroy(inbox);
	snprintf(subject, sizeof(subject), "%s.*", f.inbox);
	subs[0] = yard_subscribe(y, subject, on_got, &f);
	subs[1] = yard_subscribe(y, f.gone, on_gone, &f);
	yard_flushed(y);
	if (!yard_await_line(y))
		return 1;
	f.first = yard_now();
	/* From the first one on f is the callbacks'. */
	first = y->users < y->window ? y->users : y->window;
	f.next_user = first;
	f.flying = first;
	for (uint32_t user = 0; user < first; user++)
		ask_next(&f, user, 1);
	yard_ending_await(&f.ending, y);
	yard_say("{\"event\": \"done\", \"received\": %" PRIu64 ", \"removed\": %" PRIu64
		 ", \"first\": %.6f, \"last\": %.6f, \"removed_at\": %.6f}\n",
		f.received, f.removed, f.first, f.last, yard_now());
	yard_await_input(y);
	natsConnection_Close(y->nc);
	natsSubscription_Destroy(subs[0]);
	natsSubscription_Destroy(subs[1]);
	return f.received == (uint64_t)y->users * y->messages && f.removed == f.received ? 0 : 1;
}
