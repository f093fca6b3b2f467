/*
 * probes - the --probe of build/ablate/bin/kolm-cell: the shipped probes and many more.
 *
 * Bare system calls, as an engine that a recipe has taken over could make them. A probe returns a
 * value not below 0 when it got what it wanted.
 */
#define cell_probe cell_probe_shipped
#include "../../kolmfs/runner/cell_probe.c"
#undef cell_probe

#include <arpa/inet.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>

#include "probes.h"

struct target {
	int port;
	pid_t pid;
};

static long raw_icmp(const struct target *to)
{
	(void)to;
	return syscall(SYS_socket, AF_INET, SOCK_RAW, 1);
}

static long raw_all(const struct target *to)
{
	(void)to;
	return syscall(SYS_socket, AF_PACKET, SOCK_RAW, htons(3));
}

static long pair(const struct target *to)
{
	int two[2];

	(void)to;
	return syscall(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET, 0, two);
}

/* a call on a descriptor that is no socket: what counts is that it was seen */
#define ON_0(name, ...)                                                                            \
	static long name(const struct target *to)                                                  \
	{                                                                                          \
		char data[128] = {0};                                                              \
		(void)to;                                                                          \
		(void)data;                                                                        \
		return syscall(__VA_ARGS__);                                                       \
	}
ON_0(connect_0, SYS_connect, 0, data, 16)
ON_0(bind_0, SYS_bind, 0, data, 16)
ON_0(listen_0, SYS_listen, 0, 1)
ON_0(accept_0, SYS_accept, 0, NULL, NULL)
ON_0(accept4_0, SYS_accept4, 0, NULL, NULL, 0)
ON_0(sendto_0, SYS_sendto, 0, data, 1, 0, NULL, 0)
ON_0(sendmsg_0, SYS_sendmsg, 0, data, 0)
ON_0(sendmmsg_0, SYS_sendmmsg, 0, data, 1, 0)
ON_0(recvfrom_0, SYS_recvfrom, 0, data, 1, 0, NULL, NULL)
ON_0(recvmsg_0, SYS_recvmsg, 0, data, 0)
ON_0(recvmmsg_0, SYS_recvmmsg, 0, data, 1, 0, NULL)
ON_0(shutdown_0, SYS_shutdown, 0, 2)
ON_0(setsockopt_0, SYS_setsockopt, 0, 1, 2, data, 4)
ON_0(getsockopt_0, SYS_getsockopt, 0, 1, 2, data, data + 64)
ON_0(getsockname_0, SYS_getsockname, 0, data, data + 64)
ON_0(getpeername_0, SYS_getpeername, 0, data, data + 64)
ON_0(uring_setup, SYS_io_uring_setup, 4, data)
ON_0(uring_enter, SYS_io_uring_enter, 0, 1, 0, 0, NULL, 0)
ON_0(uring_register, SYS_io_uring_register, 0, 0, data, 0)
ON_0(getfd, SYS_pidfd_getfd, 0, 0, 0)

/* ---- out ---- */

static long send_to(int family, int type, const void *address, unsigned len)
{
	long fd = syscall(SYS_socket, family, type, 0);

	if (fd < 0 || syscall(SYS_connect, fd, address, len) < 0)
		return -1;
	return syscall(SYS_sendto, fd, "x", 1, 0, NULL, 0);
}

static long out_tcp4(const struct target *to)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)to->port)};

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return send_to(AF_INET, SOCK_STREAM, &at, sizeof(at));
}

/* with a descriptor free, so that no limit on their number is in the way */
static long out_tcp4_on_0(const struct target *to)
{
	close(0);
	return out_tcp4(to);
}

static long out_tcp6(const struct target *to)
{
	struct sockaddr_in6 at = {.sin6_family = AF_INET6,
		.sin6_port = htons((uint16_t)to->port),
		.sin6_addr = IN6ADDR_LOOPBACK_INIT};

	return send_to(AF_INET6, SOCK_STREAM, &at, sizeof(at));
}

static long out_udp4(const struct target *to)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)to->port)};

	close(0);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return send_to(AF_INET, SOCK_DGRAM, &at, sizeof(at));
}

