/*
 * secrets: see secrets.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "secrets.h"

#define K 1024
#define ROOM (384 * K) /* of the largest */

struct file {
	const char *key, *into; /* the path; what it holds */
	size_t max;
	bool line;        /* a line end is none of it */
	const char *mark; /* stands in it; NULL: nothing known */
	const char *what;
};

static const struct file files[] = {
	{"broker.password_file", "broker.password", 4 * K, true, NULL, "a password"},
	{"broker.token_file", "broker.token", 4 * K, true, NULL, "a token"},
	{"broker.nkey_file", "broker.nkey", 4 * K, true, "SU", "the seed of a user's NKey (SU...)"},
	{"broker.credentials_file", "broker.credentials", 64 * K, false, "BEGIN NATS USER JWT",
		"a credentials file of NATS"},
	{"broker.tls_ca", "broker.tls_ca_text", ROOM, false, "-----BEGIN CERTIFICATE-----",
		"certificates in PEM"},
	{"broker.tls_certificate", "broker.tls_certificate_text", 64 * K, false,
		"-----BEGIN CERTIFICATE-----", "a certificate in PEM"},
	{"broker.tls_key", "broker.tls_key_text", 64 * K, false, "PRIVATE KEY-----",
		"a private key in PEM"},
};
#define NFILES (sizeof(files) / sizeof(files[0]))

static const char *value(const struct loading *l, const char *key)
{
	return *(char *const *)((const char *)l->c + option_find(key)->offset);
}

static bool given(const struct loading *l, const char *key)
{
	return value(l, key)[0] != '\0';
}

static int fault(struct loading *l, const char *key, const char *text)
{
	return config_fault(l, &l->origins[option_find(key) - option_table], key, "%s", text);
}

int secrets_check(struct loading *l)
{
	static const char *const logins[] = {"broker.user", "broker.token", "broker.token_file",
		"broker.nkey_file", "broker.credentials_file"};
	size_t n = 0;

	for (size_t i = 0; i < sizeof(logins) / sizeof(logins[0]); i++)
		if (given(l, logins[i]) && n++ > 0)
			return fault(l, logins[i],
				"one way to log in is enough: user, token, nkey_file or "
				"credentials_file");
	if (given(l, "broker.password") && given(l, "broker.password_file"))
		return fault(l, "broker.password_file", "there is password, too; keep one");
	for (size_t i = 0; i < 2; i++) {
		const char *key = i ? "broker.password_file" : "broker.password";

		if (given(l, key) && !given(l, "broker.user"))
			return fault(l, key, "a password without broker.user; set that, too");
	}
	if (given(l, "broker.tls_certificate") != given(l, "broker.tls_key"))
		return fault(l,
			given(l, "broker.tls_key") ? "broker.tls_key" : "broker.tls_certificate",
			"tls_certificate and tls_key go together; set both");
	return 0;
}

/* -1 with errno. */
static ssize_t slurp(const char *path, char *buf, size_t room)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), saved;
	struct stat st;
	size_t len = 0;
	ssize_t n = -1;

	if (fd < 0)
		return -1;
	errno = EINVAL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		while ((n = read(fd, buf + len, room - len)) > 0)
			len += (size_t)n;
	saved = errno;
	close(fd);
	errno = saved;
	return n < 0 ? -1 : (ssize_t)len;
}

static int take(struct loading *l, const struct file *f, char *buf, ssize_t len)
{
	const struct option *o = option_find(f->into);
	char text[200], err[320];
	const char *v = buf;

	if (len < 0)
		snprintf(text, sizeof(text),
			"cannot be read (%s); make it a file that the master can read",
			strerror(errno));
	else if ((size_t)len > f->max)
		snprintf(text, sizeof(text), "is too large for %s", f->what);
	if (len < 0 || (size_t)len > f->max)
		return fault(l, f->key, text);
	buf[len] = '\0';
	while (f->line && len > 0 && (buf[len - 1] == '\n' || buf[len - 1] == '\r'))
		buf[--len] = '\0';
	if (len == 0 || strlen(buf) < (size_t)len || (f->mark && !strstr(buf, f->mark))) {
		snprintf(text, sizeof(text), "must be a file with %s", f->what);
		return fault(l, f->key, text);
	}
	if (option_set(l->c, o, &v, 1, err, sizeof(err)) < 0)
		return fault(l, f->key, err);
	return 0;
}

int secrets_read(struct loading *l)
{
	char *buf = malloc(ROOM + 2);
	int r = 0;

	if (!buf)
		return fault(l, files[0].key, "out of memory");
	for (size_t i = 0; i < NFILES && r == 0; i++) {
		ssize_t len;

		if (!given(l, files[i].key))
			continue;
		len = slurp(value(l, files[i].key), buf, ROOM + 1);
		r = take(l, &files[i], buf, len);
		/* What was never written to stays untouched: pages that cost nothing. */
		explicit_bzero(buf, len < 0 ? ROOM + 1 : (size_t)len);
	}
	free(buf);
	return r;
}
