/*
 * protocol - what a worker says on standard output (PROTOCOLS section 1): one JSON object a line.
 */
#ifndef KOLM_PROTOCOL_H
#define KOLM_PROTOCOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct protocol_progress {
	int step, of, epoch;
	double loss;	/* NaN: none yet */
	double heldout; /* NaN: none */
	double tokens_per_sec;
	double left_sec;
};

struct protocol_result {
	const char *revision_dir, *base_model, *template, *kernel, *engine, *types;
	int rows, held_rows, epochs, epochs_trained, best_epoch, skipped, apart;
	uint64_t trainable, total;
	int64_t tokens;
	double elapsed_sec, forgetting_kl;
	bool airgap;
	const char *early_stop; /* the rule; NULL: no rows to judge by */
};

/* All return 0 or a negative errno: a worker nobody listens to stops. */
int protocol_plan(uint64_t params, int64_t tokens, int steps, uint64_t bytes);
int protocol_progress(const struct protocol_progress *pr);
int protocol_result(const struct protocol_result *rs);
int protocol_failure(const struct err *err);

#endif
