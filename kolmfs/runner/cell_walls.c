/*
 * cell_walls - the lock-down of kolm-cell (reliability.md section 6).
 *
 * The spawner has already put this process into its own user, network, pid, mount, ipc, uts and
 * cgroup namespaces, as uid 65534 of the machine when it could, with a filter that reports every
 * network call to it. What needs the program's own libraries loaded, or the engine's threads
 * started, is done here.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/wall.h"
#include "runner/cell.h"
#include "runner/egress.h"

static int missing(struct err *err, const char *what)
{
	return err_set(err, EOPNOTSUPP, "sandbox: %s unavailable (%s)", what, strerror(errno));
}

static void on_cpu_limit(int sig)
{
	(void)sig;
	_exit(CELL_CPU);
}

/* the first process of a pid namespace ignores signals without a handler */
static int check_spawner(struct err *err)
{
	struct sigaction act = {.sa_handler = on_cpu_limit};

	if (getpid() != 1 || geteuid() != 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 ||
		prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 2)
		return err_set(
			err, EOPNOTSUPP, "sandbox: kolm-cell is started by the spawner only");
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || sigaction(SIGXCPU, &act, NULL) < 0)
		return missing(err, "parent's life line");
	return 0;
}

/*
 * An empty root that holds /dev/urandom and nothing else: the engine opens it once and aborts
 * without it. The tmpfs is mounted over /proc because that folder always exists.
 */
static int empty_root(struct err *err)
{
	const char *const root = "/proc";
	int fd;

	if (mount("none", root, "tmpfs", MS_NOSUID | MS_NOEXEC, "size=4k,nr_inodes=8,mode=0755") <
		0)
		return missing(err, "empty root");
	if (mkdir("/proc/dev", 0755) < 0)
		return missing(err, "empty root: /dev");
	fd = open("/proc/dev/urandom", O_CREAT | O_WRONLY | O_CLOEXEC, 0444);
	if (fd < 0 || close(fd) < 0)
		return missing(err, "empty root: place for /dev/urandom");
	if (mount("/dev/urandom", "/proc/dev/urandom", NULL, MS_BIND, NULL) < 0)
		return missing(err, "empty root: /dev/urandom");
	if (mount(NULL, root, NULL,
		    MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL) < 0)
		return missing(err, "read-only root");
	if (chdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
		umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return missing(err, "change of root");
	return 0;
}

static int drop_capabilities(struct err *err)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};

	for (unsigned long cap = 0; cap < 64; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
			return missing(err, "dropping of capabilities");
	}
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &head, none) < 0)
		return missing(err, "dropping of capabilities");
	return 0;
}

static int limit(int what, rlim_t value, struct err *err)
{
	const struct rlimit both = {value, value};

	return setrlimit((__rlimit_resource_t)what, &both) < 0 ? missing(err, "resource limit") : 0;
}

static int limits_early(struct err *err)
{
	int rc = limit(RLIMIT_FSIZE, 0, err);

	if (rc == 0)
		rc = limit(RLIMIT_CORE, 0, err);
	if (rc == 0)
		rc = limit(RLIMIT_MEMLOCK, 0, err);
	if (rc == 0)
		rc = limit(RLIMIT_STACK, 8 << 20, err);
	if (rc == 0)
		rc = limit(RLIMIT_NOFILE, 32, err);
	if (rc == 0)
		rc = limit(RLIMIT_MSGQUEUE, 0, err);
	return rc;
}

