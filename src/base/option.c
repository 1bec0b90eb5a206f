/*
 * option: see option.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <wsgate/option.h>
#include "value.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const struct option *option_find(const char *key)
{
	size_t i;

	for (i = 0; i < option_count; i++)
		if (strcmp(option_table[i].key, key) == 0)
			return &option_table[i];
	return NULL;
}

/* Levenshtein, one row; beyond 63 bytes nothing is alike. */
static size_t distance(const char *a, const char *b)
{
	size_t row[64], n = strlen(b), i, j, diagonal, up, best;

	if (n >= COUNT(row))
		return SIZE_MAX;
	for (j = 0; j <= n; j++)
		row[j] = j;
	for (i = 1; a[i - 1] != '\0'; i++) {
		diagonal = row[0];
		row[0] = i;
		for (j = 1; j <= n; j++) {
			up = row[j];
			best = diagonal + (a[i - 1] != b[j - 1]);
			if (up + 1 < best)
				best = up + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
			diagonal = up;
		}
	}
	return row[n];
}

static const struct option *guess_in(const struct option *table, size_t n, const char *key)
{
	const struct option *guess = NULL;
	size_t i, d, least = strlen(key) / 3 + 1;

	for (i = 0; i < n; i++) {
		const char *dot = strrchr(table[i].key, '.');

		if (table[i].hidden)
			continue;
		d = distance(key, table[i].key);
		/* The right word in the wrong place. */
		if (dot && strcmp(dot + 1, strrchr(key, '.') ? strrchr(key, '.') + 1 : key) == 0)
			d = d < 2 ? d : 1;
		if (d < least) {
			least = d;
			guess = &table[i];
		}
	}
	return guess;
}

/* In a section with a title none but its own keys can be meant. */
const struct option *option_guess(const char *key)
{
	if (strncmp(key, "tls.", 4) == 0)
		return guess_in(option_tls_table, option_tls_count, key);
	if (strncmp(key, "auth.", 5) == 0)
		return guess_in(option_auth_table, option_auth_count, key);
	if (strncmp(key, "service.", 8) == 0)
		return guess_in(option_service_table, option_service_count, key);
	return guess_in(option_table, option_count, key);
}

static void *field(void *base, const struct option *o)
{
	return (char *)base + o->offset;
}

static const void *const_field(const void *base, const struct option *o)
{
	return (const char *)base + o->offset;
}

/* One line, also when the value is none. */
static int complain(
	const struct option *o, const char *value, const char *what, char *err, size_t errlen)
{
	char shown[80];
	size_t i;

	for (i = 0; value[i] != '\0' && value[i] != '\n' && i < sizeof(shown) - 4; i++)
		shown[i] = value[i] >= ' ' && value[i] <= '~' ? value[i] : '?';
	strcpy(shown + i, value[i] != '\0' ? "..." : "");
	if (o->secret)
		snprintf(err, errlen, "the value %s", what);
	else
		snprintf(err, errlen, "\"%s\" %s", shown, what);
	return -1;
}

static int check_bytes(const struct option *o, const char *value, char *err, size_t errlen)
{
	const char *s;

	for (s = value; *s != '\0'; s++) {
		if (*s == '\n')
			return complain(o, value,
				"has a line end in it: is a quote missing, or does a variable end "
				"with one?",
				err, errlen);
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return complain(o, value, "has a control character in it; write it without",
				err, errlen);
	}
	return 0;
}

static const char *print_number(const struct option *o, uint64_t v, char *buf)
{
	if (o->type == OPTION_SIZE)
		return value_print_size(v, buf);
	if (o->type == OPTION_TIME)
		return value_print_time(v, buf);
	snprintf(buf, 32, "%" PRIu64, v);
	return buf;
}

