/*
 * What comes on a connection with TLS 1.3: the first byte says whether the rest are bytes of the
 * wire, or records of a client that has the keys: a length (one byte), that many bytes with the
 * type behind them, sealed, and so on. Whatever comes, what is read is no more than was sent,
 * a fault stays one, and nothing that was kept is lost in another process.
 */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wsgate/seal.h>
#include "../../src/tls/traffic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct seal_state fresh = {.cipher = SEAL_AES_128_GCM, .read_secret = "client"};
static uint8_t buf[64 * 1024];

static void check(int truth)
{
	if (!truth)
		abort();
}

/* RFC 8446 5.2 and 5.3 */
static size_t craft(uint64_t seq, const uint8_t *inner, size_t len, uint8_t *rec)
{
	static uint8_t key[16], iv[12];
	static EVP_CIPHER_CTX *ctx;
	uint8_t nonce[12];
	int n;

	if (!ctx) {
		ctx = EVP_CIPHER_CTX_new();
		check(traffic_expand(EVP_sha256(), fresh.read_secret, 32, "key", key, 16) &&
			traffic_expand(EVP_sha256(), fresh.read_secret, 32, "iv", iv, 12));
	}
	memcpy(nonce, iv, sizeof(nonce));
	nonce[11] ^= (uint8_t)seq;
	nonce[10] ^= (uint8_t)(seq >> 8);
	memcpy(rec, "\x17\x03\x03", 3);
	rec[3] = (uint8_t)((len + 16) >> 8);
	rec[4] = (uint8_t)(len + 16);
	check(EVP_EncryptInit_ex(ctx, EVP_aes_128_gcm(), NULL, key, nonce) &&
		EVP_EncryptUpdate(ctx, NULL, &n, rec, 5) &&
		EVP_EncryptUpdate(ctx, rec + 5, &n, inner, (int)len) &&
		EVP_EncryptFinal_ex(ctx, rec + 5 + len, &n) &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, rec + 5 + len));
	return 5 + len + 16;
}

/* As a worker would. */
static struct seal *move(struct seal *s)
{
	struct seal_state st;
	const uint8_t *rest;
	size_t len;
	struct seal *heir;

	seal_save(s, &st, &rest, &len);
	check(len < SEAL_RECORD_MAX);
	heir = seal_restore(&st, rest, len);
	check(heir != NULL);
	seal_free(s);
	return heir;
}

static size_t send_some(int fd, const uint8_t *data, size_t size, uint64_t *seq)
{
	uint8_t rec[5 + 256 + 16];
	size_t len = data[0], n;

	if (len > size - 1)
		len = size - 1;
	n = craft((*seq)++, data + 1, len, rec);
	check(send(fd, rec, n, MSG_DONTWAIT) == (ssize_t)n);
	return 1 + len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seal *s = seal_restore(&fresh, NULL, 0);
	size_t sent = 0, got = 0;
	uint64_t seq = 0;
	bool more = false;
	int fds[2], raw;

	if (size < 2 || size > 4096) {
		seal_free(s);
		return 0;
	}
	check(s && socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	raw = data[0] & 1;
	for (size_t at = 1; at < size || more;) {
		const char *why = NULL;
		ssize_t n;

		if (!more && raw) {
			size_t part = size - at < 7 ? size - at : 7;

			check(send(fds[1], data + at, part, MSG_DONTWAIT) == (ssize_t)part);
			sent += part;
			at += part;
		} else if (!more) {
			size_t part = send_some(fds[1], data + at, size - at, &seq);

			sent += part;
			at += part;
		}
		n = seal_recv(s, fds[0], buf, sizeof(buf), &more, &why);
		got += n > 0 ? (size_t)n : 0;
		check(got <= sent);
		check(!more || n > 0);
		if (n == 0 || why) {
			check(seal_recv(s, fds[0], buf, sizeof(buf), &more, &why) ==
				(why ? -1 : 0));
			break;
		}
		if (!more)
			s = move(s);
	}
	(void)seal_complaint(s, buf);
	check(seal_end(s, buf) <= SEAL_ALERT_MAX);
	seal_free(s);
	close(fds[0]);
	close(fds[1]);
	return 0;
}
