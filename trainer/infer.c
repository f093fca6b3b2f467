#include "trainer/infer.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/gemm.h"
#include "trainer/infer_inside.h"
#include "trainer/ops.h"
#include "trainer/real.h"

enum {
	TILE_ROWS = 64,	      /* of a product, by one thread */
	HEAD_ROWS = 256,      /* of the vocabulary */
	SERIAL_TOKENS = 3,    /* up to here a row operation is not worth waking anybody */
	SERIAL_SCORES = 4096, /* keys times heads: likewise for attention */
};

/* the input of the products to come, tokens x ${cols} */
static void set_input(struct infer *in, const float *x, int cols)
{
	in->rows.x = x;
	in->rows.cols = cols;
	in->rows.blocks = cols / QK_BLOCK;
}

/* tile t is a token */
static void phase_norm(void *arg, int t, int thread)
{
	const struct pass *ps = arg;
	const int dim = ps->in->m->dim;
	float *y = ps->in->normed + (long)t * dim;

	(void)thread;
	ps->in->kn->norm(y, ps->in->x + (long)t * dim, ps->norm, dim, ps->in->m->norm_eps);
	pass_prepare(ps, t, y, ps->modules);
}

static void phase_prepare(void *arg, int t, int thread)
{
	const struct pass *ps = arg;

	(void)thread;
	pass_prepare(ps, t, ps->in->rows.x + t * ps->in->rows.cols, ps->modules);
}

static void over_tokens(const struct pass *ps, threads_fn *fn)
{
	if (ps->n > SERIAL_TOKENS) {
		threads_run(ps->in->th, ps->n, fn, (void *)ps);
		return;
	}
	for (int t = 0; t < ps->n; t++)
		fn((void *)ps, t, 0);
}

/* where a token's angles stand, of those of ROPE_MAIN and behind them of ROPE_LOCAL */
static long angles_at(const struct infer *in, enum rope rope, int t)
{
	return (long)((rope == ROPE_LOCAL ? INFER_TOKENS : 0) + t) * (in->m->head_dim / 2);
}

/* tile h is a head of q, k or v: its product, its norm, its rotation */
static void phase_qkv(void *arg, int h, int thread)
{
	const struct pass *ps = arg;
	const struct model *m = ps->in->m;
	const int dim = m->head_dim, row = ps->kv->n + ps->first, width = ps->kv->width;
	const float *norm = NULL;
	enum module module = MODULE_Q;
	float *y = ps->in->q;
	long ldy = (long)m->heads * dim;

	(void)thread;
	if (h >= m->heads) {
		h -= m->heads;
		module = h < m->kv_heads ? MODULE_K : MODULE_V;
		h %= m->kv_heads;
		y = module == MODULE_K ? kv_k(ps->kv, ps->layer, row)
				       : kv_v(ps->kv, ps->layer, row);
		ldy = width;
	}
	pass_product(ps, module, (long)h * dim, dim, y, ldy, false);
	if (module == MODULE_V)
		return;
	norm = module == MODULE_Q ? ps->ly->q_norm : ps->ly->k_norm;
	for (int t = 0; t < ps->n; t++) {
		float *at = y + t * ldy + (long)h * dim;
		long angles = angles_at(ps->in, ps->ly->rope, t);

		if (norm)
			ps->in->kn->norm(at, at, norm, dim, m->norm_eps);
		if (ps->ly->rope != ROPE_NONE)
			ops_rope(at, 1, dim, ps->in->cosine + angles, ps->in->sine + angles,
				m->rope_pairs);
	}
}

/* where token i of the batch begins to see rows of its own, and how many rows it sees */
static int sees(const struct pass *ps, int i, int *from)
{
	int row = ps->kv->n + i;

	if (!ps->batch->from || row < ps->batch->shared) {
		*from = 0;
		return row + 1;
	}
	*from = ps->batch->from[i];
	return ps->batch->shared + row - *from + 1;
}

