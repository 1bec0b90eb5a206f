/*
 * gates: which other gateways live, and how much of what this one said they have heard.
 *
 * Each gateway beats, on a subject of the stream's own, as "1 ID INCARNATION BEAT LEASE FLAGS" and
 * a line "ID INCARNATION BEAT LOSSES" for each other one: the last beat of it that was heard, and
 * how often it was taken for gone. One connection carries beats and what is said about users
 * (holders.c), and NATS keeps its order: who echoes a beat has heard, and answered, what was said
 * before it. A beat that is missing in between, or a new session, means that words may be lost,
 * too: then all users are said again before the next echo.
 *
 * A gateway that is not heard for its lease is taken for gone, and what was kept for its
 * connections is removed. When it comes back it learns so, and they end (`fenced`). Only time in
 * which the stream answers counts, for only then something could be removed: who is cut off with
 * its server, or sees no leader, takes nobody for gone.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "parts.h"

#define BEAT_MS 1000
/* Beats that somebody waits for: so far apart, and a bit for each other gateway. */
#define BEAT_MIN_MS 50
#define BEAT_MORE_MS 10
#define LEAVES 1u
#define URGENT 2u
#define HOLD_MS 1000  /* of a session: by then the others have answered the first beat */
#define LATE_MS 2000  /* a beat's way, and a bit */
#define PROBE_MS 2500 /* an older answer of the stream says nothing of now */
#define STEP_MS 250   /* a longer pause of this process does not count as listening */
#define GAP_MS 10000  /* between two beats: what was said meanwhile may not have come */
#define GATES_MAX 256 /* remembered */
#define LINE_MAX 64

/* Time to notice that the broker is away, and, when the grace is over, to send all clients
 * elsewhere (worker.c). */
static uint64_t lease(const struct broker *b)
{
	uint64_t more = b->settings.grace * 3 / 2;

	if (more < 2000)
		more = 2000;
	if (more > 45000)
		more = 45000;
	return b->settings.grace + more;
}

/* For log lines; valid until the next call. */
static const char *name(uint64_t id)
{
	static char text[20];

	snprintf(text, sizeof(text), "%016" PRIx64, id);
	return text;
}

bool gates_init(struct broker *b, uint64_t self)
{
	struct gates *g = &b->gates;

	TAILQ_INIT(&g->unclear);
	TAILQ_INIT(&g->shared);
	if (getrandom(&g->incarnation, sizeof(g->incarnation), 0) != sizeof(g->incarnation) ||
		(!self && getrandom(&self, sizeof(self), 0) != sizeof(self)))
		return false;
	g->self = self;
	g->said = &g->said_here;
	return true;
}

void gates_free(struct broker *b)
{
	free(b->gates.v);
	b->gates.v = NULL;
	b->gates.n = b->gates.living = 0;
}

/* ---- the table ---- */

static struct gate *find(const struct gates *g, uint64_t id)
{
	for (uint32_t i = 0; i < g->n; i++)
		if (g->v[i].id == id)
			return &g->v[i];
	return NULL;
}

/* A place for one more: that of the one that is gone for longest. */
static struct gate *place(struct gates *g)
{
	struct gate *v, *oldest = NULL;

	if (g->n < GATES_MAX) {
		v = realloc(g->v, (g->n + 1) * sizeof(*v));
		if (!v)
			return NULL;
		g->v = v;
		return &g->v[g->n++];
	}
	for (uint32_t i = 0; i < g->n; i++)
		if (g->v[i].gone && (!oldest || g->v[i].until < oldest->until))
			oldest = &g->v[i];
	return oldest;
}

uint64_t gates_hears_since(const struct broker *b, uint64_t id)
{
	const struct gates *g = &b->gates;
	const struct gate *p = find(g, id);

	if (!p || p->gone)
		return 0;
	return g->listened - p->last > GAP_MS ? g->listened : p->since;
}

struct gate *gates_meet(struct broker *b, uint64_t id)
{
	struct gates *g = &b->gates;
	struct gate *p = find(g, id);

