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

/* A command: word, and what follows it after a blank ("" when nothing does). */
typedef void lines_command(void *ctx, const char *word, char *rest);

void lines_options(struct lines_options *o, int argc, char **argv);
void lines_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void lines_message(bool text, const void *data, size_t len);

/* Reads what standard input has, without waiting, and obeys each whole line; false at its end.
 * "busy" is done here: nothing else runs meanwhile. */
bool lines_read(lines_command *fn, void *ctx);

/* Message i of a "text" command; the caller frees it. */
char *lines_numbered(long i, size_t size);
/* That of a "binary" command; the caller frees it. */
uint8_t *lines_octets(size_t size);

#endif
