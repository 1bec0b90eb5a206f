/*
 * vault: files that the master alone may read, as bytes by path. It reads them; children have
 * them from their birth, and later ones by PROTO_VAULT in a file without a name. Room: base.
 */
#ifndef WSGATE_VAULT_H
#define WSGATE_VAULT_H

#include <stddef.h>
#include <stdint.h>

#define SECRET_MAX (1024 * 1024) /* bytes of a file */

struct secret {
	char *path;    /* owned, as the next one */
	uint8_t *data; /* with a NUL behind it, which is not counted */
	size_t len;
};
struct vault { /* all zero: none; freed by vault_free() */
	size_t n;
	struct secret *v;
};

/* Reads a file; one that is there already is not read again. 0; or -1 and, in err, why. */
int vault_add(struct vault *s, const char *path, char *err, size_t errlen)
	__attribute__((warn_unused_result));
/* NULL: it was not read. */
const struct secret *vault_find(const struct vault *s, const char *path);
/* All of them, in a sealed file in memory: its descriptor, or -1 with errno. */
int vault_write(const struct vault *s);
/* The same out of it; fd stays the caller's. 0; or -1 with errno, and *s is empty. */
int vault_read(struct vault *s, int fd) __attribute__((warn_unused_result));
/* Overwrites and frees. */
void vault_free(struct vault *s);

#endif
