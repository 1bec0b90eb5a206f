/*
 * table: a hash table of pointers under byte strings. Open addressing, one array, 24 bytes a slot.
 *
 * The key's bytes live in the value (or wherever the caller likes) and must stay as they are while
 * the value is in the table. The hash is keyed with a random secret of the process: keys chosen by
 * a client do not collide on purpose. Not for several threads at once. Room: base.
 */
#ifndef WSGATE_TABLE_H
#define WSGATE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_slot;
struct table {
	struct table_slot *slots; /* owned; NULL while nothing was ever put */
	size_t size;              /* 0 or a power of two */
	size_t count;
};

/* Allocates nothing. */
void table_init(struct table *t);
/* Frees the table, not the values. */
void table_free(struct table *t);
/* The value under the key, or NULL. */
void *table_get(const struct table *t, const void *key, size_t len);
/* Puts a value (not NULL) in; the one that was there under that key gives way. 0, or -1 with errno:
 * no memory. */
int table_put(struct table *t, const void *key, size_t len, void *value)
	__attribute__((warn_unused_result));
/* Takes it out. Returns the value, or NULL when there is none. */
void *table_del(struct table *t, const void *key, size_t len);
size_t table_count(const struct table *t);
/*
 * Calls fn for every value, in no order, until it returns false. fn may take out (and free) the
 * value that it was given; it must not put anything in, nor take out any other one.
 */
void table_each(const struct table *t, bool (*fn)(void *value, void *arg), void *arg);
/* The keyed hash itself. */
uint64_t table_hash(const void *key, size_t len);

#endif
