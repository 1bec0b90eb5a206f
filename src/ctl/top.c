/*
 * A screen that is drawn anew: services and workers, the busiest first. Into a pipe or with --json:
 * one sample behind the other.
 */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"
#include "format.h"
#include "json.h"

#define HOME_AND_CLEAR "\033[H\033[J"
#define ALT_SCREEN_ON "\033[?1049h\033[?25l"
#define ALT_SCREEN_OFF "\033[?25h\033[?1049l"
#define LINES_DEFAULT 24
#define COLUMNS_DEFAULT 80

static volatile sig_atomic_t stopped;

/* A line of either list. */
struct top_row {
	char name[TOKEN_ENCODED_MAX + 16];
	struct snapshot_traffic n;
	struct stats_rates r;
	const char *state;
};

struct top {
	bool screen;
	unsigned lines, columns, used;
};

static void on_stop(int sig)
{
	(void)sig;
	stopped = 1;
}

static double per_second(uint64_t now, uint64_t then, double s)
{
	return now > then ? (double)(now - then) / s : 0;
}

static struct stats_rates rates_between(
	const struct snapshot_traffic *n, const struct snapshot_traffic *before, double s)
{
	return (struct stats_rates){per_second(n->messages_in, before->messages_in, s),
		per_second(n->bytes_in, before->bytes_in, s),
		per_second(n->messages_out, before->messages_out, s),
		per_second(n->bytes_out, before->bytes_out, s)};
}

/* ---- the screen ---- */

__attribute__((format(printf, 2, 3))) static void line(struct top *t, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (t->screen && t->used + 1 >= t->lines)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (t->screen && strlen(text) > t->columns)
		text[t->columns] = '\0';
	puts(text);
	t->used++;
}

static int busiest(const void *a, const void *b)
{
	const struct top_row *x = a, *y = b;
	double dx = x->r.messages_in + x->r.messages_out, dy = y->r.messages_in + y->r.messages_out;

	if (dx != dy)
		return dx < dy ? 1 : -1;
	if (x->n.connections != y->n.connections)
		return x->n.connections < y->n.connections ? 1 : -1;
	return strcmp(x->name, y->name);
}

static void rows(struct top *t, const char *title, struct top_row *list, size_t n, unsigned most)
{
	line(t, "%-20s %7s %6s %6s %6s %6s %7s %7s", title, "conns", "in/s", "B/s", "out/s", "B/s",
		"unconf", "behind");
	for (size_t i = 0; i < n && i < most; i++) {
		const struct top_row *r = &list[i];
		char name[21], in[FORMAT_COUNT_MAX], inb[FORMAT_COUNT_MAX], out[FORMAT_COUNT_MAX],
			outb[FORMAT_COUNT_MAX];

		line(t, "%-20s %7" PRIu64 " %6s %6s %6s %6s %7" PRIu64 " %7" PRIu64 " %s",
			format_cut(name, sizeof(name), r->name, 20), r->n.connections,
			format_count(in, r->r.messages_in), format_bytes(inb, r->r.bytes_in),
			format_count(out, r->r.messages_out), format_bytes(outb, r->r.bytes_out),
			r->n.unconfirmed, r->n.behind, r->state);
	}
	if (n > most)
		line(t, "and %zu more", n - most);
}

static size_t worker_rows(const struct snapshot *s, struct top_row *list)
{
	size_t n = 0;

	for (size_t i = 0; i < s->nworkers; i++) {
		const struct snapshot_worker *w = &s->workers[i];

		if (w->life == SNAPSHOT_ENDED)
			continue;
		snprintf(list[n].name, sizeof(list[n].name), "worker %u", w->slot);
		list[n].n = w->n;
		list[n].r = w->rates;
		list[n++].state = snapshot_life_text(w->life);
	}
	return n;
}

static struct snapshot_traffic service_traffic(const struct snapshot_service *v)
{
	return (struct snapshot_traffic){v->v.n.messages_in, v->v.n.bytes_in, v->v.n.messages_out,
		v->v.n.bytes_out, v->v.n.unconfirmed, v->behind, v->v.n.connections};
}

static size_t service_rows(
	const struct snapshot *s, const struct snapshot *before, struct top_row *list)
{
	double seconds = (double)(s->at_ms - before->at_ms) / 1000;

	for (size_t i = 0; i < s->nservices; i++) {
		const struct snapshot_service *v = &s->services[i];
		struct snapshot_traffic was = {0, 0, 0, 0, 0, 0, 0};

		for (size_t k = 0; k < before->nservices; k++)
			if (strcmp(before->services[k].name, v->name) == 0)
				was = service_traffic(&before->services[k]);
		snprintf(list[i].name, sizeof(list[i].name), "%s",
			v->name[0] ? v->name : "(others)");
		list[i].n = service_traffic(v);
		list[i].r = rates_between(&list[i].n, &was, seconds > 0 ? seconds : 1);
		list[i].state = "";
	}
	return s->nservices;
}

