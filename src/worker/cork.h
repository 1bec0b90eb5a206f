/*
 * cork: what a client's frames of one read are answered with (Pongs, echoes) leaves in one write.
 * One connection at a time; whatever else is written to it takes the answers before it along.
 */
#ifndef WSGATE_CORK_H
#define WSGATE_CORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CORK_SIZE 8192

struct conn;
struct iovec;

/* Part of the worker. */
struct cork {
	struct conn *conn; /* whose frames are being read; NULL: nobody's */
	size_t len;
	uint8_t buf[CORK_SIZE];
};

/* False: another one's are, and this one's answers are written at once. */
bool cork_begin(struct conn *c);
/* False: to be written at once, there is no room or nobody is at it. */
bool cork_put(struct conn *c, const struct iovec *iov, int n);
/* False: the connection is gone. */
bool cork_flush(struct conn *c) __attribute__((warn_unused_result));
bool cork_end(struct conn *c) __attribute__((warn_unused_result));
/* The connection ends: what is there is written if the socket takes it. */
void cork_drop(struct conn *c);

#endif
