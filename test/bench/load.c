/*
 * load: WebSocket clients by the thousand, on loopback.
 *
 *	load [options] idle|recv|send|echo
 *
 *	-p port      of the gateway (8000)
 *	-a address   of it, in 127.0.0.0/8 (127.0.0.1)
 *	-s service   (bench)
 *	-c count     connections, of the users 0, 1, 2... (100)
 *	-n messages  per connection (100)
 *	-b bytes     of a message, at least 20 (100)
 *	-w window    send: messages between a Ping and its Pong; 0: what the sockets take (0).
 *	             echo: messages in one write, the next when all are back; 0: one (0)
 *	-k           send: keeps connections until the end of input, there is no "done" then
 *	-S           with TLS
 *	-o opening   handshakes at a time, in one process (256)
 *	-f user      number of the first user (0)
 *	-P path      of all connections, instead of their users' own
 *	-t seconds   limit for all of it (120)
 *	-i seconds   between lines that say how far it has come ("progress"); 0: none (0)
 *
 * idle only answers Pings, and counts what comes. recv expects the messages 0 to n-1 on each
 * connection, as yard makes them; when they say when they were sent, "late" has how many
 * microseconds later they came: 50, 90 and 99 of a hundred, and the worst. send waits for a line
 * on standard input, sends, and closes each connection: the gateway answers a Close when all is
 * stored. The end of standard input, SIGINT or SIGTERM end it. Prints a line of JSON when all are
 * open ("ready"), when all is done ("done") and at the end ("end"); times are seconds of the
 * monotonic clock. Exit: 0; 1 when not all went well; 2 could not run.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define PROCESSES 64
#define SPARE_FDS 64
#define SECOND 1000000000ull

struct parent {
	struct load_setup setup;
	struct load_tally *tallies; /* shared with the children, one each */
	unsigned processes;
	uint64_t limit; /* when to give up */
	int start, stop, report, signals;
	bool started, stopped;
	uint64_t started_at, told_at;
	unsigned ready, done;
};

uint64_t load_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void fatal(const char *what)
{
	perror(what);
	exit(2);
}

/* As few processes as the descriptors allow. */
static void count_processes(struct parent *p)
{
	struct rlimit rl;
	rlim_t each;

	if (getrlimit(RLIMIT_NOFILE, &rl))
		fatal("load: getrlimit");
	rl.rlim_cur = rl.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &rl))
		fatal("load: setrlimit");
	if (rl.rlim_cur <= SPARE_FDS)
		load_usage("too few open files allowed (ulimit -n)");
	each = rl.rlim_cur - SPARE_FDS;
	if (p->setup.count > each * PROCESSES)
		load_usage("too many connections for the open files allowed (ulimit -n)");
	p->processes = (unsigned)((p->setup.count + each - 1) / each);
}

static void fork_children(struct parent *p)
{
	int start[2], stop[2], report[2];
	unsigned i;

	if (pipe(start) || pipe(stop) || pipe(report))
		fatal("load: pipe");
	for (i = 0; i < p->processes; i++) {
		unsigned n = p->setup.count / p->processes + (i < p->setup.count % p->processes);
		struct load_share share = {&p->setup, &p->tallies[i], i, p->processes, n, start[0],
			stop[0], report[1]};
		pid_t pid = fork();

		if (pid < 0)
			fatal("load: fork");
		if (!pid) {
			close(start[1]);
			close(stop[1]);
			close(report[0]);
			load_child(&share);
			_exit(0);
		}
	}
	close(start[0]);
	close(stop[0]);
	close(report[1]);
	p->start = start[1];
	p->stop = stop[1];
	p->report = report[0];
}

static double seconds(uint64_t ns)
{
	return (double)ns / 1e9;
}

static void earliest(uint64_t *to, uint64_t from)
{
	if (from && (!*to || from < *to))
		*to = from;
}

static void latest(uint64_t *to, uint64_t from)
{
	if (from > *to)
		*to = from;
}

static void sum(const struct parent *p, struct load_tally *all)
{
	unsigned i;

	memset(all, 0, sizeof(*all));
	for (i = 0; i < p->processes; i++) {
		const struct load_tally *t = &p->tallies[i];

		all->opened += t->opened;
		all->failed += t->failed;
		all->lost += t->lost;
		all->sent += t->sent;
		all->received += t->received;
		all->gaps += t->gaps;
		all->repeats += t->repeats;
		all->bad += t->bad;
		all->pings += t->pings;
		all->clean += t->clean;
		all->unclean += t->unclean;
		earliest(&all->opened_from, t->opened_from);
		latest(&all->opened_to, t->opened_to);
		earliest(&all->first, t->first);
		latest(&all->last, t->last);
		all->error = t->error ? t->error : all->error;
		all->status = t->status ? t->status : all->status;
		all->close_code = t->close_code ? t->close_code : all->close_code;
		for (unsigned k = 0; k < LOAD_LATE; k++)
			all->late[k] += t->late[k];
	}
}

