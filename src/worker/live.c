/*
 * live: /status.json, and /live, a WebSocket that gets the same each second: with the history so
 * far at first, then with what is new of it.
 */
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <wsgate/daemon.h>
#include <wsgate/figures.h>
#include <wsgate/log.h>

#include "worker.h"

#define WARNINGS_MAX 20

/* ---- warnings ---- */

struct warning {
	char process[16];
	struct proto_note n;
};

static int latest_first(const void *a, const void *b)
{
	const struct warning *x = a, *y = b;

	return (x->n.at_ms < y->n.at_ms) - (x->n.at_ms > y->n.at_ms);
}

static size_t live_take(struct warning *to, const struct notes *from, const char *process, int slot)
{
	struct proto_note notes[NOTES_N];
	size_t n = notes_read(from, notes);

	for (size_t i = 0; i < n; i++) {
		if (slot < 0)
			snprintf(to[i].process, sizeof(to[i].process), "%s", process);
		else
			snprintf(to[i].process, sizeof(to[i].process), "%s %d", process, slot);
		to[i].n = notes[i];
	}
	return n;
}

static json_t *live_warnings(const struct worker *w, const struct snapshot *s)
{
	struct warning *v = calloc(PROTO_NOTES + NOTES_N * (s->nworkers + 1), sizeof(*v));
	json_t *list = json_array();
	size_t n = 0;

	for (unsigned i = 0; v && i < PROTO_NOTES; i++) {
		if (!w->deeds.notes[i].at_ms)
			continue;
		strcpy(v[n].process, "master");
		v[n++].n = w->deeds.notes[i];
	}
	if (v)
		n += live_take(v + n, &s->shm.bridge->notes, "bridge", -1);
	for (size_t i = 0; v && i < s->nworkers; i++)
		n += live_take(
			v + n, &s->workers[i].slot_words->notes, "worker", (int)s->workers[i].slot);
	if (v)
		qsort(v, n, sizeof(*v), latest_first);
	for (size_t i = 0; i < n && i < WARNINGS_MAX; i++) {
		json_t *o = json_object();

		figures_number(o, "at_ms", v[i].n.at_ms);
		figures_text(o, "level", v[i].n.error ? "error" : "warn");
		figures_text(o, "process", v[i].process);
		v[i].n.text[sizeof(v[i].n.text) - 1] = '\0';
		figures_text(o, "text", v[i].n.text);
		figures_append(list, o);
	}
	free(v);
	return list;
}

/* ---- the document ---- */

static json_t *live_reload(const struct worker *w)
{
	static const char *const outcomes[] = {"none", "good", "failed"};
	const struct proto_deeds *d = &w->deeds;
	json_t *o = json_object();

	figures_text(o, "outcome", outcomes[d->outcome < 3 ? d->outcome : 0]);
	figures_add(o, "text", figures_string(d->reload, strnlen(d->reload, sizeof(d->reload))));
	figures_number(o, "at_ms", d->reload_ms);
	figures_number(o, "good", d->reloads_good);
	figures_number(o, "failed", d->reloads_failed);
	return o;
}

/* How wsgatectl is called here, word by word. */
static json_t *live_tool(const struct worker *w)
{
	const char *program = daemon_program(), *slash = strrchr(program, '/');
	json_t *words = json_array();
	char path[PATH_MAX];

	/* Beside this program, unless it is installed elsewhere: then it is found by its name. */
	snprintf(path, sizeof(path), "%.*swsgatectl", slash ? (int)(slash + 1 - program) : 0,
		program);
	if (access(path, X_OK) < 0)
		strcpy(path, "wsgatectl");
	figures_append(words, figures_string(path, strlen(path)));
	if (w->h->file && strcmp(w->h->file, CONFIG_FILE) != 0) {
		figures_append(words, json_string("-c"));
		figures_append(words, figures_string(w->h->file, strlen(w->h->file)));
	}
	return words;
}

/* Where clients are listened for, for the page's own client. */
static json_t *live_try_out(const struct worker *w)
{
	const struct config *c = w->c;
	json_t *o, *plain, *tls;

	if (c->admin.try_out != SWITCH_ON)
		return json_null();
	o = json_object();
	plain = json_array();
	tls = json_array();
	for (size_t i = 0; i < c->listen.n; i++)
		figures_append(plain, json_string(c->listen.v[i]));
	for (size_t i = 0; i < c->ntls; i++)
		figures_append(tls, json_string(c->tls[i].listen));
	figures_add(o, "listen", plain);
	figures_add(o, "tls", tls);
	figures_add(o, "tool", live_tool(w));
	return o;
}

