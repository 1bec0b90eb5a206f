/*
 * Shared memory as a scribbler left it: 16 bytes of words (how far head and tail are from the
 * start), then the ring. The first byte says which reader: 1 the worker's, else the bridge's.
 * Whatever lies there, a reader stays inside, comes to an end, and understands the next writer.
 */
#include <stdlib.h>
#include <string.h>
#include <wsgate/record.h>
#include <wsgate/ring.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sink;

static void check(int truth)
{
	if (!truth)
		abort();
}

static void touch(const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sink ^= ((const uint8_t *)p)[i];
}

static int look(uint16_t type, const void *p, size_t n, int down)
{
	struct down_view d;
	struct up_view u;

	touch(p, n);
	if (!down) {
		if (!up_parse(p, n, &u))
			return 0;
		touch(u.id.service, u.id.service_len);
		touch(u.id.user, u.id.user_len);
		touch(u.data, u.r.len);
		return 1;
	}
	if (!down_parse(type, p, n, &d))
		return 0;
	if (type == DOWN_MESSAGE) {
		touch(d.refs, d.m->nrefs * sizeof(*d.refs));
		touch(d.data, d.m->len);
	} else {
		touch(d.reason, d.n->reason_len);
	}
	return 1;
}

static void read_all(struct ring *r, int down)
{
	uint64_t begin = r->pos, pos;
	const void *p;
	uint16_t type;
	size_t n;

	while (ring_next(r, &type, &p, &n, &pos) == RING_RECORD) {
		check(r->pos > pos && r->pos - begin <= r->size);
		check((const uint8_t *)p >= r->data && (const uint8_t *)p + n <= r->data + r->size);
		if (!look(type, p, n, down))
			return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const size_t ring_size = 1024;
	struct ring_words words;
	struct ring r, w;
	uint64_t head, tail, pos;
	uint8_t *mem;
	const void *p;
	uint16_t type;
	size_t n;

	if (size < 17)
		return 0;
	mem = calloc(1, ring_size);
	check(mem != NULL);
	memcpy(&head, data + 1, 8);
	memcpy(&tail, data + 9, 8);
	memcpy(mem, data + 17, size - 17 < ring_size ? size - 17 : ring_size);
	ring_init(&words);
	words.head = RING_START + head;
	words.tail = RING_START + tail;
	ring_attach_reader(&r, &words, mem, ring_size);
	read_all(&r, data[0] == 1);
	if (ring_skip(&r))
		ring_release(&r, r.pos);
	ring_attach_writer(&w, &words, mem, ring_size);
	ring_release(&w, w.pos); /* what is left of the old writer */
	ring_refresh(&w);
	ring_attach_reader(&r, &words, mem, ring_size);
	check(ring_reserve(&w, 7, 5) != NULL);
	ring_commit(&w);
	check(ring_next(&r, &type, &p, &n, &pos) == RING_RECORD && type == 7 && n == 5);
	free(mem);
	return 0;
}
