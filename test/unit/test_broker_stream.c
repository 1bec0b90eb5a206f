/*
 * broker.h over a real nats-server: the stream, publishing, and a server that is not as it should
 * be.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../../src/broker/parts.h"
#include "nats_rig.h"

static void publishing(void **state)
{
	struct rig *r = rig_up(
		"max_payload: 65536\n"
		"authorization { users = [ { user: admin, password: pw },\n"
		"{ user: gw, password: pw, permissions: { publish: { deny: [\"ws.send.svc.bad.>\", "
		"\"ws.send.svc.bad\"] } } } ] }\n"
		"no_auth_user: gw\n");
	char *big = calloc(1, 65536);
	natsSubscription *sub;
	natsMsg *m;

	(void)state;
	assert_non_null(big);
	assert_int_equal(r->max_payload, 65536);
	assert_int_equal(natsConnection_SubscribeSync(&sub, r->nc, "ws.send.>"), NATS_OK);
	assert_int_equal(natsConnection_Flush(r->nc), NATS_OK);
	assert_int_equal(rig_publish(r, "ann", "id-1", "hello", 5), BROKER_STORED);
	assert_int_equal(natsSubscription_NextMsg(&m, sub, 2000), NATS_OK);
	{
		const char *v;

		assert_string_equal(natsMsg_GetSubject(m), "ws.send.svc.ann");
		assert_int_equal(natsMsgHeader_Get(m, "Ws-Type", &v), NATS_OK);
		assert_string_equal(v, "text");
		assert_int_equal(natsMsgHeader_Get(m, "Ws-Conn", &v), NATS_OK);
		assert_string_equal(v, "c-1");
	}
	natsMsg_Destroy(m);
	natsSubscription_Destroy(sub);
	assert_int_equal(rig_publish(r, "ann", "id-1", "hello", 5), BROKER_DUPLICATE);
	assert_int_equal(rig_publish(r, "ann", "id-2", big, 65536), BROKER_TOO_LARGE);
	assert_int_equal(rig_publish(r, "ann", "id-3", big, 65536 - 200), BROKER_STORED);
	assert_int_equal(rig_publish(r, "bad", "id-4", "x", 1), BROKER_FORBIDDEN);
	assert_int_equal(rig_publish(r, "ann", "id-5", "", 0), BROKER_STORED);
	assert_true(rig_logged("does not let this user"));
	rig_server_kill(&r->server, SIGKILL);
	assert_int_equal(rig_publish(r, "ann", "id-6", "x", 1), BROKER_AGAIN);
	rig_until(r, r->losts == 1);
	assert_int_equal(rig_publish(r, "ann", "id-6", "x", 1), BROKER_AGAIN);
	free(big);
	rig_free(r);
}

/* Services answer where they should not; the stream has the word. */
static void answer(natsConnection *nc, natsSubscription *sub, natsMsg *m, void *arg)
{
	(void)sub;
	(void)arg;
	natsConnection_PublishString(nc, natsMsg_GetReply(m), "thanks!");
	natsConnection_PublishString(nc, natsMsg_GetReply(m), "{\"seq\":7}");
	natsConnection_Flush(nc);
	natsMsg_Destroy(m);
}

static void service_answers(void **state)
{
	struct rig *r = rig_up(NULL);
	natsSubscription *sub;

	(void)state;
	assert_int_equal(natsConnection_Subscribe(&sub, r->nc, "ws.send.>", answer, NULL), NATS_OK);
	assert_int_equal(natsConnection_Flush(r->nc), NATS_OK);
	for (int i = 0; i < 20; i++) {
		char id[16];

		snprintf(id, sizeof(id), "id-%d", i);
		assert_int_equal(rig_publish(r, "ann", id, "x", 1), BROKER_STORED);
	}
	assert_int_equal(rig_stored(r), 20);
	natsSubscription_Destroy(sub);
	rig_free(r);
}

