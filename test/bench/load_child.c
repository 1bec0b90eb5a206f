/*
 * load_child: see load.h. One process of the load generator.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "load.h"

#define EVENTS 512
#define TICK_MS 250
#define SECOND 1000000000ull
#define HANDSHAKE_MAX (30 * SECOND)
#define ENDING_MAX (60 * SECOND) /* for the Closes of a stop */
#define BATCH 16384

static void fatal(const char *what)
{
	perror(what);
	_exit(2);
}

static void watch(int epoll, int fd, void *ptr)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = ptr};

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev))
		fatal("load: epoll_ctl");
}

static void unwatch(int epoll, int fd)
{
	epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
}

static void tell(int report, char what)
{
	if (write(report, &what, 1) != 1)
		_exit(2);
}

static void start(struct load_loop *loop, struct load_conn *conns, unsigned count)
{
	unsigned i;

	loop->started = true;
	for (i = 0; i < count; i++)
		load_conn_fill(&conns[i]);
}

static void stop(struct load_loop *loop, struct load_conn *conns, unsigned count)
{
	unsigned i;

	loop->stopping = true;
	for (i = 0; i < count; i++) {
		if (load_opening(&conns[i]))
			load_conn_drop(&conns[i], 0);
		else
			load_conn_close(&conns[i]);
	}
}

static void drop_late(struct load_conn *conns, unsigned count)
{
	uint64_t now = load_now();
	unsigned i;

	for (i = 0; i < count; i++) {
		if (load_opening(&conns[i]) && now - conns[i].since > HANDSHAKE_MAX)
			load_conn_drop(&conns[i], ETIMEDOUT);
	}
}

static bool all_done(const struct load_loop *loop, unsigned count)
{
	switch (loop->setup->mode) {
	case LOAD_RECV:
	case LOAD_ECHO:
		return loop->finished == count;
	case LOAD_SEND:
		return loop->started && !loop->alive;
	case LOAD_IDLE:
		break;
	}
	return false;
}

/* The signals are the ends of pipes: marked in epoll by their addresses in the share. */
static void turn(struct load_loop *loop, const struct load_share *share, struct load_conn *conns)
{
	struct epoll_event events[EVENTS];
	int i, n = epoll_wait(loop->epoll, events, EVENTS, TICK_MS);

	if (n < 0 && errno != EINTR)
		fatal("load: epoll_wait");
	for (i = 0; i < n; i++) {
		if (events[i].data.ptr == &share->start) {
			unwatch(loop->epoll, share->start);
			start(loop, conns, share->count);
		} else if (events[i].data.ptr == &share->stop) {
			unwatch(loop->epoll, share->stop);
			stop(loop, conns, share->count);
		} else {
			load_conn_event(events[i].data.ptr, events[i].events);
		}
	}
}

static void run(struct load_loop *loop, const struct load_share *share, struct load_conn *conns)
{
	bool ready = false, done = false;
	uint64_t swept = load_now(), ending = 0;
	unsigned next = 0;

	loop->tally->opened_from = swept;
	while (!loop->stopping || loop->alive) {
		while (!loop->stopping && next < share->count &&
			loop->opening < loop->setup->opening)
			load_open(&conns[next++]);
		turn(loop, share, conns);
		if (load_now() - swept > SECOND) {
			drop_late(conns, next);
			swept = load_now();
		}
		if (!ready && next == share->count && !loop->opening) {
			ready = true;
			tell(share->report, LOAD_READY);
		}
		if (!done && ready && all_done(loop, share->count)) {
			done = true;
			tell(share->report, LOAD_DONE);
		}
		if (loop->stopping && !ending)
			ending = load_now() + ENDING_MAX;
		if (ending && load_now() > ending)
			break;
	}
}

void load_child(const struct load_share *share)
{
	struct load_loop loop = {.setup = share->setup, .tally = share->tally};
	struct load_conn *conns = calloc(share->count, sizeof(*conns));
	unsigned i;

	loop.batch_size = share->setup->size + 2 * LOAD_HEAD;
	if (loop.batch_size < BATCH)
		loop.batch_size = BATCH;
	loop.batch = malloc(loop.batch_size);
	loop.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!conns || !loop.batch || loop.epoll < 0)
		fatal("load");
	for (i = 0; i < share->count; i++) {
		conns[i].loop = &loop;
		conns[i].fd = -1;
		conns[i].user = share->first + i * share->step;
	}
	watch(loop.epoll, share->start, (void *)(uintptr_t)&share->start);
	watch(loop.epoll, share->stop, (void *)(uintptr_t)&share->stop);
	run(&loop, share, conns);
	for (i = 0; i < share->count; i++)
		load_conn_drop(&conns[i], 0);
	close(loop.epoll);
	free(loop.batch);
	free(conns);
}
