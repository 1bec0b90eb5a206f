/*
 * nkey: see nkey.h. A key is base32 (RFC 4648, without padding) of a prefix, 32 bytes and their
 * CRC-16 (XMODEM), low byte first. The two bytes before a seed are 5 bits "S", 5 bits of what it is
 * for, zeros.
 */
#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>
#include "nkey.h"

#define KEY_LEN 32
#define PREFIX_SEED (18u << 3) /* S */
#define PREFIX_USER (20u << 3) /* U */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static uint16_t crc16(const uint8_t *p, size_t n)
{
	unsigned crc = 0;

	while (n-- > 0) {
		crc ^= (unsigned)*p++ << 8;
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 0x8000 ? (crc << 1 ^ 0x1021) & 0xffff : crc << 1 & 0xffff;
	}
	return (uint16_t)crc;
}

/* Whole bytes of n characters, all of them of the alphabet; the number of bytes, or 0. */
static size_t decode(const char *s, size_t n, uint8_t *out)
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		const char *at = s[i] != '\0' ? strchr(alphabet, s[i]) : NULL;

		if (!at)
			return 0;
		bits = (bits << 5 | (uint32_t)(at - alphabet)) & 0xfff;
		have += 5;
		if (have >= 8) {
			have -= 8;
			out[len++] = (uint8_t)(bits >> have);
		}
	}
	return len;
}

static void encode(const uint8_t *p, size_t n, char *out)
{
	uint32_t bits = 0;
	unsigned have = 0;

	for (size_t i = 0; i < n; i++) {
		bits = (bits << 8 | p[i]) & 0xfff;
		for (have += 8; have >= 5; have -= 5)
			*out++ = alphabet[bits >> (have - 5) & 31];
	}
	*out = '\0'; /* 35 bytes are 56 characters, no bit is left */
}

static bool decode_seed(const char *s, uint8_t raw[2 + KEY_LEN + 2])
{
	const size_t body = 2 + KEY_LEN;
	unsigned kind;

	if (strnlen(s, NKEY_SEED_LEN) < NKEY_SEED_LEN || decode(s, NKEY_SEED_LEN, raw) != body + 2)
		return false;
	kind = (raw[0] & 7u) << 5 | raw[1] >> 3;
	return (raw[0] & 0xf8) == PREFIX_SEED && kind == PREFIX_USER &&
	       crc16(raw, body) == (raw[body] | raw[body + 1] << 8);
}

bool nkey_find_seed(const char *text, char seed[NKEY_SEED_LEN + 1])
{
	uint8_t raw[2 + KEY_LEN + 2];
	bool found = false;

	for (; !found && (text = strstr(text, "SU")); text++) {
		found = decode_seed(text, raw);
		if (found) {
			memcpy(seed, text, NKEY_SEED_LEN);
			seed[NKEY_SEED_LEN] = '\0';
		}
	}
	explicit_bzero(raw, sizeof(raw));
	return found;
}

bool nkey_public(const char *seed, char out[NKEY_PUBLIC_LEN + 1])
{
	uint8_t raw[2 + KEY_LEN + 2], key[1 + KEY_LEN + 2];
	size_t len = KEY_LEN;
	EVP_PKEY *pkey = NULL;
	uint16_t crc;
	bool ok;

	if (decode_seed(seed, raw))
		pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, raw + 2, KEY_LEN);
	explicit_bzero(raw, sizeof(raw));
	key[0] = PREFIX_USER;
	ok = pkey && EVP_PKEY_get_raw_public_key(pkey, key + 1, &len) == 1 && len == KEY_LEN;
	EVP_PKEY_free(pkey);
	if (!ok)
		return false;
	crc = crc16(key, 1 + KEY_LEN);
	key[1 + KEY_LEN] = (uint8_t)crc;
	key[2 + KEY_LEN] = (uint8_t)(crc >> 8);
	encode(key, sizeof(key), out);
	return true;
}

/* "-----BEGIN NATS USER JWT-----", the token in one line, "------END NATS USER JWT------" */
char *nkey_find_jwt(const char *text)
{
	const char *s = strstr(text, "BEGIN NATS USER JWT");
	size_t n;

	s = s ? strpbrk(s, "\r\n") : NULL;
	if (!s)
		return NULL;
	s += strspn(s, "\r\n \t");
	n = strcspn(s, "\r\n \t");
	return n > 0 && *s != '-' ? strndup(s, n) : NULL;
}
