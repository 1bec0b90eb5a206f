#include <pthread.h>
#include <string.h>

#include <wsgate/clock.h>
#include <wsgate/notes.h>

void notes_make(struct proto_note *n, bool error, const char *text, size_t len)
{
	memset(n, 0, sizeof(*n));
	n->at_ms = clock_ms(CLOCK_REALTIME);
	n->error = error;
	memcpy(n->text, text, len < sizeof(n->text) ? len : sizeof(n->text) - 1);
}

void notes_tap(void *arg, bool error, const char *text, size_t len)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct notes *notes = arg;
	uint64_t written;
	struct note *at;
	uint32_t version;

	pthread_mutex_lock(&lock);
	written = atomic_load_explicit(&notes->written, memory_order_relaxed);
	at = &notes->v[written % NOTES_N];
	version = atomic_load_explicit(&at->version, memory_order_relaxed) | 1;
	atomic_store_explicit(&at->version, version, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	notes_make(&at->n, error, text, len);
	atomic_store_explicit(&at->version, version + 1, memory_order_release);
	atomic_store_explicit(&notes->written, written + 1, memory_order_release);
	pthread_mutex_unlock(&lock);
}

size_t notes_read(const struct notes *notes, struct proto_note out[NOTES_N])
{
	uint64_t written = atomic_load_explicit(&notes->written, memory_order_acquire);
	size_t n = 0;

	for (uint64_t i = written; i > 0 && i + NOTES_N > written; i--) {
		const struct note *at = &notes->v[(i - 1) % NOTES_N];
		uint32_t version = atomic_load_explicit(&at->version, memory_order_acquire);

		memcpy(&out[n], &at->n, sizeof(out[n]));
		atomic_thread_fence(memory_order_acquire);
		out[n].text[sizeof(out[n].text) - 1] = '\0';
		n += !(version & 1) &&
		     version == atomic_load_explicit(&at->version, memory_order_relaxed);
	}
	return n;
}
