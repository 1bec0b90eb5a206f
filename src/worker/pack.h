/*
 * pack: permessage-deflate for a worker's connections. Room: worker.
 *
 * A connection without context has its terms in a few bits and nothing else: the worker's own
 * compressors (one for each size of window that somebody asked for) and decompressor serve all of
 * them, and a message is compressed once for all that get it.
 */
#ifndef WSGATE_WORKER_PACK_H
#define WSGATE_WORKER_PACK_H

#include "worker.h"

struct parcel_head;
struct parcel_parts;

/* What a request offers, as the configuration has it: into its answer. */
void pack_agree(struct conn *c);
void pack_free_conn(struct conn *c);

/* What reads its messages; NULL: nothing was agreed on, or no memory (*failed). */
const struct ws_inflate *pack_reader(struct conn *c, struct ws_inflate *space, bool *failed);
/* The one message of the last read is done with. */
void pack_read(struct worker *w);

/* A payload of a frame; true: compressed. */
struct pack_payload {
	const uint8_t *data;
	size_t len;
};
/* Of an answer to the connection itself; valid until the next of these calls. */
bool pack_answer(struct conn *c, struct pack_payload *p);
/*
 * The same of a message from a service; epoch and seq name it, as in the down ring: its connections
 * may get it by one record or, when they are not equally fast, by several. Valid until it is
 * written: pack_written().
 */
bool pack_message(struct conn *c, uint32_t epoch, uint64_t seq, struct pack_payload *p);
bool pack_full(const struct worker *w); /* much has been made: write it before more is */
void pack_written(struct worker *w);    /* all segs were */
void pack_beat(struct worker *w);       /* each second: nothing is kept for long */

/* For another worker: its terms, and the lengths of its windows; then these. */
void pack_describe(const struct conn *c, struct parcel_head *h);
size_t pack_windows(struct conn *c, const struct parcel_head *h, uint8_t *out);
/* False: no memory. */
bool pack_adopt(struct conn *c, const struct parcel_head *h, const struct parcel_parts *p);

void pack_renew(struct worker *w); /* another configuration */
void pack_stop(struct worker *w);

#endif
