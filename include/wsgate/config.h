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
enum user_policy { USER_REJECT, USER_SUPERSEDE };
enum proxy_protocol { PROXY_PROTOCOL_NONE, PROXY_PROTOCOL_V1V2 };
enum proxy_forwarded { PROXY_FORWARDED_NONE, PROXY_FORWARDED_X, PROXY_FORWARDED_RFC7239 };
enum filter_mode { FILTER_ON, FILTER_OFF, FILTER_LOG };
enum switch_mode { SWITCH_OFF, SWITCH_ON };
enum trace_mode { TRACE_OFF, TRACE_GIVEN, TRACE_MADE }; /* contexts of clients' messages */
enum text_mode { TEXT_AUTO, TEXT_TEXT, TEXT_BINARY };   /* what a message without Ws-Type is */

struct strlist {
	size_t n;
	char **v; /* n strings, owned by the config */
};

enum tls_verify { TLS_VERIFY_NONE, TLS_VERIFY_OPTIONAL, TLS_VERIFY_REQUIRE };
enum tls_version { TLS_VERSION_1_2, TLS_VERSION_1_3 };
enum tls_ktls { TLS_KTLS_AUTO, TLS_KTLS_OFF };
enum cert_user { CERT_USER_CN, CERT_USER_EMAIL, CERT_USER_URI, CERT_USER_DNS };

