/*
 * yard: the yardstick of the benchmarks, what a bare nats.c program does with the same broker.
 *
 *	yard [options] pub      messages to the users 0, 1, 2... as a service sends them; -e: then
 *	                        waits until the stream is empty
 *	yard [options] live     what a gateway does for delivery: a plain subscription a user, and
 *	                        removal of each message
 *	yard [options] send     what a gateway does with clients' messages: publishes them, of each
 *	                        user one unacknowledged at a time
 *	yard [options] drain    receives what clients sent, and sees that it is in the stream
 *	yard [options] listen   a plain subscription a user: how late live copies come
 *	yard [options] fetch    what a gateway does for users with messages waiting: reads those of
 *	                        each by direct gets, one after another, and removes them
 *	yard [options] purge    empties the stream
 *	yard [options] waiting  prints how many messages it holds
 *
 *	-u url       of the broker               -x stream    (websockets)
 *	-s service   (bench)                     -p prefix    of subjects (ws)
 *	-U users     (100)                       -n messages  per user (100)
 *	-b bytes     of a message (100)          -w window    requests in flight (pub, send: 4096;
 *	-t seconds   limit for all of it (120)                live: 512)
 *	-N           live: newest first, as far as there is a choice
 *	-r rate      pub: messages a second; 0: as fast as it goes (0)
 *	-H           send: with the headers that a gateway gives a message
 *	-R messages  pub: so many in all, each to a user drawn at random
 *
 * pub and send wait for a line on standard input; all that prints "done" stays until its end, so
 * that its CPU time can be taken. Prints lines of JSON as load does. Exit: 0; 1 when not all went
 *well; 2 could not run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "yard.h"

static void usage(const char *why)
{
	fprintf(stderr,
		"yard: %s\n"
		"usage: yard [-eHN] [-u url] [-x stream] [-s service] [-p prefix] [-U users]\n"
		"            [-n messages] [-b bytes] [-w window] [-t seconds]\n"
		"            [-r rate] [-R messages] "
		"pub|live|listen|fetch|send|drain|purge|waiting\n",
		why);
	exit(2);
}

static unsigned number(const char *text, unsigned min, unsigned max)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (end == text || *end || v < min || v > max) {
		fprintf(stderr, "yard: %s is not a number from %u to %u\n", text, min, max);
		exit(2);
	}
	return (unsigned)v;
}

static int pub(struct yard *y)
{
	return yard_pub(y, "recv");
}

static int send_as_gateway(struct yard *y)
{
	y->one_per_user = true;
	return yard_pub(y, "send");
}

static int purge(struct yard *y)
{
	return yard_purge(y) ? 1 : 0;
}

static int waiting(struct yard *y)
{
	int64_t n = yard_waiting(y);

	yard_say("{\"event\": \"end\", \"waiting\": %lld}\n", (long long)n);
	return n < 0 ? 1 : 0;
}

static const struct mode {
	const char *name;
	unsigned window; /* unless given */
	int (*run)(struct yard *y);
} modes[] = {
	{"pub", 4096, pub},
	{"live", 512, yard_live},
	{"send", 4096, send_as_gateway},
	{"listen", 1, yard_listen},
	{"fetch", 256, yard_fetch},
	{"drain", 1, yard_drain},
	{"purge", 1, purge},
	{"waiting", 1, waiting},
};

static const struct mode *find_mode(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (!strcmp(name, modes[i].name))
			return &modes[i];
	}
	usage("no such mode");
	return NULL;
}

static void options(struct yard *y, int argc, char **argv)
{
	int o;

	while ((o = getopt(argc, argv, "eHNu:x:s:p:U:n:b:w:t:r:R:")) != -1) {
		switch (o) {
		case 'e':
			y->await_empty = true;
			break;
		case 'H':
			y->headers = true;
			break;
		case 'N':
			y->newest_first = true;
			break;
		case 'u':
			y->url = optarg;
			break;
		case 'x':
			y->stream = optarg;
			break;
		case 's':
			y->service = optarg;
			break;
		case 'p':
			y->prefix = optarg;
			break;
		case 'U':
			y->users = number(optarg, 1, 1000000);
			break;
		case 'n':
			y->messages = number(optarg, 1, 1000000000);
			break;
		case 'b':
			y->size = number(optarg, YARD_NUMBER, 1u << 20);
			break;
		case 'w':
			y->window = number(optarg, 1, 1000000);
			break;
		case 'r':
			y->rate = number(optarg, 0, 1000000);
			break;
		case 'R':
			y->drawn = number(optarg, 1, 1000000000);
			break;
		case 't':
			y->seconds = number(optarg, 1, 86400);
			break;
		default:
			usage("no such option");
		}
	}
	if (optind != argc - 1)
		usage("one mode is wanted");
}

int main(int argc, char **argv)
{
	struct yard y = {.url = "nats://127.0.0.1:4222",
		.service = "bench",
		.stream = "websockets",
		.prefix = "ws",
		.users = 100,
		.messages = 100,
		.size = 100,
		.seconds = 120};
	const struct mode *mode;
	int rc;

	options(&y, argc, argv);
	mode = find_mode(argv[optind]);
	if (!y.window)
		y.window = mode->window;
	y.deadline = yard_now() + y.seconds;
	yard_connect(&y);
	rc = mode->run(&y);
	yard_disconnect(&y);
	return rc;
}
