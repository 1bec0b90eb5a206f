/*
 * pulse: see pulse.h. A timer that comes late says how long the loop was busy; libevent has no
 * other word for it.
 */
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <wsgate/clock.h>
#include <wsgate/pulse.h>

#define STEP_US 100000u
#define WINDOW_STEPS 150 /* 15 seconds */
#define LOOK_STEPS 50    /* memory and descriptors: every 5 seconds */
#define FILES_DEAR 4096  /* so many are counted once a minute */
#define DEAR_LOOKS 12

struct pulse {
	struct process_stats *out;
	struct event *timer; /* owned */
	uint64_t due_us, peak_us, last_peak_us, cpu_us;
	unsigned step, look;
};

static void pulse_memory(struct process_stats *out)
{
	unsigned long size, resident, shared;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f)
		return;
	if (fscanf(f, "%lu %lu %lu", &size, &resident, &shared) == 3) {
		stat_set(out->resident, resident * page);
		stat_set(out->private, (resident > shared ? resident - shared : 0) * page);
	}
	fclose(f);
}

/*
 * Linux 6.2 and later say the number as the folder's size; before that somebody has to count. Where
 * it cannot be looked at, it is as it was, or there is no descriptor left to look with.
 */
static void pulse_files(struct process_stats *out)
{
	DIR *d = opendir("/proc/self/fd");
	struct stat st;
	uint64_t n = 0;

	if (!d && errno == EMFILE)
		stat_set(out->files, stat_get(out->max_files));
	if (!d)
		return;
	if (fstat(dirfd(d), &st) == 0 && st.st_size > 0)
		n = (uint64_t)st.st_size;
	else
		for (struct dirent *e = readdir(d); e; e = readdir(d))
			n += e->d_name[0] != '.';
	closedir(d);
	stat_set(out->files, n - 1); /* but for the folder itself */
}

static void pulse_look(struct pulse *p)
{
	uint64_t cpu = clock_us(CLOCK_PROCESS_CPUTIME_ID);
	struct rlimit limit;

	stat_add(p->out->cpu_us, cpu - p->cpu_us);
	p->cpu_us = cpu;
	pulse_memory(p->out);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		stat_set(p->out->max_files, limit.rlim_cur);
	if (stat_get(p->out->files) < FILES_DEAR || p->look++ % DEAR_LOOKS == 0)
		pulse_files(p->out);
}

static void pulse_arm(struct pulse *p)
{
	const struct timeval tv = {0, STEP_US};

	p->due_us = clock_us(CLOCK_MONOTONIC) + STEP_US;
	(void)event_add(p->timer, &tv);
}

static void pulse_beat(evutil_socket_t fd, short what, void *arg)
{
	struct pulse *p = arg;
	uint64_t now = clock_us(CLOCK_MONOTONIC), lag = now > p->due_us ? now - p->due_us : 0;

	(void)fd;
	(void)what;
	if (lag > p->peak_us)
		p->peak_us = lag;
	stat_set(p->out->lag_us, p->peak_us > p->last_peak_us ? p->peak_us : p->last_peak_us);
	if (++p->step % WINDOW_STEPS == 0) {
		p->last_peak_us = p->peak_us;
		p->peak_us = 0;
	}
	if (p->step % LOOK_STEPS == 0)
		pulse_look(p);
	pulse_arm(p);
}

struct pulse *pulse_new(struct event_base *base, struct process_stats *out)
{
	struct pulse *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->out = out;
	p->timer = event_new(base, -1, 0, pulse_beat, p);
	if (!p->timer) {
		free(p);
		return NULL;
	}
	pulse_look(p);
	pulse_arm(p);
	return p;
}

void pulse_free(struct pulse *p)
{
	if (!p)
		return;
	event_free(p->timer);
	free(p);
}
