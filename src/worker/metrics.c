/*
 * metrics: all figures in the text format of Prometheus (version 0.0.4). Sums are of all workers
 * that there ever were, so that none of them goes back; how things are now has a label.
 */
#include <event2/event.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wsgate/snapshot.h>
#include <wsgate/tlsctx.h>

#include "worker.h"

/* Encoded names have no such character: no service can be called that. */
#define OTHER "*other"

/* ---- lines ---- */

static void family(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP wsgate_%s %s\n# TYPE wsgate_%s %s\n", name, help, name, type);
}

static void name_of(const struct stats_desc *d, char out[80])
{
	snprintf(out, 80, "%s%s", d->metric, d->kind == STATS_COUNTER ? "_total" : "");
}

static void family_of(FILE *out, const struct stats_desc *d)
{
	char name[80];

	name_of(d, name);
	family(out, name, d->kind == STATS_COUNTER ? "counter" : "gauge", d->help);
}

/* labels: "{…}", or "". */
static void value(FILE *out, const struct stats_desc *d, const char *labels, uint64_t n)
{
	char name[80];

	name_of(d, name);
	if (d->unit == STATS_MICROSECONDS)
		fprintf(out, "wsgate_%s%s %" PRIu64 ".%06" PRIu64 "\n", name, labels, n / 1000000,
			n % 1000000);
	else
		fprintf(out, "wsgate_%s%s %" PRIu64 "\n", name, labels, n);
}

static void single(FILE *out, const char *name, const char *help, double v)
{
	family(out, name, "gauge", help);
	fprintf(out, "wsgate_%s %.17g\n", name, v);
}

/* A label's value: a backslash and a quote are escaped, and nothing else is in these names. */
static void escape(const char *s, char *out, size_t size)
{
	size_t n = 0;

	for (; *s && n + 3 < size; s++) {
		if (*s == '\\' || *s == '"')
			out[n++] = '\\';
		out[n++] = *s;
	}
	out[n] = '\0';
}

/* ---- one after the other ---- */

static void metrics_build(FILE *out, const struct snapshot *s)
{
	char version[64];

	escape(s->shm.header->version, version, sizeof(version));
	family(out, "build_info", "gauge", "Always 1; the versions are labels");
	fprintf(out, "wsgate_build_info{version=\"%s\",libevent=\"%s\",openssl=\"%s\"} 1\n",
		version, event_get_version(), OpenSSL_version(OPENSSL_VERSION_STRING));
	single(out, "start_time_seconds", "When the master was started, since 1970",
		(double)s->shm.header->created_ms / 1000);
}

static void metrics_workers(FILE *out, const struct snapshot *s)
{
	char labels[32];

	for (size_t i = 0; i < STATS_WORKER_N; i++) {
		const struct stats_desc *d = &stats_worker[i];

		family_of(out, d);
		if (d->kind == STATS_COUNTER) {
			value(out, d, "", snapshot_sum(s, d));
			continue;
		}
		for (size_t k = 0; k < s->nworkers; k++) {
			if (s->workers[k].life > SNAPSHOT_HANGS)
				continue;
			snprintf(labels, sizeof(labels), "{worker=\"%u\"}", s->workers[k].slot);
			value(out, d, labels, stats_value(s->workers[k].stats, d));
		}
	}
}

static void metrics_codes(FILE *out, const struct snapshot *s)
{
	static const char *const by[STATS_SIDES] = {"client", "gateway"};
	char code[8];

	family(out, "handshakes_refused_total", "counter",
		"Refused HTTP requests of clients, by the status of the answer");
	for (unsigned i = 0; i < STATS_STATUSES; i++) {
		snprintf(code, sizeof(code), "%u", stats_statuses[i]);
		fprintf(out, "wsgate_handshakes_refused_total{status=\"%s\"} %" PRIu64 "\n",
			stats_statuses[i] ? code : "other", snapshot_refused(s, i));
	}
	family(out, "connections_closed_total", "counter",
		"Ended WebSocket connections, by close code and by who began");
	for (unsigned side = 0; side < STATS_SIDES; side++)
		for (unsigned i = 0; i < STATS_CODES; i++) {
			snprintf(code, sizeof(code), "%u", stats_codes[i]);
			fprintf(out,
				"wsgate_connections_closed_total{by=\"%s\",code=\"%s\"} %" PRIu64
				"\n",
				by[side], stats_codes[i] ? code : "other",
				snapshot_closed(s, (enum stats_side)side, i));
		}
}

static void metrics_services(FILE *out, const struct snapshot *s)
{
	char name[2 * TOKEN_ENCODED_MAX + 4], labels[sizeof(name) + 16];

	for (size_t i = 0; i < STATS_SERVICE_N; i++) {
		const struct stats_desc *d = &stats_service[i];

		family_of(out, d);
		for (size_t k = 0; k < s->nservices; k++) {
			const struct snapshot_service *v = &s->services[k];

			escape(v->name[0] ? v->name : OTHER, name, sizeof(name));
			snprintf(labels, sizeof(labels), "{service=\"%s\"}", name);
			value(out, d, labels, stats_view_value(&v->v, d));
		}
	}
}

