/*
 * qkern_avx512 - the products with AVX512-VNNI (Cascade Lake, Zen 4 and later): both groups of a
 * call at once, activations broadcast by the instruction that multiplies them. The portable
 * kernel's bits.
 */
#include "trainer/qkern.h"

#include "trainer/qkern_table.h"

#ifdef __x86_64__
#include <immintrin.h>
#include <math.h>
#include <string.h>

#pragma GCC push_options
#pragma GCC optimize("O3")
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,f16c,fma")

#include "trainer/qkern_floats.h"

#define UNROLL _Pragma("GCC unroll 16")
#define INLINE static inline __attribute__((always_inline))

/* of sixteen rows: d and m; pairs of 16-bit numbers s and n of the TWO kinds */
struct scales {
	__m512 d;
	__m512 m;
	__m512i s;
	__m512i n;
};

/* what stands at ${at} of one group and ${next} behind, of the other */
INLINE __m512i load_both(const uint8_t *at, size_t next)
{
	return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)at)),
		_mm256_loadu_si256((const __m256i *)(at + next)), 1);
}

INLINE __m256i load_both_short(const uint8_t *at, size_t next)
{
	return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)at)),
		_mm_loadu_si128((const __m128i *)(at + next)), 1);
}

INLINE __m512 load_halves(const uint8_t *at, size_t next)
{
	return _mm512_cvtph_ps(load_both_short(at, next));
}

INLINE __m512i load_pairs(const uint8_t *at, size_t next)
{
	return _mm512_cvtepi8_epi16(load_both_short(at, next));
}

INLINE struct scales load_narrow(const uint8_t *at, size_t next)
{
	return (struct scales){.d = load_halves(at, next), .m = load_halves(at + 16, next)};
}

INLINE struct scales load_wide(const uint8_t *at, size_t next)
{
	return (struct scales){.d = _mm512_castsi512_ps(load_both(at, next)),
		.m = _mm512_castsi512_ps(load_both(at + 32, next))};
}

INLINE struct scales load_two_nibbles(const uint8_t *at, size_t next)
{
	return (struct scales){.d = load_halves(at, next),
		.m = load_halves(at + 16, next),
		.s = load_pairs(at + 32, next),
		.n = load_pairs(at + 48, next)};
}

INLINE struct scales load_two_bytes(const uint8_t *at, size_t next)
{
	return (struct scales){.d = load_halves(at, next), .s = load_pairs(at + 16, next)};
}

INLINE void unpack_nibbles(const uint8_t *at, size_t next, __m512i w[8])
{
	const __m512i low = _mm512_set1_epi8(15);

	UNROLL
	for (int v = 0; v < 4; v++) {
		__m512i both = load_both(at + 32 * v, next);

		w[v] = _mm512_and_si512(both, low);
		w[v + 4] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
	}
}

INLINE void unpack_fives(const uint8_t *at, size_t next, __m512i w[8])
{
	const __m512i high = load_both(at + QK_NIBBLES_BYTES, next), fifth = _mm512_set1_epi8(16);

	unpack_nibbles(at, next, w);
	UNROLL
	for (int v = 0; v < 8; v++) {
		__m512i moved =
			v < 4 ? _mm512_slli_epi16(high, 4 - v) : _mm512_srli_epi16(high, v - 4);

		w[v] = _mm512_or_si512(w[v], _mm512_and_si512(moved, fifth));
	}
}

INLINE void unpack_bytes(const uint8_t *at, size_t next, __m512i w[8])
{
	UNROLL
	for (int v = 0; v < 8; v++)
		w[v] = load_both(at + 32 * v, next);
}

/* signed bytes as unsigned: 128 more each */
INLINE void unpack_flipped(const uint8_t *at, size_t next, __m512i w[8])
{
	UNROLL
	for (int v = 0; v < 8; v++)
		w[v] = _mm512_xor_si512(load_both(at + 32 * v, next), _mm512_set1_epi8(-128));
}

/* one token's part of a block */
struct block {
	const int8_t *q;
	__m512i sum; /* its pair, sixteen times */
	float d;
	float s;
};

INLINE __m512i splat4(const void *at)
{
	int32_t four;

	memcpy(&four, at, sizeof(four));
	return _mm512_set1_epi32(four);
}

INLINE struct block load_block(const struct qk_rows *x, long t, long b)
{
	const long block = t * x->blocks + b;

	return (struct block){.q = x->q + t * x->cols + b * QK_BLOCK,
		.sum = splat4(x->sum + 2 * block),
		.d = x->d[block],
		.s = x->s[block]};
}

INLINE __m512i dot_half(__m512i total, const __m512i *w, const int8_t *q)
{
	UNROLL
	for (int v = 0; v < 4; v++)
		total = _mm512_dpbusd_epi32(total, w[v], splat4(q + 4 * v));
	return total;
}

