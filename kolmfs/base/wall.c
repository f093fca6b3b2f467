/*
 * wall - no_new_privs, seccomp and Landlock around the calling process.
 *
 * A worker's filter denies by default with ENOSYS, not by killing: libc tries newer system calls
 * first and falls back, and a libc update must not turn into dead workers. What would leave the
 * machine kills; that is never an accident.
 */
#include "base/wall.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#ifdef KOLM_ABLATE
#include <stdlib.h>
#endif
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

const int wall_network_calls[] = {
	SCMP_SYS(socket),
	SCMP_SYS(socketpair),
	SCMP_SYS(connect),
	SCMP_SYS(bind),
	SCMP_SYS(listen),
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(sendto),
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendmmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	SCMP_SYS(recvmmsg),
	SCMP_SYS(shutdown),
	SCMP_SYS(setsockopt),
	SCMP_SYS(getsockopt),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(io_uring_enter),
	SCMP_SYS(io_uring_register), /* can open sockets behind a filter's back */
	SCMP_SYS(pidfd_getfd),	     /* can take another process's socket */
	-1,
};

const int wall_forbidden_calls[] = {
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(process_madvise),
	SCMP_SYS(kcmp),
	SCMP_SYS(bpf),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(keyctl),
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(pivot_root),
	SCMP_SYS(chroot),
	SCMP_SYS(move_mount),
	SCMP_SYS(open_tree),
	SCMP_SYS(fsopen),
	SCMP_SYS(fsmount),
	SCMP_SYS(fsconfig),
	SCMP_SYS(fspick),
	SCMP_SYS(mount_setattr),
	SCMP_SYS(unshare),
	SCMP_SYS(setns),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(name_to_handle_at),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(reboot),
	SCMP_SYS(swapon),
	SCMP_SYS(swapoff),
	SCMP_SYS(acct),
	SCMP_SYS(quotactl),
	SCMP_SYS(iopl),
	SCMP_SYS(ioperm),
	SCMP_SYS(modify_ldt),
	SCMP_SYS(vhangup),
	SCMP_SYS(settimeofday),
	SCMP_SYS(clock_settime),
	-1,
};

/* the server keeps what libfuse and the spawner's socket pair need; these are what it must never do
 */
static const int server_denied[] = {
	SCMP_SYS(socket),
	SCMP_SYS(connect),
	SCMP_SYS(bind),
	SCMP_SYS(listen),
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(io_uring_enter),
	SCMP_SYS(io_uring_register),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(execve),
	SCMP_SYS(execveat),
	-1,
};

static const int worker_allowed[] = {
	/* open files */
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),
	SCMP_SYS(preadv),
	SCMP_SYS(pwritev),
	SCMP_SYS(lseek),
	SCMP_SYS(close),
	SCMP_SYS(close_range),
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	SCMP_SYS(ftruncate),
	SCMP_SYS(fallocate),
	SCMP_SYS(flock),
	SCMP_SYS(fcntl),
	SCMP_SYS(dup),
	SCMP_SYS(dup2),
	SCMP_SYS(dup3),
	SCMP_SYS(pipe),
	SCMP_SYS(pipe2),
	SCMP_SYS(copy_file_range),
	SCMP_SYS(sendfile),
	SCMP_SYS(fadvise64),
	SCMP_SYS(readahead),
	SCMP_SYS(sync_file_range),
	SCMP_SYS(memfd_create),
	SCMP_SYS(fchmod),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(select),
	SCMP_SYS(pselect6),
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(eventfd2),
	/* names: Landlock decides which */
	SCMP_SYS(open),
	SCMP_SYS(openat),
	SCMP_SYS(openat2),
	SCMP_SYS(stat),
	SCMP_SYS(lstat),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(statx),
	SCMP_SYS(statfs),
	SCMP_SYS(fstatfs),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(getdents64),
	SCMP_SYS(getdents),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(rename),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
	SCMP_SYS(mkdir),
	SCMP_SYS(mkdirat),
	SCMP_SYS(rmdir),
	SCMP_SYS(link),
	SCMP_SYS(linkat),
	SCMP_SYS(chmod),
	SCMP_SYS(fchmodat),
	SCMP_SYS(umask),
	SCMP_SYS(utimensat),
	SCMP_SYS(getcwd),
	SCMP_SYS(chdir),
	SCMP_SYS(fchdir),
	/* memory; mmap and mprotect without PROT_EXEC are added apart */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(msync),
	SCMP_SYS(mincore),
	SCMP_SYS(mlock),
	SCMP_SYS(mlock2),
	SCMP_SYS(munlock),
	SCMP_SYS(membarrier),
	/* threads; clone with CLONE_THREAD is added apart */
	SCMP_SYS(futex),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(get_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(set_tid_address),
	SCMP_SYS(gettid),
	SCMP_SYS(getpid),
	SCMP_SYS(getppid),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_setaffinity),
	SCMP_SYS(sched_getparam),
	SCMP_SYS(sched_getscheduler),
	SCMP_SYS(getcpu),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(prctl),
	SCMP_SYS(arch_prctl),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(tgkill),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigpending),
	SCMP_SYS(rt_sigtimedwait),
	SCMP_SYS(rt_sigsuspend),
	SCMP_SYS(sigaltstack),
	/* clocks and facts about this machine and process */
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_getres),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(times),
	SCMP_SYS(alarm),
	SCMP_SYS(setitimer),
	SCMP_SYS(getitimer),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(getrandom),
	SCMP_SYS(getrusage),
	SCMP_SYS(getrlimit),
	SCMP_SYS(prlimit64),
	SCMP_SYS(sysinfo),
	SCMP_SYS(uname),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(getpgrp),
	SCMP_SYS(getpriority),
	SCMP_SYS(setpriority),
	SCMP_SYS(ioprio_set),
