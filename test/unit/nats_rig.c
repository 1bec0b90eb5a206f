/*
 * nats_rig: see nats_rig.h. Each server has a port and a store of its own and is killed by its pid.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <execinfo.h>
#include <event2/event.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <wsgate/log.h>
#include "../../src/broker/wire.h"
#include "nats_rig.h"

#define SERVICE "svc"

_Atomic int rig_deaf;
_Atomic int rig_hold_up;
static struct wire_event *_Atomic held_up;
static char log_path[96];
static struct rig *present;

void __real_wire_post(struct wire_event *e);
void __wrap_wire_post(struct wire_event *e);
void __wrap_wire_post(struct wire_event *e)
{
	if (e->kind == WIRE_LIVE && rig_deaf)
		wire_event_free(e);
	else if (e->kind == WIRE_UP && rig_hold_up && !held_up)
		held_up = e;
	else
		__real_wire_post(e);
}

bool rig_held_up(void)
{
	return held_up;
}

void rig_let_up(void)
{
	rig_hold_up = 0;
	__real_wire_post(held_up);
	held_up = NULL;
}

uint64_t rig_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- the server ---- */

static int free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	close(fd);
	return ntohs(a.sin_port);
}

static void write_config(const struct rig_server *s)
{
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "%s/conf", s->dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "host: 127.0.0.1\nport: %d\n", s->port);
	if (!s->no_jetstream)
		fprintf(f, "jetstream { store_dir: \"%s/js\" }\n", s->dir);
	fprintf(f, "%s\n", s->extra);
	assert_int_equal(fclose(f), 0);
}

void rig_server_start(struct rig_server *s)
{
	char conf[96], log[96];

	write_config(s);
	snprintf(conf, sizeof(conf), "%s/conf", s->dir);
	snprintf(log, sizeof(log), "%s/log", s->dir);
	s->pid = fork();
	assert_true(s->pid >= 0);
	if (s->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("nats-server", "nats-server", "-c", conf, "-l", log, (char *)NULL);
		_exit(127);
	}
}

void rig_server_kill(struct rig_server *s, int sig)
{
	if (s->pid == 0)
		return;
	kill(s->pid, sig);
	while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
		;
	s->pid = 0;
}

/* ---- events of the broker ---- */

static void on_connected(void *arg, uint64_t created, uint64_t last, size_t max_payload)
{
	struct rig *r = arg;
	bool valid = r->same_stream ? created == r->created && last >= r->last : r->marks_valid;

	r->connects++;
	r->created = created;
	r->last = last;
	r->max_payload = max_payload;
	broker_resume(r->broker, valid);
}

static void on_lost(void *arg)
{
	((struct rig *)arg)->losts++;
}

static void on_refused(void *arg, const char *text)
{
	struct rig *r = arg;

	r->refusals++;
	snprintf(r->refused, sizeof(r->refused), "%s", text);
}

static void on_message(void *owner, struct broker_message *m)
{
	struct rig_queue *q = owner;
	int i = q->n % 4096;

	q->seq[i] = m->seq;
	q->kind[i] = m->text;
	q->len[i] = m->len;
	snprintf(q->text[i], sizeof(q->text[i]), "%.*s", (int)m->len, (const char *)m->data);
	q->n++;
	if (m->seq > q->rig->last)
		q->rig->last = m->seq;
	if (q->aside)
		broker_queue_set_aside(q->q, m, "no client can\r\nget it");
	if (q->confirm)
		broker_queue_confirm(q->q, m->seq);
	if (q->stop_after && q->n >= q->stop_after)
		broker_queue_want(q->q, false);
}

static void on_reread(void *owner, void *tag, struct broker_message *m, bool failed)
{
	struct rig_queue *q = owner;

	q->rereads++;
	q->reread_failed += failed;
	q->reread_seq = m ? m->seq : 0;
	q->reread_tag = tag;
}

