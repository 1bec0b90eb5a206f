/*
 * json: what wsgatectl says with --json: one object a line. Room: ctl.
 */
#ifndef WSGATE_CTL_JSON_H
#define WSGATE_CTL_JSON_H

#include <wsgate/figures.h>

/* Takes it, and prints it. CTL_OK; or CTL_FAILED, said. */
int json_line(json_t *object);

#endif
