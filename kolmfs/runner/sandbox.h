/*
 * sandbox - the spawner process from inside: starting a child behind its walls, the loop that
 * watches them, mounts, the canary.
 */
#ifndef KOLM_SANDBOX_H
#define KOLM_SANDBOX_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "spawner.h"

/* ---- what travels on the socket pair: one packet each way, a request of at most WIRE_BYTES ----
 */

enum wire_op { WIRE_SPAWN, WIRE_KILL, WIRE_MOUNT, WIRE_UNMOUNT, WIRE_WALLS, WIRE_HOLD };
enum { WIRE_BYTES = 96 * 1024, WIRE_STRINGS = 1024, WIRE_FDS = 32, WIRE_TEXT = 8192 };
enum { LIST_ARGV, LIST_ENV, LIST_READS, LIST_WRITES, LISTS };

struct wire_head {
	int32_t op, kind, pid, sig;
	uint32_t std;		/* bit n: descriptor n is among those sent */
	uint32_t nfds;		/* that follow the standard ones */
	uint32_t counts[LISTS]; /* strings; then they come, NUL-terminated, after cwd */
	uint64_t data_bytes, file_bytes, cpu_seconds;
};

struct wire_request {
	struct wire_head head;
	const char *cwd;
	const char *strings[WIRE_STRINGS +
			    LISTS]; /* the four lists one behind the other, each ended by NULL */
	const char *const *list[LISTS];
	int fds[WIRE_FDS];
	size_t nfds;
};

struct wire_reply {
	int32_t rc, pid;
	struct err err;
	uint32_t len;
	char text[WIRE_TEXT]; /* walls */
};

/* Send and receive one packet with descriptors. Receiving sets close-on-exec, returns its length, 0
 * at the end. */
int wire_send(int sock, const void *data, size_t len, const int *fds, size_t nfds);
ssize_t wire_receive(int sock, void *data, size_t max, int *fds, size_t *nfds);
/* wire_decode(packet, len, out): pointers into ${packet}; -EBADMSG when it is not one. */
int wire_decode(char *packet, size_t len, struct wire_request *out);

/* ---- one child ---- */

enum { SANDBOX_CELL = SPAWN_RUNNER + 1 };

struct sandbox_fd {
	int from, to;
};

struct sandbox_spec {
	int kind; /* enum spawn_kind or SANDBOX_CELL */
	const char *const *argv, *const *env;
	const char *cwd;
	const struct sandbox_fd *fds; /* everything the program gets, in rising order of ${to} */
	size_t nfds;
	const char *const *reads, *const *writes;
	uint64_t data_bytes, file_bytes, cpu_seconds; /* 0: no limit */
};

struct sandbox_child {
	pid_t pid;  /* first process of its pid namespace, leader of its session; killing it kills
		       all */
	int status; /* one int, the program's wait status, can be read here; -1 for a cell, which is
		       that process itself */
	int listener; /* seccomp notifications, -1 when there is no network wall */
};

/* sandbox_start(spec, out, err): returns when the program has been executed. -EOPNOTSUPP "sandbox:
 * ..." for a missing wall; nothing is left then. */
int sandbox_start(const struct sandbox_spec *spec, struct sandbox_child *out, struct err *err);

/* sandbox_filter(kind, listener, err): load the filter that stays across exec; ${listener} -1 when
 * the kind has none. In the child. */
int sandbox_filter(int kind, int *listener, struct err *err);
/* sandbox_leaves(family): a socket of this family could leave the machine. */
bool sandbox_leaves(int family);
/* sandbox_files(spec, err): Landlock with the paths of ${spec} and what any program needs to start.
 * In the child. */
int sandbox_files(const struct sandbox_spec *spec, struct err *err);

/* ---- the spawner process ---- */

enum { CHILD_MAX = 256, MOUNT_MAX = 64 };

struct child {
	struct child *next;
	struct sandbox_child box;
	int kind;
	int exit_fd;	 /* who waits for it, -1 nobody */
	char egress[64]; /* first attempt seen */
	bool is_over;
	int wait_status;
	/* of a runner: its cell and what joins them; all -1 otherwise */
	struct child *cell;
	struct child *runner; /* of a cell: whose, NULL for a probe */
	int line_in, line_out;
	int cell_in, cell_out;	 /* the cell's standard input and output */
	int drain_in, drain_out; /* our own reading ends of both pipes, not blocking */
	char line[64];
	size_t line_len;
	unsigned hearing; /* its line is being obeyed, so it stays although it may be over */
	int say, go;	  /* of a cell: CELL_SAY, CELL_GO until it is ready */
};

struct sandbox {
	int parent;  /* the socket pair's end */
	int signals; /* signalfd: SIGCHLD, and the parent's death */
	bool is_orphan;
	struct child *children;
	size_t nchildren;
	struct {
		char *asked, *real; /* the path as given, and as the kernel lists it; NULL free */
		int abort; /* the connection's file in fusectl, also after an unmount; 0 none */
	} mounts[MOUNT_MAX];
	char cell_path[PATH_MAX];
};

/* sandbox_main(parent, cell_path): the spawner's life; does not return. */
_Noreturn void sandbox_main(int parent, const char *cell_path);

/* sandbox_pump(sb, with_parent): wait for one round of events and handle them; false when the
 * parent is gone. */
bool sandbox_pump(struct sandbox *sb, bool with_parent);

/* children (sandbox_child.c) */
struct child *child_new(struct sandbox *sb, int kind);
void child_free(struct sandbox *sb, struct child *ch);
void child_kill(struct child *ch);
void child_ended(struct child *ch, int wait_status); /* it has been reaped */
void child_reap(struct sandbox *sb);		     /* after SIGCHLD */
void child_sweep(struct sandbox *sb);		     /* report and free those that are over */
void child_notified(struct child *ch);		     /* its listener is readable */
int child_start(struct sandbox *sb, const struct wire_request *rq, struct child **out, int *exit_fd,
	struct err *err);

/* cells (sandbox_cell.c) */
int cell_pipes(struct child *runner, struct sandbox_fd theirs[4],
	struct err *err); /* ${theirs} are the caller's to close */
int cell_wait_ready(struct child *cell,
	struct err *err); /* blocks until the early walls and the engine stand */
/* ${probe} NULL: it serves. ${in}, ${out} are borrowed. */
int cell_start(struct sandbox *sb, struct child *runner, const char *probe, int in, int out,
	struct child **cell, struct err *err);
void cell_said(struct child *cell);			    /* its say pipe is readable */
void runner_said(struct sandbox *sb, struct child *runner); /* its line is readable */

/*
 * sandbox_hide_mounts(), sandbox_show_mounts(home) around the start of a child: its mount namespace
 * is a copy, and a copied mount of ours would keep the server's session alive after umount for as
 * long as the child lives. As root the copy is made without them; -1 elsewhere, where umount
 * propagates.
 */
int sandbox_hide_mounts(void);
void sandbox_show_mounts(int home);

/* sandbox_mount(), sandbox_unmount() (sandbox_mount.c) */
int sandbox_mount(
	struct sandbox *sb, const char *mountpoint, const char *options, int *fd, struct err *err);
int sandbox_unmount(struct sandbox *sb, const char *mountpoint, struct err *err);
void sandbox_unmount_all(struct sandbox *sb);

/* sandbox_canary(sb, report, err): {"no_new_privs":"in force",...} (sandbox_canary.c) */
int sandbox_canary(struct sandbox *sb, struct buf *report, struct err *err);

#endif
