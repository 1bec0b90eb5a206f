#include <stdlib.h>
#include <string.h>

#include <wsgate/log.h>

#include "bridge.h"

/* ---- users ---- */

struct identity dispatch_identity(const struct buser *u)
{
	const char *service = u->names + 1; /* behind the length byte of the key */

	return (struct identity){service, service + u->service_len, u->service_len, u->user_len};
}

const struct log_field *dispatch_who(const struct identity *who)
{
	static struct log_field f[3];

	f[0] = kv_mem("service", who->service, who->service_len);
	f[1] = kv_mem("user", who->user, who->user_len);
	f[2] = kv_end;
	return f;
}

static const struct log_field *user_who(const struct buser *u)
{
	const struct identity who = dispatch_identity(u);

	return dispatch_who(&who);
}

static struct buser *user_new(struct bridge *b, const struct identity *id)
{
	struct bstream *s = streams_of(b, id);
	struct buser *u =
		calloc(1, offsetof(struct buser, names) + 1 + id->service_len + id->user_len);

	if (!u || !s) {
		free(u);
		return NULL;
	}
	u->s = s;
	u->service_len = (uint8_t)id->service_len;
	u->user_len = (uint8_t)id->user_len;
	u->wanted = true;
	if (table_put(&b->users, u->names, bridge_key(id, u->names), u) < 0) {
		free(u);
		return NULL;
	}
	stat_set(b->shm.bridge->stats.users, table_count(&b->users));
	stat_add(s->words->users, 1);
	return u;
}

static void user_free(struct buser *u)
{
	struct bridge *b = u->s->b;

	if (u->dirty) {
		struct buser **at = &b->dirty;

		while (*at != u)
			at = &(*at)->dirty_next;
		*at = u->dirty_next;
	}
	buffer_drop(u);
	if (b->moving)
		ended_drop(u); /* a successor reads their marks */
	else
		ended_release(u);
	table_del(&b->users, u->names, 1u + u->service_len + u->user_len);
	stat_set(b->shm.bridge->stats.users, table_count(&b->users));
	stat_sub(u->s->words->users, 1);
	free(u);
}

/* What all connections have confirmed is removed for good. */
static void user_confirm(struct buser *u)
{
	uint64_t least = stayed_limit(u, UINT64_MAX);

	if (!u->conns && (u->s->b->moving || !stayed_open(u)))
		return;
	for (struct bconn *c = u->conns; c; c = c->next)
		if (c->confirmed < least)
			least = c->confirmed;
	if (least <= u->mark)
		return;
	u->mark = least;
	if (u->head < least)
		u->head = least;
	track(track_confirmed(u, least));
	if (u->q)
		broker_queue_confirm(u->q, least);
}

static void user_settle(struct buser *u)
{
	buffer_trim(u);
	buffer_budget(u);
	for (struct bconn *c = u->conns; c; c = c->next)
		bconn_note(c, !c->synced || (!u->wanted && !u->closing));
}

void dispatch_dirty(struct buser *u)
{
	if (u->dirty)
		return;
	u->dirty = true;
	u->dirty_next = u->s->b->dirty;
	u->s->b->dirty = u;
}

void dispatch_settle(struct bridge *b)
{
	while (b->dirty) {
		struct buser *u = b->dirty;

		b->dirty = u->dirty_next;
		u->dirty = false;
		user_confirm(u);
		user_settle(u);
	}
}

void dispatch_pump(struct bconn *c)
{
	bconn_run(c);
	user_settle(c->user);
}

/* ---- events of the broker ---- */

/* Without memory for its window it waits like one whose ring is full. */
static bool conn_takes_node(struct bconn *c, const struct bnode *n)
{
	if (c->cursor != n || c->blocked || c->waits || !window_open(c, n->m->len))
		return false;
	if (window_reserve(c))
		return true;
	slots_block(&c->user->s->b->slots[c->slot], c);
	return false;
}

