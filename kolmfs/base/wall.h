/*
 * wall - the walls a process builds around itself, usable from every folder (kolm-trainer and
 * kolm-indexer call it after start, behind what the spawner already built).
 */
#ifndef KOLM_WALL_H
#define KOLM_WALL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum wall_profile {
	WALL_SERVER, /* kolmfs: no socket, no execve, no io_uring, and nothing of
			wall_forbidden_calls: the spawner mounts (they get EPERM) */
	WALL_WORKER, /* kolm-trainer, kolm-indexer, kolm-runner: the same, deny by default: files,
			memory, threads, futexes, clocks; the network family kills */
};

/* wall_enter(profile, err): no_new_privs, not dumpable, no core; a seccomp filter on all threads.
 * -EOPNOTSUPP when this machine cannot. Cannot be undone. */
int wall_enter(enum wall_profile profile, struct err *err);

/*
 * wall_is_ablated(layer): true only in the programs of tests/airgap, built with -DKOLM_ABLATE so
 * that one layer can be taken away while hostile probes run. In every other build it is a constant
 * and nothing of it reaches the program (tests/airgap/symbols.sh looks).
 */
#ifdef KOLM_ABLATE
bool wall_is_ablated(const char *layer);
#else
#define wall_is_ablated(layer) false
#endif

/* Landlock, by system call (the userland headers of Debian 12 are older than the kernel).
 * landlock_abi(): 0 when missing. */
int landlock_abi(void);
/*
 * landlock_enter(reads, writes, err): from here on only these paths can be read (and executed), and
 * only these folders be written. Absolute, NULL-terminated, NULL for none; a path that does not
 * exist gives nothing. ${sealed}: also no TCP, and no signal and no abstract socket to a process
 * outside, as far as the kernel's Landlock knows them. Binds threads started later only, so call it
 * before there are any.
 */
int landlock_enter(
	const char *const *reads, const char *const *writes, bool sealed, struct err *err);

/* The system calls that make or use a socket or could stand in for one (io_uring, pidfd_getfd): one
 * list for every filter. -1 ends it. */
extern const int wall_network_calls[];
/* What no child of ours may do: look into other processes, load code into the kernel, change
 * mounts, make namespaces. -1 ends it. */
extern const int wall_forbidden_calls[];

#endif
