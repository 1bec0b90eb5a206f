/*
 * stats: what is counted, in shared memory. A counter has one writer, the process in which the
 * thing happens, which adds with plain loads and stores; it lives in the segment, so a child's
 * successor goes on from what is there, and it never goes back. A gauge says how things are now; a
 * successor begins it anew.
 *
 * The tables below are the only list of them: structs, `wsgatectl --json` and metrics are made of
 * the same rows. X(field, kind, unit, metric, help)     metric: wsgate_<metric>, and _total behind
 * a counter Room: ipc.
 */
#ifndef WSGATE_STATS_H
#define WSGATE_STATS_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wsgate/hist.h>
#include <wsgate/subject.h>

enum stats_kind { STATS_COUNTER, STATS_GAUGE };
enum stats_unit { STATS_ONE, STATS_BYTES, STATS_MICROSECONDS };

/* Each worker's; "messages" are whole ones, bytes those of their payload. */
#define STATS_WORKER(X)                                                                            \
	X(accepted, COUNTER, ONE, "connections_accepted",                                          \
		"TCP connections that came to the listeners for clients")                          \
	X(opened, COUNTER, ONE, "connections_opened", "Connections upgraded to WebSocket")         \
	X(moved_in, COUNTER, ONE, "connections_moved_in",                                          \
		"Connections taken over from another worker")                                      \
	X(moved_out, COUNTER, ONE, "connections_moved_out", "Connections given to another worker") \
	X(messages_in, COUNTER, ONE, "received_messages",                                          \
		"Messages from clients, taken for their service")                                  \
	X(bytes_in, COUNTER, BYTES, "received_bytes", "Bytes of the messages from clients")        \
	X(messages_out, COUNTER, ONE, "sent_messages",                                             \
		"Messages from services, handed to a client's socket")                             \
	X(bytes_out, COUNTER, BYTES, "sent_bytes", "Bytes of the messages from services")          \
	X(confirmed, COUNTER, ONE, "confirmed_messages",                                           \
		"Messages that clients proved to have received")                                   \
	X(echo, COUNTER, ONE, "echoed_messages", "Messages sent back on echo_path")                \
	X(paused, COUNTER, ONE, "reading_pauses",                                                  \
		"Messages of clients that had to wait for room on their way to the broker")        \
	X(stale_records, COUNTER, ONE, "stale_deliveries",                                         \
		"Deliveries for connections that had ended")                                       \
	X(repeated, COUNTER, ONE, "repeated_deliveries",                                           \
		"Deliveries repeated by a new bridge, and dropped")                                \
	X(compressed, COUNTER, ONE, "compressed_messages",                                         \
		"Messages sent compressed, for each connection")                                   \
	X(compressed_from, COUNTER, BYTES, "compressed_plain_bytes",                               \
		"Bytes of those messages as they were")                                            \
	X(compressed_to, COUNTER, BYTES, "compressed_bytes",                                       \
		"Bytes of those messages as they were sent")                                       \
	X(compressions, COUNTER, ONE, "compressions",                                              \
		"How often a message was compressed, for one connection or for many")              \
	X(decompressed, COUNTER, ONE, "decompressed_messages",                                     \
		"Messages from clients that came compressed")                                      \
	X(decompressed_from, COUNTER, BYTES, "decompressed_bytes",                                 \
		"Bytes of those messages as they came")                                            \
	X(decompressed_to, COUNTER, BYTES, "decompressed_plain_bytes",                             \
		"Bytes of those messages as they were then")                                       \
	X(limited_total, COUNTER, ONE, "limit_max_connections_refusals",                           \
		"Handshakes refused because of max_connections")                                   \
	X(limited_address, COUNTER, ONE, "limit_address_refusals",                                 \
		"Connections refused because of limits.connections_per_address")                   \
	X(limited_user, COUNTER, ONE, "limit_user_refusals",                                       \
		"Handshakes refused because of limits.connections_per_user")                       \
	X(limited_rate, COUNTER, ONE, "limit_handshake_refusals",                                  \
		"Handshakes refused because of limits.handshakes_per_second")                      \
	X(limited_pauses, COUNTER, ONE, "limit_rate_pauses",                                       \
		"Pauses in reading because of limits.messages_per_second or bytes_per_second")     \
	X(limited_fragments, COUNTER, ONE, "limit_fragments_closes",                               \
		"Connections closed because of limits.fragments")                                  \
	X(limited_idle, COUNTER, ONE, "limit_idle_closes",                                         \
		"Connections closed because of limits.idle_timeout")                               \
	X(limited_age, COUNTER, ONE, "limit_age_closes",                                           \
		"Connections closed because of limits.connection_age")                             \
	X(proxy_errors, COUNTER, ONE, "proxy_errors",                                              \
		"Connections of a proxy without a valid PROXY header")                             \
	X(pong_timeouts, COUNTER, ONE, "pong_timeouts",                                            \
		"Connections ended because no Pong came in time")                                  \
	X(errors, COUNTER, ONE, "protocol_errors",                                                 \
		"Connections ended because of a fault of the client")                              \
	X(connections, GAUGE, ONE, "connections", "Open connections")                              \
	X(tls, GAUGE, ONE, "tls_connections", "Open connections through TLS")                      \
	X(ktls, GAUGE, ONE, "ktls_connections",                                                    \
		"Open connections whose TLS is the kernel's affair (kTLS)")                        \
	X(up_peak, GAUGE, BYTES, "up_ring_peak_bytes",                                             \
		"Most bytes that ever waited for the bridge at a time")                            \
	X(unconfirmed, GAUGE, ONE, "unconfirmed_messages",                                         \
		"Messages sent on open connections and not confirmed yet")

