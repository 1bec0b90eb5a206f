#include <string.h>

#include <wsgate/log.h>
#include <wsgate/trace.h>

static const char hex[] = "0123456789abcdef";

/* n bytes of lower-case hexadecimal digits, and no others. */
static bool unhex(const char *text, uint8_t *out, size_t n)
{
	for (size_t i = 0; i < 2 * n; i++) {
		const char *digit = text[i] ? strchr(hex, text[i]) : NULL;

		if (!digit)
			return false;
		out[i / 2] = (uint8_t)(out[i / 2] << 4 | (digit - hex));
	}
	return true;
}

static bool any(const uint8_t *p, size_t n)
{
	while (n > 0 && *p == 0) {
		p++;
		n--;
	}
	return n > 0;
}

/* "00-32 digits-16 digits-2 digits"; versions to come may have more behind another dash. */
bool trace_parse(const char *text, size_t len, struct trace_context *out)
{
	uint8_t version = 0;

	memset(out, 0, sizeof(*out));
	return len >= TRACE_TEXT - 1 && text[2] == '-' && text[35] == '-' && text[52] == '-' &&
	       unhex(text, &version, 1) && version != 0xff &&
	       (len == TRACE_TEXT - 1 || (version > 0 && text[55] == '-')) &&
	       unhex(text + 3, out->trace, sizeof(out->trace)) &&
	       unhex(text + 36, out->span, sizeof(out->span)) && unhex(text + 53, &out->flags, 1) &&
	       any(out->trace, sizeof(out->trace)) && any(out->span, sizeof(out->span));
}

static char *put(char *to, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		*to++ = hex[p[i] >> 4];
		*to++ = hex[p[i] & 15];
	}
	return to;
}

void trace_format(const struct trace_context *t, char out[TRACE_TEXT])
{
	char *to = put(out, (const uint8_t *)"", 1);

	*to++ = '-';
	to = put(to, t->trace, sizeof(t->trace));
	*to++ = '-';
	to = put(to, t->span, sizeof(t->span));
	*to++ = '-';
	*put(to, &t->flags, 1) = '\0';
}

/* ---- one user, followed ---- */

bool trace_on;
static struct trace_order order;

void trace_follow(const struct trace_order *o)
{
	order = *o;
	trace_on = o->until_ms != 0 && o->service_len <= TRACE_NAME_MAX &&
		   o->user_len <= TRACE_NAME_MAX;
}

void trace_tick(uint64_t now_ms)
{
	if (trace_on && now_ms >= order.until_ms)
		trace_on = false;
}

bool trace_is(const struct identity *who)
{
	return who->service_len == order.service_len && who->user_len == order.user_len &&
	       memcmp(who->service, order.service, who->service_len) == 0 &&
	       memcmp(who->user, order.user, who->user_len) == 0;
}

void trace_say(const char *msg, const struct log_field *fields)
{
	log_write(LOG_LEVEL_TRACE, msg, fields);
}