static void on_published(void *arg, struct broker_publish *p, enum broker_result result)
{
	struct rig *r = arg;

	(void)p;
	r->published++;
	r->result = result;
}

static void on_closed(void *owner)
{
	((struct rig_queue *)owner)->closed = true;
}

static void on_fenced(void *arg)
{
	((struct rig *)arg)->fenced++;
}

static bool on_left(void *owner, struct broker_message *m)
{
	struct rig_queue *q = owner;

	if (q->left_aside)
		broker_queue_set_aside(q->q, m, "no client can get it");
	return q->left_aside;
}

static void on_lacks(void *owner)
{
	((struct rig_queue *)owner)->lacks++;
}

static void on_heard(void *arg, uint64_t no)
{
	(void)arg;
	(void)no;
}

static void on_answered(void *arg, void *tag, enum broker_answer a, const char *data, size_t len)
{
	struct rig *r = arg;

	r->answered++;
	r->answer = a;
	r->answer_tag = tag;
	snprintf(r->answer_text, sizeof(r->answer_text), "%.*s", (int)len, data ? data : "");
}

static const struct broker_events events = {
	.connected = on_connected,
	.lost = on_lost,
	.refused = on_refused,
	.message = on_message,
	.left = on_left,
	.reread = on_reread,
	.published = on_published,
	.closed = on_closed,
	.fenced = on_fenced,
	.lacks = on_lacks,
	.heard = on_heard,
	.answered = on_answered,
};

/* ---- the rig ---- */

/* A fault on a thread of nats.c's ends the program from within cmocka, which has no word for it. */
static void say_where(int status, void *arg)
{
	void *at[48];

	(void)arg;
	if (present || status == -1)
		backtrace_symbols_fd(at, backtrace(at, 48), STDERR_FILENO);
}

struct rig *rig_new(const char *extra)
{
	struct rig *r = calloc(1, sizeof(*r));
	const char *tmp = getenv("TMPDIR");
	static bool once;

	assert_non_null(r);
	if (!once)
		assert_int_equal(on_exit(say_where, NULL), 0);
	once = true;
	assert_true(snprintf(r->server.dir, sizeof(r->server.dir), "%s/wsgate-broker-XXXXXX",
			    tmp ? tmp : "/tmp") < (int)sizeof(r->server.dir));
	assert_non_null(mkdtemp(r->server.dir));
	snprintf(log_path, sizeof(log_path), "%s/broker.log", r->server.dir);
	assert_int_equal(log_open(log_path, LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT), 0);
	r->server.port = free_port();
	snprintf(r->server.extra, sizeof(r->server.extra), "%s", extra ? extra : "");
	rig_broker_at(r, "127.0.0.1", r->server.port);
	r->config.broker.type = strdup("nats");
	r->config.subject_prefix = strdup("ws");
	r->config.stream.name = strdup("websockets");
	r->config.stream.max_age = 7 * 86400000ull;
	r->config.stream.duplicate_window = 60000;
	r->config.stream.replicas = 1;
	r->base = event_base_new();
	assert_non_null(r->base);
	pace_start(&r->pace, 8000);
	rig_deaf = rig_hold_up = 0;
	present = r;
	rig_server_start(&r->server);
	return r;
}

void rig_start(struct rig *r)
{
	r->broker = broker_new(r->base, &r->pace, &r->config, 0, &events, r, 0);
	assert_non_null(r->broker);
}

struct rig *rig_beside(struct rig *r, size_t stream)
{
	struct rig *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	b->config = r->config;
	b->base = r->base;
	b->marks_valid = true;
	b->broker = broker_new(b->base, &r->pace, &b->config, stream, &events, b, 0);
	assert_non_null(b->broker);
	return b;
}

void rig_beside_free(struct rig *r)
{
	rig_stop(r);
	free(r);
}

void rig_stop(struct rig *r)
{
	broker_farewell(r->broker);
	broker_free(r->broker);
	r->broker = NULL;
}

