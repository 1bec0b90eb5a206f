/*
 * sealed: see sealed.h.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "parcel.h"
#include "sealed.h"
#include "tls.h"
#include "worker.h"

ssize_t sealed_recv(struct conn *c, void *buf, size_t len, const char **why)
{
	bool more;
	ssize_t n = seal_recv(c->seal, c->fd, buf, len, &more, why);

	c->read_more = more;
	if (more && c->reading)
		sight_soon(c);
	return n;
}

/* ---- what is sent ---- */

/* Small pieces become one record: a header and its payload, and many frames. */
ssize_t sealed_sendv(struct conn *c, const struct iovec *iov, int n)
{
	uint8_t *buf = c->w->tls_buf;
	size_t most = seal_data_max(c->seal), done = 0, at = 0, len, size;
	int i = 0;

	while ((len = tls_gather(iov, n, &i, &at, buf + SEAL_FRONT, most)) > 0) {
		const uint8_t *rec = seal_data(c->seal, buf, len, &size);

		if (!rec || !conn_sendraw(c, rec, size))
			return -1;
		done += len;
	}
	return (ssize_t)done;
}

bool sealed_end(struct conn *c)
{
	uint8_t out[SEAL_ALERT_MAX];
	size_t n = seal_end(c->seal, out);

	return !n || !conn_sendraw(c, out, n) || c->out.len == c->out.off;
}

void sealed_complain(struct conn *c)
{
	uint8_t out[SEAL_ALERT_MAX];
	size_t n = seal_complaint(c->seal, out);

	if (n)
		(void)!conn_sendraw(c, out, n);
}

/* ---- to another worker ---- */

size_t sealed_pack(const struct conn *c, uint8_t *out)
{
	struct seal_state st;
	const uint8_t *rest;
	size_t len;

	if (!c->seal)
		return 0;
	seal_save(c->seal, &st, &rest, &len);
	if (out)
		memcpy(out, &st, sizeof(st));
	if (out && len)
		memcpy(out + sizeof(st), rest, len);
	explicit_bzero(&st, sizeof(st));
	return sizeof(st) + len;
}

bool sealed_adopt(struct conn *c, const struct parcel_head *h, const struct parcel_parts *p)
{
	struct seal_state st;

	if (!conn_send_later(c, p->out, h->out_len))
		return false;
	if (!h->seal_len)
		return true;
	if (!c->w->tls_buf) /* without a section of its own */
		c->w->tls_buf = malloc(SEALED_BUF);
	if (!c->w->tls_buf)
		return false;
	memcpy(&st, p->seal, sizeof(st));
	c->read_more = st.ended || st.failed; /* no event tells of it */
	c->seal = seal_restore(&st, p->seal + sizeof(st), h->seal_len - sizeof(st));
	explicit_bzero(&st, sizeof(st));
	return c->seal != NULL;
}
