/*
 * ring: a one-writer, one-reader queue of records in shared memory. No locks, no system calls.
 *
 *      released          visible            reserved
 *   tail ──────▶ ........ head ──────▶ ......... (writer's own)
 *      the reader owns [tail, head)       nobody sees these yet
 *
 * Positions are 64-bit byte counts that never restart; position & mask is the place. A record lies
 * in one piece and is padded to 8 bytes; a pad record fills the end when the next one does not fit.
 * The writer writes the record, then head (release); a process killed at any instruction leaves
 * either the whole record or none. The reader may release less than it has read: what is not
 * released is read again by its successor. Room: ipc.
 */
#ifndef WSGATE_RING_H
#define WSGATE_RING_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Shared words, each written by one side. */
struct ring_words {
	alignas(64) _Atomic uint64_t head; /* writer's */
	alignas(64) _Atomic uint64_t tail; /* reader's */
};

/* Positions begin close to 2^32, so that a cut to 32 bits shows on the first day. */
#define RING_START ((uint64_t)UINT32_MAX + 1 - 65536)

struct ring_record {
	uint32_t size;  /* of the payload, without this header and the padding */
	uint16_t type;  /* RING_PAD or the user's */
	uint16_t check; /* ring_check(): catches torn or scribbled records */
};
#define RING_PAD 0xffff

struct ring { /* one side's view; process-local */
	struct ring_words *words;
	uint8_t *data;
	uint64_t size; /* a power of two */
	uint64_t pos; /* writer: end of what is reserved; reader: start of the next unread record */
	uint64_t tail; /* writer: the reader's tail as of the last ring_refresh() */
};

/* Prepares the words of a new ring. */
void ring_init(struct ring_words *words);
void ring_attach_writer(struct ring *r, struct ring_words *words, void *data,
	uint64_t size); /* goes on at head; at tail when head is damaged */
void ring_attach_reader(
	struct ring *r, struct ring_words *words, void *data, uint64_t size); /* goes on at tail */

/* Looks at the reader's tail: what it gave back may be written again from here on. Returns it. */
uint64_t ring_refresh(struct ring *r);
/* Room for `size` payload bytes, or NULL when the ring was too full at the last refresh. Not
 * visible before ring_commit(). */
void *ring_reserve(struct ring *r, uint16_t type, size_t size);
/* Makes everything reserved visible. */
void ring_commit(struct ring *r);
/* The largest payload that always fits into an empty ring, wherever it stands: records above half
 * the ring may never fit. */
size_t ring_max_record(uint64_t ring_size);

enum ring_read { RING_EMPTY, RING_RECORD, RING_CORRUPT };
/* The next record: pos is where it begins, end where the next one does. The payload stays until end
 * is released. */
enum ring_read ring_next(
	struct ring *r, uint16_t *type, const void **payload, size_t *size, uint64_t *pos);
/* Behind a damaged record: on at the writer's end. False: that word is damaged too, and only a new
 * writer helps. */
bool ring_skip(struct ring *r);
/* Gives back everything below pos (reader's r->pos after a record is "this one too"). */
void ring_release(struct ring *r, uint64_t pos);
/* Bytes between tail and head, as anybody sees them. */
uint64_t ring_used(const struct ring_words *words);

/*
 * bell: whether the other side must be woken. Odd: the owner sleeps. Written by the owner alone;
 * the other side rings once for each sleep.
 */
struct bell {
	alignas(64) _Atomic uint32_t word;
};
void bell_sleep(struct bell *b); /* the owner must look at its rings once more after this */
void bell_awake(struct bell *b);
/* After a commit: must the owner be woken? `last` is the caller's memory of the sleep it rang for.
 */
bool bell_must_ring(struct bell *b, uint32_t *last);

#endif
