/*
 * confine_rules: the list of confine.c.
 */
#ifndef WSGATE_MASTER_CONFINE_RULES_H
#define WSGATE_MASTER_CONFINE_RULES_H

#include <stddef.h>
#include <stdint.h>

#include "confine.h"

#define CONFINE_BOTH ((unsigned)CONFINE_WORKER | (unsigned)CONFINE_BRIDGE)
#define CONFINE_ARGS 3

/* (argument & mask) == value. The kernel looks at the low half of an int alone, and so must this.
 */
struct confine_arg {
	unsigned arg;
	uint64_t mask, value; /* mask 0: none */
};

/* Allowed, when all of args hold; or answered with an error, without being made. */
struct confine_rule {
	const char *name;
	unsigned who;
	int error; /* 0: allowed */
	struct confine_arg args[CONFINE_ARGS];
};

extern const struct confine_rule confine_rules[];
extern const size_t confine_rule_count;

#endif
