/*
 * confine: the system calls that a worker or the bridge may make; any other one ends it. Room:
 * master.
 *
 * The kernel raises SIGSYS instead of the call. The handler names the call on standard error, which
 * the master reads, and asks once more, with the handler gone by then: that ends the process.
 */
#ifndef WSGATE_MASTER_CONFINE_H
#define WSGATE_MASTER_CONFINE_H

#include <wsgate/config.h>

/* Bits: a rule may be for both. */
enum confine_who { CONFINE_WORKER = 1, CONFINE_BRIDGE = 2 };

/* NULL; or why there is no filter, whatever `seccomp` says. */
const char *confine_missing(void);
/* In the master, once: warns when it is missing and wanted. */
void confine_look(enum filter_mode mode);
/*
 * For good, for this process and its threads to come. Needs no_new_privs, no second thread, and
 * standard error where it is to stay. Does nothing with FILTER_OFF, or when it is missing. 0; or -1
 * with errno.
 */
int confine_install(enum confine_who who, enum filter_mode mode);

#endif
