/*
 * data - training rows as tokens: {"prompt","system","answer"} lines rendered as the serving side
 * renders them, the answer and its end of turn behind it.
 */
#ifndef KOLM_DATA_H
#define KOLM_DATA_H

#include <stdint.h>

#include "base/err.h"
#include "trainer/model.h"
#include "trainer/pack.h"

enum { HELD_OUT_MIN_ROWS = 50 };

struct data {
	struct sample *sample; /* owned, ${n} of them, as they stand in the file */
	int n;
	int skipped; /* lines that are not a row, rows too long */
	int apart;   /* rows whose whole conversation the template renders otherwise,
			see chat.h */
	const struct sample **train; /* into sample; owned list */
	int trains;
	const struct sample **held; /* a fixed tenth by content, when there are at least
				       HELD_OUT_MIN_ROWS rows; owned list */
	int helds;
	int longest;	/* tokens of a row */
	int64_t tokens; /* of the rows trained on */
};

/*
 * data_read(m, fd, max_tokens, out, err): read rows from ${fd}. A line that is no row is skipped
 * and counted, as is a row of more than
 * ${max_tokens} or the context. -ENODATA when none is left.
 */
int data_read(const struct model *m, int fd, int max_tokens, struct data *out, struct err *err);
void data_release(struct data *dt);

/* data_order(dt, seed, epoch, order): the training rows of an epoch (0..): a shuffle keyed by seed
 * and epoch. */
void data_order(const struct data *dt, uint64_t seed, int epoch, const struct sample **order);

#endif