static long out_abstract(const struct target *to)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int n = snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1, "kolm-airgap-%d", (int)to->pid);

	close(0);
	return send_to(
		AF_UNIX, SOCK_STREAM, &at, (unsigned)(sizeof(at.sun_family) + 1 + (size_t)n));
}

static long out_path(const struct target *to)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	close(0);
	snprintf(at.sun_path, sizeof(at.sun_path), "/tmp/kolm-airgap-%d", (int)to->pid);
	return send_to(AF_UNIX, SOCK_STREAM, &at, sizeof(at));
}

/* a frame on every link there is; the loopback of the machine hears it */
static long out_packet(const struct target *to)
{
	unsigned char at[20] = {AF_PACKET, 0, 8, 0, 1, 0, 0, 0}, frame[60] = {0};
	long fd;

	(void)to;
	close(0);
	fd = syscall(SYS_socket, AF_PACKET, SOCK_DGRAM, htons(0x0800));
	return fd < 0 ? -1 : syscall(SYS_sendto, fd, frame, sizeof(frame), 0, at, sizeof(at));
}

static long out_vsock(const struct target *to)
{
	/* family, reserved, port, cid 1: this machine */
	struct {
		unsigned short family, reserved;
		unsigned port, cid;
		unsigned char zero[4];
	} at = {FAMILY_VSOCK, 0, (unsigned)to->port, 1, {0}};

	close(0);
	return send_to(FAMILY_VSOCK, SOCK_STREAM, &at, sizeof(at));
}

/* ---- files ---- */

static long open_for(const char *path, int flags)
{
	close(0); /* the number is free again: the limit on descriptors shall not be what helps */
	return syscall(SYS_openat, AT_FDCWD, path, flags, 0600);
}

#define OPENS(name, path, flags)                                                                   \
	static long name(const struct target *to)                                                  \
	{                                                                                          \
		(void)to;                                                                          \
		return open_for(path, flags);                                                      \
	}
OPENS(read_passwd, "/etc/passwd", O_RDONLY)
OPENS(read_shadow, "/etc/shadow", O_RDONLY)
OPENS(read_root, "/root/.bashrc", O_RDONLY)
OPENS(list_root, "/etc", O_RDONLY | O_DIRECTORY)
OPENS(read_environ, "/proc/1/environ", O_RDONLY)
OPENS(read_mem, "/proc/self/mem", O_RDWR)
OPENS(read_kvm, "/dev/kvm", O_RDWR)
OPENS(read_fuse, "/dev/fuse", O_RDWR)
OPENS(make_file, "/kolm-airgap-file", O_WRONLY | O_CREAT)
OPENS(make_tmp, "/tmp/kolm-airgap-tmp", O_WRONLY | O_CREAT)
OPENS(make_shm, "/dev/shm/kolm-airgap-shm", O_WRONLY | O_CREAT)

static long read_parent(const struct target *to)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/environ", (int)to->pid);
	return open_for(path, O_RDONLY);
}

static long read_openat2(const struct target *to)
{
	uint64_t how[3] = {O_RDONLY, 0, 0};

	(void)to;
	close(0);
	return syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", how, sizeof(how));
}

#define DOES(name, ...)                                                                            \
	static long name(const struct target *to)                                                  \
	{                                                                                          \
		(void)to;                                                                          \
		return syscall(__VA_ARGS__);                                                       \
	}
DOES(make_dir, SYS_mkdirat, AT_FDCWD, "/tmp/kolm-airgap-dir", 0700)
DOES(make_link, SYS_symlinkat, "/etc/passwd", AT_FDCWD, "/tmp/kolm-airgap-link")
DOES(make_node, SYS_mknodat, AT_FDCWD, "/tmp/kolm-airgap-node", S_IFCHR | 0600, 0x101)
DOES(make_fifo, SYS_mknodat, AT_FDCWD, "/tmp/kolm-airgap-fifo", S_IFIFO | 0600, 0)
DOES(remove_file, SYS_unlinkat, AT_FDCWD, "/tmp/kolm-airgap-victim", 0)
DOES(rename_file, SYS_renameat, AT_FDCWD, "/tmp/kolm-airgap-victim", AT_FDCWD,
	"/tmp/kolm-airgap-moved")
