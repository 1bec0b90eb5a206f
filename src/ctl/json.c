#include <stdio.h>

#include "ctl.h"
#include "json.h"

int json_line(json_t *object)
{
	int r = figures_complete() && object ? json_dumpf(object, stdout, JSON_COMPACT) : -1;

	json_decref(object);
	if (r < 0) {
		fprintf(stderr, "wsgatectl: out of memory, or standard output cannot be written\n");
		return CTL_FAILED;
	}
	putchar('\n');
	return CTL_OK;
}
