/* the loops over a row are written so that a compiler may run them side by side without changing a
 * bit */
#pragma GCC optimize("O3")

#include <string.h>

#include "trainer/forward.h"
#include "trainer/ops.h"

struct back_job {
	struct pass *ps;
	int l;
	const real *x;
	const float *weight;
	real *d;
	const real *dn;
	bool add;
};

/*
 * y = x r w with r = (mean(x^2) + eps)^-1/2:  dx = r w dy - x r^3 / n * sum(w dy x); added to ${dx}
 * (or put there).
 */
static void rmsnorm_back(
	real *dx, const real *dy, const real *x, const float *w, int n, float eps, bool add)
{
	real r = ops_rms(x, n, eps), sum = 0;

	for (int i = 0; i < n; i++)
		sum += (real)w[i] * dy[i] * x[i];
	sum *= r * r * r / (real)n;
	for (int i = 0; i < n; i++) {
		real g = r * (real)w[i] * dy[i] - x[i] * sum;

		dx[i] = add ? dx[i] + g : g;
	}
}

static REAL_WIDE void norm_back_rows(void *arg, int from, int to)
{
	struct back_job *j = arg;
	int n = j->ps->m->dim;

	for (int t = from; t < to; t++) {
		size_t at = (size_t)t * (size_t)n;

		rmsnorm_back(
			j->d + at, j->dn + at, j->x + at, j->weight, n, j->ps->m->norm_eps, j->add);
	}
}

/* d += the gradient of rmsnorm(x) given dn */
static void norm_back(struct pass *ps, const real *x, const float *weight)
{
	struct back_job j = {
		.ps = ps, .x = x, .weight = weight, .d = ps->d, .dn = ps->dn, .add = true};

	rows_run(ps->th, ps->pk->tokens, norm_back_rows, &j);
}

/* the gradient of what a norm behind a module was given, x; without one that of the sum it went to
 */
static const real *post_back(struct pass *ps, const real *x, const float *weight)
{
	struct back_job j = {.ps = ps, .x = x, .weight = weight, .d = ps->dn, .dn = ps->d};

	if (!weight)
		return ps->d;
	rows_run(ps->th, ps->pk->tokens, norm_back_rows, &j);
	return ps->dn;
}

/*
 * The way back through a module: its gradients from dy and its input x, and with ${dx} the gradient
 * of the input (put, or added).
 */
static void project_back(
	struct pass *ps, int l, enum module i, const real *dy, const real *x, real *dx, bool add)
{
	const struct tensor *w = &ps->m->layer[l].w[i];
	const struct adapt *ad = &ps->tr->at[l * MODULES + (int)i];
	int t = ps->pk->tokens, r = ps->tr->rank;

	if (dx)
		product_backward(ps->th, dx, w->cols, dy, w->rows, t, w, add);
	if (!ad->a)
		return;
	if (ps->tr->dropout > 0) {
		pass_dropped(ps, l, i, x, (int)w->cols, ps->dropped);
		x = ps->dropped;
	}
	product_matrix_forward(ps->th, ps->low, r, x, w->cols, t, ad->a, r, w->cols, false);
	product_matrix_backward(ps->th, ps->dlow, r, dy, w->rows, t, ad->b, w->rows, r, false);
	for (int k = 0; k < t * r; k++) {
		ps->low[k] *= ps->tr->scale;
		ps->dlow[k] *= ps->tr->scale;
	}
	product_outer(ps->th, ad->db, ps->low, r, r, dy, w->rows, w->rows, t);
	product_outer(ps->th, ad->da, ps->dlow, r, r, x, w->cols, w->cols, t);
	if (!dx)
		return;
	if (!(ps->tr->dropout > 0)) {
		product_matrix_backward(
			ps->th, dx, w->cols, ps->dlow, r, t, ad->a, r, w->cols, true);
		return;
	}
	product_matrix_backward(
		ps->th, ps->dropped, w->cols, ps->dlow, r, t, ad->a, r, w->cols, false);
	pass_dropped(ps, l, i, ps->dropped, (int)w->cols, ps->dropped);
	for (size_t k = 0; k < (size_t)t * (size_t)w->cols; k++)
		dx[k] += ps->dropped[k];
}

/* wide2 holds the gradient of act(g) * u: wide becomes du = d act(g), wide2 becomes dg = d u
 * act'(g), where act(g) = g sig and act' = sig + g sig (1 - sig) z' with sig = sigmoid(z) */
static REAL_WIDE void glu_back_rows(void *arg, int from, int to)
{
	struct back_job *j = arg;
	const struct saved *s = &j->ps->layer[j->l];
	size_t f = (size_t)j->ps->m->ffn;
	bool gelu = j->ps->m->gelu;

	for (int t = from; t < to; t++) {
		const real *g = s->gate + (size_t)t * f, *u = s->up + (size_t)t * f;
		real *restrict du = j->ps->wide + (size_t)t * f, *restrict dg = j->ps->wide2 +
										(size_t)t * f;

		pass_gates(j->ps, g, f, du);
		for (size_t i = 0; i < f; i++) {
			real sig = du[i], d = dg[i],
			     slope = gelu ? (real)OPS_GELU_SLOPE *
						     (1 + 3 * (real)OPS_GELU_CUBE * g[i] * g[i])
					  : 1;

			du[i] = d * g[i] * sig;
			dg[i] = d * u[i] * sig * (1 + g[i] * (1 - sig) * slope);
		}
	}
}

