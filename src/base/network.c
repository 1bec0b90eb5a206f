/*
 * network: see network.h.
 */
#include <arpa/inet.h>
#include <string.h>
#include <wsgate/network.h>

bool network_address(const char *s, size_t len, uint8_t out[16])
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	char text[INET6_ADDRSTRLEN];

	if (len >= sizeof(text) || memchr(s, '\0', len))
		return false;
	memcpy(text, s, len);
	text[len] = '\0';
	if (inet_pton(AF_INET6, text, out) == 1)
		return true;
	memcpy(out, mapped, sizeof(mapped));
	return inet_pton(AF_INET, text, out + sizeof(mapped)) == 1;
}

static bool bit(const uint8_t addr[16], unsigned i)
{
	return addr[i / 8] >> (7 - i % 8) & 1;
}

bool network_parse(const char *s, struct network *out)
{
	const char *slash = strchrnul(s, '/');
	size_t len = (size_t)(slash - s);
	unsigned all = memchr(s, ':', len) ? 128 : 32, bits = all;

	if (!network_address(s, len, out->addr))
		return false;
	if (*slash == '/') {
		bits = 0;
		for (s = slash + 1; *s >= '0' && *s <= '9' && bits <= all; s++)
			bits = 10 * bits + (unsigned)(*s - '0');
		if (s == slash + 1 || *s != '\0' || bits > all)
			return false;
	}
	out->bits = (uint8_t)(bits + 128 - all);
	for (unsigned i = out->bits; i < 128; i++)
		if (bit(out->addr, i))
			return false;
	return true;
}

static bool network_has(const struct network *n, const uint8_t addr[16])
{
	unsigned whole = n->bits / 8, rest = n->bits % 8;

	if (memcmp(n->addr, addr, whole) != 0)
		return false;
	return rest == 0 || (n->addr[whole] ^ addr[whole]) >> (8 - rest) == 0;
}

bool network_listed(const struct network *list, size_t n, const uint8_t addr[16])
{
	for (size_t i = 0; i < n; i++)
		if (network_has(&list[i], addr))
			return true;
	return false;
}
