/*
 * option: THE table of configuration keys. It drives parsing, environment, -o, printing, reload,
 * the sample file and the table in wsgate.conf(5); test_option proves that all agree. Room: base.
 */
#ifndef WSGATE_OPTION_H
#define WSGATE_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <wsgate/config.h>

enum option_type {
	OPTION_NUMBER32, /* uint32_t */
	OPTION_NUMBER,   /* uint64_t */
	OPTION_SIZE,     /* uint64_t, bytes; k m g */
	OPTION_TIME,     /* uint64_t, milliseconds; ms s m h d, a bare number is seconds */
	OPTION_STRING,   /* char * */
	OPTION_LIST,     /* struct strlist */
	OPTION_ENUM,     /* an enum that counts from 0, its words in `words` */
};

enum option_apply { OPTION_RELOAD, OPTION_RESTART };

struct option {
	const char *key; /* dotted path: "broker.url" */
	enum option_type type;
	const char *def;   /* as -o takes it: lists comma-separated */
	uint64_t min, max; /* numbers, sizes, times: the range; lists: how many items */
	bool zero;         /* 0 is allowed too, below min: it means "none" */
	bool secret;       /* may hold a password: not to be shown to people */
	bool hidden;       /* what a file holds: set by no file, -o or variable */
	bool repeats;      /* lists: an item may stand there twice */
	enum option_apply apply;
	size_t offset; /* into struct config (tls.*: into struct config_tls; auth.*: config_auth,
			  service.*: config_service, titled stream.*: config_stream) */
	const char *const *words; /* ends with NULL */
	const char *(*check)(
		const char *value); /* of a string or one item: NULL, or what it must be */
	const char *help;           /* one line */
};

extern const struct option option_table[];
extern const size_t option_count;
/* The keys of a titled section tls "addr" { }. For the file alone. */
extern const struct option option_tls_table[];
extern const size_t option_tls_count;
/* The keys of a titled section auth "service" { }. For the file alone. */
extern const struct option option_auth_table[];
extern const size_t option_auth_count;

/* The keys of a titled section service "service" { }. For the file alone. */
extern const struct option option_service_table[];
extern const size_t option_service_count;

/* The keys of a titled section stream "name" { }. For the file alone; what it does not say is as
 * stream.* of option_table. */
extern const struct option option_stream_table[];
extern const size_t option_stream_count;

/* NULL: no such key. */
const struct option *option_find(const char *key);
/* The key most like a misspelt one, or NULL. */
const struct option *option_guess(const char *key);

/*
 * Checks and stores a value; `base` is the struct that holds it. n values only for lists. 0; or -1
 * and, in err, what is wrong with it and how to mend it, without file, line and key. The old value
 * stays then.
 */
int option_set(void *base, const struct option *o, const char *const *values, size_t n, char *err,
	size_t errlen) __attribute__((warn_unused_result));
/* The same from one text, where lists are comma-separated. */
int option_set_text(void *base, const struct option *o, const char *text, char *err, size_t errlen)
	__attribute__((warn_unused_result));
/* Gives `to` the value of `from`. 0; or -1 without memory: the old value stays. */
int option_copy(void *to, const void *from, const struct option *o)
	__attribute__((warn_unused_result));
/* Frees what a value holds. */
void option_clear(void *base, const struct option *o);
/* Writes the value as the file has it: 16k, "text", {"a", "b"}. */
void option_print(const void *base, const struct option *o, FILE *out);
/* Whether two configurations have the same value: what a reload compares. */
bool option_equal(const void *a, const void *b, const struct option *o);
/* A titled section of the file, whole: kind "title" { … }. */
void option_print_section(const char *kind, const char *title, const void *base,
	const struct option *table, size_t n, FILE *out);
/* Whether two lists of sections, which begin with their title (char *) and have `size` bytes each,
 * have the same titles and values in the same order. */
bool option_sections_equal(const void *a, size_t na, const void *b, size_t nb, size_t size,
	const struct option *table, size_t n);
/* The same as option_print() for people: without secrets. */
void option_print_public(const void *base, const struct option *o, FILE *out);
/* Makes a secret one what option_print_public() shows of it. */
void option_forget(void *base, const struct option *o);
/* Writes a string in double quotes, so that libconfuse reads the same. */
void option_print_string(const char *s, FILE *out);

#endif
