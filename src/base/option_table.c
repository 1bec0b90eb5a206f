/*
 * option_table: every key, once. See option.h.
 */
#include <wsgate/option.h>
#include "value.h"

#define K UINT64_C(1024)
#define M (1024 * K)
#define G (1024 * M)
#define SECOND UINT64_C(1000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const filter_words[] = {"on", "off", "log", NULL};
static const char *const switch_words[] = {"off", "on", NULL};
static const char *const confirm_words[] = {"pong", "write", "none", NULL};
static const char *const policy_words[] = {"reject", "supersede", NULL};
static const char *const protocol_words[] = {"none", "v1v2", NULL};
static const char *const forwarded_words[] = {"none", "x-forwarded-for", "forwarded", NULL};
static const char *const trace_words[] = {"off", "given", "made", NULL};
static const char *const text_words[] = {"auto", "text", "binary", NULL};
static const char *const level_words[] = {"error", "warn", "info", "debug", "trace", NULL};
static const char *const verify_words[] = {"none", "optional", "require", NULL};
static const char *const version_words[] = {"1.2", "1.3", NULL};
static const char *const ktls_words[] = {"auto", "off", NULL};
static const char *const cert_user_words[] = {"cn", "email", "uri", "dns", NULL};
static const char *const format_words[] = {"text", "json", NULL};

#define AT(field) offsetof(struct config, field)
#define TLS_AT(field) offsetof(struct config_tls, field)
/* The enums are read and written as unsigned int. */
_Static_assert(sizeof(enum confirm_mode) == sizeof(unsigned) &&
		       sizeof(enum filter_mode) == sizeof(unsigned) &&
		       sizeof(enum switch_mode) == sizeof(unsigned) &&
		       sizeof(enum text_mode) == sizeof(unsigned) &&
		       sizeof(enum trace_mode) == sizeof(unsigned) &&
		       sizeof(enum user_policy) == sizeof(unsigned) &&
		       sizeof(enum proxy_protocol) == sizeof(unsigned) &&
		       sizeof(enum proxy_forwarded) == sizeof(unsigned) &&
		       sizeof(enum log_level) == sizeof(unsigned) &&
		       sizeof(enum log_format) == sizeof(unsigned) &&
		       sizeof(enum tls_verify) == sizeof(unsigned) &&
		       sizeof(enum tls_ktls) == sizeof(unsigned) &&
		       sizeof(enum tls_version) == sizeof(unsigned) &&
		       sizeof(enum cert_user) == sizeof(unsigned),
	"enums");