#define CONFIG_OF_OURS                                                                             \
	"{\"name\":\"websockets\",\"subjects\":[\"ws.>\"],\"retention\":\"workqueue\","            \
	"\"storage\":\"file\","                                                                    \
	"\"num_replicas\":1,\"discard\":\"new\",\"allow_direct\":true,"                            \
	"\"republish\":{\"src\":\"ws.recv.>\",\"dest\":\"wslive.>\"}"

static void stream_full(void **state)
{
	struct rig *r = rig_new(NULL);
	char *reply;

	(void)state;
	rig_connect(r);
	free(rig_api(r, "$JS.API.STREAM.CREATE.websockets",
		CONFIG_OF_OURS ",\"max_msgs\":3,\"max_msg_size\":1000}"));
	rig_start(r);
	rig_until(r, r->connects == 1);
	{
		char big[2000] = {0};

		assert_int_equal(rig_publish(r, "ann", "big", big, sizeof(big)), BROKER_TOO_LARGE);
	}
	assert_int_equal(rig_publish(r, "ann", "1", "x", 1), BROKER_STORED);
	assert_int_equal(rig_publish(r, "ann", "2", "x", 1), BROKER_STORED);
	assert_int_equal(rig_publish(r, "ann", "3", "x", 1), BROKER_STORED);
	assert_int_equal(rig_publish(r, "ann", "4", "x", 1), BROKER_FULL);
	rig_purge(r);
	assert_int_equal(rig_publish(r, "ann", "4", "x", 1), BROKER_STORED);
	/* The limit that was there stays, and what was there was not taken for nothing. */
	reply = rig_api(r, "$JS.API.STREAM.INFO.websockets", "");
	assert_non_null(strstr(reply, "\"max_msgs\":3"));
	free(reply);
	assert_int_equal(rig_publish(r, "ann", "5", "x", 1), BROKER_STORED);
	assert_int_equal(rig_publish(r, "ann", "6", "x", 1), BROKER_STORED);
	rig_stop(r);
	rig_log_forget(); /* a refusal makes it look, too */
	rig_start(r);
	rig_until(r, rig_logged("filling up") && rig_logged("subject=ws.send.svc.ann messages=3"));
	rig_free(r);
}

static void full_for_one_user(void **state)
{
	struct rig *r = rig_new(NULL);

	(void)state;
	r->config.stream.max_messages_per_user = 2;
	rig_start(r);
	rig_until(r, r->connects == 1);
	rig_connect(r);
	assert_int_equal(rig_publish(r, "ann", "1", "x", 1), BROKER_STORED);
	assert_int_equal(rig_publish(r, "ann", "2", "x", 1), BROKER_STORED);
	assert_int_equal(rig_publish(r, "ann", "3", "x", 1), BROKER_USER_FULL);
	assert_int_equal(rig_publish(r, "bob", "4", "x", 1), BROKER_STORED);
	rig_free(r);
}

static void server_comes_late(void **state)
{
	struct rig *r = rig_new(NULL);
	struct rig_queue *q;
	uint64_t since;

	(void)state;
	rig_server_kill(&r->server, SIGKILL);
	rig_start(r);
	q = rig_open(r, "ann", 0, 0);
	rig_until(r, rig_logged("cannot connect to the broker"));
	assert_int_equal(rig_publish(r, "ann", "1", "x", 1), BROKER_AGAIN);
	rig_server_start(&r->server);
	rig_connect(r);
	since = rig_now();
	rig_until(r, r->connects == 1);
	assert_true(rig_now() - since < 2000);
	rig_send(r, "ann", "0", NULL);
	rig_until(r, q->n == 1);
	rig_close(q);
	rig_free(r);
}

static void no_jetstream(void **state)
{
	struct rig *r = rig_new(NULL);

	(void)state;
	rig_server_kill(&r->server, SIGKILL);
	r->server.no_jetstream = true;
	rig_server_start(&r->server);
	rig_start(r);
	rig_until(r, rig_logged("no JetStream"));
	assert_int_equal(r->connects, 0);
	rig_server_kill(&r->server, SIGKILL);
	r->server.no_jetstream = false;
	rig_server_start(&r->server);
	rig_until(r, r->connects == 1);
	assert_int_equal(r->refusals, 0);
	rig_free(r);
}

