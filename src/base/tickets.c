/*
 * tickets: see tickets.h.
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <wsgate/tickets.h>

static int tickets_make(struct tickets_key *k)
{
	ssize_t n = getrandom(k, sizeof(*k), 0);

	if (n == (ssize_t)sizeof(*k))
		return 0;
	if (n >= 0)
		errno = EIO;
	return -1;
}

int tickets_rotate(struct tickets *t)
{
	struct tickets_key fresh[2];
	uint32_t more = t->n ? 1 : 2, keep = t->n;

	for (uint32_t i = 0; i < more; i++)
		if (tickets_make(&fresh[i]) < 0)
			return -1;
	if (keep > TICKETS_KEYS - more)
		keep = TICKETS_KEYS - more;
	memmove(t->keys + more, t->keys, keep * sizeof(t->keys[0]));
	memcpy(t->keys, fresh, more * sizeof(t->keys[0]));
	t->n = keep + more;
	explicit_bzero(fresh, sizeof(fresh));
	return 0;
}

void tickets_wipe(struct tickets *t)
{
	explicit_bzero(t, sizeof(*t));
}

const struct tickets_key *tickets_current(const struct tickets *t)
{
	return t->n > 1 ? &t->keys[1] : NULL;
}

const struct tickets_key *tickets_find(const struct tickets *t, const uint8_t name[TICKETS_NAME])
{
	for (uint32_t i = 0; i < t->n && i < TICKETS_KEYS; i++)
		if (memcmp(t->keys[i].name, name, TICKETS_NAME) == 0)
			return &t->keys[i];
	return NULL;
}
