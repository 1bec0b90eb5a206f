/*
 * login: see login.h.
 */
#include <stdlib.h>
#include <string.h>
#include "login.h"
#include "nkey.h"

int login_copy(struct login *l, const struct config *c)
{
	const char *const from[LOGIN_PARTS] = {
		[LOGIN_USER] = c->broker.user,
		[LOGIN_PASSWORD] = c->broker.password,
		[LOGIN_TOKEN] = c->broker.token,
		[LOGIN_NKEY] = c->broker.nkey,
		[LOGIN_CREDENTIALS] = c->broker.credentials,
		[LOGIN_CA] = c->broker.tls_ca_text,
		[LOGIN_CERTIFICATE] = c->broker.tls_certificate_text,
		[LOGIN_KEY] = c->broker.tls_key_text,
		[LOGIN_SERVER_NAME] = c->broker.tls_server_name,
	};

	*l = (struct login){.verify = c->broker.tls_verify == SWITCH_ON};
	for (int i = 0; i < LOGIN_PARTS; i++) {
		l->parts[i] = strdup(from[i] ? from[i] : "");
		if (!l->parts[i]) {
			login_free(l);
			return -1;
		}
	}
	return 0;
}

void login_free(struct login *l)
{
	for (int i = 0; i < LOGIN_PARTS; i++) {
		if (l->parts[i])
			explicit_bzero(l->parts[i], strlen(l->parts[i]));
		free(l->parts[i]);
		l->parts[i] = NULL;
	}
}

bool login_equal(const struct login *a, const struct login *b)
{
	for (int i = 0; i < LOGIN_PARTS; i++)
		if (strcmp(a->parts[i], b->parts[i]) != 0)
			return false;
	return a->verify == b->verify;
}

static const char *part(const struct login *l, enum login_part i)
{
	return l->parts[i][0] != '\0' ? l->parts[i] : NULL;
}

/* ---- callbacks of nats.c, while it connects ---- */

#define ATTEMPTS 8

/* Of the attempt of this thread: it could not be signed so that nats.c sends it. */
static _Thread_local bool unsendable;

static natsStatus jwt(char **out, char **error, void *closure)
{
	*out = nkey_find_jwt(closure);
	if (!*out)
		*error = strdup("credentials_file: there is no JWT in it");
	return *out ? NATS_OK : NATS_ERR;
}

static natsStatus sign(
	char **error, unsigned char **signature, int *len, const char *nonce, void *closure)
{
	char seed[NKEY_SEED_LEN + 1];
	natsStatus s;

	if (!nkey_find_seed(closure, seed)) {
		*error = strdup("there is no seed of a user in nkey_file or credentials_file");
		return NATS_ERR;
	}
	s = nats_Sign(seed, nonce, signature, len);
	explicit_bzero(seed, sizeof(seed));
	unsendable = s == NATS_OK && (*signature)[0] == 0;
	if (!unsendable)
		return s;
	free(*signature);
	*signature = NULL;
	*error = strdup("a signature begins with 0: another nonce is wanted");
	return NATS_ERR;
}

/* ---- */

static natsStatus apply_nkey(const struct login *l, natsOptions *o)
{
	char *text = l->parts[LOGIN_NKEY], seed[NKEY_SEED_LEN + 1];
	char key[NKEY_PUBLIC_LEN + 1] = "";
	bool ok = nkey_find_seed(text, seed) && nkey_public(seed, key);

	explicit_bzero(seed, sizeof(seed));
	/* Without a key the server refuses, and the callback says why. */
	return natsOptions_SetNKey(o, ok ? key : "-", sign, text);
}

bool login_wants_tls(const struct login *l)
{
	return part(l, LOGIN_CA) || part(l, LOGIN_CERTIFICATE) || part(l, LOGIN_SERVER_NAME);
}

static natsStatus apply_tls(const struct login *l, bool tls, natsOptions *o)
{
	natsStatus s = tls || login_wants_tls(l) ? natsOptions_SetSecure(o, true) : NATS_OK;

	if (s == NATS_OK && part(l, LOGIN_CA))
		s = natsOptions_SetCATrustedCertificates(o, part(l, LOGIN_CA));
	if (s == NATS_OK && part(l, LOGIN_CERTIFICATE))
		s = natsOptions_SetCertificatesChain(
			o, part(l, LOGIN_CERTIFICATE), part(l, LOGIN_KEY));
	if (s == NATS_OK && part(l, LOGIN_SERVER_NAME))
		s = natsOptions_SetExpectedHostname(o, part(l, LOGIN_SERVER_NAME));
	if (s == NATS_OK && !l->verify)
		s = natsOptions_SkipServerVerification(o, true);
	return s;
}

natsStatus login_apply(const struct login *l, bool tls, natsOptions *o)
{
	natsStatus s = NATS_OK;

	if (part(l, LOGIN_USER))
		s = natsOptions_SetUserInfo(o, part(l, LOGIN_USER), l->parts[LOGIN_PASSWORD]);
	if (s == NATS_OK && part(l, LOGIN_TOKEN))
		s = natsOptions_SetToken(o, part(l, LOGIN_TOKEN));
	if (s == NATS_OK && part(l, LOGIN_NKEY))
		s = apply_nkey(l, o);
	if (s == NATS_OK && part(l, LOGIN_CREDENTIALS))
		s = natsOptions_SetUserCredentialsCallbacks(
			o, jwt, l->parts[LOGIN_CREDENTIALS], sign, l->parts[LOGIN_CREDENTIALS]);
	return s == NATS_OK ? apply_tls(l, tls, o) : s;
}

/* The nonce of the next attempt is another one. */
natsStatus login_connect(natsConnection **nc, natsOptions *o)
{
	natsStatus s;
	int n = 0;

	do {
		unsendable = false;
		s = natsConnection_Connect(nc, o);
	} while (s != NATS_OK && unsendable && ++n < ATTEMPTS);
	return s;
}
