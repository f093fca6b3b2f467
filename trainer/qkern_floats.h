/*
 * qkern_floats - the float kernels, written once over vectors of 8 lanes and included by each
 * family, which compiles them with its own instructions. Private to qkern_*.c. Lengths are
 * multiples of 8 unless said.
 */
#ifndef KOLM_QKERN_FLOATS_H
#define KOLM_QKERN_FLOATS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef float vec __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(32), aligned(4), may_alias));

#define LOAD8(at) (*(const vec *)(at))
#define SPLAT(x)  ((vec){(x), (x), (x), (x), (x), (x), (x), (x)})
#define MAX8(a, b)                                                                                 \
	({                                                                                         \
		vec a_ = (a), b_ = (b);                                                            \
		ivec m_ = a_ > b_;                                                                 \
		(vec)((m_ & (ivec)a_) | (~m_ & (ivec)b_));                                         \
	})
#define MIN8(a, b)                                                                                 \
	({                                                                                         \
		vec c_ = (a), d_ = (b);                                                            \
		ivec l_ = c_ < d_;                                                                 \
		(vec)((l_ & (ivec)c_) | (~l_ & (ivec)d_));                                         \
	})
/* ((0+4)+(2+6)) + ((1+5)+(3+7)) */
#define SUM8(x)                                                                                    \
	({                                                                                         \
		vec s_ = (x);                                                                      \
		s_ += __builtin_shufflevector(s_, s_, 4, 5, 6, 7, 0, 1, 2, 3);                     \
		s_ += __builtin_shufflevector(s_, s_, 2, 3, 0, 1, 6, 7, 4, 5);                     \
		s_[0] + s_[1];                                                                     \
	})
/* to the nearest whole number, ties to even, |x| < 2^22 */
#define ROUND8(x) (((x) + SPLAT(12582912.0f)) - SPLAT(12582912.0f))

/* e^x within 2 units in the last place, after Cephes' expf; x is held in the range of normal
 * results */
#define EXP8(x)                                                                                    \
	({                                                                                         \
		vec e_ = MIN8(MAX8((x), SPLAT(-87.0f)), SPLAT(88.0f)),                             \
		    n_ = ROUND8(e_ * SPLAT(1.44269504088896341f)), p_;                             \
		ivec i_ = __builtin_convertvector(n_, ivec);                                       \
		e_ = e_ - n_ * SPLAT(0.693359375f) - n_ * SPLAT(-2.12194440e-4f);                  \
		p_ = SPLAT(1.9875691500e-4f) * e_ + SPLAT(1.3981999507e-3f);                       \
		p_ = p_ * e_ + SPLAT(8.3334519073e-3f);                                            \
		p_ = p_ * e_ + SPLAT(4.1665795894e-2f);                                            \
		p_ = p_ * e_ + SPLAT(1.6666665459e-1f);                                            \
		p_ = p_ * e_ + SPLAT(5.0000001201e-1f);                                            \
		p_ = p_ * e_ * e_ + e_ + SPLAT(1.0f);                                              \
		p_ *(vec)((i_ + 127) << 23);                                                       \
	})

static void quantise(const float *x, long n, int8_t *q, float *d, float *s, int16_t *sum)
{
	for (long b = 0; b < n / 32; b++, x += 32, q += 32) {
		vec v[4], top = SPLAT(0.0f);
		int32_t half[2] = {0, 0};
		float largest = 0, scale;

		for (int i = 0; i < 4; i++) {
			v[i] = LOAD8(x + 8 * i);
			top = MAX8(top, (vec)((ivec)v[i] & 0x7fffffff));
		}
		for (int i = 0; i < 8; i++)
			largest = top[i] > largest ? top[i] : largest;
		scale = largest >= 1e-30f ? 127.0f / largest : 0;
		for (int i = 0; i < 4; i++) {
			ivec whole = __builtin_convertvector(ROUND8(v[i] * SPLAT(scale)), ivec);

			half[i / 2] += whole[0] + whole[1] + whole[2] + whole[3] + whole[4] +
				       whole[5] + whole[6] + whole[7];
			for (int k = 0; k < 8; k++)
				q[8 * i + k] = (int8_t)whole[k];
		}
		sum[2 * b] = (int16_t)half[0];
		sum[2 * b + 1] = (int16_t)half[1];
		d[b] = largest >= 1e-30f ? largest / 127.0f : 0;
		s[b] = d[b] * (float)(half[0] + half[1]);
	}
}

