#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include <wsgate/route.h>

#define load(field) atomic_load_explicit(&(field), memory_order_relaxed)
#define store(field, v) atomic_store_explicit(&(field), (v), memory_order_relaxed)

void route_id_text(uint64_t id, char out[ROUTE_ID_TEXT])
{
	static const char hex[] = "0123456789abcdef";

	for (int i = 15; i >= 0; i--, id >>= 4)
		out[i] = hex[id & 15];
	out[16] = '\0';
}

void route_get_figures(const struct route_section *s, uint32_t index, struct route_figures *out)
{
	const struct route *r = &s->routes[index];

	*out = (struct route_figures){load(r->bytes_in), load(r->bytes_out), load(r->messages_in),
		load(r->messages_out), load(r->messages_confirmed), r->opened_s};
}

static void route_set_figures(struct route *r, const struct route_figures *f)
{
	store(r->bytes_in, f->bytes_in);
	store(r->bytes_out, f->bytes_out);
	store(r->messages_in, f->messages_in);
	store(r->messages_out, f->messages_out);
	store(r->messages_confirmed, f->messages_confirmed);
	r->opened_s = f->opened_s;
}

/* The names change only while generation is 0: whoever saw the same generation twice has them
 * whole. */
static bool route_names(const struct route_section *s, uint32_t index, struct route_view *out)
{
	const struct route *r = &s->routes[index];
	const char *names = r->names;

	out->service_len = r->service_len;
	out->user_len = r->user_len;
	if (out->service_len > TOKEN_MAX || out->user_len > TOKEN_MAX)
		return false;
	if (out->service_len + out->user_len > ROUTE_INLINE)
		names = s->longs + (size_t)index * ROUTE_LONG;
	memcpy(out->service, names, out->service_len);
	memcpy(out->user, names + out->service_len, out->user_len);
	out->id = s->ids[index];
	route_get_figures(s, index, &out->figures);
	out->service_row = r->service;
	memcpy(out->addr, r->addr, sizeof(out->addr));
	out->port = r->port;
	return true;
}

static void route_marks(const struct route *r, struct route_view *out)
{
	uint32_t epoch;

	do {
		epoch = atomic_load_explicit(&r->epoch, memory_order_acquire);
		out->given = atomic_load_explicit(&r->given, memory_order_acquire);
		out->confirmed = atomic_load_explicit(&r->confirmed, memory_order_acquire);
		atomic_thread_fence(memory_order_acquire);
	} while (epoch != atomic_load_explicit(&r->epoch, memory_order_relaxed));
	out->epoch = epoch;
	out->state = (enum route_state)atomic_load_explicit(&r->state, memory_order_acquire);
}

bool route_read(const struct route_section *s, uint32_t index, struct route_view *out)
{
	const struct route *r = &s->routes[index];
	bool ok;

	if (index >= s->n)
		return false;
	out->generation = atomic_load_explicit(&r->generation, memory_order_acquire);
	if (!out->generation)
		return false;
	route_marks(r, out);
	ok = route_names(s, index, out);
	atomic_thread_fence(memory_order_acquire);
	return ok && out->generation == atomic_load_explicit(&r->generation, memory_order_relaxed);
}

bool route_read_marks(
	const struct route_section *s, uint32_t index, uint64_t generation, struct route_view *out)
{
	const struct route *r = &s->routes[index];

	if (index >= s->n ||
		atomic_load_explicit(&r->generation, memory_order_acquire) != generation)
		return false;
	route_marks(r, out);
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&r->generation, memory_order_relaxed) == generation;
}

