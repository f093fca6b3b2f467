/* every gradient of every adapted module against central differences, in double */
#include <criterion/criterion.h>

#include "lm_double.h"
#include "lm_tiny.h"
#include "trainer/lora.h"

enum { RANK = 3, ROWS = 3 };

struct fixture {
	struct model *m;
	struct threads *th;
	struct trainee tr;
	double *weights, *grads;
	size_t params;
	struct pass *ps;
	struct pack pk;
	struct sample sample[ROWS];
	const struct sample *list[ROWS];
	int tokens[ROWS][24];
};

static void setup_model(
	struct fixture *f, struct model *m, unsigned targets, float dropout, bool share)
{
	static const int length[ROWS] = {14, 11, 17}, answer[ROWS] = {9, 7, 10};
	size_t at = 0;

	*f = (struct fixture){.m = m};
	f->th = threads_new(1);
	f->tr = (struct trainee){.rank = RANK,
		.scale = 2.0 / RANK,
		.dropout = dropout,
		.drop_key = 7,
		.targets = targets};
	f->tr.at = calloc((size_t)f->m->layers * MODULES, sizeof(*f->tr.at));
	for (int i = 0; i < f->m->layers * MODULES; i++)
		if (targets & 1u << i % MODULES)
			f->params +=
				(size_t)(RANK *
					 (f->m->layer[i / MODULES].w[i % MODULES].rows +
						 f->m->layer[i / MODULES].w[i % MODULES].cols));
	f->weights = calloc(f->params, sizeof(double));
	f->grads = calloc(f->params, sizeof(double));
	for (size_t i = 0; i < f->params; i++)
		f->weights[i] = 0.6 * (double)(2 * counter_unit(counter_mix(99, i)) - 1);
	for (int i = 0; i < f->m->layers * MODULES; i++) {
		const struct tensor *w = &f->m->layer[i / MODULES].w[i % MODULES];

		if (!(targets & 1u << i % MODULES))
			continue;
		f->tr.at[i] = (struct adapt){f->weights + at, f->weights + at + RANK * w->cols,
			f->grads + at, f->grads + at + RANK * w->cols};
		at += (size_t)(RANK * (w->cols + w->rows));
	}
	for (int r = 0; r < ROWS; r++) {
		for (int i = 0; i < length[r]; i++)
			f->tokens[r][i] = (int)counter_below(
				counter_mix(i < 5 ? 1000 : (uint64_t)r, (uint64_t)i), 50);
		f->sample[r] = (struct sample){f->tokens[r], length[r], answer[r], 0, (uint64_t)r};
		f->list[r] = &f->sample[r];
	}
	cr_assert_eq(pack_make(f->list, ROWS, share, &f->pk, NULL), 0);
	cr_assert_eq(f->pk.segment[0].len == 5, share);
	cr_assert_eq(
		pass_new(f->m, f->th, &f->tr, pass_bytes(f->m, &f->tr, 1, f->pk.tokens, 24, false),
			24, &f->ps, NULL),
		0);
}

static void setup(struct fixture *f, unsigned targets, float dropout, bool share, bool norms)
{
	setup_model(f, tiny_model(norms, true, norms), targets, dropout, share);
}

static double total_loss(struct fixture *f)
{
	double loss[64], sum = 0;

	pass_forward(f->ps, &f->pk);
	pass_loss(f->ps, 1.0 / f->pk.supervised, loss, false);
	for (int i = 0; i < f->pk.supervised; i++)
		sum += loss[i];
	return sum / f->pk.supervised;
}

static void backward(struct fixture *f)
{
	double loss[64];

	memset(f->grads, 0, f->params * sizeof(double));
	pass_forward(f->ps, &f->pk);
	pass_loss(f->ps, 1.0 / f->pk.supervised, loss, true);
	cr_assert_eq(pass_backward(f->ps, NULL), 0);
}

