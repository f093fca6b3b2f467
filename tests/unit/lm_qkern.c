/*
 * lm_qkern - weights of every type as serving multiplies them: the products of all kernel families
 * have the same bits, and they are those of the weights the type's dequantisation gives.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/qkern.h"
#include "trainer/qkern_table.h"
#include "trainer/quant.h"
#include "trainer/qweights.h"
#include "trainer/tensor.h"

enum { ROWS = 45, COLS = 768, TOKENS = 7 };

static const enum tensor_type types[] = {TENSOR_Q4_0, TENSOR_Q4_1, TENSOR_Q5_0, TENSOR_Q5_1,
	TENSOR_Q8_0, TENSOR_Q2_K, TENSOR_Q3_K, TENSOR_Q4_K, TENSOR_Q5_K, TENSOR_Q6_K, TENSOR_IQ4_NL,
	TENSOR_IQ4_XS};

enum { TYPES = sizeof(types) / sizeof(types[0]) };

/* where a block keeps its halves; -1: only one */
static void half_places(enum tensor_type type, int *first, int *second)
{
	*first = type == TENSOR_Q2_K   ? 80
		 : type == TENSOR_Q3_K ? 108
		 : type == TENSOR_Q6_K ? 208
				       : 0;
	*second = type == TENSOR_Q2_K ? 82
		  : type == TENSOR_Q4_1 || type == TENSOR_Q5_1 || type == TENSOR_Q4_K ||
				  type == TENSOR_Q5_K
			  ? 2
			  : -1;
}

/* any bytes are a block, but its halves are to be numbers of a usual size; ${fill} < 0: random */
static uint8_t *make_blocks(enum tensor_type type, int fill)
{
	const struct quant_type *qt = quant_type_of((int)type);
	const size_t blocks = ROWS * (size_t)(COLS / qt->values), bytes = (size_t)qt->bytes;
	uint8_t *data = malloc(blocks * bytes);
	int first, second;

	if (qt->values == 1) { /* any number that is one */
		for (size_t i = 0; i < blocks; i++) {
			float f = (float)(rand() % 2001 - 1000) / 64;
			uint16_t h = (uint16_t)(rand() % 0x7c00 | (rand() & 0x8000));

			memcpy(data + i * bytes, type == TENSOR_F32 ? (void *)&f : &h, bytes);
			if (type == TENSOR_BF16)
				memcpy(data + i * bytes, (uint8_t *)&f + 2, 2);
		}
		return data;
	}
	half_places(type, &first, &second);
	for (size_t i = 0; i < blocks * bytes; i++) {
		data[i] = (uint8_t)(fill < 0 ? rand() >> 8 : fill);
		if (type == TENSOR_Q8_0 && data[i] == 0x80)
			data[i] = 0x81;
	}
	for (size_t b = 0; b < blocks; b++) {
		uint16_t d = (uint16_t)(0x2000 + rand() % 0x400 + (rand() & 0x8000)),
			 m = (uint16_t)(0x2000 + rand() % 0x400);

		memcpy(data + b * bytes + first, &d, 2);
		if (second >= 0)
			memcpy(data + b * bytes + second, &m, 2);
	}
	return data;
}

struct product {
	float x[TOKENS * COLS];
	int8_t q[TOKENS * COLS];
	float d[TOKENS * COLS / QK_BLOCK];
	float s[TOKENS * COLS / QK_BLOCK];
	int16_t sum[2 * TOKENS * COLS / QK_BLOCK];
	float y[TOKENS][ROWS];
};

static void run(const struct qkern *kn, const struct qweights *qw, struct product *pr)
{
	struct qk_rows rows = {.x = pr->x,
		.q = pr->q,
		.d = pr->d,
		.s = pr->s,
		.sum = pr->sum,
		.cols = COLS,
		.blocks = COLS / QK_BLOCK};

	for (int t = 0; t < TOKENS; t++)
		kn->quantise(pr->x + t * COLS, COLS, pr->q + t * COLS, pr->d + t * rows.blocks,
			pr->s + t * rows.blocks, pr->sum + 2 * t * rows.blocks);
	for (int r = 0; r < ROWS; r += QK_WIDTH)
		for (int t = 0; t < TOKENS; t += QK_TOKENS) {
			const int n = TOKENS - t < QK_TOKENS ? TOKENS - t : QK_TOKENS,
				  width = ROWS - r < QK_WIDTH ? ROWS - r : QK_WIDTH;
			float out[QK_TOKENS][QK_WIDTH];

			kn->dot[qw->kind](qw->data + (size_t)(r / QK_ROWS) * qw->group_bytes,
				qw->group_bytes, width, &rows, t, n, out);
			for (int k = 0; k < n; k++)
				memcpy(&pr->y[t + k][r], out[k], (size_t)width * sizeof(float));
		}
}

