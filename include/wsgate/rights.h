/*
 * rights: packets between processes with at most one descriptor each (unix(7), SCM_RIGHTS).
 * Neither call blocks. Room: ipc.
 */
#ifndef WSGATE_RIGHTS_H
#define WSGATE_RIGHTS_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

/* fd -1: none; else it stays the caller's. 0; or -1 with errno, EAGAIN: no room now. */
int rights_send(int sock, const struct iovec *iov, size_t n, int fd)
	__attribute__((warn_unused_result));
/*
 * The packet's bytes, 0 at the end; or -1 with errno, EAGAIN: nothing there. *fd is the caller's
 * now, or -1. *flags: MSG_TRUNC, the packet was larger; MSG_CTRUNC, a descriptor was lost because
 * this process has no room for one, or there was more than one, which are closed.
 */
ssize_t rights_receive(int sock, const struct iovec *iov, size_t n, int *fd, int *flags)
	__attribute__((warn_unused_result));
/* Closes what was received, or any other descriptor, when there is one; -1 then. */
void rights_drop(int *fd);

#endif
