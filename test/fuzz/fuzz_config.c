/*
 * The configuration: the input is a file. What loads is printed and loads again as the same; and
 * what another process of ours is given is taken or refused, no more. The first byte chooses.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <wsgate/config.h>
#include <wsgate/option.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int truth)
{
	if (!truth)
		abort();
}

static struct config *load(int fd, char *err, size_t errlen)
{
	char path[40];
	const struct config_source src = {.file = path, .file_required = true};

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return config_load(&src, err, errlen);
}

static void again(const struct config *c)
{
	int fd = memfd_create("again", MFD_CLOEXEC);
	FILE *f = fdopen(fd, "w");
	char err[1024] = "";
	struct config *d;

	check(f != NULL && config_write(c, CONFIG_BRIDGE, f) == 0);
	d = config_load_fd(fd, err, sizeof(err));
	check(d != NULL && err[0] == '\0');
	for (size_t i = 0; i < option_count; i++)
		check(option_equal(c, d, &option_table[i]));
	check(c->ntls == d->ntls);
	for (size_t i = 0; i < c->ntls; i++)
		check(strcmp(c->tls[i].listen, d->tls[i].listen) == 0);
	check(config_streams_equal(c, d) && config_streams_extend(d, c));
	fclose(f);
	config_forget_secrets(d, CONFIG_PEOPLE);
	config_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char err[1024] = "";
	struct config *c;
	int fd;

	if (size < 1)
		return 0;
	fd = memfd_create("file", MFD_CLOEXEC);
	check(fd >= 0 && write(fd, data + 1, size - 1) == (ssize_t)(size - 1));
	c = data[0] & 1 ? config_load_fd(fd, err, sizeof(err)) : load(fd, err, sizeof(err));
	check((c != NULL) == (err[0] == '\0') && !strchr(err, '\n'));
	if (c)
		again(c);
	config_free(c);
	close(fd);
	return 0;
}