static void refuse(struct rig *r, const char *config, const char *why)
{
	int before = r->refusals;

	free(rig_api(r, "$JS.API.STREAM.CREATE.websockets", config));
	rig_start(r);
	rig_until(r, r->refusals > before);
	if (!strstr(r->refused, why))
		fail_msg("%s: not in: %s", why, r->refused);
	assert_int_equal(r->connects, 0);
	rig_stop(r);
	free(rig_api(r, "$JS.API.STREAM.DELETE.websockets", ""));
}

static void foreign_streams_are_refused(void **state)
{
	struct rig *r = rig_new(NULL);

	(void)state;
	rig_connect(r);
	refuse(r,
		"{\"name\":\"websockets\",\"subjects\":[\"ws.>\"],\"retention\":\"workqueue\","
		"\"storage\":\"file\","
		"\"num_replicas\":1}",
		"no republish");
	refuse(r,
		"{\"name\":\"websockets\",\"subjects\":[\"ws.>\"],\"retention\":\"limits\","
		"\"storage\":\"file\","
		"\"num_replicas\":1}",
		"no work queue");
	refuse(r,
		"{\"name\":\"websockets\",\"subjects\":[\"orders.>\"],\"retention\":\"workqueue\","
		"\"storage\":\"file\",\"num_replicas\":1}",
		"does not have the subjects");
	refuse(r,
		"{\"name\":\"websockets\",\"subjects\":[\"ws.>\"],\"retention\":\"workqueue\","
		"\"storage\":\"file\","
		"\"num_replicas\":1,\"republish\":{\"src\":\"ws.>\",\"dest\":\"copy.>\"}}",
		"republishes something else");
	free(rig_api(r, "$JS.API.STREAM.CREATE.other",
		"{\"name\":\"other\",\"subjects\":[\"ws.>\"],\"retention\":\"workqueue\","
		"\"storage\":\"file\","
		"\"num_replicas\":1}"));
	rig_start(r);
	rig_until(r, strstr(r->refused, "another stream"));
	rig_free(r);
}

static void stream_is_brought_up_to_date(void **state)
{
	struct rig *r = rig_new(NULL);
	char *reply;

	(void)state;
	rig_connect(r);
	free(rig_api(r, "$JS.API.STREAM.CREATE.websockets",
		"{\"name\":\"websockets\",\"subjects\":[\"ws.>\",\"more.>\"],\"retention\":"
		"\"workqueue\","
		"\"storage\":\"memory\",\"no_ack\":true,\"num_replicas\":1,\"description\":"
		"\"mine\",\"max_age\":"
		"3600000000000,"
		"\"duplicate_window\":1000000000,\"max_bytes\":5000000,"
		"\"republish\":{\"src\":\"ws.recv.>\",\"dest\":\"wslive.>\"}}"));
	free(rig_api(r, "$JS.API.CONSUMER.DURABLE.CREATE.websockets.thief",
		"{\"stream_name\":\"websockets\",\"config\":{\"durable_name\":\"thief\",\"ack_"
		"policy\":\"explicit\","
		"\"filter_subject\":\"ws.recv.svc.>\"}}"));
	r->config.stream.max_bytes = 1000000;
	rig_start(r);
	rig_until(r, r->connects == 1);
	reply = rig_api(r, "$JS.API.STREAM.INFO.websockets", "");
	assert_non_null(strstr(reply, "\"allow_direct\":true"));
	assert_non_null(strstr(reply, "\"discard\":\"new\""));
	assert_null(strstr(reply, "\"no_ack\":true"));
	assert_true(rig_logged("the stream is kept in memory"));
	assert_non_null(strstr(reply, "\"more.\\u003e\""));
	assert_non_null(strstr(reply, "\"description\":\"mine\""));
	assert_non_null(strstr(reply, "\"max_bytes\":5000000"));
	assert_non_null(strstr(reply, "\"max_age\":604800000000000"));
	assert_non_null(strstr(reply, "\"duplicate_window\":60000000000"));
	free(reply);
	assert_true(rig_logged("thief"));
	rig_free(r);
}