/* The bridge's. */
#define STATS_BRIDGE(X)                                                                            \
	X(starts, COUNTER, ONE, "bridge_starts", "Starts of the bridge")                           \
	X(stored, COUNTER, ONE, "stored_messages",                                                 \
		"Messages from clients that are stored in the stream")                             \
	X(stored_bytes, COUNTER, BYTES, "stored_bytes",                                            \
		"Bytes of the messages from clients that are stored in the stream")                \
	X(duplicates, COUNTER, ONE, "stored_duplicates",                                           \
		"Publishes that the stream had stored before")                                     \
	X(refused, COUNTER, ONE, "refused_messages",                                               \
		"Messages from clients that the broker refused for good")                          \
	X(retries, COUNTER, ONE, "publish_retries",                                                \
		"Publishes to be repeated: no answer, no broker, a full stream")                   \
	X(superseded, COUNTER, ONE, "limit_user_superseded",                                       \
		"Connections closed because of limits.user_policy = supersede")                    \
	X(delivered, COUNTER, ONE, "delivered_messages",                                           \
		"Messages given to workers, for each connection")                                  \
	X(fell_behind, COUNTER, ONE, "fell_behind",                                                \
		"How often a connection lost its place in the buffer and had to read the stream "  \
		"again")                                                                           \
	X(rereads, COUNTER, ONE, "rereads",                                                        \
		"Messages read again from the stream for connections that are behind")             \
	X(aside, COUNTER, ONE, "set_aside_messages",                                               \
		"Messages from services that no client may get, set aside")                        \
	X(live, COUNTER, ONE, "live_messages",                                                     \
		"Messages that came from the broker as they were published")                       \
	X(gets, COUNTER, ONE, "direct_gets", "Direct gets from the stream")                        \
	X(gaps, COUNTER, ONE, "gaps", "Gaps among live messages that were found and closed")       \
	X(rescans, COUNTER, ONE, "rescans", "Users whose stored messages were looked at again")    \
	X(suppressed, COUNTER, ONE, "suppressed_messages",                                         \
		"Messages that came from the broker twice, and were dropped")                      \
	X(removals, COUNTER, ONE, "removed_messages",                                              \
		"Confirmed messages removed from the stream")                                      \
	X(reconnects, COUNTER, ONE, "broker_reconnects",                                           \
		"Connections made to the broker after the first one of a bridge")                  \
	X(gateways_lost, COUNTER, ONE, "gateways_lost",                                            \
		"Other gateways that were not heard for their lease")                              \
	X(fenced, COUNTER, ONE, "fenced",                                                          \
		"How often another gateway took this one for gone, so that all connections "       \
		"ended")                                                                           \
	X(cut_off_users, COUNTER, ONE, "cut_off_users",                                            \
		"Users whose connections ended because they came while this gateway was cut off "  \
		"from another one")                                                                \
	X(removals_pending, GAUGE, ONE, "removals_pending",                                        \
		"Confirmed messages that are not removed yet")                                     \
	X(publishing, GAUGE, ONE, "publishes_pending", "Publishes without an answer")              \
	X(users, GAUGE, ONE, "users",                                                              \
		"Users who are connected, or whose removals are not finished")                     \
	X(buffered_bytes, GAUGE, BYTES, "buffered_bytes",                                          \
		"Bytes of messages that wait for room in a connection's window")                   \
	X(gateways, GAUGE, ONE, "other_gateways",                                                  \
		"Other gateways that are heard; of several streams by the one with the fewest")    \
	X(shared_users, GAUGE, ONE, "shared_users",                                                \
		"Users who are connected to another gateway, too")                                 \
	X(held_users, GAUGE, ONE, "shared_users_waiting",                                          \
		"Those of them whose connections here have confirmed more than those elsewhere")   \
	X(unclear_users, GAUGE, ONE, "unanswered_users",                                           \
		"Users of whom nothing is removed before the other gateways have answered")        \
	X(rtt_us, GAUGE, MICROSECONDS, "broker_round_trip_seconds",                                \
		"Round trip to the broker; 0: not known")

