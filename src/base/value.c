/*
 * value: see value.h.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wsgate/network.h>
#include <wsgate/subject.h>
#include "value.h"

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct unit {
	const char *name;
	uint64_t factor;
};

/* Largest last: printing takes the largest that divides. */
static const struct unit size_units[] = {
	{"", 1},
	{"k", 1024},
	{"m", 1024 * 1024},
	{"g", 1024 * 1024 * 1024},
};
static const struct unit time_units[] = {
	{"ms", 1},
	{"s", 1000},
	{"m", 60 * 1000},
	{"h", 3600 * 1000},
	{"d", 24 * 3600 * 1000},
};

static const char *digits(const char *s, uint64_t *out)
{
	uint64_t n = 0, d;

	if (!isdigit((unsigned char)*s))
		return NULL;
	for (; isdigit((unsigned char)*s); s++) {
		d = (uint64_t)(*s - '0');
		n = n > (UINT64_MAX - d) / 10 ? UINT64_MAX : n * 10 + d;
	}
	*out = n;
	return s;
}

static bool with_unit(
	const char *s, const struct unit *units, size_t n, uint64_t bare, uint64_t *out)
{
	uint64_t v, factor = 0;
	size_t i;

	s = digits(s, &v);
	if (!s)
		return false;
	if (*s == '\0')
		factor = bare;
	for (i = 0; i < n; i++)
		if (*s != '\0' && strcasecmp(s, units[i].name) == 0)
			factor = units[i].factor;
	if (factor == 0)
		return false;
	*out = v > UINT64_MAX / factor ? UINT64_MAX : v * factor;
	return true;
}

static const char *print_unit(uint64_t v, const struct unit *units, size_t n, char *buf)
{
	size_t i = n - 1;

	while (i > 0 && v % units[i].factor != 0)
		i--;
	snprintf(buf, 32, "%" PRIu64 "%s", v / units[i].factor, units[i].name);
	return buf;
}

bool value_number(const char *s, uint64_t *out)
{
	s = digits(s, out);
	return s && *s == '\0';
}

bool value_size(const char *s, uint64_t *bytes)
{
	return with_unit(s, size_units, COUNT(size_units), 1, bytes);
}

bool value_time(const char *s, uint64_t *ms)
{
	return with_unit(s, time_units, COUNT(time_units), 1000, ms);
}

const char *value_print_size(uint64_t bytes, char *buf)
{
	return bytes == 0 ? strcpy(buf, "0")
			  : print_unit(bytes, size_units, COUNT(size_units), buf);
}

const char *value_print_time(uint64_t ms, char *buf)
{
	return ms == 0 ? strcpy(buf, "0") : print_unit(ms, time_units, COUNT(time_units), buf);
}

const char *value_check_filled(const char *s)
{
	return *s != '\0' ? NULL : "must not be empty";
}

static bool is_port(const char *s)
{
	uint64_t port;

	return value_number(s, &port) && port >= 1 && port <= 65535;
}

static bool is_v6(const char *s, size_t len)
{
	char buf[INET6_ADDRSTRLEN + 1];
	struct in6_addr a;
	const char *scope = memchr(s, '%', len);
	size_t n = scope ? (size_t)(scope - s) : len;

	if (n >= sizeof(buf) || (scope && n + 1 == len))
		return false;
	memcpy(buf, s, n);
	buf[n] = '\0';
	return inet_pton(AF_INET6, buf, &a) == 1;
}

/* A name or an IPv4 address; what looks like the latter must be one. */
static bool is_host(const char *s, size_t len)
{
	char buf[256];
	struct in_addr a;
	size_t i, label = 0;

	if (len == 0 || len >= sizeof(buf))
		return false;
	memcpy(buf, s, len);
	buf[len] = '\0';
	if (strspn(buf, "0123456789.") == len)
		return inet_pton(AF_INET, buf, &a) == 1;
	for (i = 0; i < len; i++) {
		label = buf[i] == '.' ? 0 : label + 1;
		if ((label == 0 && (i == 0 || buf[i - 1] == '.')) || label > 63)
			return false;
	}
	return strspn(buf, ALNUM "-._") == len;
}

/* host:port or [v6]:port; optional says that ":port" may be missing. */
static bool is_address(const char *s, bool optional)
{
	const char *end;

	if (*s == '[') {
		end = strchr(s, ']');
		if (!end || !is_v6(s + 1, (size_t)(end - s - 1)))
			return false;
		end++;
	} else {
		end = strchrnul(s, ':');
		if (!is_host(s, (size_t)(end - s)))
			return false;
	}
	return *end == '\0' ? optional : *end == ':' && is_port(end + 1);
}

const char *value_check_address(const char *s)
{
	return is_address(s, false) ? NULL : "must be host:port or [v6]:port, port 1 to 65535";
}

const char *value_check_address_or_none(const char *s)
{
	return *s == '\0' ? NULL : value_check_address(s);
}

const char *value_check_socket_or_none(const char *s)
{
	size_t n = strlen(s);

	return n == 0 || (*s == '/' && s[n - 1] != '/' && n <= 256)
		       ? NULL
		       : "must be a path from / on, of at most 256 bytes";
}

const char *value_check_host(const char *s)
{
	size_t n = strspn(s, ALNUM "-._");

	return n > 0 && n <= 253 && s[n] == '\0' ? NULL : "must be a host's name, without a port";
}

const char *value_check_prefix(const char *s)
{
	_Static_assert(SUBJECT_PREFIX_MAX == 32, "the text below");
	size_t n = strspn(s, ALNUM "_-");

	return n > 0 && n <= SUBJECT_PREFIX_MAX && s[n] == '\0'
		       ? NULL
		       : "must be 1 to 32 letters, digits, _ or -";
}

