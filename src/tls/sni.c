/*
 * sni: see sni.h.
 *
 * For a name and a kind of key: the first certificate with that very name, else the first with the
 * wildcard above it (RFC 6125 6.4.3: "*" stands for one whole label, the first). A name that no
 * certificate has gets what the first certificate's first name gets.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sni.h"

bool sni_normal(const char *name, size_t len, char out[SNI_NAME_MAX])
{
	if (len && name[len - 1] == '.')
		len--;
	if (len == 0 || len >= SNI_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (name[i] <= ' ' || name[i] > '~')
			return false;
		out[i] = (char)tolower((unsigned char)name[i]);
	}
	out[len] = '\0';
	return true;
}

/* "*.example.org" for "a.example.org". False: there is none. */
static bool wildcard_of(const char *name, char out[SNI_NAME_MAX])
{
	const char *dot = strchr(name, '.');

	if (!dot || dot == name || name[0] == '*')
		return false;
	snprintf(out, SNI_NAME_MAX, "*%s", dot);
	return true;
}

static int cert_named(const struct sni *s, unsigned kind, const char *name)
{
	for (size_t i = 0; i < s->ncerts; i++)
		for (size_t k = 0; s->certs[i].kind == kind && k < s->certs[i].nnames; k++)
			if (strcmp(s->certs[i].names[k], name) == 0)
				return (int)i;
	return -1;
}

static struct sni_pick pick_for(const struct sni *s, const char *name)
{
	char above[SNI_NAME_MAX];
	bool has = wildcard_of(name, above);
	struct sni_pick p;

	for (unsigned kind = 0; kind < SNI_KINDS; kind++) {
		p.cert[kind] = cert_named(s, kind, name);
		if (p.cert[kind] < 0 && has)
			p.cert[kind] = cert_named(s, kind, above);
	}
	return p;
}

static unsigned pick_note(struct sni *s, const struct sni_pick *p)
{
	for (size_t i = 0; i < s->npicks; i++)
		if (memcmp(&s->picks[i], p, sizeof(*p)) == 0)
			return (unsigned)i;
	s->picks[s->npicks] = *p;
	return (unsigned)s->npicks++;
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct sni_name *)a)->name, ((const struct sni_name *)b)->name);
}

static const struct sni_name *name_find(const struct sni *s, const char *name)
{
	struct sni_name key = {name, 0};

	return s->nnames ? bsearch(&key, s->names, s->nnames, sizeof(key), compare) : NULL;
}

bool sni_build(struct sni *s)
{
	const struct sni_cert *first = &s->certs[0];
	struct sni_pick p;
	size_t all = 0;

	for (size_t i = 0; i < s->ncerts; i++)
		all += s->certs[i].nnames;
	s->names = calloc(all + 1, sizeof(*s->names));
	s->picks = calloc(all + 1, sizeof(*s->picks));
	if (!s->names || !s->picks)
		return false;
	p = pick_for(s, first->nnames ? first->names[0] : "");
	p.cert[first->kind] = 0;
	(void)pick_note(s, &p);
	for (size_t i = 0; i < s->ncerts; i++) {
		for (size_t k = 0; k < s->certs[i].nnames; k++) {
			const char *name = s->certs[i].names[k];

			p = pick_for(s, name);
			s->names[s->nnames++] = (struct sni_name){name, pick_note(s, &p)};
		}
	}
	qsort(s->names, s->nnames, sizeof(*s->names), compare);
	return true;
}

unsigned sni_find(const struct sni *s, const char *name)
{
	char normal[SNI_NAME_MAX], above[SNI_NAME_MAX];
	const struct sni_name *found;

	if (!name || !sni_normal(name, strlen(name), normal))
		return 0;
	found = normal[0] == '*' ? NULL : name_find(s, normal);
	if (!found && wildcard_of(normal, above))
		found = name_find(s, above);
	return found ? found->pick : 0;
}

void sni_free(struct sni *s)
{
	for (size_t i = 0; s->certs && i < s->ncerts; i++) {
		for (size_t k = 0; k < s->certs[i].nnames; k++)
			free(s->certs[i].names[k]);
		free(s->certs[i].names);
	}
	free(s->certs);
	free(s->names);
	free(s->picks);
	memset(s, 0, sizeof(*s));
}