/* Each worker's, of one service. */
#define STATS_SERVICE(X)                                                                           \
	X(opened, COUNTER, ONE, "service_connections_opened",                                      \
		"Connections of the service upgraded to WebSocket")                                \
	X(messages_in, COUNTER, ONE, "service_received_messages",                                  \
		"Messages from clients of the service")                                            \
	X(bytes_in, COUNTER, BYTES, "service_received_bytes",                                      \
		"Bytes of the messages from clients of the service")                               \
	X(messages_out, COUNTER, ONE, "service_sent_messages",                                     \
		"Messages from the service, handed to a client's socket")                          \
	X(bytes_out, COUNTER, BYTES, "service_sent_bytes",                                         \
		"Bytes of the messages from the service")                                          \
	X(confirmed, COUNTER, ONE, "service_confirmed_messages",                                   \
		"Messages from the service that clients proved to have received")                  \
	X(connections, GAUGE, ONE, "service_connections", "Open connections of the service")       \
	X(unconfirmed, GAUGE, ONE, "service_unconfirmed_messages",                                 \
		"Messages from the service sent and not confirmed yet")

/* Any process', of itself. */
#define STATS_PROCESS(X)                                                                           \
	X(cpu_us, COUNTER, MICROSECONDS, "process_cpu_seconds", "Processor time used")             \
	X(lag_us, GAUGE, MICROSECONDS, "process_event_loop_lag_seconds",                           \
		"Longest time that an event had to wait for its turn, in the last 15 to 30 "       \
		"seconds")                                                                         \
	X(resident, GAUGE, BYTES, "process_resident_memory_bytes",                                 \
		"Memory in use, with its part of what is shared")                                  \
	X(private, GAUGE, BYTES, "process_private_memory_bytes", "Memory that nobody else has")    \
	X(files, GAUGE, ONE, "process_open_files", "Open file descriptors")                        \
	X(max_files, GAUGE, ONE, "process_max_files", "Limit of open file descriptors")

/* How long things take. X(field, metric, help) */
#define STATS_WORKER_HISTS(X)                                                                      \
	X(handshake, "handshake_duration_seconds",                                                 \
		"From the first byte of a client's request to its 101 answer")                     \
	X(delivery, "delivery_latency_seconds",                                                    \
		"From the broker's time stamp to the write to a client that was connected then")
#define STATS_BRIDGE_HISTS(X)                                                                      \
	X(confirm, "confirmation_latency_seconds",                                                 \
		"From the broker's time stamp to the proof of receipt of a client that was "       \
		"connected then")                                                                  \
	X(publish, "publish_latency_seconds",                                                      \
		"From a client's message to the broker's word that it is stored")
#define STATS_HIST_FIELD(field, metric, help) struct hist field;

#define STATS_FIELD(field, kind, unit, metric, help) _Atomic uint64_t field;
#define STATS_VALUE(field, kind, unit, metric, help) uint64_t field;

/* Statuses of refused handshakes and codes of ended connections; 0 stands for all others. */
#define STATS_STATUSES 14
#define STATS_CODES 18
extern const uint16_t stats_statuses[STATS_STATUSES];
extern const uint16_t
	stats_codes[STATS_CODES]; /* 1005: a Close without a code; 1006: no Close at all */
unsigned stats_status_index(unsigned status);
unsigned stats_code_index(unsigned code);
enum stats_side { STATS_BY_CLIENT, STATS_BY_GATEWAY, STATS_SIDES }; /* who began to end it */

struct worker_stats {
	STATS_WORKER(STATS_FIELD)
	_Atomic uint64_t refused[STATS_STATUSES];
	_Atomic uint64_t closed[STATS_SIDES][STATS_CODES];
	STATS_WORKER_HISTS(STATS_HIST_FIELD)
};
struct bridge_stats {
	STATS_BRIDGE(STATS_FIELD)
	STATS_BRIDGE_HISTS(STATS_HIST_FIELD)
};
struct process_stats {
	STATS_PROCESS(STATS_FIELD)
};

/* ---- a worker's services ---- */

/*
 * So many services have a row of their own, the rest shares the last row. Clients name services:
 * when all rows are taken, one without connections is given to a new service, and its sums go to
 * the last row.
 */
