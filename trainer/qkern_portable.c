/*
 * qkern_portable - the kernels in plain C: the reference that every other family must equal bit for
 * bit.
 */
#include "trainer/qkern.h"

#include "trainer/qkern_table.h"
#include "trainer/quant.h"

#pragma GCC optimize("O3")

#include "trainer/qkern_floats.h"

static void accumulate(float *y, int32_t dot, const uint8_t *scales, int r, float xd, float xs)
{
	float d = quant_load_half(scales + 2 * r), m = quant_load_half(scales + 16 + 2 * r);

	*y = fmaf((float)dot, d * xd, *y);
	*y = fmaf(m, xs, *y);
}

static void dot_nibbles(
	const uint8_t *group, const struct qk_rows *x, long t, int n, float out[QK_TOKENS][QK_ROWS])
{
	for (int k = 0; k < n; k++, t++) {
		const uint8_t *at = group;

		for (int r = 0; r < QK_ROWS; r++)
			out[k][r] = 0;
		for (long b = 0; b < x->blocks; b++, at += QK_NIBBLES_BYTES) {
			const int8_t *q = x->q + t * x->cols + b * QK_BLOCK;
			float xd = x->d[t * x->blocks + b], xs = x->s[t * x->blocks + b];

			for (int r = 0; r < QK_ROWS; r++) {
				int32_t dot = 0;

				for (int i = 0; i < 16; i++) {
					uint8_t w = at[32 + (i / 4) * 32 + r * 4 + i % 4];

					dot += (w & 15) * q[i] + (w >> 4) * q[i + 16];
				}
				accumulate(&out[k][r], dot, at, r, xd, xs);
			}
		}
	}
}

static void dot_bytes(
	const uint8_t *group, const struct qk_rows *x, long t, int n, float out[QK_TOKENS][QK_ROWS])
{
	for (int k = 0; k < n; k++, t++) {
		const uint8_t *at = group;

		for (int r = 0; r < QK_ROWS; r++)
			out[k][r] = 0;
		for (long b = 0; b < x->blocks; b++, at += QK_BYTES_BYTES) {
			const int8_t *q = x->q + t * x->cols + b * QK_BLOCK;
			float xd = x->d[t * x->blocks + b], xs = x->s[t * x->blocks + b];

			for (int r = 0; r < QK_ROWS; r++) {
				int32_t dot = 0;

				for (int i = 0; i < 32; i++)
					dot += (int8_t)at[32 + (i / 4) * 32 + r * 4 + i % 4] * q[i];
				accumulate(&out[k][r], dot, at, r, xd, xs);
			}
		}
	}
}

const struct qkern qkern_portable = {
	.name = "portable", .dot = {dot_nibbles, dot_bytes}, QKERN_FLOATS};
