/* Is all well? One line a question; the exit status is the answer to all of them. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "json.h"

struct check {
	json_t *out; /* NULL: text */
	bool good;
};

static void answer(struct check *k, const char *what, bool good, const char *text)
{
	k->good = k->good && good;
	if (!k->out) {
		printf("%-14s %-5s %s\n", what, good ? "good" : "FAULT", text);
		return;
	}
	json_t *o = json_object();

	figures_flag(o, "good", good);
	figures_text(o, "text", text);
	figures_add(k->out, what, o);
}

static void check_processes(struct check *k, const struct snapshot *s)
{
	char text[128];
	size_t bad = 0, n = 0;

	for (size_t i = 0; i < s->nworkers; i++) {
		n += s->workers[i].life != SNAPSHOT_ENDED;
		bad += s->workers[i].life == SNAPSHOT_DEAD || s->workers[i].life == SNAPSHOT_HANGS;
	}
	snprintf(text, sizeof(text), "%zu workers, %zu of them not well; bridge %s", n, bad,
		figures_life(s->bridge));
	answer(k, "processes", s->runs && !bad && n && s->bridge == SNAPSHOT_RUNS, text);
}

static void check_streams(struct check *k, const struct snapshot *s)
{
	char what[SHM_STREAM_NAME + 8];

	for (size_t i = 0; s->nstreams > 1 && i < s->nstreams; i++) {
		snprintf(what, sizeof(what), "stream %s", s->streams[i].name);
		answer(k, what,
			s->bridge == SNAPSHOT_RUNS && s->streams[i].state == SHM_BROKER_CONNECTED,
			s->bridge == SNAPSHOT_RUNS ? snapshot_state(s->streams[i].state)
						   : snapshot_broker(s));
	}
}

static void check_daemon(struct check *k, const struct config *c)
{
	struct snapshot s;
	const char *why;
	char text[384];

	if (view_take(&s, c) < 0) {
		answer(k, "wsgated", false, "no figures: see above");
		return;
	}
	snprintf(text, sizeof(text), "%s, pid %u", s.runs ? "running" : "not running",
		s.shm.header->master_pid);
	answer(k, "wsgated", s.runs, text);
	if (s.runs) {
		bool heard = order_answers(c, &why);

		answer(k, "control", heard, heard ? "the master answers" : why);
		check_processes(k, &s);
		snprintf(text, sizeof(text), "%s%s%s", snapshot_broker(&s), s.server[0] ? ", " : "",
			s.server);
		/* The bridge connects for good only when the stream is as it should be. */
		answer(k, "broker", strcmp(snapshot_broker(&s), "connected") == 0, text);
		check_streams(k, &s);
	}
	view_drop(&s);
}

int check_show(const struct config *c, const char *text, bool json)
{
	struct check k = {.good = true};

	if (json && !(k.out = json_object())) {
		fprintf(stderr, "wsgatectl: out of memory\n");
		return CTL_FAILED;
	}
	answer(&k, "configuration", c, !c || access(text, R_OK) == 0 ? text : "defaults");
	if (c)
		check_daemon(&k, c);
	if ((json && json_line(k.out) != CTL_OK) || fflush(stdout) != 0)
		return CTL_FAILED;
	return k.good ? CTL_OK : c ? CTL_FAILED : CTL_CONFIG;
}
