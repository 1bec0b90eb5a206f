/*
 * query: questions of workers to services. They are nobody's messages: what is lost with this
 * process, the worker asks again.
 */
#include <stdlib.h>
#include <string.h>

#include <wsgate/log.h>

#include "bridge.h"

#define LATE_MS 200
#define QUERIES_MAX 4096  /* under way, of all workers, */
#define QUERIES_EACH 1024 /* and of one service: one that does not answer is not to stop others */

struct query {
	struct query *next, *prev; /* in b->queries, or (next alone) in b->unheard */
	uint64_t generation, stamp;
	uint16_t slot;
	uint16_t answer; /* enum down_answer */
	uint8_t service; /* its place in b->asked */
	size_t len;
	char *data; /* owned: what was said */
};

static bool query_tell(struct bridge *b, const struct query *q)
{
	struct slot *s = &b->slots[q->slot];

	/* Its worker is dead, and so is who waited. */
	if (!s->used || q->generation >> 32 != atomic_load(&s->words->generation))
		return true;
	return slots_put_answer(
		s, q->generation, q->stamp, (enum down_answer)q->answer, q->data, q->len);
}

static void query_free(struct query *q)
{
	free(q->data);
	free(q);
}

static void query_end(struct bridge *b, struct query *q)
{
	if (query_tell(b, q)) {
		query_free(q);
		return;
	}
	q->next = b->unheard;
	b->unheard = q;
}

static void query_unlink(struct bridge *b, struct query *q)
{
	if (q->prev)
		q->prev->next = q->next;
	else
		b->queries = q->next;
	if (q->next)
		q->next->prev = q->prev;
	b->nqueries--;
	b->asked[q->service]--;
}

/* Two services that share one share their fate, too. */
static uint8_t query_place(const struct identity *id)
{
	uint32_t h = 0;

	for (size_t i = 0; i < id->service_len; i++)
		h = h * 31 + (uint8_t)id->service[i];
	return (uint8_t)(h ^ h >> 8);
}

/* Who asks has given up by then; its place is others'. */
static uint64_t query_time(const struct bridge *b, const struct identity *id)
{
	const struct config_auth *a = config_auth_of(b->c, id->service, id->service_len);

	return LATE_MS + (a ? a->timeout : 0); /* none: not any more, since a reload */
}

static void query_ask(struct bridge *b, struct query *q, const struct up_view *v)
{
	char *text = strndup((const char *)v->data, v->r.len);
	struct bstream *s = streams_of(b, &v->id);

	q->next = b->queries;
	if (q->next)
		q->next->prev = q;
	b->queries = q;
	b->nqueries++;
	q->service = query_place(&v->id);
	b->asked[q->service]++;
	if (text && s && b->nqueries <= QUERIES_MAX && b->asked[q->service] <= QUERIES_EACH &&
		broker_ask(s->broker, v->id.service, v->id.service_len, text, query_time(b, &v->id),
			q)) {
		free(text);
		return;
	}
	free(text);
	query_unlink(b, q);
	q->answer = DOWN_NOT_NOW;
	query_end(b, q);
}

void query_take(const struct up_source *src, const struct up_view *v)
{
	struct bridge *b = src->b;
	struct query *q;

	if (src->stale >= 0 || !b->slots[src->slot].used)
		return; /* of a master that is dead: nobody waits */
	q = calloc(1, sizeof(*q));
	if (!q)
		return; /* its time will be over */
	q->generation = v->r.generation;
	q->stamp = v->r.stamp;
	q->slot = src->slot;
	query_ask(b, q, v);
}

void query_answered(void *arg, void *tag, enum broker_answer a, const char *data, size_t len)
{
	static const enum down_answer answers[] = {
		[BROKER_ANSWERED] = DOWN_ANSWERED,
		[BROKER_NOBODY] = DOWN_NOBODY,
		[BROKER_NOT_ALLOWED] = DOWN_NOT_ALLOWED,
		[BROKER_NOT_NOW] = DOWN_NOT_NOW,
	};
	struct bridge *b = ((struct bstream *)arg)->b;
	struct query *q = tag;

	query_unlink(b, q);
	q->answer = (uint16_t)answers[a];
	if (a == BROKER_ANSWERED && len > DOWN_ANSWER_MAX) {
		q->answer = DOWN_TOO_LONG;
	} else if (a == BROKER_ANSWERED) {
		q->data = malloc(len + 1);
		q->len = q->data ? len : 0; /* without memory: an answer that makes no sense */
		if (q->len)
			memcpy(q->data, data, len);
	}
	query_end(b, q);
}

/* There may be room now. */
void query_tick(struct bridge *b)
{
	struct query *q = b->unheard, *next;

	b->unheard = NULL;
	for (; q; q = next) {
		next = q->next;
		query_end(b, q);
	}
}

void query_stop(struct bridge *b)
{
	struct query *q, *next;

	for (q = b->queries; q; q = next) {
		next = q->next;
		query_free(q);
	}
	for (q = b->unheard; q; q = next) {
		next = q->next;
		query_free(q);
	}
}