void rig_free(struct rig *r)
{
	char cmd[128];

	present = NULL;
	if (r->broker)
		rig_stop(r);
	rig_disconnect(r);
	rig_server_kill(&r->server, SIGKILL);
	event_base_free(r->base);
	log_open("stderr", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", r->server.dir);
	assert_int_equal(system(cmd), 0);
	free(r->config.broker.url);
	free(r->config.broker.type);
	free(r->config.subject_prefix);
	free(r->config.stream.name);
	free(r->config.broker.nkey);
	free(r);
}

int rig_teardown(void **state)
{
	(void)state;
	if (present)
		rig_free(present);
	return 0;
}

void rig_connect(struct rig *r)
{
	uint64_t end = rig_now() + 10000;
	natsStatus s;
	char url[64];

	rig_disconnect(r);
	snprintf(url, sizeof(url), "nats://%s127.0.0.1:%d",
		strstr(r->server.extra, "admin") ? "admin:pw@" : "", r->server.port);
	do {
		s = natsConnection_ConnectTo(&r->nc, url);
		if (s != NATS_OK && r->broker)
			rig_turn(r);
		else if (s != NATS_OK)
			usleep(5000);
	} while (s != NATS_OK && rig_now() < end);
	assert_int_equal(s, NATS_OK);
}

void rig_disconnect(struct rig *r)
{
	natsConnection_Destroy(r->nc);
	r->nc = NULL;
}

void rig_turn(struct rig *r)
{
	const struct timeval tv = {0, 10000};

	event_base_loopexit(r->base, &tv);
	event_base_loop(r->base, EVLOOP_ONCE);
	pace_rest(&r->pace);
}

void rig_quiet(struct rig *r, unsigned ms)
{
	uint64_t end = rig_now() + ms;

	while (rig_now() < end)
		rig_turn(r);
}

struct rig *rig_up(const char *extra)
{
	struct rig *r = rig_new(extra);

	rig_start(r);
	rig_connect(r);
	rig_until(r, r->connects == 1);
	return r;
}

void rig_broker_at(struct rig *r, const char *host, int port)
{
	free(r->config.broker.url);
	assert_true(asprintf(&r->config.broker.url, "nats://%s:%d", host, port) > 0);
}

void rig_go_to(struct rig *r, const char *host, int port)
{
	rig_broker_at(r, host, port);
	assert_int_equal(broker_reconfigure(r->broker, &r->config), 0);
}

const char *rig_user(int i)
{
	static char name[16];

	snprintf(name, sizeof(name), "u%d", i);
	return name;
}

struct rig_queue *rig_open(struct rig *r, const char *user, uint64_t confirmed, uint64_t head)
{
	struct identity id = {SERVICE, user, strlen(SERVICE), strlen(user)};
	struct rig_queue *q = calloc(1, sizeof(*q));

	assert_non_null(q);
	q->rig = r;
	q->q = broker_queue_open(r->broker, &id, confirmed, head, head > 0, q);
	assert_non_null(q->q);
	return q;
}

void rig_close(struct rig_queue *q)
{
	broker_queue_close(q->q);
	rig_until(q->rig, q->closed);
	free(q);
}

/* ---- services ---- */

static natsMsg *request(struct rig *r, natsMsg *m)
{
	natsMsg *reply = NULL;
	/* behind all that was published before it, on a slow machine */
	natsStatus s = natsConnection_RequestMsg(&reply, r->nc, m, 60000);

	natsMsg_Destroy(m);
	if (s != NATS_OK)
		fail_msg("service: %s", natsStatus_GetText(s));
	return reply;
}

uint64_t rig_send(struct rig *r, const char *user, const char *text, const char *header)
{
	char subject[600], key[64], *colon;
	natsMsg *m, *reply;
	uint64_t seq;
	json_t *ack;

	snprintf(subject, sizeof(subject), "ws.recv.%s.%s", SERVICE, user);
	assert_int_equal(natsMsg_Create(&m, subject, NULL, text, (int)strlen(text)), NATS_OK);
	if (header) {
		snprintf(key, sizeof(key), "%s", header);
		colon = strchr(key, ':');
		*colon = '\0';
		assert_int_equal(natsMsgHeader_Set(m, key, colon + 2), NATS_OK);
	}
	reply = request(r, m);
	ack = json_loadb(natsMsg_GetData(reply), (size_t)natsMsg_GetDataLength(reply), 0, NULL);
	seq = (uint64_t)json_integer_value(json_object_get(ack, "seq"));
	json_decref(ack);
	natsMsg_Destroy(reply);
	assert_true(seq > 0);
	return seq;
}

void rig_raw(struct rig *r, const char *lines)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)r->server.port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char all[4096], answer[8192];
	size_t have = 0;
	ssize_t n;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	n = snprintf(all, sizeof(all), "CONNECT {\"verbose\":false,\"headers\":true}\r\n%sPING\r\n",
		lines);
	assert_int_equal(write(fd, all, (size_t)n), n);
	do {
		n = read(fd, answer + have, sizeof(answer) - 1 - have);
		assert_true(n > 0);
		have += (size_t)n;
		answer[have] = '\0';
	} while (!strstr(answer, "PONG\r\n"));
	close(fd);
}

