/* a whole run on a tiny model: what must not change the result does not */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/replace.h"
#include "lm_tiny.h"
#include "trainer/adamw.h"
#include "trainer/train.h"

enum { ROWS = 22 };

struct run {
	struct model *m;
	struct threads *th;
	struct lora *lo;
	struct data data;
	struct sample sample[ROWS];
	const struct sample *train[ROWS], *held[2];
	int tokens[ROWS][40];
	struct train_settings set;
	struct train *tn;
	int lines, stop_at;
	double heldout[24];
	int helds, of;
};

static int on_progress(void *arg, const struct protocol_progress *pr)
{
	struct run *r = arg;

	r->lines++;
	if (!isnan(pr->heldout)) {
		cr_assert_eq(pr->step, (r->helds + 1) * 5); /* told again from the first */
		cr_assert_eq(pr->epoch, r->helds + 1);
		r->heldout[r->helds++] = pr->heldout;
		r->of = pr->of;
	}
	return pr->step == r->stop_at ? -EINTR : 0;
}

static void run_init(struct run *r, int threads, float dropout)
{
	struct lora_shape shape = {
		.rank = 4, .alpha = 8, .dropout = dropout, .targets = (1u << MODULES) - 1};

	*r = (struct run){
		.m = tiny_model(false, true, false), .th = threads_new(threads), .stop_at = -1};
	cr_assert_eq(lora_new(r->m, &shape, 7, &r->lo, NULL), 0);
	for (int i = 0; i < ROWS; i++) {
		int n = 12 + i % 9;

		for (int t = 0; t < n; t++)
			r->tokens[i][t] = (int)counter_below(
				counter_mix(t < 6 ? 5000 : (uint64_t)i, (uint64_t)t), 50);
		r->sample[i] = (struct sample){r->tokens[i], n, 8 + i % 3, 0, (uint64_t)i};
		if (i < ROWS - 2)
			r->train[r->data.trains++] = &r->sample[i];
		else
			r->held[r->data.helds++] = &r->sample[i];
	}
	r->data.sample = r->sample;
	r->data.n = ROWS;
	r->data.train = r->train;
	r->data.held = r->held;
	r->data.longest = 20;
	r->set = (struct train_settings){.epochs = 3,
		.batch = 4,
		.lr = 5e-3,
		.seed = 3,
		.mem = 64 << 20,
		.checkpoint_dir = -1,
		.checkpoint_sec = 10,
		.progress = on_progress,
		.arg = r};
}

static int run_go(struct run *r)
{
	struct err err = ERR_NONE;
	int rc = train_new(r->m, r->th, r->lo, &r->data, &r->set, &r->tn, &err);

	cr_assert_eq(rc, 0, "%s", err.text);
	return train_run(r->tn, &err);
}

static void run_free(struct run *r)
{
	train_free(r->tn);
	lora_free(r->lo);
	threads_free(r->th);
	tiny_free(r->m);
}

static void same_adapter(struct run *a, struct run *b)
{
	cr_assert_arr_eq(a->lo->memory, b->lo->memory, a->lo->params * sizeof(float));
}

Test(lm_train, learns_and_says_so)
{
	struct run r;
	double before, after;

	run_init(&r, 1, 0);
	r.set.epochs = 8;
	cr_assert_eq(train_new(r.m, r.th, r.lo, &r.data, &r.set, &r.tn, NULL), 0);
	cr_assert_eq(train_steps(r.tn), 40);
	cr_assert_eq(train_loss(r.tn, r.train, r.data.trains, &before, NULL), 0);
	cr_assert_eq(train_run(r.tn, NULL), 0);
	cr_assert_eq(train_loss(r.tn, r.train, r.data.trains, &after, NULL), 0);
	cr_assert_lt(after, before - 0.1);
	cr_assert_eq(r.lines, train_epochs(r.tn) * 5);
	cr_assert_eq(r.helds, train_epochs(r.tn));
	/* the adapter written is that of the epoch with the lowest held-out loss */
	double held, low = r.heldout[0];

	for (int i = 1; i < r.helds; i++)
		low = fmin(low, r.heldout[i]);
	cr_assert_eq(train_loss(r.tn, r.held, r.data.helds, &held, NULL), 0);
	cr_assert_eq(held, low);
	cr_assert_eq(r.heldout[train_best_epoch(r.tn) - 1], low);
	run_free(&r);
}

Test(lm_train, threads_do_not_change_a_bit)
{
	struct run want;

	run_init(&want, 1, 0);
	cr_assert_eq(run_go(&want), 0);
	static const int counts[] = {2, 3, 7, 8};

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		struct run r;

		run_init(&r, counts[i], 0);
		cr_assert_eq(run_go(&r), 0);
		same_adapter(&want, &r);
		run_free(&r);
	}
	run_free(&want);
}

/* a rate that overshoots: the held-out loss rises long before the last epoch */
static void overshoot(struct run *r)
{
	r->set.epochs = 20;
	r->set.lr = 0.02;
}

