/*
 * spawner - the small process that starts, watches and ends all others, and that mounts and
 * unmounts.
 *
 * It is forked before its parent has threads, descriptors worth having or a seccomp filter, so that
 * workers neither die with a pool thread nor cost the fork of a big process. It is joined to the
 * parent by one unnamed socket pair, made before any filter, which carries descriptors. When the
 * parent's end closes - however the parent died - it kills every child with its whole group,
 * unmounts what it mounted, and exits.
 */
#ifndef KOLM_SPAWNER_H
#define KOLM_SPAWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

struct spawner;

/* which walls stand around a child (reliability.md sections 6 and 7) */
enum spawn_kind {
	SPAWN_TRAINER, /* the native trainer: user, net, pid, mount, ipc namespaces; Landlock: read
			  ${reads}, write ${writes}; killed at its first socket call */
	SPAWN_WORKER,  /* an external worker: the same, but it may fork and exec, and a network call
			  gets EPERM */
	SPAWN_CLUSTER, /* an external worker with network = "cluster": files walled, network open */
	SPAWN_INDEXER, /* as SPAWN_TRAINER */
	SPAWN_RUNNER,  /* kolm-runner and its cell: reads ${reads}, writes nothing */
};

struct spawn_request {
	enum spawn_kind kind;
	const char *const *argv; /* argv[0] is the program's path */
	const char *const *env;	 /* the whole environment, NULL-terminated */
	const char *cwd;	 /* absolute */
	int in, out, err;	 /* descriptors for 0, 1, 2; -1: /dev/null. Borrowed */
	const int *fds;		 /* installed as 10, 11, ... ; borrowed */
	size_t nfds;
	const char *const *reads;  /* absolute paths (files or folders) the child may read,
				      NULL-terminated, may be NULL */
	const char *const *writes; /* absolute folders it may write, NULL-terminated, may be NULL */
	uint64_t data_bytes; /* memory of its own it may have, and the largest file it may write; */
	uint64_t file_bytes; /* 0: no limit */
	uint64_t cpu_seconds; /* of processor time, all threads of a process; 0: no limit */
};

struct spawn_exit {
	bool signalled;
	int status;	 /* exit status or signal */
	char egress[64]; /* name of the network system call that ended it, "" none */
};

/* spawner_start(out, err): fork it. Call before threads exist. The programs are looked up beside
 * /proc/self/exe. */
int spawner_start(struct spawner **out, struct err *err);

/* spawner_stop(sp): close the pair and wait for the spawner to end its children and itself. */
void spawner_stop(struct spawner *sp);

/* spawner_program(sp, name, out): absolute path of a program of ours ("kolm-runner"), next to the
 * running one. */
const char *spawner_program(const struct spawner *sp, const char *name);

/*
 * spawner_spawn(sp, rq, pid, exit_fd, err): start a child. ${exit_fd} becomes a descriptor, owned
 * by the caller, on which one struct spawn_exit can be read once the child is reaped (then end of
 * file); it can be polled. Thread-safe. -EOPNOTSUPP "sandbox: ... unavailable" when a wall is
 * missing.
 */
int spawner_spawn(struct spawner *sp, const struct spawn_request *rq, pid_t *pid, int *exit_fd,
	struct err *err);

/* spawner_wait(exit_fd, out, err): read the exit (blocks), close ${exit_fd}. */
int spawner_wait(int exit_fd, struct spawn_exit *out, struct err *err);

/* spawner_kill(sp, pid, sig): signal a child's whole group; -ESRCH when it is gone. */
int spawner_kill(struct spawner *sp, pid_t pid, int sig, struct err *err);

/* spawner_hold(sp, fd, err): have the spawner keep a copy of ${fd} until it ends: a lock stays
 * taken while a killed server is still being cleaned up after. */
int spawner_hold(struct spawner *sp, int fd, struct err *err);

/*
 * spawner_mount(sp, mountpoint, options, fd, err): mount a FUSE file system (type fuse.kolmfs,
 * fsname as in ${options}) and pass the /dev/fuse descriptor. As root by mount(2), otherwise by
 * fusermount3. spawner_unmount(): lazy; also heals a stale one. K10, K18 for the errors.
 */
int spawner_mount(
	struct spawner *sp, const char *mountpoint, const char *options, int *fd, struct err *err);
int spawner_unmount(struct spawner *sp, const char *mountpoint, struct err *err);

/* spawner_walls(sp, out, err): {"userns":"in force",...} as JSON: the report of a canary cell
 * (PROTOCOLS section 2, check). Cached after the first. */
int spawner_walls(struct spawner *sp, struct buf *out, struct err *err);
/* spawner_walls_known(sp, out): the same, when somebody has asked before; does not wait. True with
 * out->failed: known, and no memory to say it. */
bool spawner_walls_known(struct spawner *sp, struct buf *out);

/*
 * Fixed descriptors of a runner, besides 0-2 and 10...: its cell's pipes and its line to the
 * spawner (PROTOCOLS section 3): "arm\n" -> "ok\n"; "new\n" -> "ended exit=N|signal=N
 * egress=SYSCALL|-\n"; "last\n" the same, but the cell, which was told so, ends by itself;
 * "walls\n" -> a new canary's report as one line of JSON, or a sentence.
 */
enum { RUNNER_CELL_OUT = 3, RUNNER_CELL_IN = 4, RUNNER_SPAWN_OUT = 5, RUNNER_SPAWN_IN = 6 };
/* a cell's: it reads frames from 0 and writes them to 1; nothing else is open */

#endif
