/*
 * ops - the small row operations of a llama block, shared by training and serving.
 *
 * Written over LM_REAL (float; the finite-difference tests compile training with double). Plain
 * loops in a fixed order, multiply and add apart: the same bits from every compiler that keeps IEEE
 * rules (-ffp-contract=off).
 */
#ifndef KOLM_OPS_H
#define KOLM_OPS_H

#include <math.h>
#include <stdbool.h>

#ifndef LM_REAL
#define LM_REAL float
#endif

/* ops_rms(x, n, eps): 1 / sqrt(mean(x^2) + eps), summed in eight lanes combined in a fixed order */
static inline LM_REAL ops_rms(const LM_REAL *x, int n, float eps)
{
	LM_REAL p[8] = {0};
	int i = 0;

	for (; i + 8 <= n; i += 8)
		for (int j = 0; j < 8; j++)
			p[j] += x[i + j] * x[i + j];
	for (; i < n; i++)
		p[0] += x[i] * x[i];
	p[0] = ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]));
	return (LM_REAL)1 / (LM_REAL)sqrt((double)(p[0] / (LM_REAL)n + (LM_REAL)eps));
}

/* ops_rmsnorm(y, x, w, n, eps): y = x * rms * w; ${y} may be ${x} */
static inline void ops_rmsnorm(LM_REAL *y, const LM_REAL *x, const float *w, int n, float eps)
{
	LM_REAL r = ops_rms(x, n, eps);

	for (int i = 0; i < n; i++)
		y[i] = x[i] * r * (LM_REAL)w[i];
}

/* ops_rope_angles(freq, half, pos, cs, sn): cosines and sines of position ${pos}, ${half} =
 * head_dim / 2 of each. The angle is a float product, as the reference implementations have it. */
static inline void ops_rope_angles(const float *freq, int half, int pos, LM_REAL *cs, LM_REAL *sn)
{
	for (int i = 0; i < half; i++) {
		float angle = (float)pos * freq[i];

		cs[i] = (LM_REAL)cos((double)angle);
		sn[i] = (LM_REAL)sin((double)angle);
	}
}

/*
 * ops_rope(x, heads, head_dim, cs, sn, pairs): rotate every head of a row in place: (2i, 2i+1) when
 * ${pairs}, else (i, i + head_dim/2). The backward pass is the same with the sines negated.
 */
static inline void ops_rope(
	LM_REAL *x, int heads, int head_dim, const LM_REAL *cs, const LM_REAL *sn, bool pairs)
{
	int half = head_dim / 2;

	for (int h = 0; h < heads; h++, x += head_dim) {
		for (int i = 0; i < half; i++) {
			int a = pairs ? 2 * i : i, b = pairs ? 2 * i + 1 : i + half;
			LM_REAL u = x[a], v = x[b];

			x[a] = u * cs[i] - v * sn[i];
			x[b] = u * sn[i] + v * cs[i];
		}
	}
}

/* ops_sigmoid(x), ops_silu(x) = x * sigmoid(x) */
static inline LM_REAL ops_sigmoid(LM_REAL x)
{
	return (LM_REAL)(1 / (1 + exp(-(double)x)));
}

/* gelu's tanh form: x * sigmoid(SLOPE x (1 + CUBE x^2)); SLOPE = 2 sqrt(2 / pi) */
#define OPS_GELU_SLOPE 1.5957691216057308
#define OPS_GELU_CUBE  0.044715

/* ops_cap(x, cap) = cap * tanh(x / cap) */
static inline LM_REAL ops_cap(LM_REAL x, float cap)
{
	return (LM_REAL)cap * (LM_REAL)tanh((double)(x / (LM_REAL)cap));
}

static inline LM_REAL ops_silu(LM_REAL x)
{
	return x * ops_sigmoid(x);
}

#endif
