/*
 * main: the command line of wsgated.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wsgate/config.h>
#include <wsgate/daemon.h>
#include <wsgate/log.h>
#include "master/certs.h"
#include "master/confine.h"
#include "master/keyring.h"
#include "master/master.h"
#include "master/will.h"
#include "version.h"

enum { EXIT_CONFIG = 1, EXIT_START = 2 };

struct command_line {
	bool foreground, test, print;
	struct config_source source;
	const char **sets; /* source.sets, with room for all */
	char *pidfile;     /* "pidfile=…" from -p */
};

static void usage(FILE *out)
{
	fputs("usage: wsgated [-fhtTvV] [-c file] [-o key=value]... [-p pidfile]\n"
	      "  -f  stay in the foreground, log to standard error\n"
	      "  -h  print this and end\n"
	      "  -t  check the configuration and end\n"
	      "  -T  check it, print it as it is in effect, and end\n"
	      "  -v  log more; may be repeated\n"
	      "  -V  print the version, with those of the libraries, and end\n"
	      "  -c  configuration file, by default " CONFIG_FILE "\n"
	      "  -o  override one key, as in -o broker.url=nats://10.0.0.1:4222\n"
	      "  -p  pidfile, like -o pidfile=FILE\n",
		out);
}

static int misused(const char *what)
{
	fprintf(stderr, "wsgated: %s; see wsgated -h\n", what);
	return EXIT_CONFIG;
}

/* One of the overrides, in the order of the command line. */
static void add_set(struct command_line *cl, const char *text)
{
	cl->sets[cl->source.nsets++] = text;
}

static int set_pidfile(struct command_line *cl, const char *path)
{
	free(cl->pidfile);
	if (asprintf(&cl->pidfile, "pidfile=%s", path) < 0) {
		cl->pidfile = NULL;
		fprintf(stderr, "wsgated: out of memory\n");
		return EXIT_START;
	}
	return 0;
}

/* -1: go on. Else the exit status. */
static int parse(struct command_line *cl, int argc, char **argv)
{
	int c;

	cl->source.file = CONFIG_FILE;
	add_set(cl, "log.target=stderr"); /* -f; left out below without it. An -o behind it wins. */
	while ((c = getopt(argc, argv, ":fhtTvVc:o:p:")) != -1) {
		switch (c) {
		case 'f':
			cl->foreground = true;
			break;
		case 'h':
			usage(stdout);
			return fflush(stdout) == 0 ? 0 : EXIT_START;
		case 't':
			cl->test = true;
			break;
		case 'T':
			cl->print = true;
			break;
		case 'v':
			cl->source.verbose++;
			break;
		case 'V':
			return version_print(stdout) == 0 ? 0 : EXIT_START;
		case 'c':
			cl->source.file = optarg;
			cl->source.file_required = true;
			break;
		case 'o':
			add_set(cl, optarg);
			break;
		case 'p':
			if (set_pidfile(cl, optarg) != 0)
				return EXIT_START;
			break;
		default:
			fprintf(stderr, "wsgated: -%c %s; see wsgated -h\n", optopt,
				c == ':' ? "needs a value" : "is no option");
			return EXIT_CONFIG;
		}
	}
	if (optind < argc)
		return misused("there are arguments that belong to no option");
	if (cl->pidfile)
		add_set(cl, cl->pidfile);
	cl->source.sets = cl->foreground ? cl->sets : cl->sets + 1;
	cl->source.nsets -= cl->foreground ? 0 : 1;
	return -1;
}

static void say_log_fault(const char *target)
{
	fprintf(stderr,
		"wsgated: log.target: %s cannot be opened (%s); make its directory, or the right "
		"to write there, or change log.target\n",
		target, strerror(errno));
}

/* In the background nobody reads standard error: then it is syslog, and errors of the start go to
 * both. */
static int open_log(const struct config *c, bool foreground)
{
	bool silent = !foreground && strcmp(c->log.target, "stderr") == 0;

	if (log_open(silent ? "syslog" : c->log.target, c->log.level, c->log.format) < 0) {
		say_log_fault(c->log.target);
		return -1;
	}
	log_echo(1);
	return 0;
}

/* What a start needs of this machine, and nothing is made for it. False after a line. */
static bool check_machine(const struct config *c)
{
	uid_t uid;
	gid_t gid;

	if (geteuid() == 0 && daemon_user(c->user, &uid, &gid) < 0) {
		fprintf(stderr, "wsgated: user: %s: %s\n", c->user,
			errno == ENOENT ? "there is no such user" : strerror(errno));
		return false;
	}
	if (log_check(c->log.target) < 0) {
		say_log_fault(c->log.target);
		return false;
	}
	return true;
}

static int check_only(const struct config *c, bool print)
{
	if (!print && !check_machine(c))
		return EXIT_CONFIG;
	if (print ? config_print(c, stdout) < 0
		  : puts("wsgated: the configuration is good") < 0 || fflush(stdout) != 0) {
		fprintf(stderr, "wsgated: standard output cannot be written (%s)\n",
			strerror(errno));
		return EXIT_START;
	}
	return 0;
}

static int run(const struct command_line *cl, int will)
{
	char err[1024];
	struct config *c = config_load_secret(&cl->source, err, sizeof(err));
	struct vault keys;
	int status = EXIT_START, certs = -1;

	if (!c || keyring_load(c, &keys, err, sizeof(err)) < 0) {
		fprintf(stderr, "wsgated: %s\n", err);
		config_free(c);
		return EXIT_CONFIG;
	}
	if (certs_read(c, &certs, cl->test || cl->print, err, sizeof(err)) < 0) {
		fprintf(stderr, "wsgated: %s\n", err);
		config_free(c);
		return EXIT_CONFIG;
	}
	certs_drop(&certs); /* it was only to be seen whether they are good */
	vault_free(&keys);  /* the master reads them for itself */
	if (cl->test || cl->print) {
		status = check_only(c, cl->print);
	} else if (open_log(c, cl->foreground) == 0) {
		log_set_process("master");
		if (daemon_cores(c->core_dumps == SWITCH_ON) < 0)
			log_warn("cannot set whether there are core dumps", kv_errno(errno));
		confine_look(c->seccomp);
		config_warn_open(c);
		status = master_run(c, &cl->source, cl->foreground, will);
	}
	config_free(c);
	return status;
}

int main(int argc, char **argv)
{
	struct command_line cl = {.foreground = false};
	sigset_t none;
	int status, will;

	daemon_standard_fds();
	sigemptyset(&none); /* who starts us may block what stops us */
	sigprocmask(SIG_SETMASK, &none, NULL);
	will = will_take(); /* before the environment is copied: nobody would free that string */
	daemon_title_init(argc, argv);
	signal(SIGPIPE, SIG_IGN); /* a log that nobody reads must not end us */
	cl.sets = calloc((size_t)argc + 2, sizeof(*cl.sets));
	if (!cl.sets) {
		fprintf(stderr, "wsgated: out of memory\n");
		return EXIT_START;
	}
	status = parse(&cl, argc, argv);
	if (status < 0)
		status = run(&cl, will);
	free(cl.pidfile);
	free(cl.sets);
	return status;
}
