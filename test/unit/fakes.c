#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <wsgate/chan.h>
#include <wsgate/heritage.h>
#include <wsgate/log.h>
#include <wsgate/shm.h>

#include "../../src/master/master.h"
#include "fakes.h"

#define PATIENCE_MS 20000
#define BEAT_MS 100

struct config fakes_config;
char fakes_dir[64];
char fakes_file[80];
pid_t fakes_master;

static char set_listen[40], set_run[100], set_pid[100];
static const char *const sets[] = {"workers=2", "max_workers=4", "max_connections=100",
	"max_message=1k", "drain_timeout=60s", "hang_timeout=0",
	"user=", "admin.listen=", set_listen, set_run, set_pid};
static const struct config_source source = {
	fakes_file, true, sets, sizeof(sets) / sizeof(sets[0]), 0};
static struct config *loaded;

static struct sockaddr_un address;
static int listener = -1, log_pipe = -1;
static char log_text[65536];
static size_t log_len;

/* ---- in a child of the master ---- */

struct puppet {
	const struct heritage *h;
	int test;
	bool bridge, hangs;
	bool stubborn; /* does not even end at once */
	bool mute;     /* does not answer for a configuration */
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
	say(p, "%s %u %llu %d %zu %s", p->bridge ? "bridge" : "worker", p->h->slot,
		(unsigned long long)p->h->generation, getpid(), p->h->nstale,
		p->bridge ? gens : "-");
}

static bool inherited(const struct puppet *p, int fd)
{
	const struct heritage *h = p->h;
	bool known = fd <= STDERR_FILENO || fd == p->test || fd == h->control || fd == h->segment ||
		     fd == h->admin || fd == h->bell;

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
	unsigned n;
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
	} else if (strncmp(order, "fatal ", 6) == 0) {
		memccpy(text.text, order + 6, 0, sizeof(text.text) - 1);
		tell_master(p, PROTO_FATAL, &text, sizeof(text));
	}
	return false;
}

/* True: it must end at once, and does. */
static bool puppet_report(const struct puppet *p, const char *buf, size_t n)
{
	struct proto_header head;
	struct proto_slot slot;
	struct proto_stop stop;
	struct proto_applied done = {0};

	memcpy(&head, buf, sizeof(head));
	if (head.type == PROTO_STOP && n == sizeof(head) + sizeof(stop)) {
		memcpy(&stop, buf + sizeof(head), sizeof(stop));
		say(p, "stop %llu", (unsigned long long)stop.drain_ms);
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
	} else {
		say(p, "unknown %u", head.type);
	}
	return false;
}

static int puppet_main(const struct heritage *h, bool bridge)
{
	struct puppet p = {.h = h, .bridge = bridge};
	struct pollfd pfd[2];
	char buf[PROTO_BODY_MAX + 1];
	int status = 0;
	ssize_t n;

	p.test = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (p.test < 0 || connect(p.test, (struct sockaddr *)&address, sizeof(address)) < 0)
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
			n = recv(h->control, buf, sizeof(buf), MSG_DONTWAIT);
			if (n == 0) {
				say(&p, "orphan");
				return 0;
			}
			if (n > 0 && puppet_report(&p, buf, (size_t)n))
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

/* ---- in the test ---- */

/* Free a moment ago, and not given to others soon. */
static unsigned free_port(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&in, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	close(fd);
	return ntohs(in.sin_port);
}

int fakes_setup(void **state)
{
	struct config_source start = source;
	char err[1024];

	(void)state;
	strcpy(fakes_dir, "/tmp/wsgate-fakes-XXXXXX");
	assert_non_null(mkdtemp(fakes_dir));
	snprintf(set_listen, sizeof(set_listen), "listen=127.0.0.1:%u", free_port());
	snprintf(set_run, sizeof(set_run), "runtime_dir=%s/run", fakes_dir);
	snprintf(set_pid, sizeof(set_pid), "pidfile=%s/pid", fakes_dir);
	snprintf(fakes_file, sizeof(fakes_file), "%s/conf", fakes_dir);
	memset(&address, 0, sizeof(address));
	address.sun_family = AF_UNIX;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/test", fakes_dir);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 64), 0);
	start.file_required = false;
	config_free(loaded);
	loaded = config_load(&start, err, sizeof(err));
	if (!loaded)
		fail_msg("%s", err);
	fakes_config = *loaded;
	return 0;
}

int fakes_teardown(void **state)
{
	char cmd[128];

	(void)state;
	if (fakes_master > 0) { /* a test that failed; puppets end with our sockets */
		kill(fakes_master, SIGKILL);
		waitpid(fakes_master, NULL, 0);
		fakes_master = 0;
	}
	close(listener);
	close(log_pipe);
	log_pipe = -1;
	log_len = 0;
	snprintf(cmd, sizeof(cmd), "rm -rf %s", fakes_dir);
	return system(cmd) == 0 ? 0 : -1;
}

void fakes_start(void)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fflush(NULL);
	fakes_master = fork();
	assert_true(fakes_master >= 0);
	if (fakes_master == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fds[1], STDERR_FILENO);
		if (log_open("stderr", LOG_LEVEL_TRACE, LOG_FORMAT_TEXT) < 0)
			_exit(99);
		exit(master_run(&fakes_config, &source, true));
	}
	close(fds[1]);
	if (log_pipe >= 0)
		close(log_pipe);
	log_pipe = fds[0];
	log_len = 0;
}