INLINE __m512i dot_block(__m512i start, const __m512i w[8], const int8_t *q)
{
	return _mm512_add_epi32(
		dot_half(start, w, q), dot_half(_mm512_setzero_si512(), w + 4, q + 16));
}

INLINE __m512 accumulate(__m512 y, __m512i dot, __m512 d, float xd)
{
	return _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_mul_ps(d, _mm512_set1_ps(xd)), y);
}

INLINE __m512 accumulate_both(__m512 y, __m512i dot, const struct scales *sc, struct block x)
{
	y = accumulate(y, dot, sc->d, x.d);
	return _mm512_fmadd_ps(sc->m, _mm512_set1_ps(x.s), y);
}

/* s0 dot0 + s1 dot1 */
INLINE __m512i dot_two(const __m512i w[8], const struct scales *sc, struct block x)
{
	const __m512i zero = _mm512_setzero_si512(),
		      s0 = _mm512_srai_epi32(_mm512_slli_epi32(sc->s, 16), 16),
		      s1 = _mm512_srai_epi32(sc->s, 16);

	return _mm512_add_epi32(_mm512_mullo_epi32(dot_half(zero, w, x.q), s0),
		_mm512_mullo_epi32(dot_half(zero, w + 4, x.q + 16), s1));
}

INLINE __m512 add_unsigned(__m512 y, const __m512i w[8], const struct scales *sc, struct block x)
{
	return accumulate_both(y, dot_block(_mm512_setzero_si512(), w, x.q), sc, x);
}

/* 128 times the sum of x comes off again */
INLINE __m512 add_signed(__m512 y, const __m512i w[8], const struct scales *sc, struct block x)
{
	__m512i start = _mm512_madd_epi16(x.sum, _mm512_set1_epi16(-128));

	return accumulate_both(y, dot_block(start, w, x.q), sc, x);
}

INLINE __m512 add_two_nibbles(__m512 y, const __m512i w[8], const struct scales *sc, struct block x)
{
	y = accumulate(y, dot_two(w, sc, x), sc->d, x.d);
	return accumulate(y, _mm512_madd_epi16(sc->n, x.sum), sc->m, x.d);
}

INLINE __m512 add_two_bytes(__m512 y, const __m512i w[8], const struct scales *sc, struct block x)
{
	__m512i sums = _mm512_slli_epi32(_mm512_madd_epi16(sc->s, x.sum), 5);

	return accumulate(y, _mm512_sub_epi32(dot_two(w, sc, x), sums), sc->d, x.d);
}

/* how a record begins; a block's weights as the dot product takes them; y and sixteen rows'
 * products with one token's block */
typedef struct scales load_fn(const uint8_t *at, size_t next);
typedef void unpack_fn(const uint8_t *at, size_t next, __m512i w[8]);
typedef __m512 add_fn(__m512 y, const __m512i w[8], const struct scales *sc, struct block x);

/* two groups (or one, twice), ${n} tokens, block by block; see qkern_avx2.c */
INLINE void sum_blocks(const uint8_t *at, size_t next, long header, long weights, load_fn *load,
	unpack_fn *unpack, add_fn *add, const struct qk_rows *x, long t, int n,
	float out[QK_TOKENS][QK_WIDTH])
{
	__m512 y[QK_TOKENS];

	UNROLL
	for (int k = 0; k < n; k++)
		y[k] = _mm512_setzero_ps();
	for (long b = 0; b < x->blocks; b++, at += header + weights) {
		const struct scales sc = load(at, next);
		__m512i w[8];

		unpack(at + header, next, w);
		UNROLL
		for (int k = 0; k < n; k++)
			y[k] = add(y[k], w, &sc, load_block(x, t + k, b));
	}
	UNROLL
	for (int k = 0; k < n; k++)
		_mm512_storeu_ps(out[k], y[k]);
}

#define KERNEL(name, header, weights, load, unpack, add)                                           \
	INLINE void name##_of(const uint8_t *at, size_t next, const struct qk_rows *x, long t,     \
		int n, float out[QK_TOKENS][QK_WIDTH])                                             \
	{                                                                                          \
		sum_blocks(at, next, header, weights, load, unpack, add, x, t, n, out);            \
	}                                                                                          \
	static void name(const uint8_t *group, size_t group_bytes, int rows,                       \
		const struct qk_rows *x, long t, int n, float out[QK_TOKENS][QK_WIDTH])            \
	{                                                                                          \
		const size_t next = rows > QK_ROWS ? group_bytes : 0;                              \
                                                                                                   \
		switch (n) {                                                                       \
		case 1:                                                                            \
			name##_of(group, next, x, t, 1, out);                                      \
			break;                                                                     \
		case 2:                                                                            \
			name##_of(group, next, x, t, 2, out);                                      \
			break;                                                                     \
		case 3:                                                                            \
			name##_of(group, next, x, t, 3, out);                                      \
			break;                                                                     \
		default:                                                                           \
			name##_of(group, next, x, t, 4, out);                                      \
		}                                                                                  \
	}