static void norm(float *y, const float *x, const float *w, int n, float eps)
{
	vec acc = SPLAT(0.0f), r;
	float mean;

	for (int i = 0; i < n; i += 8)
		acc += LOAD8(x + i) * LOAD8(x + i);
	mean = SUM8(acc) / (float)n;
	mean = (float)(1 / sqrt((double)(mean + eps)));
	r = SPLAT(mean);
	for (int i = 0; i < n; i += 8)
		*(vec *)(y + i) = LOAD8(x + i) * r * LOAD8(w + i);
}

static void scores(
	float *s, const float *q, const float *k, long stride, long n, int dim, float scale)
{
	for (; n >= 4; n -= 4, s += 4, k += 4 * stride) {
		vec a = SPLAT(0.0f), b = a, c = a, d = a;

		for (int i = 0; i < dim; i += 8) {
			vec w = LOAD8(q + i);

			a += w * LOAD8(k + i);
			b += w * LOAD8(k + stride + i);
			c += w * LOAD8(k + 2 * stride + i);
			d += w * LOAD8(k + 3 * stride + i);
		}
		s[0] = SUM8(a) * scale;
		s[1] = SUM8(b) * scale;
		s[2] = SUM8(c) * scale;
		s[3] = SUM8(d) * scale;
	}
	for (; n > 0; n--, s++, k += stride) {
		vec a = SPLAT(0.0f);

		for (int i = 0; i < dim; i += 8)
			a += LOAD8(q + i) * LOAD8(k + i);
		*s = SUM8(a) * scale;
	}
}

/* any n; ${s} has room up to the next multiple of 8 */
static float softmax(float *s, long n)
{
	vec acc = SPLAT(0.0f), top = SPLAT(-1e30f);
	float largest = -1e30f;

	for (long i = n; i % 8; i++)
		s[i] = -1e30f; /* would become e^-87, not 0: cleared below */
	for (long i = 0; i < n; i += 8)
		top = MAX8(top, LOAD8(s + i));
	for (int i = 0; i < 8; i++)
		largest = top[i] > largest ? top[i] : largest;
	top = SPLAT(largest);
	for (long i = 0; i < n; i += 8) {
		vec e = EXP8(LOAD8(s + i) - top);

		*(vec *)(s + i) = e;
		if (i + 8 > n)
			for (long k = n; k < i + 8; k++)
				s[k] = 0;
		acc += LOAD8(s + i);
	}
	return SUM8(acc);
}

static void mix(float *out, const float *s, const float *v, long stride, long n, int dim)
{
	int i = 0;

	for (; i + 32 <= dim; i += 32) {
		vec a = LOAD8(out + i), b = LOAD8(out + i + 8), c = LOAD8(out + i + 16),
		    d = LOAD8(out + i + 24);

		for (long j = 0; j < n; j++) {
			const float *at = v + j * stride + i;
			vec p = SPLAT(s[j]);

			a += p * LOAD8(at);
			b += p * LOAD8(at + 8);
			c += p * LOAD8(at + 16);
			d += p * LOAD8(at + 24);
		}
		*(vec *)(out + i) = a;
		*(vec *)(out + i + 8) = b;
		*(vec *)(out + i + 16) = c;
		*(vec *)(out + i + 24) = d;
	}
	for (; i < dim; i += 8) {
		vec a = LOAD8(out + i);

		for (long j = 0; j < n; j++)
			a += SPLAT(s[j]) * LOAD8(v + j * stride + i);
		*(vec *)(out + i) = a;
	}
}

static void gate(float *h, const float *g, const float *u, long n)
{
	for (long i = 0; i < n; i += 8) {
		vec x = LOAD8(g + i);

		*(vec *)(h + i) = x / (SPLAT(1.0f) + EXP8(-x)) * LOAD8(u + i);
	}
}

static void lora_down(float *a, const float *A, const float *x, int rank, int n, float scale)
{
	scores(a, x, A, n, rank, n, scale);
}

/* any n */
static void lora_up(float *y, const float *a, const float *bt, long stride, int rank, long n)
{
	long i = 0;

	for (; i + 8 <= n; i += 8) {
		vec acc = SPLAT(0.0f);

		for (int r = 0; r < rank; r++)
			acc += SPLAT(a[r]) * LOAD8(bt + r * stride + i);
		*(vec *)(y + i) += acc;
	}
	for (; i < n; i++) {
		float acc = 0;

		for (int r = 0; r < rank; r++)
			acc += a[r] * bt[r * stride + i];
		y[i] += acc;
	}
}

#define QKERN_FLOATS                                                                               \
	.quantise = quantise, .norm = norm, .scores = scores, .softmax = softmax, .mix = mix,      \
	.gate = gate, .lora_down = lora_down, .lora_up = lora_up

#endif
