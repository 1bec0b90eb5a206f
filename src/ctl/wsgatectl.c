#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include <wsgate/broker.h>
#include <wsgate/log.h>

#include "ctl.h"

#define REASON_MAX 123 /* bytes: what a Close frame has room for */

struct command {
	const char *name;
	int min, max; /* arguments */
	int (*fn)(const struct config *c, const char *file, char **args, int n);
	const char *usage;
};

static volatile sig_atomic_t stopped;

static int misused(const char *usage)
{
	fprintf(stderr, "wsgatectl: %s\n", usage);
	return CTL_CONFIG;
}

/* Takes --json out of the arguments. */
static bool json_wanted(char **args, int *n)
{
	bool json = false;
	int kept = 0;

	for (int i = 0; i < *n; i++) {
		if (strcmp(args[i], "--json") == 0)
			json = true;
		else
			args[kept++] = args[i];
	}
	*n = kept;
	return json;
}

static int cmd_status(const struct config *c, const char *file, char **args, int n)
{
	bool json = json_wanted(args, &n);

	(void)file;
	return n ? misused("status [--json]") : status_show(c, json);
}

static int cmd_sessions(const struct config *c, const char *file, char **args, int n)
{
	bool json = json_wanted(args, &n);

	(void)file;
	if (n > 2)
		return misused("sessions [--json] [SERVICE [USER]]");
	return sessions_show(c, n > 0 ? args[0] : NULL, n > 1 ? args[1] : NULL, json);
}

static int cmd_check(const struct config *c, const char *file, char **args, int n)
{
	bool json = json_wanted(args, &n);

	return n ? misused("check [--json]") : check_show(c, file, json);
}

static bool number_of(const char *text, double least, double most, double *out)
{
	char *end;

	*out = strtod(text, &end);
	return end != text && *end == '\0' && *out >= least && *out <= most;
}

static int cmd_top(const struct config *c, const char *file, char **args, int n)
{
	struct top_options o = {.interval_ms = 1000, .json = json_wanted(args, &n)};
	double v;

	(void)file;
	for (int i = 0; i < n; i += 2) {
		if (i + 1 < n && strcmp(args[i], "-d") == 0 &&
			number_of(args[i + 1], 0.1, 3600, &v))
			o.interval_ms = (unsigned)(v * 1000);
		else if (i + 1 < n && strcmp(args[i], "-n") == 0 &&
			 number_of(args[i + 1], 1, 1e9, &v))
			o.count = (unsigned long)v;
		else
			return misused("top [--json] [-d SECONDS, 0.1 to 3600] [-n COUNT]");
	}
	return top_show(c, &o);
}

/* The same limits as a client's handshake has. */
static int identity_of(const char *service, const char *user, struct identity *id)
{
	*id = (struct identity){service, user, strlen(service), strlen(user)};
	if (id->service_len < 1 || id->service_len > TOKEN_MAX || id->user_len < 1 ||
		id->user_len > TOKEN_MAX) {
		fprintf(stderr, "wsgatectl: a service and a user have 1 to %d bytes\n", TOKEN_MAX);
		return -1;
	}
	return 0;
}

static int cmd_subject(const struct config *c, const char *file, char **args, int n)
{
	char send[SUBJECT_MAX], recv[SUBJECT_MAX];
	struct identity id;

	(void)file;
	(void)n;
	if (identity_of(args[0], args[1], &id) < 0)
		return CTL_FAILED;
	if (subject_format(SUBJECT_SEND, c->subject_prefix, &id, send, sizeof(send)) < 0 ||
		subject_format(SUBJECT_RECV, c->subject_prefix, &id, recv, sizeof(recv)) < 0) {
		fprintf(stderr, "wsgatectl: no subjects for these names\n");
		return CTL_FAILED;
	}
	printf("%s\n%s\n", send, recv);
	return CTL_OK;
}

static char *read_all(FILE *in, size_t *len)
{
	size_t cap = 4096;
	char *buf = malloc(cap), *bigger;

	*len = 0;
	while (buf) {
		*len += fread(buf + *len, 1, cap - *len, in);
		if (*len < cap)
			break;
		bigger = realloc(buf, cap *= 2);
		if (!bigger)
			free(buf);
		buf = bigger;
	}
	if (buf && ferror(in)) {
		free(buf);
		buf = NULL;
	}
	return buf;
}

static int cmd_send(const struct config *c, const char *file, char **args, int n)
{
	bool from_stdin = n < 3 || strcmp(args[2], "-") == 0;
	struct identity id;
	char err[512], *data;
	uint64_t seq = 0;
	size_t len;
	int r;

	(void)file;
	if (identity_of(args[0], args[1], &id) < 0)
		return CTL_FAILED;
	data = from_stdin ? read_all(stdin, &len) : args[2];
	if (!data) {
		fprintf(stderr, "wsgatectl: standard input: %s\n", strerror(errno));
		return CTL_FAILED;
	}
	if (!from_stdin)
		len = strlen(data);
	r = broker_send(c, &id, BROKER_TEXT_UNMARKED, data, len, &seq, err, sizeof(err));
	if (from_stdin)
		free(data);
	if (r < 0) {
		fprintf(stderr, "wsgatectl: not stored: %s\n", err);
		return CTL_FAILED;
	}
	printf("stored, sequence %llu\n", (unsigned long long)seq);
	return CTL_OK;
}

