#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include "lines.h"

static void die(const char *why)
{
	lines_say("error %s", why);
	exit(1);
}

void lines_options(struct lines_options *o, int argc, char **argv)
{
	char scheme[4];

	memset(o, 0, sizeof(*o));
	if (argc < 2 || sscanf(argv[1], "%3[a-z]://%255[^:/]:%d%1023s", scheme, o->host, &o->port,
				o->path) != 4)
		die("URL: scheme://host:port/path");
	o->url = argv[1];
	o->tls = strcmp(scheme, "wss") == 0;
	for (int i = 2; i < argc; i++) {
		if (strncmp(argv[i], "cookie=", 7) == 0)
			o->cookie = argv[i] + 7;
		else if (strncmp(argv[i], "ca=", 3) == 0)
			o->ca = argv[i] + 3;
		else if (strcmp(argv[i], "deflate") == 0)
			o->deflate = true;
	}
}

void lines_say(const char *fmt, ...)
{
	char buf[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf) - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if (n > (int)sizeof(buf) - 2)
		n = (int)sizeof(buf) - 2;
	buf[n++] = '\n';
	for (int done = 0; done < n;) {
		ssize_t w = write(1, buf + done, (size_t)(n - done));

		if (w < 0 && errno != EINTR)
			exit(1);
		if (w > 0)
			done += (int)w;
	}
}

void lines_message(bool text, const void *data, size_t len)
{
	uint32_t sum = (uint32_t)crc32(0, data, (uInt)len);

	lines_say("message %s %zu %08x", text ? "text" : "binary", len, len ? sum : 0);
}

static void busy(const char *file)
{
	lines_say("busy");
	while (access(file, F_OK) == 0)
		usleep(20000);
	lines_say("idle");
}

static char *numbered(long i, size_t size)
{
	char number[24], *s = malloc(size + 1);
	size_t n = (size_t)snprintf(number, sizeof(number), "%ld", i);

	if (!s)
		die("no memory");
	memset(s, '.', size);
	memcpy(s, number, n < size ? n : size);
	s[size] = '\0';
	return s;
}

static uint8_t *octets(size_t size)
{
	uint8_t *p = malloc(size + 1);

	if (!p)
		die("no memory");
	for (size_t k = 0; k < size; k++)
		p[k] = (uint8_t)k;
	p[size] = '\0';
	return p;
}

static void send_text(const struct lines_acts *acts, void *ctx, char *rest)
{
	char *more;
	long n = strtol(rest, &more, 10);
	size_t size = strtoul(more, NULL, 10);

	for (long i = 0; i < n; i++) {
		char *s = numbered(i, size);

		acts->send(ctx, LINES_TEXT, s, size);
		free(s);
	}
}

static void send_binary(const struct lines_acts *acts, void *ctx, const char *rest)
{
	size_t size = strtoul(rest, NULL, 10);
	uint8_t *p = octets(size);

	acts->send(ctx, LINES_BINARY, p, size);
	free(p);
}

/* word, and what follows it after a blank ("" when nothing does) */
static void obey(const struct lines_acts *acts, void *ctx, const char *word, char *rest)
{
	if (strcmp(word, "text") == 0) {
		send_text(acts, ctx, rest);
	} else if (strcmp(word, "binary") == 0) {
		send_binary(acts, ctx, rest);
	} else if (strcmp(word, "ping") == 0 && acts->pings) {
		acts->send(ctx, LINES_PING, rest, strlen(rest));
	} else if (strcmp(word, "close") == 0) {
		int code = (int)strtol(rest, &rest, 10);

		acts->close(ctx, code, *rest ? rest + 1 : rest);
	} else if (acts->take && (strcmp(word, "pause") == 0 || strcmp(word, "resume") == 0)) {
		acts->take(ctx, *word == 'r');
		lines_say("%sd", word);
	} else {
		lines_say("error no %s here", word);
	}
}

bool lines_read(const struct lines_acts *acts, void *ctx)
{
	static char buf[4096];
	static size_t have;
	char *end, *rest;
	ssize_t n;

	fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
	n = read(0, buf + have, sizeof(buf) - 1 - have);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	have += (size_t)n;
	buf[have] = '\0';
	while ((end = strchr(buf, '\n'))) {
		*end = '\0';
		rest = strchr(buf, ' ');
		if (rest)
			*rest++ = '\0';
		if (strcmp(buf, "busy") == 0 && rest)
			busy(rest);
		else
			obey(acts, ctx, buf, rest ? rest : end);
		have -= (size_t)(end + 1 - buf);
		memmove(buf, end + 1, have + 1);
	}
	return true;
}
