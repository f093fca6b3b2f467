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

#include "trainer/tensor.h"
#include "trainer/threads.h"

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

/* real_exp(x, n): x[i] = exp(x[i]) in place; arguments at most 88. Relative error below 2e-7, below
 * -87 zero. */
static inline void real_exp(float *restrict x, long n)
{
	enum { LANES = 8 };
	float tail[LANES] = {0};

	for (long i = 0; i < n; i += LANES) {
		float *p = i + LANES <= n ? x + i : tail;
		int32_t bits[LANES];
		float k[LANES], r[LANES], e[LANES];

		for (int j = 0; p == tail && j < n - i; j++)
			tail[j] = x[i + j];
		for (int j = 0; j < LANES; j++) {
			float v = p[j] < -87.0f ? -87.0f : p[j];

			/* adding 1.5 * 2^23 rounds to a whole number, which then stands in the low
			 * bits */
			k[j] = v * 1.44269504f + 12582912.0f;
			__builtin_memcpy(&bits[j], &k[j], sizeof(bits[j]));
			k[j] -= 12582912.0f;
			r[j] = (v - k[j] * 0.693359375f) + k[j] * 2.12194440e-4f;
		}
		for (int j = 0; j < LANES; j++) {
			float q = 1.9875691500e-4f;

			q = q * r[j] + 1.3981999507e-3f;
			q = q * r[j] + 8.3334519073e-3f;
			q = q * r[j] + 4.1665795894e-2f;
			q = q * r[j] + 1.6666665459e-1f;
			q = q * r[j] + 5.0000001201e-1f;
			e[j] = q * r[j] * r[j] + r[j] + 1.0f;
		}
		for (int j = 0; j < LANES; j++) {
			int32_t scale = (int32_t)((uint32_t)(bits[j] + 127) << 23);
			float s;

			__builtin_memcpy(&s, &scale, sizeof(s));
			p[j] = p[j] < -87.0f ? 0.0f : e[j] * s;
		}
		for (int j = 0; p == tail && j < n - i; j++)
			x[i + j] = tail[j];
	}
}
#endif

#endif
