/*
 * format: figures as people read them, and names that cannot harm a terminal. Pure. Room: ctl.
 */
#ifndef WSGATE_CTL_FORMAT_H
#define WSGATE_CTL_FORMAT_H

#include <stddef.h>
#include <stdint.h>

/* Each returns out. Sizes: the longest text with its end. */
#define FORMAT_AGE_MAX 16
char *format_age(char out[FORMAT_AGE_MAX], uint64_t seconds); /* 12s 3m05s 2h03m 5d04h 1234d */
#define FORMAT_COUNT_MAX 8
char *format_count(char out[FORMAT_COUNT_MAX],
	double n); /* 0.5 12 9999 12.3k 123k 1.23M: at most 5 characters below 10^18 */
char *format_bytes(
	char out[FORMAT_COUNT_MAX], double n); /* the same in powers of 1024: K M G T P */
#define FORMAT_TIME_MAX 24
char *format_time(char out[FORMAT_TIME_MAX], uint64_t ms); /* ms since 1970: 2026-11-25T14:00:00Z */
/*
 * In at most `width` columns; what is cut ends with '>', which no percent-encoded name has.
 * Anything but printable ASCII becomes '?'.
 */
char *format_cut(char *out, size_t outlen, const char *text, size_t width);

#endif
