/*
 * qweights - a weight matrix repacked for the kernels of qkern.h, the same values as in the file:
 * Q4_0, Q4_1, Q4_K, Q2_K, Q3_K as nibbles, Q5_0, Q5_1, Q5_K with a fifth bit, all other quantised
 * types as bytes.
 */
#ifndef KOLM_QWEIGHTS_H
#define KOLM_QWEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trainer/qkern.h"
#include "trainer/tensor.h"
#include "trainer/threads.h"

struct qweights {
	const uint8_t *data; /* borrowed, from memory or from the tensor; NULL: no form */
	enum qk_kind kind;
	long rows;
	long blocks;	    /* of 32 columns */
	size_t group_bytes; /* of 8 rows */
};

/* qweights_bytes(w): memory the packed form takes, a multiple of 64; 0 for float types. */
size_t qweights_bytes(const struct tensor *w);

/* qweights_pack(qw, w, memory, th): pack into ${memory} (aligned to 64, borrowed). False, and
 * qw->data NULL, when (rarely) a width or a value does not fit: such a matrix is multiplied by
 * gemm_forward(). */
bool qweights_pack(struct qweights *qw, const struct tensor *w, void *memory, struct threads *th);

#endif
