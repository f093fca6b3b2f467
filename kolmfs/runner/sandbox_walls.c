/*
 * sandbox_walls - the two walls that are lists: which system calls, which files.
 */
#include <errno.h>
#include <seccomp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/wall.h"
#include "runner/sandbox.h"

enum { PATHS_MAX = WIRE_STRINGS + 64 };

/* what any program of ours needs to start: its libraries, itself, what libc looks at */
static const char *const start_reads[] = {
	"/lib",
	"/lib64",
	"/usr/lib",
	"/usr/lib64",
	"/usr/local/lib",
	"/etc/ld.so.cache",
	"/etc/ld.so.preload",
	"/proc/self",
	"/proc/meminfo",
	"/proc/cpuinfo",
	"/proc/stat",
	"/proc/sys/vm/overcommit_memory",
	"/sys/devices/system/cpu",
	"/dev/null",
	"/dev/zero",
	"/dev/urandom",
	"/dev/random",
	"/etc/localtime",
	NULL,
};

/* an interpreter and what it loads; its own environment, when it is elsewhere, is named by the
 * caller */
static const char *const worker_reads[] = {
	"/usr",
	"/bin",
	"/sbin",
	"/opt",
	"/etc/alternatives",
	"/etc/mime.types",
	"/etc/passwd",
	"/etc/nsswitch.conf",
	"/etc/python3",
	"/etc/ssl/openssl.cnf",
	"/proc/filesystems",
	"/proc/mounts",
	"/proc/version",
	"/proc/loadavg",
	"/sys/fs/cgroup",
	"/sys/devices",
	"/sys/class",
	"/sys/module/nvidia",
	"/sys/bus/pci",
	NULL,
};

static const char *const always_writes[] = {"/dev/null", NULL};
static const char *const worker_writes[] = {
	"/dev/shm", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia0", NULL};

static size_t append(const char **out, size_t n, const char *const *list)
{
	for (; list && *list && n < PATHS_MAX - 1; list++)
		out[n++] = *list;
	out[n] = NULL;
	return n;
}

int sandbox_files(const struct sandbox_spec *spec, struct err *err)
{
	const bool is_foreign = spec->kind == SPAWN_WORKER || spec->kind == SPAWN_CLUSTER;
	const char *const self[] = {spec->argv[0], NULL};
	const char *reads[PATHS_MAX], *writes[PATHS_MAX];
	size_t n;

	n = append(reads, 0, start_reads);
	n = append(reads, n, self);
	if (is_foreign)
		n = append(reads, n, worker_reads);
	append(reads, n, spec->reads);
	n = append(writes, 0, always_writes);
	if (is_foreign)
		n = append(writes, n, worker_writes);
	append(writes, n, spec->writes);
	return landlock_enter(reads, writes, spec->kind != SPAWN_CLUSTER, err);
}

static int add_all(scmp_filter_ctx ctx, uint32_t action, const int *calls)
{
	for (; *calls != -1; calls++) {
		int rc = *calls < 0 ? 0 : seccomp_rule_add(ctx, action, *calls, 0);

		if (rc < 0 && rc != -EEXIST)
			return rc;
	}
	return 0;
}

/*
 * A foreign worker may use pairs of local sockets between its own processes (Python does); every
 * other socket is asked for here, refused, and counted if it would have left the machine.
 */
static int add_worker(scmp_filter_ctx ctx)
{
	static const int refused[] = {SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter),
		SCMP_SYS(io_uring_register), SCMP_SYS(pidfd_getfd), -1};
	int rc = add_all(ctx, SCMP_ACT_ERRNO(EPERM), refused);

	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(socket), 0);
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(socketpair), 1,
			SCMP_A0(SCMP_CMP_NE, AF_UNIX));
	return rc;
}

int sandbox_filter(int kind, int *listener, struct err *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int rc;

	*listener = -1;
	if (!ctx)
		return err_nomem(err);
	rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	/* a cell still has to change its root; its own filter comes after that */
	if (rc == 0 && kind != SANDBOX_CELL)
		rc = add_all(ctx, SCMP_ACT_ERRNO(EPERM), wall_forbidden_calls);
	if (rc == 0 && kind == SPAWN_WORKER)
		rc = add_worker(ctx);
	else if (rc == 0 && kind != SPAWN_CLUSTER && !wall_is_ablated("listener"))
		rc = add_all(ctx, SCMP_ACT_NOTIFY, wall_network_calls);
	if (rc == 0)
		rc = seccomp_load(ctx);
	if (rc == 0 && kind != SPAWN_CLUSTER && !wall_is_ablated("listener")) {
		rc = seccomp_notify_fd(ctx);
		if (rc >= 0) {
			*listener = rc;
			rc = 0;
		}
	}
	seccomp_release(ctx);
	if (rc < 0)
		return err_set(err, EOPNOTSUPP,
			"sandbox: system-call filter unavailable (%s); recipes will not be run",
			strerror(-rc));
	return 0;
}

bool sandbox_leaves(int family)
{
	return family == AF_INET || family == AF_INET6 || family == AF_PACKET || family == AF_VSOCK;
}
