/*
 * value: numbers, sizes and times as people write them, and the form of addresses, names and rules.
 */
#ifndef WSGATE_BASE_VALUE_H
#define WSGATE_BASE_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* False: not of that form. What is beyond 64 bits becomes UINT64_MAX, which is in no option's
 * range. */
bool value_number(const char *s, uint64_t *out);
bool value_size(const char *s, uint64_t *bytes);
bool value_time(const char *s, uint64_t *ms);
/* The shortest spelling that reads back the same. Returns buf, which has room for 32 bytes. */
const char *value_print_size(uint64_t bytes, char *buf);
const char *value_print_time(uint64_t ms, char *buf);

/* NULL, or what the value must be. */
const char *value_check_filled(const char *s);
const char *value_check_address(const char *s);
const char *value_check_address_or_none(const char *s);
const char *value_check_socket_or_none(const char *s);
const char *value_check_host(const char *s);
const char *value_check_prefix(const char *s);
const char *value_check_stream(const char *s);
const char *value_check_service(const char *s);
const char *value_check_echo_path(const char *s);
const char *value_check_origin(const char *s);
const char *value_check_cookie(const char *s);
const char *value_check_source(const char *s);
const char *value_check_target(const char *s);
const char *value_check_broker(const char *s);
const char *value_check_url(const char *s);
const char *value_check_readable(const char *s);
const char *value_check_network(const char *s);
const char *value_check_readable_or_none(const char *s);
/* Whether a check opens the file that a value names. */
bool value_is_file(const char *(*check)(const char *s));
const char *value_check_file(const char *s);
const char *value_check_token(const char *s);
const char *value_check_protocol(const char *s);
const char *value_check_header(const char *s);

#endif
