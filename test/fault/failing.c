/*
 * An allocator that fails on demand, linked into a wsgated of its own (see fault.mk): its own calls
 * by --wrap, those of libevent by its hook. The file that WSGATE_FAILING names holds two words that
 * the test writes: the pid that suffers, and how many of 1000 allocations fail there; above 1000
 * the process says so on standard error and aborts, as libraries do.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <event2/event.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *s);

static volatile const uint32_t *words;

static int fails(void)
{
	static const char last_words[] = "failing: these are the last words\n";
	static _Thread_local uint64_t state = 88172645463325252u;

	if (!words || !words[1] || words[0] != (uint32_t)getpid())
		return 0;
	if (words[1] > 1000) {
		(void)!write(STDERR_FILENO, last_words, sizeof(last_words) - 1);
		abort();
	}
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	errno = ENOMEM;
	return (state >> 20) % 1000 < words[1];
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *s)
{
	size_t n = strlen(s) + 1;
	char *copy = __wrap_malloc(n);

	return copy ? memcpy(copy, s, n) : NULL;
}

__attribute__((constructor)) static void failing_start(void)
{
	const char *path = getenv("WSGATE_FAILING");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *p = fd >= 0 ? mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (fd >= 0)
		close(fd);
	if (p != MAP_FAILED)
		words = p;
	event_set_mem_functions(__wrap_malloc, __wrap_realloc, free);
}
