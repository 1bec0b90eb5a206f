/*
 * memory: see memory.h.
 */
#include <malloc.h>
#include <wsgate/memory.h>

void memory_forget(void)
{
	if (!mallctl) {
		(void)malloc_trim(0);
		return;
	}
	(void)mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
	(void)mallctl("arena.4096.purge", NULL, NULL, NULL, 0); /* MALLCTL_ARENAS_ALL */
}
