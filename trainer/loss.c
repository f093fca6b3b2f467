/*
 * The vocabulary head only where something is learned, LOSS_ROWS positions at a time: a chunk's
 * logits become their own gradient (p - y) in place, so there is never more than one chunk of them.
 */
/* the loops over a row are written so that a compiler may run them side by side without changing a
 * bit */
#pragma GCC optimize("O3")

#include <math.h>
#include <string.h>

#include "trainer/forward.h"
#include "trainer/ops.h"

struct loss_job {
	struct pass *ps;
	int first; /* supervised position of row 0 */
	real weight;
	double *loss;
	bool back;
};

static REAL_WIDE void gather_rows(void *arg, int from, int to)
{
	struct loss_job *j = arg;
	size_t h = (size_t)j->ps->m->dim;

	for (int r = from; r < to; r++)
		ops_rmsnorm(j->ps->hidden + (size_t)r * h,
			j->ps->out + (size_t)j->ps->pk->at[j->first + r] * h, j->ps->m->final_norm,
			j->ps->m->dim, j->ps->m->norm_eps);
}

/* the slope of cap * tanh(x / cap) where its value is ${z} */
static real cap_slope(const struct model *m, real z)
{
	real part = z / (real)m->final_cap;

	return m->final_cap > 0 ? 1 - part * part : 1;
}

/* e holds exp(z - top) of capped logits and becomes that times the slope there; z is found again
 * from its exponential, and where that is zero, so is the gradient */
static void uncap_row(const struct model *m, real *e, real top)
{
	for (int i = 0; i < m->vocab; i++)
		if (e[i] > 0)
			e[i] *= cap_slope(m, top + (real)log((double)e[i]));
}

/* loss = log(sum(exp(z))) - z[target]; z becomes weight * (softmax(z) - onehot(target)) */
static REAL_WIDE void entropy_rows(void *arg, int from, int to)
{
	struct loss_job *j = arg;
	const struct model *m = j->ps->m;
	int n = m->vocab;

	for (int r = from; r < to; r++) {
		real *z = j->ps->logits + (size_t)r * (size_t)n, top, hit;
		int target = j->ps->pk->target[j->first + r];
		double sum = 0;

		for (int i = 0; i < n && m->final_cap > 0; i++)
			z[i] = ops_cap(z[i], m->final_cap);
		top = z[0];
		for (int i = 1; i < n; i++)
			top = z[i] > top ? z[i] : top;
		for (int i = 0; i < n; i++)
			z[i] -= top;
		hit = z[target];
		real_exp(z, n);
		for (int i = 0; i < n; i++)
			sum += (double)z[i];
		j->loss[r] = log(sum) - (double)hit;
		if (!j->back)
			continue;
		real scale = (real)((double)j->weight / sum);

		if (m->final_cap > 0)
			uncap_row(m, z, top);
		for (int i = 0; i < n; i++)
			z[i] *= scale;
		z[target] -= j->weight * cap_slope(m, hit + top);
	}
}

static REAL_WIDE void scatter_rows(void *arg, int from, int to)
{
	struct loss_job *j = arg;
	const struct model *m = j->ps->m;
	size_t h = (size_t)m->dim;

	for (int r = from; r < to; r++) {
		size_t at = (size_t)j->ps->pk->at[j->first + r] * h;
		const real *x = j->ps->out + at, *dy = j->ps->dhidden + (size_t)r * h;
		real *d = j->ps->d + at, rms = ops_rms(x, m->dim, m->norm_eps), sum = 0;

		for (size_t i = 0; i < h; i++)
			sum += (real)m->final_norm[i] * dy[i] * x[i];
		sum *= rms * rms * rms / (real)m->dim;
		for (size_t i = 0; i < h; i++)
			d[i] = rms * (real)m->final_norm[i] * dy[i] - x[i] * sum;
	}
}

void pass_loss(struct pass *ps, real weight, double *loss, bool back)
{
	const struct model *m = ps->m;

	if (back)
		memset(ps->d, 0, (size_t)ps->pk->tokens * (size_t)m->dim * sizeof(*ps->d));
	for (int i = 0; i < ps->pk->supervised; i += LOSS_ROWS) {
		int rows = ps->pk->supervised - i < LOSS_ROWS ? ps->pk->supervised - i : LOSS_ROWS;
		struct loss_job j = {ps, i, weight, loss + i, back};

		rows_run(ps->th, rows, gather_rows, &j);
		product_forward(
			ps->th, ps->logits, m->vocab, ps->hidden, m->dim, rows, &m->head, false);
		rows_run(ps->th, rows, entropy_rows, &j);
		if (!back)
			continue;
		product_backward(
			ps->th, ps->dhidden, m->dim, ps->logits, m->vocab, rows, &m->head, false);
		rows_run(ps->th, rows, scatter_rows, &j);
	}
}
