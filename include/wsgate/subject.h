/*
 * subject: service and user, as tokens of NATS subjects, and back.
 *
 * Raw tokens are bytes. Encoded: '%', '.', '*', '>', space, controls, DEL and bytes above 0x7E
 * become %XX, upper case. So two different users never share a subject and none is a wildcard.
 * Room: base. Pure functions.
 */
#ifndef WSGATE_SUBJECT_H
#define WSGATE_SUBJECT_H

#include <stddef.h>
#include <stdint.h>

#define TOKEN_MAX 128                     /* bytes of one raw token */
#define TOKEN_ENCODED_MAX (3 * TOKEN_MAX) /* bytes of one encoded token, without the NUL */
#define SUBJECT_PREFIX_MAX 32
/* prefix + "." + "send" + "." + service + "." + user + NUL */
#define SUBJECT_MAX (SUBJECT_PREFIX_MAX + 8 + 2 * TOKEN_ENCODED_MAX + 3)

/* A user of a service: two raw tokens. Borrowed pointers, not terminated. */
struct identity {
	const char *service, *user;
	size_t service_len, user_len; /* 1 … TOKEN_MAX */
};

/* Encodes len raw bytes to out (NUL-terminated). Returns the length, or -1 when it does not fit. */
int token_encode(const char *raw, size_t len, char *out, size_t outlen);
/* The inverse for encoded tokens. Returns the length (out is not terminated), -1 for bad escapes.
 */
int token_decode(const char *enc, size_t len, char *out, size_t outlen);

enum subject_kind { SUBJECT_SEND, SUBJECT_RECV, SUBJECT_LIVE, SUBJECT_DEAD };
/*
 * ws.send.S.U, ws.recv.S.U, wslive.S.U, wsdead.S.U for prefix "ws". Returns the length, or -1 when
 * it does not fit (never, with outlen >= SUBJECT_MAX and valid arguments).
 */
int subject_format(enum subject_kind kind, const char *prefix, const struct identity *id, char *out,
	size_t outlen);
/* wsauth.S. As subject_format(). */
int subject_auth(const char *prefix, const char *service, size_t len, char *out, size_t outlen);
/*
 * Splits "ws.recv.S.U" (any kind) into decoded tokens. service and user have room for TOKEN_MAX
 * bytes each; id points into them. 0, or -1 when the subject is not of that kind and form.
 */
int subject_parse(enum subject_kind kind, const char *prefix, const char *subject, char *service,
	char *user, struct identity *id);

#endif