static void teardown(struct fixture *f)
{
	pass_free(f->ps);
	pack_release(&f->pk);
	free(f->tr.at);
	free(f->weights);
	free(f->grads);
	threads_free(f->th);
	tiny_free(f->m);
}

/* the gradient of weight k, where B's are kept transposed */
static double gradient_of(struct fixture *f, int i, bool is_b, long k)
{
	long out = f->m->layer[i / MODULES].w[i % MODULES].rows;

	return is_b ? f->tr.at[i].db[k % RANK * out + k / RANK] : f->tr.at[i].da[k];
}

/* every ${stride}-th weight of each matrix */
static void check_all(struct fixture *f, int stride)
{
	const double h = 2e-5;
	double top = 0;
#ifdef __SANITIZE_ADDRESS__
	stride *= 8; /* slow there, and looked at whole in the plain build */
#endif

	backward(f);
	for (size_t i = 0; i < f->params; i++)
		top = fmax(top, fabs(f->grads[i]));
	for (int i = 0; i < f->m->layers * MODULES; i++) {
		const struct tensor *w = &f->m->layer[i / MODULES].w[i % MODULES];

		for (int side = 0; side < 2 && f->tr.at[i].a; side++)
			for (long k = 0; k < RANK * (side ? w->rows : w->cols); k += stride) {
				double *x = (double *)(side ? f->tr.at[i].b : f->tr.at[i].a) + k,
				       was = *x, up, down;

				*x = was + h;
				up = total_loss(f);
				*x = was - h;
				down = total_loss(f);
				*x = was;
				double want = (up - down) / (2 * h),
				       have = gradient_of(f, i, side, k);

				cr_assert(fabs(want - have) <= 1e-6 * fmax(fabs(want), 1e-3 * top),
					"layer %d %s %c[%ld]: %.12g, differences %.12g",
					i / MODULES, model_module_name(i % MODULES),
					side ? 'B' : 'A', k, have, want);
			}
	}
}

Test(lm_train_grad, all_modules_unshared)
{
	struct fixture f;

	setup(&f, (1u << MODULES) - 1, 0, false, false);
	check_all(&f, 1);
	teardown(&f);
}

Test(lm_train_grad, all_modules_shared_prefix_head_norms)
{
	struct fixture f;

	setup(&f, (1u << MODULES) - 1, 0, true, true);
	check_all(&f, 1);
	teardown(&f);
}

Test(lm_train_grad, windows_caps_gelu_outer_norms_and_ropes_by_layer)
{
	for (int share = 0; share < 2; share++) {
		struct model *m = tiny_model(true, true, false);
		struct fixture f;

		tiny_adorn(m);
		setup_model(&f, m, (1u << MODULES) - 1, 0, share);
		check_all(&f, share ? 5 : 1);
		teardown(&f);
	}
}

Test(lm_train_grad, dropout_masks_are_the_same_both_ways)
{
	struct fixture f;

	setup(&f, (1u << MODULES) - 1, 0.3f, false, false);
	check_all(&f, 1);
	teardown(&f);
}

Test(lm_train_grad, each_module_alone)
{
	for (int i = 0; i < MODULES; i++) {
		struct fixture f;

		setup(&f, 1u << i, 0, true, false);
		check_all(&f, 5);
		teardown(&f);
	}
}

Test(lm_train_grad, shared_prefix_equals_unshared)
{
	struct fixture a, b;

	setup(&a, (1u << MODULES) - 1, 0, false, false);
	setup(&b, (1u << MODULES) - 1, 0, true, false);
	cr_assert_eq(b.pk.tokens + 2 * 5, a.pk.tokens);
	cr_assert(fabs(total_loss(&a) - total_loss(&b)) < 1e-12);
	backward(&a);
	backward(&b);
	for (size_t i = 0; i < a.params; i++)
		cr_assert(fabs(a.grads[i] - b.grads[i]) < 1e-12);
	teardown(&a);
	teardown(&b);
}
