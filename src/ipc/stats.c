#include <string.h>

#include <wsgate/stats.h>

const uint16_t stats_statuses[STATS_STATUSES] = {
	400, 401, 403, 404, 405, 408, 414, 426, 429, 431, 502, 503, 504, 0};
const uint16_t stats_codes[STATS_CODES] = {1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009,
	1011, 1012, 1013, 3000, 3003, 3008, 4001, 4002, 0};

#define DESC(type, f, k, u, m, h) {#f, m, h, STATS_##k, STATS_##u, offsetof(type, f)},
#define WORKER_DESC(f, k, u, m, h) DESC(struct worker_stats, f, k, u, m, h)
#define BRIDGE_DESC(f, k, u, m, h) DESC(struct bridge_stats, f, k, u, m, h)
#define SERVICE_DESC(f, k, u, m, h)                                                                \
	{#f, m, h, STATS_##k, STATS_##u, offsetof(struct stats_service_view, n.f)},
const struct stats_desc stats_worker[STATS_WORKER_N] = {STATS_WORKER(WORKER_DESC)};
const struct stats_desc stats_bridge[STATS_BRIDGE_N] = {STATS_BRIDGE(BRIDGE_DESC)};
const struct stats_desc stats_service[STATS_SERVICE_N] = {STATS_SERVICE(SERVICE_DESC)};
#define PROCESS_DESC(f, k, u, m, h) DESC(struct process_stats, f, k, u, m, h)
const struct stats_desc stats_process[STATS_PROCESS_N] = {STATS_PROCESS(PROCESS_DESC)};

#define WORKER_HIST(f, m, h) {#f, m, h, false, offsetof(struct worker_stats, f)},
#define BRIDGE_HIST(f, m, h) {#f, m, h, true, offsetof(struct bridge_stats, f)},
const struct stats_hist_desc stats_hists[STATS_HISTS] = {
	STATS_WORKER_HISTS(WORKER_HIST) STATS_BRIDGE_HISTS(BRIDGE_HIST)};

static unsigned index_in(const uint16_t *list, unsigned n, unsigned v)
{
	unsigned i = 0;

	while (i < n - 1 && list[i] != v)
		i++;
	return i;
}

unsigned stats_status_index(unsigned status)
{
	return index_in(stats_statuses, STATS_STATUSES, status);
}

unsigned stats_code_index(unsigned code)
{
	return index_in(stats_codes, STATS_CODES, code);
}

uint64_t stats_value(const void *base, const struct stats_desc *d)
{
	const _Atomic uint64_t *v =
		(const _Atomic uint64_t *)(const void *)((const char *)base + d->offset);

	return stat_get(*v);
}

uint64_t stats_view_value(const struct stats_service_view *v, const struct stats_desc *d)
{
	uint64_t n;

	memcpy(&n, (const char *)v + d->offset, sizeof(n));
	return n;
}

uint64_t stats_sum(const _Atomic uint64_t *v, unsigned n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += stat_get(v[i]);
	return sum;
}

/* ---- services ---- */

bool stats_service_read(
	const struct stats_service *rows, unsigned index, struct stats_service_view *out)
{
	const struct stats_service *row = &rows[index];
	uint32_t version = atomic_load_explicit(&row->version, memory_order_acquire);

	if (index > STATS_OTHER || (version & 1))
		return false;
	out->len = row->len;
	if (out->len > TOKEN_MAX || (!out->len && index != STATS_OTHER))
		return false;
	memcpy(out->name, row->name, out->len);
#define LOAD(f, k, u, m, h) out->n.f = stat_get(row->n.f);
	STATS_SERVICE(LOAD)
#undef LOAD
	atomic_thread_fence(memory_order_acquire);
	return version == atomic_load_explicit(&row->version, memory_order_relaxed);
}

static void service_change(struct stats_service *row)
{
	atomic_store_explicit(&row->version, stat_get(row->version) | 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
}

static void service_changed(struct stats_service *row)
{
	atomic_store_explicit(
		&row->version, (stat_get(row->version) | 1) + 1, memory_order_release);
}

/* Killed between the two lines, a sum is counted twice: rather that than a counter that goes back.
 */
static void service_retire(struct stats_service *row, struct stats_service *other)
{
#define MOVE(f, k, u, m, h)                                                                        \
	stat_add(other->n.f, stat_get(row->n.f));                                                  \
	stat_set(row->n.f, 0);
	STATS_SERVICE(MOVE)
#undef MOVE
	row->len = 0;
}

/* What a predecessor left: sums stay, gauges begin anew, and a row in the middle of a change is
 * free. */
void stats_services_start(struct stats_service *rows)
{
	for (unsigned i = 0; i <= STATS_OTHER; i++) {
		stat_set(rows[i].n.connections, 0);
		stat_set(rows[i].n.unconfirmed, 0);
		if (!(stat_get(rows[i].version) & 1))
			continue;
		service_retire(&rows[i], &rows[STATS_OTHER]);
		service_changed(&rows[i]);
	}
}

/* A free row, or of those that nobody holds the one with the least traffic. */
static unsigned service_place(const struct stats_service *rows, const uint32_t *held)
{
	uint64_t least = UINT64_MAX;
	unsigned best = STATS_OTHER;

	for (unsigned i = 0; i < STATS_SERVICES; i++) {
		uint64_t n = stat_get(rows[i].n.messages_in) + stat_get(rows[i].n.messages_out);

		if (!rows[i].len)
			return i;
		if (!held[i] && n < least) {
			least = n;
			best = i;
		}
	}
	return best;
}

unsigned stats_service_hold(
	struct stats_service *rows, uint32_t *held, const char *name, size_t len)
{
	unsigned i = 0;

	while (i < STATS_SERVICES && (rows[i].len != len || memcmp(rows[i].name, name, len) != 0))
		i++;
	if (i == STATS_SERVICES) {
		i = service_place(rows, held);
		if (i != STATS_OTHER) {
			service_change(&rows[i]);
			service_retire(&rows[i], &rows[STATS_OTHER]);
			memcpy(rows[i].name, name, len);
			rows[i].len = (uint8_t)len;
			service_changed(&rows[i]);
		}
	}
	held[i]++;
	return i;
}

void stats_service_drop(uint32_t *held, unsigned index)
{
	if (held[index])
		held[index]--;
}

void stats_service_copy(struct stats_service *to, const struct stats_service *from)
{
	service_change(to);
#define COPY(f, k, u, m, h) stat_set(to->n.f, stat_get(from->n.f));
	STATS_SERVICE(COPY)
#undef COPY
	memcpy(to->name, from->name, from->len);
	to->len = from->len;
	service_changed(to);
}

/* ---- samples ---- */

void stats_sample(struct stats_samples *s, const struct worker_stats *w, uint64_t now_ms)
{
	uint32_t next = !stat_get(s->last);
	struct stats_sample *v = &s->v[next];

	stat_set(v->at_ms, 0);
	atomic_thread_fence(memory_order_release);
	stat_set(v->messages_in, stat_get(w->messages_in));
	stat_set(v->bytes_in, stat_get(w->bytes_in));
	stat_set(v->messages_out, stat_get(w->messages_out));
	stat_set(v->bytes_out, stat_get(w->bytes_out));
	atomic_store_explicit(&v->at_ms, now_ms, memory_order_release);
	atomic_store_explicit(&s->last, next, memory_order_release);
}

uint64_t stats_sampled_ms(const struct stats_samples *s)
{
	uint64_t a = stat_get(s->v[0].at_ms), b = stat_get(s->v[1].at_ms);

	return a > b ? a : b;
}

static double per_second(uint64_t now, uint64_t then, uint64_t ms)
{
	return now > then ? (double)(now - then) * 1000 / (double)ms : 0;
}

struct stats_rates stats_rates(
	const struct stats_samples *s, const struct worker_stats *w, uint64_t now_ms)
{
	struct stats_rates r = {0, 0, 0, 0};
	uint32_t last = atomic_load_explicit(&s->last, memory_order_acquire) & 1;
	const struct stats_sample *v = &s->v[!last];
	uint64_t at = atomic_load_explicit(&v->at_ms, memory_order_acquire);
	uint64_t in, in_bytes, out, out_bytes;

	if (!at) { /* the first second of the first worker */
		v = &s->v[last];
		at = atomic_load_explicit(&v->at_ms, memory_order_acquire);
	}
	in = stat_get(v->messages_in);
	in_bytes = stat_get(v->bytes_in);
	out = stat_get(v->messages_out);
	out_bytes = stat_get(v->bytes_out);
	atomic_thread_fence(memory_order_acquire);
	if (!at || at >= now_ms || at != stat_get(v->at_ms))
		return r;
	r.messages_in = per_second(stat_get(w->messages_in), in, now_ms - at);
	r.bytes_in = per_second(stat_get(w->bytes_in), in_bytes, now_ms - at);
	r.messages_out = per_second(stat_get(w->messages_out), out, now_ms - at);
	r.bytes_out = per_second(stat_get(w->bytes_out), out_bytes, now_ms - at);
	return r;
}