static void attend(const struct pass *ps, int t, int h, float *score)
{
	const struct model *m = ps->in->m;
	const struct qkern *kn = ps->in->kn;
	const long dim = m->head_dim, width = ps->kv->width,
		   column = h / (m->heads / m->kv_heads) * dim;
	const float *q = ps->in->q + ((long)t * m->heads + h) * dim;
	float *out = ps->in->mixed + ((long)t * m->heads + h) * dim, sum;
	const float scale = m->attn_scale > 0 ? m->attn_scale : 1 / sqrtf((float)dim);
	const int window = ps->ly->window;
	int from, n = sees(ps, ps->first + t, &from), low = window && n > window ? n - window : 0,
		  cut;

	/* positions [low, cut) lie in the shared rows, [cut, n) behind ${from} */
	cut = from ? ps->batch->shared : n;
	if (cut < low)
		cut = low;
	from += cut - (from ? ps->batch->shared : cut);
	kn->scores(
		score, q, kv_k(ps->kv, ps->layer, low) + column, width, cut - low, (int)dim, scale);
	if (cut < n)
		kn->scores(score + cut - low, q, kv_k(ps->kv, ps->layer, from) + column, width,
			n - cut, (int)dim, scale);
	for (int i = 0; i < n - low && m->attn_cap > 0; i++)
		score[i] = ops_cap(score[i], m->attn_cap);
	sum = kn->softmax(score, n - low);
	memset(out, 0, (size_t)dim * sizeof(float));
	kn->mix(out, score, kv_v(ps->kv, ps->layer, low) + column, width, cut - low, (int)dim);
	if (cut < n)
		kn->mix(out, score + cut - low, kv_v(ps->kv, ps->layer, from) + column, width,
			n - cut, (int)dim);
	for (int i = 0; i < dim; i++)
		out[i] /= sum;
}

/* tile t is a token with all its heads */
static void phase_attend_token(void *arg, int t, int thread)
{
	const struct pass *ps = arg;
	const struct model *m = ps->in->m;
	const int width = m->heads * m->head_dim;

	for (int h = 0; h < m->heads; h++)
		attend(ps, t, h, ps->in->score + (long)thread * ps->in->score_size);
	pass_prepare(ps, t, ps->in->mixed + (long)t * width, 1u << MODULE_O);
}

static void phase_attend_head(void *arg, int tile, int thread)
{
	const struct pass *ps = arg;
	const int heads = ps->in->m->heads;

	attend(ps, tile / heads, tile % heads, ps->in->score + (long)thread * ps->in->score_size);
}

static void attention(struct pass *ps)
{
	const struct model *m = ps->in->m;
	const int width = m->heads * m->head_dim;
	int from, keys = sees(ps, ps->first + ps->n - 1, &from);

	set_input(ps->in, ps->in->mixed, width);
	if (ps->n > SERIAL_TOKENS || (long)keys * ps->n * m->heads < SERIAL_SCORES) {
		over_tokens(ps, phase_attend_token);
		return;
	}
	threads_run(ps->in->th, ps->n * m->heads, phase_attend_head, ps);
	ps->modules = 1u << MODULE_O;
	over_tokens(ps, phase_prepare);
}

static int tiles_of(int rows)
{
	return (rows + TILE_ROWS - 1) / TILE_ROWS;
}

/* g = gelu(g) * u, at most TILE_ROWS of them; see pass_gates() */
static void gelu_gate(float *g, const float *u, long n)
{
	float e[TILE_ROWS];

	for (long i = 0; i < n; i++) {
		float z = (float)OPS_GELU_SLOPE * g[i] * (1 + (float)OPS_GELU_CUBE * g[i] * g[i]);

		e[i] = z < -80 ? 80 : -z;
	}
	real_exp(e, n);
	for (long i = 0; i < n; i++)
		g[i] = g[i] / (1 + e[i]) * u[i];
}

/* tiles of o and down: rows of the residual stream */
static void phase_add(void *arg, int tile, int thread)
{
	const struct pass *ps = arg;
	const long dim = ps->in->m->dim, row = (long)tile * TILE_ROWS;

	(void)thread;
	pass_product(ps, ps->module, row, dim - row < TILE_ROWS ? dim - row : TILE_ROWS, ps->to,
		dim, !ps->post);
}

/* the norm behind o or down: what it gives goes to the residual stream */
static void phase_post(void *arg, int t, int thread)
{
	const struct pass *ps = arg;
	const int dim = ps->in->m->dim;
	float *y = ps->in->normed + (long)t * dim, *x = ps->in->x + (long)t * dim;

	(void)thread;
	ps->in->kn->norm(y, y, ps->post, dim, ps->in->m->norm_eps);
	for (int i = 0; i < dim; i++)
		x[i] += y[i];
}

