#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include <wsgate/chan.h>
#include <wsgate/log.h>

struct seen {
	unsigned slots, bells, gone;
	uint64_t generation;
	int fd;
	struct chan *chan;
	bool free_in_callback;
};

static struct event_base *base;

static void on_slot(void *arg, const void *body, int fd)
{
	struct seen *s = arg;
	const struct proto_slot *slot = body;

	s->slots++;
	s->generation = slot->generation;
	s->fd = fd;
	if (s->free_in_callback) {
		chan_free(s->chan);
		s->chan = NULL;
	}
}

static void on_bell(void *arg, const void *body, int fd)
{
	struct seen *s = arg;

	(void)body;
	(void)fd;
	s->bells++;
}

static void on_gone(void *arg)
{
	struct seen *s = arg;

	s->gone++;
	chan_free(s->chan);
	s->chan = NULL;
}

static const struct chan_handler handlers[] = {
	{PROTO_WORKER_UP, sizeof(struct proto_slot), on_slot},
	{PROTO_DOORBELL, 0, on_bell},
	{0, 0, NULL},
};

static void turn(void)
{
	assert_true(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
}

static int open_pair(struct seen *s)
{
	int fds[2];

	memset(s, 0, sizeof(*s));
	s->fd = -1;
	base = event_base_new();
	assert_non_null(base);
	assert_int_equal(chan_pair(fds), 0);
	s->chan = chan_new(base, fds[0], "test", handlers, on_gone, s);
	assert_non_null(s->chan);
	return fds[1];
}

static void close_pair(struct seen *s, int peer)
{
	chan_free(s->chan);
	if (peer >= 0)
		close(peer);
	event_base_free(base);
}

static void test_messages(void **state)
{
	struct proto_slot body = {3, 0, 77};
	struct seen s;
	int peer = open_pair(&s);

	(void)state;
	assert_int_equal(chan_send_fd(peer, PROTO_WORKER_UP, &body, sizeof(body), -1), 0);
	assert_int_equal(chan_send_fd(peer, PROTO_DOORBELL, NULL, 0, -1), 0);
	assert_int_equal(chan_send_fd(peer, PROTO_DOORBELL, NULL, 0, -1), 0);
	turn();
	assert_int_equal(s.slots, 1);
	assert_int_equal(s.generation, 77);
	assert_int_equal(s.bells, 2);
	assert_int_equal(s.fd, -1);
	assert_int_equal(s.gone, 0);
	close_pair(&s, peer);
}

static void test_descriptor(void **state)
{
	struct proto_slot body = {0, 0, 1};
	struct seen s;
	int peer = open_pair(&s), p[2];
	char c;

	(void)state;
	assert_int_equal(pipe(p), 0);
	assert_int_equal(chan_send_fd(peer, PROTO_WORKER_UP, &body, sizeof(body), p[0]), 0);
	turn();
	assert_true(s.fd >= 0);
	assert_int_not_equal(s.fd, p[0]);
	assert_int_equal(fcntl(s.fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(write(p[1], "x", 1), 1);
	assert_int_equal(read(s.fd, &c, 1), 1);
	close(s.fd);
	close(p[0]);
	close(p[1]);
	close_pair(&s, peer);
}

/* Another version, an unknown type, a wrong size, too little, too much: the channel ends, nothing
 * is handled. */
static void test_nonsense(void **state)
{
	char big[PROTO_BODY_MAX + 64] = {0};
	struct {
		struct proto_header h;
		struct proto_slot s;
	} m[] = {
		{{PROTO_VERSION + 1, PROTO_WORKER_UP, sizeof(struct proto_slot)}, {0, 0, 1}},
		{{PROTO_VERSION, 999, sizeof(struct proto_slot)}, {0, 0, 1}},
		{{PROTO_VERSION, PROTO_WORKER_UP, 4}, {0, 0, 1}},
		{{PROTO_VERSION, PROTO_STOP, sizeof(struct proto_slot)}, {0, 0, 1}},
	};
	struct seen s;

	(void)state;
	for (size_t i = 0; i < sizeof(m) / sizeof(*m) + 2; i++) {
		int peer = open_pair(&s);

		if (i < sizeof(m) / sizeof(*m))
			assert_int_equal(send(peer, &m[i], sizeof(m[i]), 0), sizeof(m[i]));
		else if (i == sizeof(m) / sizeof(*m))
			assert_int_equal(send(peer, "abc", 3, 0), 3);
		else
			assert_int_equal(send(peer, big, sizeof(big), 0), sizeof(big));
		turn();
		assert_int_equal(s.slots, 0);
		assert_int_equal(s.gone, 1);
		close_pair(&s, peer);
	}
}

static void test_peer_gone(void **state)
{
	struct seen s;
	int peer = open_pair(&s);

	(void)state;
	close(peer);
	turn();
	assert_int_equal(s.gone, 1);
	close_pair(&s, -1);
}

static void test_freed_in_callback(void **state)
{
	struct proto_slot body = {0, 0, 1};
	struct seen s;
	int peer = open_pair(&s);

	(void)state;
	s.free_in_callback = true;
	assert_int_equal(chan_send_fd(peer, PROTO_WORKER_UP, &body, sizeof(body), -1), 0);
	assert_int_equal(chan_send_fd(peer, PROTO_WORKER_UP, &body, sizeof(body), -1), 0);
	turn();
	assert_int_equal(s.slots, 1);
	assert_null(s.chan);
	close_pair(&s, peer);
}

/* A peer that does not read: an error at once, never a wait. */
static void test_never_blocks(void **state)
{
	struct seen s;
	int peer = open_pair(&s), n = 0;

	(void)state;
	while (chan_send(s.chan, PROTO_DOORBELL, NULL, 0, -1) == 0)
		assert_true(++n < 1000000);
	assert_int_equal(errno, EAGAIN);
	close_pair(&s, peer);
}

/* The descriptor of a new log may not come: the receiver has no room for it. */
static void test_new_log_without_its_file(void **state)
{
	const struct proto_log file = {PROTO_LOG_FILE, 0};
	char text[4096] = "";
	ssize_t n;
	int fd = memfd_create("log", MFD_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(log_follow(false, fd), 0);
	chan_on_log(NULL, &file, -1);
	log_error("and this");
	n = pread(fd, text, sizeof(text) - 1, 0);
	assert_true(n > 0);
	assert_non_null(strstr(text, "this process stays with the old one"));
	assert_non_null(strstr(text, "and this"));
	close(fd);
	assert_int_equal(log_follow(false, -1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_descriptor),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_peer_gone),
		cmocka_unit_test(test_freed_in_callback),
		cmocka_unit_test(test_never_blocks),
		cmocka_unit_test(test_new_log_without_its_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