Test(lm_train, ends_when_the_heldout_loss_no_longer_falls)
{
	struct run r, all;
	double held;

	run_init(&r, 1, 0);
	overshoot(&r);
	cr_assert_eq(run_go(&r), 0);
	int best = train_best_epoch(r.tn), done = train_epochs(r.tn);

	cr_assert(best > 1 && done < 20, "best %d of %d", best, done);
	cr_assert_eq(done, best + TRAIN_PATIENCE);
	cr_assert_eq(r.helds, done);
	cr_assert_eq(r.lines, done * 5);
	cr_assert_eq(r.of, done * 5);
	for (int e = 0; e < done; e++)
		cr_assert(r.heldout[e] >= r.heldout[best - 1]);
	cr_assert_eq(train_loss(r.tn, r.held, r.data.helds, &held, NULL), 0);
	cr_assert_eq(held, r.heldout[best - 1]);
	run_free(&r);

	/* the same epochs with nothing held out: all are trained */
	run_init(&all, 1, 0);
	overshoot(&all);
	all.data.helds = 0;
	cr_assert_eq(run_go(&all), 0);
	cr_assert_eq(train_epochs(all.tn), 20);
	cr_assert_eq(all.lines, 100);
	run_free(&all);
}

/* stopped at every step, then resumed in a new process's memory */
static void stop_and_resume(float dropout, void (*change)(struct run *r))
{
	struct run want;
	char path[64] = "/tmp/lm_train.XXXXXX";

	run_init(&want, 1, dropout);
	change(&want);
	cr_assert_eq(run_go(&want), 0);
	cr_assert(mkdtemp(path));
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	int steps = train_epochs(want.tn) * 5;

	for (int at = 1; at < steps; at++) {
		struct run r;

		run_init(&r, 2, dropout);
		change(&r);
		r.set.checkpoint_dir = dir;
		r.stop_at = at;
		cr_assert_eq(run_go(&r), -EINTR);
		run_free(&r);
		run_init(&r, 3, dropout);
		change(&r);
		r.set.checkpoint_dir = dir;
		r.set.resume = true;
		cr_assert_eq(run_go(&r), 0);
		cr_assert_leq(r.lines, at / 5 + steps - at + 1);
		cr_assert_eq(r.helds, want.helds);
		cr_assert_arr_eq(r.heldout, want.heldout, sizeof(want.heldout));
		cr_assert_eq(train_best_epoch(r.tn), train_best_epoch(want.tn));
		same_adapter(&want, &r);
		run_free(&r);
	}
	/* a checkpoint of another run is not gone on from, nor a damaged one */
	struct run other;

	run_init(&other, 1, dropout);
	change(&other);
	other.set.checkpoint_dir = dir;
	other.set.resume = true;
	other.set.seed = 99;
	cr_assert_eq(run_go(&other), 0);
	cr_assert_eq(other.lines, train_epochs(other.tn) * 5);
	run_free(&other);
	int fd = openat(dir, "state", O_WRONLY | O_CLOEXEC);

	cr_assert_eq(pwrite(fd, "x", 1, 1000), 1);
	close(fd);
	run_init(&other, 1, dropout);
	change(&other);
	other.set.checkpoint_dir = dir;
	other.set.resume = true;
	cr_assert_eq(run_go(&other), 0);
	cr_assert_eq(other.lines, steps);
	same_adapter(&want, &other);
	run_free(&other);
	run_free(&want);
	close(dir);
	dir_remove(AT_FDCWD, path, NULL);
}

static void as_it_is(struct run *r)
{
	(void)r;
}

Test(lm_train, resumed_ends_in_the_same_bytes)
{
	stop_and_resume(0, as_it_is);
}

Test(lm_train, resumed_with_dropout_too)
{
	stop_and_resume(0.1f, as_it_is);
}

Test(lm_train, resumed_ends_at_the_same_epoch)
{
	stop_and_resume(0, overshoot);
}

static double norm_difference(const float *a, const float *b, size_t n)
{
	double top = 0, worst = 0;

	for (size_t i = 0; i < n; i++) {
		top = fmax(top, fabs((double)a[i]));
		worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
	}
	return worst / top;
}

/* rows in one pass, or each in a lean pass of its own (no memory for more): nothing is kept, shared
 * or packed then */
