/*
 * door: the yardstick of opening, what a bare epoll program pays for a connection: it accepts,
 *reads the request, answers 101 and keeps the socket. It knows nobody, and has no broker.
 *
 *	door -p port -w processes [-c certificate -k key]     with TLS when there are these
 *
 * Each process has a listener of its own (SO_REUSEPORT). Prints a line of JSON when all listen, and
 * ends with standard input. Exit: 0; 2 could not run.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256
#define ACCEPTS 16
#define REQUEST_MAX 2048
#define KEY_LEN 24
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455, section 1.3 */

struct visitor {
	int fd;
	SSL *ssl; /* NULL: none */
};

static SSL_CTX *tls; /* NULL: none */

static void fatal(const char *what)
{
	perror(what);
	_exit(2);
}

static int listen_on(int port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) ||
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
		bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 4096))
		fatal("door: listen");
	return fd;
}

static void turn_out(struct visitor *v)
{
	SSL_free(v->ssl);
	close(v->fd);
	free(v);
}

static void let_queue_in(int epoll, int listener)
{
	for (int i = 0; i < ACCEPTS; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		int fd = accept4(
			listener, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct visitor *v = fd < 0 ? NULL : calloc(1, sizeof(*v));
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = v};

		if (fd < 0 && errno != EAGAIN && errno != ECONNABORTED)
			fatal("door: accept");
		if (fd < 0)
			return;
		if (!v || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev))
			fatal("door: a visitor");
		v->fd = fd;
		if (!tls)
			continue;
		v->ssl = SSL_new(tls);
		if (!v->ssl || !SSL_set_fd(v->ssl, fd))
			fatal("door: TLS");
		SSL_set_accept_state(v->ssl);
	}
}

/* As recv(): 0: the end; -1: nothing now, or an error. */
static ssize_t take(struct visitor *v, char *buf, size_t size)
{
	int n;

	if (!v->ssl)
		return recv(v->fd, buf, size, 0);
	n = SSL_read(v->ssl, buf, (int)size);
	if (n > 0)
		return n;
	switch (SSL_get_error(v->ssl, n)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		errno = EAGAIN;
		return -1;
	default:
		return 0;
	}
}

static bool answer(struct visitor *v, const char *request)
{
	static const char name[] = "Sec-WebSocket-Key: ";
	unsigned char text[KEY_LEN + sizeof(GUID)], digest[SHA_DIGEST_LENGTH], accept[32];
	const char *key = strstr(request, name);
	char out[256];
	int n;

	if (!key || strlen(key) < sizeof(name) + KEY_LEN)
		return false;
	memcpy(text, key + sizeof(name) - 1, KEY_LEN);
	memcpy(text + KEY_LEN, GUID, sizeof(GUID));
	SHA1(text, KEY_LEN + sizeof(GUID) - 1, digest);
	EVP_EncodeBlock(accept, digest, sizeof(digest));
	n = snprintf(out, sizeof(out),
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
		"Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		accept);
	return (v->ssl ? SSL_write(v->ssl, out, n) : send(v->fd, out, (size_t)n, MSG_NOSIGNAL)) ==
	       n;
}

/* The clients are our own: a request comes in one piece, and nothing after it but their end. */
static void hear(struct visitor *v)
{
	char buf[REQUEST_MAX + 1];
	ssize_t n = take(v, buf, REQUEST_MAX);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0) {
		buf[n] = '\0';
		if (!strstr(buf, "\r\n\r\n") || answer(v, buf))
			return;
	}
	turn_out(v);
}

static void serve(int listener)
{
	struct epoll_event events[EVENTS], ev = {.events = EPOLLIN, .data.ptr = NULL};
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ev))
		fatal("door: epoll");
	for (;;) {
		int n = epoll_wait(epoll, events, EVENTS, -1);

		if (n < 0 && errno != EINTR)
			fatal("door: epoll_wait");
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				hear(events[i].data.ptr);
			else
				let_queue_in(epoll, listener);
		}
	}
}

static void begin_tls(const char *certificate, const char *key)
{
	tls = SSL_CTX_new(TLS_server_method());
	if (!tls || SSL_CTX_use_certificate_file(tls, certificate, SSL_FILETYPE_PEM) != 1 ||
		SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1) {
		fprintf(stderr, "door: certificate or key cannot be used\n");
		exit(2);
	}
	SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
}

int main(int argc, char **argv)
{
	const char *certificate = NULL, *key = NULL;
	int port = 0, processes = 1, o;
	char c;

	while ((o = getopt(argc, argv, "p:w:c:k:")) != -1) {
		if (o == 'p')
			port = atoi(optarg);
		else if (o == 'w')
			processes = atoi(optarg);
		else if (o == 'c')
			certificate = optarg;
		else if (o == 'k')
			key = optarg;
	}
	if (port < 1 || processes < 1 || !certificate != !key || optind != argc) {
		fprintf(stderr, "usage: door -p port -w processes [-c certificate -k key]\n");
		return 2;
	}
	if (certificate)
		begin_tls(certificate, key);
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < processes; i++) {
		int listener = listen_on(port);
		pid_t pid = fork();

		if (pid < 0)
			fatal("door: fork");
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			serve(listener);
		}
		close(listener);
	}
	printf("{\"event\": \"ready\"}\n");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	return 0;
}
