#include "trainer/tensor.h"

#include "trainer/quant.h"

/* The formulas are ggml's reference dequantisation, operation by operation, so that our floats are
 * its floats. */

static void block_f32(const uint8_t *at, float *out)
{
	memcpy(out, at, sizeof(float));
}

static void block_f16(const uint8_t *at, float *out)
{
	*out = quant_load_half(at);
}

static void block_bf16(const uint8_t *at, float *out)
{
	uint16_t h;
	uint32_t bits;

	memcpy(&h, at, sizeof(h));
	bits = (uint32_t)h << 16;
	memcpy(out, &bits, sizeof(bits));
}

static void block_q4_0(const uint8_t *at, float *out)
{
	float d = quant_load_half(at);

	for (int i = 0; i < 16; i++) {
		out[i] = (float)((at[2 + i] & 15) - 8) * d;
		out[i + 16] = (float)((at[2 + i] >> 4) - 8) * d;
	}
}

static void block_q4_1(const uint8_t *at, float *out)
{
	float d = quant_load_half(at), m = quant_load_half(at + 2);

	for (int i = 0; i < 16; i++) {
		out[i] = (float)(at[4 + i] & 15) * d + m;
		out[i + 16] = (float)(at[4 + i] >> 4) * d + m;
	}
}

/* the fifth bits of a block: bit i belongs to value i */
static uint32_t high_bits(const uint8_t *at)
{
	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
	       (uint32_t)at[3] << 24;
}

static void block_q5_0(const uint8_t *at, float *out)
{
	float d = quant_load_half(at);
	uint32_t high = high_bits(at + 2);

	for (int i = 0; i < 16; i++) {
		int low = (at[6 + i] & 15) | (int)(high >> i & 1) << 4,
		    up = (at[6 + i] >> 4) | (int)(high >> (i + 16) & 1) << 4;

		out[i] = (float)(low - 16) * d;
		out[i + 16] = (float)(up - 16) * d;
	}
}

static void block_q5_1(const uint8_t *at, float *out)
{
	float d = quant_load_half(at), m = quant_load_half(at + 2);
	uint32_t high = high_bits(at + 4);

	for (int i = 0; i < 16; i++) {
		int low = (at[8 + i] & 15) | (int)(high >> i & 1) << 4,
		    up = (at[8 + i] >> 4) | (int)(high >> (i + 16) & 1) << 4;

		out[i] = (float)low * d + m;
		out[i + 16] = (float)up * d + m;
	}
}

static void block_q8_0(const uint8_t *at, float *out)
{
	float d = quant_load_half(at);

	for (int i = 0; i < 32; i++)
		out[i] = (float)(int8_t)at[2 + i] * d;
}

static const struct quant_type types[] = {
	[TENSOR_F32] = {"F32", 1, 4, block_f32},
	[TENSOR_F16] = {"F16", 1, 2, block_f16},
	[TENSOR_BF16] = {"BF16", 1, 2, block_bf16},
	[TENSOR_Q4_0] = {"Q4_0", 32, 18, block_q4_0},
	[TENSOR_Q4_1] = {"Q4_1", 32, 20, block_q4_1},
	[TENSOR_Q5_0] = {"Q5_0", 32, 22, block_q5_0},
	[TENSOR_Q5_1] = {"Q5_1", 32, 24, block_q5_1},
	[TENSOR_Q8_0] = {"Q8_0", 32, 34, block_q8_0},
	[TENSOR_IQ4_NL] = {"IQ4_NL", 32, 18, quant_block_iq4_nl},
	[TENSOR_IQ4_XS] = {"IQ4_XS", 256, 136, quant_block_iq4_xs},
	[TENSOR_Q2_K] = {"Q2_K", 256, 84, quant_block_q2_k},
	[TENSOR_Q3_K] = {"Q3_K", 256, 110, quant_block_q3_k},
	[TENSOR_Q4_K] = {"Q4_K", 256, 144, quant_block_q4_k},
	[TENSOR_Q5_K] = {"Q5_K", 256, 176, quant_block_q5_k},
	[TENSOR_Q6_K] = {"Q6_K", 256, 210, quant_block_q6_k},
};

const struct quant_type *quant_type_of(int type)
{
	if (type < 0 || (size_t)type >= sizeof(types) / sizeof(types[0]) || !types[type].values)
		return NULL;
	return &types[type];
}

const char *tensor_type_name(int type)
{
	const struct quant_type *qt = quant_type_of(type);

	return qt ? qt->name : NULL;
}

size_t tensor_row_bytes(int type, int64_t cols)
{
	const struct quant_type *qt = quant_type_of(type);

	if (!qt || cols <= 0 || cols % qt->values || cols > INT64_MAX / 8)
		return 0;
	return (size_t)(cols / qt->values) * (size_t)qt->bytes;
}

void tensor_row(const struct tensor *t, int64_t row, float *out)
{
	tensor_row_part(t, row, 0, t->cols, out);
}

void tensor_row_part(const struct tensor *t, int64_t row, int64_t from, int64_t n, float *out)
{
	const struct quant_type *qt = quant_type_of((int)t->type);
	const uint8_t *at =
		(const uint8_t *)t->data + (size_t)row * tensor_row_bytes((int)t->type, t->cols);

	at += (size_t)(from / qt->values) * (size_t)qt->bytes;
	switch (t->type) {
	case TENSOR_F32:
		memcpy(out, at, (size_t)n * sizeof(float));
		return;
	case TENSOR_F16: /* not through a pointer for every single value */
		for (int64_t i = 0; i < n; i++)
			out[i] = quant_load_half(at + 2 * i);
		return;
	case TENSOR_BF16:
		for (int64_t i = 0; i < n; i++)
			block_bf16(at + 2 * i, out + i);
		return;
	default:
		for (int64_t i = 0; i < n; i += qt->values, at += qt->bytes)
			qt->block(at, out + i);
	}
}
