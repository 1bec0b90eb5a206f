/*
 * The sockets of nats.c on our loop: what was written before the end is sent, whoever ends it.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
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

static void begin(struct rig *r)
{
	engine = engine_new(r->base, received, NULL);
	assert_non_null(engine);
}

static natsStatus connect_ours(struct rig *r)
{
	natsOptions *o;
	natsStatus s;

	assert_int_equal(natsOptions_Create(&o), NATS_OK);
	assert_int_equal(natsOptions_SetURL(o, r->config.broker.url), NATS_OK);
	assert_int_equal(engine_use(engine, 0, o), NATS_OK);
	s = natsConnection_Connect(&ours, o);
	natsOptions_Destroy(o);
	return s;
}

static void open_ours(struct rig *r)
{
	begin(r);
	assert_int_equal(connect_ours(r), NATS_OK);
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

/* A server that is slow: it reads what was said when the connection has ended. */
struct slow {
	int listener, fd;
	uint16_t port;
	char text[4096];
	ssize_t last; /* what the last reading said: 0, the end */
};

static void slow_says(const struct slow *s, const char *text)
{
	assert_int_equal(send(s->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void *slow_begins(void *arg)
{
	struct slow *s = arg;
	char text[4096] = "";
	size_t n = 0;

	s->fd = accept(s->listener, NULL, NULL);
	slow_says(s, "INFO {\"server_id\":\"x\",\"version\":\"2.9.10\",\"headers\":true,"
		     "\"max_payload\":1048576,\"proto\":1}\r\n");
	while (!strstr(text, "PING\r\n")) {
		ssize_t got = recv(s->fd, text + n, sizeof(text) - 1 - n, 0);

		assert_true(got > 0);
		n += (size_t)got;
	}
	slow_says(s, "PONG\r\n");
	return NULL;
}

/* Not before there is the end, good or bad: a reset has thrown away what was there. */
static void *slow_reads(void *arg)
{
	struct slow *s = arg;
	struct pollfd p = {.fd = s->fd, .events = POLLRDHUP};
	size_t n = 0;

	assert_int_equal(poll(&p, 1, 5000), 1);
	while ((s->last = recv(s->fd, s->text + n, sizeof(s->text) - 1 - n, 0)) > 0)
		n += (size_t)s->last;
	close(s->fd);
	return NULL;
}

static void slow_listen(struct slow *s)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);

	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->listener, (struct sockaddr *)&a, len), 0);
	assert_int_equal(listen(s->listener, 1), 0);
	assert_int_equal(getsockname(s->listener, (struct sockaddr *)&a, &len), 0);
	s->port = ntohs(a.sin_port);
}

static void unread_is_no_reset(void **state)
{
	struct rig *r = rig_new(NULL);
	struct slow s = {.last = -1};
	pthread_t thread;

	(void)state;
	slow_listen(&s);
	rig_broker_at(r, "127.0.0.1", s.port);
	assert_int_equal(pthread_create(&thread, NULL, slow_begins, &s), 0);
	open_ours(r);
	pthread_join(thread, NULL);
	slow_says(&s, "PING\r\nPING\r\n"); /* nobody reads it */
	say_last("of who stops");
	assert_int_equal(pthread_create(&thread, NULL, slow_reads, &s), 0);
	engine_close(engine);
	pthread_join(thread, NULL);
	natsConnection_Destroy(ours);
	assert_int_equal(s.last, 0);
	assert_non_null(strstr(s.text, "of who stops"));
	close(s.listener);
	engine_free(engine);
	rig_free(r);
}

static void nothing_begins_after_the_end(void **state)
{
	struct rig *r = rig_new(NULL);

	(void)state;
	rig_connect(r); /* the server is there */
	begin(r);
	engine_close(engine);
	assert_int_not_equal(connect_ours(r), NATS_OK);
	engine_free(engine);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(loop_ends, rig_teardown),
		cmocka_unit_test_teardown(other_thread_ends, rig_teardown),
		cmocka_unit_test_teardown(unread_is_no_reset, rig_teardown),
		cmocka_unit_test_teardown(nothing_begins_after_the_end, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
