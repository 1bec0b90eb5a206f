/*
 * ctl: wsgatectl, the operator's tool. Figures come out of the segment, read-only, so that they are
 * there also when a process hangs. Room: ctl.
 */
#ifndef WSGATE_CTL_H
#define WSGATE_CTL_H

#include <stdbool.h>
#include <sys/types.h>

#include <wsgate/config.h>
#include <wsgate/shm.h>
#include <wsgate/snapshot.h>
#include <wsgate/subject.h>

enum ctl_exit { CTL_OK = 0, CTL_CONFIG = 1, CTL_FAILED = 2 };

/* Maps the segment of the running daemon. 0, or -1 after a line on standard error. */
int view_open(struct shm *shm, const struct config *c);
/* All figures of it. 0, or -1 after a line on standard error. view_drop() unmaps, too. */
int view_take(struct snapshot *s, const struct config *c);
void view_drop(struct snapshot *s);
/* The master of the segment lives: it holds the lock of its pidfile. */
bool view_master_runs(const struct config *c, const struct shm *shm);

/* Each prints, and returns an exit status. json: objects instead of text. */
int status_show(const struct config *c, bool json);
/* service, user: NULL for all. */
int sessions_show(const struct config *c, const char *service, const char *user, bool json);
struct top_options {
	unsigned long count; /* samples; 0: until a signal */
	unsigned interval_ms;
	bool json;
};
int top_show(const struct config *c, const struct top_options *o);
/* text: the file; with c NULL what is wrong with it, and nothing else can be asked. */
int check_show(const struct config *c, const char *text, bool json);

/* where.c: pid of the master that holds the lock of the pidfile; 0: none. */
pid_t where_master(const struct config *c);
/* A line on standard error: nothing is at runtime_dir/name, why, and what to do. */
void where_not_found(
	const struct config *c, const char *name, int error, const char *why, const char *hint);

/* order.c: what the master is asked, through the control socket. */
int order_reload(const struct config *c);
int order_close(
	const struct config *c, const struct identity *id, uint16_t code, const char *reason);
int order_trace(const struct config *c, const struct identity *id, uint16_t seconds);
/* seconds 0: drain_timeout; wait: until no connection is left. */
int order_drain(const struct config *c, uint16_t seconds, bool wait);
int order_undrain(const struct config *c);
/* A line: the last reload; one more when the gateway is drained. */
void order_status(const struct config *c, const struct snapshot *s);
/* The last reload as an object; *drain: the drain, if it is known. */
struct json_t *order_status_json(const struct config *c, struct proto_drain *drain, bool *known);
/* Whether the master answers; else why not, until the next call. */
bool order_answers(const struct config *c, const char **why);

#endif