/* clang-format off */
const struct option option_table[] = {
	{ .key = "workers", .type = OPTION_NUMBER32, .def = "0", .max = 256,
	  .offset = AT(workers),
	  .help = "worker processes; 0: one for each online processor" },
	{ .key = "user", .type = OPTION_STRING, .def = "wsgate", .apply = OPTION_RESTART,
	  .offset = AT(user),
	  .help = "user that workers and bridge become when started as root; empty: stay" },
	{ .key = "pidfile", .type = OPTION_STRING, .def = "/run/wsgate/wsgated.pid",
	  .apply = OPTION_RESTART, .offset = AT(pidfile), .check = value_check_filled,
	  .help = "file with the master's pid, locked while it runs" },
	{ .key = "runtime_dir", .type = OPTION_STRING, .def = "/run/wsgate",
	  .apply = OPTION_RESTART, .offset = AT(runtime_dir), .check = value_check_filled,
	  .help = "directory of the shared-memory file and the control socket, for wsgatectl" },
	{ .key = "listen", .type = OPTION_LIST, .def = "0.0.0.0:8000,[::]:8000",
	  .max = 32, .offset = AT(listen), .check = value_check_address,
	  .help = "addresses for clients without TLS, host:port or [v6]:port" },
	{ .key = "max_connections", .type = OPTION_NUMBER32, .def = "100000", .min = 1,
	  .max = 10000000, .apply = OPTION_RESTART, .offset = AT(max_connections),
	  .help = "connections at a time; sizes the routing table" },
	{ .key = "max_workers", .type = OPTION_NUMBER32, .def = "64", .min = 1, .max = 256,
	  .apply = OPTION_RESTART, .offset = AT(max_workers),
	  .help = "upper end of workers for reloads" },
	{ .key = "subject_prefix", .type = OPTION_STRING, .def = "ws", .apply = OPTION_RESTART,
	  .offset = AT(subject_prefix), .check = value_check_prefix,
	  .help = "first part of all subjects: ws.send, ws.recv, wslive, wsdead, wsauth, wsgate" },
	{ .key = "max_message", .type = OPTION_SIZE, .def = "1m", .min = 1, .max = 64 * M,
	  .apply = OPTION_RESTART, .offset = AT(max_message),
	  .help = "largest message of a client; never more than the broker's "
	          "max_payload less 1k" },
	{ .key = "max_header", .type = OPTION_SIZE, .def = "16k", .min = K, .max = M,
	  .offset = AT(max_header),
	  .help = "largest request line, and largest headers, before the upgrade; "
	          "a reload is for new connections" },
	{ .key = "handshake_timeout", .type = OPTION_TIME, .def = "10s", .min = 10, .max = HOUR,
	  .offset = AT(handshake_timeout),
	  .help = "time for the request before the upgrade, from the connection on; a reload is "
	          "for new connections" },
	{ .key = "ping_interval", .type = OPTION_TIME, .def = "25s", .min = 100, .max = DAY,
	  .offset = AT(ping_interval),
	  .help = "a connection idle for so long is pinged" },
	{ .key = "pong_timeout", .type = OPTION_TIME, .def = "10s", .min = 100, .max = DAY,
	  .offset = AT(pong_timeout),
	  .help = "time for the answer to a Ping; then the connection is closed with 3008" },
	{ .key = "echo_path", .type = OPTION_STRING, .def = "", .offset = AT(echo_path),
	  .check = value_check_echo_path,
	  .help = "path on which the worker itself echoes, without identity or "
	          "broker; empty: none" },
	{ .key = "drain_delay", .type = OPTION_TIME, .def = "0", .max = HOUR,
	  .offset = AT(drain_delay),
	  .help = "a stop, or drain, begins with so much time as ever, but not ready: "
	          "until load balancers know" },
	{ .key = "drain_timeout", .type = OPTION_TIME, .def = "30s", .max = DAY,
	  .offset = AT(drain_timeout),
	  .help = "time over which a graceful stop, or drain, spreads the closing of connections" },
	{ .key = "trace_context", .type = OPTION_ENUM, .def = "given", .words = trace_words,
	  .offset = AT(trace_context),
	  .help = "traceparent on clients' messages: off, given (as their handshake had one), made "
	          "(for all)" },
	{ .key = "hang_timeout", .type = OPTION_TIME, .def = "30s", .min = 3 * SECOND, .max = DAY,
	  .zero = true, .offset = AT(hang_timeout),
	  .help = "a child silent for so long is killed and replaced; 0: never" },

	{ .key = "seccomp", .type = OPTION_ENUM, .def = "on", .words = filter_words,
	  .apply = OPTION_RESTART, .offset = AT(seccomp),
	  .help = "a system call that a worker or the bridge has no use for: on: ends it, log: is "
	          "logged, off" },
	{ .key = "core_dumps", .type = OPTION_ENUM, .def = "off", .words = switch_words,
	  .apply = OPTION_RESTART, .offset = AT(core_dumps),
	  .help = "on: a process that crashes leaves a core, with messages and secrets in it" },
	{ .key = "tls_ticket_interval", .type = OPTION_TIME, .def = "12h", .min = SECOND, .max = 3 * DAY,
	  .zero = true, .offset = AT(tls_ticket_interval),
	  .help = "a new key for TLS session tickets after so long, which live twice as long; "
	          "0: none" },

	{ .key = "delivery.confirm", .type = OPTION_ENUM, .def = "pong", .words = confirm_words,
	  .offset = AT(delivery.confirm),
	  .help = "proof of receipt: pong (the client's own Pong), write (to the socket), none" },
	{ .key = "delivery.window", .type = OPTION_SIZE, .def = "256k", .min = 1, .max = G,
	  .offset = AT(delivery.window),
	  .help = "bytes given and not yet confirmed, per connection" },
	{ .key = "delivery.window_messages", .type = OPTION_NUMBER32, .def = "64", .min = 1,
	  .max = 65536, .offset = AT(delivery.window_messages),
	  .help = "messages given and not yet confirmed, per connection" },
	{ .key = "delivery.text", .type = OPTION_ENUM, .def = "auto", .words = text_words,
	  .offset = AT(delivery.text),
	  .help = "a message without Ws-Type is: auto (text when it is UTF-8), text, binary" },
	{ .key = "delivery.user_buffer", .type = OPTION_SIZE, .def = "256k", .max = G,
	  .offset = AT(delivery.user_buffer),
	  .help = "bytes kept for one user beyond the window (512 more a message); what is more stays in the stream" },
	{ .key = "delivery.total_buffer", .type = OPTION_SIZE, .def = "64m", .max = 1024 * G,
	  .offset = AT(delivery.total_buffer),
	  .help = "bytes kept for all users together" },

	{ .key = "identity.sources", .type = OPTION_LIST, .def = "path,cookie", .min = 1,
	  .max = 3, .offset = AT(identity.sources), .check = value_check_source,
	  .help = "where service and user are taken from: path, cookie, cert (the user alone)" },
	{ .key = "identity.service_cookie", .type = OPTION_STRING, .def = "service",
	  .offset = AT(identity.service_cookie), .check = value_check_cookie,
	  .help = "cookie that names the service" },
	{ .key = "identity.user_cookie", .type = OPTION_STRING, .def = "user",
	  .offset = AT(identity.user_cookie), .check = value_check_cookie,
	  .help = "cookie that names the user" },
	{ .key = "identity.cert_user", .type = OPTION_ENUM, .def = "cn", .words = cert_user_words,
	  .offset = AT(identity.cert_user),
	  .help = "what of a client's certificate names the user: cn, or the first email, uri or "
	          "dns" },

	{ .key = "origin.allow", .type = OPTION_LIST, .def = "same", .max = 256,
	  .offset = AT(origin.allow), .check = value_check_origin,
	  .help = "origins of browsers let in: same, any, https://*.example.org; "
	          "none: no browser" },

	{ .key = "limits.connections_per_address", .type = OPTION_NUMBER32, .def = "0",
	  .max = 10000000, .offset = AT(limits.connections_per_address),
	  .help = "connections of an IPv4 address or IPv6 /64, handshakes included; "
	          "429 beyond (TLS: end); 0: no limit" },
	{ .key = "limits.connections_per_user", .type = OPTION_NUMBER32, .def = "0",
	  .max = 10000000, .offset = AT(limits.connections_per_user),
	  .help = "connections of one user on this gateway, for new ones; 0: no limit" },
	{ .key = "limits.user_policy", .type = OPTION_ENUM, .def = "reject",
	  .words = policy_words, .offset = AT(limits.user_policy),
	  .help = "one more of that user: reject (429), or supersede (the oldest is closed "
	          "with 4001)" },
	{ .key = "limits.handshakes_per_second", .type = OPTION_NUMBER32, .def = "0",
	  .max = 10000000, .offset = AT(limits.handshakes_per_second),
	  .help = "HTTP requests of clients, each worker its share; 503 beyond; 0: no limit" },
	{ .key = "limits.messages_per_second", .type = OPTION_NUMBER32, .def = "0",
	  .max = 10000000, .offset = AT(limits.messages_per_second),
	  .help = "messages and Pings of one client, read no faster; 0: no limit" },
	{ .key = "limits.bytes_per_second", .type = OPTION_SIZE, .def = "0", .min = K,
	  .max = 1024 * G, .zero = true, .offset = AT(limits.bytes_per_second),
	  .help = "bytes of one client, headers of frames included, read no faster; "
	          "0: no limit" },
	{ .key = "limits.burst", .type = OPTION_TIME, .def = "2s", .min = 100, .max = HOUR,
	  .offset = AT(limits.burst),
	  .help = "so much time's worth of messages and bytes may come at once" },
	{ .key = "limits.fragments", .type = OPTION_NUMBER32, .def = "0", .max = UINT32_MAX,
	  .offset = AT(limits.fragments),
	  .help = "frames of one message of a client; 1008 beyond; 0: no limit" },
	{ .key = "limits.idle_timeout", .type = OPTION_TIME, .def = "0", .min = SECOND,
	  .max = 365 * DAY, .zero = true, .offset = AT(limits.idle_timeout),
	  .help = "a connection without a message either way for so long is closed with 1001; "
	          "0: never" },
	{ .key = "limits.connection_age", .type = OPTION_TIME, .def = "0", .min = SECOND,
	  .max = 365 * DAY, .zero = true, .offset = AT(limits.connection_age),
	  .help = "a connection is closed with 1012 when it is 80 to 100 % of this old; "
	          "0: never" },

	{ .key = "proxy.networks", .type = OPTION_LIST, .def = "", .max = 256,
	  .offset = AT(proxy.networks), .check = value_check_network,
	  .help = "proxies whose word on the client's address is taken: addresses, or networks "
	          "like 10.0.0.0/8" },
	{ .key = "proxy.protocol", .type = OPTION_ENUM, .def = "none", .words = protocol_words,
	  .offset = AT(proxy.protocol),
	  .help = "v1v2: connections of those begin with a PROXY header, version 1 or 2; none" },
	{ .key = "proxy.forwarded", .type = OPTION_ENUM, .def = "none",
	  .words = forwarded_words, .offset = AT(proxy.forwarded),
	  .help = "header that is taken from those: none, x-forwarded-for, forwarded (RFC 7239)" },

	{ .key = "compression.enabled", .type = OPTION_ENUM, .def = "off", .words = switch_words,
	  .offset = AT(compression.enabled),
	  .help = "on: permessage-deflate for new connections of clients that offer it" },
	{ .key = "compression.threshold", .type = OPTION_SIZE, .def = "1k", .min = 1, .max = G,
	  .offset = AT(compression.threshold),
	  .help = "shorter messages to clients go out as they are" },
	{ .key = "compression.level", .type = OPTION_NUMBER32, .def = "1", .min = 1, .max = 9,
	  .offset = AT(compression.level),
	  .help = "1 (fastest) to 9 (shortest), as zlib has it" },
	{ .key = "compression.context", .type = OPTION_ENUM, .def = "off", .words = switch_words,
	  .offset = AT(compression.context),
	  .help = "on: new connections have a compressor each, and remember earlier messages" },
	{ .key = "compression.window_bits", .type = OPTION_NUMBER32, .def = "12", .min = 9,
	  .max = 15, .offset = AT(compression.window_bits),
	  .help = "a new connection's window: 9 (512 bytes) to 15 (32k)" },
	{ .key = "compression.memory_level", .type = OPTION_NUMBER32, .def = "5", .min = 1,
	  .max = 9, .offset = AT(compression.memory_level),
	  .help = "memory of a compressor beside its window: 1 (1k) to 9 (256k), as zlib has it" },

	{ .key = "log.level", .type = OPTION_ENUM, .def = "info", .words = level_words,
	  .offset = AT(log.level),
	  .help = "error, warn, info, debug or trace" },
	{ .key = "log.target", .type = OPTION_STRING, .def = "stderr", .offset = AT(log.target),
	  .check = value_check_target,
	  .help = "stderr (in the background: syslog), syslog, or a file's path" },
	{ .key = "log.format", .type = OPTION_ENUM, .def = "text", .words = format_words,
	  .offset = AT(log.format),
	  .help = "text, or json: one object a line" },

	{ .key = "broker.type", .type = OPTION_STRING, .def = "nats", .apply = OPTION_RESTART,
	  .offset = AT(broker.type), .check = value_check_broker,
	  .help = "the kind of broker: nats; environment: PUBSUB_BROKER" },
	{ .key = "broker.url", .type = OPTION_STRING, .def = "nats://127.0.0.1:4222",
	  .secret = true, .offset = AT(broker.url), .check = value_check_url,
	  .help = "servers, comma-separated; environment: NATS_BROKER_URL" },
	{ .key = "broker.user", .type = OPTION_STRING, .def = "", .offset = AT(broker.user),
	  .help = "user to log in as; empty: as broker.url says" },
	{ .key = "broker.password", .type = OPTION_STRING, .def = "", .secret = true,
	  .offset = AT(broker.password),
	  .help = "its password; better: password_file" },
	{ .key = "broker.password_file", .type = OPTION_STRING, .def = "",
	  .offset = AT(broker.password_file),
	  .help = "file with the password" },
	{ .key = "broker.token", .type = OPTION_STRING, .def = "", .secret = true,
	  .offset = AT(broker.token),
	  .help = "token to log in with; better: token_file" },
	{ .key = "broker.token_file", .type = OPTION_STRING, .def = "",
	  .offset = AT(broker.token_file),
	  .help = "file with the token" },
	{ .key = "broker.nkey_file", .type = OPTION_STRING, .def = "",
	  .offset = AT(broker.nkey_file),
	  .help = "file with the seed of the NKey to log in with (SU...)" },
	{ .key = "broker.credentials_file", .type = OPTION_STRING, .def = "",
	  .offset = AT(broker.credentials_file),
	  .help = "credentials file of NATS (JWT and seed) to log in with" },
	{ .key = "broker.tls_ca", .type = OPTION_STRING, .def = "", .offset = AT(broker.tls_ca),
	  .help = "PEM file: who may have signed the server's certificate; empty: those of the system" },
	{ .key = "broker.tls_certificate", .type = OPTION_STRING, .def = "",
	  .offset = AT(broker.tls_certificate),
	  .help = "PEM file: our certificate, for a server that asks for one" },
	{ .key = "broker.tls_key", .type = OPTION_STRING, .def = "", .offset = AT(broker.tls_key),
	  .help = "PEM file: the private key of that certificate" },
	{ .key = "broker.tls_server_name", .type = OPTION_STRING, .def = "",
	  .offset = AT(broker.tls_server_name),
	  .help = "name that the server's certificate must have; empty: the host in broker.url" },
	{ .key = "broker.tls_verify", .type = OPTION_ENUM, .def = "on", .words = switch_words,
	  .offset = AT(broker.tls_verify),
	  .help = "off: any certificate will do, and anybody may be the server" },
	{ .key = "broker.nkey", .type = OPTION_STRING, .def = "", .secret = true, .hidden = true,
	  .offset = AT(broker.nkey), .help = "what nkey_file holds" },
	{ .key = "broker.credentials", .type = OPTION_STRING, .def = "", .secret = true,
	  .hidden = true, .offset = AT(broker.credentials),
	  .help = "what credentials_file holds" },
	{ .key = "broker.tls_ca_text", .type = OPTION_STRING, .def = "", .secret = true,
	  .hidden = true, .offset = AT(broker.tls_ca_text), .help = "what tls_ca holds" },
	{ .key = "broker.tls_certificate_text", .type = OPTION_STRING, .def = "", .secret = true,
	  .hidden = true, .offset = AT(broker.tls_certificate_text),
	  .help = "what tls_certificate holds" },
	{ .key = "broker.tls_key_text", .type = OPTION_STRING, .def = "", .secret = true,
	  .hidden = true, .offset = AT(broker.tls_key_text), .help = "what tls_key holds" },
	{ .key = "broker.grace", .type = OPTION_TIME, .def = "30s", .max = DAY,
	  .offset = AT(broker.grace),
	  .help = "time without the broker until clients are turned away" },
	{ .key = "broker.full_timeout", .type = OPTION_TIME, .def = "10s", .max = DAY,
	  .offset = AT(broker.full_timeout),
	  .help = "a stream that is full is tried again for so long; then the client "
	          "is closed with 1013" },

	{ .key = "stream.name", .type = OPTION_STRING, .def = "websockets",
	  .apply = OPTION_RESTART, .offset = AT(stream.name), .check = value_check_stream,
	  .help = "name of the JetStream stream" },
	{ .key = "stream.max_age", .type = OPTION_TIME, .def = "7d", .min = 100,
	  .max = 36500 * DAY, .zero = true, .offset = AT(stream.max_age),
	  .help = "messages not received until then are lost; 0: kept for ever" },
	{ .key = "stream.max_bytes", .type = OPTION_SIZE, .def = "0", .max = INT64_MAX,
	  .offset = AT(stream.max_bytes),
	  .help = "size of the stream; a full one refuses (see wsgate(7) for nats-server before 2.10.5); 0: no limit" },
	{ .key = "stream.max_messages_per_user", .type = OPTION_NUMBER, .def = "0",
	  .max = INT64_MAX, .offset = AT(stream.max_messages_per_user),
	  .help = "messages waiting for one user, or of one user for its service; more are refused; 0: no limit" },
	{ .key = "stream.duplicate_window", .type = OPTION_TIME, .def = "60s", .min = 100,
	  .max = 30 * DAY, .offset = AT(stream.duplicate_window),
	  .help = "time for which the broker knows a message again; at most max_age" },
	{ .key = "stream.replicas", .type = OPTION_NUMBER32, .def = "1", .min = 1, .max = 5,
	  .offset = AT(stream.replicas),
	  .help = "servers of the cluster that keep each message" },

	{ .key = "admin.listen", .type = OPTION_STRING, .def = "127.0.0.1:8001",
	  .offset = AT(admin.listen), .check = value_check_address_or_none,
	  .help = "address of /livez, /readyz, /metrics, /status.json; empty: none" },
	{ .key = "admin.socket", .type = OPTION_STRING, .def = "",
	  .offset = AT(admin.socket), .check = value_check_socket_or_none,
	  .help = "Unix socket with the same, for root and the group of the service; empty: none" },
	{ .key = "admin.hosts", .type = OPTION_LIST, .def = "", .max = 64,
	  .offset = AT(admin.hosts), .check = value_check_host,
	  .help = "names by which it may be asked; addresses and localhost always may" },
	{ .key = "admin.try_out", .type = OPTION_ENUM, .def = "off", .words = switch_words,
	  .offset = AT(admin.try_out),
	  .help = "on: its page has a client to try things out with; origin.allow must let it in" },
};
const size_t option_count = COUNT(option_table);

