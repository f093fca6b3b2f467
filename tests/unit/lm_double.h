/* the training mathematics once more in double, under other names, over products written the plain
 * way */
#ifndef LM_DOUBLE_H
#define LM_DOUBLE_H

#pragma GCC diagnostic ignored "-Wunused-parameter"

#include <math.h>
#include <stdbool.h>

#include "trainer/tensor.h"
#include "trainer/threads.h"

#define LM_REAL double
#define LM_PRODUCTS

#define pass_bytes	   f64_pass_bytes
#define pass_new	   f64_pass_new
#define pass_free	   f64_pass_free
#define pass_forward	   f64_pass_forward
#define pass_loss	   f64_pass_loss
#define pass_backward	   f64_pass_backward
#define pass_project	   f64_pass_project
#define pass_layer	   f64_pass_layer
#define pass_dropped	   f64_pass_dropped
#define pass_norm	   f64_pass_norm
#define pass_glu	   f64_pass_glu
#define pass_gates	   f64_pass_gates
#define pass_angles	   f64_pass_angles
#define pass_rotate	   f64_pass_rotate
#define rows_run	   f64_rows_run
#define attention_scratch  f64_attention_scratch
#define attention_forward  f64_attention_forward
#define attention_backward f64_attention_backward

static inline void product_forward(struct threads *th, double *y, long ldy, const double *x,
	long ldx, long m, const struct tensor *w, bool add)
{
	const float *p = w->data;

	for (long i = 0; i < m; i++)
		for (long r = 0; r < w->rows; r++) {
			double sum = add ? y[i * ldy + r] : 0;

			for (long c = 0; c < w->cols; c++)
				sum += x[i * ldx + c] * (double)p[r * w->cols + c];
			y[i * ldy + r] = sum;
		}
}

static inline void product_backward(struct threads *th, double *dx, long lddx, const double *dy,
	long lddy, long m, const struct tensor *w, bool add)
{
	const float *p = w->data;

	for (long i = 0; i < m; i++)
		for (long c = 0; c < w->cols; c++) {
			double sum = add ? dx[i * lddx + c] : 0;

			for (long r = 0; r < w->rows; r++)
				sum += dy[i * lddy + r] * (double)p[r * w->cols + c];
			dx[i * lddx + c] = sum;
		}
}

static inline void product_block(long m, long n, long k, const double *a, long a_row, long a_k,
	const double *b, long b_k, double *c, long ldc, bool load)
{
	for (long i = 0; i < m; i++)
		for (long j = 0; j < n; j++) {
			double sum = load ? c[i * ldc + j] : 0;

			for (long l = 0; l < k; l++)
				sum += a[i * a_row + l * a_k] * b[l * b_k + j];
			c[i * ldc + j] = sum;
		}
}

static inline void product_outer(struct threads *th, double *c, const double *u, long ldu, long p,
	const double *v, long ldv, long q, long m)
{
	product_block(p, q, m, u, 1, ldu, v, ldv, c, q, true);
}

static inline void product_matrix_forward(struct threads *th, double *y, long ldy, const double *x,
	long ldx, long m, const double *w, long rows, long cols, bool add)
{
	for (long i = 0; i < m; i++)
		for (long r = 0; r < rows; r++) {
			double sum = add ? y[i * ldy + r] : 0;

			for (long c = 0; c < cols; c++)
				sum += x[i * ldx + c] * w[r * cols + c];
			y[i * ldy + r] = sum;
		}
}

static inline void product_matrix_backward(struct threads *th, double *dx, long lddx,
	const double *dy, long lddy, long m, const double *w, long rows, long cols, bool add)
{
	product_block(m, cols, rows, dy, lddy, 1, w, cols, dx, lddx, add);
}

static inline void real_exp(double *x, long n)
{
	for (long i = 0; i < n; i++)
		x[i] = exp(x[i]);
}

#include "trainer/forward.c"
#include "trainer/attention.c"
#include "trainer/backward.c"
#include "trainer/loss.c"

#endif
