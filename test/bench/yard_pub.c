/*
 * yard_pub: see yard.h. Messages in turn over the users, acknowledgements in flight. nats.c's own
 * js_PublishAsync tells nothing of an acknowledgement but errors; here each is counted, so that a
 * user can be held to one message in flight.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "yard.h"

#define SUBJECT_MAX 256
#define SILENCE_MS 10000 /* no acknowledgement for so long: something is broken */

struct pub {
	struct yard *y;
	natsSubscription *acks;
	natsInbox *inbox; /* the user's number is appended */
	char **subjects, **replies;
	unsigned *sent; /* of each user */
	uint32_t *turn; /* users that may publish, a ring of y->users */
	size_t turn_at, turn_len;
	char *text;
	uint64_t published, stored, refused;
	unsigned flying;
	double first, last;
};

static void *must(void *p)
{
	if (!p)
		yard_fatal("memory", NATS_NO_MEMORY);
	return p;
}

static void turn_push(struct pub *p, uint32_t user)
{
	p->turn[(p->turn_at + p->turn_len++) % p->y->users] = user;
}

static uint32_t turn_pop(struct pub *p)
{
	uint32_t user = p->turn[p->turn_at];

	p->turn_at = (p->turn_at + 1) % p->y->users;
	p->turn_len--;
	return user;
}

static void prepare(struct pub *p, const char *kind)
{
	struct yard *y = p->y;
	char name[SUBJECT_MAX];
	natsStatus s;
	uint32_t u;

	p->subjects = must(calloc(y->users, sizeof(*p->subjects)));
	p->replies = must(calloc(y->users, sizeof(*p->replies)));
	p->sent = must(calloc(y->users, sizeof(*p->sent)));
	p->turn = must(calloc(y->users, sizeof(*p->turn)));
	p->text = must(malloc(y->size + 1));
	s = natsInbox_Create(&p->inbox);
	if (s != NATS_OK)
		yard_fatal("inbox", s);
	for (u = 0; u < y->users; u++) {
		snprintf(name, sizeof(name), "%s.%s.%s.%u", y->prefix, kind, y->service, u);
		p->subjects[u] = must(strdup(name));
		snprintf(name, sizeof(name), "%s.%u", p->inbox, u);
		p->replies[u] = must(strdup(name));
		turn_push(p, u);
	}
	snprintf(name, sizeof(name), "%s.*", p->inbox);
	s = natsConnection_SubscribeSync(&p->acks, y->nc, name);
	if (s == NATS_OK)
		s = natsSubscription_SetPendingLimits(p->acks, -1, -1);
	if (s != NATS_OK)
		yard_fatal("subscription", s);
}

static void forget(struct pub *p)
{
	uint32_t u;

	for (u = 0; u < p->y->users; u++) {
		free(p->subjects[u]);
		free(p->replies[u]);
	}
	free(p->subjects);
	free(p->replies);
	free(p->sent);
	free(p->turn);
	free(p->text);
	natsInbox_Destroy(p->inbox);
	natsSubscription_Destroy(p->acks);
}

/* As a gateway does: what it is, whose, and by what it is stored once. */
static natsStatus publish_headers(struct pub *p, uint32_t user)
{
	natsMsg *m = NULL;
	char id[96];
	natsStatus s =
		natsMsg_Create(&m, p->subjects[user], p->replies[user], p->text, (int)p->y->size);

	snprintf(id, sizeof(id), "0123456789abcdef0123456789abcdef-0-1-0-%" PRIx64,
		p->published * 256);
	if (s == NATS_OK)
		s = natsMsgHeader_Set(m, "Ws-Type", "text");
	if (s == NATS_OK)
		s = natsMsgHeader_Set(m, "Ws-Conn", "0123456789abcdef");
	if (s == NATS_OK)
		s = natsMsgHeader_Set(m, "Nats-Msg-Id", id);
	if (s == NATS_OK)
		s = natsConnection_PublishMsg(p->y->nc, m);
	natsMsg_Destroy(m);
	return s;
}

