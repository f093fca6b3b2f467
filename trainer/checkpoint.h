/*
 * checkpoint - the whole state of a run between two steps, so that a killed run ends in the same
 * bytes as one that was not.
 */
#ifndef KOLM_CHECKPOINT_H
#define KOLM_CHECKPOINT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct checkpoint {
	uint64_t run; /* hash of all that decides the result: rows, settings, base, start */
	int64_t step; /* done */
	int64_t best_epoch;
	double best_loss;
	int64_t judged;	 /* epochs whose held-out loss is known */
	uint64_t epochs; /* doubles in ${curve}: their held-out losses; borrowed */
	double *curve;
	uint64_t n; /* floats in each of these, borrowed */
	float *weights, *m, *v, *best;
};

/* checkpoint_write(dirfd, cp, err): replace "state" in ${dirfd}, durable when it returns. */
int checkpoint_write(int dirfd, const struct checkpoint *cp, struct err *err);

/* checkpoint_read(dirfd, cp, err): fill the arrays when there is a whole checkpoint of the same run
 * and size: 1, else 0 and nothing is changed. */
int checkpoint_read(int dirfd, struct checkpoint *cp, struct err *err);

#endif
