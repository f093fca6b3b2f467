/*
 * lm - the inside of kolmlm.h for its own files: lm.c, session.c, generate.c, choose.c.
 */
#ifndef KOLM_LM_PRIVATE_H
#define KOLM_LM_PRIVATE_H

#include "trainer/infer.h"
#include "trainer/kolmlm.h"

enum { LM_SNAPSHOTS = 4 };

struct lm_adapter {
	struct lora *lora;
	struct infer_adapter serving; /* not made for an identity adapter */
	int number;		      /* 0: an identity adapter shares the base's snapshots */
};

struct lm {
	struct model *m;
	struct threads *th;
	struct infer *infer;
	const char *kernel;
	struct lm_adapter *adapter; /* in use, borrowed; NULL the base */
	int adapters;		    /* numbers given so far */
	struct kv snapshot[LM_SNAPSHOTS];
	uint64_t kept; /* bytes the snapshots may hold between calls */
	uint64_t uses;
	float *logits; /* room for ${logit_rows} positions */
	int logit_rows;
	struct words *words; /* of lm_grammar(), made by the first */
};

/* a prompt being answered: its place in a snapshot and when to stop */
struct session {
	struct lm *lm; /* borrowed; NULL before a snapshot is chosen */
	struct kv *kv; /* borrowed from the lm; rows of the prompt that are there already are
			  counted in kv->n */
	int *prompt;   /* owned */
	int n;
	int64_t start_ms;
	int64_t deadline_ms;
};

/* session_start(lm, ss, system, prompt, len, room, deadline_ms, err): render and find the snapshot
 * with the longest common prefix; at least the last token of the prompt is left to run. -EMSGSIZE
 * when prompt and ${room} tokens do not fit the context. */
int session_start(struct lm *lm, struct session *ss, const char *system, const char *prompt,
	size_t len, int room, int64_t deadline_ms, struct err *err);

/* session_release(ss): the end of a call. Snapshots over the bound are given up, the ones unused
 * longest first, then the end of this one. */
void session_release(struct session *ss);

/* session_run(lm, ss, batch, err): infer_run() with the adapter in use, after a look at the clock.
 */
int session_run(
	struct lm *lm, struct session *ss, const struct infer_batch *batch, struct err *err);

/* session_keep(ss, token, n): the first ${n} rows written behind kv->n are these tokens'. */
void session_keep(struct session *ss, const int *token, int n);

/* lm_logit_rows(lm, n, err): room for that many rows of logits in lm->logits. */
int lm_logit_rows(struct lm *lm, int n, struct err *err);

/* sample_greedy(logits, n): the first of the largest. sample_draw(): by temperature; draw ${count}
 * of ${seed}. */
int sample_greedy(const float *logits, int n);
int sample_draw(const float *logits, int n, double temperature, uint64_t seed, uint64_t count);

#endif
