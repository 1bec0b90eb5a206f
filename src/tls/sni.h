/*
 * sni: which of several certificates a name asks for. Private to tlsctx.
 */
#ifndef WSGATE_TLS_SNI_H
#define WSGATE_TLS_SNI_H

#include <stdbool.h>
#include <stddef.h>

#define SNI_KINDS 5 /* of keys: RSA, EC, ...; a client may get one of each */
#define SNI_NAME_MAX 256

struct sni_cert { /* in the order of the configuration */
	unsigned kind;
	size_t nnames;
	char **names; /* owned: lower case; the first label may be "*" */
};

/* Certificates that go together; -1: none of that kind. */
struct sni_pick {
	int cert[SNI_KINDS];
};

struct sni_name {
	const char *name; /* borrowed from a certificate */
	unsigned pick;
};

struct sni {
	size_t ncerts;
	struct sni_cert *certs; /* owned */
	size_t npicks;
	struct sni_pick *picks; /* owned; [0] is for all other names */
	size_t nnames;
	struct sni_name *names; /* owned, sorted */
};

/* A name as it is kept: lower case, no dot at the end. False: it is none. */
bool sni_normal(const char *name, size_t len, char out[SNI_NAME_MAX]);
/* From certs, of which there is at least one. False: no memory. */
bool sni_build(struct sni *s) __attribute__((warn_unused_result));
/* The number of a pick. name NULL: the client gave none. */
unsigned sni_find(const struct sni *s, const char *name);
void sni_free(struct sni *s);

#endif
