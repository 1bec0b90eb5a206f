/*
 * nkey: the public key of a NKey, for nats.c, which wants both; and where seed and JWT stand in the
 * text of a file.
 */
#ifndef WSGATE_NKEY_H
#define WSGATE_NKEY_H

#include <stdbool.h>
#include <stddef.h>

#define NKEY_SEED_LEN 58
#define NKEY_PUBLIC_LEN 56

/* The first seed of a user's key in a text, with decoration or without; false: there is none. */
bool nkey_find_seed(const char *text, char seed[NKEY_SEED_LEN + 1]);
/* False: no seed of a user's key, or damaged. */
bool nkey_public(const char *seed, char out[NKEY_PUBLIC_LEN + 1]);
/* The JWT of a credentials file, allocated; NULL: there is none, or no memory. */
char *nkey_find_jwt(const char *text);

#endif
