/*
 * infer - the forward pass of serving: batches of tokens on packed weights, keys and values kept.
 *
 * The logits of a token are the same bits whatever else stands in its batch, whichever tokens came
 * in earlier calls, and for any number of threads.
 */
#ifndef KOLM_INFER_H
#define KOLM_INFER_H

#include <stdbool.h>

#include "base/err.h"
#include "trainer/kv.h"
#include "trainer/lora.h"
#include "trainer/model.h"
#include "trainer/qkern.h"
#include "trainer/qweights.h"
#include "trainer/threads.h"

enum { INFER_TOKENS = 64 }; /* in one pass; longer batches go in several */

struct infer; /* packed weights and scratch memory of one model; opaque */

/* an adapter for serving: B transposed */
struct infer_adapter {
	const struct lora *lora; /* owned by the caller */
	float scale;
	float **bt; /* layers x MODULES, (rank, out); NULL where there is none; owned */
	float *memory;
};

/*
 * A batch continues a sequence whose first kv->n rows are there. Token i gets row kv->n + i and
 * attends rows [0, shared) and [from[i], its own row]; its position counts those. A plain
 * continuation has from = NULL: all rows up to its own. Several continuations of one prompt stand
 * behind each other, each with ${from} where it begins.
 */
struct infer_batch {
	const int *token;
	int n;
	int shared;
	const int *from;
	const int *want; /* indices in rising order of the tokens whose logits are wanted */
	int wants;
	float *logits; /* wants x vocab */
};

int infer_new(const struct model *m, struct threads *th, const struct qkern *kn, struct infer **out,
	struct err *err);
void infer_free(struct infer *in);

int infer_adapter_init(
	struct infer_adapter *ad, const struct model *m, const struct lora *lo, struct err *err);
void infer_adapter_release(struct infer_adapter *ad);

/* infer_run(in, kv, ad, batch, err): rows are written behind kv->n, which the caller moves (and
 * kv->token fills) for what it keeps. ${ad} may be NULL. -ENOMEM; -ESTALE when the base
 * was cut short. */
int infer_run(struct infer *in, struct kv *kv, const struct infer_adapter *ad,
	const struct infer_batch *batch, struct err *err);

#endif
