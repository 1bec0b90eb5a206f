#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../src/master/listen.h"

static struct listen_set set;
static char err[512];
static bool no_v6; /* what a host without IPv6 does */

int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);

int __wrap_socket(int domain, int type, int protocol)
{
	if (domain == AF_INET6 && no_v6) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	return __real_socket(domain, type, protocol);
}

static int open_on(const char **addrs, size_t n, const char *admin, unsigned nslots)
{
	struct config c;

	memset(&c, 0, sizeof(c));
	c.listen.v = (char **)(uintptr_t)addrs;
	c.listen.n = n;
	c.admin.listen = (char *)(uintptr_t)admin;
	c.admin.socket = (char *)(uintptr_t) "";
	err[0] = '\0';
	return listen_open(&set, &c, nslots, 0, err, sizeof(err));
}

static unsigned port_of(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	return ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port
					      : ((struct sockaddr_in *)&ss)->sin_port);
}

static int flag(int fd, int level, int name)
{
	int on = -1;
	socklen_t len = sizeof(on);

	assert_int_equal(getsockopt(fd, level, name, &on, &len), 0);
	return on;
}

static int reach(int family, unsigned port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	int r, fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	in6.sin6_addr = in6addr_loopback;
	r = family == AF_INET ? connect(fd, (struct sockaddr *)&in, sizeof(in))
			      : connect(fd, (struct sockaddr *)&in6, sizeof(in6));
	if (r == 0)
		return fd;
	close(fd);
	return -1;
}

/* Clients that wait on any slot's listener, taken in. */
static unsigned take_all(size_t addr, unsigned *per_slot)
{
	unsigned n = 0;

	for (unsigned k = 0; k < set.nslots; k++) {
		int fd;

		while ((fd = accept(set.fds[addr][k], NULL, NULL)) >= 0) {
			per_slot[k]++;
			n++;
			close(fd);
		}
		assert_int_equal(errno, EAGAIN);
	}
	return n;
}

/* The kernel picks once; all slots share what it picked, and all of them get clients. */
static void test_port_zero_is_shared(void **state)
{
	const char *addrs[] = {"127.0.0.1:0"};
	unsigned port, n = 0, per_slot[3] = {0};
	char name[64];
	int clients[60];

	(void)state;
	assert_int_equal(open_on(addrs, 1, "", 3), 0);
	assert_int_equal(set.n, 1);
	port = port_of(set.fds[0][0]);
	assert_int_not_equal(port, 0);
	for (unsigned k = 0; k < 3; k++) {
		assert_int_equal(port_of(set.fds[0][k]), port);
		assert_int_equal(flag(set.fds[0][k], SOL_SOCKET, SO_ACCEPTCONN), 1);
		assert_int_equal(flag(set.fds[0][k], SOL_SOCKET, SO_REUSEPORT), 1);
	}
	snprintf(name, sizeof(name), "127.0.0.1:%u", port);
	assert_string_equal(set.rows[0].name, name);
	for (n = 0; n < 60; n++) {
		clients[n] = reach(AF_INET, port);
		assert_true(clients[n] >= 0);
	}
	assert_int_equal(take_all(0, per_slot), 60);
	for (unsigned k = 0; k < 3; k++)
		assert_true(per_slot[k] > 0);
	while (n > 0)
		close(clients[--n]);
	listen_close(&set);
	assert_int_equal(reach(AF_INET, port), -1);
}

/* SO_REUSEPORT sockets of one user do not collide: a second gateway must be refused all the same.
 */
static void test_port_taken_by_a_sibling(void **state)
{
	const char *addrs[] = {"127.0.0.1:0"};
	struct listen_set first;
	char taken[64];
	const char *again[] = {taken};

	(void)state;
	assert_int_equal(open_on(addrs, 1, "", 2), 0);
	first = set;
	strcpy(taken, first.rows[0].name);
	assert_int_equal(open_on(again, 1, "", 2), -1);
	assert_non_null(strstr(err, taken));
	assert_non_null(strstr(err, strerror(EADDRINUSE)));
	assert_non_null(strstr(err, "listen: "));
	/* also one on the wildcard, and an admin listener */
	snprintf(taken, sizeof(taken), "0.0.0.0:%u", port_of(first.fds[0][0]));
	assert_int_equal(open_on(again, 1, "", 2), -1);
	assert_non_null(strstr(err, strerror(EADDRINUSE)));
	assert_int_equal(open_on(addrs, 1, first.rows[0].name, 2), -1);
	assert_non_null(strstr(err, "admin.listen: "));
	set = first;
	strcpy(taken, first.rows[0].name);
	listen_close(&set);
	/* and free again */
	assert_int_equal(open_on(again, 1, "", 2), 0);
	listen_close(&set);
}