const struct option option_tls_table[] = {
	{ .key = "tls.certificate", .type = OPTION_LIST, .def = "", .max = 64,
	  .offset = TLS_AT(certificate), .check = value_check_readable,
	  .help = "PEM files, each a certificate and those between it and the root" },
	{ .key = "tls.key", .type = OPTION_LIST, .def = "", .max = 64, .repeats = true,
	  .offset = TLS_AT(key), .check = value_check_readable,
	  .help = "PEM files: the private key of each certificate, in the same order" },
	{ .key = "tls.ocsp", .type = OPTION_LIST, .def = "", .max = 64,
	  .offset = TLS_AT(ocsp), .check = value_check_readable,
	  .help = "DER files: OCSP responses to be stapled, in any order" },
	{ .key = "tls.client_ca", .type = OPTION_STRING, .def = "",
	  .offset = TLS_AT(client_ca), .check = value_check_readable_or_none,
	  .help = "PEM file: the authorities of clients' certificates" },
	{ .key = "tls.client_verify", .type = OPTION_ENUM, .def = "none", .words = verify_words,
	  .offset = TLS_AT(client_verify),
	  .help = "a client's certificate: none (not asked for), optional, require" },
	{ .key = "tls.min_version", .type = OPTION_ENUM, .def = "1.2", .words = version_words,
	  .offset = TLS_AT(min_version),
	  .help = "oldest version of TLS: 1.2 or 1.3" },
	{ .key = "tls.ciphers", .type = OPTION_STRING,
	  .def = "ECDHE+AESGCM+AES128:ECDHE+AESGCM:ECDHE+CHACHA20", .offset = TLS_AT(ciphers),
	  .check = value_check_filled,
	  .help = "ciphers of TLS 1.2, best first, as openssl-ciphers(1) has them" },
	{ .key = "tls.ciphersuites", .type = OPTION_STRING,
	  .def = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256",
	  .offset = TLS_AT(ciphersuites), .check = value_check_filled,
	  .help = "cipher suites of TLS 1.3, best first" },
	{ .key = "tls.ktls", .type = OPTION_ENUM, .def = "auto", .words = ktls_words,
	  .offset = TLS_AT(ktls),
	  .help = "auto: the kernel encrypts and decrypts, where it can; off: it never does" },
};
const size_t option_tls_count = COUNT(option_tls_table);
/* clang-format on */
