/*
 * load_setup: see load.h. What the command line asks for.
 */
#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

#define PER_SOURCE 5000
#define RFC_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

void load_usage(const char *why)
{
	fprintf(stderr,
		"load: %s\n"
		"usage: load [-kS] [-p port] [-a address] [-s service] [-c connections] [-n "
		"messages]\n"
		"            [-b bytes] [-w window] [-o opening] [-t seconds] [-f user] [-P path]\n"
		"            [-i seconds]\n"
		"            idle|recv|send|echo\n",
		why);
	exit(2);
}

static unsigned number(const char *text, unsigned min, unsigned max)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (end == text || *end || v < min || v > max) {
		fprintf(stderr, "load: %s is not a number from %u to %u\n", text, min, max);
		exit(2);
	}
	return (unsigned)v;
}

static void set_mode(struct load_setup *s, const char *word)
{
	static const char *const words[] = {"idle", "recv", "send", "echo"};
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!strcmp(word, words[i])) {
			s->mode = (enum load_mode)i;
			return;
		}
	}
	load_usage("no such mode");
}

static void set_target(struct load_setup *s, const char *address, unsigned port)
{
	static char host[32];

	s->target.sin_family = AF_INET;
	s->target.sin_port = htons((uint16_t)port);
	if (inet_pton(AF_INET, address, &s->target.sin_addr) != 1 ||
		ntohl(s->target.sin_addr.s_addr) >> 24 != 127)
		load_usage("the address must be one of 127.0.0.0/8");
	snprintf(host, sizeof(host), "%s:%u", address, port);
	s->host = host;
	/* Ports of the last run may still wait: other source addresses each time. */
	s->per_source = PER_SOURCE;
	s->source = 0x7f010000u + ((uint32_t)getpid() & 0x3fff) * 0x100u + 1;
}

static void set_key(struct load_setup *s)
{
	unsigned char raw[16], digest[EVP_MAX_MD_SIZE];
	char text[64];
	unsigned len;

	if (RAND_bytes(raw, sizeof(raw)) != 1)
		load_usage("no random bytes");
	EVP_EncodeBlock((unsigned char *)s->key, raw, sizeof(raw));
	snprintf(text, sizeof(text), "%s%s", s->key, RFC_GUID);
	if (EVP_Digest(text, strlen(text), digest, &len, EVP_sha1(), NULL) != 1 || len != 20)
		load_usage("no SHA-1");
	EVP_EncodeBlock((unsigned char *)s->accept, digest, (int)len);
}

void load_options(struct load_setup *s, int argc, char **argv)
{
	const char *address = "127.0.0.1";
	unsigned port = 8000;
	int o;

	*s = (struct load_setup){.service = "bench",
		.count = 100,
		.opening = 256,
		.messages = 100,
		.size = 100,
		.seconds = 120};
	while ((o = getopt(argc, argv, "kSp:a:s:c:n:b:w:o:t:f:P:i:")) != -1) {
		switch (o) {
		case 'k':
			s->keep = true;
			break;
		case 'S':
			s->tls = load_tls_new();
			break;
		case 'p':
			port = number(optarg, 1, 65535);
			break;
		case 'a':
			address = optarg;
			break;
		case 's':
			s->service = optarg;
			break;
		case 'c':
			s->count = number(optarg, 1, 1000000);
			break;
		case 'n':
			s->messages = number(optarg, 1, 1000000000);
			break;
		case 'b':
			s->size = number(optarg, LOAD_NUMBER, 64u << 20);
			break;
		case 'w':
			s->window = number(optarg, 0, 1000000);
			break;
		case 'o':
			s->opening = number(optarg, 1, 100000);
			break;
		case 'f':
			s->first_user = number(optarg, 0, 1000000000);
			break;
		case 'i':
			s->interval = number(optarg, 0, 3600);
			break;
		case 'P':
			s->path = optarg;
			break;
		case 't':
			s->seconds = number(optarg, 1, 86400);
			break;
		default:
			load_usage("no such option");
		}
	}
	if (optind != argc - 1)
		load_usage("one mode is wanted");
	set_mode(s, argv[optind]);
	set_target(s, address, port);
	set_key(s);
}