/* Several connections in one worker get one record. */
static void user_fan_out(struct buser *u, struct bnode *n)
{
	struct bridge *b = u->s->b;
	struct down_ref refs[DOWN_REFS_MAX];
	struct bconn *who[DOWN_REFS_MAX];

	for (struct bconn *c = u->conns; c; c = c->next) {
		uint32_t k = 0;

		if (!conn_takes_node(c, n))
			continue; /* so that each scan below serves somebody */
		for (struct bconn *d = c; d && k < DOWN_REFS_MAX; d = d->next) {
			if (d->slot != c->slot || !conn_takes_node(d, n))
				continue;
			refs[k] = (struct down_ref){d->generation, d->index, 0};
			who[k++] = d;
		}
		if (!k)
			continue;
		if (!slots_put_message(
			    &b->slots[c->slot], n->m, u->s->epoch, bconn_text(b, n->m), refs, k)) {
			for (uint32_t i = 0; i < k; i++)
				slots_block(&b->slots[c->slot], who[i]);
			continue;
		}
		for (uint32_t i = 0; i < k; i++) {
			window_given(who[i], n->m);
			who[i]->cursor = n->next;
		}
	}
}

static bool too_large(struct buser *u, struct broker_message *m)
{
	if (m->len <= u->s->b->max_message)
		return false;
	broker_queue_set_aside(u->q, m, "larger than max_message");
	return true;
}

bool dispatch_left(void *owner, struct broker_message *m)
{
	return too_large(owner, m);
}

void dispatch_message(void *owner, struct broker_message *m)
{
	struct buser *u = owner;

	if (m->seq <= u->head)
		return;
	u->head = m->seq;
	track(track_message(u, m));
	if (!too_large(u, m) && !buffer_add(u, m)) {
		log_some_errors(
			5, "no memory for a message: it is read again later", kv_more(user_who(u)));
		for (struct bconn *c = u->conns; c; c = c->next)
			bconn_fall_behind(c);
		buffer_drop(u);
		for (struct bconn *c = u->conns; c; c = c->next)
			bconn_run(c);
	}
	if (u->last && u->last->m == m)
		user_fan_out(u, u->last);
	user_settle(u);
}

void dispatch_reread(void *owner, void *tag, struct broker_message *m, bool failed)
{
	struct buser *u = owner;
	struct bconn *c = tag;

	c->rereading = false;
	if (failed) {
		c->retry = true;
		u->s->retries++;
		return;
	}
	if (!m) {
		/* Nothing is stored between its mark and the head. */
		if (c->pos < u->floor)
			c->pos = u->floor;
	} else if (m->seq <= c->pos) {
		; /* a predecessor gave it, and it was confirmed while we read */
	} else if (!u->first || m->seq < u->first->m->seq) {
		if (too_large(u, m))
			c->pos = m->seq;
		else if (!window_open(c, m->len))
			c->need = (uint32_t)m->len;
		else if (!bconn_give(c, m))
			return; /* blocked: read again when there is room */
		else
			c->need = 0;
	} else if (c->pos < u->floor) {
		c->pos = u->floor;
	}
	dispatch_pump(c);
}

void dispatch_closed(void *owner)
{
	struct buser *u = owner;
	struct bridge *b = u->s->b;

	if (u->closing && !u->conns)
		user_free(u);
	if (b->stopping)
		bridge_check_flushed(b);
}

/* ---- connections come and go ---- */

static bool user_open(struct buser *u)
{
	struct identity id = dispatch_identity(u);

	u->q = broker_queue_open(
		u->s->broker, &id, u->mark, u->head, u->served || stayed_has(u), u);
	if (u->q && u->untold && !u->served)
		broker_queue_untold(u->q);
	return u->q != NULL;
}

/* Its removals were still under way. */
static void user_reopen(struct buser *u)
{
	u->closing = false;
	u->wanted = true;
	broker_queue_reopen(u->q, u->head);
}

static void conn_link(struct bconn *c, struct buser *u)
{
	struct slot *s = &u->s->b->slots[c->slot];

	c->user = u;
	c->next = u->conns;
	c->prev = NULL;
	if (c->next)
		c->next->prev = c;
	u->conns = c;
	s->conns[c->index] = c;
	s->nconns++;
	ended_make_room(s);
}

static void conn_unlink(struct bconn *c)
{
	struct slot *s = &c->user->s->b->slots[c->slot];

	if (c->prev)
		c->prev->next = c->next;
	else
		c->user->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	s->conns[c->index] = NULL;
	s->nconns--;
}

