/*
 * Causal attention of packed segments: a segment's queries see the shared prefix and, up to
 * themselves, their own segment.
 *
 *   S = Q K^T scale,  P = softmax(S),  O = P V
 *   dV = P^T dO,  dP = dO V^T,  dS = P (dP - sum(dO O)),  dQ = dS K scale,  dK = dS^T Q scale
 *
 * With a cap the softmax is of C = cap tanh(S / cap), and dS is times 1 - (C / cap)^2. In a layer
 * with a window a query sees only so many keys, the latest.
 *
 * A tile is one segment and one key head with the query heads that share it. Scores are computed
 * again on the way back from the saved log-sum. What a segment adds to the prefix's dK and dV goes
 * to a place of its own and is summed in segment order.
 */
/* the loops over a row are written so that a compiler may run them side by side without changing a
 * bit */
#pragma GCC optimize("O3")

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/forward.h"
#include "trainer/ops.h"

enum {
	QUERIES = 48
}; /* of a block: bounds the scores held and the work wasted above the diagonal */

/* what a tile works on: keys seen = prefix, then own up to the query */
struct view {
	struct pass *ps;
	const struct saved *s;
	struct segment seg;
	int head; /* of keys */
	int rep;  /* query heads for it */
	size_t d, ldq, ldk;
	int keys;		/* prefix + own */
	long ldt;		/* keys rounded up to whole strips */
	real *kt, *vt, *p, *ds; /* scratch: (d,ldt) (d,ldt) (QUERIES,ldt) (QUERIES,ldt) */
	real inv;		/* scale */
	float cap;
	int window;
};

size_t attention_scratch(const struct model *m, int span)
{
	size_t ldt = (size_t)(span + 15) / 16 * 16 + 16;

	return ldt * (2 * (size_t)m->head_dim + 2 * QUERIES);
}

static struct view view_of(struct pass *ps, int l, int tile, int thread)
{
	const struct model *m = ps->m;
	struct view v = {
		.ps = ps,
		.s = &ps->layer[l],
		.seg = ps->pk->segment[tile / m->kv_heads],
		.head = tile % m->kv_heads,
		.rep = m->heads / m->kv_heads,
		.d = (size_t)m->head_dim,
		.ldq = (size_t)m->heads * (size_t)m->head_dim,
		.ldk = (size_t)m->kv_heads * (size_t)m->head_dim,
		.inv = m->attn_scale > 0 ? (real)m->attn_scale
					 : (real)(1 / sqrt((double)m->head_dim)),
		.cap = m->attn_cap,
		.window = m->layer[l].window,
	};
	v.keys = v.seg.prefix + v.seg.len;
	v.ldt = (v.keys + 15) / 16 * 16;
	v.kt = ps->scratch + (size_t)thread * ps->scratch_each;
	v.vt = v.kt + v.d * (size_t)v.ldt;
	v.p = v.vt + v.d * (size_t)v.ldt;
	v.ds = v.p + QUERIES * v.ldt;
	return v;
}

/* token of the j-th key of a view */
static size_t key_token(const struct view *v, int j)
{
	return (size_t)(j < v->seg.prefix ? j : v->seg.start + j - v->seg.prefix);
}

/* (keys,d) at this head of x, turned to (d,ldt) with zeros behind the last key */
static REAL_WIDE void turn(const struct view *v, const real *x, real *out)
{
	for (int j = 0; j < v->ldt; j++) {
		const real *row =
			j < v->keys ? x + key_token(v, j) * v->ldk + (size_t)v->head * v->d : NULL;

		for (size_t i = 0; i < v->d; i++)
			out[i * (size_t)v->ldt + (size_t)j] = row ? row[i] : 0;
	}
}

/* c(rows,d) (+)= a(rows,seen) x, where x are this head's keys or values as they lie: the prefix,
 * then the segment's own */
static void times_keys(
	const struct view *v, int rows, int seen, const real *a, const real *x, real *c)
{
	size_t col = (size_t)v->head * v->d;
	int prefix = v->seg.prefix;

	if (prefix)
		product_block(rows, (long)v->d, prefix, a, v->ldt, 1, x + col, (long)v->ldk, c,
			(long)v->ldq, false);
	product_block(rows, (long)v->d, seen - prefix, a + prefix, v->ldt, 1,
		x + (size_t)v->seg.start * v->ldk + col, (long)v->ldk, c, (long)v->ldq, prefix > 0);
}

/* the first key a query sees that sees no key from ${sees} on */
static int first_seen(const struct view *v, int sees)
{
	return v->window > 0 && sees > v->window ? sees - v->window : 0;
}

