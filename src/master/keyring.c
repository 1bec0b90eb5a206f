/*
 * keyring: see keyring.h.
 */
#include <stdio.h>
#include <wsgate/jwt.h>

#include "keyring.h"

static int load_auth(const struct config_auth *a, struct vault *s, char *err, size_t errlen)
{
	struct jwt_keys *keys = jwt_keys_new();
	const struct secret *f;
	char why[320] = "out of memory";
	int r = keys ? 0 : -1;
	size_t i;

	for (i = 0; r == 0 && i < a->keys.n; i++) {
		r = vault_add(s, a->keys.v[i], why, sizeof(why));
		f = r == 0 ? vault_find(s, a->keys.v[i]) : NULL;
		if (f)
			r = jwt_keys_add(keys, f->data, f->len, why, sizeof(why));
	}
	jwt_keys_free(keys);
	if (r < 0)
		snprintf(err, errlen, "auth \"%s\": keys: %s: %s", a->service,
			i > 0 ? a->keys.v[i - 1] : "", why);
	return r;
}

int keyring_load(const struct config *c, struct vault *s, char *err, size_t errlen)
{
	*s = (struct vault){0, NULL};
	for (size_t i = 0; i < c->nauth; i++) {
		if (c->auth[i].type == AUTH_JWT && load_auth(&c->auth[i], s, err, errlen) < 0) {
			vault_free(s);
			return -1;
		}
	}
	return 0;
}
