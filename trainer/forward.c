/* the loops over a row are written so that a compiler may run them side by side without changing a
 * bit */
#pragma GCC optimize("O3")

#include "trainer/forward.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "trainer/counter.h"
#include "trainer/ops.h"

enum { ROWS_PIECE = 8, ALIGN = 64, HUGE_PAGE = 2 << 20 };

/* memory is planned and then cut by the same list: with ${base} NULL only the sum is wanted */
struct plan {
	char *base;
	size_t at;
};

static real *take(struct plan *pl, size_t rows, size_t cols)
{
	real *p = pl->base ? (real *)(void *)(pl->base + pl->at) : NULL;

	/* kernels may read a strip past the end of a row */
	pl->at += (rows * cols + 16) * sizeof(real);
	pl->at = (pl->at + ALIGN - 1) / ALIGN * ALIGN;
	return p;
}

static size_t widest(const struct model *m)
{
	size_t n = (size_t)m->ffn, h = (size_t)m->dim, a = (size_t)m->heads * (size_t)m->head_dim;

	return n > h ? (n > a ? n : a) : (h > a ? h : a);
}

static size_t pass_layout(struct pass *ps, int threads, char *base)
{
	const struct model *m = ps->m;
	struct plan pl = {base, 0};
	size_t t = (size_t)ps->cap, h = (size_t)m->dim, d = (size_t)m->head_dim, f = (size_t)m->ffn;
	size_t nq = (size_t)m->heads * d, nk = (size_t)m->kv_heads * d, r = (size_t)ps->tr->rank;

	struct saved s = {0};
	size_t post = m->layer[0].attn_post ? h : 0, ropes = m->rope_local ? 2 : 1;

	for (int l = 0; l < m->layers; l++) {
		s.x = take(&pl, t, h);
		if (ps->lean && l > 0) {
			if (base)
				ps->layer[l] = s; /* the rest is shared with layer 0 */
			continue;
		}
		s.q = take(&pl, t, nq);
		s.k = take(&pl, t, nk);
		s.v = take(&pl, t, nk);
		s.att = take(&pl, t, nq);
		s.mid = take(&pl, t, h);
		s.gate = take(&pl, t, f);
		s.up = take(&pl, t, f);
		s.lse = take(&pl, t, (size_t)m->heads);
		s.att_out = take(&pl, t, post);
		s.ffn_out = take(&pl, t, post);
		if (base)
			ps->layer[l] = s;
	}
	ps->out = take(&pl, t, h);
	ps->norm = take(&pl, t, h);
	ps->qr = take(&pl, t, nq);
	ps->kr = take(&pl, t, nk);
	ps->wide = take(&pl, t, widest(m));
	ps->wide2 = take(&pl, t, widest(m));
	ps->dropped = take(&pl, ps->tr->dropout > 0 ? t : 0, widest(m));
	ps->d = take(&pl, t, h);
	ps->dn = take(&pl, t, h);
	ps->datt = take(&pl, t, nq);
	ps->dq = take(&pl, t, nq);
	ps->dk = take(&pl, t, nk);
	ps->dv = take(&pl, t, nk);
	ps->low = take(&pl, t, r);
	ps->dlow = take(&pl, t, r);
	ps->cs = take(&pl, ropes * t, d / 2);
	ps->sn = take(&pl, ropes * t, d / 2);
	ps->logits = take(&pl, LOSS_ROWS, (size_t)m->vocab);
	ps->hidden = take(&pl, LOSS_ROWS, h);
	ps->dhidden = take(&pl, LOSS_ROWS, h);
	ps->scratch_each = (attention_scratch(m, ps->span) + 15) / 16 * 16;
	ps->scratch = take(&pl, (size_t)threads, ps->scratch_each);
	return pl.at;
}

size_t pass_bytes(const struct model *m, const struct trainee *tr, int threads, int tokens,
	int span, bool lean)
{
	struct pass ps = {.m = m, .tr = tr, .cap = tokens, .span = span, .lean = lean};

	return pass_layout(&ps, threads, NULL);
}