DOES(mode_of_file, SYS_fchmodat, AT_FDCWD, "/tmp/kolm-airgap-victim", 0777)
DOES(cut_file, SYS_truncate, "/tmp/kolm-airgap-victim", 0)
DOES(mount_tmpfs, SYS_mount, "none", "/dev", "tmpfs", 0, NULL)
DOES(mount_proc, SYS_mount, "none", "/dev", "proc", 0, NULL)
DOES(mount_bind, SYS_mount, "/", "/dev", NULL, 4096 | 16384, NULL)
DOES(remount_root, SYS_mount, NULL, "/", NULL, 32 | 4096, NULL)
DOES(umount_root, SYS_umount2, "/", 2)
DOES(pivot, SYS_pivot_root, ".", ".")
DOES(change_root, SYS_chroot, "/dev")
DOES(fs_open, SYS_fsopen, "tmpfs", 0)
DOES(tree_open, SYS_open_tree, AT_FDCWD, "/", 1)
DOES(host_name, SYS_sethostname, "kolm", 4)
DOES(domain_name, SYS_setdomainname, "kolm", 4)

static long handle_open(const struct target *to)
{
	char handle[64] = {8, 0, 0, 0, 1};

	(void)to;
	return syscall(SYS_open_by_handle_at, AT_FDCWD, handle, O_RDONLY);
}

/* ---- processes ---- */

static long start_process(const struct target *to)
{
	long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	(void)to;
	if (pid == 0)
		syscall(SYS_exit_group, 0);
	return pid;
}

static long start_vfork(const struct target *to)
{
	uint64_t args[11] = {0, 0, 0, 0, SIGCHLD};
	long pid = syscall(SYS_clone3, args, sizeof(args));

	(void)to;
	if (pid == 0)
		syscall(SYS_exit_group, 0);
	return pid;
}

/* success does not come back: the program says "O" itself */
static long run_shell(const struct target *to)
{
	char *const argv[] = {"sh", "-c", "printf O", NULL}, *const env[] = {NULL};

	(void)to;
	return syscall(SYS_execve, "/bin/sh", argv, env);
}

static long run_itself(const struct target *to)
{
	char *const argv[] = {"kolm-cell", "--calls", NULL}, *const env[] = {NULL};

	(void)to;
	return syscall(SYS_execve, "/proc/self/exe", argv, env);
}

#define PARENT(name, ...)                                                                          \
	static long name(const struct target *to)                                                  \
	{                                                                                          \
		return syscall(__VA_ARGS__);                                                       \
	}
PARENT(trace_parent, SYS_ptrace, 16, to->pid, 0, 0)
PARENT(kill_parent, SYS_kill, to->pid, 0)
PARENT(hold_parent, SYS_pidfd_open, to->pid, 0)
PARENT(limit_parent, SYS_prlimit64, to->pid, RLIMIT_CORE, NULL, &(struct rlimit){0, 0})
PARENT(schedule_parent, SYS_sched_setaffinity, to->pid, 8, &(uint64_t){1})
DOES(kill_all, SYS_kill, -1, 0)

static long peek(const struct target *to, long call)
{
	static char mine[8];
	struct iovec here = {mine, 8}, there = {mine, 8};

	return syscall(call, to->pid, &here, 1, &there, 1, 0);
}

static long read_process(const struct target *to)
{
	return peek(to, SYS_process_vm_readv);
}

static long write_process(const struct target *to)
{
	return peek(to, SYS_process_vm_writev);
}

/* ---- the machine ---- */

static long load_bpf(const struct target *to)
{
	uint64_t code[2] = {0xb7, 0x95}; /* r0 = 0; exit */
	struct {
		uint32_t type, count;
		uint64_t code, license;
		uint32_t level[26];
	} attr = {1, 2, (uintptr_t)code, (uintptr_t) "GPL", {0}};

	(void)to;
	return syscall(SYS_bpf, 5, &attr, sizeof(attr));
}

static long watch_events(const struct target *to)
{
	struct perf_event_attr attr = {.type = 1, .size = sizeof(attr)};

	return syscall(SYS_perf_event_open, &attr, to->pid, -1, -1, 0);
}

