/*
 * log: see log.h. No locks: a line is made on the caller's stack and leaves by one write(); a file
 * is opened again by dup3() over the same descriptor, so a writer in another thread never holds a
 * stale one. Only what is limited, and syslog, know a lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include <wsgate/clock.h>
#include <wsgate/log.h>

#include "devlog.h"

/* PIPE_BUF: several processes write to one pipe, and up to here a write is not interleaved. */
#define LINE_MAX_BYTES 4096
#define TAIL_BYTES 32 /* kept free for closing quotes, the mark of a cut line and the newline */
#define TARGET_SYSLOG (-1)

struct line {
	char *buf;
	size_t len, cap;
	bool cut;
};

static _Atomic int target_fd = STDERR_FILENO;
static _Atomic int min_level = LOG_LEVEL_INFO;
static _Atomic int line_format = LOG_FORMAT_TEXT;
static _Atomic int echo_errors;
static _Atomic uint64_t lost;
static void (*_Atomic tap)(void *arg, bool error, const char *text, size_t len);
static void *tap_arg;    /* set before */
static int file_fd = -1; /* once made it is kept: dup3 puts the next file onto it */
static char file_path[PATH_MAX];
static char process[32];

static const char *const level_names[] = {"error", "warn", "info", "debug", "trace"};
static const int syslog_levels[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_DEBUG};

/* Whole or not at all: half an escape would be worse than a cut line. */
static bool put(struct line *l, const char *s, size_t n)
{
	if (l->cut || l->len + n > l->cap) {
		l->cut = true;
		return false;
	}
	memcpy(l->buf + l->len, s, n);
	l->len += n;
	return true;
}

static bool put_str(struct line *l, const char *s)
{
	return put(l, s, strlen(s));
}

/* Bytes of the valid UTF-8 sequence at s, at most n; 0 when there is none. *cp is its code point.
 */
static size_t utf8_sequence(const unsigned char *s, size_t n, uint32_t *cp)
{
	size_t need = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	size_t i;

	if (need == 0 || need > n || s[0] > 0xf4)
		return 0;
	*cp = need == 1 ? s[0] : s[0] & (0xffU >> (need + 1));
	for (i = 1; i < need; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		*cp = *cp << 6 | (s[i] & 0x3f);
	}
	if ((need == 3 && (*cp < 0x800 || (*cp >= 0xd800 && *cp < 0xe000))) ||
		(need == 4 && (*cp < 0x10000 || *cp > 0x10ffff)))
		return 0;
	return need;
}

/* C0, DEL, C1; line ends of JavaScript, and what turns the direction of text around. */
static bool is_control(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || (cp >= 0x2028 && cp <= 0x202e) ||
	       (cp >= 0x2066 && cp <= 0x2069);
}

/* The inside of a JSON string. What is not UTF-8 becomes U+FFFD, controls become escapes. */
static void put_json(struct line *l, const char *p, size_t n)
{
	const unsigned char *s = (const unsigned char *)p;
	char esc[8];
	uint32_t cp = 0;
	size_t step;

	while (n > 0 && !l->cut) {
		step = utf8_sequence(s, n, &cp);
		if (step == 0) {
			put_str(l, "\\ufffd");
			step = 1;
		} else if (cp == '"' || cp == '\\') {
			esc[0] = '\\';
			esc[1] = (char)cp;
			put(l, esc, 2);
		} else if (is_control(cp)) {
			snprintf(esc, sizeof(esc), "\\u%04x", (unsigned)cp & 0xffffU);
			put(l, esc, 6);
		} else {
			put(l, (const char *)s, step);
		}
		s += step;
		n -= step;
	}
}

/* Text: whatever a terminal could take for more than itself becomes \xNN. */
static void put_text(struct line *l, const char *p, size_t n, bool quoted)
{
	char esc[8];

	for (; n > 0 && !l->cut; p++, n--) {
		unsigned char b = (unsigned char)*p;

		if (b < 0x20 || b > 0x7e) {
			snprintf(esc, sizeof(esc), "\\x%02x", b);
			put(l, esc, 4);
		} else if (quoted && (b == '"' || b == '\\')) {
			esc[0] = '\\';
			esc[1] = (char)b;
			put(l, esc, 2);
		} else {
			put(l, p, 1);
		}
	}
}

