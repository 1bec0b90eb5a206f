/*
 * config: what the operator asked for, as one immutable struct.
 *
 * Filled from defaults, file, environment and -o through the option table (option.h); after that
 * nobody writes it. Room: base. Times are milliseconds, sizes bytes, strings never NULL.
 */
#ifndef WSGATE_CONFIG_H
#define WSGATE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <wsgate/log.h>

enum confirm_mode { CONFIRM_PONG, CONFIRM_WRITE, CONFIRM_NONE };
enum text_mode { TEXT_AUTO, TEXT_TEXT, TEXT_BINARY }; /* what a message without Ws-Type is */

struct strlist {
	size_t n;
	char **v; /* n strings, owned by the config */
};

struct config_tls {
	char *listen, *certificate, *key;
};

enum auth_type { AUTH_NONE, AUTH_JWT, AUTH_CALLOUT };

struct config_auth {
	char *service; /* a raw name; "*": all that have no section of their own */
	enum auth_type type;
	struct strlist keys; /* files */
	char *issuer;        /* "" : whoever */
	struct strlist audience;
	uint64_t leeway;
	char *service_claim, *user_claim;
	struct strlist token; /* where tokens are looked for, in order: "bearer", "cookie", … */
	char *token_cookie, *token_query, *token_protocol;
	unsigned refresh;       /* 1: a fresh token may come by a message */
	struct strlist headers; /* that a callout is told */
	uint64_t timeout;
};

struct config {
	uint32_t workers; /* as written: 0 means one for each online processor; see config_workers() */
	char *user;	  /* "" : keep the user */
	char *pidfile;
	char *runtime_dir;
	struct strlist listen; /* "host:port" or "[v6]:port" */
	uint32_t max_connections;
	uint32_t max_workers;
	char *subject_prefix;
	uint64_t max_message;
	uint64_t max_header;
	uint64_t handshake_timeout;
	uint64_t ping_interval;
	uint64_t pong_timeout;
	char *echo_path; /* "" : none */
	uint64_t drain_timeout;
	uint64_t hang_timeout; /* a child silent for so long is killed and replaced; 0: never */
	struct {
		enum confirm_mode confirm;
		uint64_t window;	  /* bytes given and not confirmed, per connection */
		uint32_t window_messages; /* messages given and not confirmed, per connection */
		enum text_mode text;
		uint64_t user_buffer;  /* bytes the bridge buffers for one user beyond the window */
		uint64_t total_buffer; /* bytes the bridge buffers for all users together */
	} delivery;
	struct {
		struct strlist sources; /* "path", "cookie" */
		char *service_cookie, *user_cookie;
	} identity;
	struct {
		struct strlist allow; /* "same", "any", or scheme://host[:port] with *. as first label */
	} origin;
	struct {
		enum log_level level;
		char *target;
		enum log_format format;
	} log;
	struct {
		char *type; /* "nats" */
		char *url;  /* comma-separated list of servers */
		uint64_t grace;
		uint64_t full_timeout; /* a stream that is full: retried for so long, then 1013 */
	} broker;
	struct {
		char *name;
		uint64_t max_age;	       /* 0: for ever */
		uint64_t max_bytes;	       /* 0: no limit */
		uint64_t max_messages_per_user; /* 0: no limit */
		uint64_t duplicate_window;
		uint32_t replicas;
	} stream;
	struct {
		char *listen; /* "" : none */
	} admin;
	size_t ntls;
	struct config_tls *tls; /* read and checked only; TLS itself comes later */
	size_t nauth; /* 0: who somebody is, is taken as it is said */
	struct config_auth *auth;
};

struct config_source {
	const char *file;	 /* path */
	bool file_required;	 /* -c was given: it must exist */
	const char *const *sets; /* -o key=value, in order */
	size_t nsets;
	unsigned verbose; /* -v: log.level is so many steps higher */
};

/*
 * Reads everything into a fresh struct. NULL on a fault; then `err` holds one line that names file,
 * line and key (or "-o" or the environment variable) and how to mend it. The caller frees the
 * result with config_free().
 */
struct config *config_load(const struct config_source *src, char *err, size_t errlen);
/*
 * Reads what config_print() wrote, from a descriptor, which stays the caller's. The values were
 * checked by the process that wrote them, which may read files that this one may not: they are
 * taken as they are.
 */
struct config *config_load_fd(int fd, char *err, size_t errlen);
void config_free(struct config *c);

/* Prints the effective configuration in the file's own syntax (wsgated -T): it loads back equal. */
int config_print(const struct config *c, FILE *out);

/* Logs a warning for each key that is set and whose feature is not there yet. */
void config_warn_unused(const struct config *c);

/* Logs a warning when anybody may say who he is, from elsewhere than this machine. */
void config_warn_open(const struct config *c);
/* Whether both let in the same, but for what is in the files. */
bool config_auth_equal(const struct config *a, const struct config *b);
/* The section of a service; that of all others; NULL: there is none. */
const struct config_auth *config_auth_of(const struct config *c, const char *service, size_t len);

/* The number of workers to run: c->workers, or the online processors; never above max_workers. */
uint32_t config_workers(const struct config *c);

#endif
