/*
 * forward - one pass of packed rows through the base and a trainable adapter, and the way back.
 *
 * Shapes: T tokens of the pass, H width, nh heads of d, nk key heads, I of the feed-forward. For
 * each layer the pass keeps x (T,H)  q (T,nh*d)  k, v (T,nk*d)  attention out (T,nh*d)  x after
 * attention (T,H)  gate, up (T,I) and computes everything else again on the way back; a pass too
 * long for that keeps x alone. Where norms stand behind attention and feed-forward, their inputs
 * (T,H) are kept too. Formulas: model.h; y = W x + (alpha / rank) B (A drop(x)) on adapted modules.
 */
#ifndef KOLM_FORWARD_H
#define KOLM_FORWARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "trainer/model.h"
#include "trainer/pack.h"
#include "trainer/real.h"

/* one adapted module: a (rank,in), b (out,rank), their gradients da (rank,in) and db *transposed*,
 * (rank,out). All borrowed; a NULL: not adapted. */
struct adapt {
	const real *a, *b;
	real *da, *db;
};

struct trainee {
	int rank;
	real scale; /* alpha / rank */
	float dropout;
	uint64_t drop_key; /* of seed and step */
	unsigned targets;
	struct adapt *at; /* layers x MODULES, owned by the caller */
};

struct saved {
	real *x, *q, *k, *v, *att, *mid, *gate, *up;
	real *att_out, *ffn_out; /* in front of the norms behind them, where there are any */
	real *lse;		 /* (T,nh): log of the sum of exponentials of each row of scores */
};

struct pass {
	const struct model *m;
	struct threads *th;
	const struct trainee *tr;
	const struct pack *pk;	/* of the pass under way; borrowed */
	int (*tick)(void *arg); /* called behind every layer, may be NULL; what is not 0 ends the
				   pass with it */
	void *tick_arg;
	int cap;   /* tokens the present layout is for */
	int span;  /* longest row there is memory for */
	bool lean; /* the present layout keeps only x of each layer; the way back computes the layer
		      again, to the same bits */
	struct saved *layer;
	real *out;		  /* (T,H) behind the last layer */
	real *norm, *qr, *kr;	  /* (T,H), (T,nh*d), (T,nk*d) */
	real *wide, *wide2;	  /* (T, max(I, H, nh*d)) */
	real *dropped;		  /* as wide, when there is dropout */
	real *d, *dn, *datt, *dq; /* gradients (T,H), (T,H), (T,nh*d), (T,nh*d) */
	real *dk, *dv;		  /* (T,nk*d) */
	real *low, *dlow;	  /* (T,rank) */
	real *cs, *sn;		  /* (T,d/2), of ROPE_MAIN and behind them of ROPE_LOCAL */
	real *scratch;		  /* per thread, for attention */
	size_t scratch_each;
	real *shared; /* partial gradients of a shared prefix's k and v, one for each segment; grown
			 on demand */
	size_t shared_cap;
	real *logits; /* (LOSS_ROWS, vocab) */
	real *hidden; /* (LOSS_ROWS, H) */
	real *dhidden;
	void *memory;
	size_t bytes;
};

enum { LOSS_ROWS = 128 };

/* pass_bytes(m, tr, threads, tokens, span, lean): memory a pass of this size takes. */
size_t pass_bytes(const struct model *m, const struct trainee *tr, int threads, int tokens,
	int span, bool lean);

/* pass_new(m, th, tr, bytes, span, out, err): ${bytes} of memory for passes with no row longer than
 * ${span}; at least what a lean pass of one such row takes. A pass that does not fit otherwise is
 * made lean. All borrowed. */
int pass_new(const struct model *m, struct threads *th, const struct trainee *tr, size_t bytes,
	int span, struct pass **out, struct err *err);
void pass_free(struct pass *ps);

/* pass_forward(ps, pk): fill the saved layers and ps->out. 0, what the tick said, -E2BIG when ${pk}
 * does not fit. */
int pass_forward(struct pass *ps, const struct pack *pk);

/*
 * pass_loss(ps, weight, loss, back): head and cross-entropy at the supervised positions, in chunks
 * of LOSS_ROWS. ${loss}: one value for each supervised position. With ${back}, ps->d becomes the
 * gradient of ${weight} times their sum.
 */
void pass_loss(struct pass *ps, real weight, double *loss, bool back);

/* pass_backward(ps): add the gradients of every adapted matrix to da and db. 0, what the tick said,
 * -ENOMEM. */
int pass_backward(struct pass *ps, struct err *err);

/* pass_layer(ps, l, out): layer l from its x: fill what it keeps, and unless it is NULL ${out}. */
void pass_layer(struct pass *ps, int l, real *out);

/* pass_project(ps, l, i, y, x, add): y (+)= module i of layer l, adapter included; ps->low becomes
 * scale * A drop(x). */
void pass_project(struct pass *ps, int l, enum module i, real *y, const real *x, bool add);

/* rows_run(th, n, fn, arg): call fn(arg, from, to) for pieces of rows 0..n-1, in parallel. */
typedef void rows_fn(void *arg, int from, int to);
void rows_run(struct threads *th, int n, rows_fn *fn, void *arg);

/* pass_dropped(ps, l, i, x, cols, out): out = drop(x) for a module; the same call takes a gradient
 * back. ${out} may be ${x}. */
void pass_dropped(struct pass *ps, int l, enum module i, const real *x, int cols, real *out);

/* pass_norm(ps, x, weight): ps->norm = rmsnorm(x). pass_glu(ps, l): ps->wide = act(gate) * up. */
void pass_norm(struct pass *ps, const real *x, const float *weight);
void pass_glu(struct pass *ps, int l);

/* pass_gates(ps, g, n, sig): ${sig} such that act(g) = g * sig */
void pass_gates(const struct pass *ps, const real *g, size_t n, real *sig);

/* pass_angles(ps, rope, t): cosines of token ${t} for a layer's rope; sines stand in ps->sn at the
 * same place */
size_t pass_angles(const struct pass *ps, enum rope rope, int t);

/* pass_rotate(ps, l): ps->qr and ps->kr: layer l's q and k, normalised where the architecture does,
 * rotated. */
void pass_rotate(struct pass *ps, int l);

/* attention_forward(ps, l), attention_backward(ps, l): over ps->qr, ps->kr and the layer's v;
 * backward from ps->datt to dq, dk, dv. */
size_t attention_scratch(const struct model *m, int span);
void attention_forward(struct pass *ps, int l);
int attention_backward(struct pass *ps, int l, struct err *err);

#endif