static void tail_ready(void *arg)
{
	fprintf(stderr, "listening to what clients of %s send; end with ^C\n", (const char *)arg);
}

/* Clients' bytes reach the terminal escaped: controls, and in UTF-8 the C1 controls too (U+0080 to
 * U+009F). */
static void print_escaped(const uint8_t *data, size_t len, bool text)
{
	for (size_t i = 0; i < len; i++) {
		uint8_t b = data[i];
		bool c1 = (i && data[i - 1] == 0xc2 && b < 0xa0) ||
			  (b == 0xc2 && i + 1 < len && data[i + 1] < 0xa0);

		if (b < 0x20 || b == 0x7f || b == '\\' || (b >= 0x80 && (!text || c1)))
			printf("\\x%02x", b);
		else
			putchar(b);
	}
}

static int tail_message(const struct broker_tail_message *m, void *arg)
{
	char user[TOKEN_ENCODED_MAX + 1];

	(void)arg;
	if (token_encode(m->id.user, m->id.user_len, user, sizeof(user)) < 0)
		user[0] = '\0';
	printf("%s ", user);
	print_escaped(m->data, m->len, m->text);
	putchar('\n');
	return fflush(stdout) == 0 ? 0 : 1;
}

static void on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

static int cmd_tail(const struct config *c, const char *file, char **args, int n)
{
	struct sigaction sa = {.sa_handler = on_signal};
	char err[512];

	(void)file;
	(void)n;
	if (strlen(args[0]) < 1 || strlen(args[0]) > TOKEN_MAX) {
		fprintf(stderr, "wsgatectl: a service has 1 to %d bytes\n", TOKEN_MAX);
		return CTL_FAILED;
	}
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	if (broker_tail(c, args[0], strlen(args[0]), tail_ready, tail_message, args[0], &stopped,
		    err, sizeof(err)) < 0) {
		fprintf(stderr, "wsgatectl: %s\n", err);
		return CTL_FAILED;
	}
	return CTL_OK;
}

static int cmd_reload(const struct config *c, const char *file, char **args, int n)
{
	(void)file;
	(void)args;
	(void)n;
	return order_reload(c);
}

/* No overlong forms, no surrogates, nothing above U+10FFFF: a client would have to fail the
 * connection. */
static bool utf8_text(const char *s)
{
	mbstate_t state;
	size_t n;

	memset(&state, 0, sizeof(state));
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		return true; /* the worker looks, too */
	n = mbsrtowcs(NULL, &s, 0, &state);
	setlocale(LC_CTYPE, "C");
	return n != (size_t)-1;
}

static bool code_of(const char *text, uint16_t *code)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	*code = (uint16_t)v;
	return *end == '\0' &&
	       (v == 1000 || v == 1008 || v == 1012 || v == 1013 || (v >= 3000 && v <= 4999));
}

static int cmd_close(const struct config *c, const char *file, char **args, int n)
{
	const char *reason = "closed by an operator";
	struct identity id;
	uint16_t code = 4002;

	(void)file;
	if (identity_of(args[0], args[1], &id) < 0)
		return CTL_FAILED;
	for (int i = 2; i < n; i += 2) {
		if (i + 1 < n && strcmp(args[i], "--reason") == 0) {
			reason = args[i + 1];
		} else if (i + 1 == n || strcmp(args[i], "--code") != 0) {
			fprintf(stderr,
				"wsgatectl: close SERVICE USER [--code N] [--reason TEXT]\n");
			return CTL_CONFIG;
		} else if (!code_of(args[i + 1], &code)) {
			fprintf(stderr,
				"wsgatectl: codes are 1000, 1008, 1012, 1013 and 3000 to 4999\n");
			return CTL_CONFIG;
		}
	}
	if (strlen(reason) > REASON_MAX || !utf8_text(reason)) {
		fprintf(stderr, "wsgatectl: a reason has at most %d bytes of UTF-8\n", REASON_MAX);
		return CTL_CONFIG;
	}
	return order_close(c, &id, code, reason);
}

static int cmd_trace(const struct config *c, const char *file, char **args, int n)
{
	struct identity id;
	double seconds = 60;

	(void)file;
	if ((n != 2 && n != 4) || (n == 4 && (strcmp(args[2], "--seconds") != 0 ||
						     !number_of(args[3], 0, 65535, &seconds))))
		return misused("trace SERVICE USER [--seconds N, 0 to 65535; 0: no longer]");
	if (identity_of(args[0], args[1], &id) < 0)
		return CTL_FAILED;
	return order_trace(c, &id, (uint16_t)seconds);
}

