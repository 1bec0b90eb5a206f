/*
 * option_pages: the sample file and the tables of wsgate.conf(5), as the option table makes them.
 */
#ifndef OPTION_PAGES_H
#define OPTION_PAGES_H

#include <stdio.h>
#include <wsgate/option.h>

/* A key without its section. */
const char *option_leaf(const struct option *o);
void make_sample(FILE *f);

/* Parts of the page that are made from a table, between two lines that say so. */
struct man_part {
	const char *of;
	void (*make)(FILE *f); /* NULL: of a titled section, whose keys these are */
	const struct option *table;
	const size_t *n;
};
#define MAN_PARTS 5
extern const struct man_part man_parts[MAN_PARTS];
/* The line before a part, or that behind it; and what is to stand between them. The caller frees.
 */
char *man_line(const struct man_part *p, bool first);
char *man_made(const struct man_part *p);

#endif
