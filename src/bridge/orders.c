#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <wsgate/log.h>

#include "bridge.h"

/* Budgets and windows may be wider: who waited goes on. */
static int orders_swap(struct bridge *b, struct config *c)
{
	if (streams_reconfigure(b, c) < 0) {
		config_free(c);
		return -1;
	}
	b->c = c;
	log_set(c->log.level, c->log.format);
	config_free(b->own);
	b->own = c;
	b->now_ms = bridge_clock();
	streams_more(b);
	for (unsigned i = 0; i < b->nstreams; i++)
		if (b->streams[i].connected)
			dispatch_opened_all(&b->streams[i]);
	return 0;
}

void orders_on_config(void *arg, const void *body, int fd)
{
	const struct proto_config *pc = body;
	struct bridge *b = arg;
	struct proto_applied done = {.serial = pc->serial};
	struct config *c;
	char err[1024];

	c = config_load_fd(fd, err, sizeof(err));
	if (fd >= 0)
		close(fd);
	if (c && orders_swap(b, c) < 0) {
		snprintf(err, sizeof(err), "broker: %s", strerror(errno));
		c = NULL;
	}
	done.failed = !c;
	if (!c)
		snprintf(done.fault, sizeof(done.fault), "%.*s", PROTO_FAULT_MAX - 1, err);
	if (b->master && chan_send(b->master, PROTO_APPLIED, &done, sizeof(done), -1) < 0)
		log_warn("cannot tell the master", kv_errno(errno));
}

void orders_on_sync(void *arg, const void *body, int fd)
{
	struct bridge *b = arg;

	if (fd >= 0)
		close(fd);
	if (b->master &&
		chan_send(b->master, PROTO_SYNCED, body, sizeof(struct proto_sync), -1) < 0)
		log_warn("cannot tell the master", kv_errno(errno));
}

/* The master has room for a slot that the bridge has not: as with the doorbell, a new bridge has
 * it. */
void orders_on_slot(void *arg, const void *body, int fd)
{
	const struct proto_slot *s = body;
	struct bridge *b = arg;

	if (fd < 0 || s->slot >= HERITAGE_SLOT_MAX || b->slots[s->slot].used ||
		!shm_slot_used(&b->shm, s->slot) || slots_attach(b, s->slot, fd, 0) < 0) {
		log_error("cannot take a new worker: the bridge begins anew",
			kv_uint("slot", s->slot));
		_exit(1);
	}
}

void orders_on_close(void *arg, const void *body, int fd)
{
	const struct proto_close *pc = body;
	struct bridge *b = arg;
	struct proto_closed done = {.id = pc->id};
	struct identity id = {pc->service, pc->user, pc->service_len, pc->user_len};
	char reason[PROTO_REASON_MAX];

	if (fd >= 0)
		close(fd);
	memcpy(reason, pc->reason, sizeof(reason));
	reason[sizeof(reason) - 1] = '\0';
	slots_wakeup(b); /* those who came a moment ago */
	if (id.service_len <= TOKEN_MAX && id.user_len <= TOKEN_MAX)
		done.connections = dispatch_kick(b, &id, pc->code, reason);
	log_info("closes the connections of a user", kv_mem("service", id.service, id.service_len),
		kv_mem("user", id.user, id.user_len), kv_uint("code", pc->code),
		kv_uint("connections", done.connections));
	if (b->master && chan_send(b->master, PROTO_CLOSED, &done, sizeof(done), -1) < 0)
		log_warn("cannot tell the master", kv_errno(errno));
}
