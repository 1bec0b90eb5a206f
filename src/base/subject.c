/*
 * subject: see subject.h.
 */
#include <stdbool.h>
#include <string.h>
#include <wsgate/subject.h>

struct kind {
	const char *after_prefix; /* up to the service's token */
};

static const struct kind kinds[] = {
	[SUBJECT_SEND] = {".send."},
	[SUBJECT_RECV] = {".recv."},
	[SUBJECT_LIVE] = {"live."},
	[SUBJECT_DEAD] = {"dead."},
};

static bool must_encode(unsigned char b)
{
	return b <= ' ' || b > 0x7e || b == '%' || b == '.' || b == '*' || b == '>';
}

int token_encode(const char *raw, size_t len, char *out, size_t outlen)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t i, n = 0;

	for (i = 0; i < len; i++) {
		unsigned char b = (unsigned char)raw[i];
		size_t need = must_encode(b) ? 3 : 1;

		if (n + need >= outlen)
			return -1;
		if (need == 1) {
			out[n++] = (char)b;
			continue;
		}
		out[n++] = '%';
		out[n++] = hex[b >> 4];
		out[n++] = hex[b & 15];
	}
	if (n >= outlen)
		return -1;
	out[n] = '\0';
	return (int)n;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Takes only what token_encode() makes: another spelling of a user would be another subject. */
int token_decode(const char *enc, size_t len, char *out, size_t outlen)
{
	size_t i = 0, n = 0;

	while (i < len) {
		int hi, lo, b = (unsigned char)enc[i];

		if (b == '%') {
			if (len - i < 3)
				return -1;
			hi = hex_digit(enc[i + 1]);
			lo = hex_digit(enc[i + 2]);
			if (hi < 0 || lo < 0)
				return -1;
			b = hi * 16 + lo;
			if (!must_encode((unsigned char)b))
				return -1;
			i += 3;
		} else {
			if (must_encode((unsigned char)b))
				return -1;
			i++;
		}
		if (n >= outlen)
			return -1;
		out[n++] = (char)b;
	}
	return (int)n;
}

int subject_format(enum subject_kind kind, const char *prefix, const struct identity *id, char *out,
	size_t outlen)
{
	size_t plen = strlen(prefix), klen = strlen(kinds[kind].after_prefix), n = plen + klen;
	int r;

	if (plen == 0 || plen > SUBJECT_PREFIX_MAX || id->service_len == 0 || id->user_len == 0 ||
		id->service_len > TOKEN_MAX || id->user_len > TOKEN_MAX || n >= outlen)
		return -1;
	memcpy(out, prefix, plen);
	memcpy(out + plen, kinds[kind].after_prefix, klen);
	r = token_encode(id->service, id->service_len, out + n, outlen - n);
	if (r < 0)
		return -1;
	n += (size_t)r;
	out[n++] = '.'; /* in the place of the NUL that token_encode() put there */
	r = token_encode(id->user, id->user_len, out + n, outlen - n);
	if (r < 0)
		return -1;
	return (int)n + r;
}

int subject_auth(const char *prefix, const char *service, size_t len, char *out, size_t outlen)
{
	static const char after[] = "auth.";
	size_t plen = strlen(prefix), n = plen + sizeof(after) - 1;
	int r;

	if (plen == 0 || plen > SUBJECT_PREFIX_MAX || len == 0 || len > TOKEN_MAX || n >= outlen)
		return -1;
	memcpy(out, prefix, plen);
	memcpy(out + plen, after, sizeof(after) - 1);
	r = token_encode(service, len, out + n, outlen - n);
	return r < 0 ? -1 : (int)n + r;
}

int subject_parse(enum subject_kind kind, const char *prefix, const char *subject, char *service,
	char *user, struct identity *id)
{
	size_t plen = strlen(prefix), klen = strlen(kinds[kind].after_prefix);
	const char *dot;
	int s, u;

	if (strncmp(subject, prefix, plen) != 0 ||
		strncmp(subject + plen, kinds[kind].after_prefix, klen) != 0)
		return -1;
	subject += plen + klen;
	dot = strchr(subject, '.');
	if (!dot)
		return -1;
	s = token_decode(subject, (size_t)(dot - subject), service, TOKEN_MAX);
	u = token_decode(dot + 1, strlen(dot + 1), user, TOKEN_MAX);
	if (s <= 0 || u <= 0)
		return -1;
	*id = (struct identity){service, user, (size_t)s, (size_t)u};
	return 0;
}