DOES(load_module, SYS_init_module, "x", 1, "")
DOES(load_kernel, SYS_kexec_load, 0, 0, NULL, 0)
DOES(restart_machine, SYS_reboot, 0xfee1dead, 672274793, 0, NULL) /* Ctrl-Alt-Del off */
DOES(swap_off, SYS_swapoff, "/nowhere")
DOES(account, SYS_acct, NULL)
DOES(set_clock, SYS_clock_settime, CLOCK_REALTIME, &(struct timespec){1, 0})
DOES(set_time, SYS_settimeofday, &(struct timeval){1, 0}, NULL)
DOES(kernel_log, SYS_syslog, 10, NULL, 0)
DOES(real_time, SYS_sched_setscheduler, 0, SCHED_FIFO, &(struct sched_param){1})
DOES(nicer, SYS_setpriority, PRIO_PROCESS, 0, -20)
#ifdef SYS_iopl
DOES(ports, SYS_iopl, 3)
#else
DOES(ports, SYS_syslog, 10, NULL, 0)
#endif

static long raise_limit(const struct target *to)
{
	const struct rlimit more = {RLIM_INFINITY, RLIM_INFINITY};

	(void)to;
	return syscall(SYS_setrlimit, RLIMIT_NPROC, &more);
}

/* a gigabyte, locked: neither the limit nor a right allows it */
static long lock_memory(const struct target *to)
{
	long at = syscall(SYS_mmap, NULL, 16 << 20, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)to;
	return at < 0 ? -1 : syscall(SYS_mlock, at, 16 << 20);
}

static long memory_file(const struct target *to)
{
	long fd;

	(void)to;
	close(0);
	fd = syscall(SYS_memfd_create, "x", 0);
	return fd < 0 ? -1 : syscall(SYS_write, fd, "x", 1);
}

static long much_memory(const struct target *to)
{
	(void)to;
	return syscall(SYS_mmap, NULL, 1ul << 30, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == -1
		       ? -1
		       : 0;
}

static long fault_handler(const struct target *to)
{
	(void)to;
	close(0);
	return syscall(SYS_userfaultfd, 0);
}

DOES(watch_files, SYS_fanotify_init, 0, O_RDONLY)

static long run_made_code(const struct target *to)
{
	(void)to;
	return probe_mmap_exec();
}

static long run_changed_code(const struct target *to)
{
	(void)to;
	return probe_mprotect_exec();
}

/* a thread of the engine is there, so a thread group leader is not what asks: files apart first */
static long new_user(const struct target *to)
{
	(void)to;
	return syscall(SYS_unshare, CLONE_FS);
}

DOES(become_dumpable, SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0)
DOES(outlive_parent, SYS_prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0)

/* the same kernel by its other door: a 32-bit call, which a filter for one architecture would not
 * read */
static long foreign_calls(const struct target *to)
{
	(void)to;
#ifdef __x86_64__
	long rc = 20; /* getpid of i386 */

	__asm__ volatile("int $0x80" : "+a"(rc) : : "memory", "r8", "r9", "r10", "r11");
	return rc;
#else
	return -1;
#endif
}

/* ---- ---- */

static const struct {
	const char *name;
	long (*try)(const struct target *to);
} more[] = {
#define PROBE(name, kind, only) {#name, name},
	AIRGAP_PROBES(PROBE)
#undef PROBE
};

static int tell(long result)
{
	const char said = result < 0 ? PROBE_REFUSED : PROBE_OPEN;

	return write(STDOUT_FILENO, &said, 1) == 1 ? CELL_DONE : CELL_BROKEN;
}

int cell_probe(const char *words);
int cell_probe(const char *words)
{
	struct target to = {0, 0};
	char name[64], said = PROBE_READY;
	int family, pid = 0;

	if (sscanf(words, "%63[^:]:%d:%d", name, &to.port, &pid) != 3)
		return cell_probe_shipped(words);
	to.pid = pid;
	if (write(STDOUT_FILENO, &said, 1) != 1)
		return CELL_BROKEN;
	if (sscanf(name, "family_%d", &family) == 1)
		return tell(syscall(SYS_socket, family, SOCK_RAW, 0) < 0 &&
					    syscall(SYS_socket, family, SOCK_DGRAM, 0) < 0 &&
					    syscall(SYS_socket, family, SOCK_STREAM, 0) < 0
				    ? -1
				    : 0);
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
		if (strcmp(more[i].name, name) == 0)
			return tell(more[i].try(&to));
	}
	return CELL_BROKEN;
}
