/*
 * The control channel: the input is cut into messages (a length of two bytes before each) and sent
 * as it is. What is not in the table, or not of its size, ends the channel; nothing else happens.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include <wsgate/chan.h>
#include <wsgate/log.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sink;
static struct chan *chan;

static void touch(const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sink ^= ((const uint8_t *)p)[i];
}

#define HANDLER(name, body_size)                                                                   \
	static void name(void *arg, const void *body, int fd)                                      \
	{                                                                                          \
		(void)arg;                                                                         \
		touch(body, body_size);                                                            \
		if (fd >= 0)                                                                       \
			close(fd);                                                                 \
	}
HANDLER(on_slot, sizeof(struct proto_slot))
HANDLER(on_text, sizeof(struct proto_text))
HANDLER(on_close, sizeof(struct proto_close))
HANDLER(on_nothing, 0)

static const struct chan_handler handlers[] = {
	{PROTO_DRAINED, sizeof(struct proto_slot), on_slot},
	{PROTO_FATAL, sizeof(struct proto_text), on_text},
	{PROTO_CLOSE, sizeof(struct proto_close), on_close},
	{PROTO_DOORBELL, 0, on_nothing},
	{0, 0, NULL},
};

static void on_gone(void *arg)
{
	(void)arg;
	chan_free(chan);
	chan = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct event_base *base;
	int fds[2], fd;

	if (!base) {
		base = event_base_new();
		fd = open("/dev/null", O_WRONLY | O_CLOEXEC); /* each refusal is a line */
		if (!base || fd < 0 || log_follow(false, fd) < 0)
			abort();
		close(fd);
	}
	if (chan_pair(fds) < 0 || !(chan = chan_new(base, fds[0], "fuzz", handlers, on_gone, NULL)))
		abort();
	while (size > 2 && chan) {
		size_t n = (size_t)data[0] | (size_t)data[1] << 8;

		data += 2;
		size -= 2;
		n = n < size ? n : size;
		if (n && send(fds[1], data, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			break;
		data += n;
		size -= n;
		if (event_base_loop(base, EVLOOP_NONBLOCK) < 0)
			abort();
	}
	chan_free(chan);
	close(fds[1]);
	return 0;
}
