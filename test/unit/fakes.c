#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <wsgate/log.h>

#include "../../src/master/master.h"
#include "fakes.h"
#include "puppet.h"

#define PATIENCE_MS 20000

struct config fakes_config;
char fakes_dir[64];
char fakes_file[80];
pid_t fakes_master;

static char set_listen[40], set_run[100], set_pid[100];
static const char *const sets[] = {"workers=2", "max_workers=4", "max_connections=100",
	"max_message=1k", "drain_timeout=60s", "hang_timeout=0",
	"user=", "admin.listen=", set_listen, set_run, set_pid};
static struct config_source source = {
	fakes_file, true, sets, sizeof(sets) / sizeof(sets[0]), 0, false};
static struct config *loaded;

static int listener = -1, log_pipe = -1;
static char log_text[65536];
static size_t log_len;

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

/* Everything that follows from folder and port. */
static void set_places(unsigned port)
{
	snprintf(set_listen, sizeof(set_listen), "listen=127.0.0.1:%u", port);
	snprintf(set_run, sizeof(set_run), "runtime_dir=%s/run", fakes_dir);
	snprintf(set_pid, sizeof(set_pid), "pidfile=%s/pid", fakes_dir);
	snprintf(fakes_file, sizeof(fakes_file), "%s/conf", fakes_dir);
	memset(&puppet_address, 0, sizeof(puppet_address));
	puppet_address.sun_family = AF_UNIX;
	snprintf(puppet_address.sun_path, sizeof(puppet_address.sun_path), "%s/test", fakes_dir);
}

int fakes_setup(void **state)
{
	struct config_source start;
	char err[1024], number[16];
	const char *tmp = getenv("TMPDIR");
	unsigned port = free_port();

	(void)state;
	assert_true(snprintf(fakes_dir, sizeof(fakes_dir), "%s/wsgate-fakes-XXXXXX",
			    tmp ? tmp : "/tmp") < (int)sizeof(fakes_dir));
	assert_non_null(mkdtemp(fakes_dir));
	set_places(port);
	snprintf(number, sizeof(number), "%u", port);
	assert_int_equal(setenv("FAKES_DIR", fakes_dir, 1), 0);
	assert_int_equal(setenv("FAKES_PORT", number, 1), 0);
	unsetenv("FAKES_FREE");
	source.sets = sets;
	source.nsets = sizeof(sets) / sizeof(sets[0]);
	start = source;
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(
		bind(listener, (struct sockaddr *)&puppet_address, sizeof(puppet_address)), 0);
	assert_int_equal(listen(listener, 64), 0);
	start.file_required = false;
	config_free(loaded);
	loaded = config_load(&start, err, sizeof(err));
	if (!loaded)
		fail_msg("%s", err);
	fakes_config = *loaded;
	return 0;
}

/* Those that became masters: a test that failed may have left some. */
static void kill_heirs(void)
{
	char path[100];
	FILE *f;
	int pid;

	snprintf(path, sizeof(path), "%s/heirs", fakes_dir);
	f = fopen(path, "r");
	while (f && fscanf(f, "%d", &pid) == 1)
		kill(-pid, SIGKILL);
	if (f)
		fclose(f);
}

/* The number of workers is not on the command line: the file says it. */
static void fakes_free_workers(void)
{
	source.sets = sets + 1;
	source.nsets = sizeof(sets) / sizeof(sets[0]) - 1;
	setenv("FAKES_FREE", "1", 1);
}

int fakes_heir(int will)
{
	char path[100], err[1024];
	struct config *c;
	FILE *f;

	snprintf(fakes_dir, sizeof(fakes_dir), "%s", getenv("FAKES_DIR"));
	set_places((unsigned)atoi(getenv("FAKES_PORT")));
	if (getenv("FAKES_FREE"))
		fakes_free_workers();
	source.file_required = false;
	snprintf(path, sizeof(path), "%s/heirs", fakes_dir);
	f = fopen(path, "a");
	if (!f || fprintf(f, "%d\n", getpid()) < 0 || fclose(f) != 0)
		return 98;
	c = config_load(&source, err, sizeof(err));
	if (!c || log_open("stderr", LOG_LEVEL_TRACE, LOG_FORMAT_TEXT) < 0)
		return 99;
	log_set_process("master");
	return master_run(c, &source, true, will);
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
	kill_heirs();
	close(listener);
	close(log_pipe);
	log_pipe = -1;
	log_len = 0;
	snprintf(cmd, sizeof(cmd), "rm -rf %s", fakes_dir);
	return system(cmd) == 0 ? 0 : -1;
}

void fakes_configure(const char *text)
{
	FILE *f = fopen(fakes_file, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	if (fakes_master)
		kill(fakes_master, SIGHUP);
}

void fakes_workers(unsigned n)
{
	char text[32];

	fakes_free_workers();
	snprintf(text, sizeof(text), "workers = %u\n", n);
	fakes_configure(text);
	fakes_config.workers = n;
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
		log_set_process("master");
		exit(master_run(&fakes_config, &source, true, -1));
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

long fakes_log_number(const char *part)
{
	const char *at = NULL, *next = log_text;

	slurp();
	while ((next = strstr(next, part)))
		at = next += strlen(part);
	if (!at)
		fail_msg("no \"%s\" in\n%s", part, log_text);
	return strtol(at, NULL, 10);
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
	assert_int_equal(sscanf(buf, "%15s %u %llu %d %u %d %63s", kind, &f.slot, &g, &f.pid,
				 &f.nstale, &f.predecessor, f.generations),
		7);
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

void fakes_expect_after(const struct fake *f, const char *other, const char *fmt, ...)
{
	char want[256], got[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(want, sizeof(want), fmt, ap);
	va_end(ap);
	do
		hear(f, want, got, sizeof(got));
	while (strncmp(got, other, strlen(other)) == 0);
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
