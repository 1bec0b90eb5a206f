/* What the clients in C share: lines out, lines in, the messages of the protocol (README). */
#ifndef CLIENTS_LINES_H
#define CLIENTS_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The command line. The strings are argv's. */
struct lines_options {
	const char *url;
	const char *cookie; /* NULL: none */
	const char *ca;     /* NULL: none */
	bool deflate;
	bool tls;                   /* the URL begins with wss:// */
	char host[256], path[1024]; /* of the URL */
	int port;
};

enum lines_kind { LINES_TEXT, LINES_BINARY, LINES_PING };

/* What the commands come down to. The data ends with a NUL that does not count. */
struct lines_acts {
	void (*send)(void *ctx, enum lines_kind kind, const void *data, size_t len);
	void (*close)(void *ctx, int code, const char *reason);
	void (*take)(void *ctx, bool on); /* "pause" and "resume"; NULL: the library cannot */
	bool pings;                       /* it can send one */
};

void lines_options(struct lines_options *o, int argc, char **argv);
void lines_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void lines_message(bool text, const void *data, size_t len);

/* Reads what standard input has, without waiting, and obeys each whole line; false at its end.
 * "busy" is done here: nothing else runs meanwhile. */
bool lines_read(const struct lines_acts *acts, void *ctx);

#endif
