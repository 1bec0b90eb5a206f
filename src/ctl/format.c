#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "format.h"

char *format_age(char out[FORMAT_AGE_MAX], uint64_t s)
{
	const uint64_t day = 24 * 3600;

	if (s < 60)
		snprintf(out, FORMAT_AGE_MAX, "%us", (unsigned)s);
	else if (s < 3600)
		snprintf(out, FORMAT_AGE_MAX, "%um%02us", (unsigned)(s / 60), (unsigned)(s % 60));
	else if (s < day)
		snprintf(out, FORMAT_AGE_MAX, "%uh%02um", (unsigned)(s / 3600),
			(unsigned)(s / 60 % 60));
	else if (s < 100 * day)
		snprintf(out, FORMAT_AGE_MAX, "%ud%02uh", (unsigned)(s / day),
			(unsigned)(s / 3600 % 24));
	else
		snprintf(out, FORMAT_AGE_MAX, "%" PRIu64 "d",
			s / day / 1000000 ? (uint64_t)999999 : s / day);
	return out;
}

/* Three digits that count; the first unit that is not too small for them. */
static char *format_scaled(char out[FORMAT_COUNT_MAX], double n, double base, const char *units)
{
	size_t i = 0;

	if (!(n >= 0.05))
		n = 0;
	if (n < 9999.5) {
		snprintf(out, FORMAT_COUNT_MAX,
			n > 0 && n < 9.95 && n != (double)(int)n ? "%.1f" : "%.0f", n);
		return out;
	}
	for (n /= base; n >= 999.5 && units[i + 1]; i++)
		n /= base;
	if (n >= 99999)
		n = 99999;
	snprintf(out, FORMAT_COUNT_MAX, "%.*f%c", n < 9.995 ? 2 : n < 99.95 ? 1 : 0, n, units[i]);
	return out;
}

char *format_count(char out[FORMAT_COUNT_MAX], double n)
{
	return format_scaled(out, n, 1000, "kMGTP");
}

char *format_bytes(char out[FORMAT_COUNT_MAX], double n)
{
	return format_scaled(out, n, 1024, "KMGTP");
}

char *format_time(char out[FORMAT_TIME_MAX], uint64_t ms)
{
	time_t at = (time_t)(ms / 1000);
	struct tm tm;

	if (!gmtime_r(&at, &tm) || !strftime(out, FORMAT_TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm))
		strcpy(out, "?");
	return out;
}

char *format_cut(char *out, size_t outlen, const char *text, size_t width)
{
	size_t len = strlen(text), max = width < outlen - 1 ? width : outlen - 1;
	size_t n = len < max ? len : max;

	for (size_t i = 0; i < n; i++)
		out[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
	out[n] = '\0';
	if (n < len && n)
		out[n - 1] = '>';
	return out;
}
