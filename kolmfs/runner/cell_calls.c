/*
 * cell_calls - the system calls of a locked cell: a table that is the filter, and that `kolm-cell
 * --calls` prints.
 *
 * Found by running the recipe corpus, each bad input and the collector behind a filter that kills
 * (tests/airgap/calls.sh does it again under a tracer and compares). What is not named here kills
 * the process.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/wall.h"
#include "runner/cell.h"

enum verdict {
	ALLOWED,
	NO_EXEC, /* allowed without PROT_EXEC */
	REFUSED, /* answered with EACCES: asked for, and done without */
};

/* what made us write it down */
enum ground {
	SEEN,  /* the corpus makes this call */
	ENDS,  /* how a crash is told, or a thread stopped: not made by a recipe that works */
	CLOCK, /* only where the kernel's vDSO does not answer */
	FACTS, /* says something about the machine, gives nothing; other versions of the library ask
		*/
};

static const char *const verdicts[] = {"allowed", "allowed without execute", "refused"};
static const char *const grounds[] = {"seen", "ends", "clock", "facts"};

static const struct {
	int call;
	enum verdict verdict;
	enum ground ground;
	const char *why;
} calls[] = {
/* a call a line */
/* clang-format off */
#define CALL(name, verdict, ground, why) {SCMP_SYS(name), verdict, ground, why},
	CALL(read, ALLOWED, SEEN, "frames from the runner; the watchdog's own event counter")
	CALL(write, ALLOWED, SEEN, "frames to the runner; the watchdog's own event counter")
	CALL(poll, ALLOWED, SEEN, "the watchdog thread sleeps on its event counter")
	CALL(ppoll, ALLOWED, SEEN, "the same on machines without poll")
	CALL(exit_group, ALLOWED, SEEN, "to end")
	CALL(brk, ALLOWED, SEEN, "malloc")
	CALL(mmap, NO_EXEC, SEEN, "malloc and the collector's blocks")
	CALL(munmap, ALLOWED, SEEN, "the same, given back")
	CALL(mremap, ALLOWED, SEEN, "a large block grows")
	CALL(mprotect, NO_EXEC, SEEN, "malloc opens reserved memory")
	CALL(madvise, ALLOWED, SEEN, "the collector returns pages")
	CALL(futex, ALLOWED, SEEN, "locks between the engine's two threads")
	CALL(sched_yield, ALLOWED, SEEN, "the engine's spinning locks")
	CALL(clock_gettime, ALLOWED, SEEN, "processor time of the thread: the 1000 ms limit")
	CALL(openat, REFUSED, SEEN, "ICU's zone files, overcommit_memory, statm")
	CALL(newfstatat, REFUSED, SEEN, "ICU's zone files")
	CALL(rt_sigreturn, ALLOWED, ENDS, "back from a handler")
	CALL(rt_sigaction, ALLOWED, ENDS, "a crash gets its default action back")
	CALL(rt_sigprocmask, ALLOWED, ENDS, "abort()")
	CALL(sigaltstack, ALLOWED, ENDS, "a thread's end drops its signal stack")
	CALL(getpid, ALLOWED, ENDS, "abort()")
	CALL(gettid, ALLOWED, ENDS, "abort()")
	CALL(tgkill, ALLOWED, ENDS, "abort(); the collector stops a thread by signal")
	CALL(exit, ALLOWED, ENDS, "a thread ends")
	CALL(restart_syscall, ALLOWED, ENDS, "the kernel's own, after a stop")
	CALL(gettimeofday, ALLOWED, CLOCK, "Date")
	CALL(clock_nanosleep, ALLOWED, CLOCK, "the watchdog's timer")
	CALL(getrandom, ALLOWED, FACTS, "hash seeds, Math.random")
	CALL(sched_getaffinity, ALLOWED, FACTS, "how many processors")
	CALL(sysinfo, ALLOWED, FACTS, "how much memory: the collector's pace")
	CALL(getrusage, ALLOWED, FACTS, "the collector's pace")
	CALL(membarrier, ALLOWED, FACTS, "the collector's handshake between threads")
	CALL(close, ALLOWED, ENDS, "a thread's end")
	CALL(prctl, REFUSED, FACTS, "names of threads and mappings; also undoes walls")
	CALL(open, REFUSED, FACTS, "as openat")
	CALL(access, REFUSED, FACTS, "as openat")
	CALL(faccessat, REFUSED, FACTS, "as openat")
	CALL(faccessat2, REFUSED, FACTS, "as openat")
	CALL(stat, REFUSED, FACTS, "as newfstatat")
	CALL(lstat, REFUSED, FACTS, "as newfstatat")
	CALL(statx, REFUSED, FACTS, "as newfstatat")
	CALL(readlink, REFUSED, FACTS, "localtime")
	CALL(readlinkat, REFUSED, FACTS, "localtime")
	CALL(getcwd, REFUSED, FACTS, "paths of loaded files")
#undef CALL
	/* clang-format on */
};

enum { CALLS = sizeof(calls) / sizeof(calls[0]) };

static int add_call(scmp_filter_ctx ctx, size_t i)
{
	const uint32_t action =
		calls[i].verdict == REFUSED ? SCMP_ACT_ERRNO(EACCES) : SCMP_ACT_ALLOW;
	const scmp_datum_t exec = PROT_EXEC;

	if (calls[i].call < 0) /* unknown to this machine */
		return 0;
	if (calls[i].verdict == NO_EXEC)
		return seccomp_rule_add(
			ctx, action, calls[i].call, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, exec, 0));
	return seccomp_rule_add(ctx, action, calls[i].call, 0);
}

static int cell_filter(scmp_filter_ctx ctx)
{
	int rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; rc == 0 && i < CALLS; i++)
		rc = add_call(ctx, i);
	/* left to the spawner's filter, which is around this one: it records the call and kills;
	 * killing here would leave no name */
	for (const int *call = wall_network_calls; rc == 0 && *call != -1; call++)
		rc = *call < 0 ? 0 : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, *call, 0);
	return rc;
}

int cell_calls_lock(struct err *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int rc = ctx ? cell_filter(ctx) : -ENOMEM;

	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	if (rc < 0)
		return err_set(err, EOPNOTSUPP, "sandbox: system-call filter unavailable (%s)",
			strerror(-rc));
	return 0;
}

int cell_calls_print(void)
{
	for (size_t i = 0; i < CALLS; i++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, calls[i].call);

		if (name)
			printf("%s\t%s\t%s\t%s\n", name, verdicts[calls[i].verdict],
				grounds[calls[i].ground], calls[i].why);
		free(name);
	}
	for (const int *call = wall_network_calls; *call != -1; call++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, *call);

		if (name)
			printf("%s\trecorded and killed\t-\ta way to the network\n", name);
		free(name);
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
