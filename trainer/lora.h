/*
 * lora - low-rank adapters (Hu et al. 2021, arXiv 2106.09685) in PEFT's form.
 *
 * y = W x + (alpha / rank) B (A x);  A is (rank, in), B is (out, rank), row-major f32. In memory
 * B's rows stand in the order of the base's own rows; reading and writing PEFT files permutes q and
 * k when model.rows_permuted says so.
 */
#ifndef KOLM_LORA_H
#define KOLM_LORA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "trainer/model.h"

struct lora_pair {
	float *a; /* rank x in, NULL when the module is not adapted */
	float *b; /* out x rank */
	int in;
	int out;
};

struct lora {
	int rank;
	float alpha;
	float dropout;
	bool identity; /* every B is zero: apply nothing, so that v0 is bit-identical to the base */
	unsigned targets;	/* bit i: MODULE i */
	struct lora_pair *pair; /* layers x MODULES, owned */
	float *memory;		/* all A and B, one block, owned */
	uint64_t params;
};

struct lora_shape {
	int rank;
	float alpha;
	float dropout;
	unsigned targets;
};

/* lora_targets_parse(text, m, out, err): "q_proj,k_proj" -> bits; -EINVAL names the word and what
 * the base has (G06). */
int lora_targets_parse(const char *text, unsigned *out, struct err *err);

/* lora_new(m, shape, seed, out, err): a fresh adapter: A Kaiming-uniform with a = sqrt 5 (uniform
 * in +-1/sqrt(in)) from a counter-based generator keyed by (seed, layer, module, element); B zero.
 */
int lora_new(const struct model *m, const struct lora_shape *shape, uint64_t seed,
	struct lora **out, struct err *err);
void lora_free(struct lora *lo);

/*
 * lora_load(m, dirfd, out, err): adapter_config.json and adapter_model.safetensors of a PEFT
 * folder. A config without weights (the reference's v0) is an identity adapter. F32, F16 and BF16
 * tensors are read. Checks names, ranks, shapes, finite values (I01-I04, I08-I10).
 */
int lora_load(const struct model *m, int dirfd, struct lora **out, struct err *err);

/* lora_save(m, lo, fd, err): adapter_model.safetensors (F32, tensors in name order, PEFT's names)
 * to ${fd}. */
int lora_save(const struct model *m, const struct lora *lo, int fd, struct err *err);

#endif