static int cmd_drain(const struct config *c, const char *file, char **args, int n)
{
	double seconds = 0;
	bool wait = false, good = true;

	(void)file;
	for (int i = 0; i < n && good; i++) {
		if (strcmp(args[i], "--wait") == 0)
			wait = true;
		else
			good = strcmp(args[i], "--time") == 0 && ++i < n &&
			       number_of(args[i], 1, 65535, &seconds);
	}
	return good ? order_drain(c, (uint16_t)seconds, wait)
		    : misused("drain [--time SECONDS, 1 to 65535] [--wait]");
}

static int cmd_undrain(const struct config *c, const char *file, char **args, int n)
{
	(void)file;
	(void)args;
	(void)n;
	return order_undrain(c);
}

static const struct command commands[] = {
	{"status", 0, 1, cmd_status,
		"status [--json]             one screen: processes, connections, broker"},
	{"top", 0, 5, cmd_top,
		"top [--json] [-d SECONDS] [-n COUNT]   the same, live: by service and by worker"},
	{"sessions", 0, 3, cmd_sessions,
		"sessions [--json] [SERVICE [USER]]   the connections that are open"},
	{"send", 2, 3, cmd_send,
		"send SERVICE USER [TEXT|-]  publish to a user, as a service does"},
	{"tail", 1, 1, cmd_tail, "tail SERVICE                show what clients send, live"},
	{"close", 2, 6, cmd_close,
		"close SERVICE USER [--code N] [--reason TEXT]   end the connections of a user"},
	{"trace", 2, 4, cmd_trace,
		"trace SERVICE USER [--seconds N]   the log follows each message of a user"},
	{"reload", 0, 0, cmd_reload,
		"reload                      apply the configuration as it is now; says how it "
		"went"},
	{"drain", 0, 3, cmd_drain,
		"drain [--time SECONDS] [--wait]   not ready; connections are closed over a time; "
		"it "
		"goes on without any"},
	{"undrain", 0, 0, cmd_undrain, "undrain                     it takes connections again"},
	{"subject", 2, 2, cmd_subject,
		"subject SERVICE USER        print the two subjects of a user"},
	{"check", 0, 1, cmd_check,
		"check [--json]              is the configuration good, the daemon up, the broker "
		"there?"},
};

static int usage(FILE *out, int status)
{
	fprintf(out, "usage: wsgatectl [-fhvV] [-c file] [-o key=value]... [-p pidfile] command\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		fprintf(out, "  %s\n", commands[i].usage);
	return status;
}

static int run(const struct config_source *source, char **args, int n)
{
	struct config *c;
	char err[1024];
	int status;

	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		const struct command *cmd = &commands[i];

		if (strcmp(cmd->name, args[0]) != 0)
			continue;
		if (n - 1 < cmd->min || n - 1 > cmd->max)
			return usage(stderr, CTL_CONFIG);
		/* Others need no more rights than they had. */
		c = (cmd->fn == cmd_send || cmd->fn == cmd_tail ? config_load_secret : config_load)(
			source, err, sizeof(err));
		if (!c) {
			fprintf(stderr, "wsgatectl: %s\n", err);
			return cmd->fn == cmd_check ? check_show(NULL, err, json_wanted(args, &n))
						    : CTL_CONFIG;
		}
		status = cmd->fn(c, source->file, args + 1, n - 1);
		config_free(c);
		return status;
	}
	fprintf(stderr, "wsgatectl: no command %s\n", args[0]);
	return usage(stderr, CTL_CONFIG);
}

int main(int argc, char **argv)
{
	struct config_source source = {.file = CONFIG_FILE, .names_only = true};
	const char **sets = calloc((size_t)argc + 1, sizeof(*sets));
	char pidfile[4096] = "";
	int c, status;

	if (!sets)
		return CTL_FAILED;
	source.sets = sets;
	signal(SIGPIPE, SIG_IGN);
	(void)log_open("stderr", LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
	while ((c = getopt(argc, argv, "+hVfvc:o:p:")) != -1) {
		switch (c) {
		case 'c':
			source.file = optarg;
			source.file_required = true;
			break;
		case 'o':
			sets[source.nsets++] = optarg;
			break;
		case 'p':
			snprintf(pidfile, sizeof(pidfile), "pidfile=%s", optarg);
			break;
		case 'f':
		case 'v':
			break; /* DAEMON_OPTS may be given to both programs */
		case 'V':
			printf("wsgatectl %s\n", WSGATE_VERSION);
			free(sets);
			return CTL_OK;
		default:
			free(sets);
			return usage(c == 'h' ? stdout : stderr, c == 'h' ? CTL_OK : CTL_CONFIG);
		}
	}
	if (pidfile[0])
		sets[source.nsets++] = pidfile; /* as in wsgated: after all others */
	status = optind < argc ? run(&source, argv + optind, argc - optind)
			       : usage(stderr, CTL_CONFIG);
	free(sets);
	return status;
}
