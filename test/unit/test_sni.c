#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../src/tls/sni.h"

enum { RSA, EC };

static void add(struct sni *s, unsigned kind, const char *names)
{
	struct sni_cert *c;
	char *copy = strdup(names), *save = NULL;

	s->certs = reallocarray(s->certs, s->ncerts + 1, sizeof(*s->certs));
	c = &s->certs[s->ncerts++];
	*c = (struct sni_cert){.kind = kind, .names = calloc(8, sizeof(char *))};
	for (char *n = strtok_r(copy, " ", &save); n; n = strtok_r(NULL, " ", &save))
		c->names[c->nnames++] = strdup(n);
	free(copy);
}

/* "rsa/ec": the numbers of the certificates that a name gets. */
static void gets(const struct sni *s, const char *name, const char *want)
{
	const struct sni_pick *p = &s->picks[sni_find(s, name)];
	char got[40];

	snprintf(got, sizeof(got), "%d/%d", p->cert[RSA], p->cert[EC]);
	if (strcmp(got, want) != 0)
		print_error("%s\n", name ? name : "(none)");
	assert_string_equal(got, want);
	for (unsigned k = EC + 1; k < SNI_KINDS; k++)
		assert_int_equal(p->cert[k], -1);
}

static void test_names(void **state)
{
	struct sni s = {.ncerts = 0};

	(void)state;
	add(&s, RSA, "www.example.org example.org");
	add(&s, EC, "www.example.org");
	add(&s, RSA, "*.example.org");
	add(&s, EC, "*.example.net a.example.org");
	add(&s, EC, "www.example.org");
	assert_true(sni_build(&s));
	gets(&s, NULL, "0/1");
	gets(&s, "elsewhere.org", "0/1");
	gets(&s, "", "0/1");
	gets(&s, "www.example.org", "0/1"); /* the first of two */
	gets(&s, "WWW.Example.ORG", "0/1");
	gets(&s, "www.example.org.", "0/1");
	gets(&s, "example.org", "0/-1");
	gets(&s, "b.example.org", "2/-1");
	gets(&s, "a.example.org", "2/3"); /* one of them by its wildcard */
	gets(&s, "x.example.net", "-1/3");
	gets(&s, "x.y.example.net", "0/1"); /* one label alone */
	gets(&s, "example.net", "0/1");
	gets(&s, ".example.net", "0/1");
	gets(&s, "*.example.net", "0/1"); /* nobody's name */
	gets(&s, "a b.example.net", "0/1");
	sni_free(&s);
}

static void test_nameless(void **state)
{
	struct sni s = {.ncerts = 0};
	char long_name[600];

	(void)state;
	add(&s, EC, "");
	add(&s, RSA, "a.org");
	assert_true(sni_build(&s));
	gets(&s, NULL, "-1/0");
	gets(&s, "a.org", "1/-1");
	memset(long_name, 'a', sizeof(long_name));
	long_name[sizeof(long_name) - 1] = '\0';
	gets(&s, long_name, "-1/0");
	sni_free(&s);
}

static void test_normal(void **state)
{
	char out[SNI_NAME_MAX];

	(void)state;
	assert_true(sni_normal("*.Example.Org", 13, out));
	assert_string_equal(out, "*.example.org");
	assert_false(sni_normal("", 0, out));
	assert_false(sni_normal(".", 1, out));
	assert_false(sni_normal("a\0b", 3, out));
	assert_false(sni_normal("a\xc3\xa4", 3, out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_nameless),
		cmocka_unit_test(test_normal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
