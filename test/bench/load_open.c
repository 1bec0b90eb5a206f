/*
 * load_open: see load.h. How a connection comes about.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#define ANSWER_MAX 4096

static void fatal(const char *what)
{
	perror(what);
	_exit(2);
}

void load_open_connected(struct load_conn *c)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len))
		error = errno;
	if (error) {
		load_conn_drop(c, error);
		return;
	}
	if (c->loop->setup->tls)
		load_tls_begin(c);
	else
		load_open_request(c);
}

void load_open_request(struct load_conn *c)
{
	const struct load_setup *setup = c->loop->setup;
	char request[1024], path[256];
	int n;

	snprintf(path, sizeof(path), "/ws/%s/%u/", setup->service, setup->first_user + c->user);
	n = snprintf(request, sizeof(request),
		"GET %s HTTP/1.1\r\n"
		"Host: %s\r\n"
		"Upgrade: websocket\r\n"
		"Connection: Upgrade\r\n"
		"Sec-WebSocket-Version: 13\r\n"
		"Sec-WebSocket-Key: %s\r\n\r\n",
		setup->path ? setup->path : path, setup->host, setup->key);
	if (n < 0 || (size_t)n >= sizeof(request)) {
		load_conn_drop(c, ENAMETOOLONG);
		return;
	}
	c->state = LOAD_HANDSHAKE;
	load_conn_want(c, false);
	load_conn_put(c, (uint8_t *)request, (size_t)n);
}

void load_open(struct load_conn *c)
{
	const struct load_setup *setup = c->loop->setup;
	struct sockaddr_in from = {.sin_family = AF_INET};
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
	int one = 1;

	c->since = load_now();
	c->state = LOAD_CONNECTING;
	c->loop->opening++;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0) {
		load_conn_drop(c, errno);
		return;
	}
	/* One address has some 28,000 ports; a port is chosen by connect(), for this target. */
	from.sin_addr.s_addr = htonl(setup->source + c->user / setup->per_source);
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	if (bind(c->fd, (struct sockaddr *)&from, sizeof(from)) ||
		(connect(c->fd, (const struct sockaddr *)&setup->target, sizeof(setup->target)) &&
			errno != EINPROGRESS)) {
		load_conn_drop(c, errno);
		return;
	}
	if (epoll_ctl(c->loop->epoll, EPOLL_CTL_ADD, c->fd, &ev))
		fatal("load: epoll_ctl");
	c->out_wanted = true;
}

/* Returns how many of the bytes in answer are the head of a 101, 0 when more must come. */
static size_t answer_head(struct load_conn *c)
{
	struct load_tally *t = c->loop->tally;
	char *end = strstr(c->answer, "\r\n\r\n");

	if (!end) {
		if (c->answered >= ANSWER_MAX)
			load_conn_drop(c, EPROTO);
		return 0;
	}
	if (sscanf(c->answer, "HTTP/1.1 %d", &t->status) != 1 || t->status != 101) {
		load_conn_drop(c, 0);
		return 0;
	}
	t->status = 0;
	if (!strstr(c->answer, c->loop->setup->accept)) {
		load_conn_drop(c, EPROTO);
		return 0;
	}
	return (size_t)(end - c->answer) + 4;
}

void load_open_answer(struct load_conn *c, const uint8_t *data, size_t len, uint64_t now)
{
	struct load_loop *loop = c->loop;
	char *answer;
	size_t head, n = ANSWER_MAX - c->answered;

	if (!c->answer && !(c->answer = malloc(ANSWER_MAX + 1)))
		fatal("load");
	if (n > len)
		n = len;
	memcpy(c->answer + c->answered, data, n);
	c->answered += n;
	c->answer[c->answered] = '\0';
	head = answer_head(c);
	if (!head)
		return;
	answer = c->answer;
	c->answer = NULL;
	c->state = LOAD_OPEN;
	loop->opening--;
	loop->alive++;
	loop->tally->opened++;
	loop->tally->opened_to = now;
	if (c->answered > head)
		load_conn_take(c, (uint8_t *)answer + head, c->answered - head, now);
	if (len > n && c->state != LOAD_GONE)
		load_conn_take(c, data + n, len - n, now);
	free(answer);
	load_conn_fill(c);
}
