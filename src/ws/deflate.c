/*
 * deflate: see deflate.h.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <wsgate/deflate.h>

#define ROOM_KEEP (256u * 1024)
#define ROOM_MIN 1024u

/* RFC 7692 7.2.1, 7.2.2: the end of a flush, which is not sent. */
static const uint8_t tail[4] = {0, 0, 0xff, 0xff};

struct deflate_out {
	z_stream z;
	bool context;
};

struct deflate_in {
	z_stream z; /* state NULL: not begun yet */
	uint8_t bits;
	bool context;
};

/* ---- room ---- */

static bool room_for(struct deflate_room *r, size_t need)
{
	uint8_t *buf;

	if (need <= r->cap)
		return true;
	if (need < ROOM_MIN)
		need = ROOM_MIN;
	buf = realloc(r->buf, need);
	if (!buf)
		return false;
	r->buf = buf;
	r->cap = need;
	return true;
}

void deflate_room_rest(struct deflate_room *r)
{
	if (r->cap > ROOM_KEEP)
		deflate_room_free(r);
}

void deflate_room_free(struct deflate_room *r)
{
	free(r->buf);
	*r = (struct deflate_room){NULL, 0};
}

/* ---- out ---- */

/*
 * zlib has no window of 8 bits for raw deflate: it refuses it, or takes 9 for it (zlib.h). Runs
 * alone, of distance 1, need none.
 */
struct deflate_out *deflate_out_new(unsigned bits, int level, unsigned memory, bool context)
{
	struct deflate_out *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->context = context;
	if (deflateInit2(&o->z, level, Z_DEFLATED, bits < 9 ? -9 : -(int)bits, (int)memory,
		    bits < 9 ? Z_RLE : Z_DEFAULT_STRATEGY) == Z_OK)
		return o;
	free(o);
	return NULL;
}

void deflate_out_free(struct deflate_out *o)
{
	if (!o)
		return;
	deflateEnd(&o->z);
	free(o);
}

size_t deflate_out_message(
	struct deflate_out *o, const uint8_t *data, size_t len, struct deflate_room *room)
{
	size_t got = 0;

	if (len > UINT_MAX / 2 || (!o->context && deflateReset(&o->z) != Z_OK))
		return 0;
	o->z.next_in = (Bytef *)(uintptr_t)data;
	o->z.avail_in = (uInt)len;
	do {
		/* Without context what is not shorter is of no use. */
		size_t need = o->context ? got + o->z.avail_in / 2 + ROOM_MIN : len + sizeof(tail);

		if (!room_for(room, need))
			return 0;
		o->z.next_out = room->buf + got;
		o->z.avail_out = (uInt)((o->context ? room->cap : need) - got);
		if (deflate(&o->z, Z_SYNC_FLUSH) != Z_OK)
			return 0;
		got = (size_t)(o->z.next_out - room->buf);
	} while (o->z.avail_out == 0 && o->context);
	if (o->z.avail_out == 0 || got < sizeof(tail))
		return 0;
	got -= sizeof(tail);
	return got < len || o->context ? got : 0;
}

size_t deflate_out_window(struct deflate_out *o, uint8_t *out)
{
	uInt n = 0;

	return deflateGetDictionary(&o->z, out, &n) == Z_OK ? n : 0;
}

bool deflate_out_restore(struct deflate_out *o, const uint8_t *window, size_t len)
{
	return len <= DEFLATE_WINDOW_MAX &&
	       (!len || deflateSetDictionary(&o->z, window, (uInt)len) == Z_OK);
}

/* ---- in ---- */

struct deflate_in *deflate_in_new(unsigned bits, bool context)
{
	struct deflate_in *i = calloc(1, sizeof(*i));

	if (!i)
		return NULL;
	i->context = context;
	/* A client whose zlib takes 9 bits for 8 is understood, too. */
	i->bits = (uint8_t)(bits < 9 ? 9 : bits);
	return i;
}

