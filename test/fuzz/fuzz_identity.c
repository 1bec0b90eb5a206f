/*
 * Cookies and path tokens: the first byte says where identity may come from, the rest is a path, a
 * line end, and the value of the Cookie header. Whoever is let in has one subject, which no other
 * user has, and in which nothing can be a wildcard.
 */
#include <stdlib.h>
#include <string.h>
#include <wsgate/handshake.h>
#include <wsgate/subject.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int truth)
{
	if (!truth)
		abort();
}

static void subjects(const struct handshake_identity *who)
{
	struct identity id = {who->service, who->user, who->service_len, who->user_len};
	char subject[SUBJECT_MAX], service[TOKEN_MAX], user[TOKEN_MAX];
	struct identity back;
	size_t dots = 0;

	check(subject_format(SUBJECT_RECV, "ws", &id, subject, sizeof(subject)) > 0);
	for (const char *s = subject; *s != '\0'; s++) {
		check(*s > ' ' && *s <= '~' && *s != '*' && *s != '>');
		dots += *s == '.';
	}
	check(dots == 3);
	check(subject_parse(SUBJECT_RECV, "ws", subject, service, user, &back) == 0);
	check(back.service_len == id.service_len && back.user_len == id.user_len);
	check(memcmp(back.service, id.service, id.service_len) == 0);
	check(memcmp(back.user, id.user, id.user_len) == 0);
}

static void judge(const struct handshake *h, unsigned from)
{
	const struct identity_rules rules = {.path = from & 1,
		.cookie = from & 2,
		.service_cookie = from & 4 ? "service" : "a",
		.user_cookie = from & 4 ? "user" : "b"};
	struct handshake_identity id;
	struct http_answer a = handshake_identify(h, &rules, &id);

	check(a.status == 0 || a.status == 400 || a.status == 401 || a.status == 404);
	if (a.status != 0)
		return;
	check(id.service_len > 0 && id.service_len <= sizeof(id.service));
	check(id.user_len > 0 && id.user_len <= sizeof(id.user));
	subjects(&id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char before[] = "GET /ws",
			  middle[] = " HTTP/1.1\r\nHost: a\r\nCookie: ", after[] = "\r\n\r\n";
	const struct handshake_limits limits = {.max_header = 8192, .max_request = 8192};
	struct handshake *h = handshake_new(&limits);
	const uint8_t *line;
	size_t n, used;

	check(h != NULL);
	if (size > 1 && size < 4000) {
		line = memchr(data + 1, '\n', size - 1);
		n = line ? (size_t)(line - data) - 1 : size - 1;
		(void)handshake_feed(h, before, sizeof(before) - 1, &used);
		if (n > 0)
			(void)handshake_feed(h, (const char *)data + 1, n, &used);
		(void)handshake_feed(h, middle, sizeof(middle) - 1, &used);
		if (line && n + 2 < size)
			(void)handshake_feed(h, (const char *)line + 1, size - n - 2, &used);
		if (handshake_feed(h, after, sizeof(after) - 1, &used) == HANDSHAKE_DONE)
			judge(h, data[0]);
	}
	handshake_free(h);
	return 0;
}
