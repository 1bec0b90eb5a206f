/*
 * address: see address.h.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "address.h"

#define RETRY_MS 100

void address_name(const struct address *a, char *out, size_t outlen)
{
	char host[NI_MAXHOST], port[8];

	if (getnameinfo((const struct sockaddr *)&a->ss, a->len, host, sizeof(host), port,
		    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		snprintf(out, outlen, "?");
	else
		snprintf(
			out, outlen, a->ss.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

int address_bind(const struct address *a, bool reuseport)
{
	int on = 1, saved;
	int fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	/* SO_REUSEADDR: what a predecessor left in TIME_WAIT does not count. A listener still does.
	 */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
		(!reuseport || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0) &&
		(a->ss.ss_family != AF_INET6 ||
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0) &&
		bind(fd, (const struct sockaddr *)&a->ss, a->len) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

int address_probe(struct address *a, unsigned patience_ms)
{
	struct timespec pause = {0, RETRY_MS * 1000000L};
	unsigned waited = 0;
	int saved, fd = address_bind(a, false);

	for (; fd < 0 && errno == EADDRINUSE && waited < patience_ms; waited += RETRY_MS) {
		nanosleep(&pause, NULL);
		fd = address_bind(a, false);
	}
	if (fd < 0)
		return -1;
	a->len = sizeof(a->ss);
	if (getsockname(fd, (struct sockaddr *)&a->ss, &a->len) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static bool is_wildcard(const struct sockaddr_storage *ss)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;
	const struct sockaddr_in *in = (const struct sockaddr_in *)ss;

	return ss->ss_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr)
					 : in->sin_addr.s_addr == htonl(INADDR_ANY);
}

static in_port_t port_of(const struct sockaddr_storage *ss)
{
	/* At the same place in both. */
	return ((const struct sockaddr_in *)ss)->sin_port;
}

bool address_beside(const struct address *a, const struct address *b)
{
	return a->ss.ss_family == b->ss.ss_family && port_of(&a->ss) == port_of(&b->ss) &&
	       (is_wildcard(&a->ss) || is_wildcard(&b->ss));
}
