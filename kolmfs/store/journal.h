/*
 * journal - tune/<slug>/jobs.jsonl (and rag/jobs.jsonl): one line a state change of a job, and the
 * promotion intents; appended, healed, fsynced.
 *
 * A line: {"job":N,"state":"queued|running|done","ts":...,"verb":"step
 * epochs=1","rev":"v3","outcome":...,"k":...,"pass":..,"total":..,"elapsed":..,"error":...,"crc":...};
 * absent members are left out. Numbers are never reused.
 */
#ifndef KOLM_JOURNAL_H
#define KOLM_JOURNAL_H

#include "store/store.h"

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_DONE };
enum job_outcome { JOB_OK, JOB_FAILED, JOB_CANCELLED, JOB_INTERRUPTED, JOB_GATE, JOB_CRASHED };

struct job_record {
	uint64_t id;
	enum job_state state;
	enum job_outcome outcome; /* when done */
	int signal;		  /* JOB_CRASHED */
	char verb[256];		  /* the line as written */
	char rev[REV_BYTES];	  /* "" none */
	double k;		  /* NAN none */
	int pass, total;	  /* total 0: none */
	int64_t started_ms;	  /* 0: not yet */
	double elapsed;		  /* seconds, when done; kolm_job(): until now */
	char error[ERR_TEXT_BYTES];
};

/* journal_new(dirfd, name, jr, err): reserve the next number: sets jr->id, appends state queued,
 * makes jobs/<id>/ below ${dirfd} (0700). Under the caller's lock. */
int journal_new(int dirfd, struct job_record *jr, struct err *err);
/* journal_append(dirfd, jr, err): the record's present state. */
int journal_append(int dirfd, const struct job_record *jr, struct err *err);
/* journal_load(dirfd, list, n, err): the last state of each job, ascending, at most the newest 64;
 * malloc'ed. */
int journal_load(int dirfd, struct job_record **list, size_t *n, struct err *err);
/* journal_get(dirfd, id, out, err): -ENOENT. */
int journal_get(int dirfd, uint64_t id, struct job_record *out, struct err *err);
/* journal_rev_max(dirfd, out): highest revision number any line names. */
int journal_rev_max(int dirfd, long *out, struct err *err);
/* journal_check(dirfd, bad, err): how many whole lines are no records. */
int journal_check(int dirfd, uint64_t *bad, struct err *err);
/*
 * journal_compact(dirfd, err): write it anew with the last state of the newest 64 jobs, and a line
 * that remembers the highest job and revision numbers. journal_new() does it above 64 KiB. Under
 * the caller's lock.
 */
int journal_compact(int dirfd, struct err *err);
const char *job_outcome_name(
	enum job_outcome oc, int signal, char out[40]); /* "ok", "crashed:SIGKILL" */

#endif