/* Of the messages with a stamp. */
static unsigned late(const struct load_tally *t, unsigned percent)
{
	uint64_t n = 0, seen = 0;
	unsigned k;

	for (k = 0; k < LOAD_LATE; k++)
		n += t->late[k];
	for (k = 0; k + 1 < LOAD_LATE && n; k++) {
		seen += t->late[k];
		if (seen * 100 >= n * percent)
			break;
	}
	return n ? k : 0;
}

static void say(const struct parent *p, const char *event, const struct load_tally *t)
{
	printf("{\"event\": \"%s\", \"opened\": %ju, \"failed\": %ju, \"lost\": %ju, "
	       "\"opened_from\": %.6f, \"opened_to\": %.6f, \"started\": %.6f, "
	       "\"first\": %.6f, \"last\": %.6f, \"sent\": %ju, \"received\": %ju, "
	       "\"gaps\": %ju, \"repeats\": %ju, \"bad\": %ju, \"pings\": %ju, "
	       "\"clean\": %ju, \"unclean\": %ju, \"error\": \"%s\", \"status\": %d, "
	       "\"close_code\": %d, \"late\": [%u, %u, %u, %u]}\n",
		event, (uintmax_t)t->opened, (uintmax_t)t->failed, (uintmax_t)t->lost,
		seconds(t->opened_from), seconds(t->opened_to), seconds(p->started_at),
		seconds(t->first), seconds(t->last), (uintmax_t)t->sent, (uintmax_t)t->received,
		(uintmax_t)t->gaps, (uintmax_t)t->repeats, (uintmax_t)t->bad, (uintmax_t)t->pings,
		(uintmax_t)t->clean, (uintmax_t)t->unclean, t->error ? strerror(t->error) : "",
		t->status, t->close_code, late(t, 50), late(t, 90), late(t, 99), late(t, 100));
	fflush(stdout);
}

static void stop(struct parent *p)
{
	if (!p->stopped)
		close(p->stop);
	p->stopped = true;
}

static void read_input(struct parent *p)
{
	char text[256];
	ssize_t n = read(STDIN_FILENO, text, sizeof(text));

	if (n <= 0) {
		stop(p);
	} else if (!p->started) {
		p->started = true;
		p->started_at = load_now();
		close(p->start);
	}
}

static void read_reports(struct parent *p, const char *what, ssize_t n)
{
	static struct load_tally all;
	bool was_ready = p->ready == p->processes, was_done = p->done == p->processes;
	ssize_t i;

	for (i = 0; i < n; i++) {
		if (what[i] == LOAD_READY)
			p->ready++;
		else
			p->done++;
	}
	sum(p, &all);
	if (!was_ready && p->ready == p->processes)
		say(p, "ready", &all);
	if (!was_done && p->done == p->processes) {
		say(p, "done", &all);
		if (p->setup.mode == LOAD_SEND)
			stop(p);
	}
}

static void progress(struct parent *p, uint64_t now)
{
	static struct load_tally all;

	if (!p->setup.interval || p->stopped || now - p->told_at < p->setup.interval * SECOND)
		return;
	p->told_at = now;
	sum(p, &all);
	say(p, "progress", &all);
}

/* Milliseconds; -1: for ever. */
static int patience(const struct parent *p, uint64_t now)
{
	if (p->stopped)
		return -1;
	return p->setup.interval ? 250 : (int)((p->limit - now) / 1000000) + 1;
}

/* Until all children have ended, which closes the pipe of reports. */
static void run(struct parent *p)
{
	struct pollfd fds[3] = {
		{STDIN_FILENO, POLLIN, 0}, {p->signals, POLLIN, 0}, {p->report, POLLIN, 0}};

	for (;;) {
		uint64_t now = load_now();
		char what[PROCESSES];
		ssize_t n;

		if (now >= p->limit)
			stop(p);
		fds[0].fd = p->stopped ? -1 : STDIN_FILENO;
		fds[1].fd = p->stopped ? -1 : p->signals;
		if (poll(fds, 3, patience(p, now)) < 0 && errno != EINTR)
			fatal("load: poll");
		progress(p, now);
		if (fds[1].revents)
			stop(p);
		else if (fds[0].revents)
			read_input(p);
		if (!fds[2].revents)
			continue;
		n = read(p->report, what, sizeof(what));
		if (n <= 0)
			return;
		read_reports(p, what, n);
	}
}

static int end(struct parent *p)
{
	static struct load_tally all;
	int status, bad = 0;

	while (wait(&status) > 0)
		bad |= status;
	sum(p, &all);
	say(p, "end", &all);
	if (bad)
		return 2;
	return all.failed || all.lost || all.gaps || all.bad || all.unclean ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct parent p = {0};
	sigset_t set;

	load_options(&p.setup, argc, argv);
	p.limit = load_now() + p.setup.seconds * SECOND;
	count_processes(&p);
	p.tallies = mmap(NULL, p.processes * sizeof(*p.tallies), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p.tallies == MAP_FAILED)
		fatal("load: mmap");
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	p.signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (p.signals < 0)
		fatal("load: signalfd");
	fork_children(&p);
	run(&p);
	return end(&p);
}
