/*
 * conftext: a configuration file's text, before libconfuse sees it.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#include "conftext.h"

/* What libconfuse takes into a word without quotes. */
static bool is_word(char c)
{
	return c != '\0' && !strchr(" #\"'\t\n\r={}()+,*", c);
}

/* The end of a quoted string that begins at s, or of the text. */
static char *skip_string(char *s)
{
	char quote = *s++;

	for (; *s != '\0' && *s != quote; s++)
		if (*s == '\\' && s[1] != '\0')
			s++;
	return *s != '\0' ? s + 1 : s;
}

static char *blank(char *s, const char *end)
{
	for (; s < end; s++)
		if (*s != '\n')
			*s = ' ';
	return s;
}

char *conftext_blank_comments(char *s)
{
	char *end;

	while (*s != '\0') {
		end = s + strspn(s, "/");
		if (*s == '"' || *s == '\'') {
			s = skip_string(s);
		} else if (*s == '#' || (end - s >= 2 && !is_word(*end))) {
			s = blank(s, strchrnul(s, '\n'));
		} else if (s[0] == '/' && s[1] == '*') {
			end = strstr(s + 2, "*/");
			if (!end)
				return s;
			s = blank(s, end + 2);
		} else if (is_word(*s)) {
			while (is_word(*s)) /* "//" within one is no comment: nats://host */
				s++;
		} else {
			s++;
		}
	}
	return NULL;
}

void conftext_mark_streams(char *s)
{
	static const char name[] = "stream";
	int depth = 0;

	while (*s != '\0') {
		char *word = s;

		if (*s == '"' || *s == '\'') {
			s = skip_string(s);
		} else if (!is_word(*s)) {
			depth += (*s == '{') - (*s == '}');
			s++;
		} else {
			while (is_word(*s))
				s++;
			if (depth != 0 || s - word != sizeof(name) - 1 ||
				memcmp(word, name, sizeof(name) - 1) != 0)
				continue;
			s += strspn(s, " \t\r\n");
			if (*s == '"' || *s == '\'' || is_word(*s))
				memcpy(word, CONFTEXT_STREAM, sizeof(name) - 1);
		}
	}
}

ssize_t conftext_slurp(int fd, char *buf, size_t max)
{
	size_t len = 0;
	ssize_t n;

	for (;;) {
		n = read(fd, buf + len, max + 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -1 : (ssize_t)len;
		len += (size_t)n;
		if (len > max) {
			errno = EFBIG;
			return -1;
		}
	}
}

int conftext_line(const char *s, const char *at)
{
	int n = 1;

	for (; s < at; s++)
		n += *s == '\n';
	return n;
}
