#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include "handshake_parts.h"

#define KEY_BYTES 24 /* base64 of 16 bytes */

static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 1.3 */
static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* RFC 9110 5.6.1: lists may be spread over several lines and have empty members. */
static bool list_has(const struct handshake *h, const char *name, const char *token)
{
	const char *value = NULL;
	size_t want = strlen(token);

	while ((value = handshake_next(h, name, value)) != NULL) {
		const char *p = value;

		while (*p) {
			size_t len = strcspn(p, ",");
			const char *next = p + len + (p[len] == ',');

			while (len > 0 && is_space(*p)) {
				p++;
				len--;
			}
			while (len > 0 && is_space(p[len - 1]))
				len--;
			if (len == want && strncasecmp(p, token, len) == 0)
				return true;
			p = next;
		}
	}
	return false;
}

static bool key_valid(const char *key)
{
	if (strlen(key) != KEY_BYTES || strcmp(key + KEY_BYTES - 2, "==") != 0)
		return false;
	for (int i = 0; i < KEY_BYTES - 2; i++)
		if (!strchr(base64, key[i]))
			return false;
	return true;
}

/* RFC 6455 4.2.1. The version comes before the key: it says what the other headers mean. */
struct http_answer handshake_check(const struct handshake *h)
{
	const char *version = handshake_header(h, "Sec-WebSocket-Version");
	const char *key = handshake_header(h, "Sec-WebSocket-Key");

	if (strcmp(handshake_method(h), "GET") != 0)
		return (struct http_answer){405, "only GET is allowed here", "Allow: GET\r\n"};
	if (!list_has(h, "Upgrade", "websocket") || !list_has(h, "Connection", "upgrade"))
		return (struct http_answer){426, "this is a WebSocket endpoint",
			"Upgrade: websocket\r\nConnection: Upgrade\r\n"};
	if (version && handshake_next(h, "Sec-WebSocket-Version", version))
		return (struct http_answer){400, "more than one Sec-WebSocket-Version header", ""};
	if (!version || strcmp(version, "13") != 0)
		return (struct http_answer){426, "only WebSocket version 13 is spoken here",
			"Upgrade: websocket\r\nConnection: Upgrade\r\n"
			"Sec-WebSocket-Version: 13\r\n"};
	if (!key)
		return (struct http_answer){400, "no Sec-WebSocket-Key header", ""};
	if (handshake_next(h, "Sec-WebSocket-Key", key))
		return (struct http_answer){400, "more than one Sec-WebSocket-Key header", ""};
	if (!key_valid(key))
		return (struct http_answer){400, "Sec-WebSocket-Key is not base64 of 16 bytes", ""};
	return (struct http_answer){0, "", ""};
}

static size_t printed(int n, size_t outlen)
{
	return n > 0 && (size_t)n < outlen ? (size_t)n : 0;
}

size_t handshake_accept(const struct handshake *h, const char *protocol, char *out, size_t outlen)
{
	const char *key = handshake_header(h, "Sec-WebSocket-Key");
	const char *extension = handshake_extended(h);
	unsigned char digest[SHA_DIGEST_LENGTH], accept[29];
	char input[KEY_BYTES + sizeof(guid)];

	if (!key || strlen(key) != KEY_BYTES)
		return 0;
	memcpy(input, key, KEY_BYTES);
	memcpy(input + KEY_BYTES, guid, sizeof(guid));
	if (!SHA1((const unsigned char *)input, KEY_BYTES + sizeof(guid) - 1, digest))
		return 0;
	EVP_EncodeBlock(accept, digest, sizeof(digest));
	return printed(snprintf(out, outlen,
			       "HTTP/1.1 101 Switching Protocols\r\n"
			       "Upgrade: websocket\r\n"
			       "Connection: Upgrade\r\n"
			       "Sec-WebSocket-Accept: %s\r\n"
			       "%s%s%s%s%s%s\r\n",
			       accept, protocol ? "Sec-WebSocket-Protocol: " : "",
			       protocol ? protocol : "", protocol ? "\r\n" : "",
			       *extension ? "Sec-WebSocket-Extensions: " : "", extension,
			       *extension ? "\r\n" : ""),
		outlen);
}

static const char *phrase(unsigned status)
{
	static const struct {
		unsigned status;
		const char *phrase;
	} phrases[] = {
		{200, "OK"},
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{408, "Request Timeout"},
		{414, "URI Too Long"},
		{421, "Misdirected Request"},
		{426, "Upgrade Required"},
		{429, "Too Many Requests"},
		{431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"},
		{502, "Bad Gateway"},
		{503, "Service Unavailable"},
		{504, "Gateway Timeout"},
		{505, "HTTP Version Not Supported"},
	};

	for (size_t i = 0; i < sizeof(phrases) / sizeof(*phrases); i++)
		if (phrases[i].status == status)
			return phrases[i].phrase;
	return status < 500 ? "Client Error" : "Server Error";
}

/* RFC 9110 5.6.7, IMF-fixdate: English names, whatever the locale. */
static void http_date(char out[64])
{
	static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[][4] = {
		"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t now = time(NULL);
	char form[32];
	struct tm t;

	gmtime_r(&now, &t);
	snprintf(form, sizeof(form), "%s, %%d %s %%Y %%H:%%M:%%S GMT", days[t.tm_wday],
		months[t.tm_mon]);
	strftime(out, 64, form, &t);
}

size_t handshake_head(unsigned status, const char *type, const char *headers, size_t length,
	char *out, size_t outlen)
{
	char date[64];

	http_date(date);
	return printed(snprintf(out, outlen,
			       "HTTP/1.1 %u %s\r\n"
			       "Date: %s\r\n"
			       "%s"
			       "Connection: close\r\n"
			       "Content-Type: %s\r\n"
			       "Content-Length: %zu\r\n"
			       "\r\n",
			       status, phrase(status), date, headers, type, length),
		outlen);
}

size_t handshake_refuse(const struct http_answer *a, unsigned retry_after, char *out, size_t outlen)
{
	char headers[512], retry[40] = "";
	size_t len = strlen(a->text), n;
	int h;

	if (retry_after)
		snprintf(retry, sizeof(retry), "Retry-After: %u\r\n", retry_after);
	h = snprintf(headers, sizeof(headers), "%s%s", a->headers, retry);
	if (h < 0 || (size_t)h >= sizeof(headers))
		return 0;
	n = handshake_head(a->status, "text/plain; charset=utf-8", headers, len + 1, out, outlen);
	if (!n || n + len + 2 > outlen)
		return 0;
	memcpy(out + n, a->text, len);
	memcpy(out + n + len, "\n", 2);
	return n + len + 1;
}