void rig_send_many(struct rig *r, const char *user, int from, int n)
{
	char subject[600], text[24];

	snprintf(subject, sizeof(subject), "ws.recv.%s.%s", SERVICE, user);
	for (int i = from; i < from + n - 1; i++) {
		snprintf(text, sizeof(text), "%d", i);
		assert_int_equal(natsConnection_PublishString(r->nc, subject, text), NATS_OK);
	}
	snprintf(text, sizeof(text), "%d", from + n - 1);
	rig_send(r, user, text, NULL);
}

void rig_check(const struct rig_queue *q, int from, int n)
{
	char text[24];

	assert_int_equal(q->n, n);
	for (int i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "%d", from + i);
		assert_string_equal(q->text[i], text);
		assert_true(i == 0 || q->seq[i] > q->seq[i - 1]);
	}
}

char *rig_api(struct rig *r, const char *subject, const char *body)
{
	natsMsg *m, *reply;
	char *text;

	assert_int_equal(natsMsg_Create(&m, subject, NULL, body, (int)strlen(body)), NATS_OK);
	reply = request(r, m);
	text = strndup(natsMsg_GetData(reply), (size_t)natsMsg_GetDataLength(reply));
	natsMsg_Destroy(reply);
	assert_non_null(text);
	return text;
}

int64_t rig_stored(struct rig *r)
{
	char *info = rig_api(r, "$JS.API.STREAM.INFO.websockets", "");
	json_t *doc = json_loads(info, 0, NULL);
	const json_t *messages = json_object_get(json_object_get(doc, "state"), "messages");
	int64_t n = messages ? json_integer_value(messages) : -1;

	json_decref(doc);
	free(info);
	return n;
}

void rig_purge(struct rig *r)
{
	free(rig_api(r, "$JS.API.STREAM.PURGE.websockets", ""));
}

enum broker_result rig_publish(
	struct rig *r, const char *user, const char *id, const void *data, size_t len)
{
	struct broker_publish p = {
		.id = {SERVICE, user, strlen(SERVICE), strlen(user)},
		.text = true,
		.conn = "c-1",
		.msg_id = id,
		.data = data,
		.len = len,
	};
	int before = r->published;

	broker_publish(r->broker, &p);
	assert_int_equal(r->published, before); /* never from within the call */
	rig_until(r, r->published > before);
	return r->result;
}

bool rig_logged(const char *text)
{
	char line[4096];
	FILE *f = fopen(log_path, "r");
	bool found = false;

	assert_non_null(f);
	while (!found && fgets(line, sizeof(line), f))
		found = strstr(line, text);
	fclose(f);
	return found;
}

void rig_log_forget(void)
{
	assert_int_equal(truncate(log_path, 0), 0);
}