static void head(struct top *t, const struct snapshot *s)
{
	char age[FORMAT_AGE_MAX], in[FORMAT_COUNT_MAX], out[FORMAT_COUNT_MAX];

	line(t, "wsgated %.31s up %s, %" PRIu64 " connections, in %s/s, out %s/s, broker %s%s",
		s->shm.header->version, format_age(age, s->age_s), s->total.connections,
		format_count(in, s->rates.messages_in), format_count(out, s->rates.messages_out),
		snapshot_broker(s), s->runs ? "" : "  (not running)");
	line(t,
		"bridge pid %u %s  %" PRIu64 " users, %" PRIu64 " removals and %" PRIu64
		" publishes under way",
		atomic_load(&s->shm.bridge->pid), snapshot_life_text(s->bridge),
		stat_get(s->shm.bridge->stats.users),
		stat_get(s->shm.bridge->stats.removals_pending),
		stat_get(s->shm.bridge->stats.publishing));
	line(t, "%s", "");
}

static int draw(struct top *t, const struct snapshot *s, const struct snapshot *before)
{
	struct top_row *list = calloc(s->nworkers + s->nservices + 1, sizeof(*list));
	unsigned room = t->screen ? (t->lines > 10 ? t->lines - 8 : 2) : UINT32_MAX;
	size_t n;

	if (!list) {
		fprintf(stderr, "wsgatectl: out of memory\n");
		return CTL_FAILED;
	}
	t->used = 0;
	if (t->screen)
		fputs(HOME_AND_CLEAR, stdout);
	head(t, s);
	n = service_rows(s, before, list);
	qsort(list, n, sizeof(*list), busiest);
	rows(t, "service", list, n, n + s->nworkers > room ? room / 2 : room);
	line(t, "%s", "");
	memset(list, 0, (s->nworkers + s->nservices + 1) * sizeof(*list));
	n = worker_rows(s, list);
	qsort(list, n, sizeof(*list), busiest);
	rows(t, "worker", list, n, room);
	free(list);
	return fflush(stdout) == 0 ? CTL_OK : CTL_FAILED;
}

static int draw_json(const struct snapshot *s)
{
	json_t *o = json_object();

	figures_number(o, "time", (uint64_t)time(NULL));
	figures_flag(o, "running", s->runs);
	figures_text(o, "broker", snapshot_broker(s));
	figures_add(o, "total", figures_traffic(&s->total, &s->rates));
	figures_add(o, "workers", figures_workers(s));
	figures_add(o, "services", figures_services(s));
	return json_line(o) == CTL_OK && fflush(stdout) == 0 ? CTL_OK : CTL_FAILED;
}

/* ---- the loop ---- */

static void top_size(struct top *t)
{
	struct winsize w;

	t->lines = LINES_DEFAULT;
	t->columns = COLUMNS_DEFAULT;
	if (t->screen && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_row && w.ws_col) {
		t->lines = w.ws_row;
		t->columns = w.ws_col;
	}
}

static int top_loop(const struct config *c, const struct top_options *o, struct top *t)
{
	struct snapshot before, s;
	int r = CTL_OK;

	if (view_take(&before, c) < 0)
		return CTL_FAILED;
	for (unsigned long i = 0; r == CTL_OK && !stopped && (!o->count || i < o->count); i++) {
		(void)poll(NULL, 0, (int)o->interval_ms);
		if (stopped)
			break;
		if (view_take(&s, c) < 0) {
			r = CTL_FAILED;
			break;
		}
		top_size(t);
		r = o->json ? draw_json(&s) : draw(t, &s, &before);
		view_drop(&before);
		before = s;
	}
	view_drop(&before);
	return r;
}

int top_show(const struct config *c, const struct top_options *o)
{
	struct sigaction sa = {.sa_handler = on_stop};
	struct top t = {.screen = !o->json && isatty(STDOUT_FILENO)};
	struct snapshot s;
	int r;

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	if (t.screen)
		fputs(ALT_SCREEN_ON, stdout);
	r = top_loop(c, o, &t);
	if (t.screen) {
		fputs(ALT_SCREEN_OFF, stdout);
		fflush(stdout);
	}
	/* What was said went with that screen. */
	if (t.screen && r != CTL_OK && isatty(STDERR_FILENO) && view_take(&s, c) == 0)
		view_drop(&s);
	return r;
}
