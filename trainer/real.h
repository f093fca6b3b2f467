/*
 * real - the number type of the training mathematics and the products over it.
 *
 * float everywhere but in the gradient check, which compiles forward.c, attention.c, backward.c and
 * loss.c once more with double and products of its own (tests/unit/lm_double.h), to compare them
 * with finite differences.
 */
#ifndef KOLM_REAL_H
#define KOLM_REAL_H

#ifndef LM_REAL
#define LM_REAL float
#endif
typedef LM_REAL real;

#include <stdint.h>
#include <string.h>

#include "trainer/tensor.h"
#include "trainer/threads.h"

/* a loop over rows that is compiled once more for wider vectors, chosen at start: the same
 * operations in the same order in every lane, so the same bits */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
	!defined(__SANITIZE_ADDRESS__)
#define REAL_WIDE __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define REAL_WIDE
#endif

#ifndef LM_PRODUCTS
#include "trainer/gemm.h"
#include "trainer/gemm_kern.h"

/* with a frozen matrix of the base: y (+)= x W^T, dx (+)= dy W */
#define product_forward	 gemm_forward
#define product_backward gemm_backward
/* c(m,n) (+)= a(m,k) b(k,n) on one thread; c(p,q) += u^T v over tokens in order */
#define product_block gemm_block
#define product_outer gemm_outer

/* the same with a trainable matrix w(rows, cols) */
static inline void product_matrix_forward(struct threads *th, float *y, long ldy, const float *x,
	long ldx, long m, const float *w, long rows, long cols, bool add)
{
	struct tensor t = {TENSOR_F32, rows, cols, w};

	gemm_forward(th, y, ldy, x, ldx, m, &t, add);
}

static inline void product_matrix_backward(struct threads *th, float *dx, long lddx,
	const float *dy, long lddy, long m, const float *w, long rows, long cols, bool add)
{
	struct tensor t = {TENSOR_F32, rows, cols, w};

	gemm_backward(th, dx, lddx, dy, lddy, m, &t, add);
}

/* eight lanes; on machines with shorter registers the compiler takes several */
typedef float real_lanes __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t real_bits __attribute__((vector_size(32), aligned(4), may_alias));

static inline __attribute__((always_inline)) void real_exp_lanes(float *at)
{
	const real_lanes zero = {0};
	const real_lanes x = *(const real_lanes *)at, low = zero - 87.0f;
	real_bits below = x < low;
	real_lanes v = (real_lanes)((below & (real_bits)low) | (~below & (real_bits)x));
	/* adding 1.5 * 2^23 rounds to a whole number, which then stands in the low bits */
	real_lanes k = v * 1.44269504f + 12582912.0f, q = zero + 1.9875691500e-4f, r;
	real_bits bits = (real_bits)k;

	k -= 12582912.0f;
	r = (v - k * 0.693359375f) + k * 2.12194440e-4f;
	q = q * r + 1.3981999507e-3f;
	q = q * r + 8.3334519073e-3f;
	q = q * r + 4.1665795894e-2f;
	q = q * r + 1.6666665459e-1f;
	q = q * r + 5.0000001201e-1f;
	q = q * r * r + r + 1.0f;
	q *= (real_lanes)((bits + 127) << 23);
	*(real_lanes *)at = (real_lanes)(~below & (real_bits)q);
}

/* real_exp(x, n): x[i] = exp(x[i]) in place; arguments at most 88. Relative error below 2e-7, below
 * -87 zero. */
static inline __attribute__((always_inline)) void real_exp(float *restrict x, long n)
{
	enum { LANES = 8 };
	float tail[LANES] = {0};
	long i = 0;

	for (; i + LANES <= n; i += LANES)
		real_exp_lanes(x + i);
	if (i == n)
		return;
	memcpy(tail, x + i, (size_t)(n - i) * sizeof(*x));
	real_exp_lanes(tail);
	memcpy(x + i, tail, (size_t)(n - i) * sizeof(*x));
}
#endif

#endif
