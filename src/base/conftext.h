/*
 * conftext: a configuration file's text, before libconfuse sees it. Private to confile.
 */
#ifndef WSGATE_BASE_CONFTEXT_H
#define WSGATE_BASE_CONFTEXT_H

#include <stddef.h>
#include <sys/types.h>

/* Reads all of it; buf has room for max + 1 bytes. Its length; or -1 with errno, EFBIG: over max.
 */
ssize_t conftext_slurp(int fd, char *buf, size_t max) __attribute__((warn_unused_result));
/* Blanks all comments, but for their line ends. NULL; or where one begins that has no end. */
char *conftext_blank_comments(char *s) __attribute__((warn_unused_result));
/* What libconfuse is told that a section stream "title" { } is called: it takes one of a name with
 * a title, or without, but not both. Of the same length. */
#define CONFTEXT_STREAM "$tream"
/* The same for key = {}: a value, for at an empty list it calls nobody. */
#define CONFTEXT_EMPTY "\1"
void conftext_mark(char *s);
/* The section kind "title" { } that has n such before it, from its kind on. In marked text. */
const char *conftext_titled(char *s, size_t n);
/* Where the value begins that ends in that line: a string may go over several. */
int conftext_value_line(char *s, int line);
/* The number of the line in which `at` is. */
int conftext_line(const char *s, const char *at);

#endif
