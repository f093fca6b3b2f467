/*
 * qkern_portable - the kernels in plain C: the reference that every other family must equal bit for
 * bit.
 */
#include "trainer/qkern.h"

#include <stdbool.h>

#include "trainer/qkern_table.h"
#include "trainer/quant.h"

#pragma GCC optimize("O3")

#include "trainer/qkern_floats.h"

#define INLINE static inline __attribute__((always_inline))

struct scales {
	float d;
	float m;
	int8_t s[2];
	int8_t n[2];
};

INLINE bool is_two(enum qk_kind kind)
{
	return kind == QK_TWO_NIBBLES || kind == QK_TWO_BYTES;
}

INLINE bool is_nibbles(enum qk_kind kind)
{
	return kind == QK_NIBBLES || kind == QK_WIDE_NIBBLES || kind == QK_TWO_NIBBLES;
}

INLINE bool is_fives(enum qk_kind kind)
{
	return kind == QK_FIVES || kind == QK_WIDE_FIVES;
}

INLINE long scale_bytes(enum qk_kind kind)
{
	return kind == QK_NIBBLES || kind == QK_FIVES || kind == QK_BYTES || kind == QK_TWO_BYTES
		       ? QK_NARROW
		       : QK_WIDE;
}

INLINE long weight_bytes(enum qk_kind kind)
{
	return is_nibbles(kind) ? QK_NIBBLES_BYTES
	       : is_fives(kind) ? QK_FIVES_BYTES
				: QK_BYTES_BYTES;
}

INLINE struct scales load_scales(enum qk_kind kind, const uint8_t *at, int r)
{
	struct scales sc = {0};

	if (kind == QK_WIDE_NIBBLES || kind == QK_WIDE_FIVES || kind == QK_WIDE_BYTES) {
		memcpy(&sc.d, at + 4 * r, sizeof(sc.d));
		memcpy(&sc.m, at + 32 + 4 * r, sizeof(sc.m));
		return sc;
	}
	sc.d = quant_load_half(at + 2 * r);
	if (kind == QK_TWO_BYTES) {
		memcpy(sc.s, at + 16 + 2 * r, sizeof(sc.s));
		return sc;
	}
	sc.m = quant_load_half(at + 16 + 2 * r);
	if (kind == QK_TWO_NIBBLES) {
		memcpy(sc.s, at + 32 + 2 * r, sizeof(sc.s));
		memcpy(sc.n, at + 48 + 2 * r, sizeof(sc.n));
	}
	return sc;
}

/* the sums over the first and the last 16 columns of row r */
INLINE void dot_halves(enum qk_kind kind, const uint8_t *at, int r, const int8_t *q, int32_t dot[2])
{
	dot[0] = dot[1] = 0;
	for (int i = 0; i < 16; i++) {
		const uint8_t *w = at + i / 4 * 32 + r * 4 + i % 4;

		if (is_nibbles(kind)) {
			dot[0] += (*w & 15) * q[i];
			dot[1] += (*w >> 4) * q[i + 16];
		} else if (is_fives(kind)) {
			const uint8_t high = at[QK_NIBBLES_BYTES + r * 4 + i % 4];

			dot[0] += ((*w & 15) | (high >> i / 4 & 1) << 4) * q[i];
			dot[1] += (*w >> 4 | (high >> (4 + i / 4) & 1) << 4) * q[i + 16];
		} else {
			dot[0] += (int8_t)w[0] * q[i];
			dot[1] += (int8_t)w[128] * q[i + 16];
		}
	}
}

INLINE float accumulate(enum qk_kind kind, const int32_t dot[2], struct scales sc,
	const int16_t sum[2], float xd, float xs, float y)
{
	const int32_t s0 = sum[0], s1 = sum[1];

	if (!is_two(kind))
		return fmaf(sc.m, xs, fmaf((float)(dot[0] + dot[1]), sc.d * xd, y));
	if (kind == QK_TWO_BYTES)
		return fmaf((float)(sc.s[0] * (dot[0] - QK_OFFSET * s0) +
				    sc.s[1] * (dot[1] - QK_OFFSET * s1)),
			sc.d * xd, y);
	y = fmaf((float)(sc.s[0] * dot[0] + sc.s[1] * dot[1]), sc.d * xd, y);
	return fmaf((float)(sc.n[0] * s0 + sc.n[1] * s1), sc.m * xd, y);
}