static void feed_back(struct pass *ps, int l, bool further)
{
	const struct saved *s = &ps->layer[l];
	struct back_job j = {.ps = ps, .l = l};

	/* inputs of modules that do not learn are not needed again */
	if (ps->tr->targets & 1u << MODULE_DOWN)
		pass_glu(ps, l);
	project_back(ps, l, MODULE_DOWN, post_back(ps, s->ffn_out, ps->m->layer[l].ffn_post),
		ps->wide, ps->wide2, false);
	rows_run(ps->th, ps->pk->tokens, glu_back_rows, &j);
	if (ps->tr->targets & (1u << MODULE_GATE | 1u << MODULE_UP))
		pass_norm(ps, s->mid, ps->m->layer[l].ffn_norm);
	project_back(ps, l, MODULE_GATE, ps->wide2, ps->norm, further ? ps->dn : NULL, false);
	project_back(ps, l, MODULE_UP, ps->wide, ps->norm, further ? ps->dn : NULL, true);
	if (further)
		norm_back(ps, s->mid, ps->m->layer[l].ffn_norm);
}

/* undo the rotation of dq and dk, then the norm of their heads */
static REAL_WIDE void unrotate_rows(void *arg, int from, int to)
{
	struct back_job *j = arg;
	struct pass *ps = j->ps;
	const struct model *m = ps->m;
	const struct layer *ly = &m->layer[j->l];
	const struct saved *s = &ps->layer[j->l];
	int d = m->head_dim;
	real sn[d / 2];

	for (int t = from; t < to; t++) {
		size_t angles = pass_angles(ps, ly->rope, t);
		size_t atq = (size_t)t * (size_t)(m->heads * d),
		       atk = (size_t)t * (size_t)(m->kv_heads * d);

		for (int i = 0; i < d / 2 && ly->rope != ROPE_NONE; i++)
			sn[i] = -ps->sn[angles + (size_t)i];
		if (ly->rope != ROPE_NONE) {
			ops_rope(ps->dq + atq, m->heads, d, ps->cs + angles, sn, m->rope_pairs);
			ops_rope(ps->dk + atk, m->kv_heads, d, ps->cs + angles, sn, m->rope_pairs);
		}
		for (int h = 0; ly->q_norm && h < m->heads; h++)
			rmsnorm_back(ps->dq + atq + h * d, ps->dq + atq + h * d, s->q + atq + h * d,
				ly->q_norm, d, m->norm_eps, false);
		for (int h = 0; ly->k_norm && h < m->kv_heads; h++)
			rmsnorm_back(ps->dk + atk + h * d, ps->dk + atk + h * d, s->k + atk + h * d,
				ly->k_norm, d, m->norm_eps, false);
	}
}

static int attend_back(struct pass *ps, int l, bool further, struct err *err)
{
	const struct saved *s = &ps->layer[l];
	struct back_job j = {.ps = ps, .l = l};
	unsigned inner = ps->tr->targets & (1u << MODULE_Q | 1u << MODULE_K | 1u << MODULE_V);
	real *dn = further ? ps->dn : NULL;

	project_back(ps, l, MODULE_O, post_back(ps, s->att_out, ps->m->layer[l].attn_post), s->att,
		further || inner ? ps->datt : NULL, false);
	if (!further && !inner)
		return 0;
	pass_rotate(ps, l);
	int rc = attention_backward(ps, l, err);

	if (rc < 0)
		return rc;
	rows_run(ps->th, ps->pk->tokens, unrotate_rows, &j);
	pass_norm(ps, s->x, ps->m->layer[l].attn_norm);
	project_back(ps, l, MODULE_Q, ps->dq, ps->norm, dn, false);
	project_back(ps, l, MODULE_K, ps->dk, ps->norm, dn, true);
	project_back(ps, l, MODULE_V, ps->dv, ps->norm, dn, true);
	if (further)
		norm_back(ps, s->x, ps->m->layer[l].attn_norm);
	return 0;
}

/* every layer is adapted alike, so the first layer is where the way back ends: nothing below it
 * learns */
int pass_backward(struct pass *ps, struct err *err)
{
	unsigned attn = ps->tr->targets &
			(1u << MODULE_Q | 1u << MODULE_K | 1u << MODULE_V | 1u << MODULE_O);

	for (int l = ps->m->layers - 1; l >= 0; l--) {
		bool further = l > 0;

		if (ps->lean && l + 1 < ps->m->layers)
			pass_layer(ps, l, NULL);
		feed_back(ps, l, further || attn);
		if (!further && !attn)
			break;
		int rc = attend_back(ps, l, further, err);

		if (rc == 0 && ps->tick)
			rc = ps->tick(ps->tick_arg);
		if (rc != 0)
			return rc;
	}
	return 0;
}
