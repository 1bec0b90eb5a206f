/*
 * log: one line an event, for every process of the family.
 *
 * A line carries UTC time with milliseconds, level, process, a message and fields. Field values may
 * come from clients: they are escaped (text: key="va\x0al"; json: \u000a), never interpreted.
 * Room: base. Anybody may call it, from any thread. Owns the log descriptor.
 */
#ifndef WSGATE_LOG_H
#define WSGATE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_TRACE
};
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

enum log_field_kind {
	LOG_FIELD_END,
	LOG_FIELD_STR,
	LOG_FIELD_MEM,
	LOG_FIELD_INT,
	LOG_FIELD_UINT,
	LOG_FIELD_ERRNO,
	LOG_FIELD_MORE
};

struct log_field {
	enum log_field_kind kind;
	const char *key;
	const void *ptr; /* STR, MEM: borrowed for the call; NULL prints as an empty value. MORE:
			    other fields, or NULL */
	size_t len;      /* MEM: bytes */
	int64_t num;     /* INT, UINT; ERRNO: the errno value */
};

#define kv_str(k, v) ((struct log_field){LOG_FIELD_STR, (k), (v), 0, 0})
#define kv_mem(k, p, n) ((struct log_field){LOG_FIELD_MEM, (k), (p), (n), 0})
#define kv_int(k, v) ((struct log_field){LOG_FIELD_INT, (k), NULL, 0, (int64_t)(v)})
#define kv_uint(k, v) ((struct log_field){LOG_FIELD_UINT, (k), NULL, 0, (int64_t)(v)})
#define kv_errno(v) ((struct log_field){LOG_FIELD_ERRNO, "error", NULL, 0, (v)})

/* Fields that were put together elsewhere: conn, service, user, addr of a connection. Not nested.
 */
#define kv_more(fields) ((struct log_field){LOG_FIELD_MORE, NULL, (fields), 0, 0})
#define kv_end ((struct log_field){LOG_FIELD_END, NULL, NULL, 0, 0})

/* Usage: log_warn("port taken", kv_str("addr", a), kv_errno(errno)); */
#define log_at(level, msg, ...)                                                                    \
	do {                                                                                       \
		if (log_wants(level))                                                              \
			log_write((level), (msg),                                                  \
				(const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ) kv_end});    \
	} while (0)
#define log_error(msg, ...) log_at(LOG_LEVEL_ERROR, msg __VA_OPT__(, ) __VA_ARGS__)
#define log_warn(msg, ...) log_at(LOG_LEVEL_WARN, msg __VA_OPT__(, ) __VA_ARGS__)
#define log_info(msg, ...) log_at(LOG_LEVEL_INFO, msg __VA_OPT__(, ) __VA_ARGS__)
#define log_debug(msg, ...) log_at(LOG_LEVEL_DEBUG, msg __VA_OPT__(, ) __VA_ARGS__)
#define log_trace(msg, ...) log_at(LOG_LEVEL_TRACE, msg __VA_OPT__(, ) __VA_ARGS__)

/*
 * What a client, a service or the broker can cause again and again: at most `burst` lines with that
 * message in 10 seconds. How many were left out is said at the next one, or by log_catch_up().
 * msg is a literal.
 */
#define log_some_at(level, burst, msg, ...)                                                        \
	do {                                                                                       \
		if (log_wants(level) && log_allow((msg), (burst)))                                 \
			log_write((level), (msg),                                                  \
				(const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ) kv_end});    \
	} while (0)
#define log_some_errors(burst, msg, ...)                                                           \
	log_some_at(LOG_LEVEL_ERROR, burst, msg __VA_OPT__(, ) __VA_ARGS__)
#define log_some_warnings(burst, msg, ...)                                                         \
	log_some_at(LOG_LEVEL_WARN, burst, msg __VA_OPT__(, ) __VA_ARGS__)
#define log_some_infos(burst, msg, ...)                                                            \
	log_some_at(LOG_LEVEL_INFO, burst, msg __VA_OPT__(, ) __VA_ARGS__)
/* Nonzero: the line may be written. */
int log_allow(const char *msg, uint32_t burst);
/* What it was about is over: the next one is news. */
void log_again(const char *msg);
/* About once a second, by every process: says what was left out when no other line of that kind
 * came, and how many lines were lost when no other came. */
void log_catch_up(void);

/* target: "stderr", "syslog" or a file's path. 0, or -1 with errno (the old target stays). */
int log_open(const char *target, enum log_level level, enum log_format format);
/* Makes a file that log_open() would open. 0, or -1 with errno. */
int log_try(const char *path);
/* Whether a target can be opened, as far as can be seen without making it. 0, or -1 with errno. */
int log_check(const char *target);
/* Opens a log file again under its name (logrotate). 0, or -1 with errno (the old file stays). */
int log_reopen(void);
/*
 * The descriptor that must survive when a child closes all it did not inherit on purpose: 2 or the
 * log file's; -1 with syslog, whose connection is closed here (the next line opens it again), lest
 * its number be reused under it. That of a file which was the target before is forgotten, too.
 */
int log_fd(void);
/*
 * A file opened by somebody who may (the master, for children without root): the log of this
 * process goes there, wherever it went before. 0, or -1 with errno. fd stays the caller's.
 */
int log_adopt(int fd);
/* Where the log of the whole family goes now: that file (as log_adopt), else syslog or standard
 * error. */
int log_follow(int syslog, int fd);
/* What is written from here on, and how. */
void log_set(enum log_level level, enum log_format format);
/* While on, error lines go to standard error too, wherever the log goes: for the time of the start.
 */
void log_echo(int on);
/* The process' name on each line from here on, "worker 0". Copied. */
void log_set_process(const char *name);
int log_wants(enum log_level level);
/*
 * Whoever wants to know of warnings and errors: fn is called with each line, as text, without time,
 * level and process, by the thread that logs, and may log nothing itself. NULL: nobody.
 */
void log_tap(void (*fn)(void *arg, bool error, const char *text, size_t len), void *arg);
/* fields ends with LOG_FIELD_END. A line that cannot be written is dropped and counted. */
void log_write(enum log_level level, const char *msg, const struct log_field *fields);

#endif