static int set_number(void *at, const struct option *o, const char *s, char *err, size_t errlen)
{
	char what[160], lo[32], hi[32];
	uint64_t v;
	bool ok;

	if (o->type == OPTION_SIZE)
		ok = value_size(s, &v);
	else if (o->type == OPTION_TIME)
		ok = value_time(s, &v);
	else
		ok = value_number(s, &v);
	if (!ok)
		return complain(o, s,
			o->type == OPTION_SIZE
				? "is no size; write bytes, or a number with k, m or g"
			: o->type == OPTION_TIME
				? "is no time; write seconds, or a number with ms, s, m, h or d"
				: "is no number; write digits alone",
			err, errlen);
	if ((v < o->min || v > o->max) && !(v == 0 && o->zero)) {
		snprintf(what, sizeof(what), "is out of range; it must be %s to %s%s",
			print_number(o, o->min, lo), print_number(o, o->max, hi),
			o->zero ? ", or 0 for none" : "");
		return complain(o, s, what, err, errlen);
	}
	if (o->type == OPTION_NUMBER32)
		*(uint32_t *)at = (uint32_t)v;
	else
		*(uint64_t *)at = v;
	return 0;
}

/* What is on or off may be written as yes or no. */
static const char *other_word(const struct option *o, const char *s)
{
	const char *other = strcmp(s, "yes") == 0 ? "on" : strcmp(s, "no") == 0 ? "off" : s;
	unsigned i;

	for (i = 0; o->words[i]; i++)
		if (strcmp(o->words[i], other) == 0)
			return other;
	return s;
}

static int set_enum(unsigned *at, const struct option *o, const char *s, char *err, size_t errlen)
{
	char what[160] = "must be one of";
	unsigned i;

	s = other_word(o, s);
	for (i = 0; o->words[i]; i++) {
		if (strcmp(o->words[i], s) == 0) {
			*at = i;
			return 0;
		}
		strcat(what, i > 0 ? ", " : " ");
		strcat(what, o->words[i]);
	}
	return complain(o, s, what, err, errlen);
}

static int check_string(const struct option *o, const char *s, char *err, size_t errlen)
{
	const char *what;
	char line[200];

	errno = 0;
	what = o->check ? o->check(s) : NULL;
	if (!what)
		return 0;
	if (errno != 0) {
		snprintf(line, sizeof(line), "%s (%s)", what, strerror(errno));
		what = line;
	}
	return complain(o, s, what, err, errlen);
}

static int no_memory(char *err, size_t errlen)
{
	snprintf(err, errlen, "out of memory");
	return -1;
}

static void string_free(char **at, const struct option *o)
{
	if (*at && o->secret)
		explicit_bzero(*at, strlen(*at));
	free(*at);
	*at = NULL;
}

static int set_string(char **at, const struct option *o, const char *s, char *err, size_t errlen)
{
	char *copy;

	if (check_string(o, s, err, errlen) < 0)
		return -1;
	copy = strdup(s);
	if (!copy)
		return no_memory(err, errlen);
	string_free(at, o);
	*at = copy;
	return 0;
}

static void list_free(struct strlist *l)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
	*l = (struct strlist){0, NULL};
}

static int set_list(struct strlist *at, const struct option *o, const char *const *v, size_t n,
	char *err, size_t errlen)
{
	struct strlist l = {0, NULL};
	size_t i;

	if (n < o->min || n > o->max) {
		snprintf(err, errlen, "%zu values; there must be %" PRIu64 " to %" PRIu64, n,
			o->min, o->max);
		return -1;
	}
	for (i = 0; i < n; i++) {
		size_t j;

		if (check_string(o, v[i], err, errlen) < 0)
			return -1;
		for (j = 0; j < i && !o->repeats; j++)
			if (strcmp(v[i], v[j]) == 0)
				return complain(
					o, v[i], "stands there twice; write it once", err, errlen);
	}
	l.v = calloc(n + 1, sizeof(*l.v));
	if (!l.v)
		return no_memory(err, errlen);
	for (; l.n < n; l.n++) {
		l.v[l.n] = strdup(v[l.n]);
		if (!l.v[l.n]) {
			list_free(&l);
			return no_memory(err, errlen);
		}
	}
	list_free(at);
	*at = l;
	return 0;
}