static void publish(struct pub *p, uint32_t user)
{
	struct yard *y = p->y;
	natsStatus s;
	int n;

	n = snprintf(p->text, y->size + 1, "%0*u ", YARD_NUMBER - 1, p->sent[user]++);
	if (y->size >= YARD_STAMP)
		n += snprintf(p->text + n, y->size + 1 - (size_t)n, "%0*.0f ", YARD_NUMBER - 1,
			yard_now() * 1e9);
	memset(p->text + n, 'x', y->size - (size_t)n);
	s = y->headers ? publish_headers(p, user)
		       : natsConnection_PublishRequest(
				 y->nc, p->subjects[user], p->replies[user], p->text, (int)y->size);
	if (s != NATS_OK)
		yard_fatal("publish", s);
	p->published++;
	p->flying++;
	if (!y->one_per_user && !y->drawn && p->sent[user] < y->messages)
		turn_push(p, user);
}

static void acknowledged(struct pub *p, natsMsg *msg)
{
	const char *subject = natsMsg_GetSubject(msg), *text = natsMsg_GetData(msg);
	uint32_t user = (uint32_t)strtoul(strrchr(subject, '.') + 1, NULL, 10);

	p->flying--;
	if (natsMsg_GetDataLength(msg) > 0 && strstr(text, "\"seq\"") &&
		!strstr(text, "\"error\"")) {
		p->stored++;
	} else if (!p->refused++) {
		fprintf(stderr, "yard: refused: %.*s\n", natsMsg_GetDataLength(msg), text);
	}
	if (p->y->one_per_user && p->sent[user] < p->y->messages)
		turn_push(p, user);
}

static int report(struct pub *p)
{
	struct yard *y = p->y;
	double empty = 0;
	int rc = p->refused || p->stored != p->published ? 1 : 0;

	if (y->await_empty && yard_await_count(y, 0, &empty))
		rc = 1;
	yard_say("{\"event\": \"done\", \"published\": %" PRIu64 ", \"stored\": %" PRIu64
		 ", \"refused\": %" PRIu64 ", \"first\": %.6f, \"last\": %.6f, \"empty\": %.6f}\n",
		p->published, p->stored, p->refused, p->first, p->last, rc ? 0 : empty);
	return rc;
}

/* False: nobody's turn. */
static bool next_user(struct pub *p, uint32_t *user)
{
	if (p->y->drawn) {
		*user = (uint32_t)random() % p->y->users;
		return true;
	}
	if (!p->turn_len)
		return false;
	*user = turn_pop(p);
	return true;
}

/* Is it time for the next one? */
static bool due(const struct pub *p)
{
	return !p->y->rate || yard_now() >= p->first + (double)p->published / (double)p->y->rate;
}

int yard_pub(struct yard *y, const char *kind)
{
	uint64_t total = y->drawn ? y->drawn : (uint64_t)y->users * y->messages;
	uint32_t user;
	struct pub p = {.y = y};
	int rc;

	prepare(&p, kind);
	yard_say("{\"event\": \"ready\"}\n");
	if (!yard_await_line(y)) {
		forget(&p);
		return 1;
	}
	p.first = yard_now();
	while (p.stored + p.refused < total) {
		natsMsg *msg = NULL;
		natsStatus s;

		while (p.flying < y->window && p.published < total && due(&p) &&
			next_user(&p, &user))
			publish(&p, user);
		s = natsSubscription_NextMsg(&msg, p.acks, y->rate ? 1 : SILENCE_MS);
		if (s == NATS_TIMEOUT && y->rate && yard_now() < y->deadline)
			continue;
		if (s != NATS_OK) {
			fprintf(stderr, "yard: no acknowledgement: %s\n", natsStatus_GetText(s));
			break;
		}
		acknowledged(&p, msg);
		natsMsg_Destroy(msg);
		if (yard_now() > y->deadline)
			break;
	}
	p.last = yard_now();
	rc = report(&p);
	yard_await_input(y);
	forget(&p);
	return rc;
}
