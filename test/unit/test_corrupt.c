/* Readers of both rings and of the control channel, against records that were scribbled on: seeded,
 * so repeatable. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include <wsgate/chan.h>
#include <wsgate/record.h>
#include <wsgate/ring.h>

#define SIZE 4096u
#define ROUNDS 20000

static uint64_t state = 20251125;

static uint32_t dice(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 20) % n;
}

struct rig {
	struct ring_words words;
	uint8_t *data; /* its end is the allocation's: a sanitizer sees a byte too far */
	uint64_t start;
	struct ring w, r;
};

static void rig_begin(struct rig *g)
{
	g->data = malloc(SIZE);
	assert_non_null(g->data);
	memset(g->data, 0, SIZE);
	ring_init(&g->words);
	g->start = RING_START + 8u * dice(1024);
	g->words.head = g->words.tail = g->start;
	ring_attach_writer(&g->w, &g->words, g->data, SIZE);
	ring_attach_reader(&g->r, &g->words, g->data, SIZE);
}

static void put_up(struct rig *g, uint32_t n)
{
	size_t size = sizeof(struct up_record) + 2 + n;
	struct up_record *r = ring_reserve(&g->w, UP_MESSAGE, size);

	if (!r)
		return;
	memset(r, 0x55, size);
	*r = (struct up_record){.generation = 1, .len = n, .service_len = 1, .user_len = 1};
	ring_commit(&g->w);
}

static void put_down(struct rig *g, uint32_t n)
{
	bool notice = dice(3) == 0;
	size_t size = notice ? sizeof(struct down_notice) + n % 100
			     : sizeof(struct down_message) + 2 * sizeof(struct down_ref) + n;
	void *p = ring_reserve(&g->w, notice ? DOWN_CLOSE : DOWN_MESSAGE, size);

	if (!p)
		return;
	memset(p, 0x55, size);
	if (notice)
		*(struct down_notice *)p = (struct down_notice){.reason_len = (uint16_t)(n % 100)};
	else
		*(struct down_message *)p = (struct down_message){.nrefs = 2, .len = n};
	ring_commit(&g->w);
}

static volatile uint8_t sink;

static void touch(const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sink ^= ((const uint8_t *)p)[i];
}

/* As bridge and worker do: until something does not add up. True: nothing was wrong. */
static bool read_all(struct rig *g, bool up)
{
	uint64_t last = g->r.pos, pos;
	enum ring_read what;
	const void *p;
	uint16_t type;
	size_t size;

	while ((what = ring_next(&g->r, &type, &p, &size, &pos)) == RING_RECORD) {
		struct up_view u;
		struct down_view d;

		assert_true(pos >= last && g->r.pos > pos && g->r.pos - last <= SIZE);
		assert_true((const uint8_t *)p >= g->data &&
			    (const uint8_t *)p + size <= g->data + SIZE);
		last = g->r.pos;
		touch(p, size);
		if (up ? !up_parse(p, size, &u) : !down_parse(type, p, size, &d))
			return false;
		if (up) {
			touch(u.id.service, u.id.service_len);
			touch(u.id.user, u.id.user_len);
			touch(u.data, u.r.len);
		} else if (type == DOWN_MESSAGE) {
			touch(d.refs, d.m->nrefs * sizeof(*d.refs));
			touch(d.data, d.m->len);
		} else {
			touch(d.reason, d.n->reason_len);
		}
	}
	return what == RING_EMPTY;
}

static void scribble(struct rig *g)
{
	uint32_t n = 1 + dice(8);

	for (uint32_t i = 0; i < n; i++)
		g->data[dice(SIZE)] = (uint8_t)dice(256);
	switch (dice(8)) {
	case 0:
		g->words.head = state;
		break;
	case 1:
		g->words.head += dice(16);
		break;
	case 2:
		g->words.head += 8u * dice(SIZE);
		break;
	}
}

/* Whatever was scribbled, the next writer and its reader understand each other again. */
static void check_new_writer(struct rig *g, bool up)
{
	if (ring_skip(&g->r))
		ring_release(&g->r, g->r.pos);
	ring_attach_writer(&g->w, &g->words, g->data, SIZE);
	ring_attach_reader(&g->r, &g->words, g->data, SIZE);
	for (int i = 0; i < 20; i++) {
		uint64_t before = g->w.pos;

		(up ? put_up : put_down)(g, dice(300));
		assert_true(g->w.pos > before);
		assert_true(read_all(g, up));
		assert_true(g->r.pos == g->w.pos);
		ring_release(&g->r, g->r.pos);
		ring_refresh(&g->w);
	}
}