/* A connection that a predecessor served goes on at its own marks. */
static void conn_adopt(struct bconn *c, const struct route_view *v)
{
	struct buser *u = c->user;
	bool first = !u->conns->next;

	if (u->s->lost_s && v->figures.opened_s >= u->s->lost_s)
		u->untold = true;
	else
		u->served = true;
	if (v->epoch == u->s->epoch) {
		c->pos = v->given;
		c->confirmed = v->confirmed;
	}
	if (first || c->confirmed < u->mark)
		u->mark = stayed_limit(u, c->confirmed);
	if (c->pos > u->head)
		u->head = c->pos;
	u->floor = u->head;
}

/*
 * A connection that came from another worker, which ends its old route when it hears that we know
 * the new one. If that worker died before, the user may have been forgotten, or others of the user
 * may have confirmed what this one lacks.
 */
static bool conn_join(struct bconn *c, const struct route_view *v)
{
	struct buser *u = c->user;

	u->served = true;
	if (v->epoch == u->s->epoch) {
		c->pos = v->given;
		c->confirmed = v->confirmed;
	}
	if (c->confirmed < u->mark) {
		c->pos = c->confirmed = u->mark;
		return false;
	}
	if (u->conns->next || !(u->closing || !u->q))
		return true;
	u->mark = stayed_limit(u, c->confirmed);
	u->head = u->floor = c->pos;
	return true;
}

void dispatch_let_go(struct buser *u)
{
	if (u->conns || u->closing || stayed_has(u))
		return;
	if (!u->q) {
		user_free(u);
		return;
	}
	u->closing = true;
	broker_queue_close(u->q);
}

/* Opens the queue, if it is of that stream (NULL: any), and lets the connections read. */
static bool user_open_each(void *value, void *arg)
{
	struct buser *u = value;

	if (arg && u->s != arg)
		return true;
	if (!u->q && !u->conns && !u->mark && !stayed_has(u)) {
		user_free(u); /* a predecessor's who had confirmed nothing */
		return true;
	}
	if (!u->q && !user_open(u)) {
		u->s->retries++;
		log_some_errors(5, "no memory for a queue: tried again", kv_more(user_who(u)));
		return true;
	}
	dispatch_let_go(u); /* without connections: only what was confirmed is removed */
	if (u->closing)
		return true;
	for (struct bconn *c = u->conns; c; c = c->next)
		bconn_run(c);
	user_settle(u);
	return true;
}

/*
 * What its other connections have confirmed by now, although it was not read yet: one of them may
 * be this very client's, closed in good order, and it must not get the same again.
 */
static void user_refresh(struct buser *u)
{
	struct bridge *b = u->s->b;
	struct route_view v;

	for (struct bconn *c = u->conns; c; c = c->next)
		if (route_read_marks(&b->slots[c->slot].routes, c->index, c->generation, &v))
			dispatch_marks(c, &v);
	user_confirm(u);
}

struct bconn *dispatch_open(
	struct bridge *b, struct slot *s, uint32_t index, const struct route_view *v)
{
	struct identity id = {v->service, v->user, v->service_len, v->user_len};
	struct bconn *c = calloc(1, sizeof(*c));
	struct buser *u = c ? dispatch_user(b, &id, true) : NULL;
	struct down_ref ref = {v->generation, index, 0};
	bool marked = v->state == ROUTE_OPEN || (v->state == ROUTE_MOVED && b->scanning);

	if (!u) {
		char conn[ROUTE_ID_TEXT];

		route_id_text(v->id, conn);
		log_some_errors(5, "no memory for a connection", kv_str("conn", conn),
			kv_mem("service", id.service, id.service_len),
			kv_mem("user", id.user, id.user_len));
		free(c);
		return NULL;
	}
	c->generation = v->generation;
	c->index = index;
	c->opened_s = v->figures.opened_s;
	c->slot = (uint16_t)s->n;
	c->service = v->service_row <= STATS_OTHER ? v->service_row : STATS_OTHER;
	if (!marked)
		user_refresh(u);
	conn_link(c, u);
	if (marked) {
		conn_adopt(c, v);
		if (v->state == ROUTE_MOVED)
			slots_notify(s, DOWN_OPENED, &ref, 0, 0, NULL);
		return c;
	}
	if (v->state == ROUTE_MOVED)
		quota_moved(c, v->id);
	if (v->state == ROUTE_MOVED && !conn_join(c, v))
		slots_notify(s, DOWN_KICK, &ref, 0, 1012, "moved too late: come back");
	if (v->state == ROUTE_OPENING) {
		if (u->q)
			u->mark = broker_queue_begin(u->q, u->mark);
		c->pos = c->confirmed = u->mark;
		if (u->closing)
			u->head = u->floor = u->mark;
	}
	if (u->closing)
		user_reopen(u);
	if (!b->scanning && (u->q || user_open(u)) && v->state == ROUTE_OPENING)
		told_wait(c);
	else
		slots_notify(s, DOWN_OPENED, &ref, u->mark, 0, NULL);
	if (!b->scanning)
		user_open_each(u, NULL);
	return c;
}

