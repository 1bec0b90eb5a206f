/* A worker that gets connections of ours ends: what it took is its own, the rest is ours again. The
 * rest of the worker is played. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../src/worker/heir.h"
#include "../../src/worker/pack.h"
#include "../../src/worker/sealed.h"

static struct worker w;
static struct conn conns[3];
static struct heir heir;
static int theirs;
static bool is_theirs[3], is_ours[3];
static unsigned gone;

/* ---- the rest of a worker ---- */

void conn_leave(struct conn *c)
{
	c->state = CONN_LEAVING & 15;
}

void move_answered(struct worker *worker, struct conn *c, bool taken)
{
	assert_ptr_equal(worker, &w);
	assert_false(is_theirs[c - conns] || is_ours[c - conns]); /* once */
	(taken ? is_theirs : is_ours)[c - conns] = true;
}

void move_heir_gone(struct worker *worker)
{
	(void)worker;
	gone++;
}

void move_go_on(struct worker *worker)
{
	(void)worker;
}

void link_wakeup(struct worker *worker)
{
	(void)worker;
}

uint32_t link_waited_us(const struct conn *c)
{
	(void)c;
	return 0;
}

uint64_t worker_clock(void)
{
	return 1;
}

void place_describe(const struct conn *c, struct parcel_head *h, struct identity *who)
{
	(void)c;
	(void)h;
	(void)who;
}

size_t upgrade_answer_text(const struct conn *c, char out[UPGRADE_ANSWER_MAX])
{
	(void)c;
	memcpy(out, "101", 3);
	return 3;
}

void pack_describe(const struct conn *c, struct parcel_head *h)
{
	(void)c;
	(void)h;
}

size_t pack_windows(struct conn *c, const struct parcel_head *h, uint8_t *out)
{
	(void)c;
	(void)h;
	(void)out;
	return 0;
}

size_t sealed_pack(const struct conn *c, uint8_t *out)
{
	(void)c;
	(void)out;
	return 0;
}

/* ---- */

static int setup(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
	theirs = fds[1];
	memset(&w, 0, sizeof(w));
	memset(&heir, 0, sizeof(heir));
	memset(is_theirs, 0, sizeof(is_theirs));
	memset(is_ours, 0, sizeof(is_ours));
	memset(conns, 0, sizeof(conns));
	gone = 0;
	w.base = event_base_new();
	assert_int_equal(heir_open(&heir, &w, fds[0]), 0);
	for (int i = 0; i < 3; i++) {
		conns[i].w = &w;
		conns[i].fd = STDIN_FILENO; /* any will do, but for one of the two */
		conns[i].route = NO_ROUTE;
		conns[i].echo = 1;
		conns[i].state = CONN_OPEN & 15;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	heir_close(&heir);
	event_base_free(w.base);
	for (int i = 0; i < 3; i++) {
		free(conns[i].out.buf);
		free(conns[i].close_reason);
	}
	return 0;
}

/* Reads one parcel; its id. */
static uint64_t take(struct parcel_head *head)
{
	struct parcel_note note;
	uint8_t buf[4096];
	int fd;

	assert_true(parcel_receive(theirs, &note, buf, sizeof(buf), &fd) >= (long)sizeof(*head));
	assert_true(fd >= 0);
	close(fd);
	memcpy(head, buf, sizeof(*head));
	return note.id;
}

/* It ends, and has not read all: the system tells us of that before what it had said. */
static void ends(bool we_read)
{
	struct parcel_head head;
	uint64_t id;

	for (int i = 0; i < 3; i++)
		assert_true(heir_give(&heir, &conns[i]));
	id = take(&head);
	assert_int_equal(parcel_send(theirs, PARCEL_TAKEN, id, NULL, 0, -1), 0);
	id = take(&head);
	assert_int_equal(parcel_send(theirs, PARCEL_REFUSED, id, NULL, 0, -1), 0);
	close(theirs);
	if (we_read)
		event_base_loop(w.base, EVLOOP_ONCE);
	else /* found when we write */
		heir_kick(&heir, &conns[2], 1000, ""), assert_false(heir_give(&heir, &conns[0]));
	assert_int_equal(gone, 1);
	assert_true(is_theirs[0]);
	assert_true(is_ours[1]);
	assert_true(is_ours[2]);
	assert_false(heir_takes(&heir));
}

static void test_ends(void **state)
{
	(void)state;
	ends(true);
}

static void test_ends_while_we_write(void **state)
{
	(void)state;
	ends(false);
}

/* Its socket is full: nothing is packed for it before it has read. */
static void test_full(void **state)
{
	struct parcel_note note;
	uint8_t buf[4096];
	int size = 1, fd;

	(void)state;
	assert_int_equal(setsockopt(heir.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	while (parcel_send(heir.fd, PARCEL_TAKEN, 0, NULL, 0, -1) == 0)
		;
	assert_int_equal(errno, EAGAIN);
	assert_true(heir_takes(&heir));
	assert_false(heir_give(&heir, &conns[0]));
	assert_false(heir_takes(&heir));
	while (parcel_receive(theirs, &note, buf, sizeof(buf), &fd) >= 0)
		;
	event_base_loop(w.base, EVLOOP_ONCE);
	assert_true(heir_takes(&heir));
	assert_true(heir_give(&heir, &conns[0]));
}

/* An order to close one that is given, which finds no room, goes out before it is theirs. */
static void test_kick_finds_no_room(void **state)
{
	struct parcel_head head;
	struct parcel_note note;
	uint8_t buf[4096];
	int size = 1, fd;
	uint64_t id;
	bool told = false;

	(void)state;
	assert_true(heir_give(&heir, &conns[0]));
	id = take(&head);
	assert_int_equal(setsockopt(heir.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	while (parcel_send(heir.fd, PARCEL_TAKEN, 0, NULL, 0, -1) == 0)
		;
	heir_kick(&heir, &conns[0], 4002, "ended");
	assert_int_equal(parcel_send(theirs, PARCEL_TAKEN, id, NULL, 0, -1), 0);
	event_base_loop(w.base, EVLOOP_ONCE);
	assert_false(is_theirs[0]);
	while (parcel_receive(theirs, &note, buf, sizeof(buf), &fd) >= 0)
		;
	event_base_loop(w.base, EVLOOP_ONCE);
	assert_true(is_theirs[0]);
	while (parcel_receive(theirs, &note, buf, sizeof(buf), &fd) >= 0)
		told |= note.type == PARCEL_KICK && note.id == id;
	assert_true(told);
	assert_int_equal(heir.unanswered, 0);
}

/* A handshake that came from another worker, and goes on to a third one before it was finished. */
static void test_opening_twice(void **state)
{
	struct parcel_head head;

	(void)state;
	conns[0].echo = 0;
	conns[0].state = CONN_OPENING & 15;
	conns[0].out.buf = (uint8_t *)strdup("HTTP/1.1 101");
	conns[0].out.len = conns[0].out.cap = 12;
	assert_true(heir_give(&heir, &conns[0]));
	take(&head);
	assert_int_equal(head.kind, PARCEL_OPENING);
	assert_int_equal(head.out_len, 12);
	close(theirs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ends_while_we_write, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kick_finds_no_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_opening_twice, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