static bool in_begin(struct deflate_in *i)
{
	return i->z.state || inflateInit2(&i->z, -(int)i->bits) == Z_OK;
}

void deflate_in_free(struct deflate_in *i)
{
	if (!i)
		return;
	if (i->z.state)
		inflateEnd(&i->z);
	free(i);
}

size_t deflate_in_limit(size_t max)
{
	return max + max / 8 + 1024;
}

/* Whether there is room for one byte more than max: that one shows that it is too big. */
static bool in_room(struct deflate_room *room, size_t got, size_t left, size_t max)
{
	size_t need = got + (got > left * 4 ? got : left * 4);

	if (got < room->cap)
		return true;
	if (need > max + 1)
		need = max + 1;
	return room_for(room, need < ROOM_MIN ? ROOM_MIN : need);
}

/*
 * Until all of this input is used. A last block may be followed by others (7.2.3.5), which may
 * refer to what came before it: so the window stays.
 */
static enum deflate_result in_piece(struct deflate_in *i, const uint8_t *data, size_t len,
	size_t max, struct deflate_room *room, size_t *got, bool *ended)
{
	z_stream *z = &i->z;
	int r;

	z->next_in = (Bytef *)(uintptr_t)data;
	z->avail_in = (uInt)len;
	do {
		size_t cap;

		if (!in_room(room, *got, z->avail_in, max))
			return DEFLATE_NO_MEMORY;
		cap = room->cap < max + 1 ? room->cap : max + 1;
		z->next_out = room->buf + *got;
		z->avail_out = (uInt)(cap - *got);
		r = inflate(z, Z_SYNC_FLUSH);
		*got = (size_t)(z->next_out - room->buf);
		if (*got > max)
			return DEFLATE_TOO_BIG;
		if (r == Z_MEM_ERROR)
			return DEFLATE_NO_MEMORY;
		if (r == Z_STREAM_END) {
			if (inflateResetKeep(z) != Z_OK)
				return DEFLATE_BAD;
			*ended = z->avail_in == 0;
			if (*ended)
				return DEFLATE_GOOD;
		} else if (r != Z_OK && !(r == Z_BUF_ERROR && z->avail_in == 0)) {
			return DEFLATE_BAD;
		}
	} while (z->avail_in > 0 || z->avail_out == 0);
	return DEFLATE_GOOD;
}

enum deflate_result deflate_in_message(struct deflate_in *i, const uint8_t *data, size_t len,
	size_t max, struct deflate_room *room, size_t *outlen)
{
	enum deflate_result r;
	bool ended = false;

	*outlen = 0;
	if (len > UINT_MAX / 2 || max > UINT_MAX / 2)
		return DEFLATE_TOO_BIG;
	if (!in_begin(i))
		return DEFLATE_NO_MEMORY;
	if (!i->context && inflateReset(&i->z) != Z_OK)
		return DEFLATE_BAD;
	r = in_piece(i, data, len, max, room, outlen, &ended);
	/* A sender whose last block was the last byte, too, has forgotten the byte behind it. */
	if (r != DEFLATE_GOOD || ended)
		return r;
	r = in_piece(i, tail, sizeof(tail), max, room, outlen, &ended);
	/* zlib.h: 128: behind a block's end; the lower bits: of a byte that is not used up. */
	if (r == DEFLATE_GOOD && !ended && (i->z.data_type & 0xc7) != 128)
		r = DEFLATE_BAD;
	return r;
}

size_t deflate_in_window(struct deflate_in *i, uint8_t *out)
{
	uInt n = 0;

	return i->z.state && inflateGetDictionary(&i->z, out, &n) == Z_OK ? n : 0;
}

bool deflate_in_restore(struct deflate_in *i, const uint8_t *window, size_t len)
{
	return len <= DEFLATE_WINDOW_MAX && (!len || in_begin(i)) &&
	       (!len || inflateSetDictionary(&i->z, window, (uInt)len) == Z_OK);
}
