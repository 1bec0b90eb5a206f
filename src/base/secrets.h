/*
 * secrets: what files hold that keys of section `broker` name. The master reads them, as root, with
 * the configuration; they become values of it, in rows of the option table that no file can set.
 * Private to config.
 */
#ifndef WSGATE_BASE_SECRETS_H
#define WSGATE_BASE_SECRETS_H

#include "confile.h"

/* Whether the keys go together. 0 or -1 after config_fault(). */
int secrets_check(struct loading *l);
/* Reads the files. 0 or -1 after config_fault(). */
int secrets_read(struct loading *l);

#endif