struct buser *dispatch_user(struct bridge *b, const struct identity *id, bool make)
{
	char key[KEY_MAX];
	struct buser *u = table_get(&b->users, key, bridge_key(id, key));

	return u || !make ? u : user_new(b, id);
}

void dispatch_opened_all(struct bstream *s)
{
	table_each(&s->b->users, user_open_each, s);
}

void dispatch_marks(struct bconn *c, const struct route_view *v)
{
	/* A predecessor's records may have been handed out after we looked: more was given than we
	 * know. */
	uint64_t given = v->given > c->pos ? v->given : c->pos;
	uint64_t confirmed = v->confirmed < given ? v->confirmed : given;

	if (c->user->ended && v->state == ROUTE_OPEN)
		ended_release(c->user); /* its marks are in a living route again */
	/* An equal one may speak of a record that was given again. */
	if (v->epoch != c->user->s->epoch || confirmed < c->confirmed ||
		(confirmed == c->confirmed && !(c->out && c->out->n)))
		return;
	c->confirmed = confirmed;
	if (c->pos < confirmed)
		bconn_skip(c, confirmed);
	window_forget(c, confirmed);
	bconn_run(c);
	dispatch_dirty(c->user);
}

void dispatch_end(struct bridge *b, struct bconn *c)
{
	struct buser *u = c->user;

	if (c->rereading)
		broker_queue_forget(u->q, c);
	slots_unblock(&b->slots[c->slot], c);
	if (!c->next && u->conns == c && !b->together)
		user_confirm(u); /* the last one: what it confirmed counts */
	bconn_note(c, false);
	conn_unlink(c);
	free(c->out);
	free(c);
	if (u->conns) {
		dispatch_dirty(u);
		return;
	}
	buffer_drop(u);
	if (stayed_has(u))
		user_settle(u); /* nobody reads it for now */
	else
		dispatch_let_go(u);
}

uint64_t dispatch_kick_user(struct buser *u, uint16_t code, const char *reason)
{
	struct bridge *b = u->s->b;
	uint64_t n = 0;

	for (struct bconn *c = u->conns; c; c = c->next, n++) {
		struct down_ref ref = {c->generation, c->index, 0};

		told_now(c);
		slots_notify(&b->slots[c->slot], DOWN_KICK, &ref, 0, code, reason);
	}
	return n;
}

uint64_t dispatch_kick(
	struct bridge *b, const struct identity *id, uint16_t code, const char *reason)
{
	struct buser *u = dispatch_user(b, id, false);

	return u ? dispatch_kick_user(u, code, reason) : 0;
}

static bool user_retry(void *value, void *arg)
{
	struct buser *u = value;

	if (u->s != arg)
		return true;
	for (struct bconn *c = u->conns; c; c = c->next)
		c->retry = false;
	return user_open_each(value, arg);
}

/* What failed is tried again: queues that could not be opened, reads without an answer. */
void dispatch_tick(struct bridge *b)
{
	for (unsigned i = 0; i < b->nstreams; i++) {
		struct bstream *s = &b->streams[i];

		if (!s->retries || !s->connected)
			continue;
		s->retries = 0;
		table_each(&b->users, user_retry, s);
	}
}

void dispatch_start(struct bridge *b)
{
	table_init(&b->stayed);
	table_init(&b->users);
}

static bool user_stop(void *value, void *arg)
{
	struct buser *u = value;

	(void)arg;
	u->closing = true;
	while (u->conns) {
		struct bconn *c = u->conns;

		conn_unlink(c);
		free(c->out);
		free(c);
	}
	ended_drop(u);
	user_free(u);
	return true;
}

void dispatch_stop(struct bridge *b)
{
	table_each(&b->users, user_stop, NULL);
	table_free(&b->users);
}

bool dispatch_idle(const struct bridge *b)
{
	return table_count(&b->users) == 0;
}
