/*
 * The commonest block types unpacked eight or sixteen values at a time, for gemm's packing: the
 * bits of tensor_row_part(), faster.
 */
#include <string.h>

#include "trainer/gemm_kern.h"
#include "trainer/quant.h"

#if defined(__x86_64__)
#include <immintrin.h>

/*
 * Sixteen bytes become floats v * d + m (v * d where the format has no minimum: adding nothing
 * keeps -0). Both widths are the same two roundings.
 */
#define UNPACKERS(width, isa)                                                                      \
	static isa void unpack_q4_0_##width(const uint8_t *at, int64_t n, float *out)              \
	{                                                                                          \
		const __m128i nibble = _mm_set1_epi8(15), eight = _mm_set1_epi8(8);                \
                                                                                                   \
		for (int64_t i = 0; i < n; i += 32, at += 18) {                                    \
			float d = half(at);                                                        \
			__m128i q = _mm_loadu_si128((const __m128i *)(const void *)(at + 2));      \
			__m128i hi = _mm_and_si128(_mm_srli_epi16(q, 4), nibble);                  \
                                                                                                   \
			scale_##width(_mm_sub_epi8(_mm_and_si128(q, nibble), eight), d, out + i);  \
			scale_##width(_mm_sub_epi8(hi, eight), d, out + i + 16);                   \
		}                                                                                  \
	}                                                                                          \
                                                                                                   \
	static isa void unpack_q4_1_##width(const uint8_t *at, int64_t n, float *out)              \
	{                                                                                          \
		const __m128i nibble = _mm_set1_epi8(15);                                          \
                                                                                                   \
		for (int64_t i = 0; i < n; i += 32, at += 20) {                                    \
			float d = half(at), m = half(at + 2);                                      \
			__m128i q = _mm_loadu_si128((const __m128i *)(const void *)(at + 4));      \
			__m128i hi = _mm_and_si128(_mm_srli_epi16(q, 4), nibble);                  \
                                                                                                   \
			shift_##width(_mm_and_si128(q, nibble), d, m, out + i);                    \
			shift_##width(hi, d, m, out + i + 16);                                     \
		}                                                                                  \
	}                                                                                          \
                                                                                                   \
	static isa void unpack_q8_0_##width(const uint8_t *at, int64_t n, float *out)              \
	{                                                                                          \
		for (int64_t i = 0; i < n; i += 32, at += 34) {                                    \
			float d = half(at);                                                        \
			const __m128i *q = (const __m128i *)(const void *)(at + 2);                \
                                                                                                   \
			scale_##width(_mm_loadu_si128(q), d, out + i);                             \
			scale_##width(_mm_loadu_si128(q + 1), d, out + i + 16);                    \
		}                                                                                  \
	}

#define INLINE static inline __attribute__((always_inline))
#define AVX2   __attribute__((target("avx2,f16c")))
#define AVX512 __attribute__((target("avx512f,f16c")))

INLINE AVX2 float half(const uint8_t *at)
{
	uint16_t h;

	memcpy(&h, at, sizeof(h));
	return _cvtsh_ss(h);
}

INLINE AVX2 __m256 floats_8(__m128i bytes)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

INLINE AVX2 void scale_8(__m128i bytes, float d, float *out)
{
	__m256 by = _mm256_set1_ps(d);

	_mm256_storeu_ps(out, _mm256_mul_ps(floats_8(bytes), by));
	_mm256_storeu_ps(out + 8, _mm256_mul_ps(floats_8(_mm_srli_si128(bytes, 8)), by));
}

INLINE AVX2 void shift_8(__m128i bytes, float d, float m, float *out)
{
	__m256 by = _mm256_set1_ps(d), on = _mm256_set1_ps(m);

	_mm256_storeu_ps(out, _mm256_add_ps(_mm256_mul_ps(floats_8(bytes), by), on));
	_mm256_storeu_ps(
		out + 8, _mm256_add_ps(_mm256_mul_ps(floats_8(_mm_srli_si128(bytes, 8)), by), on));
}

INLINE AVX512 __m512 floats_16(__m128i bytes)
{
	return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

INLINE AVX512 void scale_16(__m128i bytes, float d, float *out)
{
	_mm512_storeu_ps(out, _mm512_mul_ps(floats_16(bytes), _mm512_set1_ps(d)));
}

INLINE AVX512 void shift_16(__m128i bytes, float d, float m, float *out)
{
	_mm512_storeu_ps(out, _mm512_add_ps(_mm512_mul_ps(floats_16(bytes), _mm512_set1_ps(d)),
				      _mm512_set1_ps(m)));
}

UNPACKERS(8, AVX2)
UNPACKERS(16, AVX512)

typedef void unpack_fn(const uint8_t *at, int64_t n, float *out);

struct unpacker {
	enum tensor_type type;
	int bytes; /* of a block of 32 */
	unpack_fn *by[GEMM_AVX512 + 1];
};

static const struct unpacker unpackers[] = {
	{TENSOR_Q4_0, 18, {NULL, unpack_q4_0_8, unpack_q4_0_16}},
	{TENSOR_Q4_1, 20, {NULL, unpack_q4_1_8, unpack_q4_1_16}},
	{TENSOR_Q8_0, 34, {NULL, unpack_q8_0_8, unpack_q8_0_16}},
};
#endif

void gemm_unpack(const struct gemm_kernel *kn, const struct tensor *t, int64_t row, int64_t from,
	int64_t n, float *out)
{
#if defined(__x86_64__)
	for (size_t i = 0; i < sizeof(unpackers) / sizeof(unpackers[0]); i++) {
		const struct unpacker *un = &unpackers[i];

		if (un->type != t->type || !un->by[kn->vectors])
			continue;
		un->by[kn->vectors](
			(const uint8_t *)t->data + (row * t->cols + from) / QUANT_BLOCK * un->bytes,
			n, out);
		return;
	}
#endif
	(void)kn;
	tensor_row_part(t, row, from, n, out);
}
