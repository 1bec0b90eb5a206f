/*
 * option_auth: the keys of auth sections, once. See option.h.
 */
#include <wsgate/option.h>
#include "value.h"

#define SECOND UINT64_C(1000)
#define AT(field) offsetof(struct config_auth, field)

static const char *const type_words[] = {"none", "jwt", "callout", NULL};
static const char *const switch_words[] = {"off", "on", NULL};

_Static_assert(sizeof(enum auth_type) == sizeof(unsigned), "enums");

/* clang-format off */
const struct option option_auth_table[] = {
	{ .key = "auth.type", .type = OPTION_ENUM, .def = "jwt", .words = type_words,
	  .offset = AT(type),
	  .help = "jwt: tokens; callout: a service on the broker is asked; none: all is believed" },
	{ .key = "auth.keys", .type = OPTION_LIST, .def = "", .max = 16, .offset = AT(keys),
	  .check = value_check_file,
	  .help = "files with the keys that check tokens: JWK sets, or PEM; read again by a reload" },
	{ .key = "auth.issuer", .type = OPTION_STRING, .def = "", .offset = AT(issuer),
	  .help = "what a token's iss must be; empty: anything" },
	{ .key = "auth.audience", .type = OPTION_LIST, .def = "", .max = 16,
	  .offset = AT(audience), .check = value_check_filled,
	  .help = "one of these must be in a token's aud; none: it must have no aud" },
	{ .key = "auth.leeway", .type = OPTION_TIME, .def = "30s", .max = 3600 * SECOND,
	  .offset = AT(leeway),
	  .help = "by how much clocks may differ, for exp and nbf" },
	{ .key = "auth.service_claim", .type = OPTION_STRING, .def = "service",
	  .offset = AT(service_claim),
	  .help = "claim with the service, or a list of them; empty: tokens say nothing of services" },
	{ .key = "auth.user_claim", .type = OPTION_STRING, .def = "sub", .offset = AT(user_claim),
	  .check = value_check_filled,
	  .help = "claim with the user" },
	{ .key = "auth.token", .type = OPTION_LIST, .def = "bearer", .min = 1, .max = 4,
	  .offset = AT(token), .check = value_check_token,
	  .help = "where a token may be, the first one found counts: bearer, cookie, query, protocol" },
	{ .key = "auth.token_cookie", .type = OPTION_STRING, .def = "token",
	  .offset = AT(token_cookie), .check = value_check_cookie,
	  .help = "cookie that holds it" },
	{ .key = "auth.token_query", .type = OPTION_STRING, .def = "token",
	  .offset = AT(token_query), .check = value_check_cookie,
	  .help = "query parameter that holds it" },
	{ .key = "auth.token_protocol", .type = OPTION_STRING, .def = "wsgate.token.",
	  .offset = AT(token_protocol), .check = value_check_protocol,
	  .help = "what stands before it in the list of subprotocols" },
	{ .key = "auth.refresh", .type = OPTION_ENUM, .def = "off", .words = switch_words,
	  .offset = AT(refresh),
	  .help = "on: a client may send a fresh token before the old one ends; see wsgate(7)" },
	{ .key = "auth.headers", .type = OPTION_LIST, .def = "Authorization,Cookie", .max = 32,
	  .offset = AT(headers), .check = value_check_header,
	  .help = "headers of the request that a callout is told" },
	{ .key = "auth.timeout", .type = OPTION_TIME, .def = "5s", .min = 100, .max = 30 * SECOND,
	  .offset = AT(timeout),
	  .help = "time for the answer of a callout, within handshake_timeout" },
};
/* clang-format on */
const size_t option_auth_count = sizeof(option_auth_table) / sizeof(option_auth_table[0]);
