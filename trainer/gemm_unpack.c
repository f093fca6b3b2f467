/*
 * The commonest block types unpacked eight values at a time, for gemm's packing: the bits of
 * tensor_row_part(), faster.
 */
#include "trainer/gemm_kern.h"
#include "trainer/quant.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

/* sixteen bytes as floats: v * d + m (or without m where the format has none: adding nothing keeps
 * -0) */
static inline AVX2 void widen(__m128i bytes, __m256 d, const __m256 *m, float *out)
{
	__m256 lo = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), d);
	__m256 hi = _mm256_mul_ps(
		_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8))), d);

	_mm256_storeu_ps(out, m ? _mm256_add_ps(lo, *m) : lo);
	_mm256_storeu_ps(out + 8, m ? _mm256_add_ps(hi, *m) : hi);
}

static AVX2 void unpack_q4_0(const uint8_t *at, int64_t n, float *out)
{
	const __m128i nibble = _mm_set1_epi8(15), eight = _mm_set1_epi8(8);

	for (int64_t i = 0; i < n; i += 32, at += 18) {
		__m256 d = _mm256_set1_ps(quant_load_half(at));
		__m128i q = _mm_loadu_si128((const __m128i *)(const void *)(at + 2));

		widen(_mm_sub_epi8(_mm_and_si128(q, nibble), eight), d, NULL, out + i);
		widen(_mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(q, 4), nibble), eight), d, NULL,
			out + i + 16);
	}
}

static AVX2 void unpack_q4_1(const uint8_t *at, int64_t n, float *out)
{
	const __m128i nibble = _mm_set1_epi8(15);

	for (int64_t i = 0; i < n; i += 32, at += 20) {
		__m256 d = _mm256_set1_ps(quant_load_half(at)),
		       m = _mm256_set1_ps(quant_load_half(at + 2));
		__m128i q = _mm_loadu_si128((const __m128i *)(const void *)(at + 4));

		widen(_mm_and_si128(q, nibble), d, &m, out + i);
		widen(_mm_and_si128(_mm_srli_epi16(q, 4), nibble), d, &m, out + i + 16);
	}
}

static AVX2 void unpack_q8_0(const uint8_t *at, int64_t n, float *out)
{
	for (int64_t i = 0; i < n; i += 32, at += 34) {
		__m256 d = _mm256_set1_ps(quant_load_half(at));

		widen(_mm_loadu_si128((const __m128i *)(const void *)(at + 2)), d, NULL, out + i);
		widen(_mm_loadu_si128((const __m128i *)(const void *)(at + 18)), d, NULL,
			out + i + 16);
	}
}
#endif

void gemm_unpack(const struct gemm_kernel *kn, const struct tensor *t, int64_t row, int64_t from,
	int64_t n, float *out)
{
#if defined(__x86_64__)
	int bytes = t->type == TENSOR_Q4_0   ? 18
		    : t->type == TENSOR_Q4_1 ? 20
		    : t->type == TENSOR_Q8_0 ? 34
					     : 0;

	if (kn->vectors && bytes) {
		const uint8_t *at =
			(const uint8_t *)t->data + (row * t->cols + from) / QUANT_BLOCK * bytes;

		if (t->type == TENSOR_Q4_0)
			unpack_q4_0(at, n, out);
		else if (t->type == TENSOR_Q4_1)
			unpack_q4_1(at, n, out);
		else
			unpack_q8_0(at, n, out);
		return;
	}
#endif
	(void)kn;
	tensor_row_part(t, row, from, n, out);
}
