/*
 * settings: what the broker's room needs of the configuration, copied: the configuration may be
 * replaced by a reload while the broker thread reads.
 */
#ifndef WSGATE_SETTINGS_H
#define WSGATE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>
#include <wsgate/config.h>

#include "login.h"

struct settings {
	char *stream, *prefix; /* owned */
	char *beat;            /* subject on which gateways say that they live; owned */
	char **services;       /* as tokens of subjects, owned; none: all that there are */
	size_t nservices;
	char *url;      /* as configured; owned */
	char **servers; /* its URLs, and those learned; owned */
	int nservers;
	struct login login;
	uint64_t max_age, max_bytes, max_per_user, duplicate_window; /* as in struct config */
	uint32_t replicas;
	uint64_t grace; /* not the stream's nor the connection's: a change of it brings no check */
};

/* For one of its streams. 0, or -1 with errno; then there is nothing to free. */
int settings_copy(struct settings *s, const struct config *c, size_t stream);
void settings_free(struct settings *s);
/* The same configuration; what was learned does not count. */
bool settings_equal(const struct settings *a, const struct settings *b);
/* The same servers, and the same login. */
bool settings_same_broker(const struct settings *a, const struct settings *b);
/* Servers and login. The settings stay where they are as long as the options may connect. */
/* A server is, or all are, to be reached by TLS. */
bool settings_tls(const struct settings *s);
natsStatus settings_apply(const struct settings *s, natsOptions *o);
/* Learns of a server of the cluster, "nats://host:port" or "host:port"; the first URL's user goes
 * with it. No memory: it is not learned. */
void settings_add_server(struct settings *s, const char *url);
/* For logs: without user and password. */
void settings_redact(const char *url, char *out, size_t outlen);

#endif