static bool is_plain(const char *p, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (p[i] <= ' ' || p[i] > '~' || p[i] == '"' || p[i] == '\\' || p[i] == '=')
			return false;
	return n > 0;
}

/* False when nothing of the value could be put; a value that was cut is closed all the same. */
static bool put_value(struct line *l, const char *p, size_t n, bool json)
{
	if (!json && is_plain(p, n))
		return put(l, p, n);
	if (!put(l, "\"", 1))
		return false;
	if (json)
		put_json(l, p, n);
	else
		put_text(l, p, n, true);
	l->buf[l->len++] = '"'; /* its place is in the tail */
	return true;
}

static void put_one(struct line *l, const struct log_field *f, bool json)
{
	char num[256];
	const char *p = num;
	size_t n, start = l->len;
	bool number = f->kind == LOG_FIELD_INT || f->kind == LOG_FIELD_UINT;

	switch (f->kind) {
	case LOG_FIELD_STR:
		p = f->ptr ? f->ptr : "";
		n = strlen(p);
		break;
	case LOG_FIELD_MEM:
		p = f->ptr ? f->ptr : "";
		n = f->ptr ? f->len : 0;
		break;
	case LOG_FIELD_ERRNO:
		p = strerror_r((int)f->num, num, sizeof(num));
		n = strlen(p);
		break;
	case LOG_FIELD_UINT:
		n = (size_t)snprintf(num, sizeof(num), "%llu", (unsigned long long)f->num);
		break;
	default:
		n = (size_t)snprintf(num, sizeof(num), "%lld", (long long)f->num);
		break;
	}
	if (!put_str(l, json ? ",\"" : " ") || !put_str(l, f->key) ||
		!put_str(l, json ? "\":" : "=") ||
		!(number ? put(l, p, n) : put_value(l, p, n, json)))
		l->len = start; /* no key without its value, and no half number */
}

static void put_fields(struct line *l, const struct log_field *f, bool json)
{
	for (; f && f->kind != LOG_FIELD_END && !l->cut; f++) {
		if (f->kind != LOG_FIELD_MORE) {
			put_one(l, f, json);
			continue;
		}
		for (const struct log_field *g = f->ptr; g && g->kind != LOG_FIELD_END && !l->cut;
			g++)
			put_one(l, g, json);
	}
}

static void put_time(struct line *l)
{
	struct timespec ts;
	struct tm tm;
	char s[96];

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	snprintf(s, sizeof(s), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
		tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		(int)(ts.tv_nsec / 1000000));
	put_str(l, s);
}

static const char *process_name(void)
{
	return process[0] != '\0' ? process : program_invocation_short_name;
}

static void make_line(struct line *l, enum log_level level, const char *msg,
	const struct log_field *fields, bool json, bool stamp)
{
	if (json) {
		put_str(l, "{\"time\":\"");
		put_time(l);
		put_str(l, "\",\"level\":\"");
		put_str(l, level_names[level]);
		put_str(l, "\",\"process\":");
		put_value(l, process_name(), strlen(process_name()), true);
		put_str(l, ",\"message\":");
		put_value(l, msg, strlen(msg), true);
	} else {
		if (stamp) {
			put_time(l);
			put_str(l, " ");
			put_str(l, level_names[level]);
			put_str(l, " ");
		}
		put_text(l, process_name(), strlen(process_name()), false);
		put_str(l, ": ");
		put_text(l, msg, strlen(msg), false);
	}
	put_fields(l, fields, json);
	if (l->cut) {
		l->cut = false;
		l->cap = LINE_MAX_BYTES;
		put_str(l, json ? ",\"cut\":true" : " ...");
	}
	l->cap = LINE_MAX_BYTES;
	if (json)
		put_str(l, "}");
	put_str(l, "\n");
}

/* A pipe that nobody reads must not stop us: a line that finds no room is lost. */
static bool write_line(int fd, const struct line *l)
{
	struct pollfd room = {.fd = fd, .events = POLLOUT};
	ssize_t n;

	if (poll(&room, 1, 0) == 0)
		return false;
	do
		n = write(fd, l->buf, l->len);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)l->len;
}

