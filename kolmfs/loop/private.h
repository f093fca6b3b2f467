/*
 * private - what the files of loop/ share.
 *
 * Threads: the caller's (server pool or command line), one per accepted job (detached, counted in
 * ${jobs}), and one for the watch. ${lock} guards every member of struct kolm below it and is never
 * held across a file lock, a write to disk, a call to a runner or a call-back.
 */
#ifndef KOLM_LOOP_PRIVATE_H
#define KOLM_LOOP_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "artifact/artifact.h"
#include "kolm.h"
#include "store/eye.h"

enum job_kind { JOB_STEP, JOB_EVAL, JOB_CYCLE, JOB_INDEX, JOB_REPLAY };

/* an accepted job of this process; lives in kolm.jobs until its thread ends */
struct job {
	struct job *next;
	struct kolm *k;
	enum job_kind kind;
	char slug[SLUG_BYTES + 1]; /* "" for an index job */
	struct by by;
	struct step_options step;
	struct index_options index;
	char rev[REV_BYTES]; /* eval: what to measure; step: the number reserved */
	int64_t timeout_s;   /* eval: of one call of the model, 0: the default */
	int dir;	     /* jobs/N, owned by the thread */
	int slug_lock;	     /* tune_lock_job(), owned; -1 for an index job */
	bool resumed;
	/* under kolm.lock */
	struct job_record rec;
	int64_t begun; /* rec.started_ms on the clock that nobody sets */
	char progress[96];
	pid_t worker; /* what cancel ends; 0 none */
	atomic_bool cancel;
	/* the server is closing: an interrupted step keeps its checkpoint and is queued again; set
	 * before ${cancel} */
	atomic_bool stop_keeps;
};

struct runner; /* call.c */

/* what this process remembers of a slug */
struct slug_note {
	struct slug_note *next;
	bool unsynced;		   /* appended since the last captures_sync() */
	int failed;		   /* errno of one that failed and was reported to nobody; 0 none */
	struct tally *tally;	   /* NULL until it is first asked for */
	pthread_mutex_t counting;  /* over what ${tally} points to; before kolm.lock */
	struct stat journal;	   /* jobs.jsonl when ${last} was read from it; st_ino 0 never */
	struct job_record last;	   /* its newest job */
	char slug[SLUG_BYTES + 1]; /* "" the rag side */
};

struct kolm {
	struct store st;
	struct spawner *sp;
	int server_lock; /* -1: a command line */
	void (*changed)(void *, const char *, unsigned);
	void *changed_arg;

	pthread_mutex_t lock;
	pthread_cond_t wake;   /* a job ended or changed state, or closing */
	unsigned long changes; /* counts what may end a wait, so that none is missed between looking
				  and waiting */
	struct job *jobs;      /* in the order accepted */
	struct job *ended;     /* over, and the journal does not say so yet */
	bool closing;
	struct runner *warm; /* runners that serve `run`, one per slug or artifact */
	struct slug_note *notes;
	struct index_ref *indexes;
	pthread_mutex_t spares; /* one at a time opens an index.json for a damaged index.bin */
	pthread_t watch;
	bool has_watch;
	struct eye *eye; /* NULL: a command line */
	struct {
		uint64_t dev, ino, size;
		int64_t mtime, ctime;
		uint64_t bytes;
		char xxh3[33];
	} base; /* the last base digested */
};

/* kolm.c */
void change(struct kolm *k, const char *slug, unsigned what);
int log_event(struct kolm *k, const char *slug, uint64_t job, const struct by *by, struct err *err,
	const char *event, const char *fmt, ...) __attribute__((format(printf, 7, 8)));
/* artifact_at(k, path, out, err): artifact_open() with this store's keys; what is wrong with the
 * bytes is said with the path */
int artifact_at(struct kolm *k, const char *path, struct artifact **out, struct err *err);
/* base_identify(k, path, bytes, xxh3, err): base_digest() with the last one remembered by device,
 * inode, size and times */
int base_identify(
	struct kolm *k, const char *path, uint64_t *bytes, char xxh3[33], struct err *err);
int rev_json(const struct tune *tn, const char *rev, const char *name, cJSON **out,
	struct err *err); /* revisions/<rev>/<name> */

/* indexes.c */
void index_changed(struct kolm *k, const char *name); /* change() of it and of the rag side */
void indexes_free(struct kolm *k);		      /* nobody asks any more */
/* indexes_settle(k): lets go of those that were removed or replaced: a mapped file takes room on
 * the disk also when it has no name any more */
void indexes_settle(struct kolm *k);

/* init.c */
/* the name a slug has below tune/ while it is made ("tmp") or taken away ("removed"): no other call
 * of this process or another gets the same one */
enum { TEMPORARY_BYTES = SLUG_BYTES + 48 };
void temporary_name(const char *slug, const char *why, char out[TEMPORARY_BYTES]);

/* job_read.c */
/* job_home(k, slug, err): the folder jobs.jsonl and jobs/ stand in; slug NULL or "": of rag */
int job_home(struct kolm *k, const char *slug, struct err *err);

/* job.c */
/* job_accept(k, jb, verb, err): takes ownership of the malloc'ed ${jb}, reserves its number, starts
 * its thread. On failure ${jb} is freed. */
int job_accept(struct kolm *k, struct job *jb, uint64_t *id, struct err *err);
/* job_accept_rev(k, kind, tn, rev, timeout_s, by, id, err): a job on a revision: "eval v1",
 * "eval v1 timeout=5", "replay v1" */
int job_accept_rev(struct kolm *k, enum job_kind kind, const struct tune *tn, const char *rev,
	int64_t timeout_s, const struct by *by, uint64_t *id, struct err *err);