/* A permission that is missing is named; so large a message is set aside without its payload. */
static void permissions(void **state)
{
	struct rig *r = rig_up("max_payload: 4096\n"
			       "authorization { users = [ { user: admin, password: pw },\n"
			       "{ user: gw, password: pw, permissions: { publish: { deny: "
			       "[\"wsdead.svc.eve\"] },\n"
			       "subscribe: { deny: [\"wslive.svc.bad\"] } } } ] }\n"
			       "no_auth_user: gw\n");
	struct rig_queue *q, *eve;
	natsSubscription *sub;
	char big[4080];
	natsMsg *m;
	const char *v;

	(void)state;
	q = rig_open(r, "bad", 0, 0);
	rig_until(r, rig_logged("Subscription to \\\"wslive.svc.bad"));
	rig_close(q);
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	q = rig_open(r, "ann", 0, 0);
	eve = rig_open(r, "eve", 0, 0);
	q->aside = eve->aside = true;
	assert_int_equal(natsConnection_SubscribeSync(&sub, r->nc, "wsdead.>"), NATS_OK);
	assert_int_equal(natsConnection_Flush(r->nc), NATS_OK);
	free(rig_api(r, "$JS.API.STREAM.CREATE.dead",
		"{\"name\":\"dead\",\"subjects\":[\"wsdead.>\"],\"retention\":\"limits\","
		"\"storage\":\"file\","
		"\"num_replicas\":1}"));
	rig_send(r, "ann", big, NULL);
	rig_until(r, q->n == 1 && rig_stored(r) == 0);
	assert_int_equal(natsSubscription_NextMsg(&m, sub, 2000), NATS_OK);
	assert_int_equal(natsMsg_GetDataLength(m), 0);
	assert_int_equal(natsMsgHeader_Get(m, "Ws-Dropped", &v), NATS_OK);
	assert_string_equal(v, "4079");
	natsMsg_Destroy(m);
	natsSubscription_Destroy(sub);
	rig_send(r, "eve", "x", NULL);
	rig_until(r, eve->n == 1 && rig_logged("could not be set aside"));
	assert_int_equal(rig_stored(r), 1);
	rig_close(q);
	rig_close(eve);
	rig_free(r);
}

/* What wsgate(7) asks for is enough. */
static void least_permissions(void **state)
{
	struct rig *r = rig_up(
		"authorization { users = [ { user: admin, password: pw },\n"
		"{ user: gw, password: pw, permissions: { publish: [ \"ws.send.>\", \"wsdead.>\", "
		"\"wsauth.>\", \"wslive.>\", \"wsgate.beat\",\n"
		"\"$JS.API.STREAM.INFO.websockets\", \"$JS.API.STREAM.CREATE.websockets\",\n"
		"\"$JS.API.STREAM.UPDATE.websockets\", \"$JS.API.STREAM.MSG.DELETE.websockets\",\n"
		"\"$JS.API.DIRECT.GET.websockets\", \"$JS.API.STREAM.MSG.GET.websockets\",\n"
		"\"$JS.API.CONSUMER.LIST.websockets\", \"$JS.API.STREAM.NAMES\" ],\n"
		"subscribe: [ \"wslive.>\", \"wsgate.beat\", \"_INBOX.>\",\n"
		"\"$JS.EVENT.ADVISORY.STREAM.*.websockets\" ] } } ] }\n"
		"no_auth_user: gw\n");
	struct rig_queue *q;

	(void)state;
	rig_send(r, "ann", "0", NULL);
	q = rig_open(r, "ann", 0, 0);
	rig_until(r, q->n == 1);
	q->aside = true;
	rig_send(r, "ann", "1", NULL);
	rig_until(r, q->n == 2);
	broker_queue_confirm(q->q, q->seq[0]);
	rig_until(r, rig_stored(r) == 0);
	assert_int_equal(rig_publish(r, "ann", "id-1", "x", 1), BROKER_STORED);
	rig_close(q);
	assert_true(broker_ask(r->broker, "a.b", 3, "{}", 5000, r));
	rig_until(r, r->answered == 1);
	assert_int_equal(r->answer, BROKER_NOBODY);
	assert_ptr_equal(r->answer_tag, r);
	assert_true(rig_logged("wsauth.a%2Eb"));
	assert_false(rig_logged("does not let"));
	rig_free(r);
}