#define STATS_SERVICES 64
#define STATS_OTHER STATS_SERVICES
struct stats_service {
	alignas(64) struct {
		STATS_SERVICE(STATS_FIELD)
	} n;                      /* one cache line */
	_Atomic uint32_t version; /* odd: it is given to another service just now */
	uint8_t len;              /* 0: free, but for the last row */
	char name[TOKEN_MAX];
};
_Static_assert(sizeof(((struct stats_service *)0)->n) == 64, "one cache line");

struct stats_service_view { /* a consistent copy */
	struct {
		STATS_SERVICE(STATS_VALUE)
	} n;
	size_t len; /* 0: the rest */
	char name[TOKEN_MAX];
};
/* False: free, or changing. */
bool stats_service_read(
	const struct stats_service *rows, unsigned index, struct stats_service_view *out);

/* Writer's side. `held`: STATS_SERVICES + 1 counts of its own memory: a row that is held is not
 * given away. */
void stats_services_start(struct stats_service *rows);
unsigned stats_service_hold(
	struct stats_service *rows, uint32_t *held, const char *name, size_t len);
void stats_service_drop(uint32_t *held, unsigned index);
/* Name and sums of a row become those of another one, which nobody else writes. */
void stats_service_copy(struct stats_service *to, const struct stats_service *from);

/* ---- samples, for rates without waiting ---- */

/* A worker writes one about each second, in turn; together with the counters they give a rate of
 * the last one to two seconds. */
struct stats_sample {
	_Atomic uint64_t at_ms; /* CLOCK_MONOTONIC; 0: none, or being written */
	_Atomic uint64_t messages_in, bytes_in, messages_out, bytes_out;
};
struct stats_samples {
	struct stats_sample v[2];
	_Atomic uint32_t last;
};
struct stats_rates { /* per second */
	double messages_in, bytes_in, messages_out, bytes_out;
};
void stats_sample(struct stats_samples *s, const struct worker_stats *w, uint64_t now_ms);
/* When the last one was written: the process lived then. 0: never. */
uint64_t stats_sampled_ms(const struct stats_samples *s);
/* All 0 when there is none, or only one that is not older than now. */
struct stats_rates stats_rates(
	const struct stats_samples *s, const struct worker_stats *w, uint64_t now_ms);

/* ---- the tables, for those who print them all ---- */

struct stats_desc {
	const char *field, *metric, *help;
	enum stats_kind kind;
	enum stats_unit unit;
	size_t offset; /* in struct worker_stats, struct bridge_stats, or struct stats_service_view
			*/
};
#define STATS_ROW(field, kind, unit, metric, help) +1
#define STATS_WORKER_N (0 STATS_WORKER(STATS_ROW))
#define STATS_BRIDGE_N (0 STATS_BRIDGE(STATS_ROW))
#define STATS_SERVICE_N (0 STATS_SERVICE(STATS_ROW))
#define STATS_PROCESS_N (0 STATS_PROCESS(STATS_ROW))
extern const struct stats_desc stats_worker[STATS_WORKER_N], stats_bridge[STATS_BRIDGE_N],
	stats_service[STATS_SERVICE_N], stats_process[STATS_PROCESS_N];
/* All histograms; those of workers are sums over them. */
struct stats_hist_desc {
	const char *field, *metric, *help;
	bool of_bridge;
	size_t offset; /* in struct worker_stats or struct bridge_stats */
};
#define STATS_HIST_ROW(field, metric, help) +1
#define STATS_HISTS (0 STATS_WORKER_HISTS(STATS_HIST_ROW) STATS_BRIDGE_HISTS(STATS_HIST_ROW))
extern const struct stats_hist_desc stats_hists[STATS_HISTS];
/* The value of a row of stats_worker, stats_bridge or stats_process; of stats_service, in a view.
 */
uint64_t stats_value(const void *base, const struct stats_desc *d);
uint64_t stats_sum(const _Atomic uint64_t *v, unsigned n);
uint64_t stats_view_value(const struct stats_service_view *v, const struct stats_desc *d);

/* Counting without a locked instruction: each counter has one writer. The counter is evaluated
 * twice. */
#define stat_get(counter) atomic_load_explicit(&(counter), memory_order_relaxed)
#define stat_set(counter, n) atomic_store_explicit(&(counter), (uint64_t)(n), memory_order_relaxed)
#define stat_max(gauge, n)                                                                         \
	do {                                                                                       \
		if (stat_get(gauge) < (uint64_t)(n))                                               \
			stat_set(gauge, n);                                                        \
	} while (0)
#define stat_add(counter, n)                                                                       \
	atomic_store_explicit(&(counter), stat_get(counter) + (uint64_t)(n), memory_order_relaxed)
/* Gauges; never below 0. */
#define stat_sub(counter, n)                                                                       \
	stat_set(counter, stat_get(counter) > (uint64_t)(n) ? stat_get(counter) - (uint64_t)(n) : 0)

#endif
