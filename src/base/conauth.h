/*
 * conauth: auth sections. Private to config.
 */
#ifndef WSGATE_BASE_CONAUTH_H
#define WSGATE_BASE_CONAUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <wsgate/config.h>

#define CONAUTH_MAX 256

/* 0; or -1 without memory. */
int conauth_defaults(struct config_auth *a) __attribute__((warn_unused_result));
/*
 * The section of that title is over: it goes to c, and *a is empty. 0; or -1 and, in err, what is
 * wrong with it.
 */
int conauth_done(struct config *c, struct config_auth *a, const char *title, char *err,
	size_t errlen) __attribute__((warn_unused_result));
void conauth_clear(struct config_auth *a);
void conauth_print(const struct config *c, FILE *out);
void conauth_free(struct config *c);

#endif
