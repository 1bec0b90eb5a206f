/*
 * reread: one message from an earlier mark, for a connection that has fallen behind the others of
 * its user.
 */
#include <stdlib.h>
#include "parts.h"

static void unlink_from_queue(struct reread *r)
{
	struct reread **p = &r->q->rereads;

	while (*p != r)
		p = &(*p)->next;
	*p = r->next;
}

/* Its get is left to itself. */
static void stop(struct reread *r)
{
	if (r->get) {
		r->get->q = NULL;
		r->get->reread = NULL;
		r->get = NULL;
	}
	if (r->job.state != JOB_FLYING)
		job_move(r->q->b, &r->job, JOB_IDLE);
}

static void finish(struct reread *r, struct broker_message *m, bool failed)
{
	struct broker_queue *q = r->q;
	void *tag = r->tag;

	stop(r);
	unlink_from_queue(r);
	free(r);
	q->b->ev->reread(q->owner, tag, m, failed);
}

/* Something that was given, and is not confirmed by all, lies above: "none" may be a lagging
 * replica's. */
static bool none_is_doubtful(const struct broker_queue *q, const struct reread *r)
{
	const struct seqs *s = q->seqs;

	if (!q->b->replicated)
		return false; /* another gateway had it removed */
	return q->unknown > r->after ||
	       (s && s->n > s->doomed && seq_of(s->v[s->n - 1]) > r->after);
}

void reread_reply(struct broker_queue *q, struct reread *r, struct wire_event *e, uint64_t from)
{
	struct broker *b = q->b;

	r->get = NULL;
	job_move(b, &r->job, JOB_IDLE);
	if (e && e->m.seq >= from && e->m.seq > q->confirmed) {
		if (e->m.seq <= q->head)
			finish(r, &e->m, false);
		else
			finish(r, NULL, false);
	} else if (e && e->m.seq >= from) { /* on its way out */
		r->after = e->m.seq;
		job_move(b, &r->job, JOB_URGENT);
	} else if (e && e->status == 404) {
		if (none_is_doubtful(q, r) && ++r->job.tries < NONE_TRIES)
			job_move(b, &r->job, r->job.tries < NONE_SOON_TRIES ? JOB_SOON : JOB_LATER);
		else
			finish(r, NULL, false);
	} else {
		finish(r, NULL, true);
	}
	if (e)
		broker_message_unref(&e->m);
}

/* Those in flight end with their requests. */
void reread_session_lost(struct broker_queue *q)
{
	for (struct reread *r = q->rereads; r; r = r->next)
		if (r->job.state != JOB_FLYING)
			job_move(q->b, &r->job, JOB_FAILED);
	if (q->rereads)
		broker_defer(q->b);
}

void reread_run_failed(struct broker *b)
{
	struct job *j, *last = TAILQ_LAST(&b->jobs[JOB_FAILED], job_list);
	bool more = last;

	/* The callee may ask again at once: that is for the next time. */
	while (more && (j = TAILQ_FIRST(&b->jobs[JOB_FAILED]))) {
		more = j != last;
		finish((struct reread *)(void *)j, NULL, true);
	}
}

void reread_drop_all(struct broker_queue *q)
{
	struct reread *r;

	while ((r = q->rereads)) {
		stop(r);
		q->rereads = r->next;
		free(r);
	}
}

void broker_queue_reread(struct broker_queue *q, uint64_t after, void *tag)
{
	struct broker *b = q->b;
	struct reread *r = calloc(1, sizeof(*r));

	if (!r) {
		/* Without memory there is nothing to remember the tag by: the process cannot go on
		 * honestly. */
		log_error("no memory for a reread");
		abort();
	}
	r->job.reread = true;
	r->q = q;
	r->tag = tag;
	r->after = after;
	r->next = q->rereads;
	q->rereads = r;
	if (b->state != BROKER_LIVE) {
		job_move(b, &r->job, JOB_FAILED);
		broker_defer(b);
		return;
	}
	job_move(b, &r->job, JOB_URGENT);
	feed_pump(b);
}

void broker_queue_forget(struct broker_queue *q, void *tag)
{
	struct reread **p = &q->rereads, *r;

	while ((r = *p)) {
		if (r->tag != tag) {
			p = &r->next;
			continue;
		}
		stop(r);
		*p = r->next;
		free(r);
	}
}
