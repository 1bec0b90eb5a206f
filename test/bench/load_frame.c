/*
 * load_frame: see load.h. Written against RFC 6455 alone, not against src/ws: a fault there must
 * not find its like here.
 */
#include <string.h>

#include "load.h"

/* Any mask will do against a gateway on the same machine, so long as they differ. */
static uint32_t next_mask(void)
{
	static uint32_t state = 0x9e3779b9;

	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

size_t load_frame(uint8_t *to, enum load_opcode op, const void *payload, size_t len)
{
	const uint8_t *from = payload;
	uint32_t word = next_mask();
	uint8_t mask[4];
	size_t i, n = 2;

	to[0] = (uint8_t)(0x80 | op);
	if (len < 126) {
		to[1] = (uint8_t)(0x80 | len);
	} else if (len <= UINT16_MAX) {
		to[1] = 0x80 | 126;
		to[n++] = (uint8_t)(len >> 8);
		to[n++] = (uint8_t)len;
	} else {
		to[1] = 0x80 | 127;
		for (i = 0; i < 8; i++)
			to[n++] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
	}
	memcpy(mask, &word, 4);
	memcpy(to + n, mask, 4);
	n += 4;
	for (i = 0; i < len; i++)
		to[n + i] = from[i] ^ mask[i & 3];
	return n + len;
}

void load_message(char *to, size_t size, uint64_t number)
{
	size_t i;

	memset(to, 'x', size);
	to[LOAD_NUMBER - 1] = ' ';
	for (i = LOAD_NUMBER - 1; i-- > 0; number /= 10)
		to[i] = (char)('0' + number % 10);
}

static size_t head_size(const struct load_parser *p)
{
	unsigned length = p->head[1] & 0x7f;

	if (p->have < 2)
		return 2;
	return length < 126 ? 2 : length == 126 ? 4 : 10;
}

static int head_check(struct load_parser *p)
{
	bool fin = p->head[0] & 0x80;
	unsigned op = p->head[0] & 0x0f;
	size_t i;

	if ((p->head[0] & 0x70) || (p->head[1] & 0x80))
		return -1;
	p->left = p->head[1] & 0x7f;
	if (p->have > 2)
		p->left = 0;
	for (i = 2; i < p->have; i++)
		p->left = p->left << 8 | p->head[i];
	if (op >= LOAD_CLOSE) {
		p->kept = 0;
		return fin && op <= LOAD_PONG && p->left <= sizeof(p->keep) ? 0 : -1;
	}
	if (op > LOAD_BINARY || (op == 0) != p->middle)
		return -1;
	if (op) {
		p->opcode = (uint8_t)op;
		p->total = 0;
		p->numbered = 0;
	}
	p->middle = !fin;
	return 0;
}

static void take_payload(struct load_parser *p, const uint8_t *data, size_t n)
{
	size_t k;

	p->left -= n;
	if ((p->head[0] & 0x0f) >= LOAD_CLOSE) {
		memcpy(p->keep + p->kept, data, n);
		p->kept = (uint8_t)(p->kept + n);
		return;
	}
	p->total += n;
	k = sizeof(p->number) - p->numbered;
	if (k > n)
		k = n;
	memcpy(p->number + p->numbered, data, k);
	p->numbered = (uint8_t)(p->numbered + k);
}

/* The frame is complete: true when that is worth an event. */
static bool frame_end(struct load_parser *p, struct load_event *ev)
{
	p->have = 0;
	p->body = false;
	if ((p->head[0] & 0x0f) >= LOAD_CLOSE) {
		ev->opcode = (enum load_opcode)(p->head[0] & 0x0f);
		ev->length = p->kept;
		ev->payload = p->keep;
		return true;
	}
	ev->opcode = (enum load_opcode)p->opcode;
	ev->length = p->total;
	ev->payload = NULL;
	return !p->middle;
}

int load_parse(struct load_parser *p, const uint8_t **data, size_t *len, struct load_event *ev)
{
	for (;;) {
		size_t n;

		while (!p->body && *len) {
			p->head[p->have++] = *(*data)++;
			--*len;
			if (p->have < head_size(p))
				continue;
			if (head_check(p))
				return -1;
			p->body = true;
		}
		if (!p->body)
			return 0;
		n = p->left < *len ? (size_t)p->left : *len;
		take_payload(p, *data, n);
		*data += n;
		*len -= n;
		if (p->left)
			return 0;
		if (frame_end(p, ev))
			return 1;
	}
}