void route_write(const struct route_section *s, uint32_t index, uint64_t generation,
	const struct identity *who, const struct route_birth *birth)
{
	struct route *r = &s->routes[index];
	char *names = r->names;

	route_clear(s, index);
	if (who->service_len + who->user_len > ROUTE_INLINE)
		names = s->longs + (size_t)index * ROUTE_LONG;
	memcpy(names, who->service, who->service_len);
	memcpy(names + who->service_len, who->user, who->user_len);
	r->service_len = (uint8_t)who->service_len;
	r->user_len = (uint8_t)who->user_len;
	r->service = (uint8_t)birth->service;
	s->ids[index] = birth->id;
	memcpy(r->addr, birth->peer.addr, sizeof(r->addr));
	r->port = birth->peer.port;
	route_set_figures(r, &birth->figures);
	store(r->given, birth->given);
	store(r->confirmed, birth->confirmed);
	store(r->epoch, birth->epoch);
	store(r->state, birth->moved ? ROUTE_MOVED : ROUTE_OPENING);
	atomic_store_explicit(&r->generation, generation, memory_order_release);
}

void route_set_state(const struct route_section *s, uint32_t index, enum route_state state)
{
	atomic_store_explicit(&s->routes[index].state, (uint8_t)state, memory_order_release);
}

void route_set_given(const struct route_section *s, uint32_t index, uint64_t seq)
{
	atomic_store_explicit(&s->routes[index].given, seq, memory_order_release);
}

void route_set_confirmed(const struct route_section *s, uint32_t index, uint64_t seq)
{
	atomic_store_explicit(&s->routes[index].confirmed, seq, memory_order_release);
}

void route_set_epoch(const struct route_section *s, uint32_t index, uint32_t epoch)
{
	struct route *r = &s->routes[index];

	/* In this order: a reader that still sees the old epoch sees a mark that is too low, never
	 * too high. */
	atomic_store_explicit(&r->confirmed, 0, memory_order_release);
	atomic_store_explicit(&r->given, 0, memory_order_release);
	atomic_store_explicit(&r->epoch, epoch, memory_order_release);
}

void route_clear(const struct route_section *s, uint32_t index)
{
	struct route *r = &s->routes[index];

	atomic_store_explicit(&r->generation, 0, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&r->state, ROUTE_FREE, memory_order_relaxed);
}

uint32_t changes_size_for(uint32_t routes)
{
	uint32_t size = 64;

	while (size < 2 * routes)
		size *= 2;
	return size;
}

bool changes_push(struct changes *c, uint32_t index)
{
	uint64_t head = atomic_load_explicit(&c->words->head, memory_order_relaxed);
	uint64_t tail;

	/* Dekker with changes_take(): the route was written; either the bridge reads it after
	 * taking the entry that is there, or we see that entry taken and put another. */
	atomic_thread_fence(memory_order_seq_cst);
	tail = atomic_load_explicit(&c->words->tail, memory_order_relaxed);
	if (c->pushed[index] && c->pushed[index] > tail)
		return true;
	if (head - tail >= c->size)
		return false;
	atomic_store_explicit(&c->list[head & (c->size - 1)], index, memory_order_relaxed);
	atomic_store_explicit(&c->words->head, head + 1, memory_order_release);
	c->pushed[index] = head + 1;
	return true;
}

size_t changes_take(struct changes *c, uint32_t *out, size_t max)
{
	uint64_t tail = atomic_load_explicit(&c->words->tail, memory_order_relaxed);
	uint64_t head = atomic_load_explicit(&c->words->head, memory_order_acquire);
	size_t n = 0;

	if (head - tail > c->size) /* scribbled on: the caller scans all routes at its next start */
		tail = head;
	while (n < max && tail != head)
		out[n++] = atomic_load_explicit(
			&c->list[tail++ & (c->size - 1)], memory_order_relaxed);
	atomic_store_explicit(&c->words->tail, tail, memory_order_release);
	atomic_thread_fence(memory_order_seq_cst);
	return n;
}

void route_addr_name(char out[ROUTE_ADDR_NAME], const uint8_t addr[16], uint16_t port)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	bool v4 = memcmp(addr, mapped, sizeof(mapped)) == 0;
	char host[INET6_ADDRSTRLEN] = "?";

	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? addr + 12 : addr, host, sizeof(host));
	snprintf(out, ROUTE_ADDR_NAME, v4 ? "%s:%u" : "[%s]:%u", host, port);
}