INLINE void sum_blocks(enum qk_kind kind, const uint8_t *group, size_t group_bytes, int rows,
	const struct qk_rows *x, long t, int n, float out[QK_TOKENS][QK_WIDTH])
{
	const long header = scale_bytes(kind), record = header + weight_bytes(kind);

	for (int i = 0; i < n * rows; i++) {
		const int k = i / rows, r = i % rows;
		const uint8_t *at = group + (size_t)(r / QK_ROWS) * group_bytes;
		float y = 0;

		for (long b = 0; b < x->blocks; b++, at += record) {
			const long block = (t + k) * x->blocks + b;
			int32_t dot[2];

			dot_halves(kind, at + header, r % QK_ROWS,
				x->q + (t + k) * x->cols + b * QK_BLOCK, dot);
			y = accumulate(kind, dot, load_scales(kind, at, r % QK_ROWS),
				x->sum + 2 * block, x->d[block], x->s[block], y);
		}
		out[k][r] = y;
	}
}

#define KERNEL(name, kind)                                                                         \
	static void name(const uint8_t *group, size_t group_bytes, int rows,                       \
		const struct qk_rows *x, long t, int n, float out[QK_TOKENS][QK_WIDTH])            \
	{                                                                                          \
		sum_blocks(kind, group, group_bytes, rows, x, t, n, out);                          \
	}

KERNEL(nibbles, QK_NIBBLES)
KERNEL(fives, QK_FIVES)
KERNEL(bytes, QK_BYTES)
KERNEL(wide_nibbles, QK_WIDE_NIBBLES)
KERNEL(wide_fives, QK_WIDE_FIVES)
KERNEL(wide_bytes, QK_WIDE_BYTES)
KERNEL(two_nibbles, QK_TWO_NIBBLES)
KERNEL(two_bytes, QK_TWO_BYTES)

INLINE float load_float(enum qk_kind kind, const uint8_t *row, long i)
{
	uint32_t bits = 0;
	float value;

	if (kind == QK_F16)
		return quant_load_half(row + 2 * i);
	if (kind == QK_F32)
		memcpy(&bits, row + 4 * i, 4);
	else
		memcpy((uint8_t *)&bits + 2, row + 2 * i, 2);
	memcpy(&value, &bits, sizeof(value));
	return value;
}

INLINE void sum_lanes(enum qk_kind kind, const uint8_t *group, size_t group_bytes, int rows,
	const struct qk_rows *x, long t, int n, float out[QK_TOKENS][QK_WIDTH])
{
	for (int i = 0; i < n * rows; i++) {
		const int k = i / rows, r = i % rows;
		const uint8_t *row = group + (size_t)r * (group_bytes / QK_ROWS);
		const float *at = x->x + (t + k) * x->cols;
		float lane[QK_LANES] = {0};

		for (long c = 0; c < x->cols; c++)
			lane[c % QK_LANES] =
				fmaf(load_float(kind, row, c), at[c], lane[c % QK_LANES]);
		out[k][r] = SUM8(LOAD8(lane) + LOAD8(lane + 8));
	}
}

#define FLOATS(name, kind)                                                                         \
	static void name(const uint8_t *group, size_t group_bytes, int rows,                       \
		const struct qk_rows *x, long t, int n, float out[QK_TOKENS][QK_WIDTH])            \
	{                                                                                          \
		sum_lanes(kind, group, group_bytes, rows, x, t, n, out);                           \
	}

FLOATS(floats, QK_F32)
FLOATS(halves, QK_F16)
FLOATS(brains, QK_BF16)

const struct qkern qkern_portable = {.name = "portable", .dot = QKERN_DOTS(), QKERN_FLOATS};