struct config_tls { /* one address; files are paths */
	char *listen;
	struct strlist certificate, key; /* as many of one as of the other, in the same order */
	struct strlist ocsp;             /* each belongs to the certificate that it names */
	char *client_ca;                 /* "" : none */
	enum tls_verify client_verify;
	enum tls_version min_version;
	char *ciphers, *ciphersuites;
	enum tls_ktls ktls;
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

struct config_service {
	char *service; /* a raw name; "*": all that have no section of their own */
	struct strlist protocols;
};

/* Where the messages of some services are kept; or, without services, of all. */
struct config_stream {
	char *name;
	struct strlist services;        /* raw names; none: all that there are */
	uint64_t max_age;               /* 0: for ever */
	uint64_t max_bytes;             /* 0: no limit */
	uint64_t max_messages_per_user; /* 0: no limit */
	uint64_t duplicate_window;
	uint32_t replicas;
	uint32_t given; /* keys that a section said, by their place in the table */
};
#define CONFIG_STREAMS 16 /* sections with a title */

struct config {
	uint32_t workers; /* as written: 0 means one for each online processor; see config_workers()
			   */
	char *user;       /* "" : keep the user */
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
	uint64_t drain_delay;
	uint64_t drain_timeout;
	enum trace_mode trace_context;
	enum filter_mode seccomp;
	enum switch_mode core_dumps;
	uint64_t tls_ticket_interval; /* 0: no tickets */
	uint64_t hang_timeout; /* a child silent for so long is killed and replaced; 0: never */
	struct {
		enum confirm_mode confirm;
		uint64_t window;          /* bytes given and not confirmed, per connection */
		uint32_t window_messages; /* messages given and not confirmed, per connection */
		enum text_mode text;
		uint64_t user_buffer;  /* bytes the bridge buffers for one user beyond the window */
		uint64_t total_buffer; /* bytes the bridge buffers for all users together */
	} delivery;
	struct {
		struct strlist sources; /* "path", "cookie", "cert" */
		char *service_cookie, *user_cookie;
		enum cert_user cert_user;
	} identity;
	struct {
		struct strlist
			allow; /* "same", "any", or scheme://host[:port] with *. as first label */
	} origin;
	struct {                                  /* 0: none */
		uint32_t connections_per_address; /* IPv4: one; IPv6: a /64 */
		uint32_t connections_per_user;
		enum user_policy user_policy;   /* what the next one does */
		uint32_t handshakes_per_second; /* of all workers */
		uint32_t messages_per_second;   /* of one connection, from its client; bytes too */
		uint64_t bytes_per_second;
		uint64_t burst;     /* so much of both may come at once */
		uint32_t fragments; /* frames of a message */
		uint64_t idle_timeout;
		uint64_t connection_age;
	} limits;
	struct {
		struct strlist networks;
		enum proxy_protocol protocol;
		enum proxy_forwarded forwarded;
	} proxy;
	struct {
		enum switch_mode enabled;
		uint64_t threshold; /* shorter messages go out as they are */
		uint32_t level;
		enum switch_mode context;
		uint32_t window_bits, memory_level;
	} compression;
	struct {
		enum log_level level;
		char *target;
		enum log_format format;
	} log;
	struct {
		char *type; /* "nats" */
		char *url;  /* comma-separated list of servers */
		char *user, *password, *password_file, *token, *token_file;
		char *nkey_file, *credentials_file;
		char *tls_ca, *tls_certificate, *tls_key; /* files */
		char *tls_server_name;
		enum switch_mode tls_verify;
		/* what the files hold, after config_load_secret(); password and token have theirs
		 */
		char *nkey, *credentials, *tls_ca_text, *tls_certificate_text, *tls_key_text;
		uint64_t grace;
		uint64_t full_timeout; /* a stream that is full: retried for so long, then 1013 */
	} broker;
	struct config_stream stream; /* the one, or what the sections with a title do not say */
	struct {
		char *listen; /* "" : none */
		char *socket; /* path; "" : none */
		struct strlist hosts;
		enum switch_mode try_out;
	} admin;
	size_t ntls;
	struct config_tls *tls;
	size_t nauth; /* 0: who somebody is, is taken as it is said */
	struct config_auth *auth;
	size_t nservices;
	struct config_service *services;
	size_t nstreams; /* 0: one for all services */
	struct config_stream *streams;
};

#ifndef CONFIG_FILE                           /* SYSCONFDIR of the Makefile */
#define CONFIG_FILE "/etc/wsgate/wsgate.conf" /* where no other one is named */
#endif

struct config_source {
	const char *file;        /* path */
	bool file_required;      /* -c was given: it must exist */
	const char *const *sets; /* -o key=value, in order */
	size_t nsets;
	unsigned verbose; /* -v: log.level is so many steps higher */
	bool names_only; /* files that it names are not looked at: they may be the daemon's alone */
};

/*
 * Reads everything into a fresh struct. NULL on a fault; then `err` holds one line that names file,
 * line and key (or "-o" or the environment variable) and how to mend it. The caller frees the
 * result with config_free().
 */
struct config *config_load(const struct config_source *src, char *err, size_t errlen);
/* The same, with what the files hold that keep secrets. */
struct config *config_load_secret(const struct config_source *src, char *err, size_t errlen);
/*
 * Reads what config_print() wrote, from a descriptor, which stays the caller's. The values were
 * checked by the process that wrote them, which may read files that this one may not: they are
 * taken as they are.
 */
struct config *config_load_fd(int fd, char *err, size_t errlen);
void config_free(struct config *c);

/*
 * Prints the effective configuration in the file's own syntax (wsgated -T): it loads back equal,
 * but for secrets, which are left out.
 */
int config_print(const struct config *c, FILE *out);
/* Whom secrets are for: those for the broker are the bridge's alone. */
enum config_reader { CONFIG_PEOPLE, CONFIG_WORKER, CONFIG_BRIDGE };
/* The same for config_load_fd() in another process of ours, with the secrets that it may have. */
int config_write(const struct config *c, enum config_reader reader, FILE *out);
/* Wipes what such a process may not have; PEOPLE: all of them. */
void config_forget_secrets(struct config *c, enum config_reader reader);

/* Logs a warning when anybody may say who he is, from elsewhere than this machine. */
void config_warn_open(const struct config *c);
/* Whether both let in the same, but for what is in the files. */
bool config_auth_equal(const struct config *a, const struct config *b);
/* The section of a service; that of all others; NULL: there is none. */
const struct config_auth *config_auth_of(const struct config *c, const char *service, size_t len);

/* Whether both have the same tls sections. */
bool config_tls_equal(const struct config *a, const struct config *b);

/* Whether both have the same service sections; and the one of a service (raw), or NULL. */
bool config_services_equal(const struct config *a, const struct config *b);
const struct config_service *config_service_of(
	const struct config *c, const char *service, size_t len);

/* The streams that there are, counted from 0: at least one. */
size_t config_streams(const struct config *c);
const struct config_stream *config_stream(const struct config *c, size_t i);
/* The number of a service's (raw), or -1: it has none. */
int config_stream_of(const struct config *c, const char *service, size_t len);
bool config_streams_equal(const struct config *a, const struct config *b);
/* Whether next has the streams of now in their places, each with its services at least: the rest
 * may change while they are at work. */
bool config_streams_extend(const struct config *next, const struct config *now);
/* Gives `to` the sections of `from`. 0; or -1 without memory: then it has none. */
int config_streams_copy(struct config *to, const struct config *from)
	__attribute__((warn_unused_result));

/* The number of workers to run: c->workers, or the online processors; never above max_workers. */
uint32_t config_workers(const struct config *c);

#endif
