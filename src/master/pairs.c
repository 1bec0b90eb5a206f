/* pairs: see pairs.h. */
#include <errno.h>

#include <wsgate/log.h>
#include <wsgate/rights.h>

#include "pairs.h"
#include "will.h"

bool pairs_gives(const struct upgrade *u, unsigned n)
{
	const struct child *w = &u->family->workers[u->givers[n]];

	return child_lives(w) && w->generation == u->generations[n];
}

/* 1: worker n of ours has one more of theirs; 0: later; -1: the new one is gone. */
static int give_pair(struct upgrade *u, unsigned n, unsigned to, bool last)
{
	struct child *w = &u->family->workers[u->givers[n]];
	struct proto_heir heir = {last, 0};
	struct will will = {
		.version = WILL_VERSION, .type = WILL_PAIR, .u.number.value = to % u->workers};

	if (u->ends[1] < 0 && chan_pair(u->ends) < 0) {
		if (errno != EMFILE && errno != ENFILE)
			return -1;
		log_some_warnings(
			1, "no descriptors for a hand-over: tried again", kv_errno(errno));
		return 0;
	}
	if (u->ends[0] >= 0) {
		if (will_send(u->fd, &will, u->ends[0]) < 0)
			return errno == EAGAIN ? 0 : -1;
		rights_drop(&u->ends[0]);
	}
	/* A dead one has nothing to give. */
	if (pairs_gives(u, n) &&
		chan_send(w->chan, PROTO_HEIR, &heir, sizeof(heir), u->ends[1]) < 0 &&
		errno == EAGAIN)
		return 0;
	rights_drop(&u->ends[1]);
	return 1;
}

int pairs_give(struct upgrade *u)
{
	int r = 1;

	for (; u->pair < u->npairs && r > 0; u->pair += r > 0)
		r = give_pair(u, u->pair % u->ngivers, u->pair, u->pair + u->ngivers >= u->npairs);
	/* Their worker died, or has no descriptor left: another one. */
	for (unsigned n = 0; n < u->ngivers && r > 0; n++) {
		struct child *w = &u->family->workers[u->givers[n]];

		if (!pairs_gives(u, n) || !w->heirless)
			continue;
		r = give_pair(u, n, n + ++u->more, true);
		w->heirless = r <= 0;
	}
	return r;
}
