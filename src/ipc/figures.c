#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wsgate/figures.h>

#define MINUTE_SAMPLES (60000 / HISTORY_MS)

static bool incomplete;

void figures_add(json_t *object, const char *key, json_t *value)
{
	if (!value || json_object_set_new(object, key, value) < 0)
		incomplete = true;
}

void figures_append(json_t *array, json_t *value)
{
	if (!value || json_array_append_new(array, value) < 0)
		incomplete = true;
}

json_t *figures_string(const char *s, size_t len)
{
	json_t *text = json_stringn(s, len);
	char *ascii;

	if (text)
		return text;
	ascii = strndup(s, len);
	for (size_t i = 0; ascii && ascii[i]; i++)
		if ((unsigned char)ascii[i] >= 0x80)
			ascii[i] = '?';
	text = ascii ? json_string(ascii) : NULL;
	free(ascii);
	return text;
}

void figures_text(json_t *object, const char *key, const char *text)
{
	figures_add(object, key, figures_string(text, strlen(text)));
}

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)(n > INT64_MAX ? INT64_MAX : n));
}

void figures_number(json_t *object, const char *key, uint64_t n)
{
	figures_add(object, key, number(n));
}

void figures_flag(json_t *object, const char *key, bool on)
{
	figures_add(object, key, json_boolean(on));
}

bool figures_complete(void)
{
	bool was = !incomplete;

	incomplete = false;
	return was;
}

static json_t *counters(const void *base, const struct stats_desc *table, size_t n)
{
	json_t *out = json_object();

	for (size_t i = 0; i < n; i++)
		figures_number(out, table[i].field, stats_value(base, &table[i]));
	return out;
}

static void add_rates(json_t *out, const struct stats_rates *r)
{
	figures_add(out, "messages_in_per_second", json_real(r->messages_in));
	figures_add(out, "bytes_in_per_second", json_real(r->bytes_in));
	figures_add(out, "messages_out_per_second", json_real(r->messages_out));
	figures_add(out, "bytes_out_per_second", json_real(r->bytes_out));
}

json_t *figures_traffic(const struct snapshot_traffic *n, const struct stats_rates *rates)
{
	json_t *out = json_object();

	figures_number(out, "connections", n->connections);
	figures_number(out, "messages_in", n->messages_in);
	figures_number(out, "bytes_in", n->bytes_in);
	figures_number(out, "messages_out", n->messages_out);
	figures_number(out, "bytes_out", n->bytes_out);
	figures_number(out, "unconfirmed", n->unconfirmed);
	figures_number(out, "behind", n->behind);
	if (rates)
		add_rates(out, rates);
	return out;
}

const char *figures_life(enum snapshot_life life)
{
	return life == SNAPSHOT_RUNS ? "running" : snapshot_life_text(life);
}

/* ---- workers, services ---- */

/* Only if there were some: most of these numbers stay 0. */
static void add_sum(json_t *to, uint16_t name, uint64_t n)
{
	char key[8];

	snprintf(key, sizeof(key), "%u", name);
	if (n)
		figures_number(to, name ? key : "other", n);
}

static void add_codes(
	json_t *to, const char *key, const _Atomic uint64_t *v, const uint16_t *names, unsigned n)
{
	json_t *out = json_object();

	for (unsigned i = 0; i < n; i++)
		add_sum(out, names[i], stat_get(v[i]));
	figures_add(to, key, out);
}

static void add_worker(json_t *list, const struct snapshot_worker *w)
{
	const struct worker_stats *s = w->stats;
	json_t *o = counters(s, stats_worker, STATS_WORKER_N);

	figures_number(o, "worker", w->slot);
	figures_number(o, "pid", w->pid);
	figures_text(o, "state", figures_life(w->life));
	figures_flag(o, "draining", w->draining);
	figures_flag(o, "retiring", w->retiring);
	figures_number(o, "uptime_seconds", w->age_s);
	figures_number(o, "starts", w->starts);
	figures_number(o, "connections", w->n.connections);
	figures_number(o, "tls", w->tls);
	figures_number(o, "ktls", w->ktls);
	figures_number(o, "unconfirmed", w->n.unconfirmed);
	figures_number(o, "behind", w->n.behind);
	figures_number(o, "up_ring_bytes", w->up_bytes);
	figures_number(o, "down_ring_bytes", w->down_bytes);
	figures_number(o, "down_ring_peak_bytes", stat_get(w->slot_words->down_peak));
	figures_number(o, "refused", stats_sum(s->refused, STATS_STATUSES));
	add_codes(o, "refused_by_status", s->refused, stats_statuses, STATS_STATUSES);
	add_codes(o, "closed_by_client", s->closed[STATS_BY_CLIENT], stats_codes, STATS_CODES);
	add_codes(o, "closed_by_gateway", s->closed[STATS_BY_GATEWAY], stats_codes, STATS_CODES);
	figures_add(
		o, "process", counters(&w->slot_words->process, stats_process, STATS_PROCESS_N));
	add_rates(o, &w->rates);
	figures_append(list, o);
}

