/*
 * qkern - the kernels of serving: products of 8-bit activations with packed weights, and the float
 * operations around them.
 *
 * Every family gives the same bits. Integer sums are exact; floats are summed in lanes and orders
 * written down here, with multiply and add apart except where fma() is written. An output depends
 * on its own row of activations and its own weights only, so batches and single tokens agree too.
 *
 * Packed weights: groups of 8 rows; per group one record for every 32 columns: 32 or 64 bytes of
 * scales, then the weights of each kind's name:
 *   nibbles: 4 x 32 bytes; byte 4r+i of vector v is row r, column 4v+i (low), 16+4v+i (high)
 *   fives:   nibbles, and 32 bytes; bit v of byte 4r+i is the fifth bit of row r, column 4v+i
 *   bytes:   8 x 32 bytes; byte 4r+i of vector v is row r, column 4v+i
 * and with dot = sum of q x over the block, dot0, dot1 over its halves, sum0, sum1 those of x
 * alone: NIBBLES, BYTES            8 half d, 8 half m;    w = d q + m WIDE_NIBBLES, WIDE_BYTES  8
 * float d, 8 float m;  the same y = fma(dot, d xd, y);  y = fma(m, xs, y) TWO_NIBBLES  8 half d, 8
 * half m, 8 pairs s, 8 pairs n of int8;  w = d s q + m n y = fma(s0 dot0 + s1 dot1, d xd, y);  y =
 * fma(n0 sum0 + n1 sum1, m xd, y) TWO_BYTES    8 half d, 8 pairs s of int8;        w = d s (q - 32)
 *     y = fma(s0 (dot0 - 32 sum0) + s1 (dot1 - 32 sum1), d xd, y)
 * block by block. BYTES and WIDE_BYTES are signed, never -128; TWO_BYTES are 0..63.
 *
 * Float weights stay where they are, rows as in the file, and meet float activations:
 *   lane[i] = fma(w[16j+i], x[16j+i], lane[i]), i < 16, j rising;  y = SUM8(lane[i] + lane[i+8])
 */
#ifndef KOLM_QKERN_H
#define KOLM_QKERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	QK_ROWS = 8,
	QK_WIDTH = 16, /* rows of one call, at most */
	QK_LANES = 16,
	QK_BLOCK = 32,
	QK_TOKENS = 4,
	QK_OFFSET = 32, /* of TWO_BYTES */
	QK_NARROW = 32, /* bytes of scales in a record */
	QK_WIDE = 64,
	QK_NIBBLES_BYTES = 4 * 32, /* of weights */
	QK_FIVES_BYTES = 5 * 32,
	QK_BYTES_BYTES = 8 * 32
};

enum qk_kind {
	QK_NIBBLES,
	QK_FIVES,
	QK_BYTES,
	QK_WIDE_NIBBLES,
	QK_WIDE_FIVES,
	QK_WIDE_BYTES,
	QK_TWO_NIBBLES,
	QK_TWO_BYTES,
	QK_F32,
	QK_F16,
	QK_BF16,
	QK_KINDS
};

/* are the weights of a kind repacked, and do they meet 8-bit activations? */
static inline bool qk_is_packed(enum qk_kind kind)
{
	return kind < QK_F32;
}

/* activations of some tokens; quantised by block: x ~ xd * q */
struct qk_rows {
	const float *x; /* tokens x cols; borrowed */
	int8_t *q;	/* tokens x cols, -127..127 */
	float *d;	/* tokens x blocks: largest magnitude / 127 */
	float *s;	/* tokens x blocks: d * sum of q */
	int16_t *sum;	/* tokens x blocks x 2: sums of the halves of q */
	long cols;
	long blocks;
};

/* out(tokens, rows) of up to QK_WIDTH rows from the beginning of a group, and tokens t .. t + n -
 * 1, n = 1..QK_TOKENS. ${group_bytes}: of eight rows. Packed rows are computed in whole groups. */
typedef void qk_dot_fn(const uint8_t *group, size_t group_bytes, int rows, const struct qk_rows *x,
	long t, int n, float out[QK_TOKENS][QK_WIDTH]);

struct qkern {
	const char *name;
	qk_dot_fn *dot[QK_KINDS];
	/* one row of n (a multiple of 32) floats */
	void (*quantise)(const float *x, long n, int8_t *q, float *d, float *s, int16_t *sum);
	/* y = x / rms(x) * w */
	void (*norm)(float *y, const float *x, const float *w, int n, float eps);
	/* s[j] = scale * q.k[j], n keys at ${stride} */
	void (*scores)(float *s, const float *q, const float *k, long stride, long n, int dim,
		float scale);
	/* s = exp(s - max), returns their sum */
	float (*softmax)(float *s, long n);
	/* out += sum of s[j] v[j] */
	void (*mix)(float *out, const float *s, const float *v, long stride, long n, int dim);
	/* h = silu(g) * u */
	void (*gate)(float *h, const float *g, const float *u, long n);
	/* a[r] = scale * A[r].x */
	void (*lora_down)(float *a, const float *A, const float *x, int rank, int n, float scale);
	/* y[i] += sum of a[r] bt[r][i], i < n; bt rows at ${stride} */
	void (*lora_up)(float *y, const float *a, const float *bt, long stride, int rank, long n);
};

/* qkern_select(name): "auto", "avx2", "portable"; NULL when this machine or program does not have
 * it. */
const struct qkern *qkern_select(const char *name);

#endif
