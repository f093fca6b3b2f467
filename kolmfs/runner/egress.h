/*
 * egress - what spawner, cell and runner agree on about a cell's life and its attempts to leave.
 */
#ifndef KOLM_EGRESS_H
#define KOLM_EGRESS_H

/* exit statuses of kolm-cell */
enum {
	CELL_DONE = 0,	   /* its input ended, or it was told to end */
	CELL_EGRESS = 3,   /* a trap of the language fired; the egress frame is out */
	CELL_BROKEN = 4,   /* a frame that is none, a pipe that failed */
	CELL_LIMIT = 5,	   /* a limit was reached, the failed frame is out */
	CELL_NO_WALLS = 6, /* a wall could not be built */
	CELL_CPU = 7,	   /* RLIMIT_CPU */
};

/* descriptors of a starting cell, closed before the first frame: it says "ready\n" or a sentence,
 * and waits for one byte */
enum { CELL_SAY = 3, CELL_GO = 4 };

enum { CELL_FRAME_BYTES = 2 * 1024 * 1024 + 64 * 1024 };

/*
 * kolm-cell --probe NAME: builds its walls like any cell and then tries what NAME says with bare
 * system calls. It writes PROBE_READY, then PROBE_REFUSED when the kernel answered with an error,
 * PROBE_OPEN when it worked. No second byte, because it was killed, is a refusal too.
 */
enum { PROBE_REFUSED = 'R', PROBE_OPEN = 'O', PROBE_READY = 'W' };

/* these must not only fail: the spawner must have seen them */
#define CELL_NETWORK_PROBES(X)                                                                     \
	X(inet)                                                                                    \
	X(inet6)                                                                                   \
	X(unix) X(netlink) X(packet) X(vsock) X(xdp) X(alg) X(bluetooth) X(can) X(tipc)            \
		X(socketpair) X(io_uring) X(pidfd_getfd)
#define CELL_OTHER_PROBES(X)                                                                       \
	X(open)                                                                                    \
	X(mem)                                                                                     \
	X(fork) X(thread) X(exec) X(ptrace) X(kill) X(bpf) X(userfaultfd) X(mmap_exec)             \
		X(mprotect_exec) X(mount) X(unshare) X(fsize)
/* and "hold" waits behind its walls, to be looked at */

#endif
