/*
 * qkern_avx2_rows - products with float weights where they lie, for qkern_avx2.c, which includes it
 * among its own instructions. Private to it.
 */
#ifndef KOLM_QKERN_AVX2_ROWS_H
#define KOLM_QKERN_AVX2_ROWS_H

/* 16 float weights of a row from column c */
struct lanes {
	__m256 low;
	__m256 high;
};

typedef struct lanes load_row_fn(const uint8_t *row, long c);

INLINE struct lanes load_f32(const uint8_t *row, long c)
{
	const float *at = (const float *)(const void *)(row + 4 * c);

	return (struct lanes){_mm256_loadu_ps(at), _mm256_loadu_ps(at + 8)};
}

INLINE struct lanes load_f16(const uint8_t *row, long c)
{
	return (struct lanes){load_halves(row + 2 * c), load_halves(row + 2 * c + 16)};
}

INLINE __m256 load_brains(const uint8_t *at)
{
	__m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)at));

	return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

INLINE struct lanes load_bf16(const uint8_t *row, long c)
{
	return (struct lanes){load_brains(row + 2 * c), load_brains(row + 2 * c + 16)};
}

/* ${rows} x ${n} sums, few enough for the registers */
INLINE void sum_lanes(load_row_fn *load, const uint8_t *w, size_t row_bytes, int rows,
	const float *x, long cols, int n, float (*out)[QK_WIDTH])
{
	struct lanes y[4][2] = {0};
	const long size = (long)row_bytes / cols;

	for (long c = 0; c < cols; c += QK_LANES) {
		UNROLL
		for (int r = 0; r < rows; r++) {
			const uint8_t *row = w + (size_t)r * row_bytes;
			const struct lanes v = load(row, c);

			if (n == 1) /* the next rows, for which the processor does not guess */
				_mm_prefetch(
					row + (size_t)rows * row_bytes + size * c, _MM_HINT_T0);
			UNROLL
			for (int k = 0; k < n; k++) {
				const float *at = x + k * cols + c;

				y[r][k].low =
					_mm256_fmadd_ps(v.low, _mm256_loadu_ps(at), y[r][k].low);
				y[r][k].high = _mm256_fmadd_ps(
					v.high, _mm256_loadu_ps(at + 8), y[r][k].high);
			}
		}
	}
	UNROLL
	for (int i = 0; i < rows * n; i++)
		out[i % n][i / n] =
			SUM8((vec)_mm256_add_ps(y[i / n][i % n].low, y[i / n][i % n].high));
}

INLINE void sum_rows(load_row_fn *load, const uint8_t *w, size_t row_bytes, int rows, int step,
	const float *x, long cols, int n, float (*out)[QK_WIDTH])
{
	int r = 0;

	for (; r + step <= rows; r += step, w += (size_t)step * row_bytes)
		sum_lanes(load, w, row_bytes, step, x, cols, n, (float(*)[QK_WIDTH])(out[0] + r));
	for (; r < rows; r++, w += row_bytes)
		sum_lanes(load, w, row_bytes, 1, x, cols, n, (float(*)[QK_WIDTH])(out[0] + r));
}

/* two tokens at a time with two rows, one with four */
#define FLOATS(name, load)                                                                         \
	static void name(const uint8_t *group, size_t group_bytes, int rows,                       \
		const struct qk_rows *x, long t, int n, float out[QK_TOKENS][QK_WIDTH])            \
	{                                                                                          \
		const float *at = x->x + t * x->cols;                                              \
		int k = 0;                                                                         \
                                                                                                   \
		for (; k + 2 <= n; k += 2)                                                         \
			sum_rows(load, group, group_bytes / QK_ROWS, rows, 2, at + k * x->cols,    \
				x->cols, 2, out + k);                                              \
		if (k < n)                                                                         \
			sum_rows(load, group, group_bytes / QK_ROWS, rows, 4, at + k * x->cols,    \
				x->cols, 1, out + k);                                              \
	}

#endif