/* the largest error of y, as a share of what the products add up to without their signs; of the
 * quantised activations, or of the real ones */
static double error_of(const struct tensor *w, const struct product *pr, bool quantised)
{
	static float row[COLS];
	double worst = 0;

	for (int r = 0; r < ROWS; r++) {
		tensor_row(w, r, row);
		for (int t = 0; t < TOKENS; t++) {
			double sum = 0, size = 0, e;

			for (int i = 0; i < COLS; i++) {
				int at = t * COLS + i;
				double x = quantised ? (double)pr->d[at / QK_BLOCK] * pr->q[at]
						     : (double)pr->x[at];

				sum += (double)row[i] * x;
				size += fabs((double)row[i] * x);
			}
			e = fabs(sum - (double)pr->y[t][r]) / (size + 1e-30);
			worst = e > worst ? e : worst;
		}
	}
	return worst;
}

static void check_type(enum tensor_type type, int fill)
{
	const struct qkern *const families[] = {qkern_avx2(), qkern_avx2_vnni(), qkern_avx512()};
	struct tensor w = {.type = type, .rows = ROWS, .cols = COLS};
	struct threads *th = threads_new(2);
	struct product *pr = malloc(2 * sizeof(*pr));
	struct qweights qw;
	uint8_t *data = make_blocks(type, fill);
	void *packed;

	w.data = data;
	for (int i = 0; i < TOKENS * COLS; i++)
		pr[0].x[i] = fill < 0 ? (float)(rand() % 2001 - 1000) / 250 : (i / 5 % 2 ? 1 : -1);
	for (int i = 0; fill >= 0 && i < COLS; i++) /* one token all of one sign */
		pr[0].x[i] = 1;
	packed = aligned_alloc(64, qweights_bytes(&w) + 64);
	cr_assert(qweights_pack(&qw, &w, packed, th), "%s", tensor_type_name((int)type));
	run(qkern_select("portable"), &qw, &pr[0]);
	cr_assert_lt(error_of(&w, &pr[0], qk_is_packed(qw.kind)), 1e-6, "%s: %g",
		tensor_type_name((int)type), error_of(&w, &pr[0], qk_is_packed(qw.kind)));
	cr_assert_lt(error_of(&w, &pr[0], false), 2e-3, "%s: %g", tensor_type_name((int)type),
		error_of(&w, &pr[0], false));
	for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
		if (!families[f])
			continue;
		memcpy(pr[1].x, pr[0].x, sizeof(pr[0].x));
		run(families[f], &qw, &pr[1]);
		cr_assert_eq(memcmp(pr[0].y, pr[1].y, sizeof(pr[0].y)), 0, "%s, family %zu",
			tensor_type_name((int)type), f);
	}
	free(packed), free(data), free(pr);
	threads_free(th);
}

Test(lm_qkern, every_type_in_every_family)
{
	srand(11);
	for (int i = 0; i < TYPES; i++)
		for (int k = 0; k < 4; k++)
			check_type(types[i], -1);
}

/* the largest weights times the largest activations: nothing saturates */
Test(lm_qkern, extreme_blocks_in_every_family)
{
	static const int fills[] = {0x00, 0xff, 0x7f, 0x80, 0x55};

	for (int i = 0; i < TYPES; i++)
		for (size_t k = 0; k < sizeof(fills) / sizeof(fills[0]); k++)
			check_type(types[i], fills[k]);
}

Test(lm_qkern, floats_stay_where_they_are)
{
	static const float weights[8 * 48];
	const struct tensor w = {TENSOR_F32, 8, 48, weights}, odd = {TENSOR_F32, 8, 24, weights};
	struct qweights qw;

	cr_assert_eq(qweights_bytes(&w), 0);
	cr_assert(qweights_pack(&qw, &w, NULL, NULL));
	cr_assert_eq((const void *)qw.data, (const void *)weights);
	cr_assert_not(qweights_pack(&qw, &odd, NULL, NULL), "24 columns are no whole lanes");
}
