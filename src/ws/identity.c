#include <string.h>
#include <wsgate/handshake.h>

#define TOKEN_BYTES 128

_Static_assert(sizeof(((struct handshake_identity *)0)->user) == TOKEN_BYTES, "room for a token");

static const struct http_answer fine = {0, "", ""};
static const struct http_answer unknown_path = {404, "unknown path", ""};

static struct http_answer bad_token(const char *text)
{
	return (struct http_answer){400, text, ""};
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* RFC 3986 2.1. After decoding any byte may stand in a token, also '/' and NUL. */
static struct http_answer token_decode_path(const char *s, size_t len, char *out, size_t *outlen)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = s[i];

		if (c == '%') {
			int high = i + 2 < len ? hex(s[i + 1]) : -1;
			int low = i + 2 < len ? hex(s[i + 2]) : -1;

			if (high < 0 || low < 0)
				return bad_token("bad percent escape in the path");
			c = (char)(high << 4 | low);
			i += 2;
		}
		if (n == TOKEN_BYTES)
			return bad_token("service or user is longer than 128 bytes");
		out[n++] = c;
	}
	if (n == 0)
		return bad_token("service or user is empty");
	*outlen = n;
	return fine;
}

/* p: what follows "/ws/", not empty. partial: the user may be missing. */
static struct http_answer from_path(const char *p, bool partial, struct handshake_identity *id)
{
	size_t service = strcspn(p, "/"), user;
	struct http_answer a;

	if (p[service] == '\0')
		return unknown_path;
	user = strcspn(p + service + 1, "/");
	/* One more slash may end the path, and nothing else may follow. */
	if (p[service + 1 + user] == '/' && p[service + 1 + user + 1] != '\0')
		return unknown_path;
	a = token_decode_path(p, service, id->service, &id->service_len);
	if (a.status || (partial && user == 0))
		return a;
	return token_decode_path(p + service + 1, user, id->user, &id->user_len);
}

struct cookie {
	const char *name;
	const char *value; /* NULL: not seen */
	size_t len;
};

struct jar {
	struct cookie service, user;
	bool conflict;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

static void cookie_note(struct jar *jar, struct cookie *c, const char *name, size_t name_len,
	const char *value, size_t len)
{
	if (strlen(c->name) != name_len || memcmp(c->name, name, name_len) != 0)
		return;
	if (c->value && (c->len != len || memcmp(c->value, value, len) != 0))
		jar->conflict = true;
	c->value = value;
	c->len = len;
}

/* RFC 6265 5.4: name "=" value, parted by ";". */
static void cookie_header(const char *s, void *arg)
{
	struct jar *jar = arg;

	while (*s) {
		const char *end = s + strcspn(s, ";"), *next = *end ? end + 1 : end;
		const char *eq = memchr(s, '=', (size_t)(end - s)), *name_end = eq, *value;
		size_t len;

		while (s < end && is_space(*s))
			s++;
		if (eq) {
			value = eq + 1;
			while (name_end > s && is_space(name_end[-1]))
				name_end--;
			while (value < end && is_space(*value))
				value++;
			while (end > value && is_space(end[-1]))
				end--;
			len = (size_t)(end - value);
			if (len >= 2 && value[0] == '"' && value[len - 1] == '"') {
				value++;
				len -= 2;
			}
			cookie_note(jar, &jar->service, s, (size_t)(name_end - s), value, len);
			cookie_note(jar, &jar->user, s, (size_t)(name_end - s), value, len);
		}
		s = next;
	}
}

static struct http_answer take(const struct cookie *c, char out[TOKEN_BYTES], size_t *len)
{
	if (!c->value)
		return fine;
	if (c->len == 0)
		return bad_token("service or user is empty");
	if (c->len > TOKEN_BYTES)
		return bad_token("service or user is longer than 128 bytes");
	memcpy(out, c->value, c->len);
	*len = c->len;
	return fine;
}

static struct http_answer from_cookies(const struct handshake *h,
	const struct identity_rules *rules, bool partial, struct handshake_identity *id)
{
	/* Before the certificate is looked at: the service that its user may ask for, whose rules
	 * are to judge him. */
	bool cert = rules->cert_user || (partial && rules->cert);
	struct http_answer a;
	struct jar jar = {
		.service = {.name = rules->service_cookie},
		.user = {.name = rules->user_cookie},
	};

	if (cert && !(partial && rules->cookie))
		jar.user.name = "\n"; /* no cookie has that name */
	if (rules->cookie || cert)
		handshake_each(h, "Cookie", cookie_header, &jar);
	if (jar.conflict)
		return bad_token("two cookies of one name differ");
	if (rules->cert_user) {
		jar.user.value = rules->cert_user;
		jar.user.len = rules->cert_user_len;
	}
	if (!partial && (!jar.service.value || !jar.user.value))
		return (struct http_answer){401, "no identity: service and user are not known",
			"WWW-Authenticate: Cookie realm=\"wsgate\"\r\n"};
	a = take(&jar.service, id->service, &id->service_len);
	return a.status ? a : take(&jar.user, id->user, &id->user_len);
}

static struct http_answer from_cert(
	const char *p, const struct identity_rules *rules, struct handshake_identity *id)
{
	size_t service = strcspn(p, "/");
	struct http_answer a;

	if (rules->cert_user_len > TOKEN_BYTES)
		return bad_token("the user of the certificate is longer than 128 bytes");
	if (p[service] == '/' && p[service + 1] == '\0') {
		a = token_decode_path(p, service, id->service, &id->service_len);
		memcpy(id->user, rules->cert_user, rules->cert_user_len);
		id->user_len = rules->cert_user_len;
		return a;
	}
	a = from_path(p, false, id);
	if (!a.status && (id->user_len != rules->cert_user_len ||
				 memcmp(id->user, rules->cert_user, id->user_len) != 0))
		return (struct http_answer){403, "the certificate is another user's", ""};
	return a;
}

static struct http_answer identify(const struct handshake *h, const struct identity_rules *rules,
	bool partial, struct handshake_identity *id)
{
	const char *path = handshake_path(h);

	id->service_len = id->user_len = 0;
	if (strncmp(path, "/ws", 3) != 0 || (path[3] != '\0' && path[3] != '/'))
		return unknown_path;
	if (path[3] == '\0' || path[4] == '\0')
		return from_cookies(h, rules, partial, id);
	if (rules->cert_user)
		return from_cert(path + 4, rules, id);
	if (!rules->path && rules->cert && !partial)
		return (struct http_answer){401, "no identity: a client certificate is needed",
			"WWW-Authenticate: Mutual realm=\"wsgate\"\r\n"};
	return rules->path || rules->cert ? from_path(path + 4, partial, id) : unknown_path;
}

struct http_answer handshake_identify(const struct handshake *h, const struct identity_rules *rules,
	struct handshake_identity *id)
{
	return identify(h, rules, false, id);
}

struct http_answer handshake_named(const struct handshake *h, const struct identity_rules *rules,
	struct handshake_identity *id)
{
	return identify(h, rules, true, id);
}
