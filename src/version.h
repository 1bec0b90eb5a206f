/*
 * version: of this program and of the libraries that it is linked with.
 */
#ifndef WSGATE_VERSION_H
#define WSGATE_VERSION_H

#include <stdio.h>

/* 0, or -1 when out cannot be written. */
int version_print(FILE *out);

#endif
