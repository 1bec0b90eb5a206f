/*
 * carrier: see carrier.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "carrier_parts.h"

#define RETRY_MIN_MS 100
#define RETRY_SPREAD_MS 200
#define LAST_WORDS_MS 200
#define MEASURE_SECONDS 5

/* Late callbacks of nats.c find the carrier here, or find it gone. */
static struct {
	pthread_mutex_t mu; /* before a carrier's own */
	struct carrier *carriers;
	uint64_t attempts; /* never the same number twice in a process */
} desk = {.mu = PTHREAD_MUTEX_INITIALIZER};

void carrier_on_closed(natsConnection *nc, void *closure)
{
	(void)nc;
	pthread_mutex_lock(&desk.mu);
	for (struct carrier *k = desk.carriers; k; k = k->next) {
		pthread_mutex_lock(&k->mu);
		if (k->attempt == (uint64_t)(uintptr_t)closure) {
			k->lost = true;
			pthread_cond_broadcast(&k->cond);
		}
		pthread_mutex_unlock(&k->mu);
	}
	pthread_mutex_unlock(&desk.mu);
}

uint64_t carrier_new_attempt(struct carrier *k)
{
	uint64_t attempt;

	pthread_mutex_lock(&desk.mu);
	pthread_mutex_lock(&k->mu);
	attempt = k->attempt = ++desk.attempts;
	k->lost = k->given_back = false;
	pthread_mutex_unlock(&k->mu);
	pthread_mutex_unlock(&desk.mu);
	return attempt;
}

static void sleep_ms(struct carrier *k, unsigned ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)ms * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_mutex_lock(&k->mu);
	while (!k->quit && !k->fresh && pthread_cond_timedwait(&k->cond, &k->mu, &until) == 0)
		;
	pthread_mutex_unlock(&k->mu);
}

/* False: the session is with servers of old. */
static bool take_settings(struct carrier *k)
{
	struct settings next;
	uint32_t era = k->era;

	pthread_mutex_lock(&k->mu);
	if (!k->fresh) {
		pthread_mutex_unlock(&k->mu);
		return true;
	}
	next = k->next_settings;
	k->era = k->next_era;
	k->fresh = false;
	pthread_mutex_unlock(&k->mu);
	settings_free(&k->settings);
	k->settings = next;
	hookup_news();
	return k->era == era;
}

