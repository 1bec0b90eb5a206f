/* One screen, or one object. */
#include <inttypes.h>
#include <stdio.h>

#include <jansson.h>

#include "ctl.h"
#include "format.h"
#include "json.h"

static void print_rates(const char *what, const struct stats_rates *r)
{
	char in[FORMAT_COUNT_MAX], in_b[FORMAT_COUNT_MAX], out[FORMAT_COUNT_MAX],
		out_b[FORMAT_COUNT_MAX];

	printf("%sin %s/s %sB/s, out %s/s %sB/s", what, format_count(in, r->messages_in),
		format_bytes(in_b, r->bytes_in), format_count(out, r->messages_out),
		format_bytes(out_b, r->bytes_out));
}

static const char *in_brackets(enum snapshot_life life)
{
	static const char *const texts[] = {"", "  (hangs)", "  (not running)", "  (ended)"};

	return texts[life];
}

static void print_bridge(const struct snapshot *s)
{
	const struct bridge_stats *b = &s->shm.bridge->stats;
	char age[FORMAT_AGE_MAX];

	printf("broker   %s", snapshot_broker(s));
	if (s->bridge == SNAPSHOT_RUNS &&
		atomic_load(&s->shm.bridge->broker_state) != SHM_BROKER_NEVER)
		printf(" for %s", format_age(age, s->broker_since_s));
	printf("%s%s, %" PRIu64 " reconnects, round trip %" PRIu64 " us\n",
		s->server[0] ? ", " : "", s->server, stat_get(b->reconnects), stat_get(b->rtt_us));
	for (size_t i = 0; s->nstreams > 1 && i < s->nstreams; i++) {
		const struct snapshot_stream *v = &s->streams[i];

		printf("stream   %s: %s", v->name, snapshot_state(v->state));
		if (v->state != SHM_BROKER_NEVER)
			printf(" for %s", format_age(age, v->since_s));
		printf(", %" PRIu64 " users, %" PRIu64 " stored, %" PRIu64 " delivered, %" PRIu64
		       " removals under way, %" PRIu64 " reconnects\n",
			v->users, v->stored, v->delivered, v->removals_pending, v->reconnects);
	}
	printf("bridge   pid %u, up %s, start %" PRIu64 ", %" PRIu64 " users, %" PRIu64
	       " bytes buffered%s\n",
		atomic_load(&s->shm.bridge->pid), format_age(age, s->bridge_age_s),
		stat_get(b->starts), stat_get(b->users), stat_get(b->buffered_bytes),
		in_brackets(s->bridge));
	printf("in       %" PRIu64 " stored, %" PRIu64 " under way, %" PRIu64 " retries, %" PRIu64
	       " duplicates, %" PRIu64 " refused\n",
		stat_get(b->stored), stat_get(b->publishing), stat_get(b->retries),
		stat_get(b->duplicates), stat_get(b->refused));
	printf("out      %" PRIu64 " delivered, %" PRIu64 " removed, %" PRIu64
	       " removals under way, %" PRIu64 " fell behind, %" PRIu64 " set aside\n",
		stat_get(b->delivered), stat_get(b->removals), stat_get(b->removals_pending),
		stat_get(b->fell_behind), stat_get(b->aside));
	if (stat_get(b->gateways) || stat_get(b->gateways_lost))
		printf("others   %" PRIu64 " gateways heard, %" PRIu64 " lost so far, %" PRIu64
		       " users there, too, %" PRIu64 " of them slower there, %" PRIu64
		       " not answered for yet\n",
			stat_get(b->gateways), stat_get(b->gateways_lost),
			stat_get(b->shared_users), stat_get(b->held_users),
			stat_get(b->unclear_users));
	printf("reads    %" PRIu64 " live, %" PRIu64 " gets, %" PRIu64 " gaps, %" PRIu64
	       " rescans\n",
		stat_get(b->live), stat_get(b->gets), stat_get(b->gaps), stat_get(b->rescans));
}

static void print_worker(const struct snapshot_worker *w)
{
	char age[FORMAT_AGE_MAX];

	if (w->life == SNAPSHOT_ENDED) {
		printf("worker %-2u ended, after start %" PRIu64 "\n", w->slot, w->starts);
		return;
	}
	printf("worker %-2u pid %u, up %s, start %" PRIu64 ", %" PRIu64 " connections, ", w->slot,
		w->pid, format_age(age, w->age_s), w->starts, w->n.connections);
	print_rates("", &w->rates);
	printf(", %" PRIu64 " refused, %" PRIu64 " paused%s%s\n",
		stats_sum(w->stats->refused, STATS_STATUSES), stat_get(w->stats->paused),
		w->retiring   ? ", retiring"
		: w->draining ? ", draining"
			      : "",
		in_brackets(w->life));
}

static void print_tls(const struct snapshot *s)
{
	uint64_t tls = 0, ktls = 0;

	for (size_t i = 0; i < s->nworkers; i++) {
		tls += s->workers[i].tls;
		ktls += s->workers[i].ktls;
	}
	if (tls)
		printf("tls      %" PRIu64 " connections, %" PRIu64
		       " with their keys in the kernel\n",
			tls, ktls);
}

static void print_status(const struct config *c, const struct snapshot *s)
{
	char age[FORMAT_AGE_MAX];

	printf("wsgated  %.31s, master pid %u, up %s, %" PRIu64 " connections%s\n",
		s->shm.header->version, s->shm.header->master_pid, format_age(age, s->age_s),
		s->total.connections, s->runs ? "" : "  (not running)");
	order_status(c, s);
	print_rates("traffic  ", &s->rates);
	printf(", %" PRIu64 " unconfirmed, %" PRIu64 " connections behind\n", s->total.unconfirmed,
		s->total.behind);
	print_tls(s);
	print_bridge(s);
	for (size_t i = 0; i < s->nworkers; i++)
		print_worker(&s->workers[i]);
}

static json_t *status_json(const struct config *c, const struct snapshot *s)
{
	struct proto_drain drain;
	bool known;
	json_t *reload = order_status_json(c, &drain, &known);

	return figures_status(s, reload, figures_drain(s, known ? &drain : NULL));
}

int status_show(const struct config *c, bool json)
{
	struct snapshot s;
	int r = CTL_OK;

	if (view_take(&s, c) < 0)
		return CTL_FAILED;
	if (json)
		r = json_line(status_json(c, &s));
	else
		print_status(c, &s);
	view_drop(&s);
	return r == CTL_OK && fflush(stdout) == 0 ? CTL_OK : CTL_FAILED;
}
