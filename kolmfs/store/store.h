/*
 * store - the folder everything lives in (~/.kolm or $KOLM_HOME, FORMATS section 2) and its locks.
 *
 * Locks, in the order they may be taken: server (.lock, one server per store), jobs (jobs.lock:
 * model jobs run one at a time), job (tune/<slug>/.job.lock: one job per slug), tune
 * (tune/<slug>/.lock: short, around every change of a slug), the captures file's own flock, log
 * (logs/.lock). All are flock()s, so the kernel frees them when a process dies.
 */
#ifndef KOLM_STORE_H
#define KOLM_STORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

enum { LOG_TURN_BYTES = 64 << 20, LOG_TURN_MIN = 4096 };
enum { STORE_PATH_BYTES = 4096, SLUG_BYTES = 64, REV_BYTES = 12, STORE_FORMAT = 1 };

struct store {
	char path[STORE_PATH_BYTES]; /* absolute */
	int dir;		     /* descriptors of the folders, owned */
	int tune;
	int rag;
	int logs;
	uint64_t log_bytes;	 /* a log longer than this turns over */
	struct digests *digests; /* owned; see digests.h */
	_Atomic uint64_t *known; /* owned; log.h: log_known() */
};

/* a slug's folder */
struct tune {
	const struct store *st; /* borrowed */
	char slug[SLUG_BYTES + 1];
	int dir; /* owned */
};

/* who asked for a change; written into the audit log */
struct by {
	uid_t uid;
	pid_t pid;
	char comm[20];
};
struct by by_self(void);

/* store_default_path(out, err): $KOLM_HOME, else $HOME/.kolm; -ENOENT "set HOME or give --store"
 * (K13). */
int store_default_path(char out[STORE_PATH_BYTES], struct err *err);

/*
 * store_open(path, out, err): make what is missing (0700), check owner and mode (B16 -EPERM),
 * refuse a newer format (K12 -EOPNOTSUPP; file "format" holds the number, absent means 1). Opens
 * nothing inside slugs.
 */
int store_open(const char *path, struct store *out, struct err *err);
void store_close(struct store *st);

/* store_lock_server(st, fd, err): for the life of a server; -EBUSY "store is in use by process N"
 * (K08). One that is dead or called store_lock_ending() is waited for; its end takes as long as its
 * jobs need to stop. store_lock_jobs(): waits; -ECANCELED when *${cancel} becomes true meanwhile.
 * Each lock is freed by close(*fd). */
int store_lock_server(const struct store *st, int *fd, struct err *err);
void store_lock_ending(int fd);
int store_lock_jobs(const struct store *st, const atomic_bool *cancel, int *fd, struct err *err);
/* store_lock_index(st, fd, err): shared, held by every index job, so that a start does not take it
 * for a dead one. */
int store_lock_index(const struct store *st, int *fd, struct err *err);
/* store_lock_index_number(st, fd, err): waits; held while an index job is given its number, since
 * any number of them may be accepted at once. */
int store_lock_index_number(const struct store *st, int *fd, struct err *err);

/* slug_check(name, len, err): B01-B04: [A-Za-z0-9_][A-Za-z0-9_-]*, at most 64, and none of the
 * root's own names. slug_of_path(): FORMATS section 3. */
int slug_check(const char *name, size_t len, struct err *err);
int slug_of_path(const char *path, char out[SLUG_BYTES + 1], struct err *err);

/* rev_check(text, len, err): v and decimal without leading zero, at most 9 digits: -EINVAL "bad
 * revision "..."". rev_number("v12") is 12. */
int rev_check(const char *text, size_t len, struct err *err);
long rev_number(const char *rev);

/* tune_open(st, slug, out, err): -ENOENT "no such artifact "..."" (B05) when
 * tune/<slug>/tune-config.json (or its .prev) is not there. */
int tune_open(const struct store *st, const char *slug, struct tune *out, struct err *err);
int tune_create(const struct store *st, const char *slug, struct tune *out, struct err *err);
void tune_close(struct tune *tn);
typedef void store_each(void *arg, const char *name);
/* tune_list(st, each, arg, err): initialised slugs in name order. */
int tune_list(const struct store *st, store_each *each, void *arg, struct err *err);
/* tune_lock(tn, fd, err): waits, short. tune_lock_job(tn, fd, err): -EBUSY at once "a job of
 * another process is running". */
int tune_lock(const struct tune *tn, int *fd, struct err *err);
int tune_lock_job(const struct tune *tn, int *fd, struct err *err);

/*
 * store_recover(st, err): what a start does before it serves (reliability.md 9): finish or undo
 * promotions, jobs found running become "interrupted", our own temporary names (".NAME.tmp.PID.N",
 * files and folders) vanish; one "recovered" audit line per repair. Of the revisions it opens those
 * that a job which died had to do with; `kolm fsck` opens all. Idempotent, may be killed at any
 * point. Under the server lock; a slug whose lock or job lock another process holds is left to
 * that process. What cannot be repaired is left as it is and reported by whoever uses it: the
 * answer is 0 unless there is no memory.
 */
int store_recover(const struct store *st, struct err *err);

enum { WORKER_READS_MAX = 8 };
struct store_worker {
	struct buf command;
	struct buf reads[WORKER_READS_MAX]; /* absolute paths it may read besides */
	size_t nreads;
	bool cluster; /* "network": "cluster" */
};
/* store_worker(st, slug, out): config.json's workers.<slug>, a command or an object of command,
 * network and reads; false when it is absent, empty or "native". Reads that are no absolute paths
 * leave the command empty: it must not run with less than it was given; a file that cannot be read
 * does, too: the native trainer is not what it may have named. Release either way. */
bool store_worker(const struct store *st, const char *slug, struct store_worker *out);
void store_worker_release(struct store_worker *w);
/* store_cpu_hours(st, out, err): config.json's trainer_cpu_hours, 0 when there is none; -EINVAL
 * when it is no number above 0. */
int store_cpu_hours(const struct store *st, double *out, struct err *err);

#endif
