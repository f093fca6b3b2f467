/*
 * infer_inside - what infer_new() makes and infer_run() uses, and its products. Private to
 * infer*.c.
 */
#ifndef KOLM_INFER_INSIDE_H
#define KOLM_INFER_INSIDE_H

#include "trainer/infer.h"

/* a frozen matrix in the form it is multiplied in */
struct linear {
	const struct tensor *w;
	struct qweights q; /* data NULL: by gemm_forward() */
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

/* one layer of one pass, as its phases see it */
struct pass {
	struct infer *in;
	const struct layer *ly;
	const struct infer_adapter *ad;
	const struct infer_batch *batch;
	struct kv *kv;
	int layer;
	int first;	    /* of the batch */
	int n;		    /* tokens */
	const float *norm;  /* what phase_norm() applies */
	unsigned modules;   /* whose inputs it prepares, bits */
	enum module module; /* of phase_add() */
	float *to;	    /* where it puts (or without a norm behind it adds) */
	const float *post;
	const float *head_in;
	float *logits;
	int wants;
};

/* pass_prepare(ps, t, x, modules): what the products of ${modules} (bits) need of token t's input:
 * 8-bit blocks, A x. */
void pass_prepare(const struct pass *ps, int t, const float *x, unsigned modules);

/* pass_unpacked(ps, module, y, ldy, x, add): the product of a matrix that has no form of qkern.h,
 * before its phase; nothing for others. */
void pass_unpacked(const struct pass *ps, int module, float *y, long ldy, const float *x, bool add);

/* pass_product(ps, module, row, n, y, ldy, add): rows [row, row + n) for all tokens of the pass:
 * W x + bias + B a; row is a multiple of QK_ROWS. */
void pass_product(
	const struct pass *ps, int module, long row, long n, float *y, long ldy, bool add);

/* pass_dot(ps, ln, r, width, t, n, out): rows [r, r + width) for ${n} tokens, width <= QK_WIDTH */
void pass_dot(const struct pass *ps, const struct linear *ln, long r, int width, int t, int n,
	float out[QK_TOKENS][QK_WIDTH]);

#endif
