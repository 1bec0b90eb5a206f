#include <string.h>

#include <wsgate/crowd.h>

uint32_t crowd_size_for(uint32_t routes)
{
	uint32_t size = CROWD_WINDOW;

	while (size < UINT32_C(1) << 31 && size < 2 * (uint64_t)routes)
		size *= 2;
	return size;
}

/* Neither 0:ffff:…/64 nor 0:0:0:1::/64 is an address of the Internet (RFC 4291 2.4: 0000::/8 is
 * reserved). */
uint64_t crowd_key(const uint8_t addr[16])
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	uint64_t key = 0;

	if (memcmp(addr, mapped, sizeof(mapped)) == 0) {
		for (int i = 12; i < 16; i++)
			key = key << 8 | addr[i];
		return UINT64_C(0x0000ffff00000000) | key;
	}
	for (int i = 0; i < 8; i++)
		key = key << 8 | addr[i];
	return key ? key : 1;
}

static uint32_t crowd_hash(const struct crowd *c, uint64_t key)
{
	uint64_t h = key ^ c->secret;

	/* murmur3's finisher, with the secret once more in its middle */
	h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd) + c->secret;
	h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return (uint32_t)(h >> 32);
}

/* NULL: not here. free: the first entry that another may have. */
static struct crowd_entry *crowd_find(
	const struct crowd *c, uint64_t key, struct crowd_entry **free)
{
	uint32_t at = crowd_hash(c, key);

	*free = NULL;
	for (uint32_t i = 0; i < CROWD_WINDOW; i++) {
		struct crowd_entry *e = &c->entries[(at + i) & (c->size - 1)];
		uint64_t has = atomic_load_explicit(&e->key, memory_order_acquire);

		if (has == key)
			return e;
		if (!*free && !atomic_load_explicit(&e->count, memory_order_relaxed))
			*free = e;
		if (!has)
			return NULL;
	}
	return NULL;
}

bool crowd_enter(const struct crowd *c, uint64_t key)
{
	struct crowd_entry *free, *e = crowd_find(c, key, &free);

	if (!e && !free)
		return false;
	if (!e) {
		e = free;
		atomic_store_explicit(&e->key, key, memory_order_release);
	}
	atomic_store_explicit(&e->count, atomic_load_explicit(&e->count, memory_order_relaxed) + 1,
		memory_order_release);
	return true;
}

void crowd_leave(const struct crowd *c, uint64_t key)
{
	struct crowd_entry *free, *e = crowd_find(c, key, &free);
	uint32_t n = e ? atomic_load_explicit(&e->count, memory_order_relaxed) : 0;

	if (n)
		atomic_store_explicit(&e->count, n - 1, memory_order_release);
}

/* A predecessor's: only pages that it used are touched. */
void crowd_clear(const struct crowd *c)
{
	for (uint32_t i = 0; i < c->size; i++)
		if (atomic_load_explicit(&c->entries[i].key, memory_order_relaxed)) {
			atomic_store_explicit(&c->entries[i].count, 0, memory_order_relaxed);
			atomic_store_explicit(&c->entries[i].key, 0, memory_order_relaxed);
		}
}

uint32_t crowd_count(const struct crowd *c, uint64_t key)
{
	for (int tries = 0; tries < 4; tries++) {
		struct crowd_entry *free, *e = crowd_find(c, key, &free);
		uint32_t n = e ? atomic_load_explicit(&e->count, memory_order_acquire) : 0;

		/* It may have become another's between the two. */
		if (!e || atomic_load_explicit(&e->key, memory_order_acquire) == key)
			return n;
	}
	return 0;
}