static void rings(bool up)
{
	unsigned noticed = 0;

	for (int i = 0; i < ROUNDS; i++) {
		struct rig g;

		rig_begin(&g);
		for (uint32_t k = dice(40); k > 0; k--)
			(up ? put_up : put_down)(&g, dice(200));
		scribble(&g);
		noticed += !read_all(&g, up);
		check_new_writer(&g, up);
		free(g.data);
	}
	assert_true(noticed > ROUNDS / 10);
}

static void test_up_ring(void **unused)
{
	(void)unused;
	rings(true);
}

static void test_down_ring(void **unused)
{
	(void)unused;
	rings(false);
}

/* ---- the control channel ---- */

struct seen {
	unsigned handled, gone;
	struct chan *chan;
};

static void on_slot(void *arg, const void *body, int fd)
{
	touch(body, sizeof(struct proto_slot));
	if (fd >= 0)
		close(fd);
	((struct seen *)arg)->handled++;
}

static void on_text(void *arg, const void *body, int fd)
{
	touch(body, sizeof(struct proto_text));
	if (fd >= 0)
		close(fd);
	((struct seen *)arg)->handled++;
}

static void on_gone(void *arg)
{
	struct seen *s = arg;

	s->gone++;
	chan_free(s->chan);
	s->chan = NULL;
}

static const struct chan_handler handlers[] = {
	{PROTO_DRAINED, sizeof(struct proto_slot), on_slot},
	{PROTO_FATAL, sizeof(struct proto_text), on_text},
	{0, 0, NULL},
};

static size_t make_message(uint8_t buf[4096])
{
	struct proto_header h = {PROTO_VERSION, dice(2) ? PROTO_DRAINED : PROTO_FATAL, 0};
	size_t n;

	h.size = h.type == PROTO_DRAINED ? sizeof(struct proto_slot) : sizeof(struct proto_text);
	n = sizeof(h) + h.size;
	for (size_t i = 0; i < 4096; i++)
		buf[i] = (uint8_t)dice(256);
	switch (dice(6)) {
	case 0:
		h.version = (uint16_t)dice(4);
		break;
	case 1:
		h.type = (uint16_t)dice(PROTO_MAX + 4);
		break;
	case 2:
		h.size = dice(5000);
		break;
	case 3:
		n = 1 + dice(4096);
		break;
	}
	memcpy(buf, &h, sizeof(h));
	return n;
}

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_channel(void **unused)
{
	struct event_base *base = event_base_new();
	int before = count_fds();
	unsigned refused = 0, handled = 0;

	(void)unused;
	for (int i = 0; i < 2000; i++) {
		struct seen s = {0};
		uint8_t buf[4096];
		int fds[2];

		assert_int_equal(chan_pair(fds), 0);
		s.chan = chan_new(base, fds[0], "test", handlers, on_gone, &s);
		assert_non_null(s.chan);
		for (int k = 0; k < 3; k++) {
			union {
				struct cmsghdr align;
				char space[CMSG_SPACE(3 * sizeof(int))];
			} control = {.space = {0}};
			struct iovec iov = {buf, make_message(buf)};
			struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
			size_t nfds = dice(4);
			int some[3] = {fds[1], fds[1], fds[1]};

			if (nfds) {
				m.msg_control = control.space;
				m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
				CMSG_FIRSTHDR(&m)->cmsg_level = SOL_SOCKET;
				CMSG_FIRSTHDR(&m)->cmsg_type = SCM_RIGHTS;
				CMSG_FIRSTHDR(&m)->cmsg_len = CMSG_LEN(nfds * sizeof(int));
				memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), some, nfds * sizeof(int));
			}
			(void)!sendmsg(fds[1], &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		}
		assert_true(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
		assert_true(s.gone <= 1 && s.handled <= 3);
		refused += s.gone;
		handled += s.handled;
		chan_free(s.chan);
		close(fds[1]);
	}
	assert_true(refused > 500 && handled > 500);
	assert_int_equal(
		count_fds(), before); /* what came along is closed, whatever it came with */
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_up_ring),
		cmocka_unit_test(test_down_ring),
		cmocka_unit_test(test_channel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
