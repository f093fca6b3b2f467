/*
 * cell_probe - what a hostile recipe that has taken over the engine would try, by bare system
 * calls: the proof that the walls stand.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runner/cell.h"
#include "runner/egress.h"

/* numbers instead of names: the point is what the kernel does, and some are newer than the headers
 */
enum {
	FAMILY_UNIX = 1,
	FAMILY_INET = 2,
	FAMILY_INET6 = 10,
	FAMILY_NETLINK = 16,
	FAMILY_PACKET = 17,
	FAMILY_CAN = 29,
	FAMILY_TIPC = 30,
	FAMILY_BLUETOOTH = 31,
	FAMILY_ALG = 38,
	FAMILY_VSOCK = 40,
	FAMILY_XDP = 44,
};

static long sock(int family)
{
	return syscall(SYS_socket, family,
		family == FAMILY_PACKET || family == FAMILY_XDP ? SOCK_RAW : SOCK_STREAM, 0);
}

static long probe_inet(void)
{
	return sock(FAMILY_INET);
}
static long probe_inet6(void)
{
	return sock(FAMILY_INET6);
}
static long probe_unix(void)
{
	return sock(FAMILY_UNIX);
}
static long probe_netlink(void)
{
	return syscall(SYS_socket, FAMILY_NETLINK, SOCK_RAW, 0);
}
static long probe_packet(void)
{
	return sock(FAMILY_PACKET);
}
static long probe_vsock(void)
{
	return sock(FAMILY_VSOCK);
}
static long probe_xdp(void)
{
	return sock(FAMILY_XDP);
}
static long probe_alg(void)
{
	return syscall(SYS_socket, FAMILY_ALG, SOCK_SEQPACKET, 0);
}
static long probe_bluetooth(void)
{
	return sock(FAMILY_BLUETOOTH);
}
static long probe_can(void)
{
	return sock(FAMILY_CAN);
}
static long probe_tipc(void)
{
	return sock(FAMILY_TIPC);
}

static long probe_socketpair(void)
{
	int pair[2];

	return syscall(SYS_socketpair, FAMILY_UNIX, SOCK_STREAM, 0, pair);
}

static long probe_io_uring(void)
{
	char params[120] = {0};

	return syscall(SYS_io_uring_setup, 1, params);
}

static long probe_open(void)
{
	return syscall(SYS_openat, AT_FDCWD, "/etc/hostname", O_RDONLY, 0);
}
static long probe_mem(void)
{
	return syscall(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR, 0);
}
static long probe_fork(void)
{
	return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static long probe_thread(void)
{
	uint64_t args[11] = {0x10f00}; /* CLONE_VM|FS|FILES|SIGHAND|THREAD */

	return syscall(SYS_clone3, args, sizeof(args));
}

static long probe_exec(void)
{
	char *const none[] = {NULL};

	return syscall(SYS_execve, "/bin/true", none, none);
}

static long probe_ptrace(void)
{
	return syscall(SYS_ptrace, 0, 0, 0, 0);
}
static long probe_kill(void)
{
	return syscall(SYS_kill, 1, 0);
}

static long probe_bpf(void)
{
	char attr[64] = {0};

	return syscall(SYS_bpf, 0, attr, sizeof(attr));
}

static long probe_userfaultfd(void)
{
	return syscall(SYS_userfaultfd, 1);
}

static long probe_mmap_exec(void)
{
	return syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static long probe_mprotect_exec(void)
{
	static char page[8192];

	return syscall(SYS_mprotect, ((uintptr_t)page + 4095) & ~(uintptr_t)4095, 4096,
		PROT_READ | PROT_EXEC);
}

static long probe_mount(void)
{
	return syscall(SYS_mount, "none", "/", "tmpfs", 0, NULL);
}
static long probe_unshare(void)
{
	return syscall(SYS_unshare, 0x10000000);
} /* CLONE_NEWUSER */
static long probe_pidfd_getfd(void)
{
	return syscall(SYS_pidfd_getfd, 0, 0, 0);
}
/* there is no file to write to: making one is the probe */
static long probe_fsize(void)
{
	return syscall(SYS_openat, AT_FDCWD, "/x", O_WRONLY | O_CREAT, 0600);
}

/* waits behind the walls until its input ends */
static long probe_hold(void)
{
	char c;

	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	return -1;
}

static const struct {
	const char *name;
	long (*try)(void);
} probes[] = {
#define PROBE(name) {#name, probe_##name},
	PROBE(hold) CELL_NETWORK_PROBES(PROBE) CELL_OTHER_PROBES(PROBE)
#undef PROBE
};

int cell_probe(const char *name)
{
	for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
		char said = PROBE_READY;

		if (strcmp(probes[i].name, name) != 0)
			continue;
		/* first: it got here, so that what follows, or does not, is the walls' doing */
		if (write(STDOUT_FILENO, &said, 1) != 1)
			return CELL_BROKEN;
		said = probes[i].try() < 0 ? PROBE_REFUSED : PROBE_OPEN;
		return write(STDOUT_FILENO, &said, 1) == 1 ? CELL_DONE : CELL_BROKEN;
	}
	return CELL_BROKEN;
}
