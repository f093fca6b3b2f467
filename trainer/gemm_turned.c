/*
 * Sixteen rows of W side by side: what the forward products pack. Quantised values are gathered
 * four of each row at a time, before they are floats: a lane is a row from then on and nothing is
 * left to turn. Floats are turned in registers. The bits are tensor_row_part()'s.
 */
#include <string.h>

#include "trainer/gemm_kern.h"
#include "trainer/quant.h"

enum { PART = QUANT_SUPER }; /* values of a row turned at a time */

typedef float vec4 __attribute__((vector_size(16), aligned(4)));

/* out[l * 16 + j] = row[j][l], four by four */
static void transpose_16(float row[GEMM_STRIP][PART], int64_t n, float *out)
{
	int64_t l = 0;

	for (; l + 4 <= n; l += 4)
		for (int j = 0; j < GEMM_STRIP; j += 4) {
			vec4 a = *(const vec4 *)(row[j] + l), b = *(const vec4 *)(row[j + 1] + l);
			vec4 c = *(const vec4 *)(row[j + 2] + l),
			     d = *(const vec4 *)(row[j + 3] + l);
			vec4 ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5);
			vec4 ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
			vec4 cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5);
			vec4 cd1 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
			float *o = out + l * GEMM_STRIP + j;

			*(vec4 *)o = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
			*(vec4 *)(o + GEMM_STRIP) = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
			*(vec4 *)(o + 2 * GEMM_STRIP) =
				__builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
			*(vec4 *)(o + 3 * GEMM_STRIP) =
				__builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
		}
	for (; l < n; l++)
		for (int j = 0; j < GEMM_STRIP; j++)
			out[l * GEMM_STRIP + j] = row[j][l];
}

/* any type, any number of rows */
static void turn_parts(const struct gemm_kernel *kn, const struct tensor *t, int64_t row,
	int64_t from, int64_t n, float *out)
{
	float part[GEMM_STRIP][PART];

	for (int64_t i = 0; i < n; i += PART) {
		int64_t some = n - i < PART ? n - i : PART;

		for (int j = 0; j < GEMM_STRIP; j++) {
			gemm_row_ahead(t, row + j + GEMM_STRIP, from + i, some);
			if (row + j < t->rows)
				gemm_unpack(kn, t, row + j, from + i, some, part[j]);
			else
				memset(part[j], 0, sizeof(part[j]));
		}
		transpose_16(part, some, out + i * GEMM_STRIP);
	}
}

#if defined(__x86_64__)
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#define AVX512 __attribute__((target("avx512f,f16c")))

/* ${at}: the same place in each of 16 rows that are ${row} bytes apart */
typedef void turn_fn(const uint8_t *at, size_t row, int64_t n, float *out);

/* the next rows' bytes will be wanted as soon as these are done */
INLINE void ahead(const uint8_t *at, size_t row)
{
	for (size_t j = GEMM_STRIP; j < 2 * (size_t)GEMM_STRIP; j++)
		__builtin_prefetch(at + j * row);
}

INLINE AVX512 __m512i starts(size_t row)
{
	const __m512i j = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);

	return _mm512_mullo_epi32(j, _mm512_set1_epi32((int)row));
}

INLINE AVX512 __m512i four_bytes(const uint8_t *at, __m512i start)
{
	return _mm512_i32gather_epi32(start, at, 1);
}

/* the lower half of each word, as a number of 16 bits */
INLINE AVX512 __m512 halves(__m512i words)
{
	return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words));
}

INLINE AVX512 void put_scaled(float *out, __m512i q, __m512 d)
{
	_mm512_storeu_ps(out, _mm512_mul_ps(_mm512_cvtepi32_ps(q), d));
}

INLINE AVX512 void put_shifted(float *out, __m512i q, __m512 d, __m512 m)
{
	_mm512_storeu_ps(out, _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(q), d), m));
}

