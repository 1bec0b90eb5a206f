/*
 * table: see table.h. Linear probing; a removal moves its followers back, so there are no
 * tombstones and a table that saw many users come and go is as fast as a new one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <wsgate/table.h>

#define SIZE_MIN 16

struct table_slot {
	uint32_t hash, len;
	const void *key;
	void *value; /* NULL: empty */
};

static uint64_t secret[2];
static bool have_secret;

static void make_secret(void)
{
	if (getrandom(secret, sizeof(secret), GRND_NONBLOCK) != (ssize_t)sizeof(secret)) {
		struct timespec ts;

		clock_gettime(CLOCK_REALTIME, &ts);
		secret[0] = (uint64_t)ts.tv_nsec << 32 ^ (uint64_t)ts.tv_sec;
		secret[1] = (uint64_t)getpid() << 32 ^ (uint64_t)(uintptr_t)&ts;
	}
	have_secret = true;
}

static inline uint64_t rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

/* SipHash-1-3. Only within one process: byte order does not matter. */
uint64_t table_hash(const void *key, size_t len)
{
	const uint8_t *p = key;
	uint64_t v[4], m;
	size_t left = len;

	if (!have_secret)
		make_secret();
	v[0] = secret[0] ^ 0x736f6d6570736575u;
	v[1] = secret[1] ^ 0x646f72616e646f6du;
	v[2] = secret[0] ^ 0x6c7967656e657261u;
	v[3] = secret[1] ^ 0x7465646279746573u;
	for (; left >= 8; p += 8, left -= 8) {
		memcpy(&m, p, 8);
		v[3] ^= m;
		sip_round(v);
		v[0] ^= m;
	}
	m = 0;
	memcpy(&m, p, left);
	m ^= (uint64_t)len << 56;
	v[3] ^= m;
	sip_round(v);
	v[0] ^= m;
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void table_init(struct table *t)
{
	*t = (struct table){0};
}

void table_free(struct table *t)
{
	free(t->slots);
	*t = (struct table){0};
}

size_t table_count(const struct table *t)
{
	return t->count;
}

/* The slot of the key, or the empty one where it would go. There is always an empty one. */
static size_t find(const struct table *t, uint32_t hash, const void *key, size_t len)
{
	size_t mask = t->size - 1, i = hash & mask;

	for (; t->slots[i].value; i = (i + 1) & mask)
		if (t->slots[i].hash == hash && t->slots[i].len == len &&
			memcmp(t->slots[i].key, key, len) == 0)
			break;
	return i;
}

void *table_get(const struct table *t, const void *key, size_t len)
{
	if (t->count == 0)
		return NULL;
	return t->slots[find(t, (uint32_t)table_hash(key, len), key, len)].value;
}

static int grow(struct table *t)
{
	struct table bigger = {.size = t->size > 0 ? t->size * 2 : SIZE_MIN, .count = t->count};
	size_t i, j;

	bigger.slots = calloc(bigger.size, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -1;
	for (i = 0; i < t->size; i++) {
		if (!t->slots[i].value)
			continue;
		j = t->slots[i].hash & (bigger.size - 1);
		while (bigger.slots[j].value)
			j = (j + 1) & (bigger.size - 1);
		bigger.slots[j] = t->slots[i];
	}
	free(t->slots);
	*t = bigger;
	return 0;
}

int table_put(struct table *t, const void *key, size_t len, void *value)
{
	uint32_t hash = (uint32_t)table_hash(key, len);
	size_t i;

	if (!value || len > UINT32_MAX) {
		errno = EINVAL;
		return -1;
	}
	if (t->count + 1 > t->size / 8 * 7 && grow(t) < 0)
		return -1;
	i = find(t, hash, key, len);
	if (!t->slots[i].value)
		t->count++;
	t->slots[i] = (struct table_slot){hash, (uint32_t)len, key, value};
	return 0;
}

void *table_del(struct table *t, const void *key, size_t len)
{
	size_t mask = t->size - 1, i, j, home;
	void *value;

	if (t->count == 0)
		return NULL;
	i = find(t, (uint32_t)table_hash(key, len), key, len);
	value = t->slots[i].value;
	if (!value)
		return NULL;
	t->count--;
	for (j = (i + 1) & mask; t->slots[j].value; j = (j + 1) & mask) {
		home = t->slots[j].hash & mask;
		/* It may move back to i only when its home is not between i and itself. */
		if (((j - home) & mask) < ((j - i) & mask))
			continue;
		t->slots[i] = t->slots[j];
		i = j;
	}
	t->slots[i] = (struct table_slot){0};
	return value;
}

void table_each(const struct table *t, bool (*fn)(void *value, void *arg), void *arg)
{
	size_t mask = t->size - 1, end = 0, i;

	if (t->count == 0)
		return;
	while (t->slots[end].value)
		end++;
	/*
	 * Downwards, from an empty slot round to it: a removal of the present one moves only such
	 * as come after it in the array, which had their turn.
	 */
	for (i = (end - 1) & mask; i != end; i = (i - 1) & mask)
		if (t->slots[i].value && !fn(t->slots[i].value, arg))
			return;
}
