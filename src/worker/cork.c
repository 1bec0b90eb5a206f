/*
 * cork: see cork.h.
 */
#include <string.h>
#include <sys/uio.h>

#include "worker.h"

bool cork_begin(struct conn *c)
{
	struct cork *k = &c->w->cork;

	if (k->conn)
		return false;
	k->conn = c;
	k->len = 0;
	return true;
}

bool cork_put(struct conn *c, const struct iovec *iov, int n)
{
	struct cork *k = &c->w->cork;
	size_t size = 0;

	for (int i = 0; i < n; i++)
		size += iov[i].iov_len;
	if (k->conn != c || size > sizeof(k->buf) - k->len)
		return false;
	for (int i = 0; i < n; i++) {
		if (iov[i].iov_len)
			memcpy(k->buf + k->len, iov[i].iov_base, iov[i].iov_len);
		k->len += iov[i].iov_len;
	}
	return true;
}

bool cork_flush(struct conn *c)
{
	struct cork *k = &c->w->cork;
	struct iovec iov = {k->buf, k->len};

	if (k->conn != c || !k->len)
		return true;
	k->len = 0;
	if (!conn_sendv(c, &iov, 1))
		return false;
	if (c->out.len > c->out.off)
		c->out.control += (uint32_t)iov.iov_len;
	return true;
}

bool cork_end(struct conn *c)
{
	struct worker *w = c->w;
	bool alive = cork_flush(c);

	w->cork.conn = NULL;
	return alive;
}

void cork_drop(struct conn *c)
{
	struct cork *k = &c->w->cork;
	struct iovec iov = {k->buf, k->len};

	if (k->conn != c)
		return;
	k->conn = NULL;
	if (k->len && c->out.len == c->out.off && !c->write_shut)
		(void)!conn_sendmsg(c, &iov, 1);
}