static bool readable(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, ms) == 1;
}

/* Everything that was logged: also keeps the pipe from filling up. */
static void slurp(void)
{
	while (readable(log_pipe, 0) && log_len < sizeof(log_text) - 1) {
		ssize_t n = read(log_pipe, log_text + log_len, sizeof(log_text) - 1 - log_len);

		if (n <= 0)
			break;
		log_len += (size_t)n;
	}
	log_text[log_len] = '\0';
}

void fakes_forget_log(void)
{
	slurp();
	log_len = 0;
}

void fakes_log(const char *part)
{
	slurp();
	while (!strstr(log_text, part)) {
		size_t before = log_len;

		if (!readable(log_pipe, PATIENCE_MS))
			fail_msg("no line with \"%s\" in\n%s", part, log_text);
		slurp();
		if (log_len == before)
			fail_msg("no line with \"%s\" in\n%s", part, log_text);
	}
}

/* Its children hold the pipe too: the end of the log is the end of all. */
int fakes_end(void)
{
	size_t before;
	int status;

	do {
		if (!readable(log_pipe, PATIENCE_MS))
			fail_msg("somebody does not end; the log:\n%s", log_text);
		before = log_len;
		slurp();
	} while (log_len > before);
	assert_int_equal(waitpid(fakes_master, &status, 0), fakes_master);
	fakes_master = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool fakes_called(void)
{
	return readable(listener, 0);
}

struct fake fakes_accept(void)
{
	struct fake f = {.fd = -1};
	char buf[256], kind[16];
	unsigned long long g;
	ssize_t n;

	if (!readable(listener, PATIENCE_MS)) {
		slurp();
		fail_msg("no child came; the log:\n%s", log_text);
	}
	f.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(f.fd >= 0);
	assert_true(readable(f.fd, PATIENCE_MS));
	n = recv(f.fd, buf, sizeof(buf) - 1, 0);
	assert_true(n > 0);
	buf[n] = '\0';
	assert_int_equal(sscanf(buf, "%15s %u %llu %d %u %63s", kind, &f.slot, &g, &f.pid,
				 &f.nstale, f.generations),
		6);
	f.bridge = strcmp(kind, "bridge") == 0;
	f.generation = g;
	return f;
}

void fakes_accept_all(struct fake *bridge, struct fake *workers)
{
	for (unsigned i = 0; i <= fakes_config.workers; i++) {
		struct fake f = fakes_accept();

		fakes_order(&f, "ready");
		if (f.bridge)
			*bridge = f;
		else
			workers[f.slot] = f;
	}
	fakes_log("master: ready");
}

void fakes_order(const struct fake *f, const char *fmt, ...)
{
	char buf[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	assert_int_equal(send(f->fd, buf, (size_t)n, MSG_NOSIGNAL), n);
}

/* The next report. */
static void hear(const struct fake *f, const char *want, char *got, size_t size)
{
	ssize_t n;

	if (!readable(f->fd, PATIENCE_MS)) {
		slurp();
		fail_msg("no \"%s\"; the log:\n%s", want, log_text);
	}
	n = recv(f->fd, got, size - 1, 0);
	got[n > 0 ? n : 0] = '\0';
	if (n > 0)
		return;
	snprintf(got, size, "end");
	close(f->fd);
}

static void compare(const char *got, const char *want)
{
	if (strcmp(got, want) == 0)
		return;
	slurp();
	fail_msg("\"%s\" instead of \"%s\"; the log:\n%s", got, want, log_text);
}

void fakes_expect(const struct fake *f, const char *fmt, ...)
{
	char want[256], got[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(want, sizeof(want), fmt, ap);
	va_end(ap);
	hear(f, want, got, sizeof(got));
	compare(got, want);
}

void fakes_expect_both(const struct fake *f, const char *one, const char *other)
{
	char got[256];
	bool swapped;

	hear(f, one, got, sizeof(got));
	swapped = strcmp(got, other) == 0;
	compare(got, swapped ? other : one);
	fakes_expect(f, "%s", swapped ? one : other);
}