/* Until there is something to do; in a direct session also to measure now and then. */
static bool await_work(struct carrier *k)
{
	struct timespec until;

	if (!k->direct) {
		pthread_cond_wait(&k->cond, &k->mu);
		return true;
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += MEASURE_SECONDS;
	return pthread_cond_timedwait(&k->cond, &k->mu, &until) == 0;
}

/* Trap: with something unread in a socket its close resets the connection, and the server drops
 * what it has not read: it answers first. The engine sees to that in a direct session. */
static void last_words(struct carrier *k, struct command *list)
{
	if (!errand_run(k, list))
		return;
	for (int i = 0; i < NCONN; i++)
		(void)natsConnection_FlushTimeout(k->nc[i], LAST_WORDS_MS);
}

static void run_session(struct carrier *k)
{
	struct command *list;
	bool last;

	pthread_mutex_lock(&k->mu);
	while (!k->quit && !k->lost) {
		if (k->fresh) {
			pthread_mutex_unlock(&k->mu);
			if (!take_settings(k))
				return;
			hookup_check_again(k);
			pthread_mutex_lock(&k->mu);
			continue;
		}
		if (!k->first) {
			if (!await_work(k)) {
				pthread_mutex_unlock(&k->mu);
				errand_measure(k);
				pthread_mutex_lock(&k->mu);
			}
			continue;
		}
		list = k->first;
		k->first = k->last = NULL;
		pthread_mutex_unlock(&k->mu);
		if (!errand_run(k, list)) {
			pthread_mutex_lock(&k->mu);
			break;
		}
		pthread_mutex_lock(&k->mu);
	}
	last = k->quit && !k->lost && !k->direct;
	list = last ? k->first : NULL;
	if (list)
		k->first = k->last = NULL;
	pthread_mutex_unlock(&k->mu);
	if (last)
		last_words(k, list);
}

static bool must_quit(struct carrier *k)
{
	bool quit;

	pthread_mutex_lock(&k->mu);
	quit = k->quit;
	pthread_mutex_unlock(&k->mu);
	return quit;
}

/* The loop may be about to use it. */
static void await_return(struct carrier *k)
{
	pthread_mutex_lock(&k->mu);
	while (k->direct && !k->quit && !k->given_back)
		pthread_cond_wait(&k->cond, &k->mu);
	pthread_mutex_unlock(&k->mu);
}

static void *carrier_main(void *arg)
{
	struct carrier *k = arg;
	unsigned wait;

	while (!must_quit(k)) {
		wait = RETRY_MIN_MS + (unsigned)rand_r(&k->seed) % RETRY_SPREAD_MS;
		(void)take_settings(k);
		if (hookup_open(k, &wait)) {
			run_session(k);
			wire_post(k->down);
			k->down = NULL;
			await_return(k);
		}
		hookup_close(k);
		sleep_ms(k, wait);
	}
	nats_ReleaseThreadMemory();
	pthread_mutex_lock(&k->mu);
	k->ended = true;
	pthread_cond_broadcast(&k->cond);
	pthread_mutex_unlock(&k->mu);
	return NULL;
}

/* ---- the loop's side ---- */

void carrier_do(struct carrier *k, const struct command *cmd)
{
	bool urgent;
	natsStatus s = errand_run_one(k, cmd, &urgent);

	if (s == NATS_OK)
		return;
	log_debug("the connection to the broker failed", kv_str("why", natsStatus_GetText(s)));
	carrier_break(k);
}

void carrier_receive(struct carrier *k, void (*fn)(void *arg, struct wire_event *e), void *arg)
{
	for (int r = WIRE_GETS; r < WIRE_REPLIES; r++) {
		struct wire_event *e;
		natsMsg *msg;
		natsStatus s;

		while ((s = natsSubscription_NextMsg(&msg, k->replies[r], 0)) == NATS_OK ||
			s == NATS_NO_RESPONDERS) {
			e = s == NATS_OK
				    ? hookup_message(k->wire, WIRE_REPLY, msg, hookup_token(msg))
				    : wire_event_new(k->wire, WIRE_NOBODY, NULL);
			if (!e)
				continue; /* it times out */
			if (s != NATS_OK)
				e->key = (uint64_t)r;
			fn(arg, e);
		}
	}
}

void carrier_give_back(struct carrier *k)
{
	pthread_mutex_lock(&k->mu);
	k->given_back = true;
	pthread_cond_broadcast(&k->cond);
	pthread_mutex_unlock(&k->mu);
}

void carrier_send(struct carrier *k, struct command *first, struct command *last)
{
	pthread_mutex_lock(&k->mu);
	if (k->last)
		k->last->next = first;
	else
		k->first = first;
	k->last = last;
	pthread_cond_broadcast(&k->cond);
	pthread_mutex_unlock(&k->mu);
}

void carrier_break(struct carrier *k)
{
	pthread_mutex_lock(&k->mu);
	k->lost = true;
	pthread_cond_broadcast(&k->cond);
	pthread_mutex_unlock(&k->mu);
}

void carrier_reconfigure(struct carrier *k, struct settings *s, uint32_t era)
{
	pthread_mutex_lock(&k->mu);
	if (k->fresh)
		settings_free(&k->next_settings);
	k->next_settings = *s;
	k->next_era = era;
	k->fresh = true;
	pthread_cond_broadcast(&k->cond);
	pthread_mutex_unlock(&k->mu);
}

uint64_t carrier_rtt(const struct carrier *k)
{
	return atomic_load(&k->rtt_us);
}

bool carrier_is_full(struct carrier *k)
{
	return k->engine && engine_is_full(k->engine, MAIN);
}

static void desk_join(struct carrier *k)
{
	pthread_mutex_lock(&desk.mu);
	k->next = desk.carriers;
	desk.carriers = k;
	pthread_mutex_unlock(&desk.mu);
}

/* From here on nobody calls back. */
static void desk_leave(struct carrier *k)
{
	struct carrier **at = &desk.carriers;

	pthread_mutex_lock(&desk.mu);
	while (*at != k)
		at = &(*at)->next;
	*at = k->next;
	pthread_mutex_unlock(&desk.mu);
}

static void carrier_free(struct carrier *k)
{
	pthread_mutex_destroy(&k->mu);
	pthread_cond_destroy(&k->cond);
	settings_free(&k->settings);
	free(k);
}

struct carrier *carrier_start(const struct config *c, size_t stream, unsigned wire,
	const char *inbox, struct engine *engine)
{
	struct carrier *k = calloc(1, sizeof(*k));
	pthread_condattr_t monotonic; /* a wall clock may be set back by hours */
	struct timespec now;
	int err;

	if (!k)
		return NULL;
	if (settings_copy(&k->settings, c, stream) < 0) {
		free(k);
		return NULL;
	}
	pthread_mutex_init(&k->mu, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&k->cond, &monotonic);
	pthread_condattr_destroy(&monotonic);
	clock_gettime(CLOCK_MONOTONIC, &now);
	k->seed = (unsigned)now.tv_nsec;
	k->wire = wire;
	k->engine = engine;
	snprintf(k->inbox, sizeof(k->inbox), "%s", inbox);
	snprintf(k->delete_subject, sizeof(k->delete_subject), "$JS.API.STREAM.MSG.DELETE.%s",
		k->settings.stream);
	desk_join(k);
	err = pthread_create(&k->thread, NULL, carrier_main, k);
	if (err != 0) {
		desk_leave(k);
		carrier_free(k);
		errno = err;
		return NULL;
	}
	return k;
}

void carrier_quit(struct carrier *k)
{
	if (k->quit)
		return;
	desk_leave(k);
	engine_close(k->engine); /* what the thread waits for comes by this one */
	pthread_mutex_lock(&k->mu);
	k->quit = true;
	pthread_cond_broadcast(&k->cond);
	pthread_mutex_unlock(&k->mu);
}

bool carrier_ended(struct carrier *k, uint64_t until_ms)
{
	const struct timespec until = {
		(time_t)(until_ms / 1000), (long)(until_ms % 1000) * 1000000L};
	bool ended;

	pthread_mutex_lock(&k->mu);
	while (!k->ended && pthread_cond_timedwait(&k->cond, &k->mu, &until) == 0)
		;
	ended = k->ended;
	pthread_mutex_unlock(&k->mu);
	return ended;
}

void carrier_stop(struct carrier *k)
{
	carrier_quit(k);
	pthread_join(k->thread, NULL);
	errand_drop(k->first);
	if (k->fresh)
		settings_free(&k->next_settings);
	carrier_free(k);
}
