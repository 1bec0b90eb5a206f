/*
 * The sockets of nats.c on our loop: what was written before the end is sent, whoever ends it.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "../../src/broker/engine.h"
#include "nats_rig.h"

static struct engine *engine;
static natsConnection *ours;

static bool received(void *arg)
{
	(void)arg;
	return false;
}

static natsSubscription *listen_in(struct rig *r)
{
	natsSubscription *sub;

	rig_connect(r);
	assert_int_equal(natsConnection_SubscribeSync(&sub, r->nc, "word"), NATS_OK);
	assert_int_equal(natsConnection_Flush(r->nc), NATS_OK);
	return sub;
}

static void open_ours(struct rig *r)
{
	natsOptions *o;

	engine = engine_new(r->base, received, NULL);
	assert_non_null(engine);
	assert_int_equal(natsOptions_Create(&o), NATS_OK);
	assert_int_equal(natsOptions_SetURL(o, r->config.broker.url), NATS_OK);
	assert_int_equal(engine_use(engine, 0, o), NATS_OK);
	assert_int_equal(natsConnection_Connect(&ours, o), NATS_OK);
	natsOptions_Destroy(o);
}

/* On the thread of the loop nothing is written before its turn ends. */
static void say_last(const char *text)
{
	assert_int_equal(natsConnection_PublishString(ours, "word", text), NATS_OK);
	assert_true(natsConnection_Buffered(ours) > 0);
}

static void heard(natsSubscription *sub, const char *text)
{
	natsMsg *m;

	assert_int_equal(natsSubscription_NextMsg(&m, sub, 5000), NATS_OK);
	assert_string_equal(natsMsg_GetData(m), text);
	natsMsg_Destroy(m);
	natsSubscription_Destroy(sub);
}

static void loop_ends(void **state)
{
	struct rig *r = rig_new(NULL);
	natsSubscription *sub = listen_in(r);

	(void)state;
	open_ours(r);
	say_last("of the loop");
	engine_close(engine);
	natsConnection_Destroy(ours);
	heard(sub, "of the loop");
	engine_free(engine);
	rig_free(r);
}

static void *ends(void *arg)
{
	(void)arg;
	engine_release(engine, 0);
	natsConnection_Destroy(ours);
	return NULL;
}

static void other_thread_ends(void **state)
{
	struct rig *r = rig_new(NULL);
	natsSubscription *sub = listen_in(r);
	pthread_t thread;

	(void)state;
	open_ours(r);
	say_last("of the other thread");
	assert_int_equal(pthread_create(&thread, NULL, ends, NULL), 0);
	pthread_join(thread, NULL);
	heard(sub, "of the other thread");
	engine_free(engine);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(loop_ends, rig_teardown),
		cmocka_unit_test_teardown(other_thread_ends, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
