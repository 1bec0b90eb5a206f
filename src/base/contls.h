/*
 * contls: tls sections. Private to config.
 */
#ifndef WSGATE_BASE_CONTLS_H
#define WSGATE_BASE_CONTLS_H

#include <stddef.h>
#include <stdint.h>
#include <wsgate/config.h>

/* The section of that title is over: with defaults for the keys that seen, by their place in the
 * table, lacks it goes to c, and *t is empty. 0; or -1 and, in err, what is wrong with it. */
int contls_done(struct config *c, struct config_tls *t, uint32_t seen, const char *title, char *err,
	size_t errlen) __attribute__((warn_unused_result));
void contls_clear(struct config_tls *t);

#endif