	if (id == g->self)
		return NULL;
	if (p && !p->gone) {
		p->until = g->listened + p->lease + LATE_MS;
		return p;
	}
	if (!p) {
		p = place(g);
		if (!p) {
			log_some_warnings(1, "too many gateways: one is not known");
			return NULL;
		}
		*p = (struct gate){.id = id, .lease = lease(b)};
	}
	p->gone = false;
	p->echoed = 0;
	p->last = p->since = g->listened;
	if (g->hold > g->awake + HOLD_MS)
		g->hold = g->awake + HOLD_MS; /* whom it knows comes with its beats */
	p->until = g->listened + p->lease + LATE_MS;
	g->living++;
	g->beat_ms = b->now_ms; /* it learns of us */
	broker_hurry(b);
	log_info("another gateway is there", kv_str("gateway", name(id)),
		kv_uint("others", g->living));
	/* Those that were opened before its first beat came, and unknown to it. */
	queue_each_recheck(b, holders_greet);
	return p;
}

static void lose(struct broker *b, struct gate *p, const char *why)
{
	p->gone = true;
	p->gone_ms = b->now_ms;
	b->gates.living--;
	log_info(why, kv_str("gateway", name(p->id)), kv_uint("others", b->gates.living));
	holders_drop_gate(b, p->id);
}

static void silent(struct broker *b, struct gate *p)
{
	p->losses++;
	b->stats.gateways_lost++;
	lose(b, p, "another gateway is not heard any more");
}

bool gates_others(const struct broker *b)
{
	const struct gates *g = &b->gates;

	return g->living > 0 || (g->awake < g->hold && atomic_load(g->said) > 0);
}

/* Who left before the session began is nobody who removed something since. */
bool gates_were_others(const struct broker *b)
{
	const struct gates *g = &b->gates;

	for (uint32_t i = 0; i < g->n; i++)
		if (!g->v[i].gone || g->v[i].gone_ms >= g->began_ms)
			return true;
	return false;
}

uint64_t gates_cleared(const struct broker *b)
{
	const struct gates *g = &b->gates;
	uint64_t upto = UINT64_MAX;

	if (g->awake < g->hold)
		return 0;
	for (uint32_t i = 0; i < g->n && g->living > 0; i++)
		if (!g->v[i].gone && g->v[i].echoed < upto)
			upto = g->v[i].echoed;
	return upto;
}

/* ---- saying ---- */

bool gates_say(struct broker *b, const char *subject, const char *text)
{
	char id[20];
	natsMsg *m = NULL;
	natsStatus s;

	if (b->state != BROKER_LIVE)
		return false;
	snprintf(id, sizeof(id), "%016" PRIx64, b->gates.self);
	s = natsMsg_Create(&m, subject, NULL, text, (int)strlen(text));
	if (s == NATS_OK)
		s = natsMsgHeader_Set(m, WIRE_WORD_HEADER, id);
	if (s == NATS_OK)
		return wire_publish(b->wire, 0, m);
	natsMsg_Destroy(m);
	return false;
}

static void greet_all(struct broker *b)
{
	for (uint32_t i = 0; i < b->nslots; i++)
		if (b->slots[i].q)
			holders_greet(b->slots[i].q);
}

void gates_hurry(struct broker *b)
{
	struct gates *g = &b->gates;
	uint64_t at = g->sent_ms + BEAT_MIN_MS + (uint64_t)BEAT_MORE_MS * g->living;

	if (gates_others(b) && at < g->beat_ms)
		g->beat_ms = at;
}

/* What others kept for our connections may be removed. */
static void fence(struct broker *b)
{
	b->gates.greet = true;
	b->stats.fenced++;
	b->ev->fenced(b->arg);
}

/* With the first word of this process: others may have taken its predecessor for gone, and say of
 * it nothing that this one hears. Later they do (hear_line()), and know whose time passed. */
static void fence_late(struct broker *b)
{
	uint64_t said = atomic_load(b->gates.said);

	if (b->gates.beat > 0 || !said || b->now_ms <= said + lease(b) + LATE_MS / 2)
		return;
	log_warn("other gateways heard nothing of this one for longer than its lease: its "
		 "connections end, for they may lack messages",
		kv_uint("ms", b->now_ms - said));
	fence(b);
}

/* For successors. */
static void keep_said(struct broker *b)
{
	atomic_store(b->gates.said, gates_others(b) ? b->now_ms : 0);
}

