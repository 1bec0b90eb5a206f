/*
 * confine: see confine.h. By names, for any architecture that libseccomp knows; what one of them
 * lacks is left out there.
 */
#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <wsgate/log.h>

#include "confine.h"
#include "confine_rules.h"

#define NAMES_MAX 1024

static char *names[NAMES_MAX]; /* by number: the handler may not allocate */

const char *confine_missing(void)
{
#ifdef WSGATE_SANITIZED
	return "this build has a sanitizer, which needs calls of its own";
#else
	/* SECCOMP_SET_MODE_FILTER without a filter: a kernel that knows it looks there first. */
	if (syscall(SYS_seccomp, 1, 0, NULL) < 0 && errno == EFAULT)
		return NULL;
	return "the kernel has none";
#endif
}

void confine_look(enum filter_mode mode)
{
	if (mode != FILTER_OFF && confine_missing())
		log_warn("workers and bridge run without a filter of system calls",
			kv_str("why", confine_missing()));
}

/* ---- the last words ---- */

static char *put(char *to, const char *end, const char *s)
{
	while (*s != '\0' && to < end)
		*to++ = *s++;
	return to;
}

static void die(int signal, siginfo_t *info, void *context)
{
	unsigned nr = (unsigned)info->si_syscall;
	bool native = info->si_arch == seccomp_arch_native();
	char text[160], digits[12], *to = text, *end = text + sizeof(text) - 1;
	char *d = digits + sizeof(digits);
	ssize_t r;

	(void)signal;
	(void)context;
	*--d = '\0';
	do
		*--d = (char)('0' + nr % 10);
	while ((nr /= 10));
	nr = (unsigned)info->si_syscall;
	to = put(to, end, "forbidden system call: ");
	to = put(to, end, native && nr < NAMES_MAX && names[nr] ? names[nr] : "number");
	to = put(to, end, " ");
	to = put(to, end, d);
	*to++ = '\n';
	r = write(STDERR_FILENO, text, (size_t)(to - text));
	(void)r;
	for (;;)
		(void)syscall(SYS_execve, NULL, NULL, NULL);
}

static int catch_sigsys(void)
{
	struct sigaction sa = {
		.sa_sigaction = die, .sa_flags = (int)(SA_SIGINFO | SA_NODEFER | SA_RESETHAND)};

	for (int nr = 0; nr < NAMES_MAX; nr++)
		if (!names[nr])
			names[nr] = seccomp_syscall_resolve_num_arch(seccomp_arch_native(), nr);
	(void)seccomp_arch_native(); /* it keeps the answer: the handler only reads it */
	sigemptyset(&sa.sa_mask);
	return sigaction(SIGSYS, &sa, NULL);
}

/* ---- the filter ---- */

/* libseccomp answers with a negative errno. */
static int add(scmp_filter_ctx f, const struct confine_rule *r, uint32_t action)
{
	struct scmp_arg_cmp cmp[CONFINE_ARGS];
	int nr = seccomp_syscall_resolve_name(r->name), err;
	unsigned n = 0;

	if (nr == __NR_SCMP_ERROR)
		return 0; /* younger than the library */
	for (; n < CONFINE_ARGS && r->args[n].mask; n++) {
		const struct confine_arg *a = &r->args[n];

		cmp[n] = (struct scmp_arg_cmp){.arg = a->arg,
			.op = SCMP_CMP_MASKED_EQ,
			.datum_a = a->mask,
			.datum_b = a->value};
	}
	err = seccomp_rule_add_array(f, action, nr, n, cmp);
	/* -EDOM, -EINVAL: this architecture has another call for it. */
	return err == -EDOM || (err == -EINVAL && nr < 0) ? 0 : err;
}

static int add_all(scmp_filter_ctx f, enum confine_who who)
{
	/* abort() and raise(); nobody else's. */
	const struct confine_rule own = {
		"tgkill", CONFINE_BOTH, 0, {{0, UINT32_MAX, (uint32_t)getpid()}}};
	int err = add(f, &own, SCMP_ACT_ALLOW);

	for (size_t i = 0; !err && i < confine_rule_count; i++) {
		const struct confine_rule *r = &confine_rules[i];

		if (r->who & who)
			err = add(f, r,
				r->error ? SCMP_ACT_ERRNO((uint16_t)r->error) : SCMP_ACT_ALLOW);
	}
	return err;
}

static int load(enum confine_who who, enum filter_mode mode)
{
	scmp_filter_ctx f = seccomp_init(mode == FILTER_LOG ? SCMP_ACT_LOG : SCMP_ACT_TRAP);
	int err;

	if (!f)
		return -ENOMEM;
	err = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH,
		mode == FILTER_LOG ? SCMP_ACT_LOG : SCMP_ACT_KILL_PROCESS);
	if (!err)
		err = seccomp_attr_set(f, SCMP_FLTATR_CTL_NNP, 0); /* it is set, and checked */
	if (!err) /* a tree instead of a list, where the library can */
		(void)seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!err)
		err = add_all(f, who);
	if (!err)
		err = seccomp_load(f);
	seccomp_release(f);
	return err;
}

int confine_install(enum confine_who who, enum filter_mode mode)
{
	int err;

	if (mode == FILTER_OFF || confine_missing())
		return 0;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) {
		errno = EPERM;
		return -1;
	}
	if (mode == FILTER_ON && catch_sigsys() < 0)
		return -1;
	err = load(who, mode);
	if (err == 0)
		return 0;
	errno = -err;
	return -1;
}