static AVX512 void turn_q4_0(const uint8_t *at, size_t row, int64_t n, float *out)
{
	const __m512i start = starts(row), nibble = _mm512_set1_epi32(15),
		      eight = _mm512_set1_epi32(8);

	for (int64_t i = 0; i < n; i += QUANT_BLOCK, at += 18, out += QUANT_BLOCK * GEMM_STRIP) {
		const __m512 d = halves(four_bytes(at, start));
		float *low = out, *up = out + 16 * GEMM_STRIP;

		if (i % (2 * QUANT_BLOCK) == 0)
			ahead(at, row);
		for (int g = 0; g < 16; g += 4) {
			__m512i q = four_bytes(at + 2 + g, start);

			for (int c = 0; c < 4; c++, low += GEMM_STRIP, up += GEMM_STRIP) {
				const __m512i q4 = _mm512_srli_epi32(q, 4);

				put_scaled(low,
					_mm512_sub_epi32(_mm512_and_si512(q, nibble), eight), d);
				put_scaled(up,
					_mm512_sub_epi32(_mm512_and_si512(q4, nibble), eight), d);
				q = _mm512_srli_epi32(q, 8);
			}
		}
	}
}

static AVX512 void turn_q4_1(const uint8_t *at, size_t row, int64_t n, float *out)
{
	const __m512i start = starts(row), nibble = _mm512_set1_epi32(15);

	for (int64_t i = 0; i < n; i += QUANT_BLOCK, at += 20, out += QUANT_BLOCK * GEMM_STRIP) {
		const __m512i both = four_bytes(at, start);
		const __m512 d = halves(both), m = halves(_mm512_srli_epi32(both, 16));
		float *low = out, *up = out + 16 * GEMM_STRIP;

		if (i % (2 * QUANT_BLOCK) == 0)
			ahead(at, row);
		for (int g = 0; g < 16; g += 4) {
			__m512i q = four_bytes(at + 4 + g, start);

			for (int c = 0; c < 4; c++, low += GEMM_STRIP, up += GEMM_STRIP) {
				const __m512i q4 = _mm512_srli_epi32(q, 4);

				put_shifted(low, _mm512_and_si512(q, nibble), d, m);
				put_shifted(up, _mm512_and_si512(q4, nibble), d, m);
				q = _mm512_srli_epi32(q, 8);
			}
		}
	}
}

static AVX512 void turn_q8_0(const uint8_t *at, size_t row, int64_t n, float *out)
{
	const __m512i start = starts(row);

	for (int64_t i = 0; i < n; i += QUANT_BLOCK, at += 34) {
		const __m512 d = halves(four_bytes(at, start));

		ahead(at, row);
		for (int g = 0; g < QUANT_BLOCK; g += 4, out += 4 * GEMM_STRIP) {
			const __m512i q = four_bytes(at + 2 + g, start);
			const __m512i second = _mm512_slli_epi32(q, 16),
				      third = _mm512_slli_epi32(q, 8);

			put_scaled(out, _mm512_srai_epi32(_mm512_slli_epi32(q, 24), 24), d);
			put_scaled(out + GEMM_STRIP, _mm512_srai_epi32(second, 24), d);
			put_scaled(out + 2 * GEMM_STRIP, _mm512_srai_epi32(third, 24), d);
			put_scaled(out + 3 * GEMM_STRIP, _mm512_srai_epi32(q, 24), d);
		}
	}
}

/* 16 rows of 16 words become columns */
INLINE AVX512 void turn(__m512i r[GEMM_STRIP])
{
	__m512i s[GEMM_STRIP];

#pragma GCC unroll 4
	for (int i = 0; i < GEMM_STRIP; i += 4) {
		__m512i a = _mm512_unpacklo_epi32(r[i], r[i + 1]);
		__m512i b = _mm512_unpackhi_epi32(r[i], r[i + 1]);
		__m512i c = _mm512_unpacklo_epi32(r[i + 2], r[i + 3]);
		__m512i d = _mm512_unpackhi_epi32(r[i + 2], r[i + 3]);

		s[i] = _mm512_unpacklo_epi64(a, c);
		s[i + 1] = _mm512_unpackhi_epi64(a, c);
		s[i + 2] = _mm512_unpacklo_epi64(b, d);
		s[i + 3] = _mm512_unpackhi_epi64(b, d);
	}
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		__m512i a = _mm512_shuffle_i32x4(s[i], s[i + 4], 0x88);
		__m512i b = _mm512_shuffle_i32x4(s[i], s[i + 4], 0xdd);
		__m512i c = _mm512_shuffle_i32x4(s[i + 8], s[i + 12], 0x88);
		__m512i d = _mm512_shuffle_i32x4(s[i + 8], s[i + 12], 0xdd);

		r[i] = _mm512_shuffle_i32x4(a, c, 0x88);
		r[i + 4] = _mm512_shuffle_i32x4(b, d, 0x88);
		r[i + 8] = _mm512_shuffle_i32x4(a, c, 0xdd);
		r[i + 12] = _mm512_shuffle_i32x4(b, d, 0xdd);
	}
}

