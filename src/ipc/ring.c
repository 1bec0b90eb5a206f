#include <string.h>

#include <wsgate/ring.h>

#define HEAD_SIZE sizeof(struct ring_record)

_Static_assert(sizeof(struct ring_record) == 8, "records are aligned to 8 bytes");

static uint16_t ring_check(uint64_t pos, uint32_t size, uint16_t type)
{
	uint64_t x = pos ^ ((uint64_t)size << 16) ^ ((uint64_t)type << 48) ^ 0x9e3779b97f4a7c15u;

	x ^= x >> 31;
	x *= 0xd6e8feb86659fd93u;
	x ^= x >> 29;
	return (uint16_t)(x ^ (x >> 16) ^ (x >> 32) ^ (x >> 48));
}

static uint64_t ring_span(size_t size)
{
	return HEAD_SIZE + (((uint64_t)size + 7) & ~(uint64_t)7);
}

void ring_init(struct ring_words *words)
{
	atomic_store_explicit(&words->tail, RING_START, memory_order_relaxed);
	atomic_store_explicit(&words->head, RING_START, memory_order_release);
}

static bool ring_plausible(const struct ring *r, uint64_t from, uint64_t head)
{
	return head - from <= r->size && !(head & 7) && !(from & 7);
}

uint64_t ring_refresh(struct ring *r)
{
	r->tail = atomic_load_explicit(&r->words->tail, memory_order_acquire);
	return r->tail;
}

void ring_attach_writer(struct ring *r, struct ring_words *words, void *data, uint64_t size)
{
	r->words = words;
	r->data = data;
	r->size = size;
	r->pos = atomic_load_explicit(&words->head, memory_order_acquire);
	ring_refresh(r);
	if (!ring_plausible(r, r->tail, r->pos)) {
		r->pos = (r->tail + 7) & ~(uint64_t)7;
		atomic_store_explicit(&words->head, r->pos, memory_order_release);
	}
}

void ring_attach_reader(struct ring *r, struct ring_words *words, void *data, uint64_t size)
{
	r->words = words;
	r->data = data;
	r->size = size;
	r->pos = atomic_load_explicit(&words->tail, memory_order_acquire);
	r->tail = r->pos;
}

static void ring_put_head(struct ring *r, uint64_t pos, uint16_t type, uint32_t size)
{
	struct ring_record head = {size, type, ring_check(pos, size, type)};

	memcpy(r->data + (pos & (r->size - 1)), &head, HEAD_SIZE);
}

void *ring_reserve(struct ring *r, uint16_t type, size_t size)
{
	uint64_t span = ring_span(size);
	uint64_t to_end = r->size - (r->pos & (r->size - 1));
	uint64_t pad = span > to_end ? to_end : 0;
	uint64_t start;

	if (size > UINT32_MAX - 16 || r->pos - r->tail + pad + span > r->size)
		return NULL;
	if (pad)
		ring_put_head(r, r->pos, RING_PAD, (uint32_t)(pad - HEAD_SIZE));
	start = r->pos + pad;
	ring_put_head(r, start, type, (uint32_t)size);
	r->pos = start + span;
	return r->data + (start & (r->size - 1)) + HEAD_SIZE;
}

void ring_commit(struct ring *r)
{
	atomic_store_explicit(&r->words->head, r->pos, memory_order_release);
}

size_t ring_max_record(uint64_t ring_size)
{
	return (size_t)(ring_size / 2 - HEAD_SIZE);
}

/* Other processes write here: nothing read from the ring is trusted before it was checked. */
enum ring_read ring_next(
	struct ring *r, uint16_t *type, const void **payload, size_t *size, uint64_t *pos)
{
	uint64_t head = atomic_load_explicit(&r->words->head, memory_order_acquire);

	for (;;) {
		struct ring_record rec;
		uint64_t place = r->pos & (r->size - 1);
		uint64_t span;

		if (r->pos == head)
			return RING_EMPTY;
		if (!ring_plausible(r, r->pos, head))
			return RING_CORRUPT;
		memcpy(&rec, r->data + place, HEAD_SIZE);
		span = ring_span(rec.size);
		if (rec.check != ring_check(r->pos, rec.size, rec.type) || span > head - r->pos ||
			span > r->size - place)
			return RING_CORRUPT;
		if (rec.type == RING_PAD) {
			r->pos += span;
			continue;
		}
		*type = rec.type;
		*payload = r->data + place + HEAD_SIZE;
		*size = rec.size;
		*pos = r->pos;
		r->pos += span;
		return RING_RECORD;
	}
}

bool ring_skip(struct ring *r)
{
	uint64_t head = atomic_load_explicit(&r->words->head, memory_order_acquire);

	if (!ring_plausible(r, r->pos, head))
		return false;
	r->pos = head;
	return true;
}

void ring_release(struct ring *r, uint64_t pos)
{
	atomic_store_explicit(&r->words->tail, pos, memory_order_release);
}

uint64_t ring_used(const struct ring_words *words)
{
	uint64_t tail = atomic_load_explicit(&words->tail, memory_order_acquire);
	uint64_t head = atomic_load_explicit(&words->head, memory_order_acquire);

	return head - tail;
}

void bell_sleep(struct bell *b)
{
	uint32_t w = atomic_load_explicit(&b->word, memory_order_relaxed);

	if (!(w & 1))
		atomic_store_explicit(&b->word, w + 1, memory_order_relaxed);
	/* Dekker: this store before the owner's last look at its rings; see bell_must_ring(). */
	atomic_thread_fence(memory_order_seq_cst);
}

void bell_awake(struct bell *b)
{
	uint32_t w = atomic_load_explicit(&b->word, memory_order_relaxed);

	if (w & 1)
		atomic_store_explicit(&b->word, w + 1, memory_order_relaxed);
}

bool bell_must_ring(struct bell *b, uint32_t *last)
{
	uint32_t w;

	/* The commit before this load: either the sleeper sees the record or we see it asleep. */
	atomic_thread_fence(memory_order_seq_cst);
	w = atomic_load_explicit(&b->word, memory_order_relaxed);
	if (!(w & 1) || w == *last)
		return false;
	*last = w;
	return true;
}
