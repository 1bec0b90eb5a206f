/* Two ends of TLS in one process, OpenSSL both, over a pair of sockets that do not block. */
#ifndef WSGATE_TEST_TLS_RIG_H
#define WSGATE_TEST_TLS_RIG_H

#include <openssl/ssl.h>
#include <stdbool.h>

extern struct tls_rig {
	SSL_CTX *server_ctx, *other_ctx, *client_ctx;
	SSL *server, *client;
	int fds[2]; /* the server's, the client's */
} rig;

int tls_group_setup(void **state);
int tls_group_teardown(void **state);
int tls_setup(void **state);
int tls_teardown(void **state);
/* Who names a host gets other_ctx. */
void tls_other_by_name(bool on);
/* The whole handshake, with tickets. */
void tls_shake(int version);

#endif