int option_set(void *base, const struct option *o, const char *const *v, size_t n, char *err,
	size_t errlen)
{
	void *at = field(base, o);
	size_t i;

	for (i = 0; i < n && !o->hidden; i++)
		if (check_bytes(o, v[i], err, errlen) < 0)
			return -1;
	if (o->type == OPTION_LIST)
		return set_list(at, o, v, n, err, errlen);
	if (n != 1) {
		snprintf(err, errlen, "takes one value, not %zu", n);
		return -1;
	}
	switch (o->type) {
	case OPTION_STRING:
		return set_string(at, o, v[0], err, errlen);
	case OPTION_ENUM:
		return set_enum(at, o, v[0], err, errlen);
	default:
		return set_number(at, o, v[0], err, errlen);
	}
}

/* Cuts in place at commas, without blanks around the items. Returns how many; at most max are kept.
 */
static size_t split(char *s, const char **items, size_t max)
{
	size_t n = 0;
	char *end;

	s += strspn(s, " \t");
	if (*s == '\0')
		return 0;
	for (;; n++) {
		char *comma = strchr(s, ',');

		if (comma)
			*comma = '\0';
		for (end = s + strlen(s); end > s && (end[-1] == ' ' || end[-1] == '\t'); end--)
			end[-1] = '\0';
		if (n < max)
			items[n] = s;
		if (!comma)
			return n + 1;
		s = comma + 1;
		s += strspn(s, " \t");
	}
}

int option_set_text(void *base, const struct option *o, const char *text, char *err, size_t errlen)
{
	const char **items;
	char *copy;
	int r;

	if (o->type != OPTION_LIST)
		return option_set(base, o, &text, 1, err, errlen);
	copy = strdup(text);
	items = calloc(o->max + 1, sizeof(*items));
	r = copy && items ? option_set(base, o, items, split(copy, items, o->max + 1), err, errlen)
			  : no_memory(err, errlen);
	free(items);
	free(copy);
	return r;
}

void option_clear(void *base, const struct option *o)
{
	if (o->type == OPTION_STRING) {
		string_free(field(base, o), o);
	} else if (o->type == OPTION_LIST) {
		list_free(field(base, o));
	}
}

int option_copy(void *to, const void *from, const struct option *o)
{
	const struct strlist *l = const_field(from, o);
	struct option unchecked = *o;
	char *const *s = const_field(from, o);
	char err[320];

	unchecked.check = NULL;
	unchecked.min = 0;
	unchecked.max = UINT64_MAX;
	switch (o->type) {
	case OPTION_STRING:
		return set_string(field(to, o), &unchecked, *s, err, sizeof(err));
	case OPTION_LIST:
		return set_list(field(to, o), &unchecked, (const char *const *)l->v, l->n, err,
			sizeof(err));
	case OPTION_ENUM:
		*(unsigned *)field(to, o) = *(const unsigned *)const_field(from, o);
		return 0;
	case OPTION_NUMBER32:
		*(uint32_t *)field(to, o) = *(const uint32_t *)const_field(from, o);
		return 0;
	default:
		*(uint64_t *)field(to, o) = *(const uint64_t *)const_field(from, o);
		return 0;
	}
}

static uint64_t get_number(const void *base, const struct option *o)
{
	const void *at = const_field(base, o);

	return o->type == OPTION_NUMBER32 ? *(const uint32_t *)at : *(const uint64_t *)at;
}

/* "${" would be taken from the environment. */
void option_print_string(const char *s, FILE *out)
{
	putc('"', out);
	for (; *s != '\0'; s++) {
		if (*s == '"' || *s == '\\' || *s == '$')
			putc('\\', out);
		if (*s == '\n' || *s == '\r')
			fputs(*s == '\n' ? "\\n" : "\\r", out);
		else
			putc(*s, out);
	}
	putc('"', out);
}