/* sixteen values of a row as floats, as they lie in memory */
#define FLOATS_F32(at) _mm512_loadu_si512(at)
#define FLOATS_F16(at)                                                                             \
	_mm512_castps_si512(                                                                       \
		_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(at))))
#define FLOATS_BF16(at)                                                                            \
	_mm512_slli_epi32(                                                                         \
		_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(at))),    \
		16)

#define TURN_FLOATS(name, bytes, load)                                                             \
	static AVX512 void name(const uint8_t *at, size_t row, int64_t n, float *out)              \
	{                                                                                          \
		for (int64_t i = 0; i < n; i += 16, at += 16 * (bytes)) {                          \
			__m512i r[GEMM_STRIP];                                                     \
                                                                                                   \
			ahead(at, row);                                                            \
			for (size_t j = 0; j < GEMM_STRIP; j++)                                    \
				r[j] = load(at + j * row);                                         \
			turn(r);                                                                   \
			for (int l = 0; l < GEMM_STRIP; l++, out += GEMM_STRIP)                    \
				_mm512_storeu_si512(out, r[l]);                                    \
		}                                                                                  \
	}

TURN_FLOATS(turn_f32, 4, FLOATS_F32)
TURN_FLOATS(turn_f16, 2, FLOATS_F16)
TURN_FLOATS(turn_bf16, 2, FLOATS_BF16)

struct turner {
	enum tensor_type type;
	int values, bytes; /* of a block, or of what is turned at a time */
	turn_fn *run;
};

static const struct turner turners[] = {
	{TENSOR_F32, 16, 64, turn_f32},
	{TENSOR_F16, 16, 32, turn_f16},
	{TENSOR_BF16, 16, 32, turn_bf16},
	{TENSOR_Q4_0, QUANT_BLOCK, 18, turn_q4_0},
	{TENSOR_Q4_1, QUANT_BLOCK, 20, turn_q4_1},
	{TENSOR_Q8_0, QUANT_BLOCK, 34, turn_q8_0},
};

/* how many of ${n} values were turned here */
static int64_t turn_whole(const struct gemm_kernel *kn, const struct tensor *t, int64_t row,
	int64_t from, int64_t n, float *out)
{
	size_t bytes = tensor_row_bytes((int)t->type, t->cols);

	if (kn->vectors != GEMM_AVX512 || row + GEMM_STRIP > t->rows || bytes > INT32_MAX / 16)
		return 0;
	for (size_t i = 0; i < sizeof(turners) / sizeof(turners[0]); i++) {
		const struct turner *tn = &turners[i];

		if (tn->type != t->type || from % tn->values)
			continue;
		n -= n % tn->values;
		tn->run((const uint8_t *)t->data + (size_t)row * bytes +
				(size_t)(from / tn->values * tn->bytes),
			bytes, n, out);
		return n;
	}
	return 0;
}
#endif

void gemm_unpack_turned(const struct gemm_kernel *kn, const struct tensor *t, int64_t row,
	int64_t from, int64_t n, float *out)
{
	int64_t done = 0;

#if defined(__x86_64__)
	done = turn_whole(kn, t, row, from, n, out);
#endif
	turn_parts(kn, t, row, from + done, n - done, out + done * GEMM_STRIP);
}