static void beat(struct broker *b, unsigned flags)
{
	struct gates *g = &b->gates;
	size_t size = (g->living + 2) * (size_t)LINE_MAX + 64, at;
	char *text = malloc(size);

	if (!text)
		return;
	fence_late(b);
	if (g->greet) {
		g->greet = false;
		greet_all(b);
	}
	at = (size_t)snprintf(text, size,
		"1 %016" PRIx64 " %016" PRIx64 " %" PRIu64 " %" PRIu64 " %u\n", g->self,
		g->incarnation, g->beat + 1, lease(b),
		flags | (TAILQ_EMPTY(&g->unclear) ? 0 : URGENT));
	for (uint32_t i = 0; i < g->n && at + LINE_MAX < size; i++)
		if (!g->v[i].gone)
			at += (size_t)snprintf(text + at, size - at,
				"%016" PRIx64 " %016" PRIx64 " %" PRIu64 " %" PRIu32 "\n",
				g->v[i].id, g->v[i].incarnation, g->v[i].heard, g->v[i].losses);
	if (gates_say(b, b->settings.beat, text)) {
		g->beat++;
		g->sent_ms = b->now_ms;
		keep_said(b);
		g->beat_ms = b->now_ms + (lease(b) / 6 < BEAT_MS ? lease(b) / 6 : BEAT_MS);
	} else {
		g->beat_ms = b->now_ms + BEAT_MIN_MS;
	}
	free(text);
}

/* ---- hearing ---- */

struct line {
	uint64_t id, incarnation, beat;
	uint32_t losses;
};

/* A line about somebody. */
static void hear_line(struct broker *b, struct gate *p, const struct line *l)
{
	struct gates *g = &b->gates;

	if (l->id != g->self) {
		/* Whom it knows, it may have answered for; but the dead are not to come back. */
		if (!find(g, l->id))
			(void)gates_meet(b, l->id);
		return;
	}
	if (l->incarnation != g->incarnation)
		return;
	if (p->knows_us && l->losses > p->losses_of_us) {
		log_warn("another gateway took this one for gone: its connections end, for they "
			 "may lack messages",
			kv_str("gateway", name(p->id)));
		fence(b);
	}
	p->knows_us = true;
	p->losses_of_us = l->losses;
	if (l->beat > p->echoed && l->beat <= g->beat)
		p->echoed = l->beat;
}

static bool next_line(const char **text, struct line *l)
{
	int len = 0;

	if (sscanf(*text, "%16" SCNx64 " %16" SCNx64 " %19" SCNu64 " %9" SCNu32 "\n%n", &l->id,
		    &l->incarnation, &l->beat, &l->losses, &len) < 4)
		return false;
	*text += len;
	return len > 0;
}

static void hear_text(struct broker *b, const char *text)
{
	uint64_t id, inc, n, ms;
	struct gate *p;
	struct line l;
	unsigned flags = 0;
	int len = 0;

	if (sscanf(text, "1 %16" SCNx64 " %16" SCNx64 " %19" SCNu64 " %19" SCNu64 " %9u\n%n", &id,
		    &inc, &n, &ms, &flags, &len) < 5)
		return;
	p = gates_meet(b, id);
	if (!p)
		return;
	if (b->gates.listened - p->last > GAP_MS)
		p->since = b->gates.listened;
	p->last = b->gates.listened;
	p->lease = ms < 86400000 * UINT64_C(2) ? ms : 86400000 * UINT64_C(2);
	p->until = b->gates.listened + p->lease + LATE_MS;
	if (p->incarnation != inc) {
		p->incarnation = inc;
		p->echoed = p->heard = 0;
		p->knows_us = false;
	}
	if (p->heard && n != p->heard + 1)
		b->gates.greet = true;
	p->heard = n;
	text += len;
	while (len > 0 && p && next_line(&text, &l)) {
		hear_line(b, p, &l);
		p = find(&b->gates, id); /* the table may have moved */
	}
	if (flags & URGENT)
		gates_hurry(b);
	if (flags & LEAVES && p)
		lose(b, p, "another gateway has left");
}