/* Two streams in one process: what becomes of one is no affair of the other. */
static void two_streams(void **state)
{
	static char svc[] = "svc", other[] = "other", one_name[] = "one", two_name[] = "two",
		    *svcs[] = {svc}, *others[] = {other};
	struct config_stream streams[2];
	struct rig *r = rig_new(""), *two;
	struct rig_queue *q;

	(void)state;
	streams[0] = streams[1] = r->config.stream;
	streams[0].name = one_name;
	streams[0].services = (struct strlist){1, svcs};
	streams[1].name = two_name;
	streams[1].services = (struct strlist){1, others};
	r->config.streams = streams;
	r->config.nstreams = 2;
	rig_start(r);
	two = rig_beside(r, 1);
	rig_connect(r);
	rig_until(r, broker_connected(r->broker) && broker_connected(two->broker));
	assert_int_not_equal(r->created, two->created);
	q = rig_open(r, "ann", 0, 0);
	rig_send(r, "ann", "0", NULL);
	rig_until(r, q->n == 1);
	free(rig_api(r, "$JS.API.STREAM.DELETE.two", ""));
	rig_until(r, two->losts == 1);
	rig_send(r, "ann", "1", NULL);
	rig_until(r, q->n == 2 && two->connects == 2);
	assert_int_equal(r->losts, 0);
	assert_int_equal(rig_publish(r, "ann", "id-1", "x", 1), BROKER_STORED);
	/* Late words of what has ended find nobody. */
	rig_beside_free(two);
	rig_send(r, "ann", "2", NULL);
	rig_until(r, q->n == 3);
	assert_true(rig_logged("stream=two"));
	rig_close(q);
	rig_free(r);
}

struct tail {
	struct rig *r;
	pthread_t thread;
	_Atomic int ready, n;
	char text[32], user[32];
	int stop, end;
};

static void tail_ready(void *arg)
{
	((struct tail *)arg)->ready = 1;
}

static int tail_message(const struct broker_tail_message *m, void *arg)
{
	struct tail *t = arg;

	snprintf(t->text, sizeof(t->text), "%.*s", (int)m->len, (const char *)m->data);
	snprintf(t->user, sizeof(t->user), "%.*s", (int)m->id.user_len, m->id.user);
	t->n++;
	return strcmp(m->conn, "c-1") == 0 && m->text ? t->n == 2 : 1;
}

static void *tail_main(void *arg)
{
	struct tail *t = arg;
	char err[256];

	t->end = broker_tail(
		&t->r->config, "svc", 3, tail_ready, tail_message, t, &t->stop, err, sizeof(err));
	return NULL;
}

/* What wsgatectl does. */
static void send_and_tail(void **state)
{
	struct rig *r = rig_up(NULL);
	struct identity id = {"svc", "a.b", 3, 3};
	struct rig_queue *q = rig_open(r, "a.b", 0, 0);
	struct tail t = {.r = r};
	uint64_t seq = 0;
	char err[256];

	(void)state;
	assert_int_equal(
		broker_send(&r->config, &id, BROKER_TEXT_BINARY, "0", 1, &seq, err, sizeof(err)),
		0);
	assert_int_equal(seq, 1);
	rig_until(r, q->n == 1);
	assert_int_equal(q->kind[0], BROKER_TEXT_BINARY);
	rig_close(q);
	assert_int_equal(pthread_create(&t.thread, NULL, tail_main, &t), 0);
	rig_until(r, t.ready);
	assert_int_equal(rig_publish(r, "a.b", "id-1", "hello", 5), BROKER_STORED);
	assert_int_equal(rig_publish(r, "a.b", "id-2", "again", 5), BROKER_STORED);
	assert_int_equal(pthread_join(t.thread, NULL), 0);
	assert_int_equal(t.end, 0);
	assert_int_equal(t.n, 2);
	assert_string_equal(t.text, "again");
	assert_string_equal(t.user, "a.b");
	rig_server_kill(&r->server, SIGKILL);
	assert_int_equal(
		broker_send(&r->config, &id, BROKER_TEXT_BINARY, "0", 1, &seq, err, sizeof(err)),
		-1);
	assert_non_null(strstr(err, "cannot connect"));
	rig_free(r);
}