static void emit(enum log_level level, const char *msg, const struct log_field *fields)
{
	char buf[LINE_MAX_BYTES];
	struct line l = {buf, 0, sizeof(buf) - TAIL_BYTES, false};
	int fd = atomic_load(&target_fd);

	if (fd == TARGET_SYSLOG) {
		make_line(&l, level, msg, fields, atomic_load(&line_format) == LOG_FORMAT_JSON,
			false);
		if (!devlog_send(syslog_levels[level], l.buf, l.len - 1))
			atomic_fetch_add(&lost, 1);
	} else {
		make_line(
			&l, level, msg, fields, atomic_load(&line_format) == LOG_FORMAT_JSON, true);
		if (!write_line(fd, &l))
			atomic_fetch_add(&lost, 1);
	}
	if (level == LOG_LEVEL_ERROR && atomic_load(&echo_errors) && fd != STDERR_FILENO) {
		l = (struct line){buf, 0, sizeof(buf) - TAIL_BYTES, false};
		make_line(&l, level, msg, fields, false, true);
		(void)write_line(STDERR_FILENO, &l);
	}
}

void log_tap(void (*fn)(void *arg, bool error, const char *text, size_t len), void *arg)
{
	tap_arg = arg;
	atomic_store(&tap, fn);
}

static void tell(enum log_level level, const char *msg, const struct log_field *fields)
{
	void (*fn)(void *, bool, const char *, size_t) = atomic_load(&tap);
	char buf[LINE_MAX_BYTES];
	struct line l = {buf, 0, sizeof(buf) - TAIL_BYTES, false};
	size_t skip = strlen(process_name()) + strlen(": ");

	if (!fn || level > LOG_LEVEL_WARN)
		return;
	make_line(&l, level, msg, fields, false, false);
	if (l.len > skip)
		fn(tap_arg, level == LOG_LEVEL_ERROR, buf + skip, l.len - skip - 1);
}

static void tell_lost(void)
{
	uint64_t before = atomic_exchange(&lost, 0);

	if (before == 0)
		return;
	emit(LOG_LEVEL_WARN, "log lines lost",
		(const struct log_field[]){kv_uint("lines", before), {0}});
	/* Still no room: the count must not forget those of before. */
	if (atomic_load(&lost) > 0)
		atomic_fetch_add(&lost, before - 1);
}

void log_write(enum log_level level, const char *msg, const struct log_field *fields)
{
	int saved = errno;

	tell_lost();
	emit(level, msg, fields);
	tell(level, msg, fields);
	errno = saved;
}

int log_wants(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&min_level, memory_order_relaxed);
}

/* A FIFO is not waited for: it is its own reader, and takes lines until it is full. */
static int open_to_append(const char *path, int more)
{
	int flags = O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, fd;
	struct stat st;

	if (stat(path, &st) == 0 && S_ISFIFO(st.st_mode)) {
		fd = open(path, O_RDWR | flags);
		if (fd >= 0 || errno != EACCES)
			return fd;
	}
	return open(path, O_WRONLY | flags | more, 0640);
}

int log_try(const char *path)
{
	int fd = open_to_append(path, O_CREAT);

	return fd < 0 ? -1 : close(fd);
}