/* o and down: from ${from} to the residual stream, through a norm where there is one */
static void to_stream(struct pass *ps, enum module module, const float *from, const float *post)
{
	struct infer *in = ps->in;

	ps->module = module;
	ps->post = post;
	ps->to = post ? in->normed : in->x;
	pass_unpacked(ps, (int)module, ps->to, in->m->dim, from, !post);
	threads_run(in->th, tiles_of(in->m->dim), phase_add, ps);
	if (post)
		over_tokens(ps, phase_post);
}

static void phase_gate_up(void *arg, int tile, int thread)
{
	const struct pass *ps = arg;
	struct infer *in = ps->in;
	const long ffn = in->m->ffn, row = (long)tile * TILE_ROWS,
		   n = ffn - row < TILE_ROWS ? ffn - row : TILE_ROWS;

	(void)thread;
	pass_product(ps, MODULE_GATE, row, n, in->gate, ffn, false);
	pass_product(ps, MODULE_UP, row, n, in->up, ffn, false);
	for (int t = 0; t < ps->n; t++) {
		float *g = in->gate + t * ffn + row;

		if (in->m->gelu)
			gelu_gate(g, in->up + t * ffn + row, n);
		else
			in->kn->gate(g, g, in->up + t * ffn + row, n);
	}
}

static void run_layer(struct pass *ps)
{
	struct infer *in = ps->in;
	const struct model *m = in->m;
	const int row = ps->kv->n + ps->first;

	ps->norm = ps->ly->attn_norm;
	ps->modules = 1u << MODULE_Q | 1u << MODULE_K | 1u << MODULE_V;
	set_input(in, in->normed, m->dim);
	over_tokens(ps, phase_norm);
	pass_unpacked(ps, MODULE_Q, in->q, (long)m->heads * m->head_dim, in->normed, false);
	pass_unpacked(ps, MODULE_K, kv_k(ps->kv, ps->layer, row), ps->kv->width, in->normed, false);
	pass_unpacked(ps, MODULE_V, kv_v(ps->kv, ps->layer, row), ps->kv->width, in->normed, false);
	threads_run(in->th, m->heads + 2 * m->kv_heads, phase_qkv, ps);

	attention(ps);
	to_stream(ps, MODULE_O, in->mixed, ps->ly->attn_post);

	ps->norm = ps->ly->ffn_norm;
	ps->modules = 1u << MODULE_GATE | 1u << MODULE_UP;
	set_input(in, in->normed, m->dim);
	over_tokens(ps, phase_norm);
	pass_unpacked(ps, MODULE_GATE, in->gate, m->ffn, in->normed, false);
	pass_unpacked(ps, MODULE_UP, in->up, m->ffn, in->normed, false);
	threads_run(in->th, tiles_of(m->ffn), phase_gate_up, ps);

	ps->modules = 1u << MODULE_DOWN;
	set_input(in, in->gate, m->ffn);
	over_tokens(ps, phase_prepare);
	to_stream(ps, MODULE_DOWN, in->gate, ps->ly->ffn_post);
}

static void phase_head(void *arg, int tile, int thread)
{
	const struct pass *ps = arg;
	const struct linear *ln = &ps->in->head;
	const long vocab = ps->in->m->vocab, first = (long)tile * HEAD_ROWS;

	(void)thread;
	for (long r = first; r < first + HEAD_ROWS && r < vocab; r += QK_WIDTH) {
		const int width = (int)(vocab - r < QK_WIDTH ? vocab - r : QK_WIDTH);

		for (int t = 0; t < ps->wants; t += QK_TOKENS) {
			int tokens = ps->wants - t < QK_TOKENS ? ps->wants - t : QK_TOKENS;
			float sum[QK_TOKENS][QK_WIDTH];

			pass_dot(ps, ln, r, width, t, tokens, sum);
			for (int k = 0; k < tokens; k++)
				memcpy(ps->logits + (t + k) * vocab + r, sum[k],
					(size_t)width * sizeof(float));
		}
	}
}

