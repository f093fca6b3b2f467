/*
 * quantk - the K types (256 values, two levels of scales) and IQ4_NL, as ggml's reference
 * dequantisation does them.
 */
#include "trainer/quant.h"

/* six-bit scale and minimum ${j} (0..7) of the twelve packed bytes of Q4_K and Q5_K */
static void scale_min(int j, const uint8_t *q, int *scale, int *min)
{
	if (j < 4) {
		*scale = q[j] & 63;
		*min = q[j + 4] & 63;
	} else {
		*scale = (q[j + 4] & 15) | (q[j - 4] >> 6) << 4;
		*min = q[j + 4] >> 4 | (q[j] >> 6) << 4;
	}
}

/* Q4_K: d, dmin, scales[12], qs[128]; Q5_K has high bits qh[32] before qs, two bits of each byte
 * per 64 values */
static void block_k(const uint8_t *at, const uint8_t *high, const uint8_t *q, float *out)
{
	float d = quant_load_half(at), dmin = quant_load_half(at + 2);

	for (int j = 0; j < 8; j += 2, q += 32) {
		for (int half = 0; half < 2; half++) {
			int scale, min;
			float d1, m1;

			scale_min(j + half, at + 4, &scale, &min);
			d1 = d * (float)scale;
			m1 = dmin * (float)min;
			for (int i = 0; i < 32; i++) {
				int v = half ? q[i] >> 4 : q[i] & 15;

				if (high && (high[i] >> (j + half) & 1))
					v += 16;
				*out++ = d1 * (float)v - m1;
			}
		}
	}
}

void quant_block_q4_k(const uint8_t *at, float *out)
{
	block_k(at, NULL, at + 16, out);
}

void quant_block_q5_k(const uint8_t *at, float *out)
{
	block_k(at, at + 16, at + 48, out);
}

/* Q6_K: ql[128], qh[64], int8 scales[16], d */
void quant_block_q6_k(const uint8_t *at, float *out)
{
	const uint8_t *ql = at, *qh = at + 128, *scales = at + 192;
	float d = quant_load_half(at + 208);

	for (int n = 0; n < 2; n++, ql += 64, qh += 32, scales += 8, out += 128) {
		for (int i = 0; i < 32; i++) {
			int low[4] = {ql[i] & 15, ql[i + 32] & 15, ql[i] >> 4, ql[i + 32] >> 4};

			for (int k = 0; k < 4; k++) {
				int q = (low[k] | (qh[i] >> 2 * k & 3) << 4) - 32;

				out[i + 32 * k] =
					d * (float)(int8_t)scales[i / 16 + 2 * k] * (float)q;
			}
		}
	}
}

void quant_block_iq4_nl(const uint8_t *at, float *out)
{
	static const int8_t values[16] = {
		-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
	float d = quant_load_half(at);

	for (int i = 0; i < 16; i++) {
		out[i] = d * (float)values[at[2 + i] & 15];
		out[i + 16] = d * (float)values[at[2 + i] >> 4];
	}
}
