/*
 * option_service: the keys of service sections, once. See option.h.
 */
#include <wsgate/option.h>
#include "value.h"

#define AT(field) offsetof(struct config_service, field)

/* clang-format off */
const struct option option_service_table[] = {
	{ .key = "service.protocols", .type = OPTION_LIST, .def = "", .max = 64,
	  .offset = AT(protocols), .check = value_check_protocol,
	  .help = "subprotocols that it speaks; a client gets the first one that it offers" },
};
/* clang-format on */
const size_t option_service_count = sizeof(option_service_table) / sizeof(option_service_table[0]);
