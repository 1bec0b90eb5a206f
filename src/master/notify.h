/*
 * notify: tells the init system that started us how we are, as sd_notify(3) has it: one datagram of
 * KEY=value lines to the socket that $NOTIFY_SOCKET names. Without that variable nothing happens.
 * Room: master.
 *
 * A socket that cannot be reached is logged, and nothing else: we serve all the same.
 */
#ifndef WSGATE_MASTER_NOTIFY_H
#define WSGATE_MASTER_NOTIFY_H

#include <stdint.h>
#include <sys/types.h>

/* All serve; main is the process that init watches from here on. Also the end of a reload. */
void notify_ready(pid_t main);
/* A reload begins; notify_ready() ends it, whatever came of it. */
void notify_reloading(void);
/* The end begins, and takes up to ms: init must not lose patience before. */
void notify_stopping(uint64_t ms);

#endif