json_t *figures_workers(const struct snapshot *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->nworkers; i++)
		add_worker(list, &s->workers[i]);
	return list;
}

json_t *figures_services(const struct snapshot *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->nservices; i++) {
		const struct snapshot_service *v = &s->services[i];
		json_t *o = json_object();

		/* Encoded, as in subjects; null: all those that have no row of their own. */
		figures_add(o, "service", v->name[0] ? json_string(v->name) : json_null());
		for (size_t k = 0; k < STATS_SERVICE_N; k++)
			figures_number(o, stats_service[k].field,
				stats_view_value(&v->v, &stats_service[k]));
		figures_number(o, "behind", v->behind);
		figures_append(list, o);
	}
	return list;
}

json_t *figures_endings(const struct snapshot *s)
{
	json_t *out = json_object(), *refused = json_object(), *client = json_object(),
	       *gateway = json_object();

	for (unsigned i = 0; i < STATS_STATUSES; i++)
		add_sum(refused, stats_statuses[i], snapshot_refused(s, i));
	for (unsigned i = 0; i < STATS_CODES; i++) {
		add_sum(client, stats_codes[i], snapshot_closed(s, STATS_BY_CLIENT, i));
		add_sum(gateway, stats_codes[i], snapshot_closed(s, STATS_BY_GATEWAY, i));
	}
	figures_add(out, "refused_by_status", refused);
	figures_add(out, "closed_by_client", client);
	figures_add(out, "closed_by_gateway", gateway);
	return out;
}

static json_t *figures_streams(const struct snapshot *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->nstreams; i++) {
		const struct snapshot_stream *v = &s->streams[i];
		json_t *o = json_object();

		figures_text(o, "stream", v->name);
		figures_text(o, "state", snapshot_state(v->state));
		figures_number(o, "since_seconds", v->since_s);
		figures_number(o, "users", v->users);
		figures_number(o, "stored", v->stored);
		figures_number(o, "delivered", v->delivered);
		figures_number(o, "removals_pending", v->removals_pending);
		figures_number(o, "reconnects", v->reconnects);
		figures_append(list, o);
	}
	return list;
}

json_t *figures_drain(const struct snapshot *s, const struct proto_drain *d)
{
	json_t *o = json_object();

	figures_text(o, "state", d ? snapshot_drain(s, d) : "unknown");
	figures_number(o, "since_seconds",
		d && d->begin_ms && s->at_ms > d->begin_ms ? (s->at_ms - d->begin_ms) / 1000 : 0);
	figures_number(o, "left_seconds",
		d && d->end_ms > s->at_ms ? (d->end_ms - s->at_ms + 999) / 1000 : 0);
	return o;
}

/* ---- the whole ---- */

json_t *figures_status(const struct snapshot *s, json_t *reload, json_t *drain)
{
	const struct shm_bridge *b = s->shm.bridge;
	json_t *out = json_object(), *broker = json_object(),
	       *bridge = counters(&b->stats, stats_bridge, STATS_BRIDGE_N);

	figures_number(out, "time_ms", s->real_ms);
	figures_text(out, "version", s->shm.header->version);
	figures_number(out, "pid", s->shm.header->master_pid);
	figures_flag(out, "running", s->runs);
	figures_number(out, "uptime_seconds", s->age_s);
	figures_add(out, "reload", reload);
	figures_add(out, "drain", drain);
	figures_text(broker, "state", snapshot_broker(s));
	figures_number(broker, "since_seconds", s->broker_since_s);
	figures_text(broker, "server", s->server);
	figures_add(out, "broker", broker);
	figures_number(bridge, "pid", atomic_load(&b->pid));
	figures_text(bridge, "state", figures_life(s->bridge));
	figures_number(bridge, "uptime_seconds", s->bridge_age_s);
	figures_add(bridge, "process", counters(&b->process, stats_process, STATS_PROCESS_N));
	figures_add(out, "bridge", bridge);
	figures_add(out, "total", figures_traffic(&s->total, &s->rates));
	figures_add(out, "workers", figures_workers(s));
	figures_add(out, "services", figures_services(s));
	figures_add(out, "streams", figures_streams(s));
	return out;
}

