/*
 * train - one training run: steps over shuffled rows, held-out loss after every epoch, checkpoints
 * between steps.
 *
 * The same rows, settings and seed give the same bytes whatever the number of threads and however
 * often the run was killed and resumed.
 */
#ifndef KOLM_TRAIN_H
#define KOLM_TRAIN_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "trainer/crew.h"
#include "trainer/data.h"
#include "trainer/forward.h"
#include "trainer/lora.h"
#include "trainer/protocol.h"

/*
 * A run ends before its epochs are done when this many in a row were no better on the held-out
 * rows than the best before them. Two, not one: the rate falls over the epochs that were asked for,
 * and the next is often the best again. Runs of three epochs, the default, always do all three.
 */
enum { TRAIN_PATIENCE = 2 };

struct train_settings {
	int epochs; /* at most */
	int batch;  /* rows of an optimizer step */
	double lr;
	uint64_t seed;
	uint64_t mem;	       /* bytes a pass may take */
	int checkpoint_dir;    /* where checkpoints go, -1: none */
	double checkpoint_sec; /* how often */
	bool resume;
	const volatile sig_atomic_t *stop; /* becomes true when the run shall stop; may be NULL */
	int (*progress)(void *arg, const struct protocol_progress *pr); /* may be NULL */
	void *arg;
	const struct crew *crew; /* borrowed; NULL: alone */
};

struct train; /* a run; opaque */

/* train_new(m, th, lo, data, set, out, err): plan a run and take its memory; all borrowed, ${lo} is
 * what is trained. Resumes from
 * ${set}->checkpoint_dir when told to and the checkpoint is of this very run. */
int train_new(const struct model *m, struct threads *th, struct lora *lo, const struct data *data,
	const struct train_settings *set, struct train **out, struct err *err);
void train_free(struct train *tn);

int train_steps(const struct train *tn); /* of all epochs */
uint64_t train_bytes(const struct train *tn);
int train_best_epoch(const struct train *tn);
int train_epochs(const struct train *tn); /* done */

/*
 * train_run(tn, err): all steps that are left, or as many as help (TRAIN_PATIENCE); then the
 * adapter is that of the epoch with the lowest held-out loss (the last one when nothing is held
 * out). A resumed run first tells the held-out losses that are known. -EINTR when stopped: a
 * checkpoint is written. -EDOM "loss is not finite at batch N".
 */
int train_run(struct train *tn, struct err *err);

/* train_step(tn, rows, n, loss, err): one optimizer step on these rows; ${loss}: mean over
 * supervised positions, before the update. */
int train_step(
	struct train *tn, const struct sample *const *rows, int n, double *loss, struct err *err);

/* train_loss(tn, rows, n, loss, err): their mean loss; nothing changes. */
int train_loss(
	struct train *tn, const struct sample *const *rows, int n, double *loss, struct err *err);

/* train_forgotten(tn, kl, err): how far the adapter moved the base on neutral text; forget.h. */
int train_forgotten(struct train *tn, double *kl, struct err *err);

/* train_gradient(tn): the gradient of the last step as it was applied (clipped), in the order of
 * lora's memory. */
const float *train_gradient(const struct train *tn);

#endif
