#include <stdio.h>

#include "ctl.h"
#include "json.h"

static bool incomplete;

void json_add(json_t *object, const char *key, json_t *value)
{
	if (!value || json_object_set_new(object, key, value) < 0)
		incomplete = true;
}

void json_text(json_t *object, const char *key, const char *text)
{
	json_add(object, key, json_string(text));
}

void json_number(json_t *object, const char *key, uint64_t n)
{
	json_add(object, key, json_integer((json_int_t)(n > INT64_MAX ? INT64_MAX : n)));
}

void json_flag(json_t *object, const char *key, bool on)
{
	json_add(object, key, json_boolean(on));
}

json_t *json_counters(const void *base, const struct stats_desc *table, size_t n)
{
	json_t *out = json_object();

	for (size_t i = 0; i < n; i++)
		json_number(out, table[i].field, stats_value(base, &table[i]));
	return out;
}

static void add_rates(json_t *out, const struct stats_rates *r)
{
	json_add(out, "messages_in_per_second", json_real(r->messages_in));
	json_add(out, "bytes_in_per_second", json_real(r->bytes_in));
	json_add(out, "messages_out_per_second", json_real(r->messages_out));
	json_add(out, "bytes_out_per_second", json_real(r->bytes_out));
}

json_t *json_traffic(const struct snapshot_traffic *n, const struct stats_rates *rates)
{
	json_t *out = json_object();

	json_number(out, "connections", n->connections);
	json_number(out, "messages_in", n->messages_in);
	json_number(out, "bytes_in", n->bytes_in);
	json_number(out, "messages_out", n->messages_out);
	json_number(out, "bytes_out", n->bytes_out);
	json_number(out, "unconfirmed", n->unconfirmed);
	json_number(out, "behind", n->behind);
	if (rates)
		add_rates(out, rates);
	return out;
}

const char *json_life(enum snapshot_life life)
{
	return life == SNAPSHOT_RUNS ? "running" : snapshot_life_text(life);
}

json_t *json_workers(const struct snapshot *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->nworkers; i++) {
		const struct snapshot_worker *w = &s->workers[i];
		json_t *o = json_counters(w->stats, stats_worker, STATS_WORKER_N);

		json_number(o, "worker", w->slot);
		json_number(o, "pid", w->pid);
		json_text(o, "state", json_life(w->life));
		json_flag(o, "draining", w->draining);
		json_flag(o, "retiring", w->retiring);
		json_number(o, "uptime_seconds", w->age_s);
		json_number(o, "starts", w->starts);
		json_number(o, "connections", w->n.connections);
		json_number(o, "unconfirmed", w->n.unconfirmed);
		json_number(o, "behind", w->n.behind);
		json_number(o, "refused", stats_sum(w->stats->refused, STATS_STATUSES));
		add_rates(o, &w->rates);
		if (json_array_append_new(list, o) < 0)
			incomplete = true;
	}
	return list;
}

json_t *json_services(const struct snapshot *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->nservices; i++) {
		json_t *o = json_traffic(&s->services[i].n, NULL);

		/* Encoded, as in subjects; null: all those that have no row of their own. */
		json_add(o, "service",
			s->services[i].name[0] ? json_string(s->services[i].name) : json_null());
		if (json_array_append_new(list, o) < 0)
			incomplete = true;
	}
	return list;
}

int json_line(json_t *object)
{
	int r = object && !incomplete ? json_dumpf(object, stdout, JSON_COMPACT) : -1;

	json_decref(object);
	if (r < 0) {
		fprintf(stderr, "wsgatectl: out of memory, or standard output cannot be written\n");
		return CTL_FAILED;
	}
	putchar('\n');
	return CTL_OK;
}
