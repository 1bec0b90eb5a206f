/*
 * secrets: files that the master alone may read, as bytes by path. It reads them; children have
 * them from their birth, and later ones by PROTO_SECRETS in a file without a name. Room: base.
 */
#ifndef WSGATE_SECRETS_H
#define WSGATE_SECRETS_H

#include <stddef.h>
#include <stdint.h>

#define SECRET_MAX (1024 * 1024) /* bytes of a file */

struct secret {
	char *path;    /* owned, as the next one */
	uint8_t *data; /* with a NUL behind it, which is not counted */
	size_t len;
};
struct secrets { /* all zero: none; freed by secrets_free() */
	size_t n;
	struct secret *v;
};

/* Reads a file; one that is there already is not read again. 0; or -1 and, in err, why. */
int secrets_add(struct secrets *s, const char *path, char *err, size_t errlen)
	__attribute__((warn_unused_result));
/* NULL: it was not read. */
const struct secret *secrets_find(const struct secrets *s, const char *path);
/* All of them, in a sealed file in memory: its descriptor, or -1 with errno. */
int secrets_write(const struct secrets *s);
/* The same out of it; fd stays the caller's. 0; or -1 with errno, and *s is empty. */
int secrets_read(struct secrets *s, int fd) __attribute__((warn_unused_result));
/* Overwrites and frees. */
void secrets_free(struct secrets *s);

#endif
