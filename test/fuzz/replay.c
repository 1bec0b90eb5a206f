/*
 * A main() for a fuzz target without its fuzzer: runs it once for each file of a folder. What was
 * found once is found again; the sanitizers are those of the build.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int one(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = malloc(65536), *exact;
	size_t n;

	if (!f || !data)
		return -1;
	n = fread(data, 1, 65536, f);
	fclose(f);
	exact = malloc(n ? n : 1); /* to the byte, for those who look */
	if (!exact)
		return -1;
	memcpy(exact, data, n);
	free(data);
	(void)LLVMFuzzerTestOneInput(exact, n);
	free(exact);
	return 0;
}

int main(int argc, char **argv)
{
	DIR *d = opendir(argc > 1 ? argv[1] : "");
	struct dirent *e;
	char path[512];
	int n = 0;

	if (!d) {
		fprintf(stderr, "usage: %s folder\n", argv[0]);
		return 2;
	}
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", argv[1], e->d_name);
		if (one(path) < 0) {
			fprintf(stderr, "%s cannot be read\n", path);
			return 1;
		}
		n++;
	}
	closedir(d);
	printf("%d inputs\n", n);
	return n == 0;
}