KERNEL(nibbles, QK_NARROW, QK_NIBBLES_BYTES, load_narrow, unpack_nibbles, add_unsigned)
KERNEL(fives, QK_NARROW, QK_FIVES_BYTES, load_narrow, unpack_fives, add_unsigned)
KERNEL(bytes, QK_NARROW, QK_BYTES_BYTES, load_narrow, unpack_flipped, add_signed)
KERNEL(wide_nibbles, QK_WIDE, QK_NIBBLES_BYTES, load_wide, unpack_nibbles, add_unsigned)
KERNEL(wide_fives, QK_WIDE, QK_FIVES_BYTES, load_wide, unpack_fives, add_unsigned)
KERNEL(wide_bytes, QK_WIDE, QK_BYTES_BYTES, load_wide, unpack_flipped, add_signed)
KERNEL(two_nibbles, QK_WIDE, QK_NIBBLES_BYTES, load_two_nibbles, unpack_nibbles, add_two_nibbles)
KERNEL(two_bytes, QK_NARROW, QK_BYTES_BYTES, load_two_bytes, unpack_bytes, add_two_bytes)

/* 16 float weights of a row from column c */
typedef __m512 load_row_fn(const uint8_t *row, long c);

INLINE __m512 load_f32(const uint8_t *row, long c)
{
	return _mm512_loadu_ps(row + 4 * c);
}

INLINE __m512 load_f16(const uint8_t *row, long c)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(row + 2 * c)));
}

INLINE __m512 load_bf16(const uint8_t *row, long c)
{
	__m256i brains = _mm256_loadu_si256((const __m256i *)(row + 2 * c));

	return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(brains), 16));
}

/* ${rows} x ${n} sums, few enough for the registers */
INLINE void sum_lanes(load_row_fn *load, const uint8_t *w, size_t row_bytes, int rows,
	const float *x, long cols, int n, float (*out)[QK_WIDTH])
{
	const long size = (long)row_bytes / cols;
	__m512 y[16];

	UNROLL
	for (int i = 0; i < rows * n; i++)
		y[i] = _mm512_setzero_ps();
	for (long c = 0; c < cols; c += QK_LANES) {
		UNROLL
		for (int r = 0; r < rows; r++) {
			const uint8_t *row = w + (size_t)r * row_bytes;
			const __m512 v = load(row, c);

			if (n == 1) /* the next rows, for which the processor does not guess */
				_mm_prefetch(
					row + (size_t)rows * row_bytes + size * c, _MM_HINT_T0);
			UNROLL
			for (int k = 0; k < n; k++)
				y[r * n + k] = _mm512_fmadd_ps(
					v, _mm512_loadu_ps(x + k * cols + c), y[r * n + k]);
		}
	}
	UNROLL
	for (int i = 0; i < rows * n; i++)
		out[i % n][i / n] = SUM8((vec)_mm256_add_ps(
			_mm512_castps512_ps256(y[i]), _mm512_extractf32x8_ps(y[i], 1)));
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

/* four tokens at a time with four rows, one with eight */
#define FLOATS(name, load)                                                                         \
	static void name(const uint8_t *group, size_t group_bytes, int rows,                       \
		const struct qk_rows *x, long t, int n, float out[QK_TOKENS][QK_WIDTH])            \
	{                                                                                          \
		const float *at = x->x + t * x->cols;                                              \
                                                                                                   \
		if (n == 4)                                                                        \
			sum_rows(                                                                  \
				load, group, group_bytes / QK_ROWS, rows, 4, at, x->cols, 4, out); \
		else                                                                               \
			for (int k = 0; k < n; k++)                                                \
				sum_rows(load, group, group_bytes / QK_ROWS, rows, 8,              \
					at + k * x->cols, x->cols, 1, out + k);                    \
	}

FLOATS(floats, load_f32)
FLOATS(halves, load_f16)
FLOATS(brains, load_bf16)

static const struct qkern avx512 = {.name = "avx2", .dot = QKERN_DOTS(), QKERN_FLOATS};

#pragma GCC pop_options

const struct qkern *qkern_avx512(void)
{
	__builtin_cpu_init();
	return qkern_avx2() && __builtin_cpu_supports("avx512bw") &&
			       __builtin_cpu_supports("avx512dq") &&
			       __builtin_cpu_supports("avx512vl") &&
			       __builtin_cpu_supports("avx512vnni")
		       ? &avx512
		       : NULL;
}

#else

const struct qkern *qkern_avx512(void)
{
	return NULL;
}

#endif