static uint64_t stream_connected(const struct snapshot_stream *v)
{
	return v->state == SHM_BROKER_CONNECTED;
}

static uint64_t stream_users(const struct snapshot_stream *v)
{
	return v->users;
}

static uint64_t stream_stored(const struct snapshot_stream *v)
{
	return v->stored;
}

static uint64_t stream_delivered(const struct snapshot_stream *v)
{
	return v->delivered;
}

static uint64_t stream_removals(const struct snapshot_stream *v)
{
	return v->removals_pending;
}

static uint64_t stream_reconnects(const struct snapshot_stream *v)
{
	return v->reconnects;
}

static void metrics_streams(FILE *out, const struct snapshot *s)
{
	static const struct {
		const char *name, *type, *help;
		uint64_t (*of)(const struct snapshot_stream *v);
	} rows[] = {
		{"stream_connected", "gauge", "1: connected to the broker, and the stream is there",
			stream_connected},
		{"stream_users", "gauge", "Users of its services who are connected", stream_users},
		{"stream_stored_total", "counter", "Messages from clients that it has stored",
			stream_stored},
		{"stream_delivered_total", "counter",
			"Messages of it that were given to connections", stream_delivered},
		{"stream_removals_pending", "gauge",
			"Confirmed messages that are to be removed from it", stream_removals},
		{"stream_reconnects_total", "counter", "Sessions with the broker after the first",
			stream_reconnects},
	};

	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		family(out, rows[r].name, rows[r].type, rows[r].help);
		for (size_t i = 0; i < s->nstreams; i++)
			fprintf(out, "wsgate_%s{stream=\"%s\"} %" PRIu64 "\n", rows[r].name,
				s->streams[i].name, rows[r].of(&s->streams[i]));
	}
}

static void metrics_hist(FILE *out, const struct stats_hist_desc *d, const struct hist_view *v)
{
	uint64_t n = 0;

	family(out, d->metric, "histogram", d->help);
	for (unsigned i = 0; i < HIST_BUCKETS - 1; i++) {
		n += v->n[i];
		fprintf(out, "wsgate_%s_bucket{le=\"%g\"} %" PRIu64 "\n", d->metric,
			hist_bounds[i] / 1e6, n);
	}
	n += v->n[HIST_BUCKETS - 1];
	fprintf(out, "wsgate_%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", d->metric, n);
	fprintf(out, "wsgate_%s_sum %.6f\n", d->metric, (double)v->sum_us / 1e6);
	fprintf(out, "wsgate_%s_count %" PRIu64 "\n", d->metric, n);
}

/* ---- by worker ---- */

struct by_worker {
	const char *name, *type, *help;
	bool dead; /* also of one that does not run */
	uint64_t (*of)(const struct snapshot_worker *w);
};

static uint64_t worker_up(const struct snapshot_worker *w)
{
	return w->life == SNAPSHOT_RUNS;
}

static uint64_t worker_starts(const struct snapshot_worker *w)
{
	return w->starts;
}

static uint64_t worker_behind(const struct snapshot_worker *w)
{
	return w->n.behind;
}

static uint64_t worker_draining(const struct snapshot_worker *w)
{
	return w->draining || w->retiring;
}

static uint64_t worker_up_ring(const struct snapshot_worker *w)
{
	return w->up_bytes;
}

static uint64_t worker_down_ring(const struct snapshot_worker *w)
{
	return w->down_bytes;
}

static uint64_t worker_down_peak(const struct snapshot_worker *w)
{
	return stat_get(w->slot_words->down_peak);
}

static void metrics_each_worker(FILE *out, const struct snapshot *s)
{
	static const struct by_worker rows[] = {
		{"worker_up", "gauge", "1: it runs; 0: it hangs, or is dead", true, worker_up},
		{"worker_starts_total", "counter", "Starts of the worker", true, worker_starts},
		{"worker_draining", "gauge", "1: it takes no new connections", false,
			worker_draining},
		{"connections_behind", "gauge",
			"Connections whose messages wait in the stream until they have taken what "
			"they were given",
			false, worker_behind},
		{"up_ring_bytes", "gauge",
			"Bytes from clients that wait for the bridge, in the worker's fullest "
			"ring: there is one for each stream",
			true, worker_up_ring},
		{"down_ring_bytes", "gauge", "Bytes for clients that wait for their worker", false,
			worker_down_ring},
		{"down_ring_peak_bytes", "gauge",
			"Most bytes that ever waited for the worker at a time", false,
			worker_down_peak},
	};

	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		family(out, rows[r].name, rows[r].type, rows[r].help);
		for (size_t i = 0; i < s->nworkers; i++) {
			const struct snapshot_worker *w = &s->workers[i];

			/* One that was asked to end is nobody's fault. */
			if (w->life == SNAPSHOT_ENDED ||
				(w->life == SNAPSHOT_DEAD && !rows[r].dead))
				continue;
			fprintf(out, "wsgate_%s{worker=\"%u\"} %" PRIu64 "\n", rows[r].name,
				w->slot, rows[r].of(w));
		}
	}
	single(out, "up_ring_size_bytes", "Room for what waits for the bridge, each ring",
		(double)s->shm.header->sizes.up_size);
	single(out, "down_ring_size_bytes", "Room for what waits for a worker, each",
		(double)s->shm.header->sizes.down_size);
}