struct job *job_new(struct kolm *k, enum job_kind kind, const char *slug, const struct by *by);
int job_busy(
	struct kolm *k, const char *slug, struct err *err); /* -EBUSY "job 17 (step) is running" */
/* what the job's record says while it goes on: an eval's result, the signal its process died of,
 * that there will be no revision */
void job_measured(struct job *jb, double k, int pass, int total);
void job_died(struct job *jb, int signal);
void job_no_revision(struct job *jb);
void job_progress(struct job *jb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* the process a job waits for: registered, so that cancel reaches it; -ECANCELED when it was
 * cancelled before */
int job_worker_set(struct job *jb, pid_t pid, struct err *err);
int job_log_open(struct job *jb, struct err *err); /* jobs/N/log, append */
/*
 * job_lines(jb, fd, pid, each, arg, err): what a worker says on ${fd}, line by line, until it
 * closes it; a line of more than a megabyte is lost. job_reap(): waits for its end. In both, one
 * that does not stop within ten seconds when the job is cancelled is killed: by job_press(), called
 * every half a second with a *${kill_at} that was 0 first. job_listen() does that until there is
 * something to read.
 */
void job_press(struct job *jb, pid_t pid, int64_t *kill_at);
void job_listen(struct job *jb, int fd, pid_t pid, int64_t *kill_at);
typedef void job_line(void *arg, const char *text, size_t len);
int job_lines(struct job *jb, int fd, pid_t pid, job_line *each, void *arg, struct err *err);
int job_reap(struct job *jb, pid_t pid, int exit_fd, struct spawn_exit *out, struct err *err);
void jobs_settle(struct kolm *k); /* write the ends that could not be written when they came */
void jobs_forget(
	struct kolm *k); /* free those that still cannot; the next server says "interrupted" */

/* the bodies, on the job's thread; they fill jb->rec.rev, k, pass, total */
int step_run(struct job *jb, struct err *err);
int eval_run(struct job *jb, const char *rev, struct err *err);
int index_run(struct job *jb, struct err *err);
int replay_run(struct job *jb, struct err *err);
/* promote_gated(k, slug, rev, force, by, job, now, err): the gate and the transaction, without
 * looking for running jobs */
int promote_gated(struct kolm *k, const char *slug, const char *rev, bool force, const char *id,
	const struct by *by, uint64_t job, struct head *now, struct err *err);
/* step_check(k, tn, cf, o, from, offset, err): what can be refused before a job exists */
int step_accept(struct kolm *k, const char *slug, const struct step_options *o, const struct by *by,
	enum job_kind kind, uint64_t *job, struct err *err);

/* call.c: a kolm-runner process and its request lines */
struct runner_start {
	const char *artifact; /* absolute, NULL for init */
	const char *slug;     /* NULL none */
	const char *base;     /* absolute path it may read, NULL none */
	const int *fds;	      /* become 10, 11, ... */
	size_t nfds;
	int log;	 /* its standard error; -1 none */
	struct job *job; /* when it is cancelled, one that does not stop within ten seconds is
				killed; NULL none */
};
int runner_start(
	struct kolm *k, const struct runner_start *rs, struct runner **out, struct err *err);
pid_t runner_pid(const struct runner *rn);
/*
 * runner_call(rn, request, len, event, arg, answer, err): one request line, events as they come,
 * then the answer ({"id":..,"ok":true,...}) appended to ${answer}. An answer with ok false is its
 * errno, code and sentence in ${err}; a runner that died is -EIO. Waits.
 */
int runner_call(struct runner *rn, const char *request, size_t len,
	void (*event)(void *arg, struct json_slice line), void *arg, struct buf *answer,
	struct err *err);
/* answer_is_of(answer, sha256, err): did the runner open the artifact's bytes we know it by (NULL:
 * any)? It opens the path itself, later; -ESTALE when the file was replaced in between. */
int answer_is_of(struct json_slice answer, const char *sha256, struct err *err);
void runner_end(struct runner *rn, bool now); /* close its input (or kill), reap, free */
/* warm runners */
struct runner *runner_take(struct kolm *k, const char *slug, const char *artifact,
	struct err *err); /* locked for the caller, or NULL */
void runner_give(struct kolm *k, struct runner *rn, bool broken);
void runners_end(struct kolm *k);

/* notes.c: make appended rows durable; by the watch, within a second, and at the end */
void captures_settle(struct kolm *k);
/* note_unsynced(k, slug): a row was appended: it is synced within the second */
void note_unsynced(struct kolm *k, const char *slug);
/* captures_tally(k, slug, cap, from, af, out, err): tally_count() of the captures ${cap}, with the
 * cases of ${af}, NULL none; what is known of them is kept until note_gone(k, slug): that slug is
 * no more */
struct tally_counts;
int captures_tally(struct kolm *k, const char *slug, int cap, uint64_t from,
	const struct artifact *af, struct tally_counts *out, struct err *err);
void note_gone(struct kolm *k, const char *slug);
/* note_last(k, slug, st, out): the newest job as it was last read, when the journal is still the
 * one of ${st}. note_last_set(): it is now. */
bool note_last(struct kolm *k, const char *slug, const struct stat *st, struct job_record *out);
void note_last_set(
	struct kolm *k, const char *slug, const struct stat *st, const struct job_record *jr);
void notes_free(struct kolm *k);

/* watch.c */
int watch_start(struct kolm *k, struct err *err);

/* captures below revision ${rev}: where its rows ended, 0 when it has none or the file was changed
 * since */
int captures_seen(
	const struct tune *tn, int capfd, const char *rev, uint64_t *bytes, struct err *err);
/* the artifact's cases' inputs, malloc'ed array borrowed from ${af} */
struct json_slice *case_inputs(const struct artifact *af, size_t *n);

#endif
