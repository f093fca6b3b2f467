/* what saves work must not change what is learned: each saving against the long way round, the
 * gradient of every adapted matrix within 1e-6 of its length */
#include <criterion/criterion.h>
#include <math.h>

#include "lm_tiny.h"
#include "trainer/adamw.h"
#include "trainer/train.h"

enum { ROWS = 16, PREFIX = 9, RANK = 4, TOKENS_MAX = 1200, SUPERVISED_MAX = 600 };

struct fixture {
	struct model *m;
	struct threads *th;
	struct lora *lo;
	struct trainee tr;
	struct adapt at[2 * MODULES];
	float *grads, *other;
	double loss, other_loss; /* their sums */
	struct sample sample[ROWS];
	const struct sample *list[ROWS];
	int token[ROWS][64];
	struct pass *ps;
};

/* ROWS rows, ${answer} of each learned; all begin with the same ${prefix} tokens */
static void setup(struct fixture *f, int prefix, int answer)
{
	struct lora_shape shape = {.rank = RANK, .alpha = 8, .targets = (1u << MODULES) - 1};

	*f = (struct fixture){.m = tiny_model(true, true, false), .th = threads_new(2)};
	cr_assert_eq(lora_new(f->m, &shape, 7, &f->lo, NULL), 0);
	/* B as after some steps, so that A has gradients */
	for (int i = 0; i < f->m->layers * MODULES; i++)
		for (int k = 0; k < RANK * f->lo->pair[i].out; k++)
			f->lo->pair[i].b[k] =
				0.05f *
				(2 * counter_unit(counter_mix((uint64_t)i, (uint64_t)k)) - 1);
	f->grads = calloc(f->lo->params, sizeof(float));
	f->other = calloc(f->lo->params, sizeof(float));
	for (int i = 0; i < ROWS; i++) {
		int n = 22 + answer + i % 7;

		for (int t = 0; t < n; t++)
			f->token[i][t] = (int)counter_below(
				counter_mix(t < prefix ? 5000 : (uint64_t)i, (uint64_t)t), 50);
		f->sample[i] = (struct sample){f->token[i], n, n - answer, 0, (uint64_t)i};
		f->list[i] = &f->sample[i];
	}
	f->tr = (struct trainee){
		.rank = RANK, .scale = f->lo->alpha / RANK, .targets = f->lo->targets, .at = f->at};
	cr_assert_eq(pass_new(f->m, f->th, &f->tr,
			     pass_bytes(f->m, &f->tr, 2, TOKENS_MAX, 64, false), 64, &f->ps, NULL),
		0);
}

static void teardown(struct fixture *f)
{
	pass_free(f->ps);
	free(f->grads);
	free(f->other);
	lora_free(f->lo);
	threads_free(f->th);
	tiny_free(f->m);
}

/* the head as it is written in books: every supervised position at once, in double; ps->d too */
static double loss_in_full(struct fixture *f, const struct pack *pk, double weight)
{
	const struct model *m = f->m;
	size_t h = (size_t)m->dim;
	double sum = 0;

	memset(f->ps->d, 0, (size_t)pk->tokens * h * sizeof(float));
	for (int s = 0; s < pk->supervised; s++) {
		const float *x = f->ps->out + (size_t)pk->at[s] * h,
			    *head = (const float *)m->head.data;
		double z[64] = {0}, dy[64] = {0}, ms = 0, all = 0, dot = 0;

		for (size_t i = 0; i < h; i++)
			ms += (double)x[i] * (double)x[i];
		double r = 1 / sqrt(ms / (double)h + (double)m->norm_eps);

		for (int v = 0; v < m->vocab; v++) {
			z[v] = 0;
			for (size_t i = 0; i < h; i++)
				z[v] += (double)head[(size_t)v * h + i] * (double)x[i] * r *
					(double)m->final_norm[i];
			all += exp(z[v]);
		}
		sum += log(all) - z[pk->target[s]];
		for (int v = 0; v < m->vocab; v++)
			for (size_t i = 0; i < h; i++)
				dy[i] += weight * (exp(z[v]) / all - (v == pk->target[s])) *
					 (double)head[(size_t)v * h + i] * (double)m->final_norm[i];
		for (size_t i = 0; i < h; i++)
			dot += dy[i] * (double)x[i];
		for (size_t i = 0; i < h; i++)
			f->ps->d[(size_t)pk->at[s] * h + i] =
				(float)(r * dy[i] - (double)x[i] * dot * r * r * r / (double)h);
	}
	return sum;
}