static void metrics_processes(FILE *out, const struct snapshot *s)
{
	char labels[48];

	for (size_t i = 0; i < STATS_PROCESS_N; i++) {
		const struct stats_desc *d = &stats_process[i];

		family_of(out, d);
		value(out, d, "{process=\"bridge\"}", stats_value(&s->shm.bridge->process, d));
		for (size_t k = 0; k < s->nworkers; k++) {
			const struct snapshot_worker *w = &s->workers[k];

			if (w->life > SNAPSHOT_HANGS && d->kind == STATS_GAUGE)
				continue;
			snprintf(labels, sizeof(labels), "{process=\"worker %u\"}", w->slot);
			value(out, d, labels, stats_value(&w->slot_words->process, d));
		}
	}
}

static void metrics_state(FILE *out, const struct worker *w, const struct snapshot *s)
{
	const struct proto_deeds *d = &w->deeds;

	single(out, "ready", "1: /readyz answers 200", !admin_not_ready(w));
	single(out, "drained", "1: wsgatectl drain was said: not ready, until wsgatectl undrain",
		w->drain.begin_ms != 0);
	single(out, "bridge_up", "1: the bridge runs; 0: it hangs, or is dead",
		s->bridge == SNAPSHOT_RUNS);
	single(out, "broker_connected", "1: connected to the broker, for every stream",
		strcmp(snapshot_broker(s), "connected") == 0);
	single(out, "connections_limit", "max_connections of the configuration",
		w->c->max_connections);
	family(out, "reloads_total", "counter", "Reloads of the configuration, by outcome");
	fprintf(out, "wsgate_reloads_total{outcome=\"good\"} %" PRIu64 "\n", d->reloads_good);
	fprintf(out, "wsgate_reloads_total{outcome=\"failed\"} %" PRIu64 "\n", d->reloads_failed);
	single(out, "last_reload_successful", "0: the last reload failed",
		d->outcome != PROTO_RELOAD_FAILED);
	single(out, "last_reload_timestamp_seconds",
		"When the last reload ended, since 1970; 0: none so far",
		(double)d->reload_ms / 1000);
}

/* Any worker knows them. */
static void metrics_certificates(FILE *out, const struct worker *w)
{
	char listen[2 * PROTO_ADDRESS_MAX];

	family(out, "tls_certificate_expiry_timestamp_seconds", "gauge",
		"When the first certificate of a tls section expires, since 1970");
	for (size_t i = 0; w->sections && i < w->c->ntls; i++) {
		escape(w->c->tls[i].listen, listen, sizeof(listen));
		fprintf(out,
			"wsgate_tls_certificate_expiry_timestamp_seconds{listen=\"%s\"} %" PRId64
			"\n",
			listen, tlsctx_expires_s(w->sections[i]));
	}
}

char *metrics_text(const struct worker *w, size_t *len)
{
	struct snapshot s;
	char *text = NULL;
	FILE *out;
	bool bad;

	if (snapshot_take(&s, &w->shm) < 0)
		return NULL;
	out = open_memstream(&text, len);
	if (out) {
		metrics_build(out, &s);
		metrics_state(out, w, &s);
		metrics_workers(out, &s);
		metrics_codes(out, &s);
		metrics_each_worker(out, &s);
		for (size_t i = 0; i < STATS_BRIDGE_N; i++) {
			family_of(out, &stats_bridge[i]);
			value(out, &stats_bridge[i], "",
				stats_value(&s.shm.bridge->stats, &stats_bridge[i]));
		}
		metrics_services(out, &s);
		metrics_streams(out, &s);
		metrics_processes(out, &s);
		metrics_certificates(out, w);
		for (unsigned i = 0; i < STATS_HISTS; i++)
			metrics_hist(out, &stats_hists[i], &s.hists[i]);
		bad = ferror(out);
		if ((fclose(out) != 0 || bad) && text) {
			free(text);
			text = NULL;
		}
	}
	snapshot_free(&s);
	return text;
}