/* What a predecessor's connections left behind does not count as taken. */
static void test_time_wait_is_not_taken(void **state)
{
	const char *addrs[] = {"127.0.0.1:0"};
	char name[64];
	const char *again[] = {name};
	int client, server;

	(void)state;
	assert_int_equal(open_on(addrs, 1, "", 1), 0);
	strcpy(name, set.rows[0].name);
	client = reach(AF_INET, port_of(set.fds[0][0]));
	assert_true(client >= 0);
	server = accept(set.fds[0][0], NULL, NULL);
	assert_true(server >= 0);
	close(server); /* the first to close waits */
	close(client);
	listen_close(&set);
	assert_int_equal(open_on(again, 1, "", 1), 0);
	listen_close(&set);
}

static void test_both_families_on_one_port(void **state)
{
	const char *probe[] = {"[::]:0"};
	char v4[64], v6[64];
	const char *addrs[] = {v4, v6};
	unsigned port;
	int fd;

	(void)state;
	fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		skip();
	close(fd);
	assert_int_equal(open_on(probe, 1, "", 1), 0);
	port = port_of(set.fds[0][0]);
	listen_close(&set);
	snprintf(v4, sizeof(v4), "0.0.0.0:%u", port);
	snprintf(v6, sizeof(v6), "[::]:%u", port);
	assert_int_equal(open_on(addrs, 2, "", 2), 0);
	assert_int_equal(set.n, 2);
	assert_string_equal(set.rows[0].name, v4);
	assert_string_equal(set.rows[1].name, v6);
	assert_int_equal(flag(set.fds[1][0], IPPROTO_IPV6, IPV6_V6ONLY), 1);
	for (int i = 0; i < 2; i++) {
		unsigned per_slot[2] = {0};

		fd = reach(i ? AF_INET6 : AF_INET, port);
		assert_true(fd >= 0);
		assert_int_equal(take_all((size_t)i, per_slot), 1);
		close(fd);
	}
	listen_close(&set);
}

static void test_host_without_v6(void **state)
{
	const char *addrs[] = {"127.0.0.1:0", "[::1]:0"};

	(void)state;
	no_v6 = true;
	assert_int_equal(open_on(addrs, 2, "", 2), 0);
	assert_int_equal(set.n, 1);
	listen_close(&set);
	assert_int_equal(open_on(addrs + 1, 1, "", 2), -1);
	assert_non_null(strstr(err, "none of the addresses"));
	no_v6 = false;
}

/* One socket for all workers; a reload may put one for all addresses of its port beside it. */
static void test_admin_is_one_socket(void **state)
{
	const char *addrs[] = {"127.0.0.1:0"};

	(void)state;
	assert_int_equal(open_on(addrs, 1, "127.0.0.1:0", 4), 0);
	assert_true(set.admins[LISTEN_ADMIN].fd >= 0);
	assert_int_equal(flag(set.admins[LISTEN_ADMIN].fd, SOL_SOCKET, SO_REUSEPORT), 1);
	assert_int_equal(flag(set.admins[LISTEN_ADMIN].fd, SOL_SOCKET, SO_ACCEPTCONN), 1);
	assert_int_not_equal(port_of(set.admins[LISTEN_ADMIN].fd), 0);
	listen_close(&set);
	assert_int_equal(set.admins[LISTEN_ADMIN].fd, -1);
}

/* The operator's pages are never on a port of the clients, however the two are spelled. */
static void test_admin_beside_clients(void **state)
{
	static const char *const rows[][2] = {
		{"0.0.0.0", "127.0.0.1"}, {"127.0.0.1", "0.0.0.0"}, {"127.0.0.1", "localhost"}};
	const char *any[] = {"127.0.0.1:0"}, *addrs[1];
	char clients[64], admin[64];
	unsigned port;

	(void)state;
	assert_int_equal(open_on(any, 1, "", 1), 0);
	port = port_of(set.fds[0][0]);
	listen_close(&set);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(clients, sizeof(clients), "%s:%u", rows[i][0], port);
		snprintf(admin, sizeof(admin), "%s:%u", rows[i][1], port);
		addrs[0] = clients;
		assert_int_equal(open_on(addrs, 1, admin, 2), -1);
		assert_non_null(strstr(err, "clients have the port of"));
	}
}