/* add the gradient of ${n} rows in one pass to ${grads}, weighted as a part of all rows; their
 * summed loss */
static double add_pass(struct fixture *f, float *grads, const struct sample *const *rows, int n,
	bool share, bool full)
{
	double loss[SUPERVISED_MAX], sum = 0, weight = 1.0 / pack_supervised(f->list, ROWS);
	struct pack pk;

	for (int i = 0; i < f->m->layers * MODULES; i++) {
		const struct lora_pair *p = &f->lo->pair[i];

		f->at[i] = (struct adapt){
			p->a, p->b, grads + (p->a - f->lo->memory), grads + (p->b - f->lo->memory)};
	}
	cr_assert_eq(pack_make(rows, n, share, &pk, NULL), 0);
	cr_assert_leq(pk.tokens, TOKENS_MAX);
	cr_assert_leq(pk.supervised, SUPERVISED_MAX);
	cr_assert_eq(pass_forward(f->ps, &pk), 0);
	cr_assert(!f->ps->lean);
	if (full) {
		sum = loss_in_full(f, &pk, weight);
	} else {
		pass_loss(f->ps, (real)weight, loss, true);
		for (int i = 0; i < pk.supervised; i++)
			sum += loss[i];
	}
	cr_assert_eq(pass_backward(f->ps, NULL), 0);
	pack_release(&pk);
	return sum;
}

/* the length of the difference of each matrix, relative to that of its gradient */
static void same_gradients(const struct fixture *f, const float *a, const float *b)
{
	for (int i = 0; i < f->m->layers * MODULES; i++)
		for (int side = 0; side < 2; side++) {
			const struct lora_pair *p = &f->lo->pair[i];
			size_t from = (size_t)((side ? p->b : p->a) - f->lo->memory),
			       n = (size_t)(RANK * (side ? p->out : p->in));
			double far = 0, whole = 0;

			for (size_t k = from; k < from + n; k++) {
				double d = (double)a[k] - (double)b[k];

				far += d * d;
				whole += (double)a[k] * (double)a[k];
			}
			cr_assert_gt(whole, 0);
			far = sqrt(far / whole);
			cr_assert(far <= 1e-6, "layer %d %s %c differs by %g", i / MODULES,
				model_module_name((enum module)(i % MODULES)), side ? 'B' : 'A',
				far);
		}
}

static void same(const struct fixture *f)
{
	cr_assert(fabs(f->loss - f->other_loss) <= 1e-6 * f->loss, "%.9g %.9g", f->loss,
		f->other_loss);
	same_gradients(f, f->grads, f->other);
}

Test(lm_savings, packed_equals_one_by_one)
{
	struct fixture f;

	setup(&f, 0, 5);
	f.loss = add_pass(&f, f.grads, f.list, ROWS, false, false);
	for (int i = 0; i < ROWS; i++)
		f.other_loss += add_pass(&f, f.other, f.list + i, 1, false, false);
	same(&f);
	teardown(&f);
}

Test(lm_savings, shared_prefix_equals_unshared)
{
	struct fixture f;

	setup(&f, PREFIX, 5);
	cr_assert_eq(pack_tokens(f.list, ROWS, true) + (ROWS - 1) * PREFIX,
		pack_tokens(f.list, ROWS, false));
	f.loss = add_pass(&f, f.grads, f.list, ROWS, true, false);
	f.other_loss = add_pass(&f, f.other, f.list, ROWS, false, false);
	same(&f);
	teardown(&f);
}

