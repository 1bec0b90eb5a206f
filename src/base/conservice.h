/*
 * conservice: service sections. Private to config.
 */
#ifndef WSGATE_BASE_CONSERVICE_H
#define WSGATE_BASE_CONSERVICE_H

#include <stddef.h>
#include <stdio.h>
#include <wsgate/config.h>

#define CONSERVICE_MAX 256

/* The section of that title is over: it goes to c, and *s is empty. 0; or -1 and, in err, what is
 * wrong with it. */
int conservice_done(struct config *c, struct config_service *s, const char *title, char *err,
	size_t errlen) __attribute__((warn_unused_result));
void conservice_clear(struct config_service *s);
void conservice_print(const struct config *c, FILE *out);
void conservice_free(struct config *c);

#endif