/* logits of the tokens of this pass that are wanted; returns how many */
static int run_head(struct pass *ps, int done)
{
	struct infer *in = ps->in;
	const struct infer_batch *batch = ps->batch;
	const long dim = in->m->dim;
	struct qk_rows *rw = &in->rows;

	set_input(in, in->normed, (int)dim);
	ps->wants = 0;
	ps->logits = batch->logits + (long)done * in->m->vocab;
	for (; done < batch->wants && batch->want[done] < ps->first + ps->n; done++, ps->wants++) {
		float *y = in->normed + ps->wants * dim;

		in->kn->norm(y, in->x + (batch->want[done] - ps->first) * dim, in->m->final_norm,
			(int)dim, in->m->norm_eps);
		if (in->head.q.data && qk_is_packed(in->head.q.kind))
			in->kn->quantise(y, dim, rw->q + ps->wants * rw->cols,
				rw->d + ps->wants * rw->blocks, rw->s + ps->wants * rw->blocks,
				rw->sum + 2 * ps->wants * rw->blocks);
	}
	if (!ps->wants)
		return done;
	if (in->head.q.data)
		threads_run(in->th, (in->m->vocab + HEAD_ROWS - 1) / HEAD_ROWS, phase_head, ps);
	else
		gemm_forward(in->th, ps->logits, in->m->vocab, in->normed, dim, ps->wants,
			in->head.w, false);
	for (long i = 0; i < (long)ps->wants * in->m->vocab && in->m->final_cap > 0; i++)
		ps->logits[i] = ops_cap(ps->logits[i], in->m->final_cap);
	return done;
}

static int reserve(
	struct infer *in, struct kv *kv, const struct infer_adapter *ad, int n, struct err *err)
{
	int keys = kv->n + n + 8;

	if (kv_reserve(kv, kv->n + n) < 0)
		return err_nomem(err);
	if (keys > in->score_size) {
		float *more = realloc(in->score,
			(size_t)threads_count(in->th) * (size_t)(2 * keys) * sizeof(float));

		if (!more)
			return err_nomem(err);
		in->score = more;
		in->score_size = 2 * keys;
	}
	if (ad && ad->lora->rank > in->lora_rank) {
		float *more = realloc(in->lora,
			(size_t)MODULES * INFER_TOKENS * (size_t)ad->lora->rank * sizeof(float));

		if (!more)
			return err_nomem(err);
		in->lora = more;
		in->lora_rank = ad->lora->rank;
	}
	return 0;
}

static void embed(const struct infer *in, int token, float *x)
{
	tensor_row(&in->m->embed, token, x);
	for (int i = 0; i < in->m->dim && in->m->embed_scale > 0; i++)
		x[i] *= in->m->embed_scale;
}

int infer_run(struct infer *in, struct kv *kv, const struct infer_adapter *ad,
	const struct infer_batch *batch, struct err *err)
{
	const struct model *m = in->m;
	const int half = m->head_dim / 2;
	int done = 0, rc = reserve(in, kv, ad, batch->n, err);

	if (rc < 0)
		return rc;
	for (int first = 0; first < batch->n; first += INFER_TOKENS) {
		struct pass ps = {.in = in,
			.ad = ad,
			.batch = batch,
			.kv = kv,
			.first = first,
			.n = batch->n - first < INFER_TOKENS ? batch->n - first : INFER_TOKENS};

		for (int t = 0; t < ps.n; t++) {
			int from;

			embed(in, batch->token[first + t], in->x + (long)t * m->dim);
			ops_rope_angles(m->rope_freq, half, sees(&ps, first + t, &from) - 1,
				in->cosine + t * half, in->sine + t * half);
			if (m->rope_local)
				ops_rope_angles(m->rope_local, half,
					sees(&ps, first + t, &from) - 1,
					in->cosine + angles_at(in, ROPE_LOCAL, t),
					in->sine + angles_at(in, ROPE_LOCAL, t));
		}
		for (ps.layer = 0; ps.layer < m->layers; ps.layer++) {
			ps.ly = &m->layer[ps.layer];
			run_layer(&ps);
		}
		done = run_head(&ps, done);
	}
	if (model_lost(m))
		return err_set(err, ESTALE, "base model changed while it was in use");
	return 0;
}
