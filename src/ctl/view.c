#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"

int view_open(struct shm *shm, const struct config *c)
{
	char path[4096];
	int fd, r;

	snprintf(path, sizeof(path), "%s/segment", c->runtime_dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		where_not_found(c, "segment", strerror(errno),
			errno == EACCES ? " Root and the service's account may read it." : "");
		return -1;
	}
	r = shm_map(shm, fd, false);
	if (r < 0)
		fprintf(stderr, "wsgatectl: %s: %s\n", path,
			errno == EPROTO ? "made by another version of wsgated" : strerror(errno));
	close(fd);
	return r;
}

static uint64_t real_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The master of the segment: it holds the lock of its pidfile as long as it lives. */
static bool master_runs(const struct config *c, const struct shm *shm)
{
	pid_t master = where_master(c);

	return master && (uint32_t)master == shm->header->master_pid;
}

static void print_age(uint64_t since_ms)
{
	uint64_t now = real_ms(), s = now > since_ms ? (now - since_ms) / 1000 : 0;

	if (s < 60)
		printf("%" PRIu64 "s", s);
	else if (s < 3600)
		printf("%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
	else
		printf("%" PRIu64 "h%02" PRIu64 "m", s / 3600, s / 60 % 60);
}

static const char *alive(uint32_t pid)
{
	return pid && (kill((pid_t)pid, 0) == 0 || errno == EPERM) ? "" : "  (not running)";
}

static const char *broker_state(const struct shm *shm)
{
	switch (atomic_load(&shm->bridge->broker_state)) {
	case SHM_BROKER_CONNECTED:
		return "connected";
	case SHM_BROKER_LOST:
		return "away";
	}
	return "never reached yet";
}

static void status_bridge(const struct shm *shm)
{
	const struct shm_bridge *b = shm->bridge;
	const struct bridge_stats *s = &b->stats;
	uint32_t pid = atomic_load(&b->pid);

	printf("broker   %s, %" PRIu64 " reconnects, round trip %" PRIu64 " us\n", broker_state(shm),
		stat_get(s->reconnects), stat_get(s->rtt_us));
	printf("bridge   pid %u, up ", pid);
	print_age(stat_get(b->started_ms));
	printf(", %" PRIu64 " users, %" PRIu64 " bytes buffered%s\n", stat_get(s->users),
		stat_get(s->buffered_bytes), alive(pid));
	printf("in       %" PRIu64 " stored, %" PRIu64 " under way, %" PRIu64 " retries, %" PRIu64
	       " duplicates, %" PRIu64 " refused\n",
		stat_get(s->stored), stat_get(s->publishing), stat_get(s->retries), stat_get(s->duplicates),
		stat_get(s->refused));
	printf("out      %" PRIu64 " delivered, %" PRIu64 " removed, %" PRIu64 " removals under way, %" PRIu64
	       " fell behind, %" PRIu64 " set aside\n",
		stat_get(s->delivered), stat_get(s->removals), stat_get(s->removals_pending),
		stat_get(s->fell_behind), stat_get(s->aside));
	printf("reads    %" PRIu64 " live, %" PRIu64 " direct gets, %" PRIu64 " gaps, %" PRIu64 " rescans\n",
		stat_get(s->live), stat_get(s->gets), stat_get(s->gaps), stat_get(s->rescans));
}

static void status_worker(const struct shm *shm, unsigned i)
{
	const struct shm_slot *w = shm_slot(shm, i);
	const struct worker_stats *s = &w->stats;
	uint32_t pid = atomic_load(&w->pid), draining = atomic_load(&w->draining);

	printf("worker %-2u pid %u, up ", i, pid);
	print_age(stat_get(w->started_ms));
	printf(", start %" PRIu64 ", %" PRIu64 " connections, %" PRIu64 " in, %" PRIu64 " out, %" PRIu64
	       " refused, %" PRIu64 " paused%s%s\n",
		stat_get(w->generation), stat_get(s->connections), stat_get(s->messages_in),
		stat_get(s->messages_out), stats_sum(s->refused, STATS_STATUSES), stat_get(s->paused),
		draining == SHM_RETIRING ? ", retiring" : draining ? ", draining" : "", alive(pid));
}

static uint64_t connections(const struct shm *shm)
{
	uint64_t n = 0;

	for (unsigned i = 0; shm_slot_used(shm, i); i++)
		n += stat_get(shm_slot(shm, i)->stats.connections);
	return n;
}

int view_status(const struct config *c)
{
	struct shm shm;

	if (view_open(&shm, c) < 0)
		return CTL_FAILED;
	printf("wsgated  %.31s, master pid %u, up ", shm.header->version, shm.header->master_pid);
	print_age(shm.header->created_ms);
	printf(", %" PRIu64 " connections%s\n", connections(&shm), master_runs(c, &shm) ? "" : "  (not running)");
	order_status(c);
	status_bridge(&shm);
	for (unsigned i = 0; shm_slot_used(&shm, i); i++)
		if (stat_get(shm_slot(&shm, i)->generation)) /* else nobody worked there yet */
			status_worker(&shm, i);
	shm_unmap(&shm);
	return CTL_OK;
}

/* Names come from clients: nothing of them reaches the terminal as it is but printable ASCII. */
static void print_name(const char *s, size_t len)
{
	char enc[TOKEN_ENCODED_MAX + 1];

	if (token_encode(s, len, enc, sizeof(enc)) < 0)
		enc[0] = '\0';
	printf("%-20s ", enc);
}

static void print_session(const struct route_view *v)
{
	static const char *const states[] = { "free", "opening", "open", "ended" };
	char addr[ROUTE_ADDR_NAME], conn[ROUTE_ID_TEXT];

	route_addr_name(addr, v->addr, v->port);
	route_id_text(v->id, conn);
	print_name(v->service, v->service_len);
	print_name(v->user, v->user_len);
	printf("%-17s %-8s given %-8" PRIu64 " confirmed %-8" PRIu64 " %s ", conn, states[v->state & 3], v->given,
		v->confirmed, addr);
	print_age((uint64_t)v->figures.opened_s * 1000);
	putchar('\n');
}

static bool matches(const char *want, const char *name, size_t len)
{
	return !want || (strlen(want) == len && memcmp(want, name, len) == 0);
}

int view_sessions(const struct config *c, const char *service, const char *user)
{
	struct shm shm;

	if (view_open(&shm, c) < 0)
		return CTL_FAILED;
	for (unsigned i = 0; shm_slot_used(&shm, i); i++) {
		struct route_section s = shm_routes(&shm, i);
		uint64_t generation = stat_get(shm_slot(&shm, i)->generation);
		struct route_view v;

		for (uint32_t k = 0; k < s.n; k++)
			if (route_read(&s, k, &v) && v.generation >> 32 == generation &&
				(v.state == ROUTE_OPENING || v.state == ROUTE_OPEN) &&
				matches(service, v.service, v.service_len) &&
				matches(user, v.user, v.user_len))
				print_session(&v);
	}
	shm_unmap(&shm);
	return fflush(stdout) == 0 ? CTL_OK : CTL_FAILED;
}

int view_check(const struct config *c, const char *file)
{
	struct shm shm;
	bool ok;

	printf("configuration  good (%s)\n", access(file, R_OK) == 0 ? file : "defaults");
	if (view_open(&shm, c) < 0)
		return CTL_FAILED;
	ok = master_runs(c, &shm);
	printf("wsgated        %s, pid %u\n", ok ? "running" : "not running", shm.header->master_pid);
	printf("broker         %s\n", ok ? broker_state(&shm) : "unknown");
	ok = ok && atomic_load(&shm.bridge->broker_state) == SHM_BROKER_CONNECTED;
	shm_unmap(&shm);
	return ok ? CTL_OK : CTL_FAILED;
}