/* ---- history ---- */

enum column_kind { COLUMN_GAUGE, COLUMN_COUNTER };

static json_t *column(
	const struct history_view *v, size_t n, size_t from, size_t offset, enum column_kind kind)
{
	json_t *out = json_array();

	for (size_t i = from; i < n; i++) {
		const uint64_t *now = (const void *)((const char *)&v[i] + offset), *then;

		if (kind == COLUMN_GAUGE) {
			figures_append(out, number(*now));
			continue;
		}
		then = i ? (const void *)((const char *)&v[i - 1] + offset) : now;
		/* A clock that was set back gives no rate. */
		if (!i || v[i].at_ms <= v[i - 1].at_ms || *now < *then)
			figures_append(out, json_null());
		else
			figures_append(out, json_real((double)(*now - *then) * 1000 /
						      (double)(v[i].at_ms - v[i - 1].at_ms)));
	}
	return out;
}

static json_t *seconds(double us)
{
	return us < 0 ? json_null() : json_real(us / 1e6);
}

static void add_quantiles(
	json_t *to, const struct history_view *v, size_t n, size_t from, unsigned hist)
{
	static const struct {
		const char *name;
		double q;
	} qs[] = {{"p50", 0.5}, {"p99", 0.99}};
	char key[64];

	for (size_t k = 0; k < sizeof(qs) / sizeof(qs[0]); k++) {
		json_t *out = json_array();

		for (size_t i = from; i < n; i++)
			figures_append(out, seconds(hist_quantile(&v[i].hists[hist], qs[k].q)));
		snprintf(key, sizeof(key), "%s_%s_seconds", stats_hists[hist].field, qs[k].name);
		figures_add(to, key, out);
	}
}

json_t *figures_history(const struct history_view *v, size_t n, size_t from)
{
	json_t *out = json_object();

	figures_number(out, "interval_seconds", HISTORY_MS / 1000);
	figures_add(out, "at_ms",
		column(v, n, from, offsetof(struct history_view, at_ms), COLUMN_GAUGE));
#define COLUMN_KEY_GAUGE(f) #f
#define COLUMN_KEY_COUNTER(f) #f "_per_second"
#define COLUMN(f, k)                                                                               \
	figures_add(out, COLUMN_KEY_##k(f),                                                        \
		column(v, n, from, offsetof(struct history_view, f), COLUMN_##k));
	HISTORY(COLUMN)
#undef COLUMN
	for (unsigned i = 0; i < STATS_HISTS; i++)
		add_quantiles(out, v, n, from, i);
	return out;
}

json_t *figures_latency(const struct snapshot *s, const struct history_view *v, size_t n)
{
	json_t *out = json_object();

	for (unsigned i = 0; i < STATS_HISTS; i++) {
		struct hist_view minute = {{0}, 0};
		json_t *o = json_object();

		for (size_t k = n > MINUTE_SAMPLES ? n - MINUTE_SAMPLES : 0; k < n; k++)
			for (unsigned b = 0; b < HIST_BUCKETS; b++)
				minute.n[b] += v[k].hists[i].n[b];
		figures_number(o, "count", hist_count(&s->hists[i]));
		figures_add(o, "sum_seconds", json_real((double)s->hists[i].sum_us / 1e6));
		figures_number(o, "last_minute_count", hist_count(&minute));
		figures_add(o, "last_minute_p50_seconds", seconds(hist_quantile(&minute, 0.5)));
		figures_add(o, "last_minute_p90_seconds", seconds(hist_quantile(&minute, 0.9)));
		figures_add(o, "last_minute_p99_seconds", seconds(hist_quantile(&minute, 0.99)));
		figures_add(out, stats_hists[i].field, o);
	}
	return out;
}
