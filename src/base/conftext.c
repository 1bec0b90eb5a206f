/*
 * conftext: a configuration file's text, before libconfuse sees it.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#include "conftext.h"

#define BLANKS " \t\r\n"

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

/* The end of the token that begins at s; what is none is a token of one byte. */
static char *token_end(char *s)
{
	if (*s == '"' || *s == '\'')
		return skip_string(s);
	if (!is_word(*s))
		return s + 1;
	while (is_word(*s))
		s++;
	return s;
}

/* A word with one behind it. */
static bool has_title(const char *end)
{
	end += strspn(end, BLANKS);
	return *end == '"' || *end == '\'' || is_word(*end);
}

static void mark_stream(char *word, const char *end)
{
	static const char name[] = "stream";

	if (end - word == sizeof(name) - 1 && memcmp(word, name, sizeof(name) - 1) == 0 &&
		has_title(end))
		memcpy(word, CONFTEXT_STREAM, sizeof(name) - 1);
}

static void mark_empty(char *brace)
{
	char *end = brace + 1 + strspn(brace + 1, BLANKS);

	if (*end != '}')
		return;
	*brace = *CONFTEXT_EMPTY;
	*end = ' ';
}

void conftext_mark(char *s)
{
	int depth = 0;
	bool value = false; /* what follows a = */

	for (s += strspn(s, BLANKS); *s != '\0'; s += strspn(s, BLANKS)) {
		char *token = s;

		s = token_end(s);
		if (is_word(*token) && depth == 0 && !value)
			mark_stream(token, s);
		if (*token == '{' && value)
			mark_empty(token);
		depth += (*token == '{') - (*token == '}');
		value = *token == '=';
	}
}

const char *conftext_titled(char *s, size_t n)
{
	int depth = 0;
	bool value = false;

	for (s += strspn(s, BLANKS); *s != '\0'; s += strspn(s, BLANKS)) {
		char *token = s;

		s = token_end(s);
		if (is_word(*token) && depth == 0 && !value && has_title(s) && n-- == 0)
			return token;
		depth += (*token == '{') - (*token == '}');
		value = *token == '=';
	}
	return s;
}

int conftext_value_line(char *s, int line)
{
	int begin = 1, end = 1;
	char *token = s;

	while (*s != '\0' && end < line) {
		token = s;
		s = token_end(s);
		begin = end;
		end += conftext_line(token, s) - 1;
	}
	return *token != '\n' && end == line ? begin : line;
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