#ifdef __SANITIZE_ADDRESS__
	/* the leak checker stops the threads from a traced helper at exit */
	SCMP_SYS(ptrace),
	SCMP_SYS(clone),
	SCMP_SYS(wait4),
	SCMP_SYS(kill),
	SCMP_SYS(process_vm_readv),
#endif
	-1,
};

static int add_list(scmp_filter_ctx ctx, uint32_t action, const int *calls)
{
	for (; *calls != -1; calls++) {
		int rc;

		if (*calls < 0) /* does not exist on this architecture */
			continue;
		rc = seccomp_rule_add(ctx, action, *calls, 0);
		if (rc < 0 && rc != -EEXIST &&
			rc != -EACCES) /* EACCES: it is the default action already */
			return rc;
	}
	return 0;
}

/* what depends on an argument: no executable memory, no new process, no terminal games */
static int add_narrowed(scmp_filter_ctx ctx)
{
	const scmp_datum_t exec = PROT_EXEC, thread = CLONE_THREAD;
	int rc = 0;

	rc |= seccomp_rule_add(
		ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, exec, 0));
	rc |= seccomp_rule_add(
		ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, exec, 0));
#ifndef __SANITIZE_ADDRESS__
	rc |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
		SCMP_A0(SCMP_CMP_MASKED_EQ, thread, thread));
#else
	(void)thread;
#endif
	rc |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
		SCMP_A1(SCMP_CMP_EQ, 0x5401)); /* TCGETS: isatty() */
	return rc < 0 ? -EINVAL : 0;
}

static int build_filter(scmp_filter_ctx ctx, enum wall_profile profile)
{
	int rc;

	if (profile == WALL_SERVER) {
		rc = add_list(ctx, SCMP_ACT_ERRNO(EPERM), server_denied);
#ifndef __SANITIZE_ADDRESS__ /* the leak checker's helper, as above */
		if (rc == 0)
			rc = add_list(ctx, SCMP_ACT_ERRNO(EPERM), wall_forbidden_calls);
#endif
		return rc;
	}
	rc = add_list(ctx, SCMP_ACT_KILL_PROCESS, wall_network_calls);
	if (rc == 0)
		rc = add_list(ctx, SCMP_ACT_ALLOW, worker_allowed);
	return rc == 0 ? add_narrowed(ctx) : rc;
}

static int load_filter(enum wall_profile profile, struct err *err)
{
	scmp_filter_ctx ctx =
		seccomp_init(profile == WALL_SERVER ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(ENOSYS));
	int rc;

	if (!ctx)
		return err_nomem(err);
	rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (rc == 0)
		rc = build_filter(ctx, profile);
	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	if (rc < 0)
		return err_set(err, EOPNOTSUPP, "sandbox: system-call filter unavailable (%s)",
			strerror(-rc));
	return 0;
}

int wall_enter(enum wall_profile profile, struct err *err)
{
	const struct rlimit no_core = {0, 0};

	if (setrlimit(RLIMIT_CORE, &no_core) < 0)
		return err_sys(err, "sandbox: cannot forbid core files");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(err, EOPNOTSUPP, "sandbox: no_new_privs unavailable");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(err, "sandbox: cannot make the process undumpable");
	return load_filter(profile, err);
}

