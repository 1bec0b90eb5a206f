/*
 * devlog: lines to the syslog daemon at /dev/log, which never wait for it. syslog(3) does: when the
 * daemon stands still, its queue is full after a few lines, and so stands everybody who logs.
 */
#ifndef WSGATE_BASE_DEVLOG_H
#define WSGATE_BASE_DEVLOG_H

#include <stdbool.h>
#include <stddef.h>

/* severity: LOG_ERR and so on; the facility is "daemon". False: the line is lost. From any thread.
 */
bool devlog_send(int severity, const char *line, size_t len);
/* The next line connects again. */
void devlog_close(void);

#endif
