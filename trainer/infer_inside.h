/*
 * infer_inside - what infer_new() makes and infer_run() uses. Private to infer.c and infer_make.c.
 */
#ifndef KOLM_INFER_INSIDE_H
#define KOLM_INFER_INSIDE_H

#include "trainer/infer.h"

/* a frozen matrix in the form it is multiplied in */
struct linear {
	const struct tensor *w;
	struct qweights q; /* data NULL: by gemm_forward() from floats */
	const float *bias;
};

struct infer {
	const struct model *m;
	struct threads *th;
	const struct qkern *kn;
	struct linear *linear; /* layers x MODULES */
	struct linear head;
	uint8_t *packed; /* all packed weights, owned */
	size_t packed_bytes;
	float *memory; /* all of the following, for INFER_TOKENS tokens */
	float *x;      /* dim: the residual stream */
	float *normed; /* dim */
	float *q;      /* heads * head_dim */
	float *mixed;  /* heads * head_dim */
	float *gate;   /* ffn */
	float *up;     /* ffn */
	float *cosine; /* head_dim / 2 */
	float *sine;
	struct qk_rows rows; /* the quantised input of the product at hand */
	float *lora;	     /* MODULES x INFER_TOKENS x lora_rank */
	int lora_rank;
	float *score; /* threads x score_size */
	int score_size;
};

#endif