/* Nothing goes to those of old once the others were named; and it may change its mind. */
static void other_servers(void **state)
{
	struct rig *r = rig_up(NULL);
	struct rig_queue *q = rig_open(r, "ann", 0, 0);

	(void)state;
	rig_go_to(r, "127.0.0.1", 1);
	assert_false(broker_connected(r->broker));
	assert_int_equal(r->losts, 1);
	rig_go_to(r, "127.0.0.1", r->server.port);
	assert_int_equal(r->losts, 1);
	rig_until(r, r->connects == 2);
	assert_true(broker_connected(r->broker));
	rig_send_many(r, "ann", 0, 10);
	rig_until(r, q->n == 10);
	rig_close(q);
	rig_free(r);
}

/* A session that was under way to them does not begin any more. */
static void other_servers_meanwhile(void **state)
{
	struct rig *r = rig_new(NULL);

	(void)state;
	rig_connect(r);
	rig_hold_up = 1;
	rig_start(r);
	rig_until(r, rig_held_up());
	rig_go_to(r, "127.0.0.1", 1);
	rig_let_up();
	rig_quiet(r, 500);
	assert_int_equal(r->connects, 0);
	rig_go_to(r, "127.0.0.1", r->server.port);
	rig_until(r, r->connects == 1);
	rig_free(r);
}

/* What the server says of a publish: whether it may be tried again, as it is. */
static void answers(void **state)
{
	static const struct {
		const char *error;
		enum broker_result result;
	} rows[] = {
		{"{\"code\":503,\"err_code\":10008}", BROKER_AGAIN},
		{"{\"code\":400,\"err_code\":10054}", BROKER_TOO_LARGE},
		{"{\"code\":503,\"err_code\":10077}", BROKER_FULL},
		{"{\"code\":503,\"err_code\":10077,\"description\":\"maximum bytes exceeded\"}",
			BROKER_FULL},
		{"{\"code\":503,\"err_code\":10077,\"description\":\"store is closed\"}",
			BROKER_AGAIN}, /* the server ends */
		{"{\"code\":409,\"err_code\":10158}",
			BROKER_AGAIN}, /* the first one is under way */
		{"{\"code\":429,\"err_code\":10167}", BROKER_AGAIN},
		{"{\"code\":400,\"err_code\":10052}", BROKER_FORBIDDEN},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum broker_result r;
		const char *why;
		json_t *doc = json_pack("{s:s,s:o}", "stream", "websockets", "error",
			json_loads(rows[i].error, 0, NULL));

		assert_true(npublish_result(doc, 0, "websockets", &r, &why));
		assert_int_equal(r, rows[i].result);
		json_decref(doc);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test_teardown(publishing, rig_teardown),
		cmocka_unit_test_teardown(service_answers, rig_teardown),
		cmocka_unit_test_teardown(stream_full, rig_teardown),
		cmocka_unit_test_teardown(full_for_one_user, rig_teardown),
		cmocka_unit_test_teardown(server_comes_late, rig_teardown),
		cmocka_unit_test_teardown(no_jetstream, rig_teardown),
		cmocka_unit_test_teardown(foreign_streams_are_refused, rig_teardown),
		cmocka_unit_test_teardown(stream_is_brought_up_to_date, rig_teardown),
		cmocka_unit_test_teardown(permissions, rig_teardown),
		cmocka_unit_test_teardown(least_permissions, rig_teardown),
		cmocka_unit_test_teardown(two_streams, rig_teardown),
		cmocka_unit_test_teardown(other_servers, rig_teardown),
		cmocka_unit_test_teardown(other_servers_meanwhile, rig_teardown),
		cmocka_unit_test_teardown(send_and_tail, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
