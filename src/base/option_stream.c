/*
 * option_stream: the keys of stream sections with a title, once. See option.h.
 */
#include <wsgate/option.h>
#include "value.h"

#define DAY (24 * UINT64_C(3600000))
#define AT(field) offsetof(struct config_stream, field)

/* clang-format off */
const struct option option_stream_table[] = {
	{ .key = "stream.services", .type = OPTION_LIST, .def = "", .max = 256,
	  .offset = AT(services), .check = value_check_service,
	  .help = "services whose messages it keeps; a reload takes more of them, not fewer" },
	{ .key = "stream.max_age", .type = OPTION_TIME, .def = "7d", .min = 100,
	  .max = 36500 * DAY, .zero = true, .offset = AT(max_age),
	  .help = "messages not received until then are lost; 0: kept for ever" },
	{ .key = "stream.max_bytes", .type = OPTION_SIZE, .def = "0", .max = INT64_MAX,
	  .offset = AT(max_bytes),
	  .help = "size of the stream; 0: no limit" },
	{ .key = "stream.max_messages_per_user", .type = OPTION_NUMBER, .def = "0",
	  .max = INT64_MAX, .offset = AT(max_messages_per_user),
	  .help = "messages waiting for one user, or of one user for its service; more are refused; 0: no limit" },
	{ .key = "stream.duplicate_window", .type = OPTION_TIME, .def = "60s", .min = 100,
	  .max = 30 * DAY, .offset = AT(duplicate_window),
	  .help = "time for which the broker knows a message again; at most max_age" },
	{ .key = "stream.replicas", .type = OPTION_NUMBER32, .def = "1", .min = 1, .max = 5,
	  .offset = AT(replicas),
	  .help = "servers of the cluster that keep each message" },
};
/* clang-format on */
const size_t option_stream_count = sizeof(option_stream_table) / sizeof(option_stream_table[0]);