/* The same address in two spellings is one. */
static void test_names(void **state)
{
	const char *addrs[] = {"127.0.0.1:0", NULL};
	char name[64];
	const char *both[] = {name, name};
	const char *bad[] = {"no.such.host.invalid:80"};
	const char *far[] = {"192.0.2.1:80"};

	(void)state;
	assert_int_equal(open_on(addrs, 1, "", 1), 0);
	strcpy(name, set.rows[0].name);
	listen_close(&set);
	assert_int_equal(open_on(both, 2, "", 1), 0);
	assert_int_equal(set.n, 1);
	listen_close(&set);
	assert_int_equal(open_on(bad, 1, "", 1), -1);
	assert_non_null(strstr(err, bad[0]));
	assert_int_equal(open_on(far, 1, "", 1), -1);
	assert_non_null(strstr(err, strerror(EADDRNOTAVAIL)));
}

static int change(
	struct listen_set *next, const char **addrs, size_t n, const char *admin, unsigned nslots)
{
	struct config c;

	memset(&c, 0, sizeof(c));
	c.listen.v = (char **)(uintptr_t)addrs;
	c.listen.n = n;
	c.admin.listen = (char *)(uintptr_t)admin;
	c.admin.socket = (char *)(uintptr_t) "";
	err[0] = '\0';
	return listen_change(next, &set, &c, nslots, err, sizeof(err));
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void test_change(void **state)
{
	static struct listen_set next, third;
	const char *one[] = {"127.0.0.1:0"}, *two[] = {"127.0.0.1:0", "localhost:0"}, *other[2];
	char same[80], all[32];
	int kept, gone;

	(void)state;
	no_v6 = true;
	assert_int_equal(open_on(one, 1, "127.0.0.1:0", 2), 0);
	/* The same text keeps its sockets; a slot and an address more. */
	assert_int_equal(change(&next, two, 2, "127.0.0.1:0", 3), 0);
	assert_int_equal(next.n, 2);
	assert_int_equal(next.fds[0][1], set.fds[0][1]);
	assert_int_equal(next.rows[0].id, set.rows[0].id);
	assert_int_equal(next.admins[LISTEN_ADMIN].fd, set.admins[LISTEN_ADMIN].fd);
	assert_int_equal(port_of(next.fds[0][2]), port_of(set.fds[0][0]));
	assert_int_equal(flag(next.fds[0][2], SOL_SOCKET, SO_ACCEPTCONN), 1);
	assert_int_not_equal(next.rows[1].id, next.rows[0].id);
	listen_close_but(&set, &next); /* shared: nothing is closed */
	assert_true(is_open(next.fds[0][0]) && is_open(next.admins[LISTEN_ADMIN].fd));
	set = next;
	/* The same address by another text; no admin listener any more. */
	snprintf(same, sizeof(same), "%s", set.rows[0].name);
	other[0] = same;
	assert_int_equal(change(&next, other, 1, "", 3), 0);
	assert_int_equal(next.fds[0][0], set.fds[0][0]);
	assert_int_equal(next.admins[LISTEN_ADMIN].fd, -1);
	gone = set.fds[1][0];
	kept = set.admins[LISTEN_ADMIN].fd;
	listen_close_but(&set, &next);
	assert_false(is_open(gone) || is_open(kept));
	set = next;
	/* All addresses of that port: a probe would say that it is taken. */
	snprintf(all, sizeof(all), "0.0.0.0:%u", port_of(set.fds[0][0]));
	other[0] = all;
	assert_int_equal(change(&next, other, 1, "", 3), 0);
	/* And one that fails changes nothing. */
	kept = next.fds[0][0];
	other[1] = "127.0.0.1:nonsense";
	assert_int_equal(change(&third, other, 2, "", 3), -1);
	assert_string_not_equal(err, "");
	assert_true(is_open(set.fds[0][0]) && is_open(kept));
	listen_close_but(&set, &next);
	listen_close(&next);
	assert_false(is_open(kept));
	no_v6 = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_port_zero_is_shared),
		cmocka_unit_test(test_port_taken_by_a_sibling),
		cmocka_unit_test(test_time_wait_is_not_taken),
		cmocka_unit_test(test_both_families_on_one_port),
		cmocka_unit_test(test_host_without_v6),
		cmocka_unit_test(test_admin_is_one_socket),
		cmocka_unit_test(test_admin_beside_clients),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
