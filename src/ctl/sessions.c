/* Connections, one a line. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <wsgate/daemon.h>

#include "ctl.h"
#include "format.h"
#include "json.h"

struct session {
	const struct route_view *v;
	unsigned worker;
	bool behind;
	uint64_t age_s;
	char service[TOKEN_ENCODED_MAX + 1], user[TOKEN_ENCODED_MAX + 1], addr[ROUTE_ADDR_NAME],
		conn[ROUTE_ID_TEXT];
};

static const char *state_text(enum route_state state)
{
	return state == ROUTE_OPENING ? "opening" : state == ROUTE_MOVED ? "moving" : "open";
}

static void print_session(const struct session *s)
{
	const struct route_figures *f = &s->v->figures;
	char age[FORMAT_AGE_MAX], in[FORMAT_COUNT_MAX], out[FORMAT_COUNT_MAX];

	printf("%-16s %-20s %-21s %7s %8u %6s %8u %6s %6u %-6s %3u %s %s\n", s->service, s->user,
		s->addr, format_age(age, s->age_s), f->messages_in,
		format_bytes(in, (double)f->bytes_in), f->messages_out,
		format_bytes(out, (double)f->bytes_out), f->messages_out - f->messages_confirmed,
		s->behind ? "behind" : "-", s->worker, s->conn, state_text(s->v->state));
}

static int print_json(const struct session *s)
{
	const struct route_figures *f = &s->v->figures;
	json_t *o = json_object();

	figures_text(o, "service", s->service);
	figures_text(o, "user", s->user);
	figures_text(o, "addr", s->addr);
	figures_number(o, "age_seconds", s->age_s);
	figures_number(o, "messages_in", f->messages_in);
	figures_number(o, "bytes_in", f->bytes_in);
	figures_number(o, "messages_out", f->messages_out);
	figures_number(o, "bytes_out", f->bytes_out);
	figures_number(o, "unconfirmed", f->messages_out - f->messages_confirmed);
	figures_flag(o, "behind", s->behind);
	figures_number(o, "worker", s->worker);
	figures_text(o, "conn", s->conn);
	figures_text(o, "state", state_text(s->v->state));
	return json_line(o);
}

/* Names come from clients: encoded, nothing of them reaches the terminal but printable ASCII. */
static void session_name(struct session *s, const struct route_view *v)
{
	uint64_t now = (uint64_t)time(NULL);

	s->v = v;
	s->age_s = now > v->figures.opened_s ? now - v->figures.opened_s : 0;
	if (token_encode(v->service, v->service_len, s->service, sizeof(s->service)) < 0)
		s->service[0] = '\0';
	if (token_encode(v->user, v->user_len, s->user, sizeof(s->user)) < 0)
		s->user[0] = '\0';
	route_addr_name(s->addr, v->addr, v->port);
	route_id_text(v->id, s->conn);
}

static bool matches(const char *want, const char *name, size_t len)
{
	return !want || (strlen(want) == len && memcmp(want, name, len) == 0);
}

static int show_worker(
	const struct shm *shm, unsigned slot, const char *service, const char *user, bool json)
{
	const struct shm_slot *w = shm_slot(shm, slot);
	const _Atomic uint32_t *behind = shm_behind(shm, slot);
	struct route_section routes = shm_routes(shm, slot);
	uint64_t generation = stat_get(w->generation);
	struct session s = {.worker = slot};
	struct route_view v;
	uint32_t pid = atomic_load(&w->pid);

	if (!pid || stat_get(w->buried) >= generation || !daemon_lives((pid_t)pid))
		return CTL_OK; /* it has ended, and with it its connections */
	for (uint32_t i = 0; i < routes.n; i++) {
		if (!stat_get(routes.routes[i].generation) || !route_read(&routes, i, &v) ||
			v.generation >> 32 != generation || v.state == ROUTE_FREE ||
			v.state == ROUTE_ENDED || !matches(service, v.service, v.service_len) ||
			!matches(user, v.user, v.user_len))
			continue;
		session_name(&s, &v);
		s.behind = atomic_load(&behind[i / 32]) >> i % 32 & 1;
		if (json && print_json(&s) != CTL_OK)
			return CTL_FAILED;
		if (!json)
			print_session(&s);
	}
	return CTL_OK;
}

int sessions_show(const struct config *c, const char *service, const char *user, bool json)
{
	struct shm shm;
	int r = CTL_OK;

	if (view_open(&shm, c) < 0)
		return CTL_FAILED;
	if (!view_master_runs(c, &shm))
		fprintf(stderr, "wsgatectl: wsgated does not run (its master was pid %u)\n",
			shm.header->master_pid);
	if (!json && isatty(STDOUT_FILENO))
		printf("%-16s %-20s %-21s %7s %8s %6s %8s %6s %6s %-6s %3s %s\n", "service", "user",
			"address", "age", "in", "bytes", "out", "bytes", "unconf", "behind", "wkr",
			"connection");
	for (unsigned i = 0;
		r == CTL_OK && i < shm.header->sizes.max_workers && shm_slot_used(&shm, i); i++)
		r = show_worker(&shm, i, service, user, json);
	shm_unmap(&shm);
	return r == CTL_OK && fflush(stdout) == 0 ? CTL_OK : CTL_FAILED;
}
