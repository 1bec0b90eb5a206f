/*
 * bundle: the bytes of all files that the tls sections name, in one sealed file without a name. The
 * master makes it, because it may read them; workers get its descriptor. Room: tls.
 */
#ifndef WSGATE_BUNDLE_H
#define WSGATE_BUNDLE_H

#include <stddef.h>
#include <stdint.h>
#include <wsgate/config.h>

struct bundle {
	const uint8_t *data; /* owned: mapped */
	size_t len;
};

/* Reads them. The descriptor; or -1 and, in err, one line that names the file. */
int bundle_make(const struct config *c, char *err, size_t errlen);
/* fd stays the caller's. 0 or -1 with errno. */
int bundle_open(struct bundle *b, int fd) __attribute__((warn_unused_result));
void bundle_close(struct bundle *b);
/* What lay in the file of that path; NULL: it is not in there. */
const uint8_t *bundle_find(const struct bundle *b, const char *path, size_t *len);

#endif