void option_print(const void *base, const struct option *o, FILE *out)
{
	const struct strlist *l;
	char buf[32];
	size_t i;

	switch (o->type) {
	case OPTION_STRING:
		option_print_string(*(char *const *)const_field(base, o), out);
		break;
	case OPTION_LIST:
		l = const_field(base, o);
		putc('{', out);
		for (i = 0; i < l->n; i++) {
			fputs(i > 0 ? ", " : "", out);
			option_print_string(l->v[i], out);
		}
		putc('}', out);
		break;
	case OPTION_ENUM:
		fputs(o->words[*(const unsigned *)const_field(base, o)], out);
		break;
	default:
		fputs(print_number(o, get_number(base, o), buf), out);
		break;
	}
}

/* "nats://me:password@host" becomes "nats://xxx@host"; what is no list of URLs becomes "". */
static void redact(char *s)
{
	char *from, *at, *to = s;

	if (!strstr(s, "://")) {
		explicit_bzero(s, strlen(s));
		return;
	}
	while (*s != '\0') {
		size_t n = strcspn(s, ",");

		from = memmem(s, n, "://", 3);
		from = from ? from + 3 : s;
		at = memrchr(from, '@', n - (size_t)(from - s));
		if (at && at - from >= 3) {
			memmove(to, s, (size_t)(from - s));
			to = mempcpy(to + (from - s), "xxx", 3);
			n -= (size_t)(at - s);
			s = at;
		} else if (at) {
			memset(from, 'x', (size_t)(at - from));
		}
		n += s[n] == ',';
		memmove(to, s, n);
		to += n;
		s += n;
	}
	explicit_bzero(to, (size_t)(s - to));
}

void option_forget(void *base, const struct option *o)
{
	char **s = field(base, o);

	if (o->secret && o->type == OPTION_STRING && *s)
		redact(*s);
}

void option_print_public(const void *base, const struct option *o, FILE *out)
{
	char *const *s = const_field(base, o);
	char *copy;

	if (!o->secret || o->type != OPTION_STRING) {
		option_print(base, o, out);
		return;
	}
	copy = strdup(*s);
	if (copy)
		redact(copy);
	option_print_string(copy ? copy : "", out);
	if ((*s)[0] != '\0' && (!copy || copy[0] == '\0'))
		fputs(" # not shown", out);
	free(copy);
}

bool option_equal(const void *a, const void *b, const struct option *o)
{
	const struct strlist *x, *y;
	size_t i;

	switch (o->type) {
	case OPTION_STRING:
		return strcmp(*(char *const *)const_field(a, o),
			       *(char *const *)const_field(b, o)) == 0;
	case OPTION_LIST:
		x = const_field(a, o);
		y = const_field(b, o);
		for (i = 0; i < x->n && i < y->n; i++)
			if (strcmp(x->v[i], y->v[i]) != 0)
				return false;
		return x->n == y->n;
	case OPTION_ENUM:
		return *(const unsigned *)const_field(a, o) == *(const unsigned *)const_field(b, o);
	default:
		return get_number(a, o) == get_number(b, o);
	}
}

static bool equal_all(const void *a, const void *b, const struct option *table, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!option_equal(a, b, &table[i]))
			return false;
	return true;
}

bool option_sections_equal(const void *a, size_t na, const void *b, size_t nb, size_t size,
	const struct option *table, size_t n)
{
	for (size_t i = 0; na == nb && i < na; i++) {
		const void *x = (const char *)a + i * size, *y = (const char *)b + i * size;

		if (strcmp(*(char *const *)x, *(char *const *)y) != 0 || !equal_all(x, y, table, n))
			return false;
	}
	return na == nb;
}

void option_print_section(const char *kind, const char *title, const void *base,
	const struct option *table, size_t n, FILE *out)
{
	fprintf(out, "%s ", kind);
	option_print_string(title, out);
	fputs(" {\n", out);
	for (size_t i = 0; i < n; i++) {
		fprintf(out, "\t%s = ", strchr(table[i].key, '.') + 1);
		option_print(base, &table[i], out);
		putc('\n', out);
	}
	fputs("}\n", out);
}