/* Of the history, what came after sample number since, whatever the clock did meanwhile; *last: the
 * latest of it. NULL: no memory. */
static json_t *live_document(const struct worker *w, uint64_t since, uint64_t *last)
{
	struct history_view *v = malloc(HISTORY_N * sizeof(*v));
	const char *why = admin_not_ready(w);
	struct snapshot s;
	size_t n, from = 0;
	json_t *o;

	if (!v || snapshot_take(&s, &w->shm) < 0) {
		free(v);
		return NULL;
	}
	o = figures_status(&s, live_reload(w), figures_drain(&s, &w->drain));
	figures_flag(o, "ready", !why);
	figures_add(o, "not_ready", why ? json_string(why) : json_null());
	figures_number(o, "max_connections", w->c->max_connections);
	n = history_read(&s.shm.bridge->history, v, HISTORY_N);
	while (from < n && v[from].number <= since)
		from++;
	*last = n ? v[n - 1].number : 0;
	figures_add(o, "latency", figures_latency(&s, v, n));
	figures_add(o, "history", figures_history(v, n, from));
	figures_add(o, "endings", figures_endings(&s));
	figures_add(o, "warnings", live_warnings(w, &s));
	figures_add(o, "try_out", live_try_out(w));
	snapshot_free(&s);
	free(v);
	if (figures_complete())
		return o;
	json_decref(o);
	return NULL;
}

static char *live_text(const struct worker *w, uint64_t since, uint64_t *last, size_t *len)
{
	json_t *o = live_document(w, since, last);
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

	json_decref(o);
	if (text)
		*len = strlen(text);
	else
		log_some_errors(5, "no memory for the figures");
	return text;
}

char *live_status(const struct worker *w, size_t *len)
{
	uint64_t last;

	return live_text(w, 0, &last, len);
}

/* ---- /live ---- */

static bool live_send(struct conn *c, const char *text, size_t len)
{
	return session_reply(c, WS_TEXT, (const uint8_t *)text, len);
}

void live_forget(const struct conn *c)
{
	struct worker *w = c->w;

	for (size_t i = 0; i < w->nlive; i++)
		if (w->live[i] == c)
			w->live[i] = w->live[--w->nlive];
}

void live_beat(struct worker *w)
{
	uint64_t last;
	size_t len;
	char *text;

	if (!w->nlive)
		return;
	text = live_text(w, w->live_sample, &last, &len);
	if (!text)
		return;
	w->live_sample = last;
	/* From the end: one that is gone gives its place to the last one. */
	for (size_t i = w->nlive; i-- > 0;) {
		struct conn *c = w->live[i];

		/* Who does not keep up misses some; its samples would be missing for ever. */
		if (c->state == CONN_OPEN && c->out.len > c->out.off)
			(void)session_close(c, WS_CODE_TRY_LATER, "too slow for this feed");
		else if (c->state == CONN_OPEN)
			(void)live_send(c, text, len);
	}
	free(text);
}

static bool live_accept(struct conn *c)
{
	char out[UPGRADE_ANSWER_MAX], *text;
	size_t n = upgrade_answer_text(c, out), len;
	struct worker *w = c->w;
	uint64_t last;
	bool alive;

	if (!n || !conn_send(c, out, n))
		return false;
	handshake_free(c->hs);
	c->hs = NULL;
	c->echo = 1; /* no route, and no broker */
	c->ping_mark = 0;
	life_begin(c);
	conn_set_state(c, CONN_OPEN);
	conn_deadline(c, session_deadline(c));
	w->live[w->nlive++] = c;
	text = live_text(w, 0, &last, &len);
	if (w->nlive == 1)
		w->live_sample = last; /* else it gets some twice, and nobody too few */
	alive = !text || live_send(c, text, len);
	free(text);
	return alive;
}

bool live_open(struct conn *c)
{
	static const char *const same[] = {"same"};
	static const struct http_answer full = {503, "too many look already", ""};
	struct http_answer a = handshake_check(c->hs);

	/* A page of somebody else may open a WebSocket wherever it likes: RFC 6455 10.2. */
	if (!a.status)
		a = handshake_origin(c->hs, same, 1, -1);
	if (!a.status && c->w->nlive == LIVE_MAX)
		a = full;
	return a.status ? upgrade_answer(c, &a, 0) : live_accept(c);
}
