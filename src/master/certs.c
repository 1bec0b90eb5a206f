/*
 * certs: see certs.h.
 */
#include <unistd.h>

#include <wsgate/bundle.h>
#include <wsgate/tlsctx.h>

#include "certs.h"

int certs_read(const struct config *c, int *fd, bool loud, char *err, size_t errlen)
{
	*fd = -1;
	if (!c->ntls)
		return 0;
	*fd = bundle_make(c, err, errlen);
	if (*fd >= 0 && tlsctx_check(c, *fd, loud, err, errlen) == 0)
		return 0;
	certs_drop(fd);
	return -1;
}

void certs_drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}
