/*
 * quantk - the K types (256 values, two levels of scales), IQ4_NL and IQ4_XS, as ggml's reference
 * dequantisation does them.
 */
#include "trainer/quant.h"

/* Q2_K: 16 bytes of scale (low) and minimum (high) for 16 values each, qs[64], d, dmin */
void quant_block_q2_k(const uint8_t *at, float *out)
{
	const uint8_t *q = at + 16;
	float d = quant_load_half(at + 80), dmin = quant_load_half(at + 82);

	for (int i = 0; i < QUANT_SUPER; i++) {
		int scale = at[i / 16], v = q[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;

		out[i] = d * (float)(scale & 15) * (float)v - dmin * (float)(scale >> 4);
	}
}

/* six-bit scale ${j} (0..15) of Q3_K's twelve packed bytes */
int quant_scale_q3(int j, const uint8_t *at)
{
	int low = at[j % 8] >> (j / 8 * 4) & 15, high = at[8 + j % 4] >> (j / 4 * 2) & 3;

	return (low | high << 4) - 32;
}

/* Q3_K: hmask[32], one bit of each byte per 32 values, clear: 4 less; qs[64], scales[12], d */
void quant_block_q3_k(const uint8_t *at, float *out)
{
	const uint8_t *q = at + 32;
	float d = quant_load_half(at + 108);

	for (int i = 0; i < QUANT_SUPER; i++) {
		int v = q[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;

		v -= at[i % 32] >> (i / 32) & 1 ? 0 : 4;
		out[i] = d * (float)quant_scale_q3(i / 16, at + 96) * (float)v;
	}
}

/* six-bit scale and minimum ${j} (0..7) of the twelve packed bytes of Q4_K and Q5_K */
void quant_scale_min(int j, const uint8_t *q, int *scale, int *min)
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

			quant_scale_min(j + half, at + 4, &scale, &min);
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

const int8_t quant_iq4_values[16] = {
	-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

void quant_block_iq4_nl(const uint8_t *at, float *out)
{
	float d = quant_load_half(at);

	for (int i = 0; i < 16; i++) {
		out[i] = d * (float)quant_iq4_values[at[2 + i] & 15];
		out[i + 16] = d * (float)quant_iq4_values[at[2 + i] >> 4];
	}
}

int quant_scale_iq4(int b, const uint8_t *at)
{
	unsigned high = (unsigned)at[2] | (unsigned)at[3] << 8;
	int low = at[4 + b / 2] >> (b % 2 * 4) & 15;

	return (low | (int)(high >> 2 * b & 3) << 4) - 32;
}

/* IQ4_XS: d, high scale bits (two for each of 8 blocks), low[4], qs[128] */
void quant_block_iq4_xs(const uint8_t *at, float *out)
{
	const uint8_t *q = at + 8;
	float d = quant_load_half(at);

	for (int b = 0; b < 8; b++, q += 16, out += 32) {
		float dl = d * (float)quant_scale_iq4(b, at);

		for (int i = 0; i < 16; i++) {
			out[i] = dl * (float)quant_iq4_values[q[i] & 15];
			out[i + 16] = dl * (float)quant_iq4_values[q[i] >> 4];
		}
	}
}
