/*
 * worker - what a trainer was asked to do: flags, environment and tune-config.json, checked
 * (PROTOCOLS section 1, FORMATS 7.1, 7.2).
 */
#ifndef KOLM_WORKER_H
#define KOLM_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct worker_request {
	const char *tune_dir, *captures, *out_dir, *prev; /* borrowed from argv */
	const char *rows, *targets,
		*kernel; /* borrowed from the environment; targets NULL: of the configuration */
	int epochs, batch, max_tokens, threads;
	double lr, checkpoint_sec; /* KOLM_CHECKPOINT_SEC, for tests that kill */
	bool airgap, resume;
	uint64_t seed, mem; /* mem 0: not said */
	/* of tune-config.json; strings owned */
	char *base_model; /* as it was given */
	char *base_path;
	char *config_targets;
	int rank;
	double alpha, dropout;
};

/* worker_flags(argc, argv, rq): 0; -EINVAL after a line on standard error (exit status 2). Reads
 * the environment too. */
int worker_flags(int argc, char **argv, struct worker_request *rq);

/* worker_config(rq, err): read <tune-dir>/tune-config.json, make the checks (a) to (c). */
int worker_config(struct worker_request *rq, struct err *err);
void worker_release(struct worker_request *rq);

#endif
