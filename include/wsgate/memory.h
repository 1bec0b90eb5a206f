/*
 * memory: what the allocator keeps. Room: base.
 */
#ifndef WSGATE_MEMORY_H
#define WSGATE_MEMORY_H

#include <stddef.h>

/* jemalloc's (jemalloc(3)); NULL where the program was not linked with it. */
int mallctl(const char *name, void *old, size_t *old_len, void *new, size_t new_len)
	__attribute__((weak));

/*
 * Gives whole pages that are free back to the kernel, and so forgets what lay there: copies of
 * secrets that libraries made and freed, as libconfuse's lexer does. What lies free beside
 * something in use stays. Some hundred microseconds; calling threads' own caches alone are emptied.
 */
void memory_forget(void);

#endif