Test(lm_train, packed_and_shared_equal_one_by_one)
{
	struct run a, b;
	double la, lb;

	run_init(&a, 2, 0);
	run_init(&b, 2, 0);
	for (size_t i = 0; i < a.lo->params; i++) /* B too, so that all gradients are there */
		a.lo->memory[i] = b.lo->memory[i] =
			0.3f * (2 * counter_unit(counter_mix(4, i)) - 1);
	b.set.mem = 1;
	cr_assert_eq(train_new(a.m, a.th, a.lo, &a.data, &a.set, &a.tn, NULL), 0);
	cr_assert_eq(train_new(b.m, b.th, b.lo, &b.data, &b.set, &b.tn, NULL), 0);
	cr_assert_lt(train_bytes(b.tn), train_bytes(a.tn));
	cr_assert_eq(train_step(a.tn, a.train, 4, &la, NULL), 0);
	cr_assert_eq(train_step(b.tn, b.train, 4, &lb, NULL), 0);
	cr_assert(fabs(la - lb) < 1e-6, "%g %g", la, lb);
	cr_assert_lt(
		norm_difference(train_gradient(a.tn), train_gradient(b.tn), a.lo->params), 1e-6);
	run_free(&a);
	run_free(&b);
}

/* the same passes with and without everything kept: the same bits */
Test(lm_train, lean_passes_change_nothing)
{
	struct run a, b;
	double la, lb;

	run_init(&a, 2, 0.2f);
	run_init(&b, 2, 0.2f);
	b.set.mem = 1;
	cr_assert_eq(train_new(a.m, a.th, a.lo, &a.data, &a.set, &a.tn, NULL), 0);
	cr_assert_eq(train_new(b.m, b.th, b.lo, &b.data, &b.set, &b.tn, NULL), 0);
	for (int i = 0; i < 4; i++) {
		cr_assert_eq(train_step(a.tn, a.train + 5 + i, 1, &la, NULL), 0);
		cr_assert_eq(train_step(b.tn, b.train + 5 + i, 1, &lb, NULL), 0);
		cr_assert_eq(la, lb);
	}
	same_adapter(&a, &b);
	run_free(&a);
	run_free(&b);
}

/* a row's loss does not see its neighbours: bit by bit */
Test(lm_train, rows_do_not_leak)
{
	struct run r;
	double alone, with, loss[64];
	const struct sample *two[2];

	run_init(&r, 1, 0);
	cr_assert_eq(train_new(r.m, r.th, r.lo, &r.data, &r.set, &r.tn, NULL), 0);
	cr_assert_eq(train_loss(r.tn, r.train, 1, &alone, NULL), 0);
	for (int other = 1; other < 4; other++) {
		two[0] = r.train[0];
		two[1] = r.train[other];
		cr_assert_eq(train_loss(r.tn, two, 2, &with, NULL), 0);
		cr_assert_eq(train_loss(r.tn, two + 1, 1, loss, NULL), 0);
		int na = two[0]->n - two[0]->answer, nb = two[1]->n - two[1]->answer;

		cr_assert(fabs(with * (na + nb) - alone * na - loss[0] * nb) < 1e-12,
			"row %d leaks", other);
	}
	run_free(&r);
}

/* BAD-INPUTS I14 */
Test(lm_train, a_loss_that_is_not_finite_stops_the_run)
{
	struct run r;
	struct err err = ERR_NONE;

	run_init(&r, 1, 0);
	((float *)r.m->layer[1].ffn_norm)[3] = NAN;
	cr_assert_eq(train_new(r.m, r.th, r.lo, &r.data, &r.set, &r.tn, NULL), 0);
	cr_assert_eq(train_run(r.tn, &err), -EDOM);
	cr_assert_str_eq(err.text, "loss is not finite at batch 1");
	run_free(&r);
}

Test(lm_train, optimizer_schedule_and_clip)
{
	float w[2] = {1, -2}, m[2] = {0}, v[2] = {0}, g[2] = {3, 4};

	cr_assert(fabs(adamw_clip(g, 2) - 5) < 1e-12);
	cr_assert(fabsf(g[0] - 0.6f) < 1e-6f && fabsf(g[1] - 0.8f) < 1e-6f);
	/* after one step from zero moments the move is the rate, whatever the gradient */
	adamw_step(w, m, v, g, 2, 0.01, 1);
	cr_assert(fabsf(w[0] - 0.99f) < 1e-6f && fabsf(w[1] + 2.01f) < 1e-6f);
	cr_assert_eq(adamw_rate(1, 1, 100), 0.2);
	cr_assert_eq(adamw_rate(1, 5, 100), 1);
	cr_assert_eq(adamw_rate(1, 6, 100), 1);
	cr_assert(fabs(adamw_rate(1, 100, 100) - 1.0 / 95) < 1e-12);
	cr_assert_eq(adamw_rate(1, 1, 1), 1);
}

Test(lm_train, order_is_a_shuffle_of_seed_and_epoch)
{
	struct run r;
	const struct sample *a[ROWS], *b[ROWS];
	int same = 0;

	run_init(&r, 1, 0);
	data_order(&r.data, 1, 0, a);
	data_order(&r.data, 1, 1, b);
	for (int i = 0; i < r.data.trains; i++) {
		int found = 0;

		same += a[i] == b[i];
		for (int k = 0; k < r.data.trains; k++)
			found += a[k] == r.train[i];
		cr_assert_eq(found, 1);
	}
	cr_assert_lt(same, r.data.trains / 2);
	run_free(&r);
}
