/*
 * version: see version.h.
 */
#include <cjose/version.h>
#include <confuse.h>
#include <event2/event.h>
#include <jansson.h>
#include <llhttp.h>
#include <nats/nats.h>
#include <openssl/crypto.h>
#include <seccomp.h>
#include <string.h>
#include <zlib.h>
#include <wsgate/memory.h>
#include "version.h"

int version_print(FILE *out)
{
	const struct scmp_version *sc = seccomp_version();
	const char *jemalloc;
	size_t len = sizeof(jemalloc);

	fprintf(out, "wsgated %s\n", WSGATE_VERSION);
	fprintf(out, "libevent %s\n", event_get_version());
#ifdef LLHTTP_VERSION_MAJOR
	fprintf(out, "llhttp %d.%d.%d\n", LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR,
		LLHTTP_VERSION_PATCH);
#endif
	fprintf(out, "nats.c %s\n", nats_GetVersion());
	fprintf(out, "OpenSSL %s\n", OpenSSL_version(OPENSSL_VERSION_STRING));
	fprintf(out, "cjose %s\n", cjose_version());
	fprintf(out, "libconfuse %s\n", confuse_version);
	fprintf(out, "jansson %s\n", jansson_version_str());
	fprintf(out, "libseccomp %u.%u.%u\n", sc->major, sc->minor, sc->micro);
	fprintf(out, "zlib %s\n", zlibVersion());
	if (mallctl && mallctl("version", (void *)&jemalloc, &len, NULL, 0) == 0)
		fprintf(out, "jemalloc %.*s\n", (int)strcspn(jemalloc, "-"), jemalloc);
	return fflush(out) != 0 || ferror(out) ? -1 : 0;
}
