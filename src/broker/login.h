/*
 * login: who we are for the broker, and how we know that it is the broker.
 */
#ifndef WSGATE_LOGIN_H
#define WSGATE_LOGIN_H

#include <nats/nats.h>
#include <wsgate/config.h>

enum login_part {
	LOGIN_USER,
	LOGIN_PASSWORD,
	LOGIN_TOKEN,
	LOGIN_NKEY, /* text with a seed */
	LOGIN_CREDENTIALS,
	LOGIN_CA, /* PEM, as the next two */
	LOGIN_CERTIFICATE,
	LOGIN_KEY,
	LOGIN_SERVER_NAME,
	LOGIN_PARTS
};

struct login {
	char *parts[LOGIN_PARTS]; /* owned; "": none */
	bool verify;
};

/* 0; or -1: no memory, and there is nothing to free. */
int login_copy(struct login *l, const struct config *c);
void login_free(struct login *l);
bool login_equal(const struct login *a, const struct login *b);
/* The login stays where it is as long as the options may connect. tls: a URL asks for it. */
bool login_wants_tls(const struct login *l);
natsStatus login_apply(const struct login *l, bool tls, natsOptions *o);
/*
 * natsConnection_Connect(), with such options. A signature of 64 bytes whose first one is 0, one in
 * 256, is an empty string for nats.c 3.4: it logs in without, and is refused (measured: 4 of 1,200
 * logins, "Signature missing"). Such a one is not sent; it connects again.
 */
natsStatus login_connect(natsConnection **nc, natsOptions *o);

#endif
