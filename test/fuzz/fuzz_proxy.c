/*
 * The first byte says what the rest is: a PROXY header, which one piece, pieces and single bytes
 * must take alike; or the value of X-Forwarded-For and Forwarded, in two lines where a vertical bar
 * stands.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wsgate/proxy.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int truth)
{
	if (!truth)
		abort();
}

struct outcome {
	enum proxy_state state;
	size_t used;
	struct proxy_source source;
};

static struct outcome run(const uint8_t *data, size_t size, size_t piece)
{
	struct proxy_parser p = {.len = 0};
	struct outcome o = {.state = PROXY_MORE};

	while (o.used < size && o.state == PROXY_MORE) {
		size_t n = piece < size - o.used ? piece : size - o.used, used;
		uint8_t *copy = malloc(n);

		check(copy != NULL);
		memcpy(copy, data + o.used, n);
		o.state = proxy_feed(&p, copy, n, &used);
		check(used <= n && (used == n || o.state != PROXY_MORE));
		o.used += used;
		free(copy);
	}
	check(o.used <= 16 + 65535);
	if (o.state == PROXY_DONE)
		o.source = proxy_source(&p);
	return o;
}

static void same(const struct outcome *a, const struct outcome *b)
{
	check(a->state == b->state && a->used == b->used);
	check(a->source.known == b->source.known && a->source.port == b->source.port);
	check(memcmp(a->source.addr, b->source.addr, sizeof(a->source.addr)) == 0);
}

static void header(const uint8_t *data, size_t size, size_t piece)
{
	struct outcome whole = run(data, size, size + 1), cut = run(data, size, piece),
		       single = run(data, size, 1);

	same(&whole, &cut);
	same(&whole, &single);
}

static void chains(const char *name, const uint8_t *data, size_t size)
{
	static const struct handshake_limits limits = {.max_header = 16384, .max_request = 100};
	struct handshake *h = handshake_new(&limits);
	struct proxy_chain chain;
	char request[9000];
	size_t n = (size_t)sprintf(request, "GET / HTTP/1.1\r\nHost: a\r\n%s: ", name), used;

	check(h != NULL);
	for (size_t i = 0; i < size && n < 8000; i++) {
		if (data[i] == '|')
			n += (size_t)sprintf(request + n, "\r\n%s: ", name);
		else
			request[n++] = (char)data[i];
	}
	memcpy(request + n, "\r\n\r\n", 4);
	if (handshake_feed(h, request, n + 4, &used) == HANDSHAKE_DONE) {
		if (proxy_x_forwarded_for(h, &chain))
			check(chain.n <= PROXY_CHAIN_MAX);
		if (proxy_forwarded(h, &chain))
			check(chain.n <= PROXY_CHAIN_MAX);
	}
	handshake_free(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	if (data[0] & 1)
		header(data + 1, size - 1, 1u + data[0] / 2);
	else
		chains(data[0] & 2 ? "Forwarded" : "X-Forwarded-For", data + 1, size - 1);
	return 0;
}