/* products of a query with keys low..sees-1 to scores, in place */
static void scale_scores(const struct view *v, real *p, int low, int sees)
{
	for (int j = low; j < sees; j++)
		p[j] *= v->inv;
	for (int j = low; j < sees && v->cap > 0; j++)
		p[j] = ops_cap(p[j], v->cap);
}

/* the softmax of a query in place, zero where it does not see; its log-sum goes to ${lse} */
static REAL_WIDE void softmax_row(const struct view *v, real *p, int sees, int width, real *lse)
{
	int low = first_seen(v, sees);
	real top, sum = 0;

	scale_scores(v, p, low, sees);
	top = p[low];
	for (int j = low; j < sees; j++)
		top = p[j] > top ? p[j] : top;
	for (int j = low; j < sees; j++)
		p[j] -= top;
	real_exp(p + low, sees - low);
	for (int j = low; j < sees; j++)
		sum += p[j];
	for (int j = low; j < sees; j++)
		p[j] /= sum;
	memset(p, 0, (size_t)low * sizeof(*p));
	memset(p + sees, 0, (size_t)(width - sees) * sizeof(*p));
	*lse = top + (real)log((double)sum);
}

static void forward_block(const struct view *v, int head, int i0, int rows)
{
	int seen = v->seg.prefix + i0 + rows, width = (seen + 15) / 16 * 16;
	size_t at = (size_t)(v->seg.start + i0);
	const real *q = v->ps->qr + at * v->ldq + (size_t)head * v->d;

	product_block(
		rows, width, (long)v->d, q, (long)v->ldq, 1, v->kt, v->ldt, v->p, v->ldt, false);
	for (int r = 0; r < rows; r++)
		softmax_row(v, v->p + r * v->ldt, v->seg.prefix + i0 + r + 1, width,
			&v->s->lse[(at + (size_t)r) * (size_t)v->ps->m->heads + (size_t)head]);
	times_keys(v, rows, seen, v->p, v->s->v, v->s->att + at * v->ldq + (size_t)head * v->d);
}

struct attention_job {
	struct pass *ps;
	int l;
	size_t *shared_at; /* of each segment, in ps->shared */
};

static void forward_tile(void *arg, int tile, int thread)
{
	const struct attention_job *j = arg;
	struct view v = view_of(j->ps, j->l, tile, thread);

	turn(&v, j->ps->kr, v.kt);
	for (int h = 0; h < v.rep; h++)
		for (int i = 0; i < v.seg.len; i += QUERIES)
			forward_block(&v, v.head * v.rep + h, i,
				v.seg.len - i < QUERIES ? v.seg.len - i : QUERIES);
}

void attention_forward(struct pass *ps, int l)
{
	struct attention_job j = {ps, l, NULL};

	threads_run(ps->th, ps->pk->segments * ps->m->kv_heads, forward_tile, &j);
}

/* p and ds of a block: the probabilities again, and the gradient of the scores */
static REAL_WIDE void scores_back(const struct view *v, int head, int i0, int rows, int width)
{
	size_t at = (size_t)(v->seg.start + i0), col = (size_t)head * v->d;
	const real *dout = v->ps->datt + at * v->ldq + col, *out = v->s->att + at * v->ldq + col;

	product_block(rows, width, (long)v->d, v->ps->qr + at * v->ldq + col, (long)v->ldq, 1,
		v->kt, v->ldt, v->p, v->ldt, false);
	product_block(rows, width, (long)v->d, dout, (long)v->ldq, 1, v->vt, v->ldt, v->ds, v->ldt,
		false);
	for (int r = 0; r < rows; r++) {
		int sees = v->seg.prefix + i0 + r + 1, low = first_seen(v, sees);
		real lse = v->s->lse[(at + (size_t)r) * (size_t)v->ps->m->heads + (size_t)head],
		     dot = 0;
		real *p = v->p + r * v->ldt, *ds = v->ds + r * v->ldt;

		for (size_t i = 0; i < v->d; i++)
			dot += dout[(size_t)r * v->ldq + i] * out[(size_t)r * v->ldq + i];
		scale_scores(v, p, low, sees);
		for (int j = low; j < sees && v->cap > 0; j++)
			ds[j] = (ds[j] - dot) * (1 - p[j] / v->cap * (p[j] / v->cap));
		for (int j = low; j < sees && !(v->cap > 0); j++)
			ds[j] -= dot;
		for (int j = low; j < sees; j++)
			p[j] = p[j] > lse ? 0 : p[j] - lse; /* a probability is at most 1 */
		real_exp(p + low, sees - low);
		for (int j = low; j < sees; j++)
			ds[j] *= p[j] * v->inv;
		memset(p, 0, (size_t)low * sizeof(*p));
		memset(ds, 0, (size_t)low * sizeof(*ds));
		memset(p + sees, 0, (size_t)(width - sees) * sizeof(*p));
		memset(ds + sees, 0, (size_t)(width - sees) * sizeof(*ds));
	}
}

