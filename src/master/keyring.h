/*
 * keyring: the files with keys that a configuration names: read, and checked that they are some.
 * Room: master.
 */
#ifndef WSGATE_MASTER_KEYRING_H
#define WSGATE_MASTER_KEYRING_H

#include <stddef.h>
#include <wsgate/config.h>
#include <wsgate/vault.h>

/* 0; or -1, *s is empty, and err names section, file and reason. */
int keyring_load(const struct config *c, struct vault *s, char *err, size_t errlen)
	__attribute__((warn_unused_result));

#endif
