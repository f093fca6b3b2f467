/*
 * train_inside - a training and what its two halves ask of it: train.c plans, saves and runs the
 * epochs, train_step.c does a step. Private to them.
 */
#ifndef KOLM_TRAIN_INSIDE_H
#define KOLM_TRAIN_INSIDE_H

#include "trainer/train.h"

struct train {
	const struct model *m;
	struct threads *th;
	struct lora *lo;
	const struct data *data;
	struct train_settings set;
	struct trainee tr;
	struct pass *ps;
	int cap; /* tokens of a pass that keeps everything within the memory allowed */
	int steps_per_epoch;
	int step; /* done */
	float *grads, *m1, *m2, *best, *turned;
	float *total; /* of the groups so far; NULL when a step is one group */
	double *loss; /* of each supervised position of a pass */
	const struct sample **order;
	int ordered;   /* epoch ${order} is of, -1 none */
	int judged;    /* epochs whose held-out loss is known */
	double *curve; /* their losses */
	int best_epoch;
	double best_loss;
	uint64_t run;
	uint64_t bytes;
	struct protocol_progress said;
	double began, spoke, saved;
	int64_t trained; /* tokens of rows since ${began} */
	int first;	 /* step this process began at */
};

/* train_shares(tn): common prefixes are computed once; not where each row drops its own terms */
static inline bool train_shares(const struct train *tn)
{
	return !(tn->tr.dropout > 0);
}

/* train_group_rows(left): rows of the next group (crew.h) */
static inline int train_group_rows(int left)
{
	return left < CREW_GROUP_ROWS ? left : CREW_GROUP_ROWS;
}

#endif
