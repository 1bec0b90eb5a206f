/*
 * confile: the file's part of a load. Private to config.
 */
#ifndef WSGATE_BASE_CONFILE_H
#define WSGATE_BASE_CONFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <wsgate/config.h>
#include <wsgate/option.h>

enum origin_kind { FROM_DEFAULT, FROM_FILE, FROM_ENV, FROM_SET };

/* Where a value came from, for messages. */
struct origin {
	enum origin_kind kind;
	int line;             /* FROM_FILE */
	const char *variable; /* FROM_ENV */
	size_t items;         /* FROM_FILE, lists: so many items seen, */
	bool complete;        /* and the closing brace */
};

#define CONFILE_TLS_MAX 32

/* A load under way. */
struct loading {
	struct config *c;
	const char *path;
	struct origin *origins;         /* one an option, in the table's order */
	int tls_lines[CONFILE_TLS_MAX]; /* where each tls section ends */
	char *err;
	size_t errlen;
	bool failed;  /* err is filled; what comes after it does not count */
	bool secrets; /* the files that hold some are read, too */
	bool trusted; /* the values were checked before */
	bool names_only;
};

/* The first fault of a load: "where: key: text". key NULL: none. Returns -1. */
int config_fault(struct loading *l, const struct origin *o, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Reads l->path into l->c. 0 or -1 after config_fault(). */
int confile_read(struct loading *l, bool required);

#endif
