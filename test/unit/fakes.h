/*
 * fakes: a real master whose worker_main and bridge_main are puppets. Each calls the test over a
 * socket, says who it is, reports what the master tells it, and does what the test says.
 */
#ifndef WSGATE_TEST_FAKES_H
#define WSGATE_TEST_FAKES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <wsgate/config.h>

struct fake {
	int fd; /* -1: none */
	bool bridge;
	unsigned slot;
	uint64_t generation;
	pid_t pid;
	char generations[64]; /* the bridge's heritage: "1 1" */
	unsigned nstale;
	int predecessor;
};

extern struct config fakes_config;
extern char fakes_dir[64];
extern pid_t fakes_master;

extern char fakes_file[80]; /* what a reload reads; there is none at first */

/* A folder, the socket and a configuration with two workers. Setup and teardown of each test. */
int fakes_setup(void **state);
int fakes_teardown(void **state);

void fakes_start(void); /* forks the master */
/* Writes the file, and asks a master that runs for a reload. */
void fakes_configure(const char *text);
/* The same with so many workers instead of two, and nothing else. */
void fakes_workers(unsigned n);
/* In a program that the master starts to replace it: a master as that one. */
int fakes_heir(int will);
int fakes_end(void); /* waits for its end: exit status, or 128 + signal */
/* The next child that calls; fails when none does in time. */
struct fake fakes_accept(void);
/* Bridge and all workers of a start, by slot, all of them ready. */
void fakes_accept_all(struct fake *bridge, struct fake *workers);
bool fakes_called(void); /* somebody waits to be accepted */
/* Orders, in the words of fakes.c. */
void fakes_order(const struct fake *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The next report is this one. "end": the child is gone. */
void fakes_expect(const struct fake *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same; reports that begin with `other` do not count. */
void fakes_expect_after(const struct fake *f, const char *other, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The next two, in any order. */
void fakes_expect_both(const struct fake *f, const char *one, const char *other);
/* Reads the log of the master until a line holds this; fails when none does in time. */
void fakes_log(const char *part);
/* The number behind the last such part of it. */
long fakes_log_number(const char *part);
void fakes_forget_log(void); /* what was logged so far does not count any more */

#endif
