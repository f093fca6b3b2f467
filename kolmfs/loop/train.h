/*
 * train - the worker of one step: what it is started with, and what becomes of what it wrote.
 */
#ifndef KOLM_TRAIN_H
#define KOLM_TRAIN_H

#include "loop/private.h"

/* what a worker said of something as it went on */
struct curve {
	struct buf text;   /* "[step,value],..." */
	unsigned n, every; /* its points, each the first of so many; 0: of one */
	uint64_t said;
};

struct train {
	struct job *jb; /* borrowed */
	struct tune tn;
	struct config cf;
	struct artifact *af;
	char from[REV_BYTES]; /* the revision it continues from */
	int capfd, log;
	int64_t begun; /* clock_ms() */
	uint64_t base_bytes;
	double cpu_hours; /* a worker may use; 0: as many as it wants */
	char base_xxh3[33];
	uint64_t captures_rows, captures_bytes, captures_from;
	char captures_sha256[65], rows_sha256[65];
	uint64_t rows, skipped_total;
	bool fixed;	    /* the recipe never calls the model */
	struct buf skipped; /* JSON object of the runner */
	struct curve loss, heldout;
	double last_step, last_heldout; /* steps of the last of each */
	double told_step, told_heldout; /* up to these an earlier try has told; 0 none */
	struct buf result;		/* the worker's last line */
	/* worker.c: of its log, how much stands in it, what came after that and may be its end, and
	 * how much is neither */
	uint64_t log_bytes, log_lost;
	struct buf log_end;
	char kernel[24];  /* the family it must use; "" the best */
	char worker[512]; /* "native" or the command */
	bool cluster;
};

/* train_same_base(t): the base is the one the parent revision was trained on (I13), or, for a
 * parent that was not trained, the one it was made for (G07): -ESTALE "base digest differs from
 * v2's", "base differs from v0". */
int train_same_base(struct train *t, struct err *err);
/* train_room(t): space for adapter, moments and checkpoint (I20). */
int train_room(struct train *t, struct err *err);
/* train_rows(t): rows.jsonl and captures.jsonl of the job, for ${t}'s captures, parent and
 * options. step.c. */
int train_rows(struct train *t, struct err *err);
/* train_spawn(t, out, say, pid, exit_fd): start the worker with ${out} as its standard output and
 * ${say} as its standard error. train_spawn.c. */
int train_spawn(struct train *t, int out, int say, pid_t *pid, int *exit_fd, struct err *err);
/* train_work(t): start the worker and hear it to its end; ${t}'s result, loss and heldout are
 * filled. worker.c. */
int train_work(struct train *t, struct err *err);
/* train_publish(t): check jobs/N/out, write train.json and files.json, rename it to revisions/vN.
 */
int train_publish(struct train *t, struct err *err);
/* train_unpublish(t): back to jobs/N/out; nobody can have used it while the job holds its slug. */
void train_unpublish(struct train *t);
void train_release(struct train *t);

#endif