Test(lm_savings, chunked_loss_equals_full)
{
	/* two and a half chunks; one more than a chunk; exactly one */
	static const int answer[] = {LOSS_ROWS * 5 / 2 / ROWS, LOSS_ROWS / 4 + 1, LOSS_ROWS / 4},
			 rows[] = {ROWS, 4, 4};

	for (int i = 0; i < 3; i++) {
		struct fixture f;

		setup(&f, 0, answer[i]);
		cr_assert(pack_supervised(f.list, rows[i]) > LOSS_ROWS || i == 2);
		f.loss = add_pass(&f, f.grads, f.list, rows[i], false, false);
		f.other_loss = add_pass(&f, f.other, f.list, rows[i], false, true);
		same(&f);
		teardown(&f);
	}
}

/* the gradient of one step of the trainer, as it was applied */
static uint64_t step_gradient(struct fixture *f, int n, uint64_t mem, float *grads, double *loss)
{
	struct data data = {
		.sample = f->sample, .n = n, .train = f->list, .trains = n, .longest = 64};
	struct train_settings set = {
		.epochs = 2, .batch = n, .lr = 1e-30, .seed = 3, .mem = mem, .checkpoint_dir = -1};
	struct train *tn;
	struct err err = ERR_NONE;

	cr_assert_eq(train_new(f->m, f->th, f->lo, &data, &set, &tn, &err), 0, "%s", err.text);
	uint64_t bytes = train_bytes(tn);

	cr_assert_eq(train_step(tn, f->list, n, loss, NULL), 0);
	memcpy(grads, train_gradient(tn), f->lo->params * sizeof(*grads));
	/* once more: nothing of a step stays for the next */
	cr_assert_eq(train_step(tn, f->list, n, loss, NULL), 0);
	cr_assert_arr_eq(grads, train_gradient(tn), f->lo->params * sizeof(*grads));
	train_free(tn);
	return bytes;
}

Test(lm_savings, accumulated_passes_equal_the_whole_batch)
{
	struct fixture f;

	setup(&f, PREFIX, 5);
	/* all four rows in one pass; two and two; one by one */
	uint64_t whole = step_gradient(&f, 4, UINT64_C(64) << 20, f.grads, &f.loss), two, one;
	size_t pair = pass_bytes(f.m, &f.tr, 1, pack_tokens(f.list + 2, 2, true), 64, false);

	two = step_gradient(&f, 4, pair, f.other, &f.other_loss);
	cr_assert_lt(two, whole);
	same(&f);
	one = step_gradient(&f, 4, pass_bytes(f.m, &f.tr, 1, 64, 64, true), f.other, &f.other_loss);
	cr_assert_lt(one, two);
	same(&f);
	teardown(&f);
}

/* a step turns B's gradients, which a pass leaves transposed, and clips them */
static void as_applied(const struct fixture *f, float *grads)
{
	float *was = malloc(f->lo->params * sizeof(*was));

	memcpy(was, grads, f->lo->params * sizeof(*was));
	for (int i = 0; i < f->m->layers * MODULES; i++) {
		const struct lora_pair *p = &f->lo->pair[i];
		size_t at = (size_t)(p->b - f->lo->memory);

		for (int o = 0; o < p->out; o++)
			for (int k = 0; k < RANK; k++)
				grads[at + (size_t)(o * RANK + k)] =
					was[at + (size_t)(k * p->out + o)];
	}
	adamw_clip(grads, f->lo->params);
	free(was);
}

Test(lm_savings, groups_of_rows_equal_one_group)
{
	struct fixture f;

	setup(&f, PREFIX, 5);
	cr_assert_gt(ROWS, 3 * CREW_GROUP_ROWS);
	step_gradient(&f, ROWS, UINT64_C(64) << 20, f.grads, &f.loss);
	f.other_loss =
		add_pass(&f, f.other, f.list, ROWS, true, false) / pack_supervised(f.list, ROWS);
	as_applied(&f, f.other);
	same(&f);
	teardown(&f);
}
