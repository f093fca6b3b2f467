/*
 * The types with 256 values a block, unpacked with vectors sixteen values at a time: those that
 * have a scale, and a minimum, in common. The bits are quantk.c's, where the formats are described:
 * a minimum that is taken off there is added with the other sign here, which is the same sum.
 */
#include "trainer/gemm_unpack.h"

#include "trainer/quant.h"

#if defined(__x86_64__)

/* group g of sixteen: two bits of each byte, of which a row of 32 holds four times 32 values */
INLINE AVX2 __m128i two_bits(const uint8_t *q, int g)
{
	return bits_of(sixteen(q + g / 8 * 32 + g % 2 * 16), g / 2 % 4 * 2, 2);
}

/* values g * 16 ... of Q6_K, less 32 */
INLINE AVX2 __m128i six_bits(const uint8_t *at, int g)
{
	const int part = g / 8, row = g / 2 % 4, side = g % 2 * 16;
	__m128i low = bits_of(sixteen(at + part * 64 + row % 2 * 32 + side), row / 2 * 4, 4);
	__m128i high = bits_of(sixteen(at + 128 + part * 32 + side), row * 2, 2);

	return _mm_sub_epi8(_mm_or_si128(low, _mm_slli_epi16(high, 4)), _mm_set1_epi8(32));
}

#define EACH_GROUP                                                                                 \
	__builtin_prefetch(at + BLOCKS_AHEAD * stride);                                            \
	for (int g = 0; g < QUANT_SUPER / GEMM_STRIP; g++)

#define UNPACKERS(width, isa)                                                                      \
	static isa void q2_k_##width(STRIDES)                                                      \
	{                                                                                          \
		for (; n > 0; n--, at += stride, out += step) {                                    \
			float d = half(at + 80), dmin = half(at + 82);                             \
                                                                                                   \
			EACH_GROUP                                                                 \
			shift_##width(two_bits(at + 16, g), d *(float)(at[g] & 15),                \
				-(dmin * (float)(at[g] >> 4)), out + g * apart);                   \
		}                                                                                  \
	}                                                                                          \
                                                                                                   \
	static isa void q3_k_##width(STRIDES)                                                      \
	{                                                                                          \
		for (; n > 0; n--, at += stride, out += step) {                                    \
			float d = half(at + 108);                                                  \
                                                                                                   \
			EACH_GROUP                                                                 \
			{                                                                          \
				__m128i high = bits_of(sixteen(at + g % 2 * 16), g / 2, 1),        \
					v = _mm_or_si128(                                          \
						two_bits(at + 32, g), _mm_slli_epi16(high, 2));    \
                                                                                                   \
				scale_##width(_mm_sub_epi8(v, _mm_set1_epi8(4)),                   \
					d *(float)quant_scale_q3(g, at + 96), out + g * apart);    \
			}                                                                          \
		}                                                                                  \
	}                                                                                          \
                                                                                                   \
	static isa void q4_k_##width(STRIDES)                                                      \
	{                                                                                          \
		for (; n > 0; n--, at += stride, out += step) {                                    \
			float d = half(at), dmin = half(at + 2);                                   \
			int scale, min;                                                            \
                                                                                                   \
			EACH_GROUP                                                                 \
			{                                                                          \
				quant_scale_min(g / 2, at + 4, &scale, &min);                      \
				shift_##width(bits_of(sixteen(at + 16 + g / 4 * 32 + g % 2 * 16),  \
						      g / 2 % 2 * 4, 4),                           \
					d *(float)scale, -(dmin * (float)min), out + g * apart);   \
			}                                                                          \
		}                                                                                  \
	}                                                                                          \
                                                                                                   \
	static isa void q5_k_##width(STRIDES)                                                      \
	{                                                                                          \
		for (; n > 0; n--, at += stride, out += step) {                                    \
			float d = half(at), dmin = half(at + 2);                                   \
			int scale, min;                                                            \
                                                                                                   \
			EACH_GROUP                                                                 \
			{                                                                          \
				__m128i low = bits_of(sixteen(at + 48 + g / 4 * 32 + g % 2 * 16),  \
						g / 2 % 2 * 4, 4),                                 \
					high = bits_of(sixteen(at + 16 + g % 2 * 16), g / 2, 1);   \
                                                                                                   \
				quant_scale_min(g / 2, at + 4, &scale, &min);                      \
				shift_##width(_mm_or_si128(low, _mm_slli_epi16(high, 4)),          \
					d *(float)scale, -(dmin * (float)min), out + g * apart);   \
			}                                                                          \
		}                                                                                  \
	}                                                                                          \
                                                                                                   \
	static isa void q6_k_##width(STRIDES)                                                      \
	{                                                                                          \
		for (; n > 0; n--, at += stride, out += step) {                                    \
			float d = half(at + 208);                                                  \
                                                                                                   \
			EACH_GROUP                                                                 \
			scale_##width(six_bits(at, g),                                             \
				d *(float)(int8_t)at[192 + g / 8 * 8 + g % 8], out + g * apart);   \
		}                                                                                  \
	}                                                                                          \
                                                                                                   \
	static isa void iq4_xs_##width(STRIDES)                                                    \
	{                                                                                          \
		for (; n > 0; n--, at += stride, out += step) {                                    \
			float d = half(at);                                                        \
                                                                                                   \
			EACH_GROUP                                                                 \
			scale_##width(                                                             \
				iq4_values(bits_of(sixteen(at + 8 + g / 2 * 16), g % 2 * 4, 4)),   \
				d *(float)quant_scale_iq4(g / 2, at), out + g * apart);            \
		}                                                                                  \
	}

UNPACKERS(8, AVX2)
UNPACKERS(16, AVX512)

static const struct unpacker unpackers[] = {
	{TENSOR_Q2_K, QUANT_SUPER, 84, {NULL, q2_k_8, q2_k_16}},
	{TENSOR_Q3_K, QUANT_SUPER, 110, {NULL, q3_k_8, q3_k_16}},
	{TENSOR_Q4_K, QUANT_SUPER, 144, {NULL, q4_k_8, q4_k_16}},
	{TENSOR_Q5_K, QUANT_SUPER, 176, {NULL, q5_k_8, q5_k_16}},
	{TENSOR_Q6_K, QUANT_SUPER, 210, {NULL, q6_k_8, q6_k_16}},
	{TENSOR_IQ4_XS, QUANT_SUPER, 136, {NULL, iq4_xs_8, iq4_xs_16}},
};

const struct unpacker *gemm_unpacker_k(enum tensor_type type)
{
	for (size_t i = 0; i < sizeof(unpackers) / sizeof(unpackers[0]); i++)
		if (unpackers[i].type == type)
			return &unpackers[i];
	return NULL;
}
#endif