int cell_walls_early(struct err *err)
{
	static const char *const random_only[] = {"/dev/urandom", NULL};
	int rc;

	umask(077);
	if (close_range(CELL_GO + 1, ~0U, 0) < 0)
		return missing(err, "closing of descriptors");
	rc = check_spawner(err);
	if (rc == 0)
		rc = empty_root(err);
	if (rc == 0)
		rc = drop_capabilities(err);
	if (rc == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		rc = missing(err, "undumpable process");
	if (rc == 0)
		rc = limits_early(err);
	if (rc == 0)
		rc = landlock_enter(random_only, NULL, err);
	if (rc == 0 && open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0)
		rc = err_set(err, EOPNOTSUPP, "sandbox: Landlock is not in force");
	return rc;
}

/* ---- the system-call filter ---- */

/*
 * What the engine and libc call once everything is loaded, found by running the whole recipe
 * corpus, each bad input and the collector under a filter that kills (tests/unit/spawn_cell.c
 * repeats it). Everything not named here kills the process.
 */
static const int cell_allowed[] = {
	SCMP_SYS(read),
	SCMP_SYS(write), /* the two pipes */
	SCMP_SYS(exit_group),
	SCMP_SYS(exit), /* to end */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),  /* malloc; mmap and mprotect without PROT_EXEC are added apart */
	SCMP_SYS(madvise), /* the collector and malloc give memory back */
	SCMP_SYS(futex),
	SCMP_SYS(sched_yield), /* locks between the engine's two threads */
	SCMP_SYS(membarrier),  /* the collector's handshake between threads */
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(sigaltstack), /* the collector suspends threads by signal */
	SCMP_SYS(tgkill),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid), /* which it sends this way; abort() */
	SCMP_SYS(poll),
	SCMP_SYS(ppoll), /* the watchdog thread sleeps on its own eventfd */
	SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(clock_nanosleep), /* Date, the watchdog's timer, when the vDSO cannot answer */
	SCMP_SYS(getrandom),	   /* hash seeds, Math.random */
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sysinfo),
	SCMP_SYS(getrusage), /* how many processors, how much memory: the collector's pace */
	SCMP_SYS(prctl),     /* names of threads and mappings */
	SCMP_SYS(close),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(pread64), /* libc around the refused openat */
	SCMP_SYS(rseq),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(restart_syscall), /* libc's own, at thread ends and after stops */
	-1,
};

/* files that libc and the engine look for and can do without: overcommit_memory (malloc), statm
 * (memory pressure), localtime (ICU) */
static const int cell_absent[] = {
	SCMP_SYS(openat),
	SCMP_SYS(open),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(stat),
	SCMP_SYS(lstat),
	SCMP_SYS(statx),
	SCMP_SYS(getcwd),
	-1,
};

static int add_calls(scmp_filter_ctx ctx, uint32_t action, const int *calls)
{
	for (; *calls != -1; calls++) {
		int rc = *calls < 0 ? 0 : seccomp_rule_add(ctx, action, *calls, 0);

		if (rc < 0 && rc != -EEXIST)
			return rc;
	}
	return 0;
}

static int cell_filter(scmp_filter_ctx ctx)
{
	const scmp_datum_t exec = PROT_EXEC;
	int rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (rc == 0)
		rc = add_calls(ctx, SCMP_ACT_ALLOW, cell_allowed);
	if (rc == 0)
		rc = add_calls(ctx, SCMP_ACT_ERRNO(EACCES), cell_absent);
	/* left to the spawner's filter, which is around this one: it records the call and kills;
	 * killing here would leave no name */
	if (rc == 0)
		rc = add_calls(ctx, SCMP_ACT_ALLOW, wall_network_calls);
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, exec, 0));
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, exec, 0));
	return rc;
}

static int load_filter(struct err *err)
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

/* the spawner reads this process's size now and sets RLIMIT_DATA above it before it lets us go on
 */
static int handshake(struct err *err)
{
	static const char ready[] = "ready\n";
	char go;

	if (write(CELL_SAY, ready, sizeof(ready) - 1) != (ssize_t)sizeof(ready) - 1 ||
		read(CELL_GO, &go, 1) != 1)
		return missing(err, "spawner");
	close(CELL_SAY);
	close(CELL_GO);
	return 0;
}

int cell_walls_late(struct err *err)
{
	int rc = handshake(err);

	if (rc == 0)
		rc = limit(RLIMIT_NOFILE, 2, err);
	if (rc == 0)
		rc = limit(RLIMIT_NPROC, 1, err);
	return rc == 0 ? load_filter(err) : rc;
}
