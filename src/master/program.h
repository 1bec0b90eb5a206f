/*
 * program: the process of the program that is to replace this one. Room: master.
 */
#ifndef WSGATE_MASTER_PROGRAM_H
#define WSGATE_MASTER_PROGRAM_H

#include <sys/types.h>

struct upgrade;

/* With the arguments and the environment of this one, and `will` (see will.h); error >= 0 becomes
 * its standard error. It leads a process group. -1 with errno. */
pid_t program_start(int will, int error);
/* An event of u->says: each line goes to the log. */
void program_on_words(int fd, short what, void *upgrade);
/* It is dead: what it said to the end. */
void program_last_words(struct upgrade *u);
void program_words_end(struct upgrade *u);

#endif