int pass_new(const struct model *m, struct threads *th, const struct trainee *tr, size_t bytes,
	int span, struct pass **out, struct err *err)
{
	struct pass *ps = calloc(1, sizeof(*ps));
	size_t least = pass_bytes(m, tr, threads_count(th), span, span, true);

	if (!ps)
		return err_nomem(err);
	*ps = (struct pass){.m = m, .th = th, .tr = tr, .span = span};
	ps->bytes = ((bytes > least ? bytes : least) + ALIGN - 1) / ALIGN * ALIGN;
	ps->layer = calloc((size_t)m->layers, sizeof(*ps->layer));
	ps->memory = aligned_alloc(HUGE_PAGE, (ps->bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
	if (!ps->layer || !ps->memory) {
		pass_free(ps);
		return err_nomem(err);
	}
	/* rows of x are far apart: with small pages each of them is a page of its own to find */
	(void)madvise(ps->memory, ps->bytes, MADV_HUGEPAGE);
	*out = ps;
	return 0;
}

/* cut the memory for ${tokens}, keeping everything if there is room for it */
static int pass_fit(struct pass *ps, int tokens)
{
	ps->cap = tokens;
	ps->lean = false;
	if (pass_layout(ps, threads_count(ps->th), NULL) > ps->bytes) {
		ps->lean = true;
		if (pass_layout(ps, threads_count(ps->th), NULL) > ps->bytes)
			return -E2BIG;
	}
	pass_layout(ps, threads_count(ps->th), ps->memory);
	return 0;
}

void pass_free(struct pass *ps)
{
	if (!ps)
		return;
	free(ps->layer);
	free(ps->shared);
	free(ps->memory);
	free(ps);
}

struct rows {
	rows_fn *fn;
	void *arg;
	int n;
};

static void rows_tile(void *arg, int tile, int thread)
{
	const struct rows *r = arg;
	int from = tile * ROWS_PIECE;

	(void)thread;
	r->fn(r->arg, from, from + ROWS_PIECE < r->n ? from + ROWS_PIECE : r->n);
}

void rows_run(struct threads *th, int n, rows_fn *fn, void *arg)
{
	struct rows r = {fn, arg, n};

	threads_run(th, (n + ROWS_PIECE - 1) / ROWS_PIECE, rows_tile, &r);
}

struct row_job {
	struct pass *ps;
	int l;
	int module;
	const real *in, *rest;
	const float *weight;
	real *out;
	int cols;
};

size_t pass_angles(const struct pass *ps, enum rope rope, int t)
{
	return (size_t)((rope == ROPE_LOCAL ? ps->cap : 0) + t) * (size_t)(ps->m->head_dim / 2);
}

static void embed_rows(void *arg, int from, int to)
{
	struct row_job *j = arg;
	const struct model *m = j->ps->m;
	real *x = j->ps->layer[0].x, scale = m->embed_scale > 0 ? (real)m->embed_scale : 1;

	for (int t = from; t < to; t++) {
		float row[m->dim];

		tensor_row(&m->embed, j->ps->pk->token[t], row);
		for (int i = 0; i < m->dim; i++)
			x[(size_t)t * (size_t)m->dim + (size_t)i] = (real)row[i] * scale;
		for (enum rope r = ROPE_MAIN; r <= (m->rope_local ? ROPE_LOCAL : ROPE_MAIN); r++) {
			size_t at = pass_angles(j->ps, r, t);

			ops_rope_angles(r == ROPE_LOCAL ? m->rope_local : m->rope_freq,
				m->head_dim / 2, j->ps->pk->pos[t], j->ps->cs + at, j->ps->sn + at);
		}
	}
}

static REAL_WIDE void norm_rows(void *arg, int from, int to)
{
	struct row_job *j = arg;

	for (int t = from; t < to; t++)
		ops_rmsnorm(j->out + (size_t)t * (size_t)j->cols,
			j->in + (size_t)t * (size_t)j->cols, j->weight, j->cols,
			j->ps->m->norm_eps);
}

static void bias_rows(void *arg, int from, int to)
{
	struct row_job *j = arg;

	for (int t = from; t < to; t++)
		for (int i = 0; i < j->cols; i++)
			j->out[(size_t)t * (size_t)j->cols + (size_t)i] += (real)j->weight[i];
}

static void drop_rows(void *arg, int from, int to)
{
	struct row_job *j = arg;
	const struct trainee *tr = j->ps->tr;
	real keep = (real)1 / (real)(1 - tr->dropout);

	for (int t = from; t < to; t++) {
		uint64_t key = counter_mix(counter_mix(tr->drop_key, j->ps->pk->key[t]),
			(uint64_t)(j->l * MODULES + j->module));
		size_t at = (size_t)t * (size_t)j->cols;

		for (int i = 0; i < j->cols; i++)
			j->out[at + (size_t)i] =
				counter_unit(counter_mix(key, (uint64_t)i)) < tr->dropout
					? 0
					: j->in[at + (size_t)i] * keep;
	}
}

void pass_dropped(struct pass *ps, int l, enum module i, const real *x, int cols, real *out)
{
	struct row_job j = {.ps = ps, .l = l, .module = (int)i, .in = x, .out = out, .cols = cols};

	rows_run(ps->th, ps->pk->tokens, drop_rows, &j);
}

void pass_project(struct pass *ps, int l, enum module i, real *y, const real *x, bool add)
{
	const struct layer *ly = &ps->m->layer[l];
	const struct tensor *w = &ly->w[i];
	const struct adapt *ad = &ps->tr->at[l * MODULES + (int)i];
	int t = ps->pk->tokens, r = ps->tr->rank;

	product_forward(ps->th, y, w->rows, x, w->cols, t, w, add);
	if (ly->bias[i]) {
		struct row_job j = {
			.ps = ps, .out = y, .weight = ly->bias[i], .cols = (int)w->rows};

		rows_run(ps->th, t, bias_rows, &j);
	}
	if (!ad->a)
		return;
	if (ps->tr->dropout > 0) {
		pass_dropped(ps, l, i, x, (int)w->cols, ps->dropped);
		x = ps->dropped;
	}
	product_matrix_forward(ps->th, ps->low, r, x, w->cols, t, ad->a, r, w->cols, false);
	for (int k = 0; k < t * r; k++)
		ps->low[k] *= ps->tr->scale;
	product_matrix_forward(ps->th, y, w->rows, ps->low, r, t, ad->b, w->rows, r, true);
}

static REAL_WIDE void rotate_rows(void *arg, int from, int to)
{
	struct row_job *j = arg;
	struct pass *ps = j->ps;
	const struct model *m = ps->m;
	const struct layer *ly = &m->layer[j->l];
	const struct saved *s = &ps->layer[j->l];
	size_t d = (size_t)m->head_dim, nq = (size_t)m->heads * d, nk = (size_t)m->kv_heads * d;

	for (int t = from; t < to; t++) {
		real *q = ps->qr + (size_t)t * nq, *k = ps->kr + (size_t)t * nk;
		const size_t at = pass_angles(ps, ly->rope, t);

		memcpy(q, s->q + (size_t)t * nq, nq * sizeof(*q));
		memcpy(k, s->k + (size_t)t * nk, nk * sizeof(*k));
		for (int h = 0; ly->q_norm && h < m->heads; h++)
			ops_rmsnorm(q + (size_t)h * d, q + (size_t)h * d, ly->q_norm, m->head_dim,
				m->norm_eps);
		for (int h = 0; ly->k_norm && h < m->kv_heads; h++)
			ops_rmsnorm(k + (size_t)h * d, k + (size_t)h * d, ly->k_norm, m->head_dim,
				m->norm_eps);
		if (ly->rope == ROPE_NONE)
			continue;
		ops_rope(q, m->heads, m->head_dim, ps->cs + at, ps->sn + at, m->rope_pairs);
		ops_rope(k, m->kv_heads, m->head_dim, ps->cs + at, ps->sn + at, m->rope_pairs);
	}
}

void pass_rotate(struct pass *ps, int l)
{
	struct row_job j = {.ps = ps, .l = l};

	rows_run(ps->th, ps->pk->tokens, rotate_rows, &j);
}

void pass_norm(struct pass *ps, const real *x, const float *weight)
{
	struct row_job j = {
		.ps = ps, .in = x, .out = ps->norm, .weight = weight, .cols = ps->m->dim};

	rows_run(ps->th, ps->pk->tokens, norm_rows, &j);
}

/*
 * silu(g) = g sigmoid(g); gelu(g) = g / 2 (1 + tanh(u)) = g sigmoid(2 u), u = sqrt(2 / pi) (g +
 * 0.044715 g^3)
 */
REAL_WIDE void pass_gates(const struct pass *ps, const real *g, size_t n, real *sig)
{
	for (size_t i = 0; i < n; i++) {
		real z = ps->m->gelu ? (real)OPS_GELU_SLOPE * g[i] *
					       (1 + (real)OPS_GELU_CUBE * g[i] * g[i])
				     : g[i];

		sig[i] = z < -80 ? 80 : -z;
	}
	real_exp(sig, (long)n);
	for (size_t i = 0; i < n; i++)
		sig[i] = 1 / (1 + sig[i]);
}

static REAL_WIDE void glu_rows(void *arg, int from, int to)
{
	struct row_job *j = arg;
	const struct saved *s = &j->ps->layer[j->l];
	size_t f = (size_t)j->cols;

	for (int t = from; t < to; t++) {
		const real *g = s->gate + (size_t)t * f, *u = s->up + (size_t)t * f;
		real *restrict o = j->ps->wide + (size_t)t * f;

		pass_gates(j->ps, g, f, o);
		for (size_t i = 0; i < f; i++)
			o[i] = g[i] * o[i] * u[i];
	}
}

void pass_glu(struct pass *ps, int l)
{
	struct row_job j = {.ps = ps, .l = l, .cols = ps->m->ffn};

	rows_run(ps->th, ps->pk->tokens, glu_rows, &j);
}

static void add_rows(void *arg, int from, int to)
{
	struct row_job *j = arg;

	norm_rows(arg, from, to);
	for (size_t i = (size_t)from * (size_t)j->cols; i < (size_t)to * (size_t)j->cols; i++)
		j->out[i] += j->rest[i];
}

/* out = x + W y, or x + rmsnorm(W y), where W y stays in ${between} */
static void pass_residual(struct pass *ps, int l, enum module i, real *out, const real *x,
	const real *y, const float *post, real *between)
{
	struct row_job j = {
		.ps = ps, .in = between, .rest = x, .out = out, .weight = post, .cols = ps->m->dim};

	if (!post) {
		memcpy(out, x, (size_t)ps->pk->tokens * (size_t)ps->m->dim * sizeof(real));
		pass_project(ps, l, i, out, y, true);
		return;
	}
	pass_project(ps, l, i, between, y, false);
	rows_run(ps->th, ps->pk->tokens, add_rows, &j);
}

void pass_layer(struct pass *ps, int l, real *out)
{
	const struct layer *ly = &ps->m->layer[l];
	struct saved *s = &ps->layer[l];

	pass_norm(ps, s->x, ly->attn_norm);
	pass_project(ps, l, MODULE_Q, s->q, ps->norm, false);
	pass_project(ps, l, MODULE_K, s->k, ps->norm, false);
	pass_project(ps, l, MODULE_V, s->v, ps->norm, false);
	pass_rotate(ps, l);
	attention_forward(ps, l);
	pass_residual(ps, l, MODULE_O, s->mid, s->x, s->att, ly->attn_post, s->att_out);
	pass_norm(ps, s->mid, ly->ffn_norm);
	pass_project(ps, l, MODULE_GATE, s->gate, ps->norm, false);
	pass_project(ps, l, MODULE_UP, s->up, ps->norm, false);
	if (!out && !ly->ffn_post)
		return;
	pass_glu(ps, l);
	if (out)
		pass_residual(ps, l, MODULE_DOWN, out, s->mid, ps->wide, ly->ffn_post, s->ffn_out);
	else
		pass_project(ps, l, MODULE_DOWN, s->ffn_out, ps->wide, false);
}

int pass_forward(struct pass *ps, const struct pack *pk)
{
	struct row_job j = {.ps = ps};
	int rc = pass_fit(ps, pk->tokens);

	ps->pk = pk;
	if (rc < 0)
		return rc;
	rows_run(ps->th, pk->tokens, embed_rows, &j);
	for (int l = 0; l < ps->m->layers; l++) {
		pass_layer(ps, l, l + 1 < ps->m->layers ? ps->layer[l + 1].x : ps->out);
		rc = ps->tick ? ps->tick(ps->tick_arg) : 0;
		if (rc != 0)
			return rc;
	}
	return 0;
}