#ifdef KOLM_ABLATE
bool wall_is_ablated(const char *layer)
{
	const char *taken = getenv("KOLM_ABLATE");

	/* "all": to see that the probes would work if nothing stopped them */
	return taken && (strcmp(taken, layer) == 0 ||
				(strcmp(taken, "all") == 0 && strcmp(layer, "takeover") != 0));
}
#endif

/* ---- Landlock ---- */

struct landlock_rules {
	uint64_t fs;
	uint64_t net;	/* ABI 4 */
	uint64_t scope; /* ABI 6 */
};

struct landlock_path {
	uint64_t allowed;
	int32_t fd;
} __attribute__((packed));

enum {
	LL_EXECUTE = 1 << 0,
	LL_WRITE_FILE = 1 << 1,
	LL_READ_FILE = 1 << 2,
	LL_READ_DIR = 1 << 3,
	LL_ABI_1 = (1 << 13) - 1,
	LL_REFER = 1 << 13,	/* ABI 2 */
	LL_TRUNCATE = 1 << 14,	/* ABI 3 */
	LL_IOCTL_DEV = 1 << 15, /* ABI 5 */
	LL_NET_TCP = 3,		/* ABI 4: bind and connect */
	LL_SCOPE = 3,		/* ABI 6: abstract sockets and signals */
	LL_READ = LL_EXECUTE | LL_READ_FILE | LL_READ_DIR,
	LL_ON_FILES = LL_EXECUTE | LL_WRITE_FILE | LL_READ_FILE | LL_TRUNCATE | LL_IOCTL_DEV,
	LL_RULE_PATH = 1,
	LL_VERSION = 1,
};

int landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LL_VERSION);

	return abi < 0 ? 0 : (int)abi;
}

static int add_path(int rules, const char *path, uint64_t allowed, struct err *err)
{
	struct landlock_path rule = {.allowed = allowed};
	struct stat st;
	int rc = 0;

	rule.fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, "sandbox: cannot open '%s'", path);
	if (fstat(rule.fd, &st) < 0)
		rc = err_sys(err, "sandbox: cannot look at '%s'", path);
	if (rc == 0 && !S_ISDIR(st.st_mode))
		rule.allowed &= LL_ON_FILES;
	if (rc == 0 && syscall(SYS_landlock_add_rule, rules, LL_RULE_PATH, &rule, 0) < 0)
		rc = err_sys(err, "sandbox: cannot allow '%s'", path);
	close(rule.fd);
	return rc;
}

static int add_paths(int rules, const char *const *paths, uint64_t allowed, struct err *err)
{
	int rc = 0;

	for (; paths && *paths && rc == 0; paths++)
		rc = add_path(rules, *paths, allowed, err);
	return rc;
}

int landlock_enter(
	const char *const *reads, const char *const *writes, bool sealed, struct err *err)
{
	struct landlock_rules handled = {.fs = LL_ABI_1};
	int abi = landlock_abi(), rules, rc;
	size_t size = sizeof(handled.fs);

	if (abi < 1)
		return err_set(err, EOPNOTSUPP, "sandbox: Landlock unavailable");
	if (abi >= 2)
		handled.fs |= LL_REFER;
	if (abi >= 3)
		handled.fs |= LL_TRUNCATE;
	if (abi >= 4) {
		handled.net = sealed ? LL_NET_TCP : 0;
		size += sizeof(handled.net);
	}
	if (abi >= 5)
		handled.fs |= LL_IOCTL_DEV;
	if (abi >= 6) {
		handled.scope = sealed ? LL_SCOPE : 0;
		size += sizeof(handled.scope);
	}
	rules = (int)syscall(SYS_landlock_create_ruleset, &handled, size, 0);
	if (rules < 0)
		return err_set(
			err, EOPNOTSUPP, "sandbox: Landlock unavailable (%s)", strerror(errno));
	rc = add_paths(rules, reads, LL_READ, err);
	if (rc == 0)
		rc = add_paths(rules, writes, handled.fs & ~(uint64_t)LL_IOCTL_DEV, err);
	if (rc == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		rc = err_sys(err, "sandbox: no_new_privs unavailable");
	if (rc == 0 && syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		rc = err_set(err, EOPNOTSUPP, "sandbox: Landlock cannot be entered (%s)",
			strerror(errno));
	close(rules);
	return rc;
}
