/*
 * gemm_unpack - what gemm_unpack.c and gemm_unpack_k.c share: sixteen small numbers become sixteen
 * floats, eight or sixteen at a time. Private to them. Both widths are the same roundings.
 */
#ifndef KOLM_GEMM_UNPACK_H
#define KOLM_GEMM_UNPACK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "trainer/gemm_kern.h"
#include "trainer/quant.h"

enum { BLOCKS_AHEAD = 16 };

/*
 * ${n} blocks that begin ${stride} bytes apart. Sixteen values after the other of one go to ${out},
 * ${out} + ${apart}, ${out} + 2 ${apart}, ...; of the next ${step} floats further.
 */
#define STRIDES const uint8_t *at, size_t stride, int64_t n, float *out, long step, long apart

typedef void unpack_fn(STRIDES);

struct unpacker {
	enum tensor_type type;
	int values, bytes; /* of a block, or of what is unpacked at a time */
	unpack_fn *by[GEMM_AVX512 + 1];
};

/* gemm_unpacker_k(type): of a type with 256 values a block, or NULL */
const struct unpacker *gemm_unpacker_k(enum tensor_type type);

#if defined(__x86_64__)
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#define AVX2   __attribute__((target("avx2,f16c")))
#define AVX512 __attribute__((target("avx512f,f16c")))

INLINE AVX2 float half(const uint8_t *at)
{
	uint16_t h;

	memcpy(&h, at, sizeof(h));
	return _cvtsh_ss(h);
}

INLINE AVX2 __m128i sixteen(const uint8_t *at)
{
	return _mm_loadu_si128((const __m128i *)(const void *)at);
}

/* ${count} bits of each byte, from bit ${from} on */
INLINE AVX2 __m128i bits_of(__m128i bytes, int from, int count)
{
	return _mm_and_si128(_mm_srl_epi16(bytes, _mm_cvtsi32_si128(from)),
		_mm_set1_epi8((char)((1 << count) - 1)));
}

/* what nibbles of IQ4_* stand for */
INLINE AVX2 __m128i iq4_values(__m128i nibbles)
{
	return _mm_shuffle_epi8(sixteen((const uint8_t *)(const void *)quant_iq4_values), nibbles);
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
#endif

#endif
