/*
 * constream: stream sections with a title. Private to config.
 */
#ifndef WSGATE_BASE_CONSTREAM_H
#define WSGATE_BASE_CONSTREAM_H

#include <stddef.h>
#include <stdio.h>
#include <wsgate/config.h>

/* The section of that title is over: it goes to c, and *s is empty. 0; or -1 and, in err, what is
 * wrong with it. */
int constream_done(struct config *c, struct config_stream *s, const char *title, char *err,
	size_t errlen) __attribute__((warn_unused_result));
/* After all was read: what the sections do not say is as for the one stream. 0; or -1 and, in err,
 * what does not go together. */
int constream_inherit(struct config *c, char *err, size_t errlen)
	__attribute__((warn_unused_result));
void constream_clear(struct config_stream *s);
void constream_print(const struct config *c, FILE *out);
void constream_free(struct config *c);

#endif
