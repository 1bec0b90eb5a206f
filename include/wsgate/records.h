/*
 * records: TLS on a socket whose keys the kernel has (offload.h). Data is written to it like to any
 * other; what is no data comes and goes with a type beside it. It needs nothing but the socket: a
 * connection may change its process. Room: tls.
 */
#ifndef WSGATE_RECORDS_H
#define WSGATE_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Like recv(), without waiting, at least 16 KiB at a time. 0: the peer has ended its side, with an
 * alert (close_notify) or without. -1 with errno: EAGAIN, and all that a socket may say; EPROTO:
 * it makes no sense, or was a fatal alert, and *why says what; EKEYEXPIRED: the peer takes new keys
 * (KeyUpdate), and nothing can be read any more, but it still understands what is written.
 */
ssize_t records_recv(int fd, void *buf, size_t len, const char **why);

/* close_notify, behind all that was written. False: not now, wait until the socket is writable. */
bool records_end(int fd) __attribute__((warn_unused_result));

#endif
