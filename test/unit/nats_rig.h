/*
 * nats_rig: a nats-server of the test's own, a broker on a loop, and services that publish.
 */
#ifndef NATS_RIG_H
#define NATS_RIG_H

#include <nats/nats.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <wsgate/broker.h>

struct rig_server {
	pid_t pid; /* 0: not running */
	int port;
	char dir[64];
	char extra[1024]; /* lines of its configuration */
	bool no_jetstream;
};

/* What one queue of the test was given. */
struct rig_queue {
	struct broker_queue *q;
	struct rig *rig;
	uint64_t seq[4096];
	char text[4096][24];
	enum broker_text kind[4096];
	size_t len[4096];
	int n;
	int stop_after;  /* says no after so many; 0: never */
	bool aside;      /* sets everything aside */
	bool left_aside; /* what is left up to its mark */
	bool confirm;    /* confirms everything at once */
	bool closed;
	int rereads, reread_failed, lacks;
	uint64_t reread_seq; /* 0: none */
	void *reread_tag;
};

struct rig {
	struct rig_server server;
	struct config config;
	struct event_base *base;
	struct pace pace;
	struct broker *broker;
	natsConnection *nc; /* a service's */
	int connects, losts, refusals, fenced;
	uint64_t created, last;
	size_t max_payload;
	bool marks_valid; /* the answer to the next `connected` */
	bool same_stream; /* answer by comparing `created` instead */
	char refused[640];
	int published;
	enum broker_result result;
	int answered;
	enum broker_answer answer;
	void *answer_tag;
	char answer_text[64];
};

void rig_server_start(struct rig_server *s);
void rig_server_kill(struct rig_server *s, int sig);

/* A rig with a server that runs; the broker is not started yet. */
struct rig *rig_new(const char *server_extra);
void rig_free(struct rig *r);
/* cmocka's teardown: frees the rig of a test that failed. */
int rig_teardown(void **state);
void rig_start(struct rig *r);
/* Another broker on the same loop and server, for that stream of the configuration. */
struct rig *rig_beside(struct rig *r, size_t stream);
void rig_beside_free(struct rig *r);
void rig_stop(struct rig *r);
/* All of it: a server, a service's connection, the broker connected. */
struct rig *rig_up(const char *server_extra);
/* A service's connection; waits until the server listens. */
void rig_connect(struct rig *r);
void rig_disconnect(struct rig *r);

/* Runs the loop until the condition holds; fails the test after thirty seconds. */
#define rig_until(r, condition)                                                                    \
	do {                                                                                       \
		uint64_t rig_end_ = rig_now() + 30000;                                             \
		while (!(condition)) {                                                             \
			if (rig_now() > rig_end_)                                                  \
				fail_msg("in vain: %s", #condition);                               \
			rig_turn(r);                                                               \
		}                                                                                  \
	} while (0)
uint64_t rig_now(void);
void rig_turn(struct rig *r);
/* Runs the loop for so long, to see that nothing comes. */
void rig_quiet(struct rig *r, unsigned ms);

/* Where the broker is to be found, the next time that the configuration is read; and at once. */
void rig_broker_at(struct rig *r, const char *host, int port);
void rig_go_to(struct rig *r, const char *host, int port);

/* The name of one of many; valid until the next call. */
const char *rig_user(int i);
struct rig_queue *rig_open(struct rig *r, const char *user, uint64_t confirmed, uint64_t head);
/* Closes it, waits for `closed`, frees. */
void rig_close(struct rig_queue *q);

/* A service's publish on ws.recv.svc.USER, stored; its sequence. Headers: "Key: value" or NULL. */
uint64_t rig_send(struct rig *r, const char *user, const char *text, const char *header);
/* Says lines of the NATS protocol on a connection of its own, and waits until the server took them.
 */
void rig_raw(struct rig *r, const char *lines);
/* So many, "0", "1", … */
void rig_send_many(struct rig *r, const char *user, int from, int n);
/* The queue got them, and not one more, in the order of the stream. */
void rig_check(const struct rig_queue *q, int from, int n);
/* What the API answers, and numbers in it. The caller frees. */
char *rig_api(struct rig *r, const char *subject, const char *body);
int64_t rig_stored(struct rig *r);
void rig_purge(struct rig *r);
/* One publish of a client, to its end. */
enum broker_result rig_publish(
	struct rig *r, const char *user, const char *id, const void *data, size_t len);

/* Live copies that the broker does not see, as long as this is set. */
extern _Atomic int rig_deaf;
/* As long as this is set, word that a session is up does not come to the broker: it is held, and
 * then let go. */
extern _Atomic int rig_hold_up;
bool rig_held_up(void);
void rig_let_up(void);
/* A line of the log has this. */
bool rig_logged(const char *text);
/* What it said so far does not count any more. */
void rig_log_forget(void);

#endif