/* add a(rows,seen)^T x(rows,d) to the gradients of the keys (or values): the prefix's to ${shared},
 * the segment's own to ${own} */
static void to_keys(const struct view *v, int rows, int seen, const real *a, const real *x,
	real *shared, real *own)
{
	int prefix = v->seg.prefix;

	if (prefix)
		product_block(prefix, (long)v->d, rows, a, 1, v->ldt, x, (long)v->ldq, shared,
			(long)v->ldk, true);
	product_block(seen - prefix, (long)v->d, rows, a + prefix, 1, v->ldt, x, (long)v->ldq, own,
		(long)v->ldk, true);
}

static void zero_head(real *x, int rows, size_t ld, size_t n)
{
	for (int r = 0; r < rows; r++)
		memset(x + (size_t)r * ld, 0, n * sizeof(*x));
}

static void backward_tile(void *arg, int tile, int thread)
{
	const struct attention_job *j = arg;
	struct pass *ps = j->ps;
	struct view v = view_of(ps, j->l, tile, thread);
	size_t col = (size_t)v.head * v.d, own = (size_t)v.seg.start * v.ldk + col;
	real *dk = ps->dk + own, *dv = ps->dv + own, *shared_k = NULL, *shared_v = NULL;

	if (v.seg.prefix) {
		shared_k = ps->shared + j->shared_at[tile / ps->m->kv_heads] + col;
		shared_v = shared_k + (size_t)v.seg.prefix * v.ldk;
		zero_head(shared_k, v.seg.prefix, v.ldk, v.d);
		zero_head(shared_v, v.seg.prefix, v.ldk, v.d);
	}
	zero_head(dk, v.seg.len, v.ldk, v.d);
	zero_head(dv, v.seg.len, v.ldk, v.d);
	turn(&v, ps->kr, v.kt);
	turn(&v, v.s->v, v.vt);
	for (int h = 0; h < v.rep; h++)
		for (int i = 0; i < v.seg.len; i += QUERIES) {
			int rows = v.seg.len - i < QUERIES ? v.seg.len - i : QUERIES,
			    head = v.head * v.rep + h;
			int seen = v.seg.prefix + i + rows;
			size_t q = (size_t)(v.seg.start + i) * v.ldq + (size_t)head * v.d;

			scores_back(&v, head, i, rows, (seen + 15) / 16 * 16);
			times_keys(&v, rows, seen, v.ds, ps->kr, ps->dq + q);
			to_keys(&v, rows, seen, v.ds, ps->qr + q, shared_k, dk);
			to_keys(&v, rows, seen, v.p, ps->datt + q, shared_v, dv);
		}
}

/* prefix rows: own gradient, then every segment's in order */
static void shared_rows(void *arg, int from, int to)
{
	const struct attention_job *j = arg;
	struct pass *ps = j->ps;
	size_t ld = (size_t)ps->m->kv_heads * (size_t)ps->m->head_dim;

	for (int s = 1; s < ps->pk->segments; s++) {
		const real *k = ps->shared + j->shared_at[s],
			   *v = k + (size_t)ps->pk->segment[s].prefix * ld;

		for (size_t i = (size_t)from * ld; i < (size_t)to * ld; i++) {
			ps->dk[i] += k[i];
			ps->dv[i] += v[i];
		}
	}
}

int attention_backward(struct pass *ps, int l, struct err *err)
{
	const struct pack *pk = ps->pk;
	size_t ld = (size_t)ps->m->kv_heads * (size_t)ps->m->head_dim, need = 0;
	size_t *at = malloc((size_t)pk->segments * sizeof(*at));
	struct attention_job j = {ps, l, at};

	if (!at)
		return err_nomem(err);
	for (int s = 0; s < pk->segments; s++) {
		at[s] = need;
		need += 2 * (size_t)pk->segment[s].prefix * ld;
	}
	if (need > ps->shared_cap) {
		free(ps->shared);
		ps->shared_cap = 0;
		ps->shared = malloc((need + 16) * sizeof(*ps->shared));
		if (!ps->shared) {
			free(at);
			return err_nomem(err);
		}
		ps->shared_cap = need;
	}
	threads_run(ps->th, pk->segments * ps->m->kv_heads, backward_tile, &j);
	if (need)
		rows_run(ps->th, pk->segment[0].len, shared_rows, &j);
	free(at);
	return 0;
}