void gates_hear(struct broker *b, struct wire_event *e)
{
	char *text = e->word && e->m.len < GATES_MAX * LINE_MAX
			     ? strndup((const char *)e->m.data, e->m.len)
			     : NULL;

	if (text && b->state == BROKER_LIVE)
		hear_text(b, text);
	free(text);
	broker_message_unref(&e->m);
}

/* ---- who waits until we are heard ---- */

/* A get of what cannot be there: the server has read what came before it on this connection. */
static bool ask_behind(struct broker *b)
{
	struct gates *g = &b->gates;
	uint64_t token = request_start(b, &g->heard, REQUEST_HEARD);

	if (token == 0)
		return false;
	g->heard_no = g->said_no;
	(void)wire_get(b->wire, token, true, "{\"seq\":9223372036854775807}"); /* it times out */
	return true;
}

bool broker_has_others(const struct broker *b)
{
	return gates_others(b) && b->state == BROKER_LIVE;
}

uint64_t broker_tell_gateways(struct broker *b)
{
	struct gates *g = &b->gates;

	if (!broker_has_others(b))
		return 0;
	g->said_no++;
	return g->heard.kind != REQUEST_NONE || ask_behind(b) ? g->said_no : 0;
}

void gates_heard(struct broker *b, struct wire_event *e)
{
	struct gates *g = &b->gates;
	uint64_t no = g->heard_no;
	bool answered = e;

	if (e)
		broker_message_unref(&e->m);
	if (g->said_no > no && (!answered || b->state != BROKER_LIVE || !ask_behind(b)))
		no = g->said_no; /* who came later does not wait for another one in vain */
	b->ev->heard(b->arg, no);
}

/* ---- time ---- */

void gates_begin(struct broker *b)
{
	struct gates *g = &b->gates;

	g->ticked_ms = g->began_ms = b->now_ms;
	/* A predecessor knew others, and they may not be there again yet. */
	g->hold = g->awake +
		  (g->n == 0 && atomic_load(g->said) ? lease(b) + LATE_MS : (uint64_t)HOLD_MS);
	g->answered_ms = b->now_ms; /* it was checked a moment ago */
	g->greet = false;           /* every queue is said anew */
	for (uint32_t i = 0; i < g->n; i++) {
		g->v[i].heard = 0;
		g->v[i].until = g->listened + g->v[i].lease + LATE_MS;
	}
	beat(b, 0);
}

static void probe(struct broker *b)
{
	uint64_t token;

	if (b->gates.living == 0 || b->gates.probe.kind != REQUEST_NONE)
		return;
	token = request_start(b, &b->gates.probe, REQUEST_PROBE);
	if (token != 0)
		watch_info(b, token, NULL);
}

void gates_probed(struct broker *b, struct wire_event *e)
{
	json_t *doc = e ? broker_doc(e) : NULL;

	if (json_object_get(doc, "config"))
		b->gates.answered_ms = b->now_ms;
	else
		watch_soon(b); /* does it answer others? */
	json_decref(doc);
	if (e)
		broker_message_unref(&e->m);
}

void gates_tick(struct broker *b)
{
	struct gates *g = &b->gates;
	uint64_t passed = b->now_ms - g->ticked_ms;

	/* A successor goes on, and answers for the users; until then nobody does. */
	if (b->state != BROKER_LIVE || g->moving)
		return;
	g->ticked_ms = b->now_ms;
	if (passed > STEP_MS)
		passed = STEP_MS;
	g->awake += passed;
	if (b->now_ms - g->answered_ms < PROBE_MS)
		g->listened += passed;
	for (uint32_t i = 0; i < g->n; i++)
		if (!g->v[i].gone && g->v[i].until <= g->listened)
			silent(b, &g->v[i]);
	if (b->now_ms >= g->beat_ms) {
		beat(b, 0);
		probe(b);
		holders_count(b);
	}
	holders_tick(b);
}

void gates_farewell(struct broker *b)
{
	if (b->state != BROKER_LIVE || b->gates.moving)
		return;
	for (uint32_t i = 0; i < b->nslots; i++)
		if (b->slots[i].q && !b->slots[i].q->closing)
			return; /* its connections go on, with a successor */
	beat(b, LEAVES);
	atomic_store(b->gates.said, 0);
}
