/*
 * certs: the files that the tls sections name: read by the master, who may, and checked. Room:
 * master.
 */
#ifndef WSGATE_MASTER_CERTS_H
#define WSGATE_MASTER_CERTS_H

#include <stdbool.h>
#include <stddef.h>
#include <wsgate/config.h>

/* 0: *fd is a bundle (bundle.h), or -1 when nothing has TLS; or -1, one line in err, and *fd is -1.
 * loud: what is worth a warning is logged. */
int certs_read(const struct config *c, int *fd, bool loud, char *err, size_t errlen)
	__attribute__((warn_unused_result));
void certs_drop(int *fd);

#endif
