/*
 * work - the threads of a build. They take batches of files in order, and each turns its files into
 * documents: words into a table of its own, text into the batch. Batches are then handed on one
 * after the other, in order (docs.h), so that which thread did what never shows. A batch that is
 * made before its turn waits in a ring, and whoever makes the one it waits for hands it on too: no
 * thread waits for another as long as the ring has room.
 */
#ifndef KOLM_RAG_WORK_H
#define KOLM_RAG_WORK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "budget.h"
#include "docs.h"
#include "kolmrag.h"
#include "run.h"
#include "table.h"
#include "walk.h"

enum { RAG_THREADS_MAX = 64, RAG_RING = 128 };

struct rag_worker;

/* the files of one batch, made into documents */
struct rag_batch {
	struct rag_worker *wr; /* who made it */
	struct buf texts, made, filed;
	bool is_ready; /* all of it; under lock */
};

struct rag_work {
	const struct rag_build *opt;
	const struct rag_mode *mode;
	int rootfd, tmpfd;
	const struct rag_file *files; /* those of this part */
	size_t n_files;
	uint64_t max_bytes;
	struct rag_budget budget;
	struct rag_part *prev; /* or NULL */
	struct rag_docs *docs;
	struct rag_built built;
	int64_t told_ms, start_ms;
	/* of who is handing on: */
	uint64_t done, bytes;
	/* under lock: */
	pthread_mutex_t lock;
	pthread_cond_t turned;
	size_t next, turn; /* the next batch; the one that may be handed on */
	bool is_handing;
	size_t held;			 /* bytes of text in batches that are ready */
	struct rag_batch ring[RAG_RING]; /* batch b is in [b % RAG_RING] */
	int rc;				 /* the first failure */
	struct err err;
};

struct rag_worker {
	struct rag_work *wk;
	pthread_t thread;
	struct rag_table table;
	struct buf map;		/* uint32_t: its documents in the new index; of who is handing on */
	struct rag_spool spool; /* its runs, one after the other */
	struct buf runs;	/* uint64_t: where each ends */
	uint64_t n_pairs;	/* of all its documents, at the end */
	uint32_t n_docs;	/* its documents so far, those not handed on too */
	void *state;		/* of the mode */
	struct buf raw, text;
	struct rag_batch *batch; /* being made */
	struct rag_source *now;	 /* the file being made */
	int rc;
};

/* rag_work_run(wk, workers, n, err): all files. The workers' tables have become runs then. Release
 * them in any case. */
int rag_work_run(struct rag_work *wk, struct rag_worker *workers, size_t n, struct err *err);
void rag_workers_release(struct rag_work *wk, struct rag_worker *workers, size_t n);

void rag_work_tell(struct rag_work *wk);

#endif
