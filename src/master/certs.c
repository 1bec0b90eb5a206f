/*
 * certs: see certs.h.
 */
#include <unistd.h>

#include <wsgate/bundle.h>
#include <wsgate/log.h>
#include <wsgate/offload.h>
#include <wsgate/rights.h>
#include <wsgate/tlsctx.h>

#include "certs.h"

/* This process is root: what the kernel lacks for it comes now. */
static void certs_say_ktls(const struct config *c)
{
	const char *missing = NULL;
	bool wanted = false;

	for (size_t i = 0; i < c->ntls; i++)
		wanted |= c->tls[i].ktls == TLS_KTLS_AUTO;
	if (!wanted)
		return;
	missing = offload_missing();
	if (missing)
		log_info("connections with TLS keep their keys here: no kTLS",
			kv_str("why", missing));
	else
		log_info("connections with TLS give their keys to the kernel, where they can "
			 "(kTLS)");
}

int certs_read(const struct config *c, int *fd, bool loud, char *err, size_t errlen)
{
	*fd = -1;
	if (!c->ntls)
		return 0;
	*fd = bundle_make(c, err, errlen);
	if (*fd >= 0 && tlsctx_check(c, *fd, loud, err, errlen) == 0) {
		if (loud)
			certs_say_ktls(c);
		return 0;
	}
	certs_drop(fd);
	return -1;
}

void certs_drop(int *fd)
{
	rights_drop(fd);
}
