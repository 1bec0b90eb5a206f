/* The children of the real master in these tests: see fakes.h. */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <wsgate/chan.h>
#include <wsgate/heritage.h>
#include <wsgate/shm.h>

#include "puppet.h"

#define BEAT_MS 100

struct sockaddr_un puppet_address;

struct puppet {
	const struct heritage *h;
	int test;
	bool bridge, hangs;
	bool stubborn; /* does not even end at once */
	bool mute;     /* does not answer for a configuration */
	int heirs[16];
	unsigned nheirs;
	bool keeps; /* does not say PROTO_MOVED with the last heir */
};

__attribute__((format(printf, 2, 3))) static void say(const struct puppet *p, const char *fmt, ...)
{
	char text[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)!send(p->test, text, (size_t)n, MSG_NOSIGNAL);
}

static void tell_master(const struct puppet *p, enum proto_type type, const void *body, size_t size)
{
	if (chan_send_fd(p->h->control, type, body, size, -1) < 0)
		say(p, "error %d", errno);
}

static void puppet_hello(struct puppet *p)
{
	char gens[64] = "";
	size_t n = 0;

	for (unsigned i = 0; p->bridge && i < p->h->nslots; i++)
		n += (size_t)snprintf(gens + n, sizeof(gens) - n, "%s%llu", n ? "," : "",
			(unsigned long long)p->h->generations[i]);
	say(p, "%s %u %llu %d %zu %d %s", p->bridge ? "bridge" : "worker", p->h->slot,
		(unsigned long long)p->h->generation, getpid(), p->h->nstale, p->h->predecessor,
		p->bridge ? gens : "-");
}

static bool inherited(const struct puppet *p, int fd)
{
	const struct heritage *h = p->h;
	bool known = fd <= STDERR_FILENO || fd == p->test || fd == h->control || fd == h->segment ||
		     fd == h->admin[0] || fd == h->admin[1] || fd == h->bell;

	for (unsigned i = 0; i < p->nheirs; i++)
		known = known || fd == p->heirs[i];
	for (size_t i = 0; i < h->nlisten; i++)
		known = known || fd == h->listen[i];
	for (size_t i = 0; i < h->nstale; i++)
		known = known || fd == h->stale[i];
	for (unsigned i = 0; i < h->nslots; i++)
		known = known || fd == h->bells[i];
	return known;
}

static void puppet_descriptors(const struct puppet *p)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	int extra = -1;

	while (d && (e = readdir(d))) {
		int fd = atoi(e->d_name);

		if (e->d_name[0] != '.' && fd != dirfd(d) && fd != log_fd() && !inherited(p, fd))
			extra = fd;
	}
	if (d)
		closedir(d);
	say(p, "extra %d", extra);
}

/* A message of a client that nobody stores. */
static void puppet_write(const struct puppet *p)
{
	unsigned up = shm_up_ring(p->h->generation);
	struct ring ring;
	struct shm shm;
	void *room;

	if (shm_map(&shm, p->h->segment, true) < 0) {
		say(p, "error %d", errno);
		return;
	}
	ring_attach_writer(&ring, &shm_slot(&shm, p->h->slot)->up[up],
		shm_up_data(&shm, p->h->slot, up), shm.header->sizes.up_size);
	room = ring_reserve(&ring, 1, 5);
	if (room)
		memcpy(room, "hello", 5);
	ring_commit(&ring);
	say(p, "written %d", room ? 5 : 0);
	shm_unmap(&shm);
}

/* True: it ends, with *status. */
static bool puppet_obey(struct puppet *p, const char *order, int *status)
{
	struct proto_slot slot = {0};
	struct proto_stale stale = {0};
	struct proto_text text = {{0}};
	struct proto_moved moved = {0};
	unsigned n = 0;
	unsigned long long g;

	if (sscanf(order, "exit %d", status) == 1)
		return true;
	if (strcmp(order, "ready") == 0) {
		tell_master(p, PROTO_READY, NULL, 0);
	} else if (strcmp(order, "hang") == 0) {
		p->hangs = true;
	} else if (strcmp(order, "stubborn") == 0) {
		p->stubborn = true;
	} else if (strcmp(order, "mute") == 0) {
		p->mute = true;
		say(p, "mute");
	} else if (strcmp(order, "ping") == 0) {
		say(p, "pong");
	} else if (strcmp(order, "descriptors") == 0) {
		puppet_descriptors(p);
	} else if (strcmp(order, "write") == 0) {
		puppet_write(p);
	} else if (strcmp(order, "ring") == 0) {
		say(p, "rang %d", chan_send_fd(p->h->bell, PROTO_DOORBELL, NULL, 0, -1));
	} else if (sscanf(order, "heard %u", &n) == 1) {
		char buf[64];

		say(p, "heard %zd", recv(p->h->bells[n], buf, sizeof(buf), MSG_DONTWAIT));
	} else if (sscanf(order, "drained %u %llu", &slot.slot, &g) == 2) {
		slot.generation = g;
		tell_master(p, PROTO_DRAINED, &slot, sizeof(slot));
	} else if (sscanf(order, "stale %u", &stale.index) == 1) {
		tell_master(p, PROTO_STALE_DRAINED, &stale, sizeof(stale));
	} else if (strcmp(order, "keep") == 0) {
		p->keeps = true;
		say(p, "keeps");
	} else if (sscanf(order, "moved %llu stay %u", &g, &n) >= 1) {
		moved.moved = g;
		moved.left = moved.stay = n;
		tell_master(p, PROTO_MOVED, &moved, sizeof(moved));
	} else if (sscanf(order, "heir %u", &n) == 1) {
		char byte;

		say(p, "heir %s",
			recv(p->heirs[n], &byte, 1, MSG_DONTWAIT) == 0 ? "gone" : "there");
	} else if (strncmp(order, "fatal ", 6) == 0) {
		memccpy(text.text, order + 6, 0, sizeof(text.text) - 1);
		tell_master(p, PROTO_FATAL, &text, sizeof(text));
	}
	return false;
}

