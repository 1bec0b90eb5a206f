#include <string.h>

#include "worker.h"

/*
 * A deadline is set for each connection and moved at most once a state or Ping; nothing is done
 * for a received byte. Far deadlines go round: they are looked at once a turn (20 s).
 */

static uint64_t tick_of(uint64_t ms)
{
	return ms / WHEEL_TICK_MS;
}

/* Sleeps until the next place that holds anything: an idle worker does not tick. */
static void wheel_arm(struct wheel *wh, uint64_t now_ms)
{
	uint64_t tick = wh->done_tick + 1;
	uint64_t at, armed;
	struct timeval tv;

	wh->armed_ms = 0;
	if (!wh->count)
		return;
	while (tick < wh->done_tick + WHEEL_SLOTS) {
		struct wheel_node *head = &wh->slot[tick % WHEEL_SLOTS];

		if (head->next != head)
			break;
		tick++;
	}
	at = (tick + 1) * WHEEL_TICK_MS; /* the end of the tick: all of it is due then */
	armed = at;
	at = at > now_ms ? at - now_ms : 1;
	tv.tv_sec = (time_t)(at / 1000);
	tv.tv_usec = (suseconds_t)(at % 1000 * 1000);
	if (event_add(wh->timer, &tv) == 0)
		wh->armed_ms = armed; /* else the next deadline that is set tries again */
}

static void wheel_turn(evutil_socket_t fd, short what, void *arg)
{
	struct wheel *wh = arg;
	struct worker *w = wh->arg;
	uint64_t last;

	(void)fd;
	(void)what;
	w->now_ms = worker_clock();
	last = tick_of(w->now_ms);
	if (last - wh->done_tick > WHEEL_SLOTS)
		wh->done_tick = last - WHEEL_SLOTS;
	while (wh->done_tick + 1 < last) {
		struct wheel_node due, *head = &wh->slot[++wh->done_tick % WHEEL_SLOTS];

		if (head->next == head)
			continue;
		/* The whole place moves to a list of its own: callbacks add and remove at will. */
		due.next = head->next;
		due.prev = head->prev;
		due.next->prev = due.prev->next = &due;
		head->next = head->prev = head;
		while (due.next != &due) {
			struct wheel_node *n = due.next;

			if (n->at_ms > w->now_ms) {
				wheel_set(wh, n, n->at_ms, w->now_ms);
				continue;
			}
			wheel_del(wh, n);
			wh->expired(wh->arg, n);
		}
	}
	wheel_arm(wh, w->now_ms);
}

int wheel_start(struct wheel *wh, struct event_base *base, uint64_t now_ms,
	void (*expired)(void *, struct wheel_node *), void *arg)
{
	for (size_t i = 0; i < WHEEL_SLOTS; i++)
		wh->slot[i].next = wh->slot[i].prev = &wh->slot[i];
	wh->done_tick = tick_of(now_ms) - 1;
	wh->count = 0;
	wh->expired = expired;
	wh->arg = arg;
	wh->timer = event_new(base, -1, 0, wheel_turn, wh);
	return wh->timer ? 0 : -1;
}

void wheel_stop(struct wheel *wh)
{
	if (wh->timer)
		event_free(wh->timer);
	wh->timer = NULL;
}

void wheel_del(struct wheel *wh, struct wheel_node *n)
{
	if (!n->next)
		return;
	n->prev->next = n->next;
	n->next->prev = n->prev;
	n->next = n->prev = NULL;
	wh->count--;
}

void wheel_set(struct wheel *wh, struct wheel_node *n, uint64_t at_ms, uint64_t now_ms)
{
	uint64_t tick = tick_of(at_ms);
	struct wheel_node *head;

	wheel_del(wh, n);
	if (tick <= wh->done_tick)
		tick = wh->done_tick + 1;
	if (tick >= wh->done_tick + WHEEL_SLOTS)
		tick = wh->done_tick + WHEEL_SLOTS - 1;
	n->at_ms = at_ms;
	head = &wh->slot[tick % WHEEL_SLOTS];
	n->prev = head->prev;
	n->next = head;
	head->prev->next = n;
	head->prev = n;
	wh->count++;
	if (!wh->armed_ms || (tick + 1) * WHEEL_TICK_MS < wh->armed_ms)
		wheel_arm(wh, now_ms);
}