const char *value_check_stream(const char *s)
{
	size_t n = strspn(s, ALNUM "_-");

	return n > 0 && n <= 128 && s[n] == '\0' ? NULL
						 : "must be 1 to 128 letters, digits, _ or -";
}

const char *value_check_service(const char *s)
{
	size_t n = strlen(s);

	if (strcmp(s, "*") == 0)
		return "must be the name of a service; * is none: a subject cannot mean all others";
	return n > 0 && n <= 128 ? NULL : "must be the name of a service, 1 to 128 bytes";
}

const char *value_check_echo_path(const char *s)
{
	if (*s == '\0')
		return NULL;
	if (*s != '/' || strpbrk(s, " ?#"))
		return "must begin with / and have no space, ? or #";
	if (strcmp(s, "/ws") == 0 || strncmp(s, "/ws/", 4) == 0)
		return "must not be /ws or below /ws/, where clients are identified";
	return NULL;
}

const char *value_check_origin(const char *s)
{
	const char *host = strstr(s, "://");

	if (strcmp(s, "same") == 0 || strcmp(s, "any") == 0)
		return NULL;
	if (host && isalpha((unsigned char)*s) && strspn(s, ALNUM "+-.") == (size_t)(host - s)) {
		host += 3;
		if (is_address(strncmp(host, "*.", 2) == 0 ? host + 2 : host, true))
			return NULL;
	}
	return "must be same, any, or scheme://host[:port], with *. before the host for all below "
	       "it";
}

const char *value_check_cookie(const char *s)
{
	size_t n = strspn(s, ALNUM "!#$%&'*+-.^_`|~"); /* RFC 6265 4.1.1: a token */

	return n > 0 && s[n] == '\0' ? NULL : "must be the name of a cookie: no space, no =, no ;";
}

const char *value_check_source(const char *s)
{
	return strcmp(s, "path") == 0 || strcmp(s, "cookie") == 0 || strcmp(s, "cert") == 0
		       ? NULL
		       : "must be path, cookie or cert";
}

const char *value_check_target(const char *s)
{
	if (strcmp(s, "stderr") == 0 || strcmp(s, "syslog") == 0)
		return NULL;
	if (strlen(s) >= PATH_MAX)
		return "is too long for a path";
	/* Else a misspelt "sysolg" would be a file in whatever directory this is. */
	return strchr(s, '/') ? NULL
			      : "must be stderr, syslog, or the path of a file, with a / in it";
}

const char *value_check_broker(const char *s)
{
	return strcmp(s, "nats") == 0 ? NULL : "is an unknown broker; the only one is nats";
}

static bool is_server(const char *s, size_t len)
{
	char buf[1024], *host, *at;

	if (len == 0 || len >= sizeof(buf))
		return false;
	memcpy(buf, s, len);
	buf[len] = '\0';
	host = strstr(buf, "://");
	if (host) {
		if (strncmp(buf, "nats://", 7) != 0 && strncmp(buf, "tls://", 6) != 0)
			return false;
		host += 3;
	} else {
		host = buf;
	}
	at = strrchr(host, '@');
	host = at ? at + 1 : host;
	at = strchr(host, '/');
	if (at && at[1] == '\0')
		*at = '\0';
	return is_address(host, true);
}

const char *value_check_url(const char *s)
{
	size_t len;

	for (;;) {
		s += strspn(s, " ");
		len = strcspn(s, ", ");
		if (!is_server(s, len))
			return "must be a comma-separated list of "
			       "nats://[user:password@]host[:port] or tls://...";
		s += len;
		s += strspn(s, " ");
		if (*s == '\0')
			return NULL;
		if (*s++ != ',')
			return "has a space within a server's address: write it without, or as %20";
	}
}

const char *value_check_token(const char *s)
{
	static const char *const words[] = {"bearer", "cookie", "query", "protocol"};

	for (size_t i = 0; i < COUNT(words); i++)
		if (strcmp(s, words[i]) == 0)
			return NULL;
	return "must be bearer, cookie, query or protocol";
}

/* RFC 9110 5.6.2: a token; what follows must be told from it. */
const char *value_check_protocol(const char *s)
{
	size_t n = strspn(s, ALNUM "!#$%&'*+-.^_`|~");

	return n > 0 && n <= 64 && s[n] == '\0' ? NULL
						: "must be 1 to 64 characters of a subprotocol: "
						  "letters, digits, . _ -";
}

const char *value_check_header(const char *s)
{
	size_t n = strspn(s, ALNUM "!#$%&'*+-.^_`|~");

	return n > 0 && s[n] == '\0' ? NULL : "must be the name of a header";
}

static bool is_readable(const char *s)
{
	struct stat st;
	int fd = *s != '\0' ? open(s, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
	bool good = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);

	if (fd >= 0)
		close(fd);
	return good;
}

bool value_is_file(const char *(*check)(const char *s))
{
	return check == value_check_readable || check == value_check_readable_or_none ||
	       check == value_check_file;
}

/* Leaves errno set when that is what is wrong. */
const char *value_check_readable(const char *s)
{
	return is_readable(s) ? NULL : "must be the path of a file that can be read";
}

const char *value_check_readable_or_none(const char *s)
{
	return *s == '\0' ? NULL : value_check_readable(s);
}

const char *value_check_file(const char *s)
{
	return value_check_readable(s);
}

const char *value_check_network(const char *s)
{
	struct network n;

	return network_parse(s, &n)
		       ? NULL
		       : "must be an address or a network like 10.0.0.0/8, with no bits "
			 "set behind its prefix";
}