static int open_file(const char *path)
{
	int fd = open_to_append(path, O_CREAT);
	int saved;

	if (fd < 0)
		return -1;
	if (file_fd < 0) {
		file_fd = fd;
		return 0;
	}
	if (dup3(fd, file_fd, O_CLOEXEC) < 0) {
		saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	close(fd);
	return 0;
}

int log_open(const char *target, enum log_level level, enum log_format format)
{
	int old = atomic_load(&target_fd);
	int fd;

	if (strcmp(target, "syslog") == 0) {
		fd = TARGET_SYSLOG;
	} else if (strcmp(target, "stderr") == 0) {
		fd = STDERR_FILENO;
	} else {
		if (strlen(target) >= sizeof(file_path)) {
			errno = ENAMETOOLONG;
			return -1;
		}
		if (open_file(target) < 0)
			return -1;
		if (target != file_path)
			strcpy(file_path, target);
		fd = file_fd;
	}
	log_set(level, format);
	atomic_store(&target_fd, fd);
	if (fd != file_fd && file_fd >= 0)
		(void)dup3(STDERR_FILENO, file_fd,
			O_CLOEXEC); /* lets the old file go, keeps the number */
	if (fd != TARGET_SYSLOG && old == TARGET_SYSLOG)
		devlog_close();
	return 0;
}

int log_check(const char *target)
{
	char folder[sizeof(file_path)];
	int fd;

	if (strcmp(target, "stderr") == 0 || strcmp(target, "syslog") == 0)
		return 0;
	fd = open_to_append(target, 0);
	if (fd >= 0)
		return close(fd);
	if (errno != ENOENT)
		return -1;
	if ((size_t)snprintf(folder, sizeof(folder), "%s", target) >= sizeof(folder)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return faccessat(AT_FDCWD, dirname(folder), W_OK | X_OK, AT_EACCESS);
}

int log_reopen(void)
{
	int fd = atomic_load(&target_fd);

	return fd >= 0 && fd == file_fd ? open_file(file_path) : 0;
}

int log_fd(void)
{
	int fd = atomic_load(&target_fd);

	if (fd == TARGET_SYSLOG)
		devlog_close();
	if (fd != file_fd)
		file_fd = -1;
	return fd;
}

int log_adopt(int fd)
{
	int old = atomic_load(&target_fd);

	if (file_fd < 0) {
		fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		if (fd < 0)
			return -1;
		file_fd = fd;
	} else if (dup3(fd, file_fd, O_CLOEXEC) < 0) {
		return -1;
	}
	atomic_store(&target_fd, file_fd);
	if (old == TARGET_SYSLOG)
		devlog_close();
	return 0;
}

int log_follow(int syslog, int fd)
{
	if (fd >= 0)
		return log_adopt(fd);
	return log_open(syslog ? "syslog" : "stderr", (enum log_level)atomic_load(&min_level),
		(enum log_format)atomic_load(&line_format));
}

void log_set(enum log_level level, enum log_format format)
{
	atomic_store(&min_level, (int)level);
	atomic_store(&line_format, (int)format);
}

void log_echo(int on)
{
	atomic_store(&echo_errors, on);
}

void log_set_process(const char *name)
{
	snprintf(process, sizeof(process), "%s", name);
}

/* ---- lines that somebody else can cause ---- */

#define KINDS_MAX 64
#define KIND_MS 10000

static struct kind {
	const char *what; /* a literal */
	uint64_t start_ms;
	uint32_t used, dropped;
} kinds[KINDS_MAX];
static pthread_mutex_t kinds_lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t kind_clock(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

/* When there are too many, the last ones share a place. */
static struct kind *kind_find(const char *what)
{
	struct kind *k = kinds;

	while (k < kinds + KINDS_MAX - 1 && k->what && strcmp(k->what, what) != 0)
		k++;
	if (!k->what)
		k->what = what;
	return k;
}

/* Begins anew when its time is over; says how many were left out. */
static uint32_t kind_renew(struct kind *k, uint64_t now)
{
	uint32_t dropped = k->dropped;

	if (k->start_ms != 0 && now - k->start_ms < KIND_MS)
		return 0;
	k->start_ms = now;
	k->used = k->dropped = 0;
	return dropped;
}

static void kind_say(const char *what, uint32_t dropped)
{
	if (dropped > 0)
		log_warn("lines were left out", kv_str("like", what), kv_uint("lines", dropped));
}

int log_allow(const char *what, uint32_t burst)
{
	uint64_t now = kind_clock();
	uint32_t dropped;
	struct kind *k;
	bool allowed;

	pthread_mutex_lock(&kinds_lock);
	k = kind_find(what);
	dropped = kind_renew(k, now);
	allowed = k->used < burst;
	if (allowed)
		k->used++;
	else if (k->dropped < UINT32_MAX)
		k->dropped++;
	pthread_mutex_unlock(&kinds_lock);
	kind_say(what, dropped);
	return allowed;
}

void log_again(const char *what)
{
	pthread_mutex_lock(&kinds_lock);
	kind_find(what)->used = 0;
	pthread_mutex_unlock(&kinds_lock);
}

void log_catch_up(void)
{
	uint64_t now = kind_clock();

	tell_lost();
	for (struct kind *k = kinds; k < kinds + KINDS_MAX; k++) {
		const char *what;
		uint32_t dropped;

		pthread_mutex_lock(&kinds_lock);
		what = k->what;
		dropped = k->dropped > 0 ? kind_renew(k, now) : 0;
		pthread_mutex_unlock(&kinds_lock);
		if (!what)
			return;
		kind_say(what, dropped);
	}
}
