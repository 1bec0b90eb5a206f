/*
 * trace: W3C trace contexts (https://www.w3.org/TR/trace-context/), and the one user whose messages
 * are followed in the log. Room: base. The second part is of one thread.
 */
#ifndef WSGATE_TRACE_H
#define WSGATE_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wsgate/subject.h>

struct trace_context {
	uint8_t trace[16];
	uint8_t span[8]; /* of who sent it: the parent of what follows */
	uint8_t flags;
};
_Static_assert(sizeof(struct trace_context) == 25, "it lies in rings");
#define TRACE_TEXT 56 /* with its end */

/* A header's value. False: none that is valid; then there is no context. */
bool trace_parse(const char *text, size_t len, struct trace_context *out);
void trace_format(const struct trace_context *t, char out[TRACE_TEXT]);

/* ---- one user, followed ---- */

#define TRACE_NAME_MAX TOKEN_MAX
struct trace_order {
	uint64_t until_ms; /* CLOCK_MONOTONIC; 0: nobody */
	uint8_t service_len, user_len;
	uint8_t reserved[6];
	char service[TRACE_NAME_MAX], user[TRACE_NAME_MAX];
};
extern bool trace_on; /* false nearly always: that is the price */

void trace_follow(const struct trace_order *o);
/* Now and then: it may be over. */
void trace_tick(uint64_t now_ms);
bool trace_is(const struct identity *who);
#define trace_wants(who) (__builtin_expect(trace_on, 0) && trace_is(who))

struct log_field;
/* A line at trace level, whatever the level of the log; fields as for log_write(). */
void trace_say(const char *msg, const struct log_field *fields);

#endif
