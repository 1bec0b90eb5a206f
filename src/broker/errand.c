/*
 * errand: the commands of the loop, executed on the broker thread; or on the loop's own, one by
 * one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "carrier_parts.h"

#define FLUSH_MS 1 /* natsConnection_FlushTimeout() waits at most so long for its pong */
#define MEASURE_MS 1000
#define FLUSH_PAUSE_MAX 64 /* batches that do without, after pongs that came too late */

struct command *command_keep(const struct command *cmd)
{
	size_t slen = strlen(cmd->subject) + 1, blen = strlen(cmd->body) + 1;
	struct command *kept = malloc(sizeof(*kept) + slen + blen);
	char *text;

	if (!kept)
		return NULL;
	*kept = *cmd;
	text = (char *)(kept + 1);
	kept->subject = memcpy(text, cmd->subject, slen);
	kept->body = memcpy(text + slen, cmd->body, blen);
	return kept;
}

void command_free(struct command *cmd)
{
	natsMsg_Destroy(cmd->msg);
	free(cmd);
}

void errand_drop(struct command *cmd)
{
	struct command *next;

	for (; cmd; cmd = next) {
		next = cmd->next;
		command_free(cmd);
	}
}

static struct sub *sub_place(struct carrier *k, uint64_t key)
{
	size_t i = (size_t)(key >> 32), n = k->nsubs ? k->nsubs : 256;
	struct sub *subs;

	if (i < k->nsubs)
		return &k->subs[i];
	while (n <= i)
		n *= 2;
	subs = realloc(k->subs, n * sizeof(*subs));
	if (!subs)
		return NULL;
	memset(subs + k->nsubs, 0, (n - k->nsubs) * sizeof(*subs));
	k->subs = subs;
	k->nsubs = n;
	return &subs[i];
}

static natsStatus run_subscribe(struct carrier *k, const struct command *cmd)
{
	struct sub *p = sub_place(k, cmd->key);
	natsStatus s;

	if (!p)
		return NATS_NO_MEMORY;
	natsSubscription_Destroy(p->sub);
	p->sub = NULL;
	s = natsConnection_Subscribe(
		&p->sub, k->nc[MAIN], cmd->subject, hookup_on_live, hookup_closure(k, cmd->key));
	p->tag = (uint32_t)cmd->key;
	if (s == NATS_OK)
		s = natsSubscription_SetPendingLimits(p->sub, -1, -1);
	return s;
}

static void run_unsubscribe(struct carrier *k, const struct command *cmd)
{
	size_t i = (size_t)(cmd->key >> 32);

	if (i >= k->nsubs || k->subs[i].tag != (uint32_t)cmd->key)
		return;
	natsSubscription_Destroy(k->subs[i].sub);
	k->subs[i].sub = NULL;
}

static natsStatus run_ask(struct carrier *k, const struct command *cmd, enum wire_replies replies,
	const char *subject)
{
	char inbox[WIRE_INBOX_MAX];

	snprintf(inbox, sizeof(inbox), "%s.%c.%016llx", k->inbox, WIRE_LETTERS[replies],
		(unsigned long long)cmd->key);
	return natsConnection_PublishRequest(k->nc[reply_connection(replies)], subject, inbox,
		cmd->body, (int)strlen(cmd->body));
}

static natsStatus run_delete(struct carrier *k, const struct command *cmd)
{
	if (cmd->key != 0)
		return run_ask(k, cmd, WIRE_DELETES, k->delete_subject);
	return natsConnection_PublishString(
		k->nc[reply_connection(WIRE_DELETES)], k->delete_subject, cmd->body);
}

/* The library refused it; the connection is none the worse. */
static void post_refusal(const struct carrier *k, uint64_t token, unsigned status)
{
	struct wire_event *e = wire_event_new(k->wire, WIRE_REPLY, NULL);

	if (!e)
		return;
	e->key = token;
	e->status = (uint16_t)status;
	wire_post(e);
}

static natsStatus run_publish(struct carrier *k, const struct command *cmd)
{
	natsStatus s = natsConnection_PublishMsg(k->nc[MAIN], cmd->msg);

	if (s == NATS_MAX_PAYLOAD || s == NATS_INVALID_SUBJECT || s == NATS_INVALID_ARG) {
		post_refusal(k, cmd->key, s == NATS_MAX_PAYLOAD ? 413 : 400);
		return NATS_OK;
	}
	return s;
}

natsStatus errand_run_one(struct carrier *k, const struct command *cmd, bool *urgent)
{
	switch ((enum command_kind)cmd->kind) {
	case CMD_SUBSCRIBE:
		return run_subscribe(k, cmd);
	case CMD_UNSUBSCRIBE:
		run_unsubscribe(k, cmd);
		return NATS_OK;
	case CMD_DELETE:
		return run_delete(k, cmd);
	case CMD_GET:
		*urgent = true;
		return run_ask(k, cmd, WIRE_GETS, k->get_subject);
	case CMD_GET_APART:
		*urgent = true;
		/* What a leader answers has no headers of a service's. */
		return run_ask(k, cmd, k->by_leader ? WIRE_GETS : WIRE_OTHERS, k->get_subject);
	case CMD_REQUEST:
		return run_ask(k, cmd, WIRE_OTHERS, cmd->subject);
	case CMD_PUBLISH:
		*urgent = true;
		return run_publish(k, cmd);
	}
	return NATS_OK;
}

static bool ping(struct carrier *k, int ms)
{
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	if (natsConnection_FlushTimeout(k->nc[MAIN], ms) != NATS_OK)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &b);
	atomic_store(&k->rtt_us,
		(uint64_t)((b.tv_sec - a.tv_sec) * 1000000 + (b.tv_nsec - a.tv_nsec) / 1000));
	return true;
}

void errand_measure(struct carrier *k)
{
	(void)ping(k, MEASURE_MS);
}

/*
 * nats.c sends what it has buffered up to 1 ms after the fact: 0.8 ms more for every get and every
 * publish (54 µs against 814 µs, tried). A ping pushes it out; while its pong is awaited, the next
 * commands gather to the next batch. A network slower than that gains nothing by it.
 */
static void push_out(struct carrier *k)
{
	if (k->flush_pause > 0) {
		k->flush_pause--;
		return;
	}
	if (ping(k, FLUSH_MS)) {
		k->flush_late = 0;
		return;
	}
	k->flush_late = k->flush_late > 0 ? k->flush_late * 2 : 1;
	if (k->flush_late > FLUSH_PAUSE_MAX)
		k->flush_late = FLUSH_PAUSE_MAX;
	k->flush_pause = k->flush_late;
}

bool errand_run(struct carrier *k, struct command *cmd)
{
	struct command *next;
	natsStatus s = NATS_OK;
	bool urgent = false;

	for (; cmd && s == NATS_OK; cmd = next) {
		next = cmd->next;
		if (cmd->session == k->session)
			s = errand_run_one(k, cmd, &urgent);
		command_free(cmd);
	}
	errand_drop(cmd);
	if (s != NATS_OK) {
		log_debug("the connection to the broker failed",
			kv_str("why", natsStatus_GetText(s)));
		return false;
	}
	if (urgent)
		push_out(k);
	return true;
}