/* False: it is no such message. What comes along is the puppet's, who holds it. */
static bool puppet_moves(struct puppet *p, unsigned type, const char *body, int fd)
{
	struct proto_moved moved = {7, 1, 0};
	struct proto_listen listen;
	uint32_t flag;

	memcpy(&listen, body, sizeof(listen));
	memcpy(&flag, body, sizeof(flag));
	switch (type) {
	case PROTO_LISTEN:
		say(p, "listen %u%s", listen.id % HERITAGE_SLOT_MAX, listen.admin ? " admin" : "");
		close(fd);
		return true;
	case PROTO_UNLISTEN:
		say(p, "unlisten %u%s%s", listen.id % HERITAGE_SLOT_MAX,
			listen.admin ? " admin" : "", listen.keep ? " keep" : "");
		return true;
	case PROTO_RETIRE:
		say(p, "retire %u", flag);
		return true;
	case PROTO_RESUME:
		say(p, "resume");
		return true;
	case PROTO_ARRIVE:
		p->heirs[p->nheirs++] = fd;
		say(p, "arrive %u", flag);
		return true;
	case PROTO_HEIR:
		p->heirs[p->nheirs++] = fd;
		say(p, "heir %u", flag);
		if (flag && !p->keeps)
			tell_master(p, PROTO_MOVED, &moved, sizeof(moved));
		return true;
	}
	return false;
}

/* True: it must end at once, and does. */
static bool puppet_report(struct puppet *p, const char *buf, size_t n, int fd)
{
	struct proto_header head;
	struct proto_slot slot;
	struct proto_stop stop;
	struct proto_applied done = {0};

	memcpy(&head, buf, sizeof(head));
	if (head.type == PROTO_STOP && n == sizeof(head) + sizeof(stop)) {
		memcpy(&stop, buf + sizeof(head), sizeof(stop));
		say(p, "stop %llu%s", (unsigned long long)stop.drain_ms,
			stop.restart ? " restart" : "");
		return stop.drain_ms == 0 && !p->stubborn;
	} else if ((head.type == PROTO_WORKER_UP || head.type == PROTO_WORKER_DOWN) &&
		   n == sizeof(head) + sizeof(slot)) {
		memcpy(&slot, buf + sizeof(head), sizeof(slot));
		say(p, "%s %u %llu", head.type == PROTO_WORKER_UP ? "up" : "down", slot.slot,
			(unsigned long long)slot.generation);
	} else if (head.type == PROTO_CONFIG && n == sizeof(head) + sizeof(struct proto_config)) {
		memcpy(&done.serial, buf + sizeof(head), sizeof(done.serial));
		say(p, "config %llu", (unsigned long long)done.serial);
		if (!p->mute)
			tell_master(p, PROTO_APPLIED, &done, sizeof(done));
	} else if (head.type == PROTO_SLOT && n == sizeof(head) + sizeof(slot)) {
		memcpy(&slot, buf + sizeof(head), sizeof(slot));
		say(p, "slot %u", slot.slot);
	} else if (head.type == PROTO_TRACE && n == sizeof(head) + sizeof(struct trace_order)) {
		say(p, "trace");
	} else if (head.type == PROTO_DEEDS && n == sizeof(head) + sizeof(struct proto_deeds)) {
		/* whenever there is a warning: no test's affair */
	} else if (!puppet_moves(p, head.type, buf + sizeof(head), fd)) {
		say(p, "unknown %u", head.type);
	}
	return false;
}

static ssize_t puppet_receive(int sock, char *buf, size_t size, int *fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {buf, size};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space)};
	ssize_t n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	*fd = -1;
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return n;
}

static int puppet_main(const struct heritage *h, bool bridge)
{
	struct puppet p = {.h = h, .bridge = bridge};
	struct pollfd pfd[2];
	char buf[PROTO_BODY_MAX + 1];
	int status = 0, fd;
	ssize_t n;

	p.test = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (p.test < 0 ||
		connect(p.test, (struct sockaddr *)&puppet_address, sizeof(puppet_address)) < 0)
		return 1;
	puppet_hello(&p);
	pfd[0] = (struct pollfd){.fd = h->control, .events = POLLIN};
	pfd[1] = (struct pollfd){.fd = p.test, .events = POLLIN};
	for (;;) {
		int r = poll(pfd, 2, p.hangs ? -1 : BEAT_MS);

		if (!p.hangs)
			(void)!chan_send_fd(h->control, PROTO_BEAT, NULL, 0, -1);
		if (r <= 0)
			continue;
		if (pfd[0].revents) {
			n = puppet_receive(h->control, buf, sizeof(buf), &fd);
			if (n == 0) {
				say(&p, "orphan");
				return 0;
			}
			if (n > 0 && puppet_report(&p, buf, (size_t)n, fd))
				return 0;
		}
		if (!pfd[1].revents)
			continue;
		n = recv(p.test, buf, sizeof(buf) - 1, 0);
		if (n <= 0)
			return 0;
		buf[n] = '\0';
		if (puppet_obey(&p, buf, &status))
			return status;
	}
}

int worker_main(const struct heritage *h)
{
	return puppet_main(h, false);
}

int bridge_main(const struct heritage *h)
{
	return puppet_main(h, true);
}
