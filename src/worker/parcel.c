/*
 * parcel: see parcel.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <wsgate/rights.h>
#include "parcel.h"

#define PARTS_MAX (UINT64_C(1) << 32) /* of any part: beyond every limit of the configuration */
#define IOV_MAX_PARCEL 4

uint64_t parcel_body_len(const struct parcel_head *h)
{
	return h->service_len + h->user_len + h->reader.len + h->reader.control_len + h->stash_len +
	       h->out_len + h->pending_len + h->out_window + h->in_window + h->seal_len;
}

static bool deflate_adds_up(const struct parcel_head *h)
{
	if (!h->server_bits)
		return !h->client_bits && !h->deflate && !h->out_window && !h->in_window &&
		       !h->reader.deflated;
	return h->server_bits >= 8 && h->server_bits <= 15 && h->client_bits >= 8 &&
	       h->client_bits <= 15 && h->out_window <= DEFLATE_WINDOW_MAX &&
	       h->in_window <= DEFLATE_WINDOW_MAX &&
	       (!h->out_window || h->deflate & PARCEL_OUT_CONTEXT) &&
	       (!h->in_window || h->deflate & PARCEL_IN_CONTEXT);
}

bool parcel_check(const struct parcel_head *h)
{
	bool named = h->kind == PARCEL_OPENING || h->kind == PARCEL_OPEN;

	if (h->kind < PARCEL_FRESH || h->kind > PARCEL_ECHO || h->ktls > 1 ||
		((h->ktls || h->seal_len) && h->kind == PARCEL_FRESH) || (h->ktls && h->seal_len) ||
		(h->seal_len && h->seal_len < sizeof(struct seal_state)))
		return false;
	if (named != (h->service_len && h->user_len) || h->service_len > TOKEN_MAX ||
		h->user_len > TOKEN_MAX || h->confirmed > h->given || !deflate_adds_up(h))
		return false;
	return h->reader.len < PARTS_MAX && h->stash_len < PARTS_MAX && h->out_len < PARTS_MAX &&
	       h->pending_len < PARTS_MAX && h->reader.control_len <= WS_CONTROL_MAX &&
	       h->body_len == parcel_body_len(h);
}

void parcel_open(const struct parcel_head *h, const uint8_t *body, struct parcel_parts *out)
{
	out->who = (struct identity){(const char *)body, (const char *)body + h->service_len,
		h->service_len, h->user_len};
	out->message = body + h->service_len + h->user_len;
	out->control = out->message + h->reader.len;
	out->stash = out->control + h->reader.control_len;
	out->out = out->stash + h->stash_len;
	out->pending = out->out + h->out_len;
	out->out_window = out->pending + h->pending_len;
	out->in_window = out->out_window + h->out_window;
	out->seal = out->in_window + h->in_window;
}

void parcel_drop(uint8_t *body, size_t len)
{
	if (body)
		explicit_bzero(body, len);
	free(body);
}

int parcel_send(
	int sock, enum parcel_type type, uint64_t id, const struct iovec *iov, size_t n, int fd)
{
	struct parcel_note note = {PARCEL_VERSION, (uint16_t)type, 0, id};
	struct iovec all[IOV_MAX_PARCEL + 1] = {{&note, sizeof(note)}};

	for (size_t i = 0; i < n && i < IOV_MAX_PARCEL; i++) {
		all[i + 1] = iov[i];
		note.size += (uint32_t)iov[i].iov_len;
	}
	return rights_send(sock, all, n + 1, fd);
}

long parcel_receive(int sock, struct parcel_note *note, void *buf, size_t size, int *fd)
{
	const struct iovec iov[2] = {{note, sizeof(*note)}, {buf, size}};
	int flags;
	ssize_t n = rights_receive(sock, iov, 2, fd, &flags);

	if (n < 0)
		return -1;
	if (n >= (ssize_t)sizeof(*note) && !(flags & MSG_TRUNC) &&
		note->version == PARCEL_VERSION && note->size == (size_t)n - sizeof(*note))
		return (long)note->size;
	rights_drop(fd);
	errno = n == 0 ? EPIPE : EPROTO;
	return -1;
}
