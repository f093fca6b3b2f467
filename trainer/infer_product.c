/*
 * infer_product - the products of a pass: frozen weights, bias and adapter, group by group of rows.
 */
#include <string.h>

#include "trainer/gemm.h"
#include "trainer/infer_inside.h"

static struct linear *linear_of(const struct pass *ps, int module)
{
	return &ps->in->linear[ps->layer * MODULES + module];
}

static const float *lora_bt(const struct pass *ps, int module)
{
	return ps->ad ? ps->ad->bt[ps->layer * MODULES + module] : NULL;
}

static float *lora_out(const struct pass *ps, int module, int token)
{
	return ps->in->lora + ((long)module * INFER_TOKENS + token) * ps->in->lora_rank;
}

/* y = sum, or y += sum, of ${n} <= QK_WIDTH rows */
static void put(float *restrict y, const float *restrict sum, long n, bool add)
{
	if (n == QK_WIDTH && add)
		for (int i = 0; i < QK_WIDTH; i++)
			y[i] += sum[i];
	else if (n == QK_WIDTH)
		memcpy(y, sum, QK_WIDTH * sizeof(float));
	else
		for (long i = 0; i < n; i++)
			y[i] = add ? y[i] + sum[i] : sum[i];
}

void pass_dot(const struct pass *ps, const struct linear *ln, long r, int width, int t, int n,
	float out[QK_TOKENS][QK_WIDTH])
{
	ps->in->kn->dot[ln->q.kind](ln->q.data + (size_t)(r / QK_ROWS) * ln->q.group_bytes,
		ln->q.group_bytes, width, &ps->in->rows, t, n, out);
}

/* rows [r, r + width) of one product for ${n} tokens from t: W x + bias + B a. A matrix that is not
 * packed was multiplied before, into y. */
static void product_group(const struct pass *ps, int module, long r, long width, int t, int n,
	float *y, long ldy, bool add)
{
	const struct linear *ln = linear_of(ps, module);
	const float *bt = lora_bt(ps, module);
	float sum[QK_TOKENS][QK_WIDTH] = {0};

	if (ln->q.data)
		pass_dot(ps, ln, r, (int)width, t, n, sum);
	for (int k = 0; k < n; k++) {
		float *to = y + (t + k) * ldy + r;

		if (!ln->q.data && !add)
			memcpy(sum[k], to, (size_t)width * sizeof(float));
		for (long i = 0; ln->bias && i < width; i++)
			sum[k][i] += ln->bias[r + i];
		if (bt)
			ps->in->kn->lora_up(sum[k], lora_out(ps, module, t + k), bt + r,
				(long)ln->w->rows, ps->ad->lora->rank, width);
		put(to, sum[k], width, add);
	}
}

void pass_product(const struct pass *ps, int module, long row, long n, float *y, long ldy, bool add)
{
	for (long r = row; r < row + n; r += QK_WIDTH)
		for (int t = 0; t < ps->n; t += QK_TOKENS)
			product_group(ps, module, r,
				row + n - r < QK_WIDTH ? row + n - r : QK_WIDTH, t,
				ps->n - t < QK_TOKENS ? ps->n - t : QK_TOKENS, y, ldy, add);
}

void pass_unpacked(const struct pass *ps, int module, float *y, long ldy, const float *x, bool add)
{
	const struct linear *ln = linear_of(ps, module);

	if (!ln->q.data)
		gemm_forward(ps->in->th, y, ldy, x, (long)ln->w->cols, ps->n, ln->w, add);
}

void pass_prepare(const struct pass *ps, int t, const float *x, unsigned modules)
{
	const struct qkern *kn = ps->in->kn;
	struct qk_rows *rw = &ps->in->rows;
	bool packed = false;

	for (int k = 0; k < MODULES; k++) {
		const struct linear *ln = linear_of(ps, k);

		if (!(modules >> k & 1))
			continue;
		packed = packed || (ln->q.data && qk_is_packed(ln->q.kind));
		if (lora_bt(ps, k))
			kn->lora_down(lora_out(ps, k, t),
				ps->ad->lora->pair[ps->layer * MODULES + k].a, x,
				ps->ad->lora->rank, (int)rw->cols, ps->ad->scale);
	}
	if (packed)
		kn->quantise(x, rw->cols, rw->q + t * rw->cols, rw->d + t * rw->blocks,
			rw->s + t * rw->blocks, rw->sum + 2 * t * rw->blocks);
}
