/*
 * request: see parts.h. A token is a place and a generation: a late reply finds nobody.
 */
#include <stdlib.h>
#include "parts.h"

#define NO_SLOT UINT32_MAX

/* One constant for each kind, so that each list is in the order of its ends; questions have their
 * own. */
static const uint32_t timeout_ms[REQUEST_KINDS] = {
	[REQUEST_GET] = 3000,
	[REQUEST_DELETE] = 5000,
	[REQUEST_PUBLISH] = 5000,
	[REQUEST_ASIDE] = 2000,
	[REQUEST_INFO] = 5000,
	[REQUEST_PROBE] = 2000,
	[REQUEST_HEARD] = 1000,
	[REQUEST_MARCH] = 3000,
	[REQUEST_LOOK] = 1000,
};

void request_init(struct requests *rs)
{
	for (int k = 0; k < REQUEST_KINDS; k++)
		TAILQ_INIT(&rs->waiting[k]);
	rs->free = NO_SLOT;
}

void request_free(struct requests *rs)
{
	free(rs->slots);
	rs->slots = NULL;
}

static bool grow(struct requests *rs)
{
	uint32_t n = rs->nslots ? rs->nslots * 2 : 256;
	struct request_slot *slots = realloc(rs->slots, n * sizeof(*slots));

	if (!slots)
		return false;
	for (uint32_t i = n; i > rs->nslots; i--) {
		slots[i - 1] = (struct request_slot){NULL, 1, rs->free};
		rs->free = i - 1;
	}
	rs->slots = slots;
	rs->nslots = n;
	return true;
}

static void insert(struct request_list *l, struct request *r)
{
	struct request *before = TAILQ_LAST(l, request_list);

	while (before && before->due > r->due)
		before = TAILQ_PREV(before, request_list, link);
	if (before)
		TAILQ_INSERT_AFTER(l, before, r, link);
	else
		TAILQ_INSERT_HEAD(l, r, link);
}

uint64_t request_start(struct broker *b, struct request *r, enum request_kind kind)
{
	return request_start_for(b, r, kind, timeout_ms[kind]);
}

uint64_t request_start_for(struct broker *b, struct request *r, enum request_kind kind, uint64_t ms)
{
	struct requests *rs = &b->requests;
	struct request_slot *s;

	if (rs->free == NO_SLOT && !grow(rs))
		return 0;
	r->slot = rs->free;
	s = &rs->slots[r->slot];
	rs->free = s->next_free;
	s->r = r;
	r->generation = s->generation;
	r->kind = (uint8_t)kind;
	r->due = b->now_ms + ms;
	insert(&rs->waiting[kind], r);
	return request_token(r);
}

uint64_t request_token(const struct request *r)
{
	return (uint64_t)r->generation << 32 | r->slot;
}

void request_end(struct broker *b, struct request *r)
{
	struct requests *rs = &b->requests;
	struct request_slot *s;

	if (r->kind == REQUEST_NONE)
		return;
	s = &rs->slots[r->slot];
	s->r = NULL;
	if (++s->generation == 0)
		s->generation = 1;
	s->next_free = rs->free;
	rs->free = r->slot;
	TAILQ_REMOVE(&rs->waiting[r->kind], r, link);
	r->kind = REQUEST_NONE;
}

void request_goes_on(struct broker *b, struct request *r)
{
	request_wait(b, r, timeout_ms[r->kind]);
}

void request_wait(struct broker *b, struct request *r, uint64_t ms)
{
	struct request_list *l = &b->requests.waiting[r->kind];

	TAILQ_REMOVE(l, r, link);
	r->due = b->now_ms + ms;
	insert(l, r);
}

struct request *request_find(struct broker *b, uint64_t token)
{
	uint32_t slot = (uint32_t)token;

	if (slot >= b->requests.nslots ||
		b->requests.slots[slot].generation != (uint32_t)(token >> 32))
		return NULL;
	return b->requests.slots[slot].r;
}

static struct request *first(struct broker *b, uint64_t due)
{
	for (int k = REQUEST_NONE + 1; k < REQUEST_KINDS; k++) {
		struct request *r = TAILQ_FIRST(&b->requests.waiting[k]);

		if (r && r->due <= due)
			return r;
	}
	return NULL;
}

struct request *request_due(struct broker *b)
{
	return first(b, b->now_ms);
}

struct request *request_take(struct broker *b, enum request_kind *kind)
{
	struct request *r = first(b, UINT64_MAX);

	if (r) {
		*kind = (enum request_kind)r->kind;
		request_end(b, r);
	}
	return r;
}
