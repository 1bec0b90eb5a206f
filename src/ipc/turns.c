/* turns: see turns.h. */
#include <event2/event.h>
#include <stddef.h>

#include <wsgate/turns.h>

#define CALLBACKS 16 /* one after another, before it is looked who else has something */

struct event_base *turns_new(void)
{
	struct event_config *c = event_config_new();
	struct event_base *base = NULL;

	if (c && event_config_set_max_dispatch_interval(c, NULL, CALLBACKS, 0) == 0)
		base = event_base_new_with_config(c);
	if (c)
		event_config_free(c);
	return base;
}

int turns_run(struct event_base *base, struct pace *p)
{
	int r;

	while ((r = event_base_loop(base, EVLOOP_ONCE)) == 0 && !event_base_got_exit(base) &&
		!event_base_got_break(base))
		pace_rest(p);
	return r < 0 ? -1 : 0;
}

int turns_next(struct event *ev)
{
	static const struct timeval now = {0, 0};

	return event_add(ev, &now);
}
