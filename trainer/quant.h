/*
 * quant - the blocks of ggml's tensor types as bytes, and one block to floats.
 *
 * Private to the tensor and kernel files. Blocks are packed little-endian structs; fields are
 * copied out with memcpy, so no alignment of the mapping is needed.
 */
#ifndef KOLM_QUANT_H
#define KOLM_QUANT_H

#include <stdint.h>
#include <string.h>

#include "trainer/tensor.h"

enum { QUANT_BLOCK = 32, QUANT_SUPER = 256 };

/* quant_half(h): IEEE half to float, exact. */
static inline float quant_half(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = (h >> 10) & 31u,
		 mantissa = h & 0x3ffu, bits;
	float value;

	if (exponent == 0) { /* zero and subnormal: mantissa * 2^-24 */
		value = (float)mantissa * 0x1p-24f;
		return sign ? -value : value;
	}
	bits = sign | ((exponent == 31 ? 255u : exponent + 112u) << 23) | mantissa << 13;
	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* quant_load_half(at): the same, from two bytes at any alignment. */
static inline float quant_load_half(const void *at)
{
	uint16_t h;

	memcpy(&h, at, sizeof(h));
	return quant_half(h);
}

struct quant_type {
	const char *name;
	int values; /* in a block; 0: a type we do not read */
	int bytes;
	void (*block)(const uint8_t *at, float *out);
};

/* quant_type_of(type): NULL when we do not read it. */
const struct quant_type *quant_type_of(int type);

/* K types and IQ4_*, in quantk.c */
void quant_block_q2_k(const uint8_t *at, float *out);
void quant_block_q3_k(const uint8_t *at, float *out);
void quant_block_q4_k(const uint8_t *at, float *out);
void quant_block_q5_k(const uint8_t *at, float *out);
void quant_block_q6_k(const uint8_t *at, float *out);
void quant_block_iq4_nl(const uint8_t *at, float *out);
void quant_block_iq4_xs(const uint8_t *at, float *out);

/* Pieces of them that qweights.c takes apart itself: six-bit scale ${j} of Q3_K's twelve packed
 * bytes (0..15) less 32; six-bit scale and minimum ${j} (0..7) of Q4_K's and Q5_K's; scale ${b}
 * (0..7) of IQ4_XS less 32, ${at}: its block; what a nibble of IQ4_* stands for. */
int quant_scale_q3(int j, const uint8_t *at);
void quant_scale_min(int j, const uint8_t *at, int *scale, int *min);
int quant_scale_iq4(int b, const uint8_t *at);
extern const int8_t quant_iq4_values[16];

#endif
